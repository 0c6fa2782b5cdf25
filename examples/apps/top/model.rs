//! The figures of the dashboard: rates and waits between two snapshots.

use captor::{QueueWaits, ResourceReport, ResourceStats, Scheduler, SchedulerStats};
use std::collections::VecDeque;
use std::time::Instant;

/// How many rates are kept for the charts.
const HISTORY: usize = 120;

/// Over how many intervals waits are shown. A single interval has too few waits.
pub(crate) const INTERVALS: usize = 4;

/// The recent figures of a resource. Rates are per second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// The statistics since the resource was made.
    pub(crate) stats: ResourceStats,
    pub(crate) rate: f64,
    pub(crate) refused: f64,
    pub(crate) expired: f64,
    pub(crate) handoffs: f64,
    /// The time that submitters spent on tasks of other submitters, as a share of one core.
    pub(crate) lent: f64,
    /// The waits of the last [`INTERVALS`].
    pub(crate) waits: QueueWaits,
    /// Tasks per second, oldest first.
    pub(crate) history: VecDeque<u64>,
    /// The counts of all waits at the last snapshots.
    pub(crate) snapshots: VecDeque<QueueWaits>,
}

#[derive(Debug)]
pub(crate) struct Model {
    at: Instant,
    pub(crate) rows: Vec<Row>,
    pub(crate) scheduler: SchedulerStats,
}

impl Model {
    pub(crate) fn new() -> Self {
        Model {
            at: Instant::now(),
            rows: Vec::new(),
            scheduler: SchedulerStats::default(),
        }
    }

    /// Takes a snapshot.
    pub(crate) fn look(&mut self, scheduler: &Scheduler) {
        let now = Instant::now();
        let time = now.duration_since(self.at).as_secs_f64().max(1e-3);
        self.at = now;
        self.scheduler = scheduler.stats();
        let mut old = std::mem::take(&mut self.rows);
        for report in scheduler.resources() {
            let before = old.iter().position(|row| row.name == *report.name);
            let before = before.map(|at| old.swap_remove(at));
            self.rows.push(row(report, before, time));
        }
    }

    /// Returns the sum of `f` over all rows.
    pub(crate) fn sum(&self, f: impl Fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(f).sum()
    }
}

fn row(report: ResourceReport, before: Option<Row>, seconds: f64) -> Row {
    let now = report.stats;
    // The first snapshot has no earlier snapshot to compare with, so its rates are 0.
    let Row {
        stats: then,
        mut history,
        mut snapshots,
        ..
    } = before.unwrap_or_else(|| Row {
        stats: now,
        ..Row::default()
    });
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    let completed = rate(now.completed, then.completed);
    keep(&mut history, completed as u64, HISTORY);
    let waits = report.queue_waits.unwrap_or_default();
    keep(&mut snapshots, waits.clone(), INTERVALS + 1);
    Row {
        name: report.name.to_string(),
        stats: now,
        rate: completed,
        refused: rate(now.rejected, then.rejected),
        expired: rate(now.expired, then.expired),
        handoffs: rate(now.handoffs, then.handoffs),
        lent: now.lent.saturating_sub(then.lent).as_secs_f64() / seconds,
        waits: waits.since(&snapshots[0]),
        history,
        snapshots,
    }
}

/// Adds a value. If there are then more than `most`, drops the oldest.
fn keep<T>(latest: &mut VecDeque<T>, value: T, most: usize) {
    latest.push_back(value);
    if latest.len() > most {
        latest.pop_front();
    }
}
