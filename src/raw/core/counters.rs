//! What a resource counts, and how the counts make its statistics.

use crate::raw::timing::nanos;
use crate::stats::ResourceStats;
use crate::sync::{Counter, Gauge};
use core::time::Duration;

/// Counters of one resource. Each is written by the holder alone, but for
/// `pushed`, `peak` and `lent`.
// In this order: see `Core`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Tasks queued.
    pushed: Counter,
    /// The most tasks outstanding at once, as far as the queue saw it.
    peak: Gauge,
    /// The lower half; [`RareCounters`] has the upper one.
    handoffs: Gauge,
    /// Nanoseconds that submitters spent on others' tasks.
    lent: Counter,
    /// Tasks that came out of the queue.
    pub(crate) dequeued: Runs,
}

/// Counters that most resources never need. They are kept with the resource's cold state.
#[derive(Debug, Default)]
pub(crate) struct RareCounters {
    /// The upper half of [`Counters::handoffs`].
    handoffs: Counter,
    pub(crate) panicked: Counter,
    pub(crate) rejected: Counter,
    /// Cancelled through their handle.
    pub(crate) cancelled: Counter,
    /// Not started in time.
    pub(crate) expired: Counter,
    /// Of the cancelled and expired tasks, the ones whose remains are still queued.
    pub(crate) remains: Counter,
    /// Of the cancelled and expired tasks, the ones that a sweep took out of the queue.
    pub(crate) cleared: Counter,
    /// Cancelled by a sweep, which took them out of the queue.
    pub(crate) swept: Counter,
}

/// The number of a task that runs, among those of its resource.
pub(crate) type Number = u64;

/// Twice the tasks that came to run in one of two ways (by the submitter that
/// claimed an idle resource, or out of the queue), and one more while one runs.
#[derive(Debug, Default)]
pub(crate) struct Runs(Counter);

impl Runs {
    /// So many are through.
    fn through(&self) -> u64 {
        self.0.get() / 2
    }

    /// The one that runs is to wait, and runs again later. Holder only.
    pub(crate) fn interrupt(&self) {
        self.0.bump_by(u64::MAX);
    }

    /// A task starts (which of one that was queued is said when it is taken out of the
    /// queue), or ends. Holder only.
    #[inline(always)]
    pub(crate) fn turn(&self) {
        self.0.bump();
    }

    pub(crate) fn turns(&self) -> u64 {
        self.0.get()
    }
}

/// `n` less what may be less than none, and none at the least.
fn less(n: u64, by: i64) -> u64 {
    (n as i64).saturating_sub(by).max(0) as u64
}

/// How much a task finds before it, itself included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// What takes up memory: cancelled tasks too, until the queue gets to them.
    pub(crate) queued: u64,
    /// What is yet to run, or running.
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

    /// A task was accepted, and is through, without being pushed.
    pub(crate) fn note_unqueued(&self) {
        self.pushed.add(1);
    }

    /// The push was accepted.
    pub(crate) fn pushed(&self, depth: &Depth) {
        self.peak
            .raise(u32::try_from(depth.outstanding).unwrap_or(u32::MAX));
    }

    /// The push was refused.
    pub(crate) fn undo_push(&self) {
        self.pushed.sub(1);
    }

    /// Holder only.
    pub(crate) fn hand_off<'a>(&self, rare: impl FnOnce() -> &'a RareCounters) {
        let n = self.handoffs.get().wrapping_add(1);
        self.handoffs.set(n);
        if n == 0 {
            rare().handoffs.bump_by(1 << 32);
        }
    }

    /// A submitter spent time on others' tasks.
    pub(crate) fn lend(&self, time: Duration) {
        if !time.is_zero() {
            self.lent.add(nanos(time));
        }
    }

    /// What they come to: exact while nothing runs, consistent enough while
    /// something does.
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
        // Less than none, where they are met before they are counted.
        let remains = rare(|r| &r.remains) as i64;
        let cleared = rare(|r| &r.cleared);
        let swept = rare(|r| &r.swept);
        // What is through is read before what was submitted, so that no
        // difference comes out negative; what races all the same saturates.
        let dequeued = self.dequeued.through();
        let inline = inline.turns();
        let pushed = self.pushed.get();
        // Of those, the ones that were cancelled or expired did not run.
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
    fn hand_offs_are_counted_past_what_half_a_word_holds() {
        let (counters, rare) = (Counters::default(), RareCounters::default());
        counters.handoffs.set(u32::MAX - 1);
        for expected in [u32::MAX.into(), 1 << 32, (1 << 32) + 1] {
            counters.hand_off(|| &rare);
            let stats = counters.stats(&Runs::default(), Some(&rare), Duration::ZERO);
            assert_eq!(stats.handoffs, expected);
        }
    }
}
