//! [`Resource`]: a value and the tasks on it; submission.

pub(crate) mod async_task;
pub(crate) mod builder;
pub(crate) mod current;
mod lifecycle;
pub(crate) mod permit;
pub(crate) mod settings;
pub(crate) mod task_builder;
pub(crate) mod weak;

use crate::error::{SubmitError, TaskError, TrySubmitError};
use crate::future::completion::Completion;
use crate::raw::core::Core;
use crate::raw::submit::{Admission, Entered, Refused};
use crate::raw::task::tag::Given;
use crate::raw::thread::context::{self, MAX_DEPTH};
use crate::raw::thread::panics;
use crate::scheduler::Scheduler;
use crate::stats::{QueueWaits, ResourceStats};
use crate::sync::{Arc, Weak};
use std::fmt;

/// A value that many threads change by closures, one at a time, in order.
///
/// A `Resource` is a handle; clones refer to the same value. The value is
/// dropped when the last handle is gone and all that was submitted has run.
///
/// | call | waits | for |
/// |---|---|---|
/// | [`with`](Self::with) | blocks | a result now, by a closure that may borrow |
/// | [`submit`](Self::submit) | no | a [`Completion`] to await, wait for, or cancel |
/// | [`try_submit`](Self::try_submit) | no | the same; a refused closure comes back |
/// | [`execute`](Self::execute) | no | fire and forget |
/// | [`reserve`](Self::reserve), [`reserve_blocking`](Self::reserve_blocking) | for room | a [`Permit`](crate::Permit) to submit with, where there is a [capacity](crate::ResourceBuilder::capacity) |
///
/// If nothing is queued or running, each of them runs the closure at once on
/// the calling thread. Otherwise it is queued, and a thread that is at work on
/// the resource anyway runs it. After its own closure the caller may find
/// itself *captured*: it then runs closures that others queued meanwhile, up to
/// the [capture limit](crate::ResourceBuilder::capture_limit).
///
/// # Order
///
/// If one submission returned before another began, on whatever threads, its
/// task runs first and the later one sees what it wrote. (Where there are levels
/// of [priority](crate::ResourceBuilder::priorities), this holds within a level.)
///
/// # Inside a task
///
/// A task may submit to its own resource: the new task runs after it. It may
/// submit to others; they run at once where they are idle, up to a depth of
/// eight. It must not wait for its own resource: that returns
/// [`TaskError::WouldDeadlock`].
///
/// # Example
///
/// ```
/// use captor::Resource;
///
/// let inbox = Resource::new(Vec::new());
/// std::thread::scope(|s| {
///     for n in 0..4 {
///         let inbox = &inbox;
///         s.spawn(move || inbox.execute(move |messages| messages.push(n)));
///     }
/// });
/// let mut all = inbox.with(|messages| messages.clone())?;
/// all.sort();
/// assert_eq!(all, [0, 1, 2, 3]);
/// # Ok::<(), captor::TaskError>(())
/// ```
pub struct Resource<T> {
    core: Arc<Core<T>>,
}

impl<T: Send + 'static> Resource<T> {
    /// Wraps a value, with default settings and the
    /// [global scheduler](Scheduler::global). One allocation, 96 bytes beyond
    /// the value; no thread is started.
    ///
    /// ```
    /// let total = captor::Resource::new(0_u64);
    /// ```
    pub fn new(value: T) -> Self {
        Scheduler::global().resource(value)
    }

    /// Submits `f` and returns the future of its result. In the guide:
    /// [first steps](crate::guide#first-steps),
    /// [waiting and awaiting](crate::guide#waiting-and-awaiting).
    ///
    /// Never waits for another thread. On an idle resource `f` runs **on this
    /// thread, before `submit` returns, under whatever locks the caller
    /// holds** (unless [`Dispatch::Pool`](crate::Dispatch::Pool) is set), and
    /// nothing is allocated; else it is queued with one allocation. Having run
    /// `f`, this thread may go on with what others queued meanwhile, up to the
    /// [capture limit](crate::ResourceBuilder::capture_limit); in async code
    /// read "In async code" on [the front page](crate).
    ///
    /// # Errors
    /// Through the completion: [`TaskError::Closed`], [`TaskError::Poisoned`] or,
    /// where it has a [capacity](crate::ResourceBuilder::capacity), [`TaskError::Full`]
    /// if the resource refused, in which case `f` is dropped here, and
    /// [`TaskError::Panicked`] if `f` panicked.
    ///
    /// # Panics
    /// Never; a panic of `f` is its outcome.
    ///
    /// # Cancellation
    /// See [`Completion`].
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// let cache = Resource::new(std::collections::HashMap::new());
    /// cache.execute(|c| c.insert("k", 1))?;
    /// let hit = cache.submit(|c| c.get("k").copied());
    /// assert_eq!(hit.wait()?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn submit<R, F>(&self, f: F) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.submit_as(f, None, Admission::Bounded)
    }

    /// [`submit`](Self::submit), but a closure that is refused comes back.
    ///
    /// # Errors
    /// [`TrySubmitError`], with the closure, if the resource is closed, poisoned,
    /// or full (where it has a [capacity](crate::ResourceBuilder::capacity)).
    ///
    /// # Panics
    /// Never; a panic of `f` is its outcome.
    ///
    /// # Cancellation
    /// See [`Completion`].
    ///
    /// ```
    /// use captor::{Resource, TrySubmitError};
    ///
    /// let r = Resource::new(5);
    /// assert_eq!(r.try_submit(|n| *n).unwrap().wait(), Ok(5));
    /// r.close();
    /// assert!(matches!(r.try_submit(|n| *n), Err(TrySubmitError::Closed(_))));
    /// ```
    #[inline]
    pub fn try_submit<R, F>(&self, f: F) -> Result<Completion<R>, TrySubmitError<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.try_submit_as(f, None)
    }

    /// Submits `f` and forgets about it: its result is dropped where it ran,
    /// and a panic is reported through `tracing` and in the
    /// [statistics](Self::stats). Never waits for another thread.
    ///
    /// Once very many tasks are queued (16,384), each call yields a few times
    /// to let the resource catch up. That is no bound: where tasks are slow or
    /// block, set a [capacity](crate::ResourceBuilder::capacity).
    ///
    /// What is still queued when the process exits is lost: before `main`
    /// returns, wait for a later task,
    /// [close and wait](Self::wait_closed), or
    /// [shut the scheduler down](Scheduler::shutdown), which on the global one takes
    /// care of resources that have a name.
    ///
    /// # Errors
    /// [`SubmitError`] if the resource is closed, poisoned, or full (where it has
    /// a [capacity](crate::ResourceBuilder::capacity)); `f` is dropped.
    ///
    /// # Panics
    /// Never; a panic of `f`, or of its result's drop, is reported as above.
    ///
    /// # Cancellation
    /// Only by [`cancel_pending`](Self::cancel_pending), before it has started.
    ///
    /// ```
    /// let hits = captor::Resource::new(0);
    /// hits.execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    #[inline]
    pub fn execute<R, F>(&self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        self.execute_as(f, None, Admission::Bounded)
    }

    /// Runs `f` and blocks for its result. `f` may borrow from the caller.
    /// Nothing is allocated.
    ///
    /// Where the resource is idle this is what `lock` is with a mutex. Where
    /// it is busy, `f` is queued from this stack frame, and the thread helps
    /// with what is queued before it or sleeps. Since another thread may run
    /// it, what `f` borrows has to be `Send`.
    ///
    /// # Errors
    /// [`TaskError::WouldDeadlock`], before anything is queued, inside a task
    /// of the same resource or of one that waits for it; otherwise as for
    /// [`submit`](Self::submit), but never [`TaskError::Full`]: it needs no room.
    ///
    /// # Panics
    /// Never; a panic of `f` is an error.
    ///
    /// # Cancellation
    /// By [`cancel_pending`](Self::cancel_pending), before it has started.
    ///
    /// # In async code
    /// It blocks the thread, as locking a mutex does: use
    /// [`submit`](Self::submit) and `.await`.
    ///
    /// ```
    /// let r = captor::Resource::new(vec![3, 1, 2]);
    /// let limit = 2;
    /// let above = r.with(|v| v.iter().filter(|n| **n > limit).count())?;
    /// assert_eq!(above, 1);
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    #[inline]
    pub fn with<R, F>(&self, f: F) -> Result<R, TaskError>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        self.with_as(f, None)
    }

    #[inline(always)]
    fn try_inline<R, F>(&self, f: F, given: Given<'_>) -> Result<Result<R, TaskError>, F>
    where
        F: FnOnce(&mut T) -> R,
    {
        if context::depth() < MAX_DEPTH {
            self.core.try_run(f, given)
        } else {
            Err(f)
        }
    }

    #[inline]
    pub(crate) fn submit_as<R, F>(&self, f: F, given: Given<'_>, entry: Admission) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.try_inline(f, given) {
            Ok(outcome) => Completion::ready(outcome),
            Err(f) => self
                .submit_busy(f, given, entry)
                .unwrap_or_else(|(error, f)| Completion::ready(Err(panics::refused(error, f)))),
        }
    }

    #[inline]
    pub(crate) fn try_submit_as<R, F>(
        &self,
        f: F,
        given: Given<'_>,
    ) -> Result<Completion<R>, TrySubmitError<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.try_inline(f, given) {
            Ok(outcome) => Ok(Completion::ready(outcome)),
            Err(f) => self
                .submit_busy(f, given, Admission::Bounded)
                .map_err(|(error, f)| TrySubmitError::new(error, f)),
        }
    }

    #[inline]
    pub(crate) fn with_as<R, F>(&self, f: F, given: Given<'_>) -> Result<R, TaskError>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        match self.core.try_run(f, given) {
            Ok(outcome) => outcome,
            Err(f) => self.core.with_busy(f, given),
        }
    }

    #[inline]
    pub(crate) fn execute_as<R, F>(
        &self,
        f: F,
        given: Given<'_>,
        entry: Admission,
    ) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        let f = |value: &mut T| drop(f(value));
        match self.try_inline(f, given) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                panics::drop_outcome::<()>(Err(error));
                Ok(())
            }
            Err(f) => self.execute_busy(f, given, entry),
        }
    }

    /// Submits to a resource that was found busy.
    #[cold]
    fn submit_busy<R, F>(
        &self,
        f: F,
        given: Given<'_>,
        entry: Admission,
    ) -> Result<Completion<R>, Refused<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let entered = self.core.submit_busy(f, given, entry)?;
        Ok(Completion::entered(entered, &self.core))
    }

    /// Submits, for no outcome, to a resource that was found busy.
    #[cold]
    fn execute_busy<F>(&self, f: F, given: Given<'_>, entry: Admission) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        match self.core.execute_busy(f, given, entry) {
            Ok(Entered::Ran(Ok(())) | Entered::Queued(())) => Ok(()),
            Ok(Entered::Ran(Err(error))) => {
                panics::drop_outcome::<()>(Err(error));
                Ok(())
            }
            Err((error, f)) => Err(panics::turned_away(error, f)),
        }
    }

    /// A task's deadline passed before it was queued.
    #[cold]
    pub(crate) fn late<R, F>(&self, f: F) -> Completion<R> {
        let error = self.refusal_if_any().map_or_else(
            || {
                self.core.note_late();
                TaskError::Expired
            },
            TaskError::from,
        );
        Completion::ready(Err(panics::refused(error, f)))
    }

    /// Why a task would be refused now, if it would.
    #[cold]
    pub(crate) fn refusal_if_any(&self) -> Option<SubmitError> {
        let refuses = self.core.strand().state().is_refusing();
        refuses.then(|| self.core.why_refused())
    }

    /// Has `f` called each time the queue has run empty: to flush, to commit, to
    /// notify, once for all the tasks that ran since, and not once for each. In the
    /// guide: [when the queue has run empty](crate::guide#when-the-queue-has-run-empty).
    ///
    /// It is called under the same rules as a task: with the value, by the thread
    /// that ran the last task, before any other thread can run one. Inside it
    /// [`current`](crate::current) gives `on_idle` as the task's name. What is
    /// submitted meanwhile runs after it, and then it is called again. It is called
    /// after the last task of a resource that is closed, too, before the resource
    /// counts as ended. On a poisoned resource it is not called.
    ///
    /// This takes effect once all that was submitted before is through; the
    /// completion tells when (and `Cancelled`, if it was cancelled with what else
    /// was [pending](Self::cancel_pending)). It does not itself call `f`: some task has
    /// to run first, and one that is cancelled or expires does not count. A second one
    /// takes the place of the first, and is called for what that was yet to be called
    /// for.
    ///
    /// A resource with such a hook never takes the fastest path: a task that finds
    /// it idle costs some hundred nanoseconds more, and the call. Keep `f` short: it
    /// is the submitter, if the resource is idle, who waits for it.
    ///
    /// # Errors
    /// Through the completion, as for [`submit`](Self::submit); it needs no room.
    ///
    /// # Panics
    /// A panic of `f` is reported as that of a task that nobody waits for, poisons
    /// the resource if [set so](crate::PanicPolicy::Poison), and does not count as
    /// a task's.
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// #[derive(Default)]
    /// struct Log { lines: Vec<u32>, flushed: usize, flushes: u32 }
    ///
    /// let log = Resource::new(Log::default());
    /// log.on_idle(|log| {
    ///     assert_eq!(captor::current().unwrap().task_name(), Some("on_idle"));
    ///     log.flushed = log.lines.len();
    ///     log.flushes += 1;
    /// }).wait()?;
    /// let inside = log.clone();
    /// log.execute(move |_| {
    ///     for n in 0..5 {
    ///         inside.execute(move |log| log.lines.push(n)).unwrap(); // queued
    ///     }
    /// })?;
    /// let seen = log.with(|log| (log.flushed, log.flushes))?;
    /// assert_eq!(seen, (5, 1));
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    pub fn on_idle<F>(&self, f: F) -> Completion<()>
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        match self.core.queue_hook(f) {
            Ok(task) => Completion::queued(task, Arc::downgrade(&self.core) as Weak<_>),
            Err(error) => Completion::ready(Err(error)),
        }
    }

    /// A snapshot of its counters.
    ///
    /// ```
    /// assert_eq!(captor::Resource::new(()).stats().submitted, 0);
    /// ```
    #[must_use]
    pub fn stats(&self) -> ResourceStats {
        self.core.stats()
    }

    /// How long its tasks were queued; `None` unless it
    /// [notes timings](crate::ResourceBuilder::timings).
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

    /// The name it was [built with](crate::ResourceBuilder::name).
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

    /// Is the calling code part of a task of this very resource?
    ///
    /// True also in what such a task calls, nested tasks of other resources
    /// that run on its thread included.
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
    /// Are both handles to one resource?
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

impl Scheduler {
    /// A resource of this scheduler, with default settings.
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

impl<T> Resource<T> {
    pub(crate) fn from_core(core: Arc<Core<T>>) -> Self {
        Resource { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core<T>> {
        &self.core
    }
}

// A panic in a task is contained, and says so in its outcome; who goes on with
// the value after it is for the panic policy to decide, as with a mutex.
impl<T> std::panic::UnwindSafe for Resource<T> {}
impl<T> std::panic::RefUnwindSafe for Resource<T> {}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        Resource {
            core: Arc::clone(&self.core),
        }
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

impl<T> fmt::Debug for Resource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.core.name())
            .field("closed", &self.core.is_closed())
            .field("poisoned", &self.core.refusal().poisoned)
            .field("outstanding", &self.core.stats().outstanding)
            .finish_non_exhaustive()
    }
}
