//! The builders: settings of a resource, attributes of a task.

use crate::completion::Completion;
use crate::error::{BuildError, SubmitError};
use crate::raw::attributes::Attributes;
use crate::raw::extra::Settings;
use crate::raw::inner::Core;
use crate::raw::submit::Entry;
use crate::resource::Resource;
use crate::scheduler::Scheduler;
use crate::sync::Arc;
use std::fmt;
use std::time::Duration;

/// Where a resource's tasks may run.
///
/// ```
/// use captor::{Dispatch, Resource};
///
/// let here = std::thread::current().id();
/// let on_caller = Resource::new(());
/// assert_eq!(on_caller.with(|_| std::thread::current().id()), Ok(here));
///
/// let on_pool = Resource::builder().dispatch(Dispatch::Pool).build(())?;
/// assert_ne!(on_pool.with(|_| std::thread::current().id()), Ok(here));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// On the submitter, where the resource is idle: the closure may run
    /// before `submit` returns, on the calling thread, **under the locks that
    /// the caller holds**. And after it, tasks of others, up to the
    /// [capture limit](ResourceBuilder::capture_limit): if those take a lock
    /// that the caller holds across the call, they deadlock with it.
    #[default]
    Inline,
    /// Never on a submitter or waiter: always on the pool or executor. For
    /// tasks that use much CPU, or must not run under the caller's locks.
    Pool,
}

/// What a panic in a task does to its resource.
///
/// ```
/// use captor::{PanicPolicy, Resource, TaskError};
///
/// let r = Resource::builder().panic_policy(PanicPolicy::Poison).build(())?;
/// assert!(matches!(r.with(|_| panic!()), Err(TaskError::Panicked(_))));
/// assert_eq!(r.with(|_| ()), Err(TaskError::Poisoned));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PanicPolicy {
    /// The panic is the task's outcome; the next task runs, and sees the value
    /// as the panic left it.
    #[default]
    Continue,
    /// As with a poisoned mutex, nobody touches the value any more: what is
    /// queued and what is submitted later ends in
    /// [`TaskError::Poisoned`](crate::TaskError::Poisoned), until
    /// [`clear_poison`](Resource::clear_poison).
    Poison,
}

/// Settings of a [`Resource`]; from [`Resource::builder`].
///
/// A resource with other settings than the default takes a second allocation.
///
/// ```
/// use captor::{PanicPolicy, Resource};
/// use std::time::Duration;
///
/// let topics = Resource::builder()
///     .name("topics")
///     .capture_limit(20)
///     .capture_time(Duration::from_micros(100))
///     .panic_policy(PanicPolicy::Poison)
///     .build(Vec::<String>::new())?;
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ResourceBuilder {
    settings: Settings,
    scheduler: Option<Scheduler>,
}

impl ResourceBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What it is called in the log. Default: no name. Names need not be unique.
    ///
    /// ```
    /// let r = captor::Resource::builder().name("topics").build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into_boxed_str());
        self
    }

    /// How many tasks a submitter may come to run, its own included, before it
    /// hands off. At least 1. Default: the scheduler's, which is 10 unless set.
    ///
    /// ```
    /// let r = captor::Resource::builder().capture_limit(1).build(())?; // its own only
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_limit(mut self, tasks: usize) -> Self {
        self.settings.capture_limit = Some(tasks);
        self
    }

    /// How long after its own task a submitter may start others' tasks.
    /// Default: the scheduler's, which is 1 ms unless set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let r = captor::Resource::builder().capture_time(Duration::from_micros(50)).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_time(mut self, time: Duration) -> Self {
        self.settings.capture_time = Some(time);
        self
    }

    /// How many tasks may be queued: submitted, and not started yet. At least
    /// 1. Default: any number.
    ///
    /// Where that many are, [`submit`](Resource::submit),
    /// [`try_submit`](Resource::try_submit) and [`execute`](Resource::execute)
    /// refuse with `Full`, at once; [`reserve`](Resource::reserve) and its kin
    /// wait for room. A task that runs at once, on an idle resource, needs none.
    /// Nor does [`with`](Resource::with): what it queues lies on the stack of
    /// its caller, who submits nothing else meanwhile. Room comes back when a
    /// task starts, and when it is cancelled. (One that is cancelled through its
    /// [`Completion`] leaves its memory in the queue, its closure dropped, until
    /// its turn comes.)
    ///
    /// A task that submits to its own resource is refused like any other when
    /// that is full, and goes on: nobody waits.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TrySubmitError};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().capacity(1).dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// let (started, running) = mpsc::channel();
    /// let first = r.submit(move |_| {
    ///     started.send(()).unwrap();
    ///     gate.recv()
    /// });
    /// running.recv().unwrap();
    ///
    /// let second = r.submit(|n| *n += 1);
    /// let Err(TrySubmitError::Full(third)) = r.try_submit(|n: &mut i32| *n += 1) else {
    ///     unreachable!("the queue has room for one");
    /// };
    /// # drop(go);
    /// # let _ = first.wait();
    /// second.wait()?;
    /// r.try_submit(third)?.wait()?;
    /// assert_eq!(r.with(|n| *n), Ok(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, tasks: usize) -> Self {
        self.settings.capacity = Some(tasks);
        self
    }

    /// Where tasks may run. Default: [`Dispatch::Inline`].
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.settings.pooled = dispatch == Dispatch::Pool;
        self
    }

    /// What a panic does. Default: [`PanicPolicy::Continue`].
    ///
    /// ```
    /// use captor::{PanicPolicy, Resource};
    /// let r = Resource::builder().panic_policy(PanicPolicy::Poison).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.settings.poison = policy == PanicPolicy::Poison;
        self
    }

    /// Who runs what it hands off. Default: [`Scheduler::global`].
    ///
    /// ```
    /// use captor::{Resource, Scheduler};
    /// let scheduler = Scheduler::builder().workers(1).build()?;
    /// let r = Resource::builder().scheduler(&scheduler).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn scheduler(mut self, scheduler: &Scheduler) -> Self {
        self.scheduler = Some(scheduler.clone());
        self
    }

    /// The resource.
    ///
    /// # Errors
    /// [`BuildError::ZeroCaptureLimit`], [`BuildError::ZeroCapacity`]. The value
    /// is dropped then.
    ///
    /// ```
    /// let r = captor::Resource::builder().build(7)?;
    /// assert_eq!(r.with(|n| *n), Ok(7));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn build<T: Send + 'static>(self, value: T) -> Result<Resource<T>, BuildError> {
        if self.settings.capture_limit == Some(0) {
            return Err(BuildError::ZeroCaptureLimit);
        }
        if self.settings.capacity == Some(0) {
            return Err(BuildError::ZeroCapacity);
        }
        let scheduler = self
            .scheduler
            .as_ref()
            .unwrap_or_else(|| Scheduler::global());
        let host = Arc::clone(scheduler.host());
        Ok(Resource::from_core(Core::new(value, host, self.settings)))
    }
}

/// Attributes of one task, then its submission; from [`Resource::task`].
///
/// ```
/// let r = captor::Resource::new(0);
/// let done = r.task().name("refill").submit(|n| *n += 1);
/// done.wait()?;
/// # Ok::<(), captor::TaskError>(())
/// ```
#[must_use = "nothing is submitted until `submit` or `execute`"]
pub struct TaskBuilder<'a, T> {
    resource: &'a Resource<T>,
    attributes: Attributes,
}

impl<'a, T> TaskBuilder<'a, T> {
    pub(crate) fn new(resource: &'a Resource<T>) -> Self {
        TaskBuilder {
            resource,
            attributes: Attributes::default(),
        }
    }
}

impl<T: Send + 'static> TaskBuilder<'_, T> {
    /// What the task is called in the log. Default: no name. A named task that
    /// is queued takes a second, small allocation.
    ///
    /// ```
    /// captor::Resource::new(0).task().name("bump").execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn name(mut self, name: &'static str) -> Self {
        self.attributes.name = Some(name);
        self
    }

    /// [`Resource::submit`] with these attributes.
    ///
    /// ```
    /// assert_eq!(captor::Resource::new(4).task().submit(|n| *n).wait(), Ok(4));
    /// ```
    pub fn submit<R, F>(self, f: F) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.resource
            .submit_as(f, Some(&self.attributes), Entry::Bounded)
    }

    /// [`Resource::execute`] with these attributes.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// captor::Resource::new(4).task().execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn execute<R, F>(self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        self.resource
            .execute_as(f, Some(&self.attributes), Entry::Bounded)
    }
}

impl<T> fmt::Debug for TaskBuilder<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}
