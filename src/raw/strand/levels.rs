//! Tasks sorted by priority: a list for each level, and the rule that chooses the next task.
//!
//! The next task is the oldest of the most urgent level that has tasks. If tasks *age*, every n-th
//! task is taken from another level instead. Except for level 0, these turns go round all levels
//! that have tasks. So no level is passed over for ever, however many tasks are queued at the
//! levels above it. The oldest task of a level starts after at most n · (levels − 1) other tasks.
//!
//! The remains of cancelled and expired tasks take no turns. Whenever a task is to be chosen, the
//! head of one level is checked, round all levels. Remains at that head are cleared away first. So
//! remains do not gather at levels that get no turn.
//!
//! A tempting rule gives every n-th turn to *the next level below the most urgent level that
//! waits*. That rule starves a level that is the most urgent level whenever the n-th turn comes.

use crate::raw::strand::queue::Link;
use core::ptr::{self, NonNull};

/// The most levels that a resource may have.
pub(crate) const MAX_LEVELS: u16 = 256;

/// Returns the level of a node.
///
/// # Safety
/// The node must be live.
pub(crate) type LevelOf = unsafe fn(NonNull<Link>) -> u8;

/// Checks whether a node is only the remains of a task that is over.
///
/// # Safety
/// The node must be live.
pub(crate) type IsOver = unsafe fn(NonNull<Link>) -> bool;

/// How tasks are sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// The number of levels, from 1 to [`MAX_LEVELS`].
    pub(crate) levels: u16,
    /// The n of ageing: one of `every` tasks is taken from another level. 0 turns ageing off.
    pub(crate) every: u32,
    pub(crate) level_of: LevelOf,
    pub(crate) is_over: IsOver,
}

/// A list of linked nodes, oldest first.
#[derive(Clone, Copy, Debug)]
struct LinkList {
    first: *mut Link,
    last: *mut Link,
}

impl LinkList {
    const EMPTY: LinkList = LinkList {
        first: ptr::null_mut(),
        last: ptr::null_mut(),
    };

    /// Adds a node at the end.
    ///
    /// # Safety
    /// The node must be live, in no list, and the caller's. The list must be the caller's.
    unsafe fn push(&mut self, node: NonNull<Link>) {
        // SAFETY: `node` and all nodes of the list are live and the caller's (contract of `push`).
        unsafe {
            Link::set_next(node, ptr::null_mut());
            match NonNull::new(self.last) {
                Some(last) => Link::set_next(last, node.as_ptr()),
                None => self.first = node.as_ptr(),
            }
        }
        self.last = node.as_ptr();
    }

    /// Takes out the first node.
    ///
    /// # Safety
    /// The list must be the caller's.
    unsafe fn pop(&mut self) -> Option<NonNull<Link>> {
        let node = NonNull::new(self.first)?;
        // SAFETY: nodes in the list are live, and the list is the caller's (contract of `pop`).
        self.first = unsafe { Link::next(node) };
        if self.first.is_null() {
            self.last = ptr::null_mut();
        }
        Some(node)
    }
}

/// The levels that have tasks, as a bit for each level.
#[derive(Clone, Copy, Debug, Default)]
struct NonEmptyLevels([u64; 4]);

impl NonEmptyLevels {
    fn set(&mut self, level: u8, waits: bool) {
        let (word, bit) = (&mut self.0[usize::from(level) / 64], 1 << (level % 64));
        if waits {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    /// Returns the most urgent level that has tasks, from `level` on.
    fn first_from(&self, level: u16) -> Option<u8> {
        let (at, bit) = (usize::from(level) / 64, level % 64);
        let rest = self.0.get(at)? & (u64::MAX << bit);
        let mut words = core::iter::once(rest)
            .chain(self.0[at + 1..].iter().copied())
            .zip(at..);
        let (word, at) = words.find(|(word, _)| *word != 0)?;
        u8::try_from(at * 64 + word.trailing_zeros() as usize).ok()
    }
}

/// Tasks by level. Only one thread at a time may use the levels.
#[derive(Debug)]
pub(crate) struct Levels {
    order: Order,
    /// Tasks that go before all other tasks, at any level: a task that waited and continues.
    front: LinkList,
    lists: Box<[LinkList]>,
    waiting: NonEmptyLevels,
    /// How many tasks have been taken since the last turn of another level.
    taken: u32,
    /// The level that had the last turn.
    turn: u8,
    /// The level that was searched last for remains.
    looked_at: u8,
}

impl Levels {
    pub(crate) fn new(order: Order) -> Self {
        Levels {
            order,
            front: LinkList::EMPTY,
            lists: vec![LinkList::EMPTY; order.levels.into()].into(),
            waiting: NonEmptyLevels::default(),
            taken: 0,
            turn: 0,
            looked_at: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front.first.is_null() && self.waiting.first_from(0).is_none()
    }

    /// Puts a task before all levels.
    ///
    /// # Safety
    /// The node must be live, in no list, and the caller's.
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Link>) {
        // SAFETY: `node` is live, in no list and the caller's (contract of `push_front`).
        unsafe { self.front.push(node) };
    }

    /// Sorts a chain in, oldest first.
    ///
    /// # Safety
    /// The nodes of the chain must be live, in no list, and the caller's.
    pub(crate) unsafe fn extend(&mut self, first: *mut Link) {
        let mut rest = first;
        while let Some(node) = NonNull::new(rest) {
            // SAFETY: the nodes are live, in no list and the caller's (contract of `extend`). The
            // link is read before it is changed.
            unsafe {
                rest = Link::next(node);
                let level = (self.order.level_of)(node);
                debug_assert!(u16::from(level) < self.order.levels);
                self.lists[usize::from(level)].push(node);
                self.waiting.set(level, true);
            }
        }
    }

    /// Returns the level of the next task. If another level than the most urgent level has its
    /// turn, the second value is that level too.
    fn choose(&self) -> Option<(u8, Option<u8>)> {
        let most_urgent = self.waiting.first_from(0)?;
        if self.order.every == 0 || self.taken + 1 < self.order.every {
            return Some((most_urgent, None));
        }
        let next = self.next_after(self.turn).or(self.waiting.first_from(1));
        let level = next.unwrap_or(0);
        Some((level, Some(level)))
    }

    fn next_after(&self, level: u8) -> Option<u8> {
        self.waiting.first_from(u16::from(level) + 1)
    }

    /// Returns the next level to search, if the head of that level is only remains.
    fn choose_over(&mut self) -> Option<u8> {
        let level = self
            .next_after(self.looked_at)
            .or(self.waiting.first_from(0))?;
        self.looked_at = level;
        let first = NonNull::new(self.lists[usize::from(level)].first)?;
        // SAFETY: nodes in the lists are live (contract of `extend`).
        unsafe { (self.order.is_over)(first) }.then_some(level)
    }

    /// Takes the first task out of a level that has tasks.
    fn take_first(&mut self, level: u8) -> Option<NonNull<Link>> {
        let list = &mut self.lists[usize::from(level)];
        // SAFETY: the nodes in the lists were handed over and belong to this value (contract of
        // `extend`).
        let node = unsafe { list.pop() };
        if list.first.is_null() {
            self.waiting.set(level, false);
        }
        node
    }

    pub(crate) fn pop(&mut self) -> Option<NonNull<Link>> {
        // SAFETY: the nodes in `front` were handed over and belong to this value (contract of
        // `push_front`).
        if let Some(node) = unsafe { self.front.pop() } {
            return Some(node);
        }
        if let Some(level) = self.choose_over() {
            return self.take_first(level);
        }
        let (level, turn) = self.choose()?;
        let node = self.take_first(level)?;
        // SAFETY: the node was in the lists until now, so it is live.
        if unsafe { (self.order.is_over)(node) } {
            return Some(node);
        }
        match turn {
            Some(level) => (self.taken, self.turn) = (0, level),
            // Without ageing, tasks need not be counted.
            None if self.order.every == 0 => {}
            None => self.taken += 1,
        }
        Some(node)
    }

    /// Returns the list that goes before all levels, and then the levels that have tasks, most
    /// urgent first.
    fn lists(&self) -> impl Iterator<Item = &LinkList> {
        let mut from = 0;
        let by_level = core::iter::from_fn(move || {
            let level = self.waiting.first_from(from)?;
            from = u16::from(level) + 1;
            Some(&self.lists[usize::from(level)])
        });
        core::iter::once(&self.front).chain(by_level)
    }

    /// Takes all tasks out, most urgent first.
    pub(crate) fn take_all(&mut self) -> *mut Link {
        let mut all = LinkList::EMPTY;
        for list in self.lists().filter(|list| !list.first.is_null()) {
            match NonNull::new(all.last) {
                // SAFETY: `last` is the end of a list, whose nodes are live and belong to this
                // value.
                Some(last) => unsafe { Link::set_next(last, list.first) },
                None => all.first = list.first,
            }
            all.last = list.last;
        }
        self.front = LinkList::EMPTY;
        self.lists.fill(LinkList::EMPTY);
        self.waiting = NonEmptyLevels::default();
        all.first
    }

    /// Visits the tasks, most urgent first, and oldest first within a level.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NonNull<Link>> {
        self.lists().flat_map(|list| {
            let mut at = list.first;
            core::iter::from_fn(move || {
                let node = NonNull::new(at)?;
                // SAFETY: nodes in the lists are live and belong to this value.
                at = unsafe { Link::next(node) };
                Some(node)
            })
        })
    }
}
