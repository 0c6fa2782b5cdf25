//! Making a resource with default settings.

use crate::raw::core::Core;
use crate::resource::Resource;
use crate::scheduler::Scheduler;
use crate::sync::Arc;

impl<T: Send + 'static> Resource<T> {
    /// Wraps a value, with default settings and the [global scheduler](Scheduler::global).
    ///
    /// This makes one allocation, of 96 bytes beyond the value, and starts no thread. The resource
    /// has no [name](crate::ResourceBuilder::name), so a shutdown of the global scheduler does not
    /// close it.
    ///
    /// ```
    /// let total = captor::Resource::new(0_u64);
    /// ```
    pub fn new(value: T) -> Self {
        Scheduler::global().resource(value)
    }
}

impl Scheduler {
    /// Returns a new resource of this scheduler, with default settings.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().build()?;
    /// assert_eq!(scheduler.resource(2).with(|n| *n * 2), Ok(4));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn resource<T: Send + 'static>(&self, value: T) -> Resource<T> {
        let host = Arc::clone(self.host());
        Resource::from_core(Core::new(value, host))
    }
}

impl<T: Send + Default + 'static> Default for Resource<T> {
    fn default() -> Self {
        Resource::new(T::default())
    }
}

impl<T: Send + 'static> From<T> for Resource<T> {
    fn from(value: T) -> Self {
        Resource::new(value)
    }
}
