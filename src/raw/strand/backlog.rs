//! The backlog: tasks that the holder has taken and not yet started, oldest first or sorted by
//! priority.
//!
//! Only the holder fills the backlog. The holder takes tasks out singly, and a thread that cancels
//! all that is pending takes all tasks out. So each thread first takes the tasks in hand, which
//! leaves "taken" in the word, and then puts the rest back. This is a spin lock. The lock is held
//! for the few instructions of a pop or, when the holder refills, of a batch's reversal. Only the
//! holder touches the word, unless another thread cancels tasks.
//!
//! | word | meaning |
//! |---|---|
//! | a node | the oldest of a list |
//! | `EMPTY` | an empty list |
//! | a box, `SORTED` | sorted tasks: the box has the [`Levels`] |
//! | a box, `SORTED`, `EMPTY` | sorted, without tasks |
//! | `TAKEN` | a thread has the tasks in hand |
//!
//! Whether a backlog is sorted never changes. A sorted backlog must be filled before each task is
//! taken, since the task that was pushed last may be the most urgent.

use crate::raw::strand::levels::{Levels, Order};
use crate::raw::strand::queue::Link;
use crate::sync::{AtomicPtr, Ordering, UnsafeCell, yield_now};
use core::fmt;
use core::ptr::{self, NonNull};

/// A thread has the tasks in hand. The thread that takes them sets this word, and a store of the
/// rest clears it. No other bit is set with `TAKEN`.
const TAKEN: usize = 1;
/// The word points to a box of [`Levels`]. This bit is set from birth or never. While a thread has
/// the tasks in hand, the word does not show this bit.
const SORTED: usize = 1 << 1;
/// No task is in the backlog. The thread that has the tasks in hand sets this bit when it puts
/// nothing back, and clears the bit when it puts a task back. A list's word has no address then.
const EMPTY: usize = 1 << 2;
const TAGS: usize = TAKEN | SORTED | EMPTY;

/// The word of an empty list.
const NOTHING: *mut Link = ptr::without_provenance_mut(EMPTY);

/// The levels, in a cell so that a model checker sees which thread uses them.
type LevelsCell = UnsafeCell<Levels>;

const _: () = assert!(align_of::<LevelsCell>() > TAGS);

pub(crate) struct Backlog {
    word: AtomicPtr<Link>,
}

// SAFETY: only the thread that has the word in hand uses what the word points to (see `take`).
// Nodes may be sent to another thread.
unsafe impl Send for Backlog {}
// SAFETY: `take` gives the tasks to one thread at a time, so threads can share the backlog.
unsafe impl Sync for Backlog {}

impl Backlog {
    /// Creates an empty backlog, which is sorted if an order is given.
    #[inline]
    pub(crate) fn new(order: Option<Order>) -> Self {
        let word = order.map_or(NOTHING, |order| {
            let shelf = Box::into_raw(Box::new(UnsafeCell::new(Levels::new(order))));
            shelf.cast::<Link>().map_addr(|a| a | SORTED | EMPTY)
        });
        Backlog {
            word: AtomicPtr::new(word),
        }
    }

    /// Checks whether the backlog is empty. `true` is certain if the caller is the holder, since no
    /// other thread fills the backlog. Any other answer may be out of date.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed).addr() & EMPTY != 0
    }

    /// Takes the tasks in hand. No user code may run while a thread has them in hand.
    pub(crate) fn take(&self) -> InHand<'_> {
        const IN_HAND: *mut Link = ptr::without_provenance_mut(TAKEN);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word == IN_HAND {
                yield_now();
                word = self.word.load(Ordering::Relaxed);
                continue;
            }
            // Acquire: partners with the Release in `InHand::drop`, so the links are seen as the
            // last owner left them. A swap would do as well. But a thread that waits here spins,
            // and a model checker could not order the swaps with the store that ends the wait.
            match self.word.compare_exchange_weak(
                word,
                IN_HAND,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return InHand {
                        backlog: self,
                        word,
                    };
                }
                Err(now) => word = now,
            }
        }
    }
}

impl Drop for Backlog {
    #[inline]
    fn drop(&mut self) {
        // Relaxed: the word changes, but whether the backlog is sorted never does.
        if self.word.load(Ordering::Relaxed).addr() & SORTED == 0 {
            return;
        }
        let word = self.take().word;
        if let Some(shelf) = shelf(word) {
            // SAFETY: `new` made this box by `Box`, and `&mut self` excludes any other use of the
            // box.
            drop(unsafe { Box::from_raw(shelf.as_ptr()) });
        }
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("empty", &self.is_empty())
            .finish()
    }
}

fn shelf(word: *mut Link) -> Option<NonNull<LevelsCell>> {
    let sorted = word.addr() & SORTED != 0;
    NonNull::new(word.map_addr(|a| a & !TAGS).cast()).filter(|_| sorted)
}

/// The backlog's tasks while the word says "taken". Dropping this value puts them back.
#[derive(Debug)]
pub(crate) struct InHand<'a> {
    backlog: &'a Backlog,
    /// The value of the word, which for a list is the first node or [`NOTHING`].
    word: *mut Link,
}

impl InHand<'_> {
    #[inline]
    fn is_sorted(&self) -> bool {
        self.word.addr() & SORTED != 0
    }

    /// Sets the first node of a list. Null makes the list empty.
    #[inline]
    fn set_first(&mut self, first: *mut Link) {
        self.word = if first.is_null() { NOTHING } else { first };
    }

    /// Returns the first node of a list, or null if the list is empty.
    fn first(&self) -> *mut Link {
        self.word.map_addr(|a| a & !EMPTY)
    }

    #[cold]
    fn note_whether_empty(&mut self) {
        let empty = self.levels(|levels| levels.is_empty()) == Some(true);
        let empty = if empty { EMPTY } else { 0 };
        self.word = self.word.map_addr(|a| (a & !EMPTY) | empty);
    }

    /// Calls `f` with the levels, if the backlog is sorted.
    #[cold]
    fn levels<R>(&self, f: impl FnOnce(&mut Levels) -> R) -> Option<R> {
        // SAFETY: the box lives as long as the backlog. This thread has the word in hand, so no
        // other thread uses the levels.
        shelf(self.word).map(|shelf| unsafe { shelf.as_ref() }.with_mut(|l| f(unsafe { &mut *l })))
    }

    /// Checks whether a task that is not in the backlog may be the next task.
    #[inline]
    pub(crate) fn wants_more(&self) -> bool {
        self.word.addr() & (SORTED | EMPTY) != 0
    }

    /// Takes out the next task, if any.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<Link>> {
        if self.wants_more() {
            return self.levels(Levels::pop).flatten();
        }
        // SAFETY: the word has no tags, so it is the address of a node. Nodes in the list are live,
        // and this thread has the list in hand.
        unsafe {
            let first = NonNull::new_unchecked(self.word);
            self.set_first(Link::next(first));
            Some(first)
        }
    }

    /// Puts a task before all other tasks.
    ///
    /// # Safety
    /// `node` must be live, in no list, and the caller's.
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Link>) {
        // SAFETY: `node` is live, in no list and the caller's (contract of `push_front`).
        let sorted = self.levels(|levels| unsafe { levels.push_front(node) });
        if sorted.is_none() {
            // SAFETY: `node` is live, and only the caller can reach it (contract of `push_front`).
            unsafe { Link::set_next(node, self.first()) };
            self.word = node.as_ptr();
        }
    }

    /// Adds a chain, oldest first. If the backlog is not sorted, it must be empty.
    ///
    /// # Safety
    /// The nodes of the chain must be live, in no list, and the caller's.
    #[inline]
    pub(crate) unsafe fn fill(&mut self, first: *mut Link) {
        if self.is_sorted() {
            // SAFETY: the nodes are live, in no list and the caller's (contract of `fill`).
            self.levels(|levels| unsafe { levels.extend(first) });
        } else {
            debug_assert_eq!(self.word, NOTHING);
            self.set_first(first);
        }
    }

    /// Takes out all tasks in order, and returns the first node.
    pub(crate) fn take_all(&mut self) -> *mut Link {
        match self.levels(Levels::take_all) {
            Some(first) => first,
            None => {
                let first = self.first();
                self.word = NOTHING;
                first
            }
        }
    }

    /// Returns the first answer of `f` among the first `limit` tasks.
    pub(crate) fn find<R>(
        &self,
        limit: usize,
        mut f: impl FnMut(NonNull<Link>) -> Option<R>,
    ) -> Option<R> {
        if self.is_sorted() {
            let found = self.levels(|levels| levels.iter().take(limit).find_map(&mut f));
            return found.flatten();
        }
        let mut at = self.first();
        for _ in 0..limit {
            let node = NonNull::new(at)?;
            if let Some(found) = f(node) {
                return Some(found);
            }
            // SAFETY: nodes in the list are live, and this thread has the list in hand.
            at = unsafe { Link::next(node) };
        }
        None
    }
}

impl Drop for InHand<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_sorted() {
            self.note_whether_empty();
        }
        // Release: partners with the Acquire in `Backlog::take`.
        self.backlog.word.store(self.word, Ordering::Release);
    }
}
