//! Publishing through the [`metrics`](::metrics) facade.

use crate::scheduler::Scheduler;
use crate::stats::{QueueWaits, ResourceReport, ResourceStats};
use crate::sync::Arc;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use std::time::Duration;

/// What is counted: of a name and an explanation, a figure.
type Count = (&'static str, &'static str, fn(&ResourceStats) -> u64);

const COUNTERS: [Count; 8] = [
    ("captor_tasks_submitted", "Tasks accepted", |s| s.submitted),
    ("captor_tasks_completed", "Tasks that returned", |s| {
        s.completed
    }),
    ("captor_tasks_panicked", "Tasks that panicked", |s| {
        s.panicked
    }),
    (
        "captor_tasks_cancelled",
        "Tasks cancelled before they started",
        |s| s.cancelled,
    ),
    ("captor_tasks_expired", "Tasks whose deadline passed", |s| {
        s.expired
    }),
    ("captor_tasks_rejected", "Submissions refused", |s| {
        s.rejected
    }),
    ("captor_handoffs", "Queues left to another thread", |s| {
        s.handoffs
    }),
    (
        "captor_lent_nanoseconds",
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

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Scheduler {
    /// Publishes the statistics of its [named resources](Self::resources), and its
    /// own, through the `metrics` facade: call it now and then, or before each scrape.
    /// Feature `metrics`.
    ///
    /// | metric | label | |
    /// |---|---|---|
    /// | `captor_tasks_submitted`, `_completed`, `_panicked`, `_cancelled`, `_expired`, `_rejected` | `resource` | counters |
    /// | `captor_handoffs`, `captor_lent_nanoseconds` | `resource` | counters |
    /// | `captor_tasks_outstanding`, `captor_tasks_outstanding_max` | `resource` | gauges |
    /// | `captor_longest_task_seconds` | `resource` | gauge, if [timed](crate::ResourceBuilder::timings) |
    /// | `captor_queue_wait_seconds` | `resource`, `quantile` (0.5, 0.9, 0.99, 1) | gauges, if [timed](crate::ResourceBuilder::timings) |
    /// | `captor_threads`, `captor_threads_idle` | | gauges |
    /// | `captor_dispatched` | | counter |
    ///
    /// Resources of one name are added up (the longest task and the waits are those of
    /// the worst). What is counted is set, not added, so that it does no harm to
    /// publish twice; a resource that goes keeps what was published last. O(n log n)
    /// for n resources. Nothing is done between the calls.
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
        let all = self.resources();
        for one_name in all.chunk_by(|a, b| a.name == b.name) {
            publish(one_name);
        }
        let stats = self.stats();
        gauge!(THREADS).set(stats.threads as f64);
        gauge!(IDLE).set(stats.idle as f64);
        counter!(DISPATCHED).absolute(stats.dispatched);
    }
}

fn describe() {
    for (name, what, _) in COUNTERS {
        describe_counter!(name, Unit::Count, what);
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
fn publish(reports: &[ResourceReport]) {
    let Some(first) = reports.first() else { return };
    let name = Arc::clone(&first.name);
    let sum = |f: fn(&ResourceStats) -> u64| reports.iter().map(|r| f(&r.stats)).sum::<u64>();
    for (metric, _, count) in COUNTERS {
        counter!(metric, "resource" => name.to_string()).absolute(sum(count));
    }
    let set = |metric: &'static str, value: f64| {
        gauge!(metric, "resource" => name.to_string()).set(value);
    };
    set(OUTSTANDING, sum(|s| s.outstanding) as f64);
    set(MAX_OUTSTANDING, sum(|s| s.max_outstanding) as f64);
    let longest = reports.iter().map(|r| r.stats.longest_task).max();
    if let Some(longest) = longest.filter(|time| !time.is_zero()) {
        set(LONGEST, longest.as_secs_f64());
    }
    for (label, part) in QUANTILES {
        let waits = reports.iter().filter_map(|r| r.queue_waits.as_ref());
        let worst = waits
            .filter_map(|waits: &QueueWaits| waits.quantile(part))
            .max();
        if let Some(worst) = worst {
            gauge!(WAIT, "resource" => name.to_string(), "quantile" => label)
                .set(worst.as_secs_f64());
        }
    }
}
