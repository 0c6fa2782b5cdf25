//! [`current`]: the task that runs on this thread, and checks for one particular resource.

use crate::raw::core::with_running;
use crate::raw::thread::context;
use crate::raw::thread::context::TaskName;
use crate::resource::Resource;
use crate::sync::Arc;
use std::time::Duration;

/// The kind of thread that a task runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadKind {
    /// A thread that submitted a task or waits for a task, and runs tasks meanwhile.
    Caller,
    /// A worker of the pool, or a thread of the [`Executor`](crate::Executor) that runs a
    /// [`Job`](crate::Job).
    Worker,
}

/// The task that runs on a thread; from [`current`].
#[derive(Clone, Debug)]
pub struct Current {
    resource: Option<Arc<str>>,
    task: TaskName,
    priority: u8,
    queued_for: Option<Duration>,
    thread: ThreadKind,
}

/// Returns the task that the calling code is part of, and its resource.
///
/// Returns `None` outside of tasks. Wakers are not part of a task, and neither are drops of
/// closures and of outcomes that nobody takes: there too, this returns `None`.
///
/// If tasks are nested, this returns the innermost task. A call costs a few loads, and a step on
/// the reference count of the resource's name.
///
/// ```
/// use captor::{Resource, ThreadKind, current};
///
/// let orders = Resource::builder().name("orders").priorities(3).build(())?;
/// let task = orders.task().name("ship").priority(0);
/// let now = task.with(|_| current())?.unwrap();
/// assert_eq!((now.resource_name(), now.task_name()), (Some("orders"), Some("ship")));
/// assert_eq!((now.priority(), now.thread()), (0, ThreadKind::Caller));
/// assert!(current().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn current() -> Option<Current> {
    with_running(|shell, task| {
        let settings = shell.settings();
        let default = || settings.priorities.map_or(0, |p| p.default);
        Current {
            resource: settings.name.clone(),
            task: task.and_then(|task| task.name()),
            priority: task.and_then(|task| task.level()).unwrap_or_else(default),
            queued_for: task.map_or(Some(Duration::ZERO), |task| task.queued_for()),
            thread: if context::is_working() {
                ThreadKind::Worker
            } else {
                ThreadKind::Caller
            },
        }
    })
}

impl Current {
    /// Returns the [name](crate::ResourceBuilder::name) of the task's resource.
    ///
    /// ```
    /// let r = captor::Resource::new(());
    /// assert_eq!(r.with(|_| captor::current().unwrap().resource_name().is_none()), Ok(true));
    /// ```
    #[must_use]
    pub fn resource_name(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Returns the [name](crate::TaskBuilder::name) of the task.
    ///
    /// ```
    /// let r = captor::Resource::new(());
    /// let name = r.task().name("tidy").with(|_| captor::current().unwrap().task_name());
    /// assert_eq!(name, Ok(Some("tidy")));
    /// ```
    #[must_use]
    pub fn task_name(&self) -> Option<&'static str> {
        self.task
    }

    /// Returns the task's [priority](crate::TaskBuilder::priority).
    ///
    /// A task that was submitted without a priority has the resource's
    /// [default](crate::ResourceBuilder::default_priority).
    ///
    /// ```
    /// let r = captor::Resource::builder().priorities(5).build(())?;
    /// assert_eq!(r.with(|_| captor::current().unwrap().priority()), Ok(2));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Returns how long the task was queued before it started, which is zero if it was not queued.
    ///
    /// Returns `None` if the time was not recorded. The time is recorded for tasks that were
    /// submitted through [`Resource::task`]. The time is recorded for all tasks if a `tracing`
    /// subscriber is installed, or if the resource [notes
    /// timings](crate::ResourceBuilder::timings).
    ///
    /// ```
    /// let r = captor::Resource::new(());
    /// let waited = r.with(|_| captor::current().unwrap().queued_for())?;
    /// assert!(waited.unwrap().is_zero()); // it ran at once
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    #[must_use]
    pub fn queued_for(&self) -> Option<Duration> {
        self.queued_for
    }

    /// Returns whether the thread is a worker, or a caller that runs tasks.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, ThreadKind, current};
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(())?;
    /// assert_eq!(r.with(|_| current().unwrap().thread()), Ok(ThreadKind::Worker));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn thread(&self) -> ThreadKind {
        self.thread
    }
}

impl<T: Send + 'static> Resource<T> {
    /// Panics unless the calling code [is part of a task](Self::is_current) of this resource.
    ///
    /// Call this in functions that rely on being inside such a task.
    ///
    /// # Panics
    /// If the calling code is not part of a task of this resource. The message names this resource,
    /// and the resource whose task is running.
    ///
    /// ```
    /// let r = captor::Resource::new(());
    /// let inside = r.clone();
    /// r.with(move |_| inside.assert_current())?;
    /// std::panic::catch_unwind(|| r.assert_current()).unwrap_err();
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    #[track_caller]
    pub fn assert_current(&self) {
        if !self.is_current() {
            let wanted = self.name().unwrap_or("(no name)");
            match current() {
                None => {
                    panic!(
                        "this code must run in a task of the resource {wanted:?}, but runs in no task"
                    )
                }
                Some(now) => panic!(
                    "this code must run in a task of the resource {wanted:?}, but runs in a task of \
                     another resource, {:?}",
                    now.resource_name().unwrap_or("(no name)")
                ),
            }
        }
    }
}
