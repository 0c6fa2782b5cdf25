//! Tasks sorted by how urgent they are: a list for each level, and the rule
//! that says which is next.
//!
//! The most urgent task that waits is next, the oldest of its level. Where
//! tasks *age*, every n-th one is taken from the others instead: those go round
//! all levels that wait but level 0, so that no level is passed over for ever,
//! however many tasks come at the levels above it. The oldest task of a level
//! starts after n · (levels − 1) others at the latest.
//!
//! What is left of tasks that are over (cancelled, expired) is no task: it takes no
//! turns. It is cleared away wherever it comes to stand first of its level, one for
//! each task that is taken, so that it does not gather where no turn comes.
//!
//! (Every n-th for *the next level below the most urgent one that waits* would
//! starve a level that is the most urgent one whenever the n-th turn comes.)

use crate::raw::strand::queue::Link;
use core::ptr::{self, NonNull};

/// How many levels there may be.
pub(crate) const MAX_LEVELS: u16 = 256;

/// Says which level a node belongs to.
///
/// # Safety
/// For the one who calls it: the node is live.
pub(crate) type LevelOf = unsafe fn(NonNull<Link>) -> u8;

/// Says whether a node is only what is left of a task.
///
/// # Safety
/// As above.
pub(crate) type IsOver = unsafe fn(NonNull<Link>) -> bool;

/// How tasks are sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// How many levels there are, 1 to [`MAX_LEVELS`].
    pub(crate) levels: u16,
    /// Every so many tasks, one goes to the others; 0: never.
    pub(crate) every: u32,
    pub(crate) level_of: LevelOf,
    pub(crate) is_over: IsOver,
}

/// Linked nodes, oldest first.
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

    /// # Safety
    /// The node is live, in no list, and the caller's, as the list is.
    unsafe fn push(&mut self, node: NonNull<Link>) {
        // SAFETY: live and the caller's by the contract, as all in the list.
        unsafe {
            Link::set_next(node, ptr::null_mut());
            match NonNull::new(self.last) {
                Some(last) => Link::set_next(last, node.as_ptr()),
                None => self.first = node.as_ptr(),
            }
        }
        self.last = node.as_ptr();
    }

    /// # Safety
    /// The list is the caller's.
    unsafe fn pop(&mut self) -> Option<NonNull<Link>> {
        let node = NonNull::new(self.first)?;
        // SAFETY: nodes in the list are live, and the caller's by the contract.
        self.first = unsafe { Link::next(node) };
        if self.first.is_null() {
            self.last = ptr::null_mut();
        }
        Some(node)
    }
}

/// Which levels have tasks: a bit for each.
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

    /// The first from `level` on.
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

/// Tasks by level. Belongs to one thread at a time.
#[derive(Debug)]
pub(crate) struct Levels {
    order: Order,
    /// Tasks that go before all others, whatever their level: one that waited
    /// and goes on.
    front: LinkList,
    lists: Box<[LinkList]>,
    waiting: NonEmptyLevels,
    /// So many tasks have been taken since one that was another level's turn.
    taken: u32,
    /// The level that had that turn.
    turn: u8,
    /// The level at which was looked last for what is over.
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

    /// # Safety
    /// The node is live, in no list, and the caller's.
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Link>) {
        // SAFETY: by the contract.
        unsafe { self.front.push(node) };
    }

    /// Sorts in a chain, oldest first.
    ///
    /// # Safety
    /// Its nodes are live, in no list, and the caller's.
    pub(crate) unsafe fn extend(&mut self, first: *mut Link) {
        let mut rest = first;
        while let Some(node) = NonNull::new(rest) {
            // SAFETY: by the contract; the link is read before it is changed.
            unsafe {
                rest = Link::next(node);
                let level = (self.order.level_of)(node);
                debug_assert!(u16::from(level) < self.order.levels);
                self.lists[usize::from(level)].push(node);
                self.waiting.set(level, true);
            }
        }
    }

    /// The level whose turn it is; the second, if it is that of another level than the
    /// most urgent.
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

    /// A level whose first is over, if one is found at the next place to look.
    fn choose_over(&mut self) -> Option<u8> {
        let level = self
            .next_after(self.looked_at)
            .or(self.waiting.first_from(0))?;
        self.looked_at = level;
        let first = NonNull::new(self.lists[usize::from(level)].first)?;
        // SAFETY: what is in the lists is live.
        unsafe { (self.order.is_over)(first) }.then_some(level)
    }

    /// The first of a level that has some.
    fn take_first(&mut self, level: u8) -> Option<NonNull<Link>> {
        let list = &mut self.lists[usize::from(level)];
        // SAFETY: what is in the lists was handed over, and is ours.
        let node = unsafe { list.pop() };
        if list.first.is_null() {
            self.waiting.set(level, false);
        }
        node
    }

    pub(crate) fn pop(&mut self) -> Option<NonNull<Link>> {
        // SAFETY: as in `take_first`.
        if let Some(node) = unsafe { self.front.pop() } {
            return Some(node);
        }
        if let Some(level) = self.choose_over() {
            return self.take_first(level);
        }
        let (level, turn) = self.choose()?;
        let node = self.take_first(level)?;
        // SAFETY: it was in the lists until now, so it is live.
        if unsafe { (self.order.is_over)(node) } {
            return Some(node);
        }
        match turn {
            Some(level) => (self.taken, self.turn) = (0, level),
            // Without turns nobody counts.
            None if self.order.every == 0 => {}
            None => self.taken += 1,
        }
        Some(node)
    }

    /// The levels that have tasks, the most urgent first, after those that go
    /// before all.
    fn lists(&self) -> impl Iterator<Item = &LinkList> {
        let mut from = 0;
        let by_level = core::iter::from_fn(move || {
            let level = self.waiting.first_from(from)?;
            from = u16::from(level) + 1;
            Some(&self.lists[usize::from(level)])
        });
        core::iter::once(&self.front).chain(by_level)
    }

    /// Takes everything out, the most urgent first.
    pub(crate) fn take_all(&mut self) -> *mut Link {
        let mut all = LinkList::EMPTY;
        for list in self.lists().filter(|list| !list.first.is_null()) {
            match NonNull::new(all.last) {
                // SAFETY: the last of a list, which is ours.
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

    /// The most urgent and oldest come first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NonNull<Link>> {
        self.lists().flat_map(|list| {
            let mut at = list.first;
            core::iter::from_fn(move || {
                let node = NonNull::new(at)?;
                // SAFETY: nodes in the lists are live and ours.
                at = unsafe { Link::next(node) };
                Some(node)
            })
        })
    }
}
