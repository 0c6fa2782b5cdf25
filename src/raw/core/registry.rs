//! The resources of a scheduler: a shutdown closes them, and the scheduler lists the named ones.
//!
//! The registry is a map under a lock. Making a resource and dropping a resource take the lock.
//! Submitting and running never take the lock. A resource that the registry need not find takes no
//! lock either: an unnamed resource of the global scheduler.
//!
//! While the lock is held, no reference is upgraded, and nothing is dropped that could be the last
//! reference to a core. The drop of a core takes the same lock.

use crate::raw::thread::context::Id;
use crate::sync::{Arc, Counter, StaticMutex, Weak};
use core::fmt;
use std::collections::HashMap;
use std::sync::PoisonError;

/// The key is the address of the core, which is not reused while the entry is in the map. The
/// number gives the order in which the resources were made.
type Map<C> = HashMap<usize, (u64, Weak<C>)>;

pub(crate) struct Registry<C: ?Sized> {
    /// Whether unnamed resources are listed too.
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

    /// Checks whether this registry lists a resource with this name.
    pub(crate) fn is_for(&self, name: Option<&str>) -> bool {
        self.unnamed || name.is_some()
    }

    fn with_map<R>(&self, f: impl FnOnce(&mut Map<C>) -> R) -> R {
        // The map is valid after each step, so a panic under the lock does no harm.
        f(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lists a new resource.
    pub(crate) fn add(&self, core: &Arc<C>) {
        let weak = Arc::downgrade(core);
        let number = self.added.add(1);
        let before = self.with_map(|map| map.insert(Arc::as_ptr(core).addr(), (number, weak)));
        debug_assert!(before.is_none());
    }

    /// Removes a resource that is being dropped.
    pub(crate) fn remove(&self, id: Id) {
        // The weak reference is dropped outside of the lock.
        drop(self.with_map(|map| map.remove(&id.addr())));
    }

    /// Returns the live resources, in the order in which they were made. The caller may come to
    /// drop the last reference to a resource, and with that reference the value.
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
