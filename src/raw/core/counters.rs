//! The counters of a resource, and how its statistics are computed from them.
//!
//! Every count is relaxed and orders nothing. The task counters also number the tasks: see
//! "A number for each task" in `docs/design/tasks.md`.

use crate::raw::timing::nanos;
use crate::stats::ResourceStats;
use crate::sync::{Counter, Gauge};
use core::time::Duration;

/// The counters of one resource. Only the holder writes them, except `pushed`, `peak` and `lent`.
// The order of the fields is explained at `Shell`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Tasks that were queued.
    pushed: Counter,
    /// The most tasks outstanding at a time, as far as submitters that queue have seen.
    peak: Gauge,
    /// The lower half of the number of hand-offs. [`RareCounters`] has the upper half.
    handoffs: Gauge,
    /// Time that submitters spent on tasks of other submitters, in nanoseconds.
    lent: Counter,
    /// Tasks that came out of the queue.
    pub(crate) dequeued: Runs,
}

/// Counters that most resources never need, kept in the resource's cold state.
#[derive(Debug, Default)]
pub(crate) struct RareCounters {
    /// The upper half of [`Counters::handoffs`].
    handoffs: Counter,
    pub(crate) panicked: Counter,
    pub(crate) rejected: Counter,
    /// Tasks that were cancelled through their handle, or given up.
    pub(crate) cancelled: Counter,
    /// Tasks whose deadline passed: before they started, or while they waited.
    pub(crate) expired: Counter,
    /// Cancelled and expired tasks whose remains are still queued.
    pub(crate) remains: Counter,
    /// Cancelled and expired tasks whose remains a sweep took out of the queue.
    pub(crate) cleared: Counter,
    /// Tasks that a sweep cancelled and took out of the queue.
    pub(crate) swept: Counter,
}

/// The number of a running task, unique among the tasks of its resource.
pub(crate) type Number = u64;

/// Counts the tasks that come to run in one of two ways: on the submitter that claimed an idle
/// resource, or out of the queue.
///
/// The number is twice the count of the tasks that have finished, plus one while a task runs.
#[derive(Debug, Default)]
pub(crate) struct Runs(Counter);

impl Runs {
    /// Returns how many tasks have finished.
    fn through(&self) -> u64 {
        self.0.get() / 2
    }

    /// Takes back the start of the running task, which waits and will run again. Must be called by
    /// the holder.
    pub(crate) fn interrupt(&self) {
        self.0.bump_by(u64::MAX);
    }

    /// Records that a task starts or ends. A queued task starts when it is taken out of the queue.
    /// Must be called by the holder.
    #[inline(always)]
    pub(crate) fn turn(&self) {
        self.0.bump();
    }

    pub(crate) fn turns(&self) -> u64 {
        self.0.get()
    }
}

/// Returns `n - by`, and at least 0. `by` may be negative.
fn less(n: u64, by: i64) -> u64 {
    (n as i64).saturating_sub(by).max(0) as u64
}

/// The number of tasks that a task finds when it is queued, itself included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// Tasks that take up memory. Remains of cancelled tasks count until the holder meets them.
    pub(crate) queued: u64,
    /// Tasks that have not finished.
    outstanding: u64,
}

impl Counters {
    /// Counts a task that is about to be queued.
    pub(crate) fn push(&self, inline: &Runs, rare: Option<&RareCounters>) -> Depth {
        let swept = rare.map_or(0, |r| r.swept.get() + r.cleared.get());
        let remains = rare.map_or(0, |r| r.remains.get()) as i64;
        let queued = (self.pushed.add(1)).saturating_sub(self.dequeued.through() + swept);
        Depth {
            queued,
            outstanding: less(queued, remains) + inline.turns() % 2,
        }
    }

    /// Counts a task that was accepted and is over, without a push.
    pub(crate) fn note_unqueued(&self) {
        self.pushed.add(1);
    }

    /// Records that the push was accepted.
    pub(crate) fn pushed(&self, depth: &Depth) {
        self.peak
            .raise(u32::try_from(depth.outstanding).unwrap_or(u32::MAX));
    }

    /// Takes back the count of a push that was refused.
    pub(crate) fn undo_push(&self) {
        self.pushed.sub(1);
    }

    /// Counts a hand-off. Must be called by the holder.
    pub(crate) fn hand_off<'a>(&self, rare: impl FnOnce() -> &'a RareCounters) {
        let n = self.handoffs.get().wrapping_add(1);
        self.handoffs.set(n);
        if n == 0 {
            rare().handoffs.bump_by(1 << 32);
        }
    }

    /// Adds the time that a submitter spent on tasks of other submitters.
    pub(crate) fn lend(&self, time: Duration) {
        if !time.is_zero() {
            self.lent.add(nanos(time));
        }
    }

    /// Computes the statistics. They are exact while nothing runs. While something runs, they are
    /// consistent enough.
    pub(crate) fn stats(
        &self,
        inline: &Runs,
        rare: Option<&RareCounters>,
        longest_task: Duration,
    ) -> ResourceStats {
        let rare = |counter: fn(&RareCounters) -> &Counter| rare.map_or(0, |r| counter(r).get());
        let panicked = rare(|r| &r.panicked);
        let cancelled = rare(|r| &r.cancelled);
        let expired = rare(|r| &r.expired);
        // This is negative if the holder meets remains before the canceller counts them.
        let remains = rare(|r| &r.remains) as i64;
        let cleared = rare(|r| &r.cleared);
        let swept = rare(|r| &r.swept);
        // The finished tasks are read before the submitted tasks, so that no difference is
        // negative. The differences saturate, in case of a race with the other counters.
        let dequeued = self.dequeued.through();
        let inline = inline.turns();
        let pushed = self.pushed.get();
        // Of the tasks that came out of the queue, cancelled and expired tasks did not run.
        let unrun = less(cancelled + expired, remains).saturating_sub(cleared);
        let ran = dequeued.saturating_sub(unrun) + inline / 2;
        let inline_started = inline.div_ceil(2);
        ResourceStats {
            outstanding: less(pushed + inline % 2, remains)
                .saturating_sub(dequeued + swept + cleared),
            max_outstanding: u64::from(self.peak.get()).max(inline_started.min(1)),
            submitted: pushed + inline_started,
            completed: ran.saturating_sub(panicked),
            panicked,
            cancelled: cancelled + swept,
            expired,
            rejected: rare(|r| &r.rejected),
            handoffs: u64::from(self.handoffs.get()) + rare(|r| &r.handoffs),
            lent: Duration::from_nanos(self.lent.get()),
            longest_task,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_offs_are_counted_when_u32_overflows() {
        let (counters, rare) = (Counters::default(), RareCounters::default());
        counters.handoffs.set(u32::MAX - 1);
        for expected in [u32::MAX.into(), 1 << 32, (1 << 32) + 1] {
            counters.hand_off(|| &rare);
            let stats = counters.stats(&Runs::default(), Some(&rare), Duration::ZERO);
            assert_eq!(stats.handoffs, expected);
        }
    }
}
