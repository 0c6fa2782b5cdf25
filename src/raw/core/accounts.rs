//! What a resource counts of its tasks.

use crate::raw::core::Shell;
use crate::raw::core::counters::{Depth, RareCounters};
use crate::raw::task::life::Header;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::stats::ResourceStats;
use crate::sync::Counter;
use core::time::Duration;

impl Shell {
    /// A task's deadline passed before it could be queued: it counts all the
    /// same.
    pub(crate) fn note_late(&self) {
        let rare = &self.cold().rare;
        // It is as if it were pushed, expired, and cleared away.
        rare.expired.add(1);
        rare.cleared.add(1);
        self.counters.note_unqueued();
    }

    /// A queued task was claimed in the queue, and will not run. (The queue may
    /// have met its remains already, which then are one less than none.)
    pub(in crate::raw) fn note_unrun(&self, task: &Header, why: fn(&RareCounters) -> &Counter) {
        let rare = &self.cold().rare;
        why(rare).add(1);
        rare.remains.add(1);
        self.leave_room(task);
    }

    /// A task came out of the queue too late. Holder only.
    pub(crate) fn note_late_in_queue(&self) {
        self.cold().rare.expired.add(1);
        self.note_passed();
    }

    /// A task ran, but not to its end, and is not run any more. Holder only.
    pub(crate) fn note_given_up(&self, late: bool) {
        let rare = &self.cold().rare;
        match late {
            true => rare.expired.add(1),
            false => rare.cancelled.add(1),
        };
    }

    /// The remains of a cancelled or expired task came out of the queue. Holder only.
    pub(crate) fn note_remains(&self) {
        self.cold().rare.remains.sub(1);
        self.note_passed();
    }

    /// What was taken out of the queue does not run.
    fn note_passed(&self) {
        self.cold().hook.skip();
        self.counters.dequeued.turn();
    }

    pub(crate) fn stats(&self) -> ResourceStats {
        let cold = self.cold.get();
        let longest = (self.stopwatch()).map_or(Duration::ZERO, Stopwatch::longest);
        self.counters
            .stats(&self.inline, cold.map(|cold| &cold.rare), longest)
    }

    /// Counts a task that is about to be queued.
    pub(crate) fn count_push(&self) -> Depth {
        let cold = self.cold.get();
        self.counters
            .push(&self.inline, cold.map(|cold| &cold.rare))
    }
}
