//! The queue: intrusive links, taken whole and turned round.
//!
//! Submitters push onto a Treiber stack whose head lives in the state word.
//! The holder takes that stack in one step and reverses it into the
//! [`Backlog`], oldest first (the batch variant of Treiber's stack: R. K.
//! Treiber, "Systems Programming: Coping with Parallelism", 1986; taken whole,
//! so without its ABA problem). Nodes are opaque here.

use crate::sync::{AtomicPtr, Ordering, UnsafeCell, yield_now};
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

/// Tasks that the holder has taken and not yet started, oldest first.
///
/// Filled by the holder alone, when it is empty; emptied by the holder, task
/// by task, and by whoever cancels all that is pending. So both take the list
/// out of the word first (the word then says "taken") and put the rest back:
/// a spin lock held for a few instructions, on a word that only the holder
/// touches unless somebody cancels.
#[derive(Debug)]
pub(crate) struct Backlog {
    first: AtomicPtr<Link>,
}

/// What the word holds while somebody has the list in hand: no node's address.
const TAKEN: *mut Link = ptr::without_provenance_mut(1);

impl Backlog {
    pub(crate) fn new() -> Self {
        Backlog {
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// May be out of date, unless the caller is the holder: then "empty" is
    /// the truth, since nobody else fills it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.load(Ordering::Relaxed).is_null()
    }

    /// Takes the list in hand. No user code runs while it is.
    pub(crate) fn take(&self) -> InHand<'_> {
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            if first == TAKEN {
                yield_now();
                first = self.first.load(Ordering::Relaxed);
                continue;
            }
            // Acquire: partners with the Release in `InHand::drop`, so that
            // the links are seen as the one before us left them. A swap would
            // do as well, but those of a waiter that spins and the store that
            // it waits for are in no order that a model checker could use.
            match self.first.compare_exchange_weak(
                first,
                TAKEN,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return InHand {
                        backlog: self,
                        first,
                    };
                }
                Err(now) => first = now,
            }
        }
    }

    /// The oldest task, if any. Holder only.
    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<Link>> {
        if self.is_empty() {
            return None;
        }
        self.take().pop()
    }
}

/// The backlog's list while its word says "taken"; goes back on drop.
#[derive(Debug)]
pub(crate) struct InHand<'a> {
    backlog: &'a Backlog,
    first: *mut Link,
}

impl InHand<'_> {
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<Link>> {
        let first = NonNull::new(self.first)?;
        // SAFETY: nodes in the list are live, and the list is in our hand.
        self.first = unsafe { Link::next(first) };
        Some(first)
    }

    /// Puts a task before all others.
    pub(crate) fn push_front(&mut self, node: NonNull<Link>) {
        // SAFETY: the caller hands over a live node that is in no list.
        unsafe { Link::set_next(node, self.first) };
        self.first = node.as_ptr();
    }

    /// Refills an empty list with a chain that is ours, oldest first.
    pub(crate) fn fill(&mut self, first: *mut Link) {
        debug_assert!(self.first.is_null());
        self.first = first;
    }

    /// Takes the whole list out, oldest first.
    pub(crate) fn take_all(&mut self) -> *mut Link {
        core::mem::replace(&mut self.first, ptr::null_mut())
    }

    /// The first of the `limit` oldest for which `f` has an answer.
    pub(crate) fn find<R>(
        &self,
        limit: usize,
        mut f: impl FnMut(NonNull<Link>) -> Option<R>,
    ) -> Option<R> {
        let mut at = self.first;
        for _ in 0..limit {
            let node = NonNull::new(at)?;
            if let Some(found) = f(node) {
                return Some(found);
            }
            // SAFETY: nodes in the list are live, and the list is in our hand.
            at = unsafe { Link::next(node) };
        }
        None
    }
}

impl Drop for InHand<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: partners with the Acquire in `Backlog::take`.
        self.backlog.first.store(self.first, Ordering::Release);
    }
}
