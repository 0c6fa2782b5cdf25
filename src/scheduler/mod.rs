//! [`Scheduler`]: the threads that run hand-offs, the timer, the registry of resources, and the
//! default settings of resources.
//!
//! A `Scheduler` is a public handle around the core's `Host`, which is a scheduler as its resources
//! see it. This layer must not name `resource` or `compose`, and knows resources only as cores.
//! `ci/layering.sh` says which layers this layer may name.
//!
//! - `mod`: the handle, the global scheduler, statistics and the list of named resources.
//! - `builder`: the settings, their defaults and ranges.
//! - `executor`: the way of a job to the pool or to the user's executor.
//! - `shutdown`: closes the resources, waits for their ends, stops the workers.
//! - `sleep`: a future of a time.
//! - `metrics`: publishes statistics through the `metrics` facade (feature `metrics`).

pub(crate) mod builder;
pub(crate) mod executor;
#[cfg(feature = "metrics")]
mod metrics;
mod shutdown;
pub(crate) mod sleep;

use crate::pool::spawn::spawn_thread;
use crate::pool::timer::Timer;
use crate::pool::{MAX_WORKERS, Observer, Pool};
use crate::raw::core::registry::Registry;
use crate::raw::core::{Core, Host, JobSink, Limits, Value};
use crate::raw::thread::panics;
use crate::raw::timing::alarm::Alarms;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::scheduler::builder::{DEFAULT_NAME, SchedulerBuilder, default_workers, parse_workers};
use crate::scheduler::executor::ByPool;
use crate::stats::{ResourceReport, SchedulerStats};
use crate::sync::{Arc, Counter, OnceLock};
use std::fmt;

/// Runs the hand-offs of resources, on a pool of workers or an [`Executor`](crate::Executor).
///
/// Most programs need only the [global](Scheduler::global) scheduler, which every
/// [`Resource::new`](crate::Resource::new) uses. A scheduler of your own separates workloads, or
/// has other settings. A scheduler lives as long as a handle or a resource of the scheduler exists.
///
/// ```
/// use captor::Scheduler;
/// use std::time::Duration;
///
/// let scheduler = Scheduler::builder()
///     .workers(2)
///     .thread_name("index")
///     .capture_limit(32)
///     .build()?;
/// let index = scheduler.resource(Vec::new());
/// index.with(|i| i.push(1))?;
/// assert!(scheduler.shutdown(Duration::from_secs(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Scheduler {
    host: Arc<Host>,
    pool: Option<Observer>,
    /// The figures that were published last.
    #[cfg(feature = "metrics")]
    pub(crate) published: Arc<crate::raw::core::published::PublishedScheduler>,
}

/// The environment variable that sets the size of the global pool.
const WORKERS_VAR: &str = "CAPTOR_WORKERS";

impl Scheduler {
    /// Returns the global scheduler, which every resource uses that is not given a scheduler.
    ///
    /// By default, the global scheduler has one worker for each CPU that the process may use. The
    /// environment variable `CAPTOR_WORKERS`, from 1 to 1024, sets another number, and is read at
    /// the first use. If the value is not a number in this range, captor logs an error through
    /// `tracing` and uses the default.
    ///
    /// The workers end with the process, and tasks that are still queued are then lost. To run all
    /// tasks before `main` returns, call [`shutdown`](Self::shutdown). On the global scheduler, a
    /// shutdown closes only resources that have a name.
    ///
    /// ```
    /// assert!(captor::Scheduler::global().stats().workers >= 1);
    /// ```
    #[must_use]
    pub fn global() -> &'static Scheduler {
        static GLOBAL: OnceLock<Scheduler> = OnceLock::new();
        let mut nonsense = None;
        let global = GLOBAL.get_or_init(|| {
            let value = std::env::var_os(WORKERS_VAR);
            let given = value.as_deref().map(parse_workers);
            nonsense = value.filter(|_| given == Some(None));
            let workers = given.flatten().unwrap_or_else(default_workers);
            let limits = SchedulerBuilder::new().limits;
            Scheduler::with_pool(limits, workers, DEFAULT_NAME.to_owned(), false)
        });
        // The error is logged after `get_or_init` has returned: a subscriber may use a resource of
        // the global scheduler.
        if let Some(value) = nonsense {
            panics::log_safely(|| {
                tracing::error!(
                    target: "captor",
                    ?value,
                    default = default_workers(),
                    "{WORKERS_VAR} must be a number between 1 and {MAX_WORKERS}; using the default"
                );
            });
        }
        global
    }

    fn with_pool(limits: Limits, workers: usize, thread_name: String, unnamed: bool) -> Self {
        let pool = Pool::new(workers, thread_name.clone(), Box::new(spawn_thread));
        let observer = pool.observer();
        let host = Host::new(limits, &thread_name, unnamed, Box::new(ByPool(pool)));
        Scheduler::of(host, Some(observer), &thread_name)
    }

    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    fn of(host: Host, pool: Option<Observer>, name: &str) -> Self {
        Scheduler {
            host: Arc::new(host),
            pool,
            #[cfg(feature = "metrics")]
            published: Arc::new(crate::raw::core::published::PublishedScheduler::new(name)),
        }
    }

    /// Makes the scheduler of a simulation. `dispatch` takes the jobs, and `alarms` is the virtual
    /// clock.
    #[cfg(feature = "testing")]
    pub(crate) fn simulated(dispatch: Box<dyn JobSink>, alarms: Box<dyn Alarms>) -> Self {
        let limits = Limits {
            // With a quantum of zero, a job runs one task.
            quantum: std::time::Duration::ZERO,
            lane: false,
            pooled: true,
            ..SchedulerBuilder::new().limits
        };
        let host = Host::with_alarms(limits, true, dispatch, alarms);
        Scheduler::of(host, None, DEFAULT_NAME)
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Returns a snapshot of the scheduler's counters.
    ///
    /// ```
    /// println!("{:?}", captor::Scheduler::global().stats());
    /// ```
    #[must_use]
    pub fn stats(&self) -> SchedulerStats {
        let pool = self.pool.as_ref();
        let count = |f: fn(&Observer) -> usize| pool.map_or(0, |p| f(p) as u64);
        // `finished` is read before `dispatched`, so `finished` is never the greater figure.
        let finished = self.host.finished.get();
        SchedulerStats {
            workers: count(Observer::workers),
            threads: count(Observer::threads),
            idle: count(Observer::idle),
            dispatched: self.host.dispatched.get(),
            finished,
        }
    }

    /// Returns the resources that have a [name](crate::ResourceBuilder::name), with their
    /// statistics, sorted by name. Names need not be unique. O(n log n) for n resources.
    ///
    /// ```
    /// use captor::{Resource, Scheduler};
    ///
    /// let scheduler = Scheduler::builder().build()?;
    /// let orders = Resource::builder().name("orders").scheduler(&scheduler).build(())?;
    /// let unnamed = scheduler.resource(());
    /// assert_eq!(scheduler.resources().len(), 1);
    /// drop(orders);
    /// assert_eq!(scheduler.resources(), []);
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn resources(&self) -> Vec<ResourceReport> {
        self.named().into_iter().map(|(_, report)| report).collect()
    }

    /// Returns the resources that have a name, each with its report, sorted by name.
    pub(crate) fn named(&self) -> Vec<(Arc<Core<dyn Value>>, ResourceReport)> {
        let live = self.host.registry.live().into_iter();
        let mut all: Vec<_> = live
            .filter_map(|core| {
                let report = ResourceReport {
                    name: core.settings().name.clone()?,
                    stats: core.stats(),
                    queue_waits: core.stopwatch().and_then(Stopwatch::waits),
                };
                Some((core, report))
            })
            .collect();
        all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        all
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("limits", &self.host.limits)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Host {
    /// Makes the inside of a scheduler with a timer thread. If `unnamed`, the registry holds
    /// resources without a name too.
    fn new(limits: Limits, thread_name: &str, unnamed: bool, dispatch: Box<dyn JobSink>) -> Self {
        let timer = Timer::new(format!("{thread_name}-timer"), Box::new(spawn_thread));
        Host::with_alarms(limits, unnamed, dispatch, Box::new(timer))
    }

    fn with_alarms(
        limits: Limits,
        unnamed: bool,
        dispatch: Box<dyn JobSink>,
        alarms: Box<dyn Alarms>,
    ) -> Self {
        Host {
            limits,
            dispatch,
            alarms,
            registry: Registry::new(unnamed),
            dispatched: Counter::default(),
            finished: Counter::default(),
        }
    }
}

#[cfg(all(test, not(any(captor_loom, captor_shuttle))))]
mod tests {
    use super::*;
    use crate::error::TaskError;
    use crate::raw::timing::alarm::{Alarm, Alarms};
    use crate::resource::Resource;
    use crate::resource::settings::Dispatch as Where;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};

    /// The start of a worker fails while a shutdown waits for that worker. The task runs all the
    /// same, and the shutdown ends.
    #[test]
    fn shutdown_ends_when_worker_start_fails() {
        let ((entered, starts), (fail, failing)) = (mpsc::channel(), mpsc::channel::<()>());
        let failing = Mutex::new(failing);
        let spawn = move |_, main| {
            entered.send(()).unwrap();
            let _ = failing.lock().unwrap().recv();
            drop::<Box<dyn FnOnce() + Send>>(main);
            Err(std::io::Error::other("no thread"))
        };
        let pool = Pool::new(1, "none".into(), Box::new(spawn));
        let (limits, observer) = (SchedulerBuilder::new().limits, pool.observer());
        let host = Host::new(limits, "none", true, Box::new(ByPool(pool)));
        let scheduler = Scheduler::of(host, Some(observer), "none");
        let r = Resource::builder()
            .scheduler(&scheduler)
            .dispatch(Where::Pool);
        let r = r.build(0).unwrap();
        let submitter = thread::spawn(move || r.submit(|n| *n + 1).wait());
        starts.recv().unwrap();
        let ends = thread::spawn(move || scheduler.shutdown(Duration::from_secs(600)));
        drop(fail);
        assert_eq!(submitter.join().unwrap(), Ok(1));
        let end = Instant::now() + Duration::from_secs(60);
        while !ends.is_finished() {
            assert!(
                Instant::now() < end,
                "the shutdown waits for a thread that never started"
            );
            thread::yield_now();
        }
        assert!(ends.join().unwrap());
    }

    /// A clock whose time passes by one second with each reading, and whose alarms never ring.
    struct Passing {
        epoch: Instant,
        readings: AtomicU64,
    }

    impl Alarms for Passing {
        fn now(&self) -> Instant {
            let seconds = self.readings.fetch_add(1, Ordering::Relaxed);
            self.epoch + Duration::from_secs(seconds)
        }

        fn add(&self, _: Instant, _: Box<dyn Alarm>) {}
    }

    fn with_passing_clock() -> Scheduler {
        let pool = Pool::new(1, "passing".into(), Box::new(spawn_thread));
        let clock = Passing {
            epoch: Instant::now(),
            readings: AtomicU64::new(0),
        };
        let limits = SchedulerBuilder::new().limits;
        let host = Host::with_alarms(limits, true, Box::new(ByPool(pool)), Box::new(clock));
        Scheduler::of(host, None, "passing")
    }

    /// The first reading of a call is before this deadline, and the second is after it.
    fn between_readings(scheduler: &Scheduler) -> Instant {
        scheduler.host.now() + Duration::from_millis(1500)
    }

    #[test]
    fn task_expires_when_deadline_passes_at_claim() {
        let scheduler = with_passing_clock();
        let r = scheduler.resource(0_u32);
        let task = || r.task().deadline(between_readings(&scheduler));
        let late = Err(TaskError::Expired);
        assert_eq!(task().submit(|n| *n += 1).wait(), late);
        assert_eq!(task().try_submit(|n| *n += 1).unwrap().wait(), late);
        assert_eq!(task().submit_async(async |n| *n += 1).wait(), late);
        assert_eq!(task().with(|n| *n += 1), late);
        assert_eq!(task().execute(|n| *n += 1), Ok(()));
        assert_eq!(r.with(|n| *n), Ok(0));
        let stats = r.stats();
        assert_eq!((stats.expired, stats.outstanding), (5, 0));
    }
}
