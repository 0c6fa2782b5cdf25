//! Gates, holds and counted drops, by which the tests force an interleaving.
//!
//! No helper sleeps to order events. Every wait has a deadline far beyond what a loaded machine
//! needs, so a hang becomes a failure.

#![allow(dead_code, reason = "no test file uses all of it")]

use captor::{Completion, Dispatch, Resource, Scheduler, TaskError};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// The longest time that a step of a test may take. A longer step counts as a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A gate that is shut at first and stays open once opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets through every thread that waits now or later.
    pub(crate) fn open(&self) {
        let (open, news) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        news.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the gate is open.
    ///
    /// # Panics
    /// If that takes longer than [`DEADLINE`].
    #[track_caller]
    pub(crate) fn wait(&self) {
        assert!(self.wait_timeout(DEADLINE), "the gate stayed shut: a hang");
    }

    /// Blocks until the gate is open or the time is over; returns whether the gate is open.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> bool {
        let (open, news) = &*self.0;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        *news
            .wait_timeout_while(open, timeout, |open| !*open)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// Returns a resource whose tasks run on the workers of `scheduler`, never on a caller.
pub(crate) fn pooled<T: Send + 'static>(scheduler: &Scheduler, value: T) -> Resource<T> {
    Resource::builder()
        .scheduler(scheduler)
        .dispatch(Dispatch::Pool)
        .build(value)
        .unwrap()
}

/// A resource kept busy by a task that waits at a gate, on a thread of its own.
///
/// The thread submitted the task. So after the task, the thread is captured: it runs tasks that
/// were queued in the meantime. Dropping the `Held` releases the resource and waits until the
/// thread has left the resource.
#[derive(Debug)]
pub(crate) struct Held {
    gate: Gate,
    holder: Option<JoinHandle<()>>,
    thread: ThreadId,
}

/// Occupies `resource` from a new thread; returns once the occupying task runs.
pub(crate) fn hold<T: Send + 'static>(resource: &Resource<T>) -> Held {
    let (gate, running) = (Gate::new(), Gate::new());
    let (exit, started) = (gate.clone(), running.clone());
    let resource = resource.clone();
    let holder = thread::spawn(move || {
        resource
            .execute(move |_| {
                started.open();
                exit.wait();
            })
            .expect("the resource refused the occupying task");
    });
    running.wait();
    Held {
        gate,
        thread: holder.thread().id(),
        holder: Some(holder),
    }
}

impl Held {
    /// Returns the thread that holds the resource.
    pub(crate) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Returns the gate that ends the occupying task, for code that cannot own the `Held`.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Lets the occupying task end and waits until its thread has left the resource. Resumes a
    /// panic of that thread.
    pub(crate) fn release(mut self) {
        self.open_and_join();
    }

    fn open_and_join(&mut self) {
        self.gate.open();
        let Some(holder) = self.holder.take() else {
            return;
        };
        if thread::panicking() {
            // The test has failed already: a hang here would hide the reason.
            return;
        }
        if let Err(payload) = join(holder) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open_and_join();
    }
}

/// Occupies a pooled resource from the calling thread; returns once the occupying task runs.
///
/// The task waits at the gate that is returned, then runs `then`. The completion is that of the
/// task. Use [`hold`] for a resource with inline dispatch: an idle one would run the task on the
/// calling thread, which could then never open the gate.
///
/// # Panics
/// If the task runs on the calling thread, or is refused.
#[track_caller]
pub(crate) fn hold_running<T: Send + 'static, R: Send + 'static>(
    resource: &Resource<T>,
    then: impl FnOnce(&mut T) -> R + Send + 'static,
) -> (Gate, Completion<R>) {
    let (gate, running) = (Gate::new(), Gate::new());
    let (opened, started) = (gate.clone(), running.clone());
    let caller = thread::current().id();
    let task = resource.submit(move |value| {
        assert_ne!(thread::current().id(), caller, "the resource is not pooled");
        started.open();
        opened.wait();
        then(value)
    });
    // The gate is shut: a task that runs elsewhere has not finished.
    assert!(!task.is_finished(), "the occupying task failed");
    running.wait();
    (gate, task)
}

/// Joins a thread within [`DEADLINE`].
#[track_caller]
pub(crate) fn join<R>(handle: JoinHandle<R>) -> thread::Result<R> {
    wait_until("a thread ends", || handle.is_finished());
    handle.join()
}

/// Waits until `condition` holds.
///
/// # Panics
/// If that takes longer than [`DEADLINE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut turns = 0_u32;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        turns += 1;
        if turns < 64 {
            thread::yield_now();
        } else {
            // This orders nothing: the sleep leaves the CPU to the other threads.
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Waits for the outcome of a completion, within [`DEADLINE`].
#[track_caller]
pub(crate) fn outcome<R>(completion: Completion<R>) -> Result<R, TaskError> {
    match completion.wait_timeout(DEADLINE) {
        Ok(outcome) => outcome,
        Err(_) => panic!("a task never resolved: a hang"),
    }
}

/// Runs `f`, the body of a test, on a thread of its own and returns its result. A hang of that
/// thread is a failure of the caller.
#[track_caller]
pub(crate) fn within_deadline<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (send, receive) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _ = send.send(f());
    });
    match receive.recv_timeout(4 * DEADLINE) {
        Ok(result) => {
            let _ = thread.join();
            result
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("no answer in time: a hang"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(payload) => resume_unwind(payload),
            Ok(()) => unreachable!("the thread sends before it ends"),
        },
    }
}

/// Waits until `count` tasks are outstanding: queued or running.
#[track_caller]
pub(crate) fn wait_outstanding<T: Send + 'static>(resource: &Resource<T>, count: u64) {
    wait_until("enough tasks are outstanding", || {
        resource.stats().outstanding >= count
    });
}

/// A value whose drop is counted by its [`Drops`].
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

/// A count of the dropped [`Counted`] values that belong to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns a value whose drop is counted.
    pub(crate) fn counted(&self) -> Counted {
        Counted(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waker that counts its wake-ups.
#[derive(Debug, Default)]
pub(crate) struct CountingWaker {
    wakes: AtomicUsize,
}

impl CountingWaker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns the message that a task panicked with.
#[track_caller]
pub(crate) fn panic_message<R: std::fmt::Debug>(outcome: Result<R, TaskError>) -> String {
    match outcome {
        Err(TaskError::Panicked(panic)) => panic.message().to_owned(),
        other => panic!("expected a panic, got {other:?}"),
    }
}

/// Threads that announced that they are about to block.
///
/// A blocked thread cannot report that it is blocked, and a task is counted shortly before the
/// task is queued. So the thread announces itself first, and the test watches from outside until
/// the thread sleeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sleepers(Arc<Mutex<Vec<std::path::PathBuf>>>);

impl Sleepers {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Announces that the calling thread will block next, in a call on a resource.
    pub(crate) fn here(&self) {
        // The path stays empty where the system does not tell which threads sleep.
        let thread = std::fs::read_link("/proc/thread-self");
        let stat = thread.map(|at| std::path::Path::new("/proc").join(at).join("stat"));
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(stat.unwrap_or_default());
    }

    /// Waits until `outstanding` tasks of `resource` are queued or running and every announced
    /// thread sleeps. The tasks of these threads are queued then.
    #[track_caller]
    pub(crate) fn wait<T: Send + 'static>(&self, resource: &Resource<T>, outstanding: u64) {
        wait_outstanding(resource, outstanding);
        self.wait_for(1);
    }

    /// Waits until `count` threads have announced themselves and every announced thread sleeps.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        let list = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wait_until("enough threads have announced themselves", || {
            list().len() >= count
        });
        for stat in list().iter() {
            if stat.as_os_str().is_empty() {
                // The thread has next to nothing left to do before it blocks.
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            wait_until("the thread sleeps", || {
                let text = std::fs::read_to_string(stat).unwrap_or_default();
                // "<id> (<name>) <state> ..."
                text.rsplit(") ").next().is_some_and(|s| s.starts_with('S'))
            });
        }
    }
}

/// Hands a resource off inside a task of another resource; returns how a task that visits the
/// outer resource ends.
///
/// A task of the first resource submits to the second resource. In there, a new thread queues a
/// task on the second resource, and that task visits the first. So the holder hands the second
/// resource off while a task of the first still runs on the same thread.
pub(crate) fn a_strangers_visit(scheduler: &captor::Scheduler) -> Result<i32, TaskError> {
    let (one, two) = (scheduler.resource(1), scheduler.resource(2));
    let (visited, visits) = std::sync::mpsc::channel();
    let (back, there) = (one.clone(), two.clone());
    one.with(move |_| {
        let behind = there.clone();
        there.execute(move |_| {
            let visit = move |_: &mut i32| visited.send(back.with(|n| *n)).unwrap();
            let stranger = thread::spawn(move || behind.execute(visit));
            stranger.join().unwrap().unwrap();
        })
    })
    .unwrap()
    .unwrap();
    visits.recv_timeout(DEADLINE).unwrap()
}

/// A waker that calls a closure once.
pub(crate) struct Once<F>(Mutex<Option<F>>);

/// Returns a waker that calls `f` when it is woken for the first time.
pub(crate) fn waker_that<F: FnOnce() + Send + 'static>(f: F) -> Waker {
    Waker::from(Arc::new(Once(Mutex::new(Some(f)))))
}

impl<F: FnOnce() + Send + 'static> Wake for Once<F> {
    fn wake(self: Arc<Self>) {
        let f = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(f) = f {
            f();
        }
    }
}

/// Polls a future that must not be ready yet.
#[track_caller]
pub(crate) fn poll_pending<F: Future + Unpin>(future: &mut F, waker: &Waker) {
    let polled = Pin::new(future).poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending());
}

/// Calls a closure when it is dropped.
pub(crate) struct OnDrop<F: FnOnce()>(Option<F>);

pub(crate) fn on_drop<F: FnOnce()>(f: F) -> OnDrop<F> {
    OnDrop(Some(f))
}

impl<F: FnOnce()> OnDrop<F> {
    /// Forgets the closure, so the drop calls nothing.
    pub(crate) fn defuse(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}
