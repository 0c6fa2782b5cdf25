//! The queue's links: submitters push nodes singly, and the holder takes them all at once.
//!
//! Submitters push onto a Treiber stack whose head lies in the state word. The holder takes that
//! stack in one step and reverses it into the [backlog](crate::raw::strand::backlog), oldest first.
//! This is the batch variant of Treiber's stack (R. K. Treiber, "Systems Programming: Coping with
//! Parallelism", 1986). Because the stack is taken whole, there is no ABA problem. Nodes are opaque
//! here.

use crate::sync::UnsafeCell;
use core::ptr::{self, NonNull};

/// The first field of a node: in the stack the address of the next older node, in the backlog the
/// address of the next younger node.
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

    /// Sets the node that follows `this`.
    ///
    /// # Safety
    /// `this` must be a live node that no other thread can reach at the moment.
    #[inline]
    pub(crate) unsafe fn set_next(this: NonNull<Link>, next: *mut Link) {
        // SAFETY: the node is live (contract of `set_next`).
        unsafe { this.as_ref() }.next.with_mut(|p| {
            // SAFETY: no other thread can reach the node (contract of `set_next`), and the pointer
            // comes from the cell.
            unsafe { *p = next }
        });
    }

    /// Returns the node that follows `this`, or null.
    ///
    /// # Safety
    /// `this` must be a live node. Its link must have been set before this call, and no thread may
    /// change the link now.
    #[inline]
    pub(crate) unsafe fn next(this: NonNull<Link>) -> *mut Link {
        // SAFETY: the node is live (contract of `next`).
        unsafe { this.as_ref() }.next.with(|p| {
            // SAFETY: no thread changes the node now (contract of `next`), and the pointer comes
            // from the cell.
            unsafe { *p }
        })
    }
}

/// Reverses a chain that runs from newest to oldest, and returns the oldest node.
///
/// # Safety
/// The chain from `newest` must be live, and only the caller may use it.
pub(crate) unsafe fn reverse(newest: *mut Link) -> *mut Link {
    let mut rest = newest;
    let mut first = ptr::null_mut();
    while let Some(node) = NonNull::new(rest) {
        // SAFETY: `node` is part of the chain, which is live and the caller's (contract of
        // `reverse`).
        unsafe {
            rest = Link::next(node);
            Link::set_next(node, first);
        }
        first = node.as_ptr();
    }
    first
}
