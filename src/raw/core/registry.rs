//! Which resources a scheduler has: those that it is to close when it is shut
//! down, and to list.
//!
//! A map under a lock. It is touched where a resource is made and where it goes,
//! never where a task is submitted or run; and by no resource that is not to be
//! found by it (an unnamed one of the global scheduler). Nothing is upgraded, and
//! nothing that could be the last of its kind dropped, while the lock is held:
//! a core's drop takes it.

use crate::raw::thread::context::Id;
use crate::sync::{Arc, Counter, StaticMutex, Weak};
use core::fmt;
use std::collections::HashMap;
use std::sync::PoisonError;

/// Keyed by the address, which is theirs for as long as they are in here; with a number
/// that says who came first.
type Map<C> = HashMap<usize, (u64, Weak<C>)>;

pub(crate) struct Registry<C: ?Sized> {
    /// Whether those are in here too that have no name.
    unnamed: bool,
    live: StaticMutex<Map<C>>,
    added: Counter,
}

impl<C: ?Sized> Registry<C> {
    pub(crate) fn new(unnamed: bool) -> Self {
        Registry {
            unnamed,
            live: StaticMutex::default(),
            added: Counter::default(),
        }
    }

    /// Is a resource with this name to be in here?
    pub(crate) fn is_for(&self, name: Option<&str>) -> bool {
        self.unnamed || name.is_some()
    }

    fn with_map<R>(&self, f: impl FnOnce(&mut Map<C>) -> R) -> R {
        // What is in it is valid at every step.
        f(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, core: &Arc<C>) {
        let weak = Arc::downgrade(core);
        let number = self.added.add(1);
        let before = self.with_map(|map| map.insert(Arc::as_ptr(core).addr(), (number, weak)));
        debug_assert!(before.is_none());
    }

    /// The resource is going.
    pub(crate) fn remove(&self, id: Id) {
        // Dropped outside of the lock.
        drop(self.with_map(|map| map.remove(&id.addr())));
    }

    /// Those that there are now, in the order in which they were made. (Whoever asks may come to drop the last reference to
    /// one, and so its value.)
    pub(crate) fn live(&self) -> Vec<Arc<C>> {
        let mut all: Vec<_> = self.with_map(|map| map.values().cloned().collect());
        all.sort_unstable_by_key(|(number, _)| *number);
        all.iter().filter_map(|(_, core)| core.upgrade()).collect()
    }
}

impl<C: ?Sized> fmt::Debug for Registry<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("live", &self.with_map(|map| map.len()))
            .finish_non_exhaustive()
    }
}
