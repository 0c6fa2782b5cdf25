//! What runs on this thread: [`current`].

use crate::raw::core::with_running;
use crate::raw::thread::context;
use crate::raw::thread::context::TaskName;
use crate::resource::Resource;
use crate::sync::Arc;
use std::time::Duration;

/// On what kind of thread a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadKind {
    /// One that submitted a task, or waits for one, and lends itself.
    Caller,
    /// A worker of the pool, or a thread of the [`Executor`](crate::Executor):
    /// one that is at work on a [`Job`](crate::Job).
    Worker,
}

/// The task that is running on a thread; from [`current`].
#[derive(Clone, Debug)]
pub struct Current {
    resource: Option<Arc<str>>,
    task: TaskName,
    priority: u8,
    queued_for: Option<Duration>,
    thread: ThreadKind,
}

/// The task that the calling code is part of, and its resource. `None` outside of
/// tasks, and in what comes with a task without being part of it: wakers, and the
/// drops of closures and outcomes that nobody takes.
///
/// Of tasks inside tasks it is the innermost one. Costs a few loads, and a step
/// on the count of references to the resource's name.
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
    /// What its resource was [named](crate::ResourceBuilder::name).
    ///
    /// ```
    /// let r = captor::Resource::new(());
    /// assert_eq!(r.with(|_| captor::current().unwrap().resource_name().is_none()), Ok(true));
    /// ```
    #[must_use]
    pub fn resource_name(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// What the task was [named](crate::TaskBuilder::name).
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

    /// Its [priority](crate::TaskBuilder::priority), the resource's default if it
    /// was submitted without one.
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

    /// How long it was queued before it started; zero if it was not.
    ///
    /// `None` if that was not noted. It is noted for tasks that were submitted
    /// through [`Resource::task`], and for all where a `tracing` subscriber is
    /// installed or the resource [notes timings](crate::ResourceBuilder::timings).
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

    /// Whether the thread is a caller that lends itself, or a worker.
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
    /// Panics unless the calling code [is part of a task](Self::is_current) of
    /// this very resource: for functions that rely on it.
    ///
    /// # Panics
    /// If it is not; the message names the resource that was asked for, and the
    /// one whose task this is.
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
                    panic!("this is to run in a task of the resource {wanted:?}, and runs in none")
                }
                Some(now) => panic!(
                    "this is to run in a task of the resource {wanted:?}, and runs in one of {:?}",
                    now.resource_name().unwrap_or("(no name)")
                ),
            }
        }
    }
}
