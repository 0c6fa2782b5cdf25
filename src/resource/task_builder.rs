//! [`TaskBuilder`]: the submission of a task with a name, a priority or a deadline.
//!
//! Before each submission, the attributes are checked: the resource must have the priority, and a
//! task whose deadline has passed expires without being queued.

use crate::error::{SubmitError, TaskError, TrySubmitError};
use crate::future::completion::Completion;
use crate::raw::submit::Admission;
use crate::raw::task::future::AsyncTask;
use crate::raw::task::tag::Attributes;
use crate::raw::thread::panics;
use crate::resource::Resource;
use std::fmt;
use std::time::{Duration, Instant};

/// Attributes of one task, and then its submission; from [`Resource::task`].
///
/// If the task must be queued, its attributes take a second, small allocation.
///
/// ```
/// let r = captor::Resource::new(0);
/// let done = r.task().name("refill").submit(|n| *n += 1);
/// done.wait()?;
/// # Ok::<(), captor::TaskError>(())
/// ```
#[must_use = "only `submit`, `submit_async`, `try_submit`, `execute` or `with` submits the task"]
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

/// # Tasks with attributes
impl<T: Send + 'static> Resource<T> {
    /// Returns a builder for a task with attributes.
    ///
    /// ```
    /// let r = captor::Resource::new(0);
    /// r.task().name("bump").execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn task(&self) -> TaskBuilder<'_, T> {
        TaskBuilder::new(self)
    }
}

impl<T: Send + 'static> TaskBuilder<'_, T> {
    /// Sets the task's name, for the log and for [`current`](crate::current).
    ///
    /// Default: no name.
    ///
    /// ```
    /// captor::Resource::new(0).task().name("bump").execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn name(mut self, name: &'static str) -> Self {
        self.attributes.name = Some(name);
        self
    }

    /// Sets how urgent the task is.
    ///
    /// 0 is the most urgent level. The least urgent level is the number of
    /// [priorities](crate::ResourceBuilder::priorities) less one. Default: the resource's [default
    /// priority](crate::ResourceBuilder::default_priority).
    ///
    /// If the resource does not have the level, the submission is refused with `NoSuchPriority`.
    /// This error names the levels that the resource has.
    ///
    /// ```
    /// use captor::{Resource, SubmitError};
    ///
    /// let r = Resource::builder().priorities(3).build(0)?;
    /// r.task().priority(0).execute(|n| *n += 1)?;
    /// let error = r.task().priority(3).execute(|n| *n += 1).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the task's priority is out of range: the resource has priorities 0 to 2"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn priority(mut self, level: u8) -> Self {
        self.attributes.level = Some(level);
        self
    }

    /// Sets the time by which the task must start.
    ///
    /// If the task has not started by then, its closure is dropped without running, and the task
    /// resolves to [`TaskError::Expired`]. This happens at the deadline, not when the task's turn
    /// comes. A task that has started is not interrupted. Default: no deadline. In the guide:
    /// [deadlines and cancellation](crate::guide::deadlines_and_cancellation).
    ///
    /// One timer thread serves all resources of a scheduler. The thread is started when the first
    /// task with a deadline is queued. The timer thread drops the closures of expired tasks and
    /// wakes their waiters. Room in a bounded queue then comes back, and the statistics count the
    /// task as [`expired`](crate::ResourceStats::expired). For n tasks with deadlines, a deadline
    /// costs O(log n) on the timer thread. Submitting is O(1).
    ///
    /// A task of [`execute`](Self::execute) expires silently: the call returned `Ok`. For a task of
    /// [`submit_async`](Self::submit_async), the deadline bounds the whole task.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TaskError};
    /// use std::sync::mpsc;
    /// use std::time::{Duration, Instant};
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| drop(gate.recv()))?;
    /// let soon = Instant::now() + Duration::from_millis(5);
    /// let late = r.task().deadline(soon).submit(|n| *n = 7);
    /// assert_eq!(late.wait(), Err(TaskError::Expired)); // while the first still runs
    /// drop(go);
    /// assert_eq!(r.with(|n| *n), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.attributes.deadline = Some(deadline);
        self
    }

    /// Sets the [`deadline`](Self::deadline) to `timeout` after this call.
    ///
    /// If `Instant` cannot represent that time, the task has no deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// let r = captor::Resource::new(1);
    /// let n = r.task().timeout(Duration::from_secs(1)).submit(|n| *n);
    /// assert_eq!(n.wait(), Ok(1));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.attributes.deadline = self.resource.core().host().after(timeout);
        self
    }

    /// Submits `f` like [`Resource::submit`], with these attributes.
    ///
    /// # Errors
    /// Errors arrive through the completion: the errors of [`Resource::submit`],
    /// [`TaskError::NoSuchPriority`], and [`TaskError::Expired`].
    ///
    /// # Panics
    /// Never. A panic of `f` is its outcome.
    ///
    /// # Cancellation
    /// See [`Completion`].
    ///
    /// ```
    /// assert_eq!(captor::Resource::new(4).task().submit(|n| *n).wait(), Ok(4));
    /// ```
    pub fn submit<R, F>(self, f: F) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => self.resource.late(f),
            Ok(()) => (self.resource).submit_as(f, Some(&self.attributes), Admission::Bounded),
            Err(error) => Completion::ready(Err(panics::refused(error, f))),
        }
    }

    /// Submits `f` like [`Resource::submit_async`], with these attributes.
    ///
    /// # Errors
    /// Errors arrive through the completion: the errors of [`Resource::submit_async`],
    /// [`TaskError::NoSuchPriority`], and [`TaskError::Expired`]. The deadline bounds the whole
    /// task: if the task waits at the deadline, its future is dropped.
    ///
    /// ```
    /// let r = captor::Resource::new(4);
    /// assert_eq!(r.task().submit_async(async |n| *n).wait(), Ok(4));
    /// ```
    pub fn submit_async<R, F>(self, f: F) -> Completion<R>
    where
        F: AsyncFnOnce(&mut T) -> R + for<'a> AsyncTask<'a, T, R> + Send + 'static,
        R: Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => self.resource.late(f),
            Ok(()) => (self.resource).submit_async_as(f, Some(&self.attributes)),
            Err(error) => Completion::ready(Err(panics::refused(error, f))),
        }
    }

    /// Submits `f` like [`Resource::try_submit`], with these attributes.
    ///
    /// # Errors
    /// [`TrySubmitError`], with the closure: the errors of [`Resource::try_submit`], and
    /// [`TrySubmitError::NoSuchPriority`]. If the deadline has already passed, the call returns
    /// `Ok`, `f` is dropped, and the completion resolves to [`TaskError::Expired`].
    ///
    /// # Panics
    /// Never. A panic of `f` is its outcome.
    ///
    /// # Cancellation
    /// See [`Completion`].
    ///
    /// ```
    /// let r = captor::Resource::new(4);
    /// assert_eq!(r.task().try_submit(|n| *n).unwrap().wait(), Ok(4));
    /// ```
    pub fn try_submit<R, F>(self, f: F) -> Result<Completion<R>, TrySubmitError<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => match self.resource.refusal_if_any() {
                None => Ok(self.resource.late(f)),
                Some(error) => Err(TrySubmitError::new(error, f)),
            },
            Ok(()) => self.resource.try_submit_as(f, Some(&self.attributes)),
            Err(error) => Err(TrySubmitError::new(error, f)),
        }
    }

    /// Submits `f` like [`Resource::execute`], with these attributes.
    ///
    /// # Errors
    /// The errors of [`Resource::execute`], and [`SubmitError::NoSuchPriority`]. A task that
    /// expires does so silently. If the deadline has already passed, `f` is dropped here, and the
    /// call returns `Ok`.
    ///
    /// # Panics
    /// Never. A panic of `f` is reported through `tracing`.
    ///
    /// # Cancellation
    /// [`cancel_pending`](Resource::cancel_pending), [`close_now`](Resource::close_now) and the
    /// [deadline](Self::deadline) cancel the task, before it has started.
    ///
    /// ```
    /// captor::Resource::new(4).task().execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn execute<F>(self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => match self.resource.refusal_if_any() {
                None => {
                    drop(self.resource.late::<(), _>(f));
                    Ok(())
                }
                Some(error) => Err(panics::drop_refused(error, f)),
            },
            Ok(()) => (self.resource).execute_as(f, Some(&self.attributes), Admission::Bounded),
            Err(error) => Err(panics::drop_refused(error, f)),
        }
    }

    /// Runs `f` like [`Resource::with`], with these attributes, and blocks for its result.
    ///
    /// With a deadline, the call blocks until the deadline for the task to start, and then for as
    /// long as a started task runs. A task with a deadline that must be queued is allocated.
    ///
    /// # Errors
    /// The errors of [`Resource::with`], [`TaskError::NoSuchPriority`], and [`TaskError::Expired`].
    /// After [`TaskError::WouldDeadlock`], as after [`TaskError::Expired`], `f` has not run and
    /// never runs.
    ///
    /// # Panics
    /// Never. A panic of `f` is an error.
    ///
    /// # Cancellation
    /// [`cancel_pending`](Resource::cancel_pending), [`close_now`](Resource::close_now) and the
    /// [deadline](Self::deadline) cancel the task, before it has started.
    ///
    /// # In async code
    /// `with` blocks the thread. Use [`submit`](Self::submit) and `.await`.
    ///
    /// ```
    /// let r = captor::Resource::new(4);
    /// assert_eq!(r.task().name("look").with(|n| *n), Ok(4));
    /// ```
    pub fn with<R, F>(self, f: F) -> Result<R, TaskError>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        match self.check() {
            Ok(()) if self.is_late() => self.resource.late(f).wait(),
            Ok(()) => self.resource.with_as(f, Some(&self.attributes)),
            Err(error) => Err(panics::refused(error, f)),
        }
    }

    fn is_late(&self) -> bool {
        self.attributes.is_late(self.resource.core().host().clock())
    }

    /// Checks whether a task with these attributes may be submitted.
    fn check(&self) -> Result<(), SubmitError> {
        self.resource.core().check(&self.attributes)
    }
}

impl<T> fmt::Debug for TaskBuilder<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}
