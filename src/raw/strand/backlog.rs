//! Tasks that the holder has taken and not yet started: oldest first, or sorted
//! by how urgent they are.
//!
//! Filled by the holder alone; emptied by the holder, task by task, and by
//! whoever cancels all that is pending. So both take the tasks in hand first
//! (the word then says "taken") and put the rest back: a spin lock held for a
//! few instructions, on a word that only the holder touches unless somebody
//! cancels.
//!
//! | word | meaning |
//! |---|---|
//! | a node | the oldest of a list |
//! | `EMPTY` | nothing, of a list |
//! | a box, `SORTED` | something, sorted: the box has the [`Levels`] |
//! | a box, `SORTED`, `EMPTY` | nothing, sorted |
//! | `TAKEN` | somebody has it in hand |
//!
//! Whether it is sorted never changes. A sorted one has to be filled before each
//! task is taken, since what came last may be the most urgent.

use crate::raw::strand::levels::{Levels, Order};
use crate::raw::strand::queue::Link;
use crate::sync::{AtomicPtr, Ordering, UnsafeCell, yield_now};
use core::fmt;
use core::ptr::{self, NonNull};

const TAKEN: usize = 1;
const SORTED: usize = 1 << 1;
const EMPTY: usize = 1 << 2;
const TAGS: usize = TAKEN | SORTED | EMPTY;

/// The word of a list that is empty.
const NOTHING: *mut Link = ptr::without_provenance_mut(EMPTY);

/// In a cell, so that a model checker sees who uses it.
type Shelf = UnsafeCell<Levels>;

const _: () = assert!(align_of::<Shelf>() > TAGS);

pub(crate) struct Backlog {
    word: AtomicPtr<Link>,
}

// SAFETY: what the word points to is used by whoever has it in hand, one after
// the other (see `take`), and nodes may be sent.
unsafe impl Send for Backlog {}
// SAFETY: as above.
unsafe impl Sync for Backlog {}

impl Backlog {
    /// One that is sorted, if an order is given.
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

    /// May be out of date, unless the caller is the holder: then "empty" is
    /// the truth, since nobody else fills it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed).addr() & EMPTY != 0
    }

    /// Takes the tasks in hand. No user code runs while they are.
    pub(crate) fn take(&self) -> InHand<'_> {
        const IN_HAND: *mut Link = ptr::without_provenance_mut(TAKEN);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word == IN_HAND {
                yield_now();
                word = self.word.load(Ordering::Relaxed);
                continue;
            }
            // Acquire: partners with the Release in `InHand::drop`, so that
            // the links are seen as the one before us left them. A swap would
            // do as well, but those of a waiter that spins and the store that
            // it waits for are in no order that a model checker could use.
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
        // Whether it is sorted never changes.
        if self.word.load(Ordering::Relaxed).addr() & SORTED == 0 {
            return;
        }
        let word = self.take().word;
        if let Some(shelf) = shelf(word) {
            // SAFETY: made by `Box` in `new`; nobody else can reach it any more.
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

fn shelf(word: *mut Link) -> Option<NonNull<Shelf>> {
    let sorted = word.addr() & SORTED != 0;
    NonNull::new(word.map_addr(|a| a & !TAGS).cast()).filter(|_| sorted)
}

/// The backlog's tasks while its word says "taken"; they go back on drop.
#[derive(Debug)]
pub(crate) struct InHand<'a> {
    backlog: &'a Backlog,
    /// What the word was; of a list, its first.
    word: *mut Link,
}

impl InHand<'_> {
    #[inline]
    fn is_sorted(&self) -> bool {
        self.word.addr() & SORTED != 0
    }

    /// Of a list.
    #[inline]
    fn set_first(&mut self, first: *mut Link) {
        self.word = if first.is_null() { NOTHING } else { first };
    }

    /// Of a list; null, if it is empty.
    fn first(&self) -> *mut Link {
        self.word.map_addr(|a| a & !EMPTY)
    }

    #[cold]
    fn note_whether_empty(&mut self) {
        let empty = self.levels(|levels| levels.is_empty()) == Some(true);
        let empty = if empty { EMPTY } else { 0 };
        self.word = self.word.map_addr(|a| (a & !EMPTY) | empty);
    }

    /// Uses the levels, of one that is sorted.
    #[cold]
    fn levels<R>(&self, f: impl FnOnce(&mut Levels) -> R) -> Option<R> {
        // SAFETY: the box lives as long as the backlog, and is in our hand.
        shelf(self.word).map(|shelf| unsafe { shelf.as_ref() }.with_mut(|l| f(unsafe { &mut *l })))
    }

    /// May a task that is not in it be the next one?
    #[inline]
    pub(crate) fn wants_more(&self) -> bool {
        self.word.addr() & (SORTED | EMPTY) != 0
    }

    /// The next task, if any.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<Link>> {
        if self.wants_more() {
            return self.levels(Levels::pop).flatten();
        }
        // SAFETY: no tags, so it is a node's address; nodes in the list are
        // live, and the list is in our hand.
        unsafe {
            let first = NonNull::new_unchecked(self.word);
            self.set_first(Link::next(first));
            Some(first)
        }
    }

    /// Puts a task before all others.
    ///
    /// # Safety
    /// It is live, in no list, and the caller's.
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Link>) {
        // SAFETY: by the contract.
        let sorted = self.levels(|levels| unsafe { levels.push_front(node) });
        if sorted.is_none() {
            // SAFETY: as above.
            unsafe { Link::set_next(node, self.first()) };
            self.word = node.as_ptr();
        }
    }

    /// Adds a chain, oldest first: where it is not sorted, to none.
    ///
    /// # Safety
    /// Its nodes are live, in no list, and the caller's.
    #[inline]
    pub(crate) unsafe fn fill(&mut self, first: *mut Link) {
        if self.is_sorted() {
            // SAFETY: by the contract.
            self.levels(|levels| unsafe { levels.extend(first) });
        } else {
            debug_assert_eq!(self.word, NOTHING);
            self.set_first(first);
        }
    }

    /// Takes everything out, in order.
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

    /// The first of the `limit` first for which `f` has an answer.
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
            // SAFETY: nodes in the list are live, and the list is in our hand.
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
