//! [`Scheduler`]: who runs what resources hand off, and their settings.

#[cfg(feature = "metrics")]
mod metrics;
pub(crate) mod sleep;

use crate::error::{BuildError, ShutdownError, Unfinished};
use crate::future::closed;
use crate::pool::timer::Timer;
use crate::pool::{MAX_WORKERS, Observer, Pool, spawn_thread};
use crate::raw::core::registry::Registry;
use crate::raw::core::{Core, Dispatch, Host, Instead, Job, Limits, Value};
use crate::raw::strand::barrier;
use crate::raw::thread::context;
use crate::raw::thread::panics;
use crate::raw::timing::alarm::Alarms;
use crate::raw::timing::stopwatch::Watch;
use crate::stats::{ResourceReport, SchedulerStats};
use crate::sync::{Arc, Counter, OnceLock, pause};
use std::ffi::OsStr;
use std::fmt;
use std::time::{Duration, Instant};

/// Runs hand-offs somewhere else than on captor's own pool.
///
/// Every `Fn(Job) + Send + Sync + 'static` is one:
///
/// ```
/// use captor::{Job, Scheduler};
///
/// let scheduler = Scheduler::builder()
///     .executor(|job: Job| drop(std::thread::spawn(|| job.run())))
///     .build()?;
/// assert_eq!(scheduler.resource(1).with(|n| *n), Ok(1));
/// # Ok::<(), captor::BuildError>(())
/// ```
///
/// With rayon it is `|job: Job| rayon::spawn(|| job.run())`, with tokio
/// `move |job: Job| { handle.spawn_blocking(|| job.run()); }`.
///
/// A job that is refused (dropped, or lost in a panic of `execute`) goes to
/// the built-in pool, so its resource's tasks run all the same. One that is
/// kept and never run, or leaked, holds them up.
pub trait Executor: Send + Sync + 'static {
    /// Has `job` [run](Job::run) soon, on another thread. Called on the
    /// thread that hands off, often a submitter's: it should not block.
    fn execute(&self, job: Job);
}

impl<F: Fn(Job) + Send + Sync + 'static> Executor for F {
    fn execute(&self, job: Job) {
        self(job);
    }
}

/// Runs what resources hand off, on a pool of workers or an [`Executor`].
///
/// Most programs need only the [global](Scheduler::global) one, which every
/// [`Resource::new`] uses. Another one separates workloads, or has other
/// settings. It lives as long as a handle or a resource of it does.
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
    /// What was published of its counters.
    #[cfg(feature = "metrics")]
    pub(crate) published: Arc<crate::raw::core::published::OfScheduler>,
}

/// Name of the variable that sets the size of the global pool.
const WORKERS_VAR: &str = "CAPTOR_WORKERS";

impl Scheduler {
    /// The scheduler of every resource that is not given another.
    ///
    /// It has as many workers as the machine has CPUs for this process, or
    /// `CAPTOR_WORKERS` (1 to 1024), read when it is first used. A value that
    /// is not such a number is reported as an error through `tracing` and
    /// otherwise ignored.
    ///
    /// Its workers end with the process, whatever is queued: to have all that was
    /// handed to them run before `main` returns, [`shutdown`](Self::shutdown), which
    /// takes care of resources that have a name.
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
        // Not in there: who logs it may use a resource.
        if let Some(value) = nonsense {
            panics::tell(|| {
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

    /// Settings for a scheduler of your own.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().workers(1).build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::new()
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
            published: Arc::new(crate::raw::core::published::OfScheduler::new(name)),
        }
    }

    /// One whose jobs and time are a simulation's.
    #[cfg(feature = "testing")]
    pub(crate) fn simulated(dispatch: Box<dyn Dispatch>, alarms: Box<dyn Alarms>) -> Self {
        let limits = Limits {
            // A job does one task.
            quantum: Duration::ZERO,
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

    /// A snapshot of its counters.
    ///
    /// ```
    /// println!("{:?}", captor::Scheduler::global().stats());
    /// ```
    #[must_use]
    pub fn stats(&self) -> SchedulerStats {
        let pool = self.pool.as_ref();
        let count = |f: fn(&Observer) -> usize| pool.map_or(0, |p| f(p) as u64);
        // In this order: never more finished than dispatched.
        let finished = self.host.finished.get();
        SchedulerStats {
            workers: count(Observer::workers),
            threads: count(Observer::threads),
            idle: count(Observer::idle),
            dispatched: self.host.dispatched.get(),
            finished,
        }
    }

    /// The resources that have a [name](crate::ResourceBuilder::name), with their
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

    /// The resources that have a name, each with its report, sorted by name.
    pub(crate) fn named(&self) -> Vec<(Arc<Core<dyn Value>>, ResourceReport)> {
        let live = self.host.registry.live().into_iter();
        let mut all: Vec<_> = live
            .filter_map(|core| {
                let report = ResourceReport {
                    name: core.settings().name.clone()?,
                    stats: core.stats(),
                    queue_waits: core.watch().and_then(Watch::waits),
                };
                Some((core, report))
            })
            .collect();
        all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        all
    }

    /// Closes the resources of this scheduler, waits until all that they accepted
    /// is through, stops the workers and waits until they have ended: `timeout`
    /// at most. `true` if all of that was so by then. In the guide:
    /// [life cycle](crate::guide#life-cycle).
    ///
    /// It closes **all at once**. So what a task that is still queued submits to
    /// another of these resources is refused, and so is what a
    /// [`then`](crate::Completion::then) has yet to queue. Where tasks of one
    /// resource feed another, first close the one upstream and wait for its end
    /// ([`close`](Resource::close), then [`wait_closed`](Resource::wait_closed) or
    /// [`closed`](Resource::closed)), then the next; then shut down.
    ///
    /// What was left when the time was over is in the log, as a warning, and
    /// [`try_shutdown`](Self::try_shutdown) returns it. The resources stay closed
    /// and the workers stopped: what is left runs, and they end after it. Calling
    /// this again waits on.
    ///
    /// The [global](Self::global) scheduler knows its *named* resources only:
    /// the others stay open. Resources that are made after a shutdown are open and
    /// usable, on every scheduler. What is handed off from then on gets a thread of
    /// its own, each time, since there are no workers any more.
    ///
    /// Called on one of the scheduler's own workers, or in a job that its executor
    /// runs, it closes and stops, but does not wait, and returns `false`. A
    /// resource inside a task of which it is called is not waited for, and counts as
    /// left. With an executor there are no workers: this waits until the jobs are
    /// through that the executor was given. Inside a task that something handed off
    /// waits for, it waits in vain: give it a `timeout` there.
    ///
    /// # In async code
    /// It blocks the thread: call it on one that may block, tokio's
    /// `spawn_blocking` for example.
    ///
    /// ```
    /// use captor::{Scheduler, SubmitError};
    ///
    /// let scheduler = Scheduler::builder().workers(1).build()?;
    /// let r = scheduler.resource(0);
    /// let last = r.submit(|n| *n += 1);
    /// assert!(scheduler.shutdown(std::time::Duration::from_secs(5)));
    /// assert!(last.is_finished());
    /// assert_eq!(r.execute(|n| *n += 1), Err(SubmitError::Closed));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.try_shutdown(timeout).is_ok()
    }

    /// [`shutdown`](Self::shutdown), which tells what was left.
    ///
    /// # Errors
    /// [`ShutdownError`]: which resources have tasks left, and whether threads run.
    /// Calling it again waits on for those.
    ///
    /// # In async code
    /// It blocks the thread: see [`shutdown`](Self::shutdown), which also says in
    /// what order to close resources that feed each other.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().workers(1).build()?;
    /// scheduler.try_shutdown(std::time::Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        // A deadline past the end of time is none.
        let deadline = self.host.after(timeout);
        // It would wait for itself.
        let waits = !context::works_for(self.host.id());
        let unfinished = self.close_resources(waits, deadline);
        if let Some(pool) = &self.pool {
            pool.close();
        }
        let threads = !(waits && self.join(deadline));
        let resources: Vec<_> = unfinished
            .iter()
            .filter(|core| !core.has_ended())
            .map(|core| Unfinished {
                name: core.settings().name.clone(),
                outstanding: core.stats().outstanding,
            })
            .collect();
        if resources.is_empty() && !threads {
            return Ok(());
        }
        let error = ShutdownError { resources, threads };
        panics::tell(|| tracing::warn!(target: "captor", left = %error, "shutdown"));
        Err(error)
    }

    /// Closes all resources, and waits until they have ended. Returns those that
    /// have not.
    fn close_resources(&self, waits: bool, deadline: Option<Instant>) -> Vec<Arc<Core<dyn Value>>> {
        loop {
            let live = self.host.registry.live();
            let opened = live.iter().filter(|core| core.close()).count();
            let mut unfinished = live;
            unfinished.retain(|core| !(core.has_ended() || waits && ends(core, deadline)));
            // What they did meanwhile may have made others.
            if opened == 0 || deadline.is_some_and(|d| self.now() >= d) {
                return unfinished;
            }
        }
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        context::block(|| match &self.pool {
            Some(pool) => pool.join(deadline),
            None => self.join_executor(deadline),
        })
    }

    fn join_executor(&self, deadline: Option<Instant>) -> bool {
        // Executors do not tell when they are through.
        while self.host.finished.get() < self.host.dispatched.get() {
            if deadline.is_some_and(|d| self.now() >= d) {
                return false;
            }
            match (self.host.dispatch).instead_of_parking(self.host.id(), deadline) {
                Instead::Park => pause(Duration::from_millis(1)),
                Instead::Worked => {}
                Instead::InVain => return false,
            }
        }
        true
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

/// Waits until the resource has come to its end; not if it would wait for itself.
fn ends(core: &Arc<Core<dyn Value>>, deadline: Option<Instant>) -> bool {
    let left = deadline.map_or(Duration::MAX, |d| {
        d.saturating_duration_since(core.host().now())
    });
    closed::wait(core, left)
}

fn default_workers() -> usize {
    num_cpus::get().clamp(1, MAX_WORKERS)
}

fn parse_workers(value: &OsStr) -> Option<usize> {
    let n = value.to_str()?.trim().parse().ok()?;
    (1..=MAX_WORKERS).contains(&n).then_some(n)
}

/// Hand-offs go to captor's own pool.
struct ByPool(Pool);

impl Dispatch for ByPool {
    fn dispatch(&self, job: Job) {
        self.0.push(job);
    }

    fn rescue(&self, job: Job) {
        job.run_to_end();
    }

    fn others_wait(&self) -> bool {
        self.0.others_wait()
    }

    fn may_be_blocked(&self) -> bool {
        // It has stand-ins.
        false
    }
}

/// Hand-offs go to the user's executor.
struct ByExecutor<E: Executor>(Option<E>);

impl<E: Executor> Drop for ByExecutor<E> {
    fn drop(&mut self) {
        let executor = self.0.take();
        panics::contain("drop of an executor", || drop(executor));
    }
}

impl<E: Executor> Dispatch for ByExecutor<E> {
    fn dispatch(&self, job: Job) {
        // It is there until it is dropped.
        if let Some(executor) = &self.0 {
            context::dispatch(|| panics::contain("executor", || executor.execute(job)));
        }
    }

    fn rescue(&self, job: Job) {
        panics::tell(|| {
            tracing::warn!(target: "captor", ?job, "the executor did not run a hand-off; the built-in pool takes it");
        });
        Scheduler::global().host.dispatch.dispatch(job);
    }

    fn others_wait(&self) -> bool {
        // It cannot be asked, so it is given its turn after each quantum.
        true
    }

    fn may_be_blocked(&self) -> bool {
        true
    }
}

const DEFAULT_NAME: &str = "captor";

/// Settings of a [`Scheduler`]; from [`Scheduler::builder`].
///
/// ```
/// use captor::Scheduler;
/// use std::time::Duration;
///
/// let scheduler = Scheduler::builder()
///     .workers(4)
///     .thread_name("broker")
///     .capture_limit(20)
///     .capture_time(Duration::from_micros(200))
///     .quantum(Duration::from_millis(1))
///     .build()?;
/// # Ok::<(), captor::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct SchedulerBuilder {
    workers: Option<usize>,
    thread_name: Option<String>,
    limits: Limits,
    executor: Option<Box<dyn Dispatch>>,
}

impl SchedulerBuilder {
    fn new() -> Self {
        SchedulerBuilder {
            workers: None,
            thread_name: None,
            limits: Limits {
                capture_limit: 10,
                capture_time: Duration::from_millis(1),
                quantum: Duration::from_millis(2),
                lane: barrier::is_available(),
                pooled: false,
            },
            executor: None,
        }
    }

    /// How many workers may run at once, 1 to 1024. Default: as many as the
    /// machine has CPUs for this process.
    ///
    /// A worker whose task blocks in a wait of captor's does not count; others
    /// (1,024 more at most) stand in for such. If all of those are blocked too,
    /// that is an error in the log, and nothing runs until one of them goes on.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().workers(2).build()?;
    /// assert_eq!(scheduler.stats().workers, 2);
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What the worker threads' names begin with; a dash and a number follow.
    /// Default: `captor`. Metrics carry it as the label `scheduler`.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().thread_name("index").build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(name.into());
        self
    }

    /// How many tasks a submitter may come to run, its own included, before it
    /// hands off. At least 1. Default: 10.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().capture_limit(1).build()?; // its own only
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_limit(mut self, tasks: usize) -> Self {
        self.limits.capture_limit = tasks;
        self
    }

    /// How long after its own task a submitter may start others' tasks.
    /// Default: 1 ms.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let scheduler = captor::Scheduler::builder().capture_time(Duration::from_micros(50)).build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_time(mut self, time: Duration) -> Self {
        self.limits.capture_time = time;
        self
    }

    /// How long a worker stays with one resource while others wait. Default: 2 ms.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let scheduler = captor::Scheduler::builder().quantum(Duration::from_millis(1)).build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn quantum(mut self, time: Duration) -> Self {
        self.limits.quantum = time;
        self
    }

    /// Whether idle resources are released by a plain store, and the first to
    /// queue behind a task pays for that with a system call, `membarrier(2)`.
    /// Default: yes on Linux, where the kernel offers it; elsewhere this
    /// changes nothing.
    ///
    /// It makes an uncontended call cheaper than locking a mutex. The system
    /// call takes 1 to 20 µs and briefly interrupts the cores that run threads
    /// of this process, once in 1,024 calls of a resource at most. Turn it off
    /// where such interrupts are unwelcome, real-time threads say; an uncontended
    /// call then costs what a mutex does.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().membarrier(false).build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn membarrier(mut self, yes: bool) -> Self {
        self.limits.lane = yes && barrier::is_available();
        self
    }

    /// Runs hand-offs on `executor` in place of a pool. Default: a pool.
    ///
    /// ```
    /// use captor::{Job, Scheduler};
    /// let on_rayon = Scheduler::builder()
    ///     .executor(|job: Job| rayon::spawn(|| job.run()))
    ///     .build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Some(Box::new(ByExecutor(Some(executor))));
        self
    }

    /// The scheduler. Its threads start when they are first needed.
    ///
    /// # Errors
    /// Which setting is out of its range, or does not go with another.
    ///
    /// ```
    /// use captor::{BuildError, Scheduler};
    /// let error = Scheduler::builder().workers(0).build().unwrap_err();
    /// assert_eq!(error, BuildError::Workers { given: 0, max: 1024 });
    /// ```
    pub fn build(self) -> Result<Scheduler, BuildError> {
        if self.limits.capture_limit == 0 {
            return Err(BuildError::ZeroCaptureLimit);
        }
        if let Some(given) = self.workers.filter(|n| !(1..=MAX_WORKERS).contains(n)) {
            let max = MAX_WORKERS;
            return Err(BuildError::Workers { given, max });
        }
        if self.thread_name.as_ref().is_some_and(|n| n.contains('\0')) {
            return Err(BuildError::ThreadName);
        }
        let Some(dispatch) = self.executor else {
            let workers = self.workers.unwrap_or_else(default_workers);
            let name = self.thread_name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
            return Ok(Scheduler::with_pool(self.limits, workers, name, true));
        };
        let setting = match (&self.workers, &self.thread_name) {
            (Some(_), _) => "workers",
            (None, Some(_)) => "thread_name",
            (None, None) => {
                let host = Host::new(self.limits, DEFAULT_NAME, true, dispatch);
                return Ok(Scheduler::of(host, None, DEFAULT_NAME));
            }
        };
        Err(BuildError::ExecutorHasThreads { setting })
    }
}

impl Default for SchedulerBuilder {
    fn default() -> Self {
        SchedulerBuilder::new()
    }
}

impl fmt::Debug for SchedulerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerBuilder")
            .field("workers", &self.workers)
            .field("thread_name", &self.thread_name)
            .field("limits", &self.limits)
            .field("executor", &self.executor.is_some())
            .finish()
    }
}

impl Host {
    /// The inside of a scheduler that knows its `unnamed` resources too, or not.
    fn new(limits: Limits, thread_name: &str, unnamed: bool, dispatch: Box<dyn Dispatch>) -> Self {
        let timer = Timer::new(format!("{thread_name}-timer"), Box::new(spawn_thread));
        Host::with_alarms(limits, unnamed, dispatch, Box::new(timer))
    }

    fn with_alarms(
        limits: Limits,
        unnamed: bool,
        dispatch: Box<dyn Dispatch>,
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(not(any(captor_loom, captor_shuttle)))]
    use crate::resource::Resource;

    #[test]
    fn workers_variable_is_a_number_in_range_or_nothing() {
        let parse = |text| parse_workers(OsStr::new(text));
        assert_eq!(parse(" 3 "), Some(3));
        assert_eq!(parse("1024"), Some(1024));
        for nonsense in ["abc", "-1", "0", "1000000000", "1025", "", "2.5"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    /// A thread cannot be had, as is found out while a shutdown waits for it.
    #[cfg(not(any(captor_loom, captor_shuttle)))]
    #[test]
    fn a_failed_start_is_not_waited_for() {
        use crate::Dispatch as Where;
        use std::sync::{Mutex, mpsc};
        use std::thread;

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
            assert!(Instant::now() < end, "it waits for a thread that never was");
            thread::yield_now();
        }
        assert!(ends.join().unwrap());
    }
}
