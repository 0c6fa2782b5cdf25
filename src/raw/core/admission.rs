//! Whether a resource lets a task in: its priority, room in a bounded queue, and why not.

use crate::error::{PriorityRange, SubmitError};
use crate::raw::core::Shell;
use crate::raw::task::life::Header;
use crate::raw::task::queued::Queued;
use crate::raw::task::tag::Attributes;
use crate::raw::thread::panics;

impl Shell {
    /// May a task with these attributes be submitted here?
    pub(crate) fn check(&self, attributes: &Attributes) -> Result<(), SubmitError> {
        let levels = self.settings().priorities.map_or(1, |p| p.levels);
        match attributes.level {
            Some(level) if u16::from(level) >= levels => {
                // There is a level above, so this is not the last number.
                let range = PriorityRange::up_to((levels - 1) as u8);
                Err(self.note_refused(SubmitError::NoSuchPriority(range)))
            }
            _ => Ok(()),
        }
    }

    /// A task was refused: counts it and says why.
    pub(crate) fn why_refused(&self) -> SubmitError {
        // Poison may have been cleared since; closed is for ever.
        self.note_refused(if self.refusal().closed {
            SubmitError::Closed
        } else {
            SubmitError::Poisoned
        })
    }

    fn note_refused(&self, error: SubmitError) -> SubmitError {
        self.cold().rare.rejected.add(1);
        panics::tell(|| {
            tracing::debug!(target: "captor", resource = self.name(), reason = %error, "task refused");
        });
        error
    }

    /// Takes room for a task that is about to be queued; says whether there is
    /// any to give back.
    pub(crate) fn take_room(&self) -> Result<bool, SubmitError> {
        match self.room() {
            None => Ok(false),
            Some(room) if room.try_take() => Ok(true),
            // What is closed and full is closed.
            Some(_) if self.strand.state().is_refusing() => Err(self.why_refused()),
            Some(_) => Err(self.note_refused(SubmitError::Full)),
        }
    }

    /// Takes room for a task that was made before it is known whether there is any.
    pub(crate) fn take_room_for(&self, task: &Queued) -> Result<(), SubmitError> {
        if self.take_room()? {
            // If it was cancelled meanwhile, its remains take up the room.
            task.header().takes_room();
        }
        Ok(())
    }

    /// A task came out of the queue to be run, was cancelled in it, or was not
    /// let into it: gives its room back, if it takes up any. For whoever claimed
    /// it, or would have queued it.
    pub(crate) fn leave_room(&self, task: &Header) {
        if let Some(room) = self.room() {
            if task.leaves_room() {
                room.give_back();
            }
        }
    }
}
