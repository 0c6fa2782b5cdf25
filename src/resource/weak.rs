//! [`WeakResource`]: a handle that does not keep the value alive, for values that refer to their
//! own resource.

use crate::raw::core::Core;
use crate::resource::Resource;
use crate::sync::{Arc, Weak};
use std::fmt;

/// # Weak handles
impl<T: Send + 'static> Resource<T> {
    /// Returns a handle that does not keep the value alive.
    ///
    /// ```
    /// let r = captor::Resource::new(1);
    /// let weak = r.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(r);
    /// assert!(weak.upgrade().is_none());
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakResource<T> {
        WeakResource {
            core: Arc::downgrade(self.core()),
        }
    }
}

/// A handle to a [`Resource`] that does not keep its value alive; from [`Resource::downgrade`].
///
/// ```
/// use captor::{Resource, WeakResource};
///
/// let parent = Resource::new("root");
/// let child: Resource<WeakResource<&str>> = Resource::new(parent.downgrade());
/// let up = child.with(|up| up.upgrade())?.unwrap();
/// assert_eq!(up.with(|name| *name), Ok("root"));
/// # Ok::<(), captor::TaskError>(())
/// ```
pub struct WeakResource<T> {
    pub(super) core: Weak<Core<T>>,
}

impl<T> WeakResource<T> {
    /// Returns the resource, if a handle or a task of the resource still exists.
    ///
    /// ```
    /// let r = captor::Resource::new(1);
    /// assert!(r.downgrade().upgrade().is_some());
    /// ```
    #[must_use]
    pub fn upgrade(&self) -> Option<Resource<T>> {
        self.core.upgrade().map(Resource::from_core)
    }
}

impl<T> Clone for WeakResource<T> {
    fn clone(&self) -> Self {
        WeakResource {
            core: Weak::clone(&self.core),
        }
    }
}

impl<T> fmt::Debug for WeakResource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakResource(..)")
    }
}
