//! Stand-ins for the threads of a scheduler: jobs and alarms wait until a model thread runs the
//! jobs and rings the alarms.

use super::Token;
use crate::Job;
use crate::raw::core::JobSink;
use crate::raw::timing::alarm::{Alarm, Alarms};
use crate::sync::{
    Arc, AtomicUsize, Condvar, Counter, Mutex, OnceLock, Ordering, StaticMutex, lock, yield_now,
};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::PoisonError;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A queue between model threads. The checker sees a counter only, at which it may switch threads.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    items: StaticMutex<VecDeque<T>>,
    posted: AtomicUsize,
    post: Ordering,
    take: Ordering,
    /// Present if the reader blocks for an item.
    arrival: Option<(Mutex<()>, Condvar)>,
}

impl<T> Mailbox<T> {
    /// Checks whether the reader blocks.
    pub(super) fn blocks(&self) -> bool {
        self.arrival.is_some()
    }

    /// Makes a mailbox that orders like a channel: the thread that takes an item sees what was done
    /// before the post.
    pub(crate) fn new() -> Arc<Self> {
        Self::with_orderings(Ordering::Release, Ordering::Acquire)
    }

    /// Makes a mailbox that brings no edge between the two threads.
    pub(crate) fn edgeless() -> Arc<Self> {
        Self::with_orderings(Ordering::Relaxed, Ordering::Relaxed)
    }

    /// Makes a mailbox whose reader blocks. Models with three threads need this: if two threads
    /// spin, each while the other spins, loom follows them for ever.
    pub(crate) fn blocking() -> Arc<Self> {
        let mut mailbox = Self::new();
        Arc::get_mut(&mut mailbox)
            .expect("the mailbox is not shared yet")
            .arrival = Some((Mutex::new(()), Condvar::new()));
        mailbox
    }

    fn with_orderings(post: Ordering, take: Ordering) -> Arc<Self> {
        Arc::new(Mailbox {
            items: StaticMutex::new(VecDeque::new()),
            posted: AtomicUsize::new(0),
            post,
            take,
            arrival: None,
        })
    }

    pub(crate) fn post(&self, item: T) {
        self.items.lock().unwrap().push_back(item);
        self.posted.fetch_add(1, self.post);
        if let Some((gate, arrival)) = &self.arrival {
            drop(lock(gate));
            arrival.notify_one();
        }
    }

    /// Checks whether no item is posted. `true` may be out of date.
    pub(crate) fn is_empty(&self) -> bool {
        self.posted.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn take(&self) -> Option<T> {
        if self.posted.load(self.take) == 0 {
            return None;
        }
        let item = self.items.lock().unwrap().pop_front()?;
        self.posted.fetch_sub(1, Ordering::Relaxed);
        Some(item)
    }

    /// Waits for an item.
    pub(crate) fn wait(&self) -> T {
        if let Some((gate, arrival)) = &self.arrival {
            let mut closed = lock(gate);
            loop {
                if let Some(item) = self.take() {
                    return item;
                }
                closed = arrival.wait(closed).unwrap_or_else(PoisonError::into_inner);
            }
        }
        loop {
            match self.take() {
                Some(item) => return item,
                None => yield_now(),
            }
        }
    }
}

/// A message to the model thread that stands in for the pool.
#[derive(Debug)]
pub(crate) enum Call {
    Job(Job),
    /// A thread of the model has ended.
    Ended,
}

/// Jobs wait here until a model thread runs them.
pub(super) struct Jobs(pub(super) Arc<Mailbox<Call>>);

impl JobSink for Jobs {
    fn dispatch(&self, job: Job) {
        self.0.post(Call::Job(job));
    }

    fn rescue(&self, job: Job) {
        self.0.post(Call::Job(job));
    }

    fn others_wait(&self) -> bool {
        true
    }

    fn may_be_blocked(&self) -> bool {
        false
    }
}

/// Alarms wait here until a model thread rings or drops them.
#[derive(Default)]
pub(crate) struct ManualTimer {
    alarms: StaticMutex<Vec<(Instant, Box<dyn Alarm>)>>,
    clock: OnceLock<Clock>,
}

/// A clock that a model thread turns. The clock brings no edge, because a thread that is woken when
/// the time has come must not need such an edge.
struct Clock {
    epoch: Instant,
    hours: AtomicUsize,
    /// Shows the checker that setting an alarm and ringing the alarms conflict.
    turns: AtomicUsize,
}

impl Clock {
    fn at(&self, hours: usize) -> Instant {
        self.epoch + HOUR * u32::try_from(hours).expect("a model is short")
    }
}

/// Longer than any model runs. Without a [`Clock`], an hour passes only when an alarm rings.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

impl ManualTimer {
    /// Takes the alarm that was set last.
    pub(crate) fn take(&self) -> Option<Box<dyn Alarm>> {
        self.alarms.lock().unwrap().pop().map(|(_, alarm)| alarm)
    }

    /// Stops the clock: from now on, time passes only by [`ManualTimer::pass`].
    pub(crate) fn stop_the_clock(&self) {
        let clock = Clock {
            epoch: Instant::now(),
            hours: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        };
        assert!(
            self.clock.set(clock).is_ok(),
            "the clock was stopped before"
        );
    }

    /// Returns when the clock was stopped.
    pub(crate) fn started(&self) -> Instant {
        self.clock.get().expect("the clock was stopped").epoch
    }

    /// Sets the clock to `hours` hours after the start. Must be called by one thread only.
    pub(crate) fn pass(&self, hours: usize) {
        let clock = self.clock.get().expect("the clock was stopped");
        clock.hours.store(hours, Ordering::Relaxed);
    }

    /// Rings the alarms that are due, as a timer does.
    pub(crate) fn ring(&self) {
        let now = self.now();
        self.turn();
        let alarms = std::mem::take(&mut *self.alarms.lock().unwrap());
        let (due, rest): (Vec<_>, Vec<_>) = alarms.into_iter().partition(|(at, _)| *at <= now);
        self.alarms.lock().unwrap().extend(rest);
        due.into_iter().for_each(|(_, alarm)| alarm.ring());
    }

    fn turn(&self) {
        if let Some(clock) = self.clock.get() {
            clock.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn now(&self) -> Instant {
        match self.clock.get() {
            Some(clock) => clock.at(clock.hours.load(Ordering::Relaxed)),
            None => Instant::now(),
        }
    }
}

impl Alarms for Arc<ManualTimer> {
    fn now(&self) -> Instant {
        ManualTimer::now(self)
    }

    fn add(&self, at: Instant, alarm: Box<dyn Alarm>) {
        self.turn();
        self.alarms.lock().unwrap().push((at, alarm));
    }
}

/// A waker that counts its wake-ups. Its token shows that the waker was dropped.
pub(crate) struct CountedWaker {
    woken: Counter,
    _token: Token,
}

impl CountedWaker {
    pub(crate) fn new(token: Token) -> Arc<Self> {
        Arc::new(CountedWaker {
            woken: Counter::new(),
            _token: token,
        })
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.get() > 0
    }
}

impl Wake for CountedWaker {
    fn wake(self: Arc<Self>) {
        self.woken.add(1);
    }
}

/// Polls the future with `waker`.
pub(crate) fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls the future once with a counted waker.
pub(crate) fn poll<F: Future + Unpin>(
    future: &mut F,
    waker: &Arc<CountedWaker>,
) -> Poll<F::Output> {
    poll_with(future, &Waker::from(Arc::clone(waker)))
}

/// A thread that waits for futures.
///
/// The thread spins, because loom forgets an unpark of a thread that waits for a lock at that
/// moment. The thread uses one waker for all futures. A new waker may get the address of a waker
/// that a second thread dropped. Only the allocator's edge tells the two wakers apart, and loom
/// does not see that edge.
pub(crate) struct WaitProbe(Arc<WakeCount>);

/// Counts wake-ups. The checker does not branch on a wait for the count.
struct WakeCount {
    times: Counter,
    edge: AtomicUsize,
}

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.edge.fetch_add(0, Ordering::Release);
        self.times.add(1);
    }
}

/// More turns than all other threads need to end.
const TURNS: usize = 1000;

impl WaitProbe {
    pub(crate) fn new() -> Self {
        WaitProbe(Arc::new(WakeCount {
            times: Counter::new(),
            edge: AtomicUsize::new(0),
        }))
    }

    /// Polls until the future is ready, and again only after a wake-up. Calls `work` meanwhile.
    pub(crate) fn block_on<F: Future>(&self, future: F, work: impl Fn()) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self.0));
        loop {
            let before = self.0.times.get();
            // As with any executor, this thread sees what was done before the wake-up.
            self.0.edge.fetch_add(0, Ordering::Acquire);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            let mut turns = 0..TURNS;
            while self.0.times.get() == before {
                assert!(turns.next().is_some(), "a wake-up was lost");
                work();
                yield_now();
            }
        }
    }
}

/// Polls until the future is ready.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    WaitProbe::new().block_on(future, || ())
}

/// A step that two threads take, so that loom tries both orders of their next steps. loom does not
/// see that two drops of an `Arc` conflict, for example.
pub(crate) struct Crossing(AtomicUsize);

impl Crossing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Crossing(AtomicUsize::new(0)))
    }

    pub(crate) fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
