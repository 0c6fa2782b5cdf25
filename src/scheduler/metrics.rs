//! Publishes statistics through the [`metrics`](::metrics) facade.
//!
//! captor adds to a recorder's counter what has been counted since the last call. So resources that
//! share a name add up, and a new resource continues the counter of a dropped resource. The figure
//! that was published is kept beside the counter, and is dropped with it.

use crate::raw::core::published::{self, PublishedCounters, PublishedScheduler};
use crate::raw::core::{Core, Value};
use crate::raw::thread::panics;
use crate::raw::timing::nanos;
use crate::scheduler::Scheduler;
use crate::stats::{ResourceReport, ResourceStats};
use crate::sync::Arc;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// A counter of a resource: its name, its unit, its description, and the figure.
type Count = (&'static str, Unit, &'static str, fn(&ResourceStats) -> u64);

const COUNTERS: [Count; published::COUNTERS] = [
    (
        "captor_tasks_submitted",
        Unit::Count,
        "Tasks accepted",
        |s| s.submitted,
    ),
    (
        "captor_tasks_completed",
        Unit::Count,
        "Tasks that returned",
        |s| s.completed,
    ),
    (
        "captor_tasks_panicked",
        Unit::Count,
        "Tasks that panicked",
        |s| s.panicked,
    ),
    (
        "captor_tasks_cancelled",
        Unit::Count,
        "Tasks cancelled, or not run because the resource was poisoned",
        |s| s.cancelled,
    ),
    (
        "captor_tasks_expired",
        Unit::Count,
        "Tasks whose deadline passed",
        |s| s.expired,
    ),
    (
        "captor_tasks_rejected",
        Unit::Count,
        "Submissions refused",
        |s| s.rejected,
    ),
    (
        "captor_handoffs",
        Unit::Count,
        "Hand-offs of a resource's queue to another thread",
        |s| s.handoffs,
    ),
    (
        "captor_lent_nanoseconds",
        Unit::Nanoseconds,
        "Time that submitters spent on tasks of other submitters",
        |s| nanos(s.lent),
    ),
];

const OUTSTANDING: &str = "captor_tasks_outstanding";
const MAX_OUTSTANDING: &str = "captor_tasks_outstanding_max";
const LONGEST: &str = "captor_longest_task_seconds";
const WAIT: &str = "captor_queue_wait_seconds";
const THREADS: &str = "captor_threads";
const IDLE: &str = "captor_threads_idle";
const DISPATCHED: &str = "captor_dispatched";

/// The quantiles of the waits that are published: the label, and the part of the tasks.
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99), ("1", 1.0)];

impl Scheduler {
    /// Publishes the statistics of this scheduler and of its [named resources](Self::resources)
    /// through the `metrics` facade. Call this now and then, or before each scrape. Needs the
    /// feature `metrics`.
    ///
    /// | metric | labels | |
    /// |---|---|---|
    /// | `captor_tasks_submitted`, `_completed`, `_panicked`, `_cancelled`, `_expired`, `_rejected` | `resource` | counters |
    /// | `captor_handoffs`, `captor_lent_nanoseconds` | `resource` | counters |
    /// | `captor_tasks_outstanding`, `captor_tasks_outstanding_max` | `resource` | gauges |
    /// | `captor_longest_task_seconds` | `resource` | gauge, if [timed](crate::ResourceBuilder::timings) or [warned of](crate::ResourceBuilder::slow_task) |
    /// | `captor_queue_wait_seconds` | `resource`, `quantile` (0.5, 0.9, 0.99, 1) | gauges, if [timed](crate::ResourceBuilder::timings) |
    /// | `captor_threads`, `captor_threads_idle` | `scheduler` | gauges |
    /// | `captor_dispatched` | `scheduler` | counter |
    ///
    /// The label `scheduler` is the [thread name](crate::SchedulerBuilder::thread_name). The
    /// default is `captor`.
    ///
    /// **Counters** grow by what was counted since the last call, on any thread:
    ///
    /// - A figure that is published twice is counted once.
    /// - Resources that share a name add up, at the same time or one after the other. This holds
    ///   for resources of several schedulers too.
    /// - Install the recorder before the first call. Counts that were published without a recorder
    ///   are not published again.
    /// - Counts between the last call and the end of a resource are not published.
    /// - While tasks run, a count may be a task ahead, like all [statistics](ResourceStats). The
    ///   next call makes up for the difference.
    ///
    /// **Gauges** keep the last published value:
    ///
    /// - Resources that share a name and a scheduler are published as one. Their outstanding tasks
    ///   are added up. The longest task and the waits are the worst resource's, since it was made.
    /// - If resources of several schedulers share a name, the last published value wins. The same
    ///   holds for schedulers that share a name.
    /// - The gauges of a dropped resource stay as they are.
    ///
    /// O(n log n) for n resources. captor does nothing between the calls.
    ///
    /// # Panics
    /// Never. A panic of the recorder is reported through `tracing`, and ends this call. Figures
    /// that this call had not published by then are lost.
    ///
    /// ```
    /// # use captor::{Resource, Scheduler};
    /// let scheduler = Scheduler::builder().build()?;
    /// let r = Resource::builder().name("orders").scheduler(&scheduler).build(())?;
    /// r.with(|_| ()).unwrap();
    /// scheduler.publish_metrics(); // to the recorder that the program has installed
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn publish_metrics(&self) {
        // The recorder is user code.
        panics::contain("recorder of metrics", || self.publish());
    }

    fn publish(&self) {
        describe();
        for one_name in self.named().chunk_by(|(_, a), (_, b)| a.name == b.name) {
            publish(one_name);
        }
        let (stats, PublishedScheduler { name, dispatched }) = (self.stats(), &*self.published);
        let label = || Arc::clone(name);
        gauge!(THREADS, "scheduler" => label()).set(stats.threads as f64);
        gauge!(IDLE, "scheduler" => label()).set(stats.idle as f64);
        let news = dispatched.news(stats.dispatched);
        counter!(DISPATCHED, "scheduler" => label()).increment(news);
    }
}

fn describe() {
    for (name, unit, what, _) in COUNTERS {
        describe_counter!(name, unit, what);
    }
    describe_gauge!(OUTSTANDING, Unit::Count, "Tasks queued or running");
    describe_gauge!(
        MAX_OUTSTANDING,
        Unit::Count,
        "The most tasks queued or running at once"
    );
    describe_gauge!(LONGEST, Unit::Seconds, "How long the longest task ran");
    describe_gauge!(WAIT, Unit::Seconds, "How long tasks were queued");
    describe_gauge!(THREADS, Unit::Count, "Threads started");
    describe_gauge!(IDLE, Unit::Count, "Threads that wait for work");
    describe_counter!(
        DISPATCHED,
        Unit::Count,
        "Hand-offs to workers or the executor"
    );
}

/// Publishes the resources of one scheduler that share a name.
fn publish(resources: &[(Arc<Core<dyn Value>>, ResourceReport)]) {
    let Some((_, first)) = resources.first() else {
        return;
    };
    let label = || Arc::clone(&first.name);
    for (at, (metric, _, _, count)) in COUNTERS.into_iter().enumerate() {
        let news = resources.iter().map(|(core, report)| {
            let PublishedCounters(marks) = &core.cold().published;
            marks[at].news(count(&report.stats))
        });
        // A counter of zero is published too, so that the metric exists.
        counter!(metric, "resource" => label()).increment(news.sum());
    }
    publish_gauges(resources.iter().map(|(_, report)| report), label);
}

fn publish_gauges<'a>(
    reports: impl Iterator<Item = &'a ResourceReport> + Clone,
    label: impl Fn() -> Arc<str>,
) {
    let set = |metric: &'static str, value: f64| {
        gauge!(metric, "resource" => label()).set(value);
    };
    let sum = |f: fn(&ResourceStats) -> u64| reports.clone().map(|r| f(&r.stats)).sum::<u64>();
    set(OUTSTANDING, sum(|s| s.outstanding) as f64);
    set(MAX_OUTSTANDING, sum(|s| s.max_outstanding) as f64);
    let longest = reports.clone().map(|r| r.stats.longest_task).max();
    if let Some(longest) = longest.filter(|time| !time.is_zero()) {
        set(LONGEST, longest.as_secs_f64());
    }
    for (quantile, part) in QUANTILES {
        let waits = reports.clone().filter_map(|r| r.queue_waits.as_ref());
        if let Some(worst) = waits.filter_map(|waits| waits.quantile(part)).max() {
            gauge!(WAIT, "resource" => label(), "quantile" => quantile).set(worst.as_secs_f64());
        }
    }
}
