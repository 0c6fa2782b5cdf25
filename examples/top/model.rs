//! What the dashboard shows: rates, from one snapshot to the next.

use captor::{ResourceReport, Scheduler, SchedulerStats};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How many rates are kept for the sparkline.
const HISTORY: usize = 120;

/// A resource, as it was lately. Rates are per second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) depth: u64,
    pub(crate) max_depth: u64,
    pub(crate) rate: f64,
    pub(crate) refused: f64,
    pub(crate) expired: f64,
    pub(crate) handoffs: f64,
    /// Of a core, how much its submitters lent.
    pub(crate) lent: f64,
    pub(crate) completed: u64,
    pub(crate) longest: Duration,
    pub(crate) median_wait: Duration,
    pub(crate) long_wait: Duration,
    /// Tasks per second, oldest first.
    pub(crate) history: VecDeque<u64>,
}

#[derive(Debug)]
pub(crate) struct Model {
    at: Instant,
    before: BTreeMap<String, ResourceReport>,
    pub(crate) rows: Vec<Row>,
    pub(crate) scheduler: SchedulerStats,
}

impl Model {
    pub(crate) fn new() -> Self {
        Model {
            at: Instant::now(),
            before: BTreeMap::new(),
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
        let mut rows = Vec::new();
        for report in scheduler.resources() {
            let name = report.name.to_string();
            let old = self.rows.iter().position(|row| row.name == name);
            let history = old.map(|at| self.rows.swap_remove(at).history);
            let before = self.before.insert(name, report.clone());
            rows.push(row(
                &report,
                before.as_ref(),
                time,
                history.unwrap_or_default(),
            ));
        }
        self.rows = rows;
    }

    /// The sum of what `f` says of each row.
    pub(crate) fn sum(&self, f: impl Fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(f).sum()
    }
}

fn row(
    report: &ResourceReport,
    before: Option<&ResourceReport>,
    seconds: f64,
    mut history: VecDeque<u64>,
) -> Row {
    let now = &report.stats;
    // Of the first snapshot nothing can be said.
    let then = before.map_or(now, |report| &report.stats);
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    let completed = rate(now.completed, then.completed);
    history.push_back(completed as u64);
    if history.len() > HISTORY {
        history.pop_front();
    }
    let wait = |part| {
        let waits = report.queue_waits.as_ref();
        waits
            .and_then(|waits| waits.quantile(part))
            .unwrap_or_default()
    };
    Row {
        name: report.name.to_string(),
        depth: now.outstanding,
        max_depth: now.max_outstanding,
        rate: completed,
        refused: rate(now.rejected, then.rejected),
        expired: rate(now.expired, then.expired),
        handoffs: rate(now.handoffs, then.handoffs),
        lent: now.lent.saturating_sub(then.lent).as_secs_f64() / seconds,
        completed: now.completed,
        longest: now.longest_task,
        median_wait: wait(0.5),
        long_wait: wait(0.99),
        history,
    }
}
