//! What holders learned of a resource, for those who come to it. Nothing is
//! decided on these but how to go about things, so they are relaxed, and of two
//! that are written at once one may be lost.

use crate::sync::{Gauge, MODEL};
use core::time::Duration;

/// Tasks that take longer, in nanoseconds, are long. Those are worth queueing at
/// once where their submitter gets on with its own work meanwhile.
const LONG_TASK: u32 = 500;

/// The unit of `task_time`, in nanoseconds.
const TICK: u32 = 16;

/// For how many claims by the word the lane stays closed: a heavy barrier takes
/// 1 to 20 µs, depending on the machine, and a claim by the lane saves 8 ns.
const CLOSED_FOR: u16 = if MODEL { 1 } else { 1024 };

/// It never opens.
const FOR_EVER: u16 = u16::MAX;

#[derive(Debug)]
pub(crate) struct Hints {
    /// About how long a queued task takes, in ticks. Set by whoever was holder
    /// just now.
    task_time: Gauge<u16>,
    /// How many claims by the word are to come before the lane opens. Set by
    /// the holder.
    closed_for: Gauge<u16>,
}

impl Hints {
    pub(crate) fn new(lane: bool) -> Self {
        let hints = Hints {
            task_time: Gauge::default(),
            closed_for: Gauge::default(),
        };
        hints.closed_for.set(if lane { 0 } else { FOR_EVER });
        hints
    }

    /// So many tasks took so long together.
    ///
    /// Follows by a factor of two at the most, so that one shift that was
    /// interrupted does not change everything.
    pub(crate) fn learn(&self, tasks: usize, time: Duration) {
        let each = time.as_nanos() / tasks.max(1) as u128 / u128::from(TICK);
        let each = u16::try_from(each).unwrap_or(u16::MAX);
        let before = self.task_time.get();
        let most = before.saturating_mul(2).saturating_add(8);
        self.task_time.set(each.clamp(before / 2, most));
    }

    /// Do tasks take so long that they are better queued than waited for?
    pub(crate) fn tasks_are_long(&self) -> bool {
        u32::from(self.task_time.get()) * TICK > LONG_TASK
    }

    #[inline(always)]
    pub(crate) fn lane_is_open(&self) -> bool {
        self.closed_for.get() == 0
    }

    /// Somebody queued. Holder only.
    pub(crate) fn close_lane(&self) {
        if self.closed_for.get() != FOR_EVER {
            self.closed_for.set(CLOSED_FOR);
        }
    }

    /// Nobody queued behind a task that was claimed by the word: the lane comes
    /// one step nearer to opening. Holder only.
    #[inline]
    pub(crate) fn count_down(&self) {
        let left = self.closed_for.get();
        if left != FOR_EVER {
            self.closed_for.set(left.saturating_sub(1));
        }
    }
}
