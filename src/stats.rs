//! Snapshots of the counters of resources and schedulers. These are plain data; `raw/core` and the
//! pool do the counting.

use crate::sync::Arc;
use std::time::Duration;

/// The counters of a resource, from [`Resource::stats`](crate::Resource::stats). In the guide:
/// [statistics](crate::guide::statistics).
///
/// If you read the figures while tasks run, they may be a few tasks apart from each other. When
/// nothing is queued or running, they are exact, and
/// `submitted == completed + panicked + cancelled + expired`.
///
/// ```
/// let r = captor::Resource::new(0);
/// r.with(|n| *n += 1)?;
/// let stats = r.stats();
/// assert_eq!((stats.submitted, stats.completed, stats.outstanding), (1, 1, 0));
/// # Ok::<(), captor::TaskError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceStats {
    /// Tasks queued or running now.
    pub outstanding: u64,
    /// The most tasks that were outstanding at once. This includes the running task and every
    /// [`with`](crate::Resource::with), although these need no room in a
    /// [capacity](crate::ResourceBuilder::capacity).
    pub max_outstanding: u64,
    /// Tasks accepted.
    pub submitted: u64,
    /// Tasks that returned.
    pub completed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks that were accepted and then cancelled, and tasks that did not run because an earlier
    /// task poisoned the resource.
    pub cancelled: u64,
    /// Tasks whose deadline passed before they started. Asynchronous tasks also count if their
    /// deadline passed while they waited.
    pub expired: u64,
    /// Submissions refused: the resource was closed, poisoned or full.
    pub rejected: u64,
    /// How often a thread that had run tasks left the remaining tasks to another thread: a captured
    /// submitter at its limit, or a worker at its quantum. Tasks that go to the pool from the start
    /// are not handed off in this sense. [`SchedulerStats::dispatched`] counts them too.
    pub handoffs: u64,
    /// The time that submitters spent on tasks of other submitters. A submitter adds its time when
    /// it stops running these tasks. The time of workers is not included.
    pub lent: Duration,
    /// How long the longest task ran. Zero, unless the resource
    /// [records timings](crate::ResourceBuilder::timings) or
    /// [warns of slow tasks](crate::ResourceBuilder::slow_task).
    pub longest_task: Duration,
}

/// A histogram of how long tasks were queued before they started, from
/// [`Resource::queue_waits`](crate::Resource::queue_waits).
///
/// A task that ran at once counts as a wait of zero. Waits are sorted into buckets, four for each
/// power of two of nanoseconds. So a reading is at most a quarter higher than the wait was. Tasks
/// that were cancelled or expired do not count.
///
/// ```
/// use captor::Resource;
/// use std::time::Duration;
///
/// let r = Resource::builder().timings(true).build(())?;
/// r.with(|_| ()).unwrap();
/// let waits = r.queue_waits().unwrap();
/// assert_eq!((waits.count(), waits.quantile(0.99)), (1, Some(Duration::ZERO)));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueWaits {
    /// The longest wait of each bucket and the number of its tasks, sorted by time. No bucket is
    /// empty.
    buckets: Vec<(Duration, u64)>,
}

impl QueueWaits {
    pub(crate) fn new(buckets: Vec<(Duration, u64)>) -> Self {
        QueueWaits { buckets }
    }

    /// Returns the number of tasks in the histogram.
    ///
    /// ```
    /// assert_eq!(captor::QueueWaits::default().count(), 0);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    /// Returns an upper bound for the waits of `part` of the tasks: 0.5 for the median, 1.0 for the
    /// longest wait. The bound is at most a quarter too high. Returns `None` if there are no tasks.
    ///
    /// A `part` below 0 counts as 0, and a `part` above 1 counts as 1. NaN counts as 1.
    ///
    /// ```
    /// assert_eq!(captor::QueueWaits::default().quantile(0.5), None);
    /// ```
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let part = if part.is_nan() {
            1.0
        } else {
            part.clamp(0.0, 1.0)
        };
        let wanted = (part * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        let mut most = None;
        for (time, n) in &self.buckets {
            seen += n;
            most = Some(*time);
            if seen >= wanted.max(1) {
                break;
            }
        }
        most
    }

    /// Returns the waits since `earlier`, which must be an earlier reading of the same resource.
    /// The result covers an interval, while `self` covers the time since the resource was made.
    ///
    /// If a bucket of `earlier` has more tasks than the bucket of `self`, the bucket counts as
    /// empty.
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// let r = Resource::builder().timings(true).build(())?;
    /// r.with(|_| ()).unwrap();
    /// let earlier = r.queue_waits().unwrap();
    /// r.with(|_| ()).unwrap();
    /// r.with(|_| ()).unwrap();
    /// let now = r.queue_waits().unwrap();
    /// assert_eq!((now.count(), now.since(&earlier).count()), (3, 2));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &QueueWaits) -> QueueWaits {
        let came = |&(time, n): &(Duration, u64)| (time, n.saturating_sub(earlier.of(time)));
        let buckets = self.buckets.iter().map(came);
        QueueWaits::new(buckets.filter(|(_, n)| *n > 0).collect())
    }

    /// Returns the number of tasks in the bucket of `time`.
    fn of(&self, time: Duration) -> u64 {
        let at = self.buckets.binary_search_by_key(&time, |(time, _)| *time);
        at.map_or(0, |at| self.buckets[at].1)
    }

    /// Returns the buckets that are not empty, sorted by time. Each has the longest wait that falls
    /// into the bucket, and the number of its tasks.
    ///
    /// ```
    /// assert_eq!(captor::QueueWaits::default().buckets().len(), 0);
    /// ```
    #[must_use]
    pub fn buckets(&self) -> &[(Duration, u64)] {
        &self.buckets
    }
}

/// A named resource and what it has done so far, from
/// [`Scheduler::resources`](crate::Scheduler::resources).
///
/// ```
/// use captor::{Resource, Scheduler};
///
/// let scheduler = Scheduler::builder().build()?;
/// let r = Resource::builder().name("orders").scheduler(&scheduler).build(())?;
/// r.with(|_| ()).unwrap();
/// let all = scheduler.resources();
/// assert_eq!((&*all[0].name, all[0].stats.completed), ("orders", 1));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceReport {
    /// The resource's name.
    pub name: Arc<str>,
    /// The resource's counters.
    pub stats: ResourceStats,
    /// How long the resource's tasks were queued. `None`, unless the resource
    /// [records timings](crate::ResourceBuilder::timings).
    pub queue_waits: Option<QueueWaits>,
}

/// The counters of a scheduler, from [`Scheduler::stats`](crate::Scheduler::stats).
///
/// ```
/// let scheduler = captor::Scheduler::builder().workers(2).build()?;
/// let stats = scheduler.stats();
/// assert_eq!((stats.workers, stats.threads, stats.dispatched), (2, 0, 0)); // none needed yet
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulerStats {
    /// Workers that may run at once. Zero with an executor.
    pub workers: u64,
    /// Threads started so far, stand-ins for blocked workers included.
    pub threads: u64,
    /// Threads that wait for work now.
    pub idle: u64,
    /// Hand-offs of resources to the workers or the executor.
    pub dispatched: u64,
    /// Hand-offs that the workers or the executor have finished.
    pub finished: u64,
}
