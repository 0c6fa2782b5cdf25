//! [`Completion`]: the future of one task's outcome.
//!
//! A completion is in one of two main states. If the task ran on its submitter, the completion
//! holds the outcome, and a poll is a branch. Otherwise the completion refers to the task through a
//! handle, and knows where the task is: in the queue of a resource, or at the end of a chain of
//! continuations. While an asynchronous task awaits the completion, the wait is recorded in the
//! graph of waits.

use crate::error::TaskError;
use crate::future::state::{CompletionState, taken};
use crate::raw::core::{Core, Value};
use crate::raw::submit::Entered;
use crate::raw::task::handle::Handle;
use crate::raw::task::signal::is_polling;
use crate::raw::thread::panics;
use crate::raw::waiting::awaiting::{Awaited, Awaiter, awaiter};
use crate::raw::waiting::chain::{Continuation, Origin, Upstream};
use crate::sync::{Arc, Weak};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The outcome of a submitted task: await it on any runtime, wait for it on a thread, cancel the
/// task, or drop the completion.
///
/// A completion resolves exactly once, to the closure's result or to a [`TaskError`]. If the task
/// ran on its submitter, the completion is ready from the start and holds the result, and polling
/// costs a branch.
///
/// # Cancellation
///
/// Dropping a `Completion` leaves its task in the queue, and the task still runs.
/// [`cancel`](Self::cancel) cancels a task that has not started.
/// [`cancel_on_drop`](Self::cancel_on_drop) makes the drop of the `Completion` cancel the task. Use
/// this if a caller may give up, in a `select!` or a timeout.
///
/// A task that has started runs to its end. On an idle resource, the task has run before `submit`
/// returns, so a timeout around the completion comes too late. With
/// [`Dispatch::Pool`](crate::Dispatch::Pool), the task runs on a worker, and the timeout works. An
/// [asynchronous task](crate::Resource::submit_async) can also be cancelled at an `.await`.
///
/// # Deadlocks
///
/// If an asynchronous task awaits a completion and the wait could never end, the completion
/// resolves to [`TaskError::WouldDeadlock`]. **The awaited task still runs later, and its result is
/// dropped.** With [`cancel_on_drop`](Self::cancel_on_drop), the awaited task is cancelled if it
/// has not started.
///
/// # Example
///
/// ```
/// use captor::Resource;
///
/// # futures::executor::block_on(async {
/// let words = Resource::new(Vec::new());
/// let len = words.submit(|w| {
///     w.push("hello");
///     w.len()
/// });
/// assert_eq!(len.await, Ok(1)); // in async code
/// assert_eq!(words.submit(|w| w.len()).wait(), Ok(1)); // on a thread
/// # });
/// ```
#[must_use = "the task runs even if this is dropped, but only this has its result or its panic; \
              use `execute` for fire and forget"]
pub struct Completion<R> {
    /// `drop` empties this field. If the outcome was taken, `drop` has nothing to do, so the
    /// compiler removes the drop from the path of a task that ran at once.
    state: ManuallyDrop<CompletionState<R>>,
    cancel_on_drop: bool,
}

impl<R> Completion<R> {
    #[inline(always)]
    fn take(&mut self) -> CompletionState<R> {
        std::mem::replace(&mut *self.state, CompletionState::Taken)
    }

    #[inline]
    pub(crate) fn ready(outcome: Result<R, TaskError>) -> Self {
        Completion {
            state: ManuallyDrop::new(CompletionState::Ready(outcome)),
            cancel_on_drop: false,
        }
    }

    /// Returns the completion of a task that found its resource busy.
    #[inline]
    pub(crate) fn entered<T: Send + 'static>(
        entered: Entered<R, Handle<R>>,
        core: &Arc<Core<T>>,
    ) -> Self {
        match entered {
            Entered::Ran(outcome) => Completion::ready(outcome),
            Entered::Queued(task) => Completion::queued(task, Arc::downgrade(core) as Weak<_>),
        }
    }

    pub(crate) fn queued(task: Handle<R>, core: Weak<Core<dyn Value>>) -> Self {
        Completion {
            state: ManuallyDrop::new(CompletionState::Queued(task, core)),
            cancel_on_drop: false,
        }
    }

    /// Blocks this thread until the task has finished, and returns its outcome.
    ///
    /// While the thread waits, it may take over the resource and run the tasks that are queued
    /// before this task.
    ///
    /// # Errors
    /// - A [`TaskError`] that says why there is no result.
    /// - [`TaskError::WouldDeadlock`], at once, if the caller is inside a task of the same
    ///   resource, or if the wait would close a circle of waits across resources. **The awaited
    ///   task still runs later, and its result is dropped.** With
    ///   [`cancel_on_drop`](Self::cancel_on_drop), the task is cancelled if it has not started.
    ///   This differs from [`Resource::with`](crate::Resource::with), where the task of a refused
    ///   wait never runs.
    ///
    /// # In async code
    /// `wait` blocks the thread. `.await` the completion instead.
    ///
    /// # Panics
    /// If the outcome was already taken by a poll.
    ///
    /// ```
    /// use captor::Resource;
    /// assert_eq!(Resource::new(20).submit(|n| *n + 1).wait(), Ok(21));
    /// ```
    #[inline]
    pub fn wait(mut self) -> Result<R, TaskError> {
        match self.take() {
            CompletionState::Ready(outcome) => outcome,
            CompletionState::Taken => taken(),
            queued => wait_queued(queued.unawaited(), self.cancel_on_drop),
        }
    }

    /// Blocks this thread until the task has finished, for at most `timeout`.
    ///
    /// # Errors
    /// If the task has not finished in time, the completion itself comes back as the outer error.
    /// Otherwise the inner result is the result of [`wait`](Self::wait). If the wait could never
    /// end, this is `Ok(Err(TaskError::WouldDeadlock))`, at once. The awaited task still runs
    /// later, and its result is dropped. With [`cancel_on_drop`](Self::cancel_on_drop), the task is
    /// cancelled if it has not started.
    ///
    /// # In async code
    /// `wait_timeout` blocks the thread. Put the runtime's timeout around the completion. If the
    /// task is not wanted after the timeout, use a completion that [cancels on
    /// drop](Self::cancel_on_drop).
    ///
    /// # Panics
    /// If the outcome was already taken by a poll.
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(())?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// let late = r.submit(move |_| gate.recv().is_ok());
    /// let late = late.wait_timeout(Duration::from_millis(5)).unwrap_err();
    /// go.send(()).unwrap();
    /// assert_eq!(late.wait(), Ok(true));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        self.forget_awaiter();
        if self.state.task().is_some() {
            // A deadline that `Instant` cannot represent is no deadline.
            match self.state.block(Some(timeout)) {
                Ok(true) => {}
                Ok(false) => return Err(self),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(self.take().into_outcome())
    }

    /// Checks whether the task has finished.
    ///
    /// ```
    /// assert!(captor::Resource::new(()).submit(|_| ()).is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.task().is_none_or(Handle::is_complete)
    }

    /// Cancels the task if it has not started, and returns whether the task was cancelled.
    ///
    /// The closure of a cancelled task is dropped now, on this thread, and the outcome is
    /// [`TaskError::Cancelled`].
    ///
    /// If the task has started or finished, this returns `false`. A running task is asked to stop:
    /// see [`cancel_token`](crate::cancel_token).
    ///
    /// An [asynchronous task](crate::Resource::submit_async) that waits is cancelled at its
    /// `.await`. A worker drops its future soon, and the outcome comes after that. If the
    /// asynchronous task is running, this returns `false`, and the future is dropped at its next
    /// wait. So the outcome may be `Cancelled` after `false`.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TaskError};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| drop(gate.recv()))?;
    /// let second = r.submit(|n| *n = 7);
    /// assert!(second.cancel());
    /// assert_eq!(second.wait(), Err(TaskError::Cancelled));
    /// drop(go);
    /// assert_eq!(r.with(|n| *n), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.state.cancel()
    }

    /// Makes the drop of the completion cancel the task.
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| drop(gate.recv()))?;
    /// drop(r.submit(|n| *n = 7).cancel_on_drop());
    /// drop(go);
    /// assert_eq!(r.with(|n| *n), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }
}

impl<R> Completion<R> {
    /// Polls a queued task. This function is out of line and puts the state back, so the ready path
    /// moves only the outcome.
    #[cold]
    fn poll_queued(
        &mut self,
        task: Handle<R>,
        core: Weak<Core<dyn Value>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, TaskError>> {
        self.poll_pending(CompletionState::Queued(task, core), cx)
    }

    #[cold]
    fn poll_linked(
        &mut self,
        task: Handle<R>,
        link: Arc<dyn Continuation>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, TaskError>> {
        self.poll_pending(CompletionState::Linked(task, link), cx)
    }

    #[cold]
    fn poll_awaited(
        &mut self,
        awaited: Box<Awaited<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, TaskError>> {
        self.poll_pending(CompletionState::Awaited(awaited), cx)
    }

    fn poll_pending(
        &mut self,
        pending: CompletionState<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, TaskError>> {
        // The state is put back first, because cloning a waker may panic.
        *self.state = pending;
        if !self.register(cx.waker()) {
            return Poll::Ready(self.take().into_outcome());
        }
        if !is_polling() && !matches!(*self.state, CompletionState::Awaited(_)) {
            return Poll::Pending;
        }
        self.note_who_awaits()
    }

    /// Records which asynchronous task awaits the completion, or removes the record of an earlier
    /// one.
    #[cold]
    fn note_who_awaits(&mut self) -> Poll<Result<R, TaskError>> {
        if let Some(by) = awaiter() {
            return self.poll_inside(by);
        }
        self.forget_awaiter();
        Poll::Pending
    }

    /// Removes the record of an asynchronous task that awaited the completion, because another
    /// caller asks for the outcome now.
    pub(crate) fn forget_awaiter(&mut self) {
        if let CompletionState::Awaited(_) = *self.state {
            *self.state = self.take().unawaited();
        }
    }

    /// Polls on behalf of an asynchronous task, which keeps its resource while it awaits.
    fn poll_inside(&mut self, by: Awaiter) -> Poll<Result<R, TaskError>> {
        match self.take().await_by(by) {
            Ok(state) => {
                *self.state = state;
                Poll::Pending
            }
            Err((_, state)) if state.task().is_some_and(Handle::is_complete) => {
                Poll::Ready(state.into_outcome())
            }
            Err((error, state)) => {
                if self.cancel_on_drop {
                    state.cancel();
                }
                Poll::Ready(Err(error.into()))
            }
        }
    }
}

/// The parts that [`then`](Self::then) uses.
impl<R> Completion<R> {
    pub(crate) fn linked(task: Handle<R>, link: Arc<dyn Continuation>) -> Self {
        Completion {
            state: ManuallyDrop::new(CompletionState::Linked(task, link)),
            cancel_on_drop: false,
        }
    }

    /// Registers `waker` to be woken once the outcome is in place. Returns `false` if the outcome
    /// is in place.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.state.task().is_some_and(|task| task.register(waker))
    }

    /// Returns the outcome. Must be called only after [`Completion::is_finished`] has returned
    /// `true`.
    pub(crate) fn into_outcome(mut self) -> Result<R, TaskError> {
        self.take().into_outcome()
    }

    /// Returns where the task is, unless the outcome was here from the start.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.state.origin()
    }

    /// Returns whether the drop of the completion cancels the task, and turns this off.
    pub(crate) fn take_cancel_on_drop(&mut self) -> bool {
        std::mem::take(&mut self.cancel_on_drop)
    }
}

impl<R> Upstream for Completion<R> {
    fn cancel(self: Box<Self>) -> Option<Box<dyn Upstream>> {
        self.state.cancel_one().1
    }
}

/// Blocks until the task has finished. If the wait could never end and `cancel` is set, this
/// cancels the task.
#[cold]
fn wait_queued<R>(queued: CompletionState<R>, cancel: bool) -> Result<R, TaskError> {
    if let Err(error) = queued.block(None) {
        if cancel {
            queued.cancel();
        }
        return Err(error);
    }
    queued.into_outcome()
}

impl<R> Future for Completion<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    /// If polled again after the future was ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.take() {
            CompletionState::Ready(outcome) => Poll::Ready(outcome),
            CompletionState::Taken => taken(),
            // The fields are passed separately, so the ready path does not keep the state in
            // memory.
            CompletionState::Queued(task, core) => self.poll_queued(task, core, cx),
            CompletionState::Linked(task, link) => self.poll_linked(task, link, cx),
            CompletionState::Awaited(awaited) => self.poll_awaited(awaited, cx),
        }
    }
}

// The outcome is moved out and never pinned.
impl<R> Unpin for Completion<R> {}

impl<R> Drop for Completion<R> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(*self.state, CompletionState::Taken) {
            self.abandon();
        }
    }
}

impl<R> Completion<R> {
    /// Drops a completion that has an outcome or still waits for its outcome.
    #[inline(never)]
    fn abandon(&mut self) {
        if self.cancel_on_drop {
            self.cancel();
        }
        if let CompletionState::Ready(outcome) = self.take() {
            panics::drop_outcome(outcome);
        }
    }
}

impl<R> fmt::Debug for Completion<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state {
            CompletionState::Ready(Ok(_)) => "ready",
            CompletionState::Ready(Err(_)) => "failed",
            CompletionState::Taken => "taken",
            _ if self.is_finished() => "ready",
            _ => "pending",
        };
        f.debug_tuple("Completion").field(&state).finish()
    }
}
