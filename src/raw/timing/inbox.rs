//! A stack to which many threads push. One reader takes the stack whole, and parks on the stack.
//!
//! This is Treiber's stack (see [`queue`](crate::raw::strand::queue)) with a bit in its word that
//! says that the reader is parked. The bit can be set on an empty stack only, and each push finds
//! the bit. A push may race with a reader that is about to sleep:
//!
//! - The push comes first: `park` fails, since the stack is not empty.
//! - `park` comes first: the push finds the bit, and returns that the reader is parked.
//!
//! | word | meaning | never |
//! |---|---|---|
//! | null | empty, and the reader is awake | |
//! | a node | the newest item, and the reader is awake | |
//! | null, `PARKED` | empty, and the reader is parked | set while an item is in the stack |
//! | a node, `PARKED` | items were pushed since the reader parked | set by the reader |
//!
//! "The timer" in `docs/design/timers.md` has the steps of the timer thread.

use crate::sync::{AtomicPtr, Ordering};
use core::fmt;
use core::marker::PhantomData;
use core::ptr;

/// The reader is parked.
///
/// The reader sets this bit in `park`, by a compare-exchange from the empty word. Pushes keep the
/// bit. The reader clears the bit in `take`. The bit cannot be set while an item is in the stack.
const PARKED: usize = 1;

struct Node<T> {
    item: T,
    /// The next older node.
    next: *mut Node<T>,
}

/// The stack. One thread is the reader.
pub(crate) struct Inbox<T> {
    head: AtomicPtr<Node<T>>,
    items: PhantomData<T>,
}

// SAFETY: items move from the pushing thread to the reader, which `T: Send` allows.
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: no item is shared between threads. Items only move from the pushing thread to the reader,
// which `T: Send` allows.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        // The lowest bit of a node's address is the flag.
        const { assert!(align_of::<Node<T>>() > PARKED) };
        Inbox {
            head: AtomicPtr::new(ptr::null_mut()),
            items: PhantomData,
        }
    }

    /// Pushes an item. Returns whether the reader is parked. If so, the caller sees what the reader
    /// did before parking.
    pub(crate) fn push(&self, item: T) -> bool {
        let node = Box::into_raw(Box::new(Node {
            item,
            next: ptr::null_mut(),
        }));
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let flag = head.addr() & PARKED;
            // SAFETY: the node was made above and is not pushed yet, so no other thread uses the
            // node.
            unsafe { (*node).next = head.map_addr(|a| a & !PARKED) };
            // Release: partners with the Acquire of `take`, which sees the node.
            // Acquire: partners with the Release of `park`. This thread sees what the reader did
            // before parking. Pushes in between are read-modify-writes, and continue the release
            // sequence.
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

    /// Takes all items out, oldest first. From then on the reader counts as awake. Must be called
    /// by the reader.
    pub(crate) fn take(&self) -> Vec<T> {
        // Acquire: partners with the Release of `push`, so that the nodes are seen.
        let head = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut at = head.map_addr(|a| a & !PARKED);
        let mut items = Vec::new();
        while !at.is_null() {
            // SAFETY: `push` made the node by `Box`. The swap above took the node out of the word,
            // so the node is this thread's alone.
            let node = unsafe { Box::from_raw(at) };
            at = node.next;
            items.push(node.item);
        }
        items.reverse();
        items
    }

    /// Marks the reader as parked, unless an item was pushed. Returns whether the mark was set.
    /// Must be called by the reader.
    pub(crate) fn park(&self) -> bool {
        // Release: partners with the Acquire of `push`.
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
