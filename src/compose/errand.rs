//! A resource for work on behalf of another resource.

use crate::raw::core::Core;
use crate::resource::Resource;

impl<T: Send + 'static> Resource<T> {
    /// A resource for what has to be done on behalf of this one, but not under it.
    pub(crate) fn errand(&self) -> Resource<()> {
        Resource::from_core(Core::for_errand((), self.core()))
    }
}
