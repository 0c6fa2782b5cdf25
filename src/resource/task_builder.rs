//! [`TaskBuilder`]: a task with a name, a priority or a deadline.

use crate::error::{SubmitError, TaskError, TrySubmitError};
use crate::future::completion::Completion;
use crate::raw::submit::Admission;
use crate::raw::task::future::AsyncTask;
use crate::raw::task::tag::Attributes;
use crate::raw::thread::panics;
use crate::resource::Resource;
use std::fmt;
use std::time::{Duration, Instant};

/// Attributes of one task, then its submission; from [`Resource::task`].
///
/// A task that is submitted so and has to be queued takes a second, small
/// allocation.
///
/// ```
/// let r = captor::Resource::new(0);
/// let done = r.task().name("refill").submit(|n| *n += 1);
/// done.wait()?;
/// # Ok::<(), captor::TaskError>(())
/// ```
#[must_use = "nothing is submitted until `submit`, `try_submit`, `execute` or `with`"]
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

impl<T: Send + 'static> Resource<T> {
    /// A task with attributes.
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
    /// What the task is called in the log, and by [`current`](crate::current).
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

    /// How urgent it is: 0 is the most urgent, the number of
    /// [priorities](ResourceBuilder::priorities) less one the least. Default:
    /// the resource's [default](ResourceBuilder::default_priority).
    ///
    /// A level that the resource does not have is refused when the task is
    /// submitted, with `NoSuchPriority`, which names those that it has.
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

    /// When it is to have started: one that has not by then is dropped unrun, and
    /// resolves to [`TaskError::Expired`], at that time and not when its turn comes.
    /// Default: none. One that has started is not interrupted. In the guide:
    /// [deadlines and cancellation](crate::guide#deadlines-and-cancellation).
    ///
    /// The scheduler has one timer for all its resources, a thread that is started
    /// when the first task with a deadline is queued. It drops the closures of those
    /// that expire, and wakes who waits for them. Room in a bounded queue comes
    /// back then, and statistics say [`expired`](crate::ResourceStats::expired). O(log n)
    /// for n tasks with deadlines, on that thread; submitting is O(1).
    ///
    /// What [`execute`](Self::execute) is given expires silently, and is `Ok`.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TaskError};
    /// use std::sync::mpsc;
    /// use std::time::{Duration, Instant};
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| gate.recv().is_ok())?;
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

    /// [`deadline`](Self::deadline), so long after this call. (A time past the end
    /// of time is none.)
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

    /// [`Resource::submit`] with these attributes.
    ///
    /// # Errors
    /// As there; [`TaskError::NoSuchPriority`] and [`TaskError::Expired`].
    ///
    /// # Panics
    /// Never; a panic of `f` is its outcome.
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

    /// [`Resource::submit_async`] with these attributes.
    ///
    /// # Errors
    /// As there; [`TaskError::NoSuchPriority`], and [`TaskError::Expired`]: a deadline
    /// bounds the whole task, which is dropped where it waits at that time.
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

    /// [`Resource::try_submit`] with these attributes.
    ///
    /// # Errors
    /// As there; and [`TrySubmitError::NoSuchPriority`]. A deadline that has passed
    /// already is no refusal: this is `Ok`, `f` is dropped, and the completion resolves
    /// to [`TaskError::Expired`].
    ///
    /// # Panics
    /// Never; a panic of `f` is its outcome.
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

    /// [`Resource::execute`] with these attributes.
    ///
    /// # Errors
    /// As there; and [`SubmitError::NoSuchPriority`]. A task that expires does so
    /// silently; one whose deadline has passed already is dropped here, and `Ok`.
    ///
    /// # Panics
    /// Never; a panic of `f`, or of its result's drop, is reported as there.
    ///
    /// # Cancellation
    /// Only by [`cancel_pending`](Resource::cancel_pending) or its
    /// [deadline](Self::deadline), before it has started.
    ///
    /// ```
    /// captor::Resource::new(4).task().execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn execute<R, F>(self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => match self.resource.refusal_if_any() {
                None => {
                    drop(self.resource.late::<(), _>(f));
                    Ok(())
                }
                Some(error) => Err(panics::turned_away(error, f)),
            },
            Ok(()) => (self.resource).execute_as(f, Some(&self.attributes), Admission::Bounded),
            Err(error) => Err(panics::turned_away(error, f)),
        }
    }

    /// [`Resource::with`] with these attributes.
    ///
    /// # Errors
    /// As there; [`TaskError::NoSuchPriority`], and [`TaskError::Expired`]: with a
    /// deadline, it blocks until then for a task to start, and as long as it takes
    /// for one that has. (One with a deadline is allocated, where it has to be
    /// queued.)
    ///
    /// # Panics
    /// Never; a panic of `f` is an error.
    ///
    /// # Cancellation
    /// By [`cancel_pending`](Resource::cancel_pending) or its
    /// [deadline](Self::deadline), before it has started.
    ///
    /// # In async code
    /// It blocks the thread: use [`submit`](Self::submit) and `.await`.
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

    /// May a task with these attributes be submitted?
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
