//! Publishing through the [`metrics`](::metrics) facade.
//!
//! Of a counter, what came since the last time is added to the recorder's: so
//! resources of one name add up, those included that come after one that went. What
//! was published is kept beside what is counted, and goes with it.

use crate::raw::core::published::{self, PublishedCounters, PublishedScheduler};
use crate::raw::core::{Core, Value};
use crate::raw::timing::nanos;
use crate::scheduler::Scheduler;
use crate::stats::{ResourceReport, ResourceStats};
use crate::sync::Arc;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// What is counted: of a name, a unit and an explanation, a figure.
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
        "Tasks cancelled before they started",
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
        "Queues left to another thread",
        |s| s.handoffs,
    ),
    (
        "captor_lent_nanoseconds",
        Unit::Nanoseconds,
        "Time submitters spent on others' tasks",
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

/// Of the waits, those that are published.
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99), ("1", 1.0)];

impl Scheduler {
    /// Publishes the statistics of its [named resources](Self::resources), and its
    /// own, through the `metrics` facade: call it now and then, or before each scrape.
    /// Feature `metrics`.
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
    /// The label `scheduler` is its [thread name](crate::SchedulerBuilder::thread_name),
    /// `captor` if it was given none.
    ///
    /// A counter is raised by what came since the last call, whichever thread called:
    /// publishing twice counts nothing twice, and resources of one name add up, of
    /// whatever schedulers, at one time or one after the other. So install the recorder
    /// before the first call: what was published without one is not published again.
    /// Nor is what a resource did between the last call and its end. Counts taken while
    /// tasks run may be a task ahead, as [statistics](ResourceStats) are; what comes next
    /// makes up for it.
    ///
    /// Of a gauge the last value published stays. Resources of one name and scheduler
    /// are published as one: the outstanding tasks added up, the longest task and the
    /// waits those of the worst, since each was made. Of several schedulers' resources
    /// of one name, or schedulers of one name, the last published wins. A resource that
    /// goes leaves its gauges as they are.
    ///
    /// O(n log n) for n resources. Nothing is done between the calls.
    ///
    /// ```
    /// # use captor::{Resource, Scheduler};
    /// let scheduler = Scheduler::builder().build()?;
    /// let r = Resource::builder().name("orders").scheduler(&scheduler).build(())?;
    /// r.with(|_| ()).unwrap();
    /// scheduler.publish_metrics(); // to whatever recorder the program has installed
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn publish_metrics(&self) {
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
    describe_gauge!(MAX_OUTSTANDING, Unit::Count, "The most of them at once");
    describe_gauge!(LONGEST, Unit::Seconds, "How long the longest task ran");
    describe_gauge!(WAIT, Unit::Seconds, "How long tasks were queued");
    describe_gauge!(THREADS, Unit::Count, "Threads started");
    describe_gauge!(IDLE, Unit::Count, "Threads that have nothing to do");
    describe_counter!(
        DISPATCHED,
        Unit::Count,
        "Hand-offs to workers or the executor"
    );
}

/// Publishes resources of one name.
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
        // What is zero is there, too.
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
