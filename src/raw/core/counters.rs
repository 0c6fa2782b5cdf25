//! What a resource counts, and how the counts make its statistics.

use crate::raw::core::extra::Extra;
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
    /// The lower half; `Extra` has the upper one.
    handoffs: Gauge,
    /// Nanoseconds that submitters spent on others' tasks.
    lent: Counter,
    /// Tasks that came out of the queue.
    pub(crate) dequeued: Runs,
}

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
    pub(crate) fn push(&self, inline: &Runs, extra: Option<&Extra>) -> Depth {
        let swept = extra.map_or(0, |e| e.swept.get() + e.cleared.get());
        let remains = extra.map_or(0, |e| e.remains.get()) as i64;
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
    pub(crate) fn hand_off<'a>(&self, extra: impl FnOnce() -> &'a Extra) {
        let n = self.handoffs.get().wrapping_add(1);
        self.handoffs.set(n);
        if n == 0 {
            extra().handoffs.bump_by(1 << 32);
        }
    }

    /// A submitter spent time on others' tasks.
    pub(crate) fn lend(&self, time: Duration) {
        if !time.is_zero() {
            self.lent
                .add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// What they come to: exact while nothing runs, consistent enough while
    /// something does.
    pub(crate) fn stats(&self, inline: &Runs, extra: Option<&Extra>) -> ResourceStats {
        let rare = |counter: fn(&Extra) -> &Counter| extra.map_or(0, |e| counter(e).get());
        let panicked = rare(|e| &e.panicked);
        let cancelled = rare(|e| &e.cancelled);
        let expired = rare(|e| &e.expired);
        // Less than none, where they are met before they are counted.
        let remains = rare(|e| &e.remains) as i64;
        let cleared = rare(|e| &e.cleared);
        let swept = rare(|e| &e.swept);
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
            rejected: rare(|e| &e.rejected),
            handoffs: u64::from(self.handoffs.get()) + rare(|e| &e.handoffs),
            lent: Duration::from_nanos(self.lent.get()),
            longest_task: extra
                .and_then(|e| e.watch.as_ref())
                .map_or(Duration::ZERO, |watch| watch.longest()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_offs_are_counted_past_what_half_a_word_holds() {
        let (counters, extra) = (Counters::default(), Extra::default());
        counters.handoffs.set(u32::MAX - 1);
        for expected in [u32::MAX.into(), 1 << 32, (1 << 32) + 1] {
            counters.hand_off(|| &extra);
            assert_eq!(
                counters.stats(&Runs::default(), Some(&extra)).handoffs,
                expected
            );
        }
    }
}
