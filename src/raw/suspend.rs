//! Tasks that wait and keep their resource without keeping a thread.
//!
//! A task's run may end in [`Step::Wait`] in place of an outcome. The holder
//! then gives its role to the task ([`Mode::Suspended`](super::state::Mode)),
//! and whoever has the [`Resumer`] brings the task back to the head of its
//! resource. Two things may happen at once: the holder parks the task, and the
//! resumer calls. A word of two bits decides, each side setting its own and
//! looking at the other's:
//!
//! - resumed first: the holder sees `RESUMED` as it parks, and goes on itself;
//! - parked first: the resumer sees `PARKED`, and brings the task back.

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use core::fmt;

const PARKED: usize = 1;
const RESUMED: usize = 2;

/// What one run of a task that may wait came to.
#[derive(Debug)]
pub(crate) enum Step<R> {
    Done(R),
    /// Not yet: run it again once it is resumed.
    #[cfg_attr(not(test), allow(dead_code))]
    Wait(Suspension),
}

/// Brings the parked task back to its resource.
type Back = Box<dyn FnOnce() + Send>;

struct Gate {
    bits: AtomicUsize,
    /// Written by the holder before `PARKED`; taken by the one of the two
    /// that sees the other's bit.
    back: UnsafeCell<Option<Back>>,
}

// SAFETY: the cell is handed from one thread to the other by the bits (see
// `park` and `resume`), and what is in it is `Send`.
unsafe impl Sync for Gate {}

impl Gate {
    /// # Safety
    /// Both bits are set, and the caller set the second.
    unsafe fn take(&self) -> Option<Back> {
        // SAFETY: by the contract nobody else touches the cell now.
        self.back.with_mut(|back| unsafe { (*back).take() })
    }
}

/// One wait of a task: what it returns in [`Step::Wait`].
pub(crate) struct Suspension(Arc<Gate>);

/// Ends that wait. Dropping it does so too: the task sees for itself whether
/// what it waited for has come.
pub(crate) struct Resumer(Option<Arc<Gate>>);

/// The two ends of one wait.
// Asynchronous tasks are to be built on it; until then the tests and models
// of the protocol are its users.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) fn suspend() -> (Suspension, Resumer) {
    let gate = Arc::new(Gate {
        bits: AtomicUsize::new(0),
        back: UnsafeCell::new(None),
    });
    (Suspension(Arc::clone(&gate)), Resumer(Some(gate)))
}

impl Suspension {
    /// Leaves the task to its resumer, who is to call `back`. `false`: it was
    /// resumed already, and the task is still the caller's.
    pub(crate) fn park(self, back: Back) -> bool {
        // SAFETY: `PARKED` is not set yet, so the cell is the holder's.
        self.0.back.with_mut(|cell| unsafe { *cell = Some(back) });
        // Release for the cell, partner: `resume`'s Acquire; Acquire for what
        // the resumer did before, partner: its Release.
        if self.0.bits.fetch_or(PARKED, Ordering::AcqRel) & RESUMED == 0 {
            return true;
        }
        // SAFETY: both bits are set, and ours was the second.
        drop(unsafe { self.0.take() });
        false
    }
}

impl Resumer {
    /// Lets the task go on.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn resume(self) {
        drop(self);
    }
}

impl Drop for Resumer {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        // Partners: see `park`.
        if gate.bits.fetch_or(RESUMED, Ordering::AcqRel) & PARKED != 0 {
            // SAFETY: both bits are set, and ours was the second.
            if let Some(back) = unsafe { gate.take() } {
                back();
            }
        }
    }
}

impl fmt::Debug for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspension").finish_non_exhaustive()
    }
}

impl fmt::Debug for Resumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumer").finish_non_exhaustive()
    }
}
