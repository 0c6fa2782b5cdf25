//! Snapshots of the counters.

use crate::sync::Arc;
use std::time::Duration;

/// What a resource has done so far; from [`Resource::stats`](crate::Resource::stats).
///
/// Taken while tasks run, the figures may be a few tasks apart from each
/// other. Once nothing is queued or running they are exact, and
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
    /// The most tasks that were outstanding at once, the one that ran and those of
    /// [`with`](crate::Resource::with) included, which need no room in a
    /// [capacity](crate::ResourceBuilder::capacity).
    pub max_outstanding: u64,
    /// Tasks accepted.
    pub submitted: u64,
    /// Tasks that returned.
    pub completed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks taken out of the queue unrun: cancelled, or refused because an
    /// earlier one poisoned the resource.
    pub cancelled: u64,
    /// Tasks whose deadline passed before they started.
    pub expired: u64,
    /// Submissions refused: the resource was closed, poisoned or full.
    pub rejected: u64,
    /// How often a thread that had run tasks left the rest to another: a
    /// captured submitter at its limit, a worker at its quantum. (Where tasks
    /// go to the pool from the start, that is not a hand-off;
    /// [`SchedulerStats::dispatched`] counts those too.)
    pub handoffs: u64,
    /// Time that submitters spent on tasks that were not their own, added when
    /// they are through with them. The workers' time is not in it.
    pub lent: Duration,
    /// How long the longest task ran; zero unless the resource
    /// [notes timings](crate::ResourceBuilder::timings) or
    /// [warns of slow tasks](crate::ResourceBuilder::slow_task).
    pub longest_task: Duration,
}

/// How long tasks were queued before they started: a histogram; from
/// [`Resource::queue_waits`](crate::Resource::queue_waits).
///
/// Tasks that ran at once have waited no time. Times are sorted into buckets, four for
/// each power of two of nanoseconds, so what is read off is up to a quarter more
/// than it was. Tasks that were cancelled or expired are not in it.
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
    /// The most that falls into a bucket, and how many did; by time, none empty.
    buckets: Vec<(Duration, u64)>,
}

impl QueueWaits {
    pub(crate) fn new(buckets: Vec<(Duration, u64)>) -> Self {
        QueueWaits { buckets }
    }

    /// How many tasks it has.
    ///
    /// ```
    /// assert_eq!(captor::QueueWaits::default().count(), 0);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    /// An upper bound, at most a quarter too high, of the wait of that part of the
    /// tasks: 0.5 for the median, 1.0 for the longest wait. `None` if there are no
    /// tasks.
    ///
    /// What is not between 0 and 1 counts as the nearer of the two, and what is not
    /// a number as 1.
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

    /// What came since `earlier`, which was taken of the same resource: the waits of an
    /// interval, where these are all of them so far.
    ///
    /// What `earlier` has more of counts as none.
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

    /// How many fell into the bucket of this time.
    fn of(&self, time: Duration) -> u64 {
        let at = self.buckets.binary_search_by_key(&time, |(time, _)| *time);
        at.map_or(0, |at| self.buckets[at].1)
    }

    /// The buckets that are not empty, by time: the longest wait that falls into
    /// each, and how many tasks it has.
    ///
    /// ```
    /// assert_eq!(captor::QueueWaits::default().buckets().len(), 0);
    /// ```
    #[must_use]
    pub fn buckets(&self) -> &[(Duration, u64)] {
        &self.buckets
    }
}

/// A named resource, and what it has done so far; from
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
    /// What it is called.
    pub name: Arc<str>,
    /// Its counters.
    pub stats: ResourceStats,
    /// How long its tasks were queued, if it
    /// [notes timings](crate::ResourceBuilder::timings).
    pub queue_waits: Option<QueueWaits>,
}

/// What a scheduler has done so far; from [`Scheduler::stats`](crate::Scheduler::stats).
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
    /// Workers that may run at once; 0 with an executor.
    pub workers: u64,
    /// Threads started so far, those included that stand in for workers
    /// blocked in a wait.
    pub threads: u64,
    /// Threads that have nothing to do now.
    pub idle: u64,
    /// Resources handed off to the workers or the executor.
    pub dispatched: u64,
    /// Of those, the ones they are through with.
    pub finished: u64,
}
