//! The queue: intrusive links, taken whole and turned round.
//!
//! Submitters push onto a Treiber stack whose head lives in the state word.
//! The holder takes that stack in one step and reverses it into the
//! [backlog](crate::raw::strand::backlog), oldest first (the batch variant of Treiber's stack: R. K.
//! Treiber, "Systems Programming: Coping with Parallelism", 1986; taken whole,
//! so without its ABA problem). Nodes are opaque here.

use crate::sync::UnsafeCell;
use core::ptr::{self, NonNull};

/// What a node begins with: the address of the next older or next younger one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Link {
    next: UnsafeCell<*mut Link>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Link {
            next: UnsafeCell::new(ptr::null_mut()),
        }
    }

    /// # Safety
    /// `this` is a live node that no other thread can reach at the moment.
    #[inline]
    pub(crate) unsafe fn set_next(this: NonNull<Link>, next: *mut Link) {
        // SAFETY: the node is live and ours by the contract.
        unsafe { this.as_ref() }.next.with_mut(|p| {
            // SAFETY: as above; the pointer comes from the cell.
            unsafe { *p = next }
        });
    }

    /// # Safety
    /// `this` is a live node; the thread that linked it did so before, and no
    /// thread changes it now.
    #[inline]
    pub(crate) unsafe fn next(this: NonNull<Link>) -> *mut Link {
        // SAFETY: the node is live and not written by the contract.
        unsafe { this.as_ref() }.next.with(|p| {
            // SAFETY: as above; the pointer comes from the cell.
            unsafe { *p }
        })
    }
}

/// Reverses a chain that runs from newest to oldest; returns the oldest.
///
/// # Safety
/// The chain from `newest` is live and belongs to the caller alone.
pub(crate) unsafe fn reverse(newest: *mut Link) -> *mut Link {
    let mut rest = newest;
    let mut first = ptr::null_mut();
    while let Some(node) = NonNull::new(rest) {
        // SAFETY: `node` is part of the caller's chain.
        unsafe {
            rest = Link::next(node);
            Link::set_next(node, first);
        }
        first = node.as_ptr();
    }
    first
}
