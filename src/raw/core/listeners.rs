//! Wakers of tasks and threads that await an event which happens once.

use crate::raw::thread::panics;
use crate::sync::{Mutex, lock, thread_local_const};
use core::cell::{Cell, RefCell};
use core::task::Waker;
use std::collections::BTreeMap;

/// Wakers of those who await an event that happens once.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<WakerList>);

#[derive(Debug, Default)]
struct WakerList {
    /// In the order in which they came.
    wakers: BTreeMap<Key, Waker>,
    last: Key,
}

/// What a listener's waker is kept under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Listeners {
    /// Sets the waker that is kept under `key`, which a new listener is given.
    /// O(log n).
    pub(crate) fn listen(&self, key: &mut Option<Key>, waker: &Waker) {
        let waker = waker.clone();
        let old = {
            let WakerList { wakers, last } = &mut *lock(&self.0);
            let key = *key.get_or_insert_with(|| {
                last.0 += 1;
                *last
            });
            wakers.insert(key, waker)
        };
        // Wakers are user code, and never run under the lock.
        panics::contain("drop of a waker", || drop(old));
    }

    pub(crate) fn forget(&self, key: Key) {
        let old = lock(&self.0).wakers.remove(&key);
        panics::contain("drop of a waker", || drop(old));
    }

    pub(crate) fn notify(&self) {
        let wakers = core::mem::take(&mut lock(&self.0).wakers);
        if !wakers.is_empty() {
            tell(wakers.into_values());
        }
    }
}

/// How many notifications may be nested: the end of a resource may let a task fall, with
/// which the last handle of another goes, and so on.
const MAX_NESTED: usize = 16;

thread_local_const! {
    /// How many notifications this thread is inside of.
    static NESTED: Cell<usize> = Cell::new(0);
    /// Who is left to the one further out: beyond that, the stack does not grow.
    static LEFT: RefCell<Vec<Waker>> = RefCell::new(Vec::new());
}

fn tell(wakers: impl Iterator<Item = Waker>) {
    let nested = NESTED.with(Cell::get);
    let mut wakers = Some(wakers);
    if nested == MAX_NESTED {
        let leave = |left: &RefCell<Vec<Waker>>| {
            left.borrow_mut()
                .extend(wakers.take().into_iter().flatten())
        };
        // Where the thread's locals are gone, it goes deeper.
        let _ = LEFT.try_with(leave);
    }
    let Some(wakers) = wakers else { return };
    NESTED.with(|n| n.set((nested + 1).min(MAX_NESTED)));
    wakers.for_each(panics::wake);
    if nested + 1 == MAX_NESTED {
        let next = || LEFT.try_with(|left| left.borrow_mut().pop()).ok().flatten();
        while let Some(waker) = next() {
            panics::wake(waker);
        }
    }
    NESTED.with(|n| n.set(nested));
}
