//! Makes the resource of an errand. An *errand* is an asynchronous task that works on behalf of a
//! resource without keeping that resource. The task needs a resource to be polled under, so each
//! errand gets a resource of its own.

use crate::raw::core::Core;
use crate::resource::Resource;

impl<T: Send + 'static> Resource<T> {
    /// Makes a resource for an errand of this resource. The errand runs where this resource runs
    /// its tasks, and no shutdown closes the errand.
    pub(crate) fn errand(&self) -> Resource<()> {
        Resource::from_core(Core::for_errand((), self.core()))
    }
}
