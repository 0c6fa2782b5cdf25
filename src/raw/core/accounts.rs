//! Most of the events that change a resource's counters, and the statistics that are read from
//! them.
//!
//! Each function here names one event and updates the counters of [`counters`](super::counters),
//! the room of the task and the hook where the event touches them. Some events are counted
//! elsewhere:
//!
//! - panics, in `ending/close.rs`
//! - swept tasks, in `ending/cancel.rs`
//! - refusals, in `admission.rs`
//! - hand-offs and lent time, in `counters.rs`
//! - tasks that start and end, in `run/shift.rs`, `run/start.rs` and `raw/submit.rs`

use crate::raw::core::Shell;
use crate::raw::core::counters::{Depth, RareCounters};
use crate::raw::task::life::Header;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::stats::ResourceStats;
use crate::sync::Counter;
use core::time::Duration;

impl Shell {
    /// Counts a task whose deadline passed before the task could be queued.
    pub(crate) fn note_late(&self) {
        let rare = &self.cold().rare;
        // The counts are those of a task that was pushed, expired and was cleared away.
        rare.expired.add(1);
        rare.cleared.add(1);
        self.counters.note_unqueued();
    }

    /// Counts a queued task that was claimed in the queue and will not run, and gives its room
    /// back. The holder may have met the remains already: `remains` is negative until this call.
    pub(in crate::raw) fn note_unrun(&self, task: &Header, why: fn(&RareCounters) -> &Counter) {
        let rare = &self.cold().rare;
        why(rare).add(1);
        rare.remains.add(1);
        self.leave_room(task);
    }

    /// Counts a task that came out of the queue after its deadline. Must be called by the holder.
    pub(crate) fn note_late_in_queue(&self) {
        self.cold().rare.expired.add(1);
        self.note_left_unrun();
    }

    /// Counts a task that ran, did not finish, and is given up. Must be called by the holder.
    pub(crate) fn note_given_up(&self, late: bool) {
        let rare = &self.cold().rare;
        match late {
            true => rare.expired.add(1),
            false => rare.cancelled.add(1),
        };
    }

    /// Counts the remains of a cancelled or expired task that came out of the queue. Must be called
    /// by the holder.
    pub(crate) fn note_remains(&self) {
        self.cold().rare.remains.sub(1);
        self.note_left_unrun();
    }

    /// Records that a task left the queue and does not run.
    fn note_left_unrun(&self) {
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
