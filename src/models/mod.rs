//! The production code under a model checker.
//!
//! Built under `--cfg captor_loom` or `--cfg captor_shuttle` only. What runs
//! here is the crate itself, whose atomics, cells, locks and threads are the
//! checker's through `crate::sync`; a model brings a few threads, a scheduler
//! whose jobs a model thread runs, and the assertions.
//!
//! - loom goes through all interleavings of two or three threads (up to a
//!   bound on preemptions) and all the values that the orderings allow, so it
//!   finds weak orderings. One file per event.
//! - shuttle draws interleavings at random and takes every ordering for
//!   sequentially consistent, so it finds lost wake-ups and hangs: in larger
//!   programs ([`programs`]), and in some of loom's models that turn on who
//!   lets go of an `Arc` last. loom reorders only what it sees to conflict,
//!   and those counts are `std`'s.
//!
//! Every model asserts the same things about its resource:
//!
//! - exclusive and visible (G1, G3): the value lies in a checked cell, and so
//!   does a cell inside of it that each task touches;
//! - ordered (G2): [`Log`] says in which order tasks ran;
//! - exactly once, nothing lost (G4): each closure and result carries a
//!   [`Token`] that counts; [`World::finish`] looks at the balance, at the
//!   resource's own counters, and that the resource is idle again;
//! - nothing panicked unseen: captor contains panics, so a failed assertion
//!   inside a task, or a checker's own complaint there, would be lost, were
//!   they not counted.
//!
//! What hides bugs, and is therefore avoided: a channel or lock that the
//! checker knows adds edges between threads that the protocol should have
//! made. So jobs travel through a [`Mailbox`] that the checker sees as a
//! relaxed counter only, and threads that wait for work spin on it.

// Each checker uses its own part of what is here.
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
mod stand_ins;
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
#[cfg(captor_shuttle)]
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler as Draws};
use stand_ins::Jobs;
pub(crate) use stand_ins::{
    Call, Crossing, HOUR, Mailbox, ManualTimer, Noted, WaitProbe, block_on, poll, poll_with,
};
use std::time::Duration;

/// Longer than any model runs: the clock must not decide anything.
pub(crate) const FOREVER: Duration = Duration::MAX;

#[derive(Debug, Default)]
struct Counts {
    tokens: Counter,
    tokens_gone: Counter,
    values: Counter,
    values_gone: Counter,
    panics: Counter,
}

/// Counts closures and results: as many have to go as were made.
#[derive(Debug)]
pub(crate) struct Token(Arc<Counts>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.tokens_gone.add(1);
    }
}

/// The value of a model's resource: what ran, in order. Who reads or writes it
/// without the role, or without the edges that the role brings, is caught.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Vec<u8>,
    touched: UnsafeCell<()>,
    counts: Arc<Counts>,
    /// Set when the value goes: what it held then.
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

/// The inside of a scheduler: what its jobs and alarms go to, and when a drainer leaves.
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

/// A resource, and the tally of what became of it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) r: Resource<Log>,
    tally: Tally,
}

/// What is left of a [`World`] without its resource.
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

impl World {
    /// Jobs do one task at a time where `quantum` is zero.
    pub(crate) fn new(capture_limit: usize, quantum: Duration, settings: Settings) -> Self {
        Self::with_mailbox(Mailbox::edgeless(), capture_limit, quantum, settings)
    }

    /// [`World::restless`], for [`World::serve`].
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

    /// Nobody comes to their limits here, so there are no hand-offs.
    pub(crate) fn calm() -> Self {
        Self::new(10, FOREVER, Settings::default())
    }

    /// Everybody runs one task and hands off.
    pub(crate) fn restless() -> Self {
        Self::new(1, Duration::ZERO, Settings::default())
    }

    /// A task that notes that it ran.
    pub(crate) fn entry(&self, n: u8) -> impl FnOnce(&mut Log) -> Token + Send + 'static {
        let (closure, result) = (self.token(), self.token());
        move |log| {
            log.push(n);
            drop(closure);
            result
        }
    }

    /// A task that is at work for a while: others come meanwhile.
    pub(crate) fn slow_entry(&self, n: u8) -> impl FnOnce(&mut Log) -> Token + Send + 'static {
        let entry = self.entry(n);
        move |log| {
            yield_now();
            entry(log)
        }
    }

    /// A task that panics.
    pub(crate) fn panicking_entry(&self, n: u8) -> impl FnOnce(&mut Log) -> Token + Send + 'static {
        let (counts, entry) = (Arc::clone(&self.counts), self.entry(n));
        move |log| {
            drop(entry(log));
            counts.panics.add(1);
            panic_quietly()
        }
    }

    /// Queues without a look at whether the resource is idle.
    pub(crate) fn queue(&self, n: u8) {
        self.queue_at(0, n);
    }

    /// The same, at a level of priority.
    pub(crate) fn queue_at(&self, level: u8, n: u8) {
        let entry = self.entry(n);
        let tag = Tag { level, meta: None };
        let core = self.r.core();
        let queued = core.queue_detached(|log| drop(entry(log)), tag, Admission::Bounded);
        assert!(queued.is_ok());
    }

    /// Runs `f` on a thread of its own.
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

    /// Works as a pool would, until `threads` have ended.
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
        let task = task.unwrap_or_else(|_| panic!("refused"));
        crate::Completion::queued(task, Arc::downgrade(core) as _)
    }

    /// Lets go of the resource.
    pub(crate) fn part(self) -> Tally {
        // The checker does not see handles go: let it switch threads here.
        self.calls.is_empty();
        self.tally
    }

    /// Takes the value out, if it can. Was it there?
    pub(crate) fn part_with_value(self) -> bool {
        let value = self.r.clone().into_inner().wait();
        let taken = value.is_ok();
        assert!(taken || matches!(value, Err(TaskError::Closed)));
        drop((value, self.part()));
        taken
    }

    /// What is left when the resource is gone.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// All that was submitted is through, and every thread has ended: are the
    /// books balanced? Returns what ran.
    pub(crate) fn finish(self) -> Vec<u8> {
        // Stale ones at most.
        self.run_jobs();
        // Before anybody comes who would find by chance what was left lying.
        assert_eq!(self.r.stats().outstanding, 0, "lost");
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
        self.part().finish()
    }
}

impl Tally {
    pub(crate) fn token(&self) -> Token {
        self.counts.tokens.add(1);
        Token(Arc::clone(&self.counts))
    }

    /// How many tokens are gone.
    pub(crate) fn gone(&self) -> u64 {
        self.counts.tokens_gone.get()
    }

    /// Runs the jobs that are there.
    pub(crate) fn run_jobs(&self) {
        while let Some(Call::Job(job)) = self.calls.take() {
            job.run();
        }
    }

    /// Works as a pool would, until `done`.
    pub(crate) fn work_until(&self, done: impl Fn() -> bool) {
        while !done() {
            self.run_jobs();
            if !done() {
                yield_now();
            }
        }
    }

    /// The same, until `n` tokens are gone.
    pub(crate) fn work_until_gone(&self, n: u64) {
        self.work_until(|| self.gone() >= n);
    }

    /// The last handle is gone and every thread has ended: is nothing left?
    /// Returns what ran.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.run_jobs();
        let counts = self.counts;
        assert_eq!(counts.values.get(), counts.values_gone.get(), "values");
        assert_eq!(counts.tokens.get(), counts.tokens_gone.get(), "tokens");
        let last = self.last.lock().unwrap().take();
        last.expect("the value is gone")
    }
}

/// A model thread.
pub(crate) struct Spawned<R = ()>(thread::JoinHandle<R>);

impl<R> Spawned<R> {
    pub(crate) fn join(self) -> R {
        self.0.join().expect("a model thread panicked")
    }
}

/// Did `first` run before `second`?
pub(crate) fn in_order(ran: &[u8], first: u8, second: u8) -> bool {
    let at = |n| ran.iter().position(|r| *r == n).expect("it ran");
    at(first) < at(second)
}

/// Did each of these run once, and nothing else?
pub(crate) fn ran_all(ran: &[u8], expected: &[u8]) {
    let mut ran = ran.to_vec();
    ran.sort_unstable();
    assert_eq!(ran, expected);
}

/// Settings that differ from the default so that the resource's second
/// allocation is there from the start, which spares the checker a race for it.
pub(crate) fn named() -> Settings {
    Settings {
        name: Some("model".into()),
        ..Settings::default()
    }
}

/// Of a resource whose tasks never run on who submits them.
pub(crate) fn pooled() -> Settings {
    Settings {
        pooled: true,
        ..named()
    }
}

/// Goes through the interleavings of `f` with at most so many preemptions.
#[cfg(captor_loom)]
pub(crate) fn model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // `LOOM_MAX_PREEMPTIONS` goes deeper than the suite does by itself.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(f);
    assert_eq!(
        crate::raw::thread::panics::record::count(),
        0,
        "a waker or a drop panicked"
    );
}

/// Draws interleavings of `f`: what loom does not see (who counts the references of an
/// `Arc`, say), and so does not reorder, may come in any order here.
#[cfg(captor_shuttle)]
pub(crate) fn model(_preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    draw(f);
    assert_eq!(
        crate::raw::thread::panics::record::count(),
        0,
        "a waker or a drop panicked"
    );
}

/// At random, and with few but well-placed switches (the probabilistic concurrency
/// testing of Burckhardt et al., 2010). `SCHEDULES` sets how many.
#[cfg(captor_shuttle)]
pub(crate) fn draw(f: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SCHEDULES").map_or(1500, |n| n.parse().expect("a number"));
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

/// Raises a panic that the model wants, past the hook that would print it.
pub(crate) fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("a panic that the model wants"))
}
