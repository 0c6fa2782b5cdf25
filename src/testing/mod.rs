//! Your own code on resources, in many orders, each of them repeatable. (Feature
//! `testing`.)
//!
//! A [`Simulation`] is a [`Scheduler`] without threads: what is submitted to its
//! resources is queued, and run on the test's own thread, one task at a time. Whose task
//! is next is drawn from a seed, so the same seed is the same order, and other seeds are
//! others. Time is virtual: it stands still until it is [advanced](Simulation::advance),
//! or until there is nothing else to do.
//!
//! [`check`] runs a test under many seeds, and says which of them fails:
//!
//! ```should_panic
//! use captor::testing::check;
//!
//! // Each reads in one task and writes in another: an update may be lost.
//! check(0..100, |sim| {
//!     let total = sim.resource(0);
//!     let clients = [1, 2].map(|n| {
//!         let total = total.clone();
//!         sim.resource(()).submit_async(async move |()| {
//!             let before = total.submit(|t| *t).await?;
//!             total.submit(move |t| *t = before + n).await
//!         })
//!     });
//!     for client in clients {
//!         client.wait().and_then(|outcome| outcome).unwrap();
//!     }
//!     assert_eq!(total.with(|t| *t), Ok(3));
//! });
//! ```
//!
//! It prints `captor: seed N fails; to repeat it alone: CAPTOR_SEED=N`, below the message
//! of the panic, and panics on. With that variable set, each `check` tries that seed only.
//!
//! # What is simulated
//!
//! The resources of [`Simulation::scheduler`], and all that they do: so the code under
//! test is to be given its scheduler, or its resources. ([`Resource::new`] is of the
//! global one.) Each of them behaves as with [`Dispatch::Pool`]: nothing runs inside of
//! `submit`, only in steps. A task is one step; an asynchronous one is a step from one
//! wait to the next. Tasks of one resource keep their order, as ever. Chosen is whose
//! turn it is.
//!
//! Time is that of deadlines, timeouts (of waits too), [`sleep`](Scheduler::sleep),
//! [`submit_after`](Resource::submit_after), [`every`](Resource::every), slow tasks and
//! times in queues. Tasks take none, unless they [say so](Clock::advance). Where an
//! [`Instant`] is wanted, a deadline say, make it from [`Scheduler::now`].
//!
//! # Waits
//!
//! A wait on the simulation's thread ([`with`](Resource::with),
//! [`Completion::wait`], [`Simulation::block_on`] and so on) runs the simulation until it
//! is over, and where nothing can run lets time pass to the next alarm. If there is no
//! alarm either, nothing could end it: it is [`TaskError::WouldDeadlock`] (`block_on`
//! panics). So it is past the [step limit](Simulation::step_limit).
//!
//! A task that blocks runs what it waits for on top of itself, others only if that
//! cannot run: so such waits explore fewer orders than asynchronous ones, and if one of
//! those others waits for the first in turn, it is told that this would deadlock.
//!
//! # What is not
//!
//! Other threads: what they submit is run all the same, but when is up to them. Other
//! sources of chance: hash maps, the system's clock and random numbers. Preemption: a
//! task is not interrupted, so what tasks share besides resources is not tested.
//!
//! [`Dispatch::Pool`]: crate::Dispatch::Pool
//! [`Completion::wait`]: crate::Completion::wait
//! [`TaskError::WouldDeadlock`]: crate::TaskError::WouldDeadlock

mod check;
mod world;

pub use check::check;

use crate::raw::core::Instead;
use crate::resource::Resource;
use crate::scheduler::Scheduler;
use crate::sync::{Arc, AtomicUsize, Ordering};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use world::{World, WorldHandle};

/// Steps, unless it is said.
const LIMIT: u64 = 1_000_000;

/// A scheduler on this thread, whose order comes from a seed. See the
/// [module](self).
///
/// Dropping it cancels what is left, and closes its resources.
///
/// ```
/// use captor::testing::Simulation;
///
/// let orders = [1, 2, 3, 4, 5, 6].map(|seed| {
///     let sim = Simulation::new(seed);
///     let log = sim.resource(String::new());
///     for name in ["a", "b"] {
///         let log = log.clone();
///         let sender = sim.resource(());
///         sender.execute(move |()| log.execute(move |log| log.push_str(name))).unwrap();
///     }
///     sim.run();
///     log.with(|log| log.clone()).unwrap()
/// });
/// assert!(orders.contains(&"ab".to_owned()) && orders.contains(&"ba".to_owned()));
/// ```
pub struct Simulation {
    seed: u64,
    world: Arc<World>,
    scheduler: Scheduler,
    /// It stays on its thread.
    _local: PhantomData<*const ()>,
}

impl Simulation {
    /// One whose order is that of `seed`.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// assert_eq!(sim.resource(1).with(|n| *n + 1), Ok(2));
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // One of an earlier simulation is not this one's.
        drop(crate::raw::thread::panics::record::take_first());
        let world = Arc::new(World::new(seed, LIMIT));
        let part = || Box::new(WorldHandle(Arc::clone(&world)));
        let scheduler = Scheduler::simulated(part(), part());
        Simulation {
            seed,
            world,
            scheduler,
            _local: PhantomData,
        }
    }

    /// After how many steps it is taken for endless. Default: a million.
    ///
    /// ```should_panic
    /// # use captor::Resource;
    /// fn again(r: Resource<u32>) {
    ///     let next = r.clone();
    ///     r.execute(move |_| again(next)).unwrap();
    /// }
    ///
    /// let sim = captor::testing::Simulation::new(7);
    /// sim.step_limit(100);
    /// again(sim.resource(0));
    /// sim.run(); // panics
    /// ```
    pub fn step_limit(&self, steps: u64) {
        self.world.set_limit(steps);
    }

    /// The seed that it was made with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The scheduler, for the code under test.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// let jobs = captor::Resource::builder().scheduler(sim.scheduler()).capacity(8);
    /// let jobs = jobs.build(Vec::<u32>::new())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// A resource of it, with default settings.
    pub fn resource<T: Send + 'static>(&self, value: T) -> Resource<T> {
        self.scheduler.resource(value)
    }

    /// The virtual clock, to be given to tasks.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock {
            world: Arc::clone(&self.world),
            scheduler: self.scheduler.clone(),
        }
    }

    /// A number below `n` that depends on the seed, for choices of the test's own: what
    /// to submit, whether to [step](Self::step) meanwhile, what to let fail.
    ///
    /// # Panics
    /// If `n` is 0.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// assert!(sim.choose(6) < 6);
    /// ```
    #[must_use]
    pub fn choose(&self, n: usize) -> usize {
        assert!(n > 0, "a choice of nothing");
        self.world.choose(n)
    }

    /// Runs one task. `false`: there is none that could run. Time stands still.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// let r = sim.resource(0);
    /// let one = r.submit(|n| *n += 1);
    /// assert!(!one.is_finished());
    /// assert!(sim.step() && one.is_finished());
    /// assert!(!sim.step());
    /// ```
    ///
    /// # Panics
    /// Past the [step limit](Self::step_limit).
    pub fn step(&self) -> bool {
        if self.world.is_spent() && self.world.runnable() > 0 {
            panic!("simulation with seed {}: endless, it seems", self.seed);
        }
        self.world.step(None)
    }

    /// Runs tasks until none is left that could run. Time stands still.
    ///
    /// # Panics
    /// Past the [step limit](Self::step_limit).
    pub fn run(&self) {
        while self.step() {}
    }

    /// Runs what can run, and then lets so much time pass: alarm by alarm, each exactly
    /// at its time, and after each runs what can run then.
    ///
    /// ```
    /// use captor::testing::Simulation;
    /// use std::time::Duration;
    ///
    /// const HOUR: Duration = Duration::from_secs(3600);
    /// let sim = Simulation::new(7);
    /// let r = sim.resource(0);
    /// let ticks = r.every(HOUR, |n| *n += 1);
    /// sim.advance(1000 * HOUR); // at once
    /// assert_eq!(r.with(|n| *n), Ok(1000));
    /// ```
    ///
    /// # Panics
    /// Past the [step limit](Self::step_limit).
    pub fn advance(&self, time: Duration) {
        let until = self.world.elapsed().saturating_add(time);
        self.run();
        while let Some(at) = self.world.next_alarm().filter(|at| *at <= until) {
            self.world.pass_to(at);
            self.run();
        }
        self.world.pass_to(until);
    }

    /// Runs the simulation until `future` is through. When the future is polled, of what
    /// else could run, is a matter of the seed too.
    ///
    /// ```
    /// use captor::testing::Simulation;
    /// use std::time::Duration;
    ///
    /// let sim = Simulation::new(7);
    /// let r = sim.resource(20);
    /// let result = sim.block_on(async {
    ///     sim.scheduler().sleep(Duration::from_secs(3600)).await;
    ///     r.submit(|n| *n + 1).await
    /// });
    /// assert_eq!(result, Ok(21));
    /// ```
    ///
    /// # Panics
    /// If nothing is left to do that could wake the future, or past the
    /// [step limit](Self::step_limit).
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let woken = Arc::new(Woken(AtomicUsize::new(1)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        loop {
            let is_woken = woken.0.load(Ordering::Acquire) != 0;
            if is_woken && self.world.choose(self.world.runnable() + 1) == 0 {
                woken.0.store(0, Ordering::Release);
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            } else if self.world.wait(None, None) == Instead::InVain {
                panic!(
                    "simulation with seed {}: nothing is left to do that could wake the future \
                     (or its step limit is reached)",
                    self.seed
                );
            }
        }
    }

    /// A panic that nobody saw since this was asked last, or since the simulation was
    /// made, on this thread: of a task whose outcome nobody took, say. For [`check`]
    /// that is a failure; take it here first if it is none.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// sim.resource(0).execute(|_| panic!("spilled")).unwrap();
    /// sim.run();
    /// assert_eq!(sim.take_panic().as_deref(), Some("spilled"));
    /// assert_eq!(sim.take_panic(), None);
    /// ```
    pub fn take_panic(&self) -> Option<String> {
        crate::raw::thread::panics::record::take_first()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        for core in self.scheduler.host().registry.live() {
            core.close();
            core.cancel_pending();
        }
        self.world.end();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("seed", &self.seed)
            .field("runnable", &self.world.runnable())
            .field("elapsed", &self.world.elapsed())
            .finish_non_exhaustive()
    }
}

/// The clock of a [`Simulation`], for tasks and for whoever asks what time it is.
#[derive(Clone)]
pub struct Clock {
    world: Arc<World>,
    scheduler: Scheduler,
}

impl Clock {
    /// The virtual time, as an [`Instant`] to compare others with.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.scheduler.now()
    }

    /// The virtual time since the simulation was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.world.elapsed()
    }

    /// Lets so much time pass, and nothing else run: a task that calls this takes so
    /// long. What waits in queues may expire meanwhile, and who sleeps is woken.
    ///
    /// ```
    /// use captor::TaskError;
    /// use captor::testing::Simulation;
    /// use std::time::Duration;
    ///
    /// let sim = Simulation::new(7);
    /// let (r, clock) = (sim.resource(0), sim.clock());
    /// let slow = r.submit(move |_| clock.advance(Duration::from_secs(5)));
    /// let late = r.task().timeout(Duration::from_secs(5)).submit(|n| *n += 1);
    /// assert_eq!((slow.wait(), late.wait()), (Ok(()), Err(TaskError::Expired)));
    /// ```
    pub fn advance(&self, time: Duration) {
        let until = self.world.elapsed().saturating_add(time);
        while let Some(at) = self.world.next_alarm().filter(|at| *at <= until) {
            self.world.pass_to(at);
        }
        self.world.pass_to(until);
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("elapsed", &self.elapsed())
            .finish()
    }
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(1, Ordering::Release);
    }
}
