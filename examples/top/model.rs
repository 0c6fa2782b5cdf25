//! What the dashboard shows: rates and waits, from one snapshot to a later one.

use captor::{QueueWaits, ResourceReport, ResourceStats, Scheduler, SchedulerStats};
use std::collections::VecDeque;
use std::time::Instant;

/// How many rates are kept for the sparkline.
const HISTORY: usize = 120;

/// Over how many intervals waits are told: one has too few.
pub(crate) const INTERVALS: usize = 4;

/// A resource, as it was lately. Rates are per second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Since it was made.
    pub(crate) stats: ResourceStats,
    pub(crate) rate: f64,
    pub(crate) refused: f64,
    pub(crate) expired: f64,
    pub(crate) handoffs: f64,
    /// Of a core, how much its submitters lent.
    pub(crate) lent: f64,
    /// Of the last [`INTERVALS`].
    pub(crate) waits: QueueWaits,
    /// Tasks per second, oldest first.
    pub(crate) history: VecDeque<u64>,
    /// All waits, as they were at the last snapshots.
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

    /// The sum of what `f` says of each row.
    pub(crate) fn sum(&self, f: impl Fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(f).sum()
    }
}

fn row(report: ResourceReport, before: Option<Row>, seconds: f64) -> Row {
    let now = report.stats;
    // Of the first snapshot nothing can be said.
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

/// Adds to the latest, and lets go of the oldest if there are more than `most`.
fn keep<T>(latest: &mut VecDeque<T>, value: T, most: usize) {
    latest.push_back(value);
    if latest.len() > most {
        latest.pop_front();
    }
}
