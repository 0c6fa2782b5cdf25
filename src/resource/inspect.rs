//! The name, the statistics and the identity of a resource.

use crate::resource::Resource;
use crate::stats::{QueueWaits, ResourceStats};
use crate::sync::Arc;

/// # Inspection
impl<T: Send + 'static> Resource<T> {
    /// Returns a snapshot of the resource's counters.
    ///
    /// ```
    /// assert_eq!(captor::Resource::new(()).stats().submitted, 0);
    /// ```
    #[must_use]
    pub fn stats(&self) -> ResourceStats {
        self.core.stats()
    }

    /// Returns how long tasks were queued, if the resource [notes
    /// timings](crate::ResourceBuilder::timings).
    ///
    /// ```
    /// let r = captor::Resource::builder().timings(true).build(0)?;
    /// r.with(|n| *n += 1).unwrap();
    /// assert_eq!(r.queue_waits().unwrap().count(), 1);
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn queue_waits(&self) -> Option<QueueWaits> {
        self.core.stopwatch()?.waits()
    }

    /// Returns the [name](crate::ResourceBuilder::name) that the resource was built with.
    ///
    /// ```
    /// let r = captor::Resource::builder().name("topics").build(())?;
    /// assert_eq!(r.name(), Some("topics"));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.core.name()
    }

    /// Checks whether the calling code is part of a task of this resource.
    ///
    /// The answer is also `true` in code that such a task calls. Such code includes nested tasks of
    /// other resources that run on the task's thread.
    ///
    /// ```
    /// let r = captor::Resource::new(());
    /// let inside = r.clone();
    /// assert_eq!(r.with(move |_| inside.is_current()), Ok(true));
    /// assert!(!r.is_current());
    /// ```
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.core.is_current()
    }
}

impl<T> Resource<T> {
    /// Checks whether both handles refer to the same resource.
    ///
    /// ```
    /// let (a, b) = (captor::Resource::new(1), captor::Resource::new(1));
    /// assert!(a.same_resource(&a.clone()) && !a.same_resource(&b));
    /// ```
    #[must_use]
    pub fn same_resource(&self, other: &Resource<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}
