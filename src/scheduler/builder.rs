//! [`SchedulerBuilder`]: the settings of a scheduler, their defaults and their ranges.

use crate::error::BuildError;
use crate::pool::MAX_WORKERS;
use crate::raw::core::{Host, JobSink, Limits};
use crate::raw::strand::barrier;
use crate::scheduler::Scheduler;
use crate::scheduler::executor::{ByExecutor, Executor};
use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

impl Scheduler {
    /// Returns a builder with default settings, for a scheduler of your own.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().workers(1).build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::new()
    }
}

pub(super) const DEFAULT_NAME: &str = "captor";

/// The settings of a [`Scheduler`], from [`Scheduler::builder`]. In the guide:
/// [settings](crate::guide::settings).
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
    pub(super) limits: Limits,
    executor: Option<Box<dyn JobSink>>,
}

impl SchedulerBuilder {
    pub(super) fn new() -> Self {
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

    /// Sets how many workers may run at once, from 1 to 1,024. The default is one worker for each
    /// CPU that the process may use.
    ///
    /// A worker whose task blocks in one of captor's waits does not count: a stand-in thread takes
    /// its place. There are at most 1,024 stand-ins. If all workers and stand-ins are blocked,
    /// captor logs an error, and no hand-off runs until a blocked thread continues.
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

    /// Sets the beginning of the worker threads' names. A dash and a number follow. The default is
    /// `captor`. Metrics carry this name in the label `scheduler`.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().thread_name("index").build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(name.into());
        self
    }

    /// Sets how many tasks a submitter may run before it hands off. Its own task counts too. The
    /// least is 1, and the default is 10.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().capture_limit(1).build()?; // its own only
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_limit(mut self, tasks: usize) -> Self {
        self.limits.capture_limit = tasks;
        self
    }

    /// Sets how long a captured submitter may start tasks of other submitters. The time begins
    /// after its own task. The default is 1 ms.
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

    /// Sets how long a worker stays with one resource while other resources wait. The default is
    /// 2 ms.
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

    /// Sets whether captor releases an idle resource by a plain store. An uncontended call is then
    /// cheaper than locking a mutex. In exchange, the first submitter to queue behind a running
    /// task pays for one system call, `membarrier(2)`.
    ///
    /// The default is `true` on Linux, if the kernel offers the call. On other systems, this
    /// setting changes nothing.
    ///
    /// The system call takes 1 to 20 µs, and briefly interrupts the cores that run threads of this
    /// process. It happens at most once in 1,024 calls of a resource. If such interrupts are
    /// unwelcome, for example for real-time threads, turn the setting off. An uncontended call then
    /// costs as much as locking a mutex.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().membarrier(false).build()?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn membarrier(mut self, yes: bool) -> Self {
        self.limits.lane = yes && barrier::is_available();
        self
    }

    /// Runs hand-offs on `executor` in place of a pool. The default is a pool. An executor excludes
    /// the settings [`workers`](Self::workers) and [`thread_name`](Self::thread_name).
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

    /// Builds the scheduler. Its threads start when they are first needed.
    ///
    /// # Errors
    /// Returns a [`BuildError`] that names a setting that is out of its range, or two settings that
    /// exclude each other.
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

/// One worker for each CPU that the process may use. `docs/design/dependencies.md` says why
/// `num_cpus` counts the CPUs, and not `std::thread::available_parallelism`.
pub(super) fn default_workers() -> usize {
    num_cpus::get().clamp(1, MAX_WORKERS)
}

pub(super) fn parse_workers(value: &OsStr) -> Option<usize> {
    let n = value.to_str()?.trim().parse().ok()?;
    (1..=MAX_WORKERS).contains(&n).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_variable_is_ignored_when_invalid() {
        let parse = |text| parse_workers(OsStr::new(text));
        assert_eq!(parse(" 3 "), Some(3));
        assert_eq!(parse("1024"), Some(1024));
        for nonsense in ["abc", "-1", "0", "1000000000", "1025", "", "2.5"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
