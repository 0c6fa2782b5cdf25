//! The four ways to submit a closure: `submit`, `with`, `execute`, `try_submit`.

use crate::error::{SubmitError, TaskError, TrySubmitError};
use crate::future::completion::Completion;
use crate::raw::submit::{Admission, Entered, Refused};
use crate::raw::task::tag::Given;
use crate::raw::thread::context::{self, MAX_DEPTH};
use crate::raw::thread::panics;
use crate::resource::Resource;

impl<T: Send + 'static> Resource<T> {
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
    /// cache.execute(|c| {
    ///     c.insert("k", 1);
    /// })?;
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

    /// Submits `f` without a completion: fire and forget.
    ///
    /// `f` returns `()`, because no caller could see a result. So an `async` block inside `f`, which
    /// would never be polled, does not compile. To run a future, call
    /// [`submit_async`](Self::submit_async) or [`submit_steps`](Self::submit_steps). To drop a
    /// result, end `f` with a semicolon.
    ///
    /// A panic of `f` is reported through `tracing`, and counted in the
    /// [statistics](Self::stats). `execute` never waits for another thread.
    ///
    /// Once 16,384 tasks are queued, each call yields a few times, so that the resource can catch
    /// up. Such pacing is no bound: if tasks are slow or block, set a
    /// [capacity](crate::ResourceBuilder::capacity).
    ///
    /// Tasks that are still queued when the process exits are lost. Before `main` returns, wait for
    /// a later task, [close and wait](Self::wait_closed), or [shut the scheduler
    /// down](crate::Scheduler::shutdown). A shutdown of the global scheduler closes only resources
    /// that have a [name](crate::ResourceBuilder::name).
    ///
    /// # Errors
    /// [`SubmitError`] if the resource is closed, poisoned or full. Only a resource with a
    /// [capacity](crate::ResourceBuilder::capacity) can be full. The refused `f` is dropped.
    ///
    /// # Panics
    /// Never. A panic of `f` is reported through `tracing`.
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
    ///
    /// A closure that returns a future does not compile:
    ///
    /// ```compile_fail,E0308
    /// let hits = captor::Resource::new(0);
    /// hits.execute(|_| async move {});
    /// ```
    #[inline]
    pub fn execute<F>(&self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        self.execute_as(f, None, Admission::Bounded)
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
}

// The common part of the calls, with and without attributes.
impl<T: Send + 'static> Resource<T> {
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
    pub(crate) fn execute_as<F>(
        &self,
        f: F,
        given: Given<'_>,
        entry: Admission,
    ) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
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
            Err((error, f)) => Err(panics::drop_refused(error, f)),
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

    /// If the resource refuses tasks now, counts a refused task and returns the reason. The caller
    /// must then refuse the task.
    #[cold]
    pub(crate) fn refusal_if_any(&self) -> Option<SubmitError> {
        let refuses = self.core.strand().state().is_refusing();
        refuses.then(|| self.core.why_refused())
    }
}
