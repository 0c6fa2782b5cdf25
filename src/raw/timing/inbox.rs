//! A stack that many push to and one thread takes whole, and parks on.
//!
//! Treiber's stack (see [`queue`](crate::raw::strand::queue)) with one more fact in its
//! word: that its reader is parked. Setting that succeeds on an empty stack only,
//! and whoever pushes finds it; so of a push and a reader that goes to sleep, one
//! sees the other.

use crate::sync::{AtomicPtr, Ordering};
use core::fmt;
use core::marker::PhantomData;
use core::ptr;

const PARKED: usize = 1;

struct Node<T> {
    item: T,
    /// The next older one.
    next: *mut Node<T>,
}

pub(crate) struct Inbox<T> {
    head: AtomicPtr<Node<T>>,
    items: PhantomData<T>,
}

// SAFETY: items go from who pushes them to who takes them.
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: as above; they are never shared.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        // An address whose lowest bit is the flag's.
        const { assert!(align_of::<Node<T>>() > PARKED) };
        Inbox {
            head: AtomicPtr::new(ptr::null_mut()),
            items: PhantomData,
        }
    }

    /// Is the reader parked (and what it did before, seen)?
    pub(crate) fn push(&self, item: T) -> bool {
        let node = Box::into_raw(Box::new(Node {
            item,
            next: ptr::null_mut(),
        }));
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let flag = head.addr() & PARKED;
            // SAFETY: not pushed yet, so it is ours.
            unsafe { (*node).next = head.map_addr(|a| a & !PARKED) };
            // Release for the node, partner: the Acquire of `take`. Acquire for
            // what the reader did before it parked, partner: the Release of
            // `park`; pushes in between are read-modify-writes, and carry it on.
            match self.head.compare_exchange_weak(
                head,
                node.map_addr(|a| a | flag),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return flag != 0,
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything out, oldest first; the reader is awake. For the reader.
    pub(crate) fn take(&self) -> Vec<T> {
        // Acquire: partners with the Release of `push`.
        let head = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut at = head.map_addr(|a| a & !PARKED);
        let mut items = Vec::new();
        while !at.is_null() {
            // SAFETY: made by `Box` in `push`, and taken out of the word by us.
            let node = unsafe { Box::from_raw(at) };
            at = node.next;
            items.push(node.item);
        }
        items.reverse();
        items
    }

    /// From now on the reader is parked, unless something was pushed. For the
    /// reader.
    pub(crate) fn park(&self) -> bool {
        // Release: partners with the acquire half of `push`.
        self.head
            .compare_exchange(
                ptr::null_mut(),
                ptr::without_provenance_mut(PARKED),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox(..)")
    }
}
