//! [`Resource`]: the handle to a value and its tasks, and the ways to submit a closure.
//!
//! This folder is the public interface of one resource. It decides between the fast path and the
//! busy path of a submission, and turns the core's answers into completions and errors. It may name
//! `error`, `future`, `scheduler`, `stats`, `sync` and the core in `raw`. It must not name `pool`
//! or `compose`, and has no unsafe code.
//!
//! Files:
//!
//! - `mod.rs`: the handle, `submit`, `try_submit`, `execute`, `with`, `on_idle`, and inspection
//! - `builder.rs`: the settings of a resource
//! - `settings.rs`: the choices that a setting may have
//! - `task_builder.rs`: a task with a name, a priority or a deadline
//! - `async_task.rs`: tasks that await and keep their resource
//! - `permit.rs`: room in a bounded queue, reserved before a task is submitted
//! - `lifecycle.rs`: closing, cancelling, taking the value, and healing after a panic
//! - `current.rs`: the task that runs on this thread
//! - `weak.rs`: a handle that does not keep the value alive

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

/// A value that many threads change by closures, one closure at a time, in order.
///
/// A `Resource` is a handle, and all clones refer to the same value. The value is dropped when the
/// last handle is dropped and all accepted tasks have finished.
///
/// | call | waits | returns |
/// |---|---|---|
/// | [`with`](Self::with) | blocks for the result | the result; the closure may borrow |
/// | [`submit`](Self::submit) | no | a [`Completion`] to await, wait for, or cancel |
/// | [`try_submit`](Self::try_submit) | no | a `Completion`, or the refused closure |
/// | [`execute`](Self::execute) | no | whether the task was accepted |
/// | [`reserve`](Self::reserve), [`reserve_blocking`](Self::reserve_blocking) | for room | a [`Permit`](crate::Permit), if the resource has a [capacity](crate::ResourceBuilder::capacity) |
///
/// If the resource is idle, the calling thread runs the closure itself, before the call returns. If
/// the resource is busy, the closure is queued, and the thread that runs the resource's tasks runs
/// the closure in turn. If other threads queue tasks while the caller runs its own, the caller is
/// *captured*: it runs those tasks too, up to the [capture
/// limit](crate::ResourceBuilder::capture_limit).
/// [`Dispatch::Pool`](crate::Dispatch::Pool) keeps all tasks off the calling thread.
///
/// # Order
///
/// If one submission returned before another began, on any threads, its task runs first, and the
/// later task sees what the earlier task wrote. If the resource has levels of
/// [priority](crate::ResourceBuilder::priorities), this holds within a level.
///
/// # Inside a task
///
/// A task may submit to its own resource: the new task runs after the running task. A task may also
/// submit to other resources. If such a resource is idle, the new task runs at once, up to a depth
/// of eight tasks inside each other. A task must not wait for its own resource: such a wait returns
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

    /// Submits `f` and returns the future of its result.
    ///
    /// `submit` never waits for another thread. On an idle resource, `f` runs **on this thread,
    /// before `submit` returns, under the locks that the caller holds**, and nothing is allocated.
    /// On a busy resource, `f` is queued with one allocation, or two if a `tracing` subscriber is
    /// installed. With [`Dispatch::Pool`](crate::Dispatch::Pool), `f` is always queued.
    ///
    /// After `f`, this thread may run tasks that other threads queued in the meantime, up to the
    /// [capture limit](crate::ResourceBuilder::capture_limit). If you submit from async code, read
    /// [calls from async code](crate::guide::async_code). More in the guide: [first
    /// steps](crate::guide::first_steps), [waiting](crate::guide::waiting).
    ///
    /// # Errors
    /// Errors arrive through the completion:
    ///
    /// - [`TaskError::Closed`], [`TaskError::Poisoned`] or, with a
    ///   [capacity](crate::ResourceBuilder::capacity), [`TaskError::Full`], if the resource refuses
    ///   the task. `f` is then dropped here.
    /// - [`TaskError::Poisoned`] also if an earlier task poisons the resource while `f` is queued.
    /// - [`TaskError::Panicked`] if `f` panics.
    ///
    /// # Panics
    /// Never. A panic of `f` is its outcome.
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

    /// Submits `f` like [`submit`](Self::submit), but returns a refused closure.
    ///
    /// # Errors
    /// [`TrySubmitError`], with the closure, if the resource is closed, poisoned or full. Only a
    /// resource with a [capacity](crate::ResourceBuilder::capacity) can be full.
    ///
    /// # Panics
    /// Never. A panic of `f` is its outcome.
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

    /// Submits `f` without a completion: fire and forget.
    ///
    /// The result of `f` is dropped on the thread that ran `f`. A panic of `f` is reported through
    /// `tracing`, and counted in the [statistics](Self::stats). `execute` never waits for another
    /// thread.
    ///
    /// Once 16,384 tasks are queued, each call yields a few times, so that the resource can catch
    /// up. Such pacing is no bound: if tasks are slow or block, set a
    /// [capacity](crate::ResourceBuilder::capacity).
    ///
    /// Tasks that are still queued when the process exits are lost. Before `main` returns, wait for
    /// a later task, [close and wait](Self::wait_closed), or [shut the scheduler
    /// down](Scheduler::shutdown). A shutdown of the global scheduler closes only resources that
    /// have a [name](crate::ResourceBuilder::name).
    ///
    /// # Errors
    /// [`SubmitError`] if the resource is closed, poisoned or full. Only a resource with a
    /// [capacity](crate::ResourceBuilder::capacity) can be full. The refused `f` is dropped.
    ///
    /// # Panics
    /// Never. A panic of `f`, or of the drop of its result, is reported through `tracing`.
    ///
    /// # Cancellation
    /// Only [`cancel_pending`](Self::cancel_pending) and [`close_now`](Self::close_now) cancel the
    /// task, before it has started.
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
    ///
    /// On an idle resource, `with` is what `lock` is on a mutex. On a busy resource, `f` is queued
    /// from this stack frame. The thread then runs tasks that are queued before `f`, or sleeps.
    /// Another thread may run `f`, so what `f` borrows must be `Send`. Nothing is allocated for
    /// `f`.
    ///
    /// # Errors
    /// - [`TaskError::WouldDeadlock`] if the caller is inside a task of this resource, or if the
    ///   wait would close a circle of waits across resources. **`f` has not run and never runs**:
    ///   the error comes before `f` is queued. From [`Completion::wait`], `WouldDeadlock` means
    ///   something else: there, the task still runs.
    /// - [`TaskError::Closed`] or [`TaskError::Poisoned`] if the resource refuses the task. `with`
    ///   needs no room, so the error is never [`TaskError::Full`].
    /// - [`TaskError::Poisoned`] also if an earlier task poisons the resource while `f` is queued.
    /// - [`TaskError::Panicked`] if `f` panics.
    ///
    /// # Panics
    /// Never. A panic of `f` is an error.
    ///
    /// # Cancellation
    /// [`cancel_pending`](Self::cancel_pending) and [`close_now`](Self::close_now) cancel the task,
    /// before it has started. The error is then [`TaskError::Cancelled`].
    ///
    /// # In async code
    /// `with` blocks the thread, as locking a mutex does. Use [`submit`](Self::submit) and
    /// `.await`.
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

    /// Returns the completion of a task whose deadline passed before the task was queued: refused,
    /// or expired.
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

    /// Returns the reason why a task would be refused now, if there is one.
    #[cold]
    pub(crate) fn refusal_if_any(&self) -> Option<SubmitError> {
        let refuses = self.core.strand().state().is_refusing();
        refuses.then(|| self.core.why_refused())
    }

    /// Installs `f` as a hook that is called each time the queue has run empty.
    ///
    /// The hook can flush, commit or notify once for all tasks that ran since its last call. In the
    /// guide: [when the queue has run
    /// empty](crate::guide::coalescing#when-the-queue-has-run-empty).
    ///
    /// The hook is called like a task: with the value, by the thread that ran the last task, before
    /// any other thread can run a task. Inside the hook, [`current`](crate::current) returns
    /// `on_idle` as the task's name. Tasks that are submitted meanwhile run after the hook, and
    /// then the hook is called again. On a closed resource, the hook is called after the last task,
    /// before the resource counts as ended. On a poisoned resource, the hook is not called.
    ///
    /// The hook is in place once all tasks that were submitted earlier have finished. The
    /// completion resolves at that time. If [`cancel_pending`](Self::cancel_pending) cancelled the
    /// installation, the completion resolves to `Cancelled`. Installing the hook does not call `f`:
    /// a task must run first. A task that is cancelled or expires does not count.
    ///
    /// Setting a second hook replaces the first. If tasks have run since the first hook's last
    /// call, the second hook is called for those tasks.
    ///
    /// A resource with a hook never takes the fastest path: a task that finds the resource idle
    /// costs some hundred nanoseconds more, and the call of the hook. Keep `f` short: on an idle
    /// resource, the submitter waits for the hook.
    ///
    /// # Errors
    /// Errors arrive through the completion, as for [`submit`](Self::submit). The hook needs no
    /// room, so the error is never [`TaskError::Full`].
    ///
    /// # Panics
    /// A panic of `f` is reported through `tracing`, like the panic of a task that nobody waits
    /// for. With [`PanicPolicy::Poison`](crate::PanicPolicy::Poison), the panic poisons the
    /// resource. The statistics do not count the panic as a task's.
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

impl<T> Resource<T> {
    pub(crate) fn from_core(core: Arc<Core<T>>) -> Self {
        Resource { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core<T>> {
        &self.core
    }
}

// A panic in a task is contained and becomes the task's outcome. The panic policy decides whether
// later tasks see the value, as with a mutex.
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
