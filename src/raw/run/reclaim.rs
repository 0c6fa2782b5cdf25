//! Healing a poisoned resource, and taking the value out of a closed resource.
//!
//! Both take the role of a resource that refuses tasks and is at rest (`claim_refusing`). While a
//! thread has this role, no other thread uses the value. See "Taking the value" in
//! `docs/design/resources.md`.

use crate::error::{HealError, Panic};
use crate::raw::core::Core;
use crate::raw::run::role::captured;
use crate::raw::thread::panics;
use crate::sync::{Arc, lock, yield_now};
use core::mem::ManuallyDrop;

/// How often a heal checks whether the poisoned resource is at rest, before it gives up.
const HEAL_TURNS: usize = 1 << 16;

/// Why a value was not taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotTaken {
    /// The resource is not at its end yet, or another thread has its role at the moment.
    Busy,
    /// The value was taken out before.
    Gone,
}

impl<T: Send + 'static> Core<T> {
    /// Runs `f` on the value of a poisoned resource and takes the poison off. If `f` panics, the
    /// resource stays poisoned.
    pub(crate) fn heal<R>(self: &Arc<Self>, f: impl FnOnce(&mut T) -> R) -> Result<R, HealError> {
        if let Err(error) = self.claim_poisoned() {
            panics::contain("drop of a refused closure", || drop(f));
            return Err(error);
        }
        // SAFETY: `claim_poisoned` gave this thread the role, which `on_value` demands.
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

    /// Takes the role of a poisoned resource.
    fn claim_poisoned(self: &Arc<Self>) -> Result<(), HealError> {
        let mut turns = HEAL_TURNS;
        loop {
            if !self.refusal().poisoned {
                return Err(HealError::NotPoisoned);
            }
            if self.strand.claim_refusing() {
                break;
            }
            // The resource accepts no tasks, so its holder is about to release the role.
            if self.is_current() || turns == 0 {
                return Err(HealError::Busy);
            }
            turns -= 1;
            yield_now();
        }
        if !self.refusal().poisoned {
            // Another thread healed the resource between the look and the claim, and the resource
            // was closed since.
            captured(self);
            return Err(HealError::NotPoisoned);
        }
        Ok(())
    }

    /// Takes the value out of a closed resource that is at its end.
    pub(crate) fn take_value(self: &Arc<Self>) -> Result<T, NotTaken> {
        if !self.has_ended() {
            return Err(NotTaken::Busy);
        }
        if !self.strand.claim_refusing() {
            // The resource accepts no tasks, so its holder is about to release the role.
            yield_now();
            return Err(NotTaken::Busy);
        }
        let mut refusal = lock(&self.cold().refusal);
        let taken = if core::mem::replace(&mut refusal.emptied, true) {
            Err(NotTaken::Gone)
        } else {
            // Without a value, nothing is left to heal.
            refusal.poisoned = false;
            // SAFETY: this thread has the role, so no other thread uses the value now. No thread
            // uses the value once `emptied` is set: tasks are refused for good, a heal finds no
            // poison, and the core does not drop the value.
            Ok(self
                .value
                .with_mut(|value| unsafe { ManuallyDrop::take(&mut *value) }))
        };
        drop(refusal);
        captured(self);
        taken
    }
}
