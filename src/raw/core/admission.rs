//! Decides whether a resource admits a task, and says why not.
//!
//! A task needs a priority that the resource has, a resource that accepts tasks, and room if the
//! queue is bounded. Only a resource with a capacity counts room (see
//! `docs/design/room-and-priorities.md`).

use crate::error::{PriorityRange, SubmitError};
use crate::raw::core::Shell;
use crate::raw::task::life::Header;
use crate::raw::task::queued::Queued;
use crate::raw::task::tag::Attributes;
use crate::raw::thread::panics;

impl Shell {
    /// Checks whether the resource has the priority that the attributes name.
    pub(crate) fn check(&self, attributes: &Attributes) -> Result<(), SubmitError> {
        let levels = self.settings().priorities.map_or(1, |p| p.levels);
        match attributes.level {
            Some(level) if u16::from(level) >= levels => {
                // `level` is a `u8` and at least `levels`, so `levels - 1` fits into a `u8`.
                let range = PriorityRange::up_to((levels - 1) as u8);
                Err(self.note_refused(SubmitError::NoSuchPriority(range)))
            }
            _ => Ok(()),
        }
    }

    /// Counts a refused task, and returns the reason: closed or poisoned. Must be called once for
    /// each task that the strand refuses, because each call counts a refusal.
    pub(crate) fn why_refused(&self) -> SubmitError {
        // Poison may have been cleared since the refusal. Closing is for ever.
        self.note_refused(if self.refusal().closed {
            SubmitError::Closed
        } else {
            SubmitError::Poisoned
        })
    }

    fn note_refused(&self, error: SubmitError) -> SubmitError {
        self.cold().rare.rejected.add(1);
        panics::log_safely(|| {
            tracing::debug!(target: "captor", resource = self.name(), reason = %error, "task refused");
        });
        error
    }

    /// Takes room for a task that is about to be queued. Returns whether the task must give room
    /// back: `false` if the queue is not bounded.
    pub(crate) fn take_room(&self) -> Result<bool, SubmitError> {
        match self.room() {
            None => Ok(false),
            Some(room) if room.try_take() => Ok(true),
            // If the resource is both refusing and full, the error names the refusal.
            Some(_) if self.strand.state().is_refusing() => Err(self.why_refused()),
            Some(_) => Err(self.note_refused(SubmitError::Full)),
        }
    }

    /// Takes room for a task that was made before it was known whether there is room.
    pub(crate) fn take_room_for(&self, task: &Queued) -> Result<(), SubmitError> {
        if self.take_room()? {
            // If the task was cancelled in the meantime, its remains take up the room.
            task.header().takes_room();
        }
        Ok(())
    }

    /// Gives back the room of a task, if the task takes up any. Must be called by a thread that has
    /// taken the task out of the queue, has claimed the task in the queue, or failed to queue it.
    pub(crate) fn leave_room(&self, task: &Header) {
        if let Some(room) = self.room() {
            if task.leaves_room() {
                room.give_back();
            }
        }
    }
}
