//! Tests your own code in many orders of tasks, each of which can be repeated. Needs the feature
//! `testing`.
//!
//! A [`Simulation`] is a [`Scheduler`] without threads. Tasks that are submitted to its resources
//! are queued, and run on the test's own thread, one at a time. A seed decides which resource runs
//! its next task. So the same seed gives the same order, and other seeds give other orders. Time is
//! virtual: it stands still until the test [advances](Simulation::advance) it, or until nothing can
//! run.
//!
//! [`check`] runs a test under many seeds, and prints the seed that fails:
//!
//! ```should_panic
//! use captor::testing::check;
//!
//! // Each client reads in one task and writes in a later task: an update may be lost.
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
//! Below the message of the panic, `check` prints `captor: seed N fails; to repeat this seed alone:
//! CAPTOR_SEED=N`. Then `check` panics. If you set that variable, each `check` tries only
//! that seed.
//!
//! # The simulated parts
//!
//! A simulation covers the resources of [`Simulation::scheduler`], and everything that they do. So
//! give the code under test this scheduler, or resources of this scheduler. [`Resource::new`] makes
//! a resource of the global scheduler instead.
//!
//! Each resource behaves as with [`Dispatch::Pool`]: tasks do not run inside of `submit`, but in
//! steps. A plain task is one step. An asynchronous task takes one step from each wait to the next.
//! Tasks of one resource keep their order. The seed only chooses the resource whose turn it is.
//!
//! Virtual time rules deadlines, timeouts of tasks and of waits, [`sleep`](Scheduler::sleep),
//! [`submit_after`](Resource::submit_after), [`every`](Resource::every), slow tasks and times in
//! queues. Tasks take no time, unless they [advance the clock](Clock::advance). If you need an
//! [`Instant`], for example for a deadline, make it from [`Scheduler::now`].
//!
//! # Waits
//!
//! A wait on the simulation's thread runs the simulation until the wait is over. Such waits are
//! [`with`](Resource::with), [`Completion::wait`], [`Simulation::block_on`] and all others.
//!
//! - If nothing can run, the wait lets time pass to the next alarm.
//! - If no alarm is set either, nothing could end the wait. The wait returns
//!   [`TaskError::WouldDeadlock`], and `block_on` panics.
//! - Past the [step limit](Simulation::step_limit), the wait returns
//!   [`TaskError::WouldDeadlock`] too, and `block_on` panics.
//!
//! If a task blocks, the awaited task runs on top of the blocked task. Tasks of other resources run
//! on top only if the awaited resource cannot run. This has two effects:
//!
//! - Blocking waits explore fewer orders than asynchronous waits.
//! - If a task that runs on top waits in turn for the blocked task, that wait is refused as a
//!   deadlock.
//!
//! # The limits
//!
//! A simulation does not cover:
//!
//! - Other threads. The simulation runs tasks that they submit, but the seed does not decide when
//!   they submit.
//! - Other sources of chance: hash maps, the system's clock, random numbers.
//! - Preemption. No task is interrupted, so data that tasks share besides resources is not tested.
//!
//! [`Dispatch::Pool`]: crate::Dispatch::Pool
//! [`Completion::wait`]: crate::Completion::wait
//! [`TaskError::WouldDeadlock`]: crate::TaskError::WouldDeadlock

// For maintainers: this layer is the outermost, and no other layer names it. `ci/layering.sh` says
// which layers this layer may name. `check` runs a test under many seeds. `world` is the list of
// jobs, the random order and the virtual clock behind the simulated scheduler. The traits `JobSink`
// and `Alarms` of the core are the seam: `docs/design/resources.md` describes it.
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

/// The default step limit.
const LIMIT: u64 = 1_000_000;

/// A scheduler on this thread that runs tasks in an order that follows from a seed. The
/// [module](self) describes simulations.
///
/// Dropping the simulation closes its resources and cancels the tasks that are left.
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
///         sender.execute(move |()| log.execute(move |log| log.push_str(name)).unwrap()).unwrap();
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
    /// Makes the simulation neither `Send` nor `Sync`, so that no other thread can use it.
    _local: PhantomData<*const ()>,
}

impl Simulation {
    /// Makes a simulation whose order follows from `seed`.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// assert_eq!(sim.resource(1).with(|n| *n + 1), Ok(2));
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // A panic that an earlier simulation left on this thread does not belong to this
        // simulation.
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

    /// Sets the number of steps after which the simulation counts as endless. The default is
    /// 1,000,000 steps.
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

    /// Returns the seed of the simulation.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the simulated scheduler, for the code under test.
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

    /// Makes a resource of the simulated scheduler, with default settings.
    pub fn resource<T: Send + 'static>(&self, value: T) -> Resource<T> {
        self.scheduler.resource(value)
    }

    /// Returns the virtual clock, which can be moved into tasks.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock {
            world: Arc::clone(&self.world),
            scheduler: self.scheduler.clone(),
        }
    }

    /// Returns a number below `n` that depends on the seed, for choices of the test's own. A test
    /// may choose what to submit, whether to [step](Self::step) meanwhile, or which call fails.
    ///
    /// # Panics
    /// Panics if `n` is 0.
    ///
    /// ```
    /// let sim = captor::testing::Simulation::new(7);
    /// assert!(sim.choose(6) < 6);
    /// ```
    #[must_use]
    pub fn choose(&self, n: usize) -> usize {
        assert!(n > 0, "`choose` needs at least one number to choose from");
        self.world.choose(n)
    }

    /// Runs one task. Returns `false` if no task can run. Time stands still.
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
    /// Panics past the [step limit](Self::step_limit), if a task could still run.
    pub fn step(&self) -> bool {
        if self.world.is_spent() && self.world.runnable() > 0 {
            panic!(
                "simulation with seed {}: step limit reached, and tasks still run",
                self.seed
            );
        }
        self.world.step(None)
    }

    /// Runs tasks until no task can run. Time stands still.
    ///
    /// # Panics
    /// Panics past the [step limit](Self::step_limit).
    pub fn run(&self) {
        while self.step() {}
    }

    /// Runs all tasks that can run, and then lets `time` pass. Each alarm rings exactly at its
    /// time. After each alarm, all tasks that can run then are run.
    ///
    /// ```
    /// use captor::testing::Simulation;
    /// use std::time::Duration;
    ///
    /// const HOUR: Duration = Duration::from_secs(3600);
    /// let sim = Simulation::new(7);
    /// let r = sim.resource(0);
    /// let ticks = r.every(HOUR, |n| *n += 1);
    /// sim.advance(1000 * HOUR); // takes no real time
    /// assert_eq!(r.with(|n| *n), Ok(1000));
    /// ```
    ///
    /// # Panics
    /// Panics past the [step limit](Self::step_limit).
    pub fn advance(&self, time: Duration) {
        let until = self.world.elapsed().saturating_add(time);
        self.run();
        while let Some(at) = self.world.next_alarm().filter(|at| *at <= until) {
            self.world.pass_to(at);
            self.run();
        }
        self.world.pass_to(until);
    }

    /// Runs the simulation until `future` resolves, and returns its output. The seed also decides
    /// when the future is polled, among the tasks that could run.
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
    /// Panics if no task and no alarm is left that could wake the future, or past the
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
                    "simulation with seed {}: no task or alarm is left that could wake the future, \
                     or the step limit is reached",
                    self.seed
                );
            }
        }
    }

    /// Returns the first unseen panic on this thread, and forgets it. A panic is unseen if it went
    /// only to the log, for example the panic of a task whose outcome no caller took. Only panics
    /// since the last call count, or since the simulation was made.
    ///
    /// [`check`] fails if an unseen panic is left. If the panic is intended, take it here first.
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

/// The virtual clock of a [`Simulation`], which can be cloned and moved into tasks.
#[derive(Clone)]
pub struct Clock {
    world: Arc<World>,
    scheduler: Scheduler,
}

impl Clock {
    /// Returns the virtual time as an [`Instant`], for comparison with other instants.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.scheduler.now()
    }

    /// Returns the virtual time that has passed since the simulation was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.world.elapsed()
    }

    /// Lets `time` pass without running other tasks. A task that calls this takes that long.
    /// Meanwhile, queued tasks may expire, and sleeps that are over wake their tasks.
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

/// The waker of `block_on`. The future must be polled if the value is 1.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(1, Ordering::Release);
    }
}
