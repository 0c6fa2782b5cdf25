//! Models: small programs that run the production code under a model checker.
//!
//! This module is built only under `--cfg captor_loom` or `--cfg captor_shuttle`. A model runs the
//! crate itself: `crate::sync` replaces its atomics, cells, locks and threads by those of the
//! checker. The model adds a few threads, a scheduler whose jobs a model thread runs, and the
//! assertions. Models may name every layer. No layer names the models.
//!
//! - loom tries every interleaving of two or three threads, up to a bound on preemptions, and every
//!   value that the orderings allow. So loom finds weak orderings. There is one file per event.
//! - shuttle draws interleavings at random and treats every ordering as sequentially consistent. So
//!   shuttle finds lost wake-ups and hangs: in larger programs ([`programs`]), and in some of
//!   loom's models. In those models the order matters in which two threads drop an `Arc`. loom
//!   reorders only operations that it sees conflict, and the counts of an `Arc` are `std`'s.
//!
//! Every model of a resource asserts the same things:
//!
//! - Exclusive and visible (G1, G3): the value lies in a checked cell. A second checked cell inside
//!   the value is touched by each task.
//! - Ordered (G2): [`Log`] records the order in which tasks ran.
//! - Exactly once, nothing lost (G4): each closure and each result carries a [`Token`] that counts.
//!   [`World::finish`] checks the balance of the tokens and the resource's own counters, and that
//!   the resource is idle again.
//! - No panic is missed: captor contains panics, so a failed assertion inside a task would be lost,
//!   and so would a complaint of the checker. The models therefore count panics.
//!
//! A channel or lock that the checker knows would hide bugs: it adds edges between threads that the
//! protocol should have made. So jobs travel through a [`Mailbox`], of which the checker sees only
//! a relaxed counter. Threads that wait for work spin on that counter. Only the models that call
//! [`World::serve`] use a mailbox that blocks, and so brings an edge.
//!
//! The files:
//!
//! - [`doubles`]: jobs, alarms, clocks, wakers and waiting threads of a model
//! - [`attach`]: attachments and sinks
//! - `cancel`: cancelling and sweeping
//! - `claim`: claiming an idle resource
//! - `close`: closing, the end, and taking the value
//! - `completion`: waiting for the outcome of a task
//! - `expiry`: deadlines
//! - `handoff`: hand-offs to the pool and to waiters
//! - `hook`: the `on_idle` hook
//! - `lane`: the lane beside the state word
//! - `last_handle`: dropping the last handle
//! - [`listeners`]: futures that await the close or the end
//! - `poison`: poisoning and healing
//! - `pool`: the roster of the pool's threads
//! - `priorities`: sorted backlogs
//! - [`programs`]: larger programs, under shuttle only
//! - `queue`: pushing to a resource that drains
//! - `room`: bounded queues
//! - [`sleep`]: sleeps and delayed tasks
//! - `stopwatch`: the record that the watchdog reads
//! - [`suspend`]: suspended tasks
//! - `then`: continuations
//! - [`timer`]: the timer thread
//! - `trigger`: triggers

// Each checker uses only a part of these helpers.
#![allow(dead_code)]

mod attach;
#[cfg(captor_loom)]
mod cancel;
#[cfg(captor_loom)]
mod claim;
#[cfg(captor_loom)]
mod close;
#[cfg(captor_loom)]
mod completion;
mod doubles;
#[cfg(captor_loom)]
mod expiry;
#[cfg(captor_loom)]
mod handoff;
#[cfg(captor_loom)]
mod hook;
#[cfg(captor_loom)]
mod lane;
#[cfg(captor_loom)]
mod last_handle;
mod listeners;
#[cfg(captor_loom)]
mod poison;
#[cfg(captor_loom)]
mod pool;
#[cfg(captor_loom)]
mod priorities;
#[cfg(captor_shuttle)]
mod programs;
#[cfg(captor_loom)]
mod queue;
#[cfg(captor_loom)]
mod room;
mod sleep;
#[cfg(captor_loom)]
mod stopwatch;
mod suspend;
#[cfg(captor_loom)]
mod then;
mod timer;
#[cfg(captor_loom)]
mod trigger;

use crate::TaskError;
use crate::raw::core::cold_state::Settings;
use crate::raw::core::registry::Registry;
use crate::raw::core::{Core, Host, Limits};
use crate::raw::submit::Admission;
use crate::raw::task::tag::Tag;
use crate::raw::timing::alarm::Alarms;
use crate::resource::Resource;
use crate::sync::{Arc, Counter, StaticMutex, UnsafeCell, thread, yield_now};
use doubles::Jobs;
pub(crate) use doubles::{
    Call, CountedWaker, Crossing, HOUR, Mailbox, ManualTimer, WaitProbe, block_on, poll, poll_with,
};
#[cfg(captor_shuttle)]
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler as Draws};
use std::time::Duration;

/// Longer than any model runs, so that the clock decides nothing.
pub(crate) const FOREVER: Duration = Duration::MAX;

#[derive(Debug, Default)]
struct Counts {
    tokens: Counter,
    tokens_gone: Counter,
    values: Counter,
    values_gone: Counter,
    panics: Counter,
}

/// Counts itself: a model drops as many tokens as it makes, one for each closure and each result.
#[derive(Debug)]
pub(crate) struct Token(Arc<Counts>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.tokens_gone.add(1);
    }
}

/// The value of a model's resource: the numbers of the tasks that ran, in order. An access without
/// the role, or without the edges that the role brings, fails the model.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Vec<u8>,
    touched: UnsafeCell<()>,
    counts: Arc<Counts>,
    /// The entries at the moment when the value was dropped.
    last: Arc<StaticMutex<Option<Vec<u8>>>>,
}

impl Log {
    pub(crate) fn push(&mut self, entry: u8) {
        self.touched.with_mut(|_| ());
        self.entries.push(entry);
    }

    pub(crate) fn entries(&mut self) -> Vec<u8> {
        self.touched.with_mut(|_| ());
        self.entries.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        *self.last.lock().unwrap() = Some(self.entries());
        self.counts.values_gone.add(1);
    }
}

/// Returns the inside of a scheduler: the destinations of jobs and alarms, the capture limit and
/// the quantum.
pub(crate) fn host(
    calls: Arc<Mailbox<Call>>,
    alarms: Box<dyn Alarms>,
    (capture_limit, quantum): (usize, Duration),
) -> Arc<Host> {
    Arc::new(Host {
        limits: Limits {
            capture_limit,
            capture_time: FOREVER,
            quantum,
            lane: true,
            pooled: false,
        },
        dispatch: Box::new(Jobs(calls)),
        alarms,
        registry: Registry::new(false),
        dispatched: Counter::default(),
        finished: Counter::default(),
    })
}

/// A resource, and the tally of its tasks.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) r: Resource<Log>,
    tally: Tally,
}

/// The part of a [`World`] that outlives its resource.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) calls: Arc<Mailbox<Call>>,
    pub(crate) bell: Arc<ManualTimer>,
    counts: Arc<Counts>,
    last: Arc<StaticMutex<Option<Vec<u8>>>>,
}

impl std::ops::Deref for World {
    type Target = Tally;
    fn deref(&self) -> &Tally {
        &self.tally
    }
}

/// Returns `task` without its result, for `execute`. The result is dropped inside the task.
pub(crate) fn unit<R>(task: impl FnOnce(&mut Log) -> R + Send) -> impl FnOnce(&mut Log) + Send {
    move |log| drop(task(log))
}

impl World {
    /// If `quantum` is zero, each job runs one task.
    pub(crate) fn new(capture_limit: usize, quantum: Duration, settings: Settings) -> Self {
        Self::with_mailbox(Mailbox::edgeless(), capture_limit, quantum, settings)
    }

    /// Like [`World::handing_off`], with a mailbox that blocks, for [`World::serve`].
    pub(crate) fn served(settings: Settings) -> Self {
        Self::with_mailbox(Mailbox::blocking(), 1, Duration::ZERO, settings)
    }

    fn with_mailbox(
        calls: Arc<Mailbox<Call>>,
        capture_limit: usize,
        quantum: Duration,
        settings: Settings,
    ) -> Self {
        let bell = Arc::<ManualTimer>::default();
        let host = host(
            Arc::clone(&calls),
            Box::new(Arc::clone(&bell)),
            (capture_limit, quantum),
        );
        let counts = Arc::<Counts>::default();
        let last = Arc::default();
        counts.values.add(1);
        let log = Log {
            entries: Vec::new(),
            touched: UnsafeCell::new(()),
            counts: Arc::clone(&counts),
            last: Arc::clone(&last),
        };
        World {
            r: Resource::from_core(Core::with_settings(log, host, settings)),
            tally: Tally {
                calls,
                bell,
                counts,
                last,
            },
        }
    }

    /// No thread reaches a limit, so there are no hand-offs.
    pub(crate) fn without_limits() -> Self {
        Self::new(10, FOREVER, Settings::default())
    }

    /// Each holder runs one task and hands off.
    pub(crate) fn handing_off() -> Self {
        Self::new(1, Duration::ZERO, Settings::default())
    }

    /// Returns a task that records that it ran.
    pub(crate) fn entry(&self, n: u8) -> impl FnOnce(&mut Log) -> Token + Send + 'static {
        let (closure, result) = (self.token(), self.token());
        move |log| {
            log.push(n);
            drop(closure);
            result
        }
    }

    /// Returns a task that yields first, so that other threads submit while it runs.
    pub(crate) fn slow_entry(&self, n: u8) -> impl FnOnce(&mut Log) -> Token + Send + 'static {
        let entry = self.entry(n);
        move |log| {
            yield_now();
            entry(log)
        }
    }

    /// Returns a task that panics.
    pub(crate) fn panicking_entry(&self, n: u8) -> impl FnOnce(&mut Log) -> Token + Send + 'static {
        let (counts, entry) = (Arc::clone(&self.counts), self.entry(n));
        move |log| {
            drop(entry(log));
            counts.panics.add(1);
            panic_quietly()
        }
    }

    /// Queues a task without checking whether the resource is idle.
    pub(crate) fn queue(&self, n: u8) {
        self.queue_at(0, n);
    }

    /// Queues a task at a level of priority, without checking whether the resource is idle.
    pub(crate) fn queue_at(&self, level: u8, n: u8) {
        let entry = self.entry(n);
        let tag = Tag { level, meta: None };
        let core = self.r.core();
        let queued = core.queue_detached(|log| drop(entry(log)), tag, Admission::Bounded);
        assert!(queued.is_ok());
    }

    /// Runs `f` on a new model thread.
    pub(crate) fn spawn<R: Send + 'static>(
        &self,
        f: impl FnOnce(World) -> R + Send + 'static,
    ) -> Spawned<R> {
        let world = self.clone();
        Spawned(thread::spawn(move || {
            let tally = world.tally.clone();
            let result = f(world);
            if tally.calls.blocks() {
                tally.calls.post(Call::Ended);
            }
            result
        }))
    }

    /// Runs jobs like a pool until `threads` model threads have ended.
    pub(crate) fn serve(&self, threads: usize) {
        let mut ended = 0;
        while ended < threads {
            match self.calls.wait() {
                Call::Job(job) => job.run(),
                Call::Ended => ended += 1,
            }
        }
    }

    /// Queues a task with a deadline, which passes when its alarm rings.
    #[cfg(captor_loom)]
    pub(crate) fn queue_timed(&self, n: u8) -> crate::Completion<Token> {
        let given = crate::raw::task::tag::Attributes {
            deadline: Some(std::time::Instant::now()),
            ..Default::default()
        };
        let core = self.r.core();
        let task = core.queue(self.entry(n), core.tag(Some(&given)), Admission::Bounded);
        let task = task.unwrap_or_else(|_| panic!("the task was refused"));
        crate::Completion::queued(task, Arc::downgrade(core) as _)
    }

    /// Drops this handle of the resource.
    pub(crate) fn drop_handle(self) -> Tally {
        // The checker does not see the drop of a handle. This look lets the checker switch threads
        // here.
        self.calls.is_empty();
        self.tally
    }

    /// Closes the resource, takes the value out and returns whether this call got the value.
    pub(crate) fn take_value(self) -> bool {
        let value = self.r.clone().into_inner().wait();
        let taken = value.is_ok();
        assert!(taken || matches!(value, Err(TaskError::Closed)));
        drop((value, self.drop_handle()));
        taken
    }

    /// Returns the part that outlives the resource.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Checks the balance and returns the numbers of the tasks that ran. Must be called when all
    /// submitted tasks are over and every model thread has ended.
    pub(crate) fn finish(self) -> Vec<u8> {
        // Only stale jobs can be left.
        self.run_jobs();
        // This check comes before the last submission, whose holder might find lost tasks by
        // chance.
        assert_eq!(self.r.stats().outstanding, 0, "a task was lost");
        let end = self.r.submit(|log| drop(log.entries()));
        self.work_until(|| end.is_finished());
        match end.wait() {
            Ok(()) | Err(TaskError::Closed) => {}
            Err(error) => panic!("the resource should be idle and open: {error}"),
        }
        let stats = self.r.stats();
        assert_eq!(stats.outstanding, 0, "{stats:?}");
        assert_eq!(
            stats.submitted,
            stats.completed + stats.panicked + stats.cancelled + stats.expired,
            "{stats:?}"
        );
        assert_eq!(stats.panicked, self.counts.panics.get(), "a task panicked");
        self.drop_handle().finish()
    }
}

impl Tally {
    pub(crate) fn token(&self) -> Token {
        self.counts.tokens.add(1);
        Token(Arc::clone(&self.counts))
    }

    /// Returns how many tokens were dropped.
    pub(crate) fn gone(&self) -> u64 {
        self.counts.tokens_gone.get()
    }

    /// Runs the jobs that are queued.
    pub(crate) fn run_jobs(&self) {
        while let Some(Call::Job(job)) = self.calls.take() {
            job.run();
        }
    }

    /// Runs jobs like a pool until `done` returns true.
    pub(crate) fn work_until(&self, done: impl Fn() -> bool) {
        while !done() {
            self.run_jobs();
            if !done() {
                yield_now();
            }
        }
    }

    /// Runs jobs like a pool until `n` tokens were dropped.
    pub(crate) fn work_until_gone(&self, n: u64) {
        self.work_until(|| self.gone() >= n);
    }

    /// Checks that nothing is left, and returns the numbers of the tasks that ran. Must be called
    /// when the last handle was dropped and every model thread has ended.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.run_jobs();
        let counts = self.counts;
        assert_eq!(counts.values.get(), counts.values_gone.get(), "values");
        assert_eq!(counts.tokens.get(), counts.tokens_gone.get(), "tokens");
        let last = self.last.lock().unwrap().take();
        last.expect("the value was dropped")
    }
}

/// A model thread.
pub(crate) struct Spawned<R = ()>(thread::JoinHandle<R>);

impl<R> Spawned<R> {
    pub(crate) fn join(self) -> R {
        self.0.join().expect("a model thread panicked")
    }
}

/// Checks whether `first` ran before `second`.
pub(crate) fn in_order(ran: &[u8], first: u8, second: u8) -> bool {
    let at = |n| ran.iter().position(|r| *r == n).expect("the task ran");
    at(first) < at(second)
}

/// Asserts that each of the expected tasks ran once, and no other task ran.
pub(crate) fn ran_all(ran: &[u8], expected: &[u8]) {
    let mut ran = ran.to_vec();
    ran.sort_unstable();
    assert_eq!(ran, expected);
}

/// Settings that differ from the default. They make the resource's second allocation exist from the
/// start, which spares the checker a race for it.
pub(crate) fn named() -> Settings {
    Settings {
        name: Some("model".into()),
        ..Settings::default()
    }
}

/// Settings of a resource that never runs tasks on its submitters.
pub(crate) fn pooled() -> Settings {
    Settings {
        pooled: true,
        ..named()
    }
}

/// Whether the long half of the models is asked for.
fn is_long_run() -> bool {
    std::env::var_os("CAPTOR_LONG").is_some_and(|value| value == "1")
}

/// A model that takes most of the time: by default, with one preemption less than `preemptions`.
/// `CAPTOR_LONG=1` asks for all of them.
pub(crate) fn long_model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    model(preemptions - usize::from(!is_long_run()), f);
}

/// Runs `f` in all interleavings with at most `preemptions` preemptions.
#[cfg(captor_loom)]
pub(crate) fn model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // `LOOM_MAX_PREEMPTIONS` goes deeper than the suite does by default.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(f);
    assert_eq!(
        crate::raw::thread::panics::record::count(),
        0,
        "a waker or a drop panicked"
    );
}

/// Runs `f` in interleavings that shuttle draws. loom does not see the counts of an `Arc` and does
/// not reorder them. shuttle draws every order of those steps.
#[cfg(captor_shuttle)]
pub(crate) fn model(_preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    draw(f);
    assert_eq!(
        crate::raw::thread::panics::record::count(),
        0,
        "a waker or a drop panicked"
    );
}

/// Runs `f` in interleavings drawn in two ways: at random, and with few, well-placed switches
/// (probabilistic concurrency testing, Burckhardt et al., 2010). `SCHEDULES` sets the number of
/// interleavings of each of the three runs. The default is 500, and 1,500 with `CAPTOR_LONG=1`.
#[cfg(captor_shuttle)]
pub(crate) fn draw(f: impl Fn() + Send + Sync + 'static) {
    let default = if is_long_run() { 1500 } else { 500 };
    let schedules =
        std::env::var("SCHEDULES").map_or(default, |n| n.parse().expect("SCHEDULES is a number"));
    let f = Arc::new(f);
    let run = |scheduler: Box<dyn Draws + Send>| {
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 18;
        let f = Arc::clone(&f);
        shuttle::Runner::new(scheduler, config).run(move || f());
    };
    run(Box::new(RandomScheduler::new(schedules)));
    for depth in [2, 4] {
        run(Box::new(PctScheduler::new(depth, schedules)));
    }
}

/// Raises a panic that the model intends, without a call of the hook that would print it.
pub(crate) fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("a panic that the model wants"))
}
