//! The wakers of tasks and threads that await an event that happens once: the closing of a
//! resource, or its end.
//!
//! A map under a lock keeps the wakers. Wakers are user code, so they are cloned, dropped and
//! called outside of the lock.

use crate::raw::thread::panics;
use crate::sync::{Mutex, lock, thread_local_const};
use core::cell::{Cell, RefCell};
use core::task::Waker;
use std::collections::BTreeMap;

/// Wakers to call when an event happens.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<WakerList>);

#[derive(Debug, Default)]
struct WakerList {
    /// In the order in which the listeners registered.
    wakers: BTreeMap<Key, Waker>,
    last: Key,
}

/// Identifies the place of a listener's waker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Listeners {
    /// Sets the waker of the listener with this `key`. A new listener is given a key. Costs
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
        // The waker's drop is user code, and runs after the lock is released.
        panics::contain("drop of a waker", || drop(old));
    }

    /// Removes the waker of this listener.
    pub(crate) fn forget(&self, key: Key) {
        let old = lock(&self.0).wakers.remove(&key);
        panics::contain("drop of a waker", || drop(old));
    }

    /// Wakes all listeners, and forgets them.
    pub(crate) fn notify(&self) {
        let wakers = core::mem::take(&mut lock(&self.0).wakers);
        if !wakers.is_empty() {
            tell(wakers.into_values());
        }
    }
}

/// How many notifications may be nested on one thread. The end of a resource may drop a task, and
/// with the task the last handle of another resource, which notifies its listeners, and so on.
const MAX_NESTED: usize = 16;

thread_local_const! {
    /// How many notifications this thread is inside of.
    static NESTED: Cell<usize> = Cell::new(0);
    /// Wakers left to the notification at the limit. So deeper nesting does not grow the stack.
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
        // If the thread's locals are already dropped, this notification nests deeper.
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
