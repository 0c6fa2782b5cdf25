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

use crate::raw::inner::{Core, Value, bring_back};
use crate::raw::queue::Link;
use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::raw::task::Body;

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

struct Gate {
    bits: AtomicUsize,
    /// Written by the holder before `PARKED`; taken by the one of the two
    /// that sees the other's bit.
    parked: UnsafeCell<Option<Parked>>,
}

struct Parked {
    core: Arc<Core<dyn Value>>,
    task: NonNull<Link>,
}

// SAFETY: the cell is handed from one thread to the other by the bits (see
// `park` and `resume`); what is in it may go to another thread: the core is
// `Sync`, and tasks are `Send`.
unsafe impl Send for Gate {}
// SAFETY: as above.
unsafe impl Sync for Gate {}

impl Gate {
    /// # Safety
    /// Both bits are set, and the caller set the second.
    unsafe fn take(&self) -> Option<Parked> {
        // SAFETY: by the contract nobody else touches the cell now.
        self.parked.with_mut(|parked| unsafe { (*parked).take() })
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
        parked: UnsafeCell::new(None),
    });
    (Suspension(Arc::clone(&gate)), Resumer(Some(gate)))
}

impl Suspension {
    /// Leaves the task to its resumer. `false`: it was resumed already, and
    /// the task is still the caller's.
    pub(crate) fn park(self, core: Arc<Core<dyn Value>>, task: NonNull<Link>) -> bool {
        // SAFETY: `PARKED` is not set yet, so the cell is the holder's.
        self.0
            .parked
            .with_mut(|parked| unsafe { *parked = Some(Parked { core, task }) });
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
            if let Some(Parked { core, task }) = unsafe { gate.take() } {
                // SAFETY: the task parked here, so it suspended that core, and
                // there is one resumer for each suspension.
                unsafe { bring_back(&core, task) };
            }
        }
    }
}

/// A closure that runs in steps.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) struct Steps<F>(pub(crate) F);

impl<T, R, F: FnMut(&mut T) -> Step<R>> Body<T, R> for Steps<F> {
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: &mut T) -> Step<R> {
        /// Drops the closure once it is through, also by a panic.
        struct Through<F>(*mut ManuallyDrop<F>);
        impl<F> Drop for Through<F> {
            fn drop(&mut self) {
                // SAFETY: initialised and not used again, by `call`'s contract.
                unsafe { ManuallyDrop::drop(&mut *self.0) }
            }
        }

        let through = Through(this);
        // SAFETY: initialised and ours by the contract.
        let Steps(f) = unsafe { &mut **this };
        let step = f(value);
        if matches!(step, Step::Wait(_)) {
            core::mem::forget(through);
        }
        step
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
