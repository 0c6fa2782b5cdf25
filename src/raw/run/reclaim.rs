//! What is done to a resource that refuses tasks and has come to rest: taking
//! the poison off it, taking the value out of it.

use crate::error::{HealError, Panic};
use crate::raw::core::Core;
use crate::raw::run::role::captured;
use crate::sync::{Arc, lock, yield_now};
use core::mem::ManuallyDrop;

/// How often a heal looks whether the poisoned resource has come to rest.
const HEAL_TURNS: usize = 1 << 16;

/// Why a value was not taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotTaken {
    /// The resource has not come to its end, or another is taking it just now.
    Busy,
    /// It was taken before.
    Gone,
}

impl<T: Send + 'static> Core<T> {
    /// Takes the poison off, with the value in hand. The resource stays as it
    /// is if `f` panics.
    pub(crate) fn heal<R>(self: &Arc<Self>, f: impl FnOnce(&mut T) -> R) -> Result<R, HealError> {
        let mut turns = HEAL_TURNS;
        loop {
            if !self.refusal().poisoned {
                return Err(HealError::NotPoisoned);
            }
            if self.strand.claim_refusing() {
                break;
            }
            // It accepts nothing, so whoever holds it is about to let go.
            if self.is_current() || turns == 0 {
                return Err(HealError::Busy);
            }
            turns -= 1;
            yield_now();
        }
        if !self.refusal().poisoned {
            // Healed by another between the look and the claim, and closed since.
            captured(self);
            return Err(HealError::NotPoisoned);
        }
        // SAFETY: claimed above.
        let outcome = unsafe { self.on_value(f, None) };
        if outcome.is_ok() {
            let mut refusal = lock(&self.cold().refusal);
            refusal.poisoned = false;
            if !refusal.closed {
                self.strand.reopen();
            }
        }
        captured(self);
        outcome.map_err(|payload| HealError::Panicked(Panic::new(payload).of(self.name(), None)))
    }

    /// Takes the value out of a closed resource that has come to its end.
    pub(crate) fn take_value(self: &Arc<Self>) -> Result<T, NotTaken> {
        if !self.has_ended() {
            return Err(NotTaken::Busy);
        }
        if !self.strand.claim_refusing() {
            // Whoever has it is about to let go.
            yield_now();
            return Err(NotTaken::Busy);
        }
        let mut refusal = lock(&self.cold().refusal);
        let taken = if core::mem::replace(&mut refusal.emptied, true) {
            Err(NotTaken::Gone)
        } else {
            // There is nothing left to be healed.
            refusal.poisoned = false;
            // SAFETY: the role is ours, so nobody else uses the value; and
            // nobody will after it is said to be gone: tasks are refused for
            // good, heals find no poison, and the core does not drop it.
            Ok(self
                .value
                .with_mut(|value| unsafe { ManuallyDrop::take(&mut *value) }))
        };
        drop(refusal);
        captured(self);
        taken
    }
}
