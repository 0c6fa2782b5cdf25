//! [`Completion`]: the future of one task.

use crate::error::TaskError;
use crate::raw::core::{Core, Value};
use crate::raw::submit::Entered;
use crate::raw::task::handle::Handle;
use crate::raw::task::signal::is_polling;
use crate::raw::thread::deadlock::{self, WouldDeadlock};
use crate::raw::thread::panics;
use crate::raw::waiting::awaiting::{Awaited, Awaiter, awaiter};
use crate::raw::waiting::chain::{self, ChainEnd, Continuation, Origin, Upstream};
use crate::raw::waiting::wait;
use crate::sync::{Arc, Weak, yield_now};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The outcome of a submitted task: await it on any runtime, wait for it on a
/// thread, cancel it, or drop it.
///
/// It resolves exactly once, to the closure's result or a [`TaskError`]. If
/// the task ran on its submitter it is ready from the start, holds the result
/// itself, and polling it is a branch.
///
/// # Cancellation
///
/// Dropping a `Completion` leaves its task in the queue; it runs all the same.
/// [`cancel`](Self::cancel) takes a task that has not started back out, and
/// [`cancel_on_drop`](Self::cancel_on_drop) does so when the `Completion` is
/// dropped, as is wanted where a caller may give up (a `select!`, a timeout).
/// A task that has started runs to its end; on an idle resource that is before
/// `submit` returns, so that a timeout around it comes too late. With
/// [`Dispatch::Pool`](crate::Dispatch::Pool) it does not.
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
#[must_use = "the task runs whether or not this is awaited, but its result and its panics are here; \
              use `execute` for fire and forget"]
pub struct Completion<R> {
    /// Emptied by `drop`, which has nothing else to do where the outcome was
    /// taken: so it is inlined away on the path that matters.
    state: ManuallyDrop<CompletionState<R>>,
    cancel_on_drop: bool,
}

enum CompletionState<R> {
    Ready(Result<R, TaskError>),
    Queued(Handle<R>, Weak<Core<dyn Value>>),
    /// Queued once another task is through, or queued since.
    Linked(Handle<R>, Arc<dyn Continuation>),
    /// One of those two, awaited by an asynchronous task.
    Awaited(Box<Awaited<R>>),
    Taken,
}

impl<R> CompletionState<R> {
    /// The task, unless the outcome is here.
    fn task(&self) -> Option<&Handle<R>> {
        match self {
            CompletionState::Queued(task, _) | CompletionState::Linked(task, _) => Some(task),
            CompletionState::Awaited(awaited) => Some(awaited.task()),
            CompletionState::Ready(_) | CompletionState::Taken => None,
        }
    }

    /// Where its task is, unless the outcome is here.
    fn origin(&self) -> Option<Origin> {
        match self {
            CompletionState::Queued(_, core) => Some(Origin::Resource(Weak::clone(core))),
            CompletionState::Linked(_, link) => Some(Origin::Continuation(Arc::clone(link))),
            CompletionState::Awaited(awaited) => Some(awaited.origin().clone()),
            CompletionState::Ready(_) | CompletionState::Taken => None,
        }
    }

    /// The outcome. Only once it is there.
    fn into_outcome(self) -> Result<R, TaskError> {
        match self {
            CompletionState::Ready(outcome) => outcome,
            CompletionState::Queued(task, _) | CompletionState::Linked(task, _) => task.take(),
            CompletionState::Awaited(awaited) => awaited.into_parts().0.take(),
            CompletionState::Taken => taken(),
        }
    }

    /// Cancels the task, and what it waits for.
    fn cancel(&self) -> bool {
        let (cancelled, mut upstream) = self.cancel_one();
        while let Some(task) = upstream {
            upstream = task.cancel();
        }
        cancelled
    }

    /// Whether it was cancelled, and what it waited for.
    fn cancel_one(&self) -> (bool, Option<Box<dyn Upstream>>) {
        let (Some(task), Some(origin)) = (self.task(), self.origin()) else {
            return (false, None);
        };
        if task.is_complete() {
            return (false, None);
        }
        let core = match origin {
            Origin::Resource(core) => core.upgrade(),
            Origin::Continuation(link) => match link.cancel() {
                None => link.resource().upgrade(),
                upstream => return (true, upstream),
            },
        };
        // Without its resource the task is through.
        (core.is_some_and(|core| core.cancel(task)), None)
    }

    /// Waits for the task; `false` if the time was up first.
    #[cold]
    fn block(&self, timeout: Option<Duration>) -> Result<bool, TaskError> {
        match (self.task(), self.origin()) {
            (Some(task), Some(Origin::Resource(core))) => block(task, &core, timeout),
            (Some(task), Some(Origin::Continuation(link))) => block_linked(task, &link, timeout),
            _ => Ok(true),
        }
    }

    /// No asynchronous task awaits it any more.
    fn unawaited(self) -> Self {
        match self {
            CompletionState::Awaited(awaited) => CompletionState::pending(awaited.into_parts()),
            other => other,
        }
    }

    fn pending((task, origin): (Handle<R>, Origin)) -> Self {
        match origin {
            Origin::Resource(core) => CompletionState::Queued(task, core),
            Origin::Continuation(link) => CompletionState::Linked(task, link),
        }
    }

    /// Notes that an asynchronous task awaits it. What was noted of another is past.
    fn await_by(self, by: Awaiter) -> Result<Self, (WouldDeadlock, Self)> {
        let (task, origin) = match self {
            CompletionState::Awaited(awaited) if awaited.is_by(&by) => {
                return Ok(CompletionState::Awaited(awaited));
            }
            CompletionState::Awaited(awaited) => awaited.into_parts(),
            CompletionState::Queued(task, core) => (task, Origin::Resource(core)),
            CompletionState::Linked(task, link) => (task, Origin::Continuation(link)),
            CompletionState::Ready(_) | CompletionState::Taken => return Ok(self),
        };
        match Awaited::begin(by, task, origin) {
            Ok(awaited) => Ok(CompletionState::Awaited(Box::new(awaited))),
            Err((error, task, origin)) => Err((error, CompletionState::pending((task, origin)))),
        }
    }
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

    /// Of a task that found its resource busy.
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

    /// Blocks this thread until the task is through.
    ///
    /// While it waits the thread may take over the resource and run what is
    /// queued before the task, rather than sleep.
    ///
    /// # Errors
    /// Why there is no result; [`TaskError::WouldDeadlock`] at once if the
    /// caller is inside a task of the same resource, or of one that waits for
    /// it. The task then runs later and its result is dropped, or, with
    /// [`cancel_on_drop`](Self::cancel_on_drop), does not run.
    ///
    /// # In async code
    /// It blocks the thread: `.await` the completion instead.
    ///
    /// # Panics
    /// If the outcome was taken by polling before.
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

    /// [`wait`](Self::wait), but for `timeout` at most.
    ///
    /// # Errors
    /// The completion itself if the task was not through by then. Otherwise the inner
    /// result is that of [`wait`](Self::wait), `Ok(Err(TaskError::WouldDeadlock))`
    /// included, at once, where waiting would never end.
    ///
    /// # In async code
    /// It blocks the thread: put the runtime's timeout around the completion, which
    /// is to be one that [cancels on drop](Self::cancel_on_drop) if the task is not
    /// wanted any more then.
    ///
    /// # Panics
    /// If the outcome was taken by polling before.
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
            // A deadline past the end of time is none.
            match self.state.block(Some(timeout)) {
                Ok(true) => {}
                Ok(false) => return Err(self),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(self.take().into_outcome())
    }

    /// Is the outcome there?
    ///
    /// ```
    /// assert!(captor::Resource::new(()).submit(|_| ()).is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.task().is_none_or(Handle::is_complete)
    }

    /// Cancels the task if it has not started: its closure is dropped now, on
    /// this thread, and the outcome is [`TaskError::Cancelled`].
    ///
    /// `false` if it has started, or is through already. One that runs is asked to
    /// stop: see [`cancel_token`](crate::cancel_token). An [asynchronous
    /// task](crate::Resource::submit_async) is cancelled where it waits: its future is
    /// dropped soon, by a worker, and the outcome comes after that; one that runs just
    /// then, when it comes to wait next, so that the outcome may be `Cancelled` after
    /// `false`.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TaskError};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| gate.recv().is_ok())?;
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

    /// From now on, dropping the completion cancels the task.
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| gate.recv().is_ok())?;
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
    /// Out of line, and it puts the state back: so the ready path moves the
    /// outcome and nothing else.
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
        // First of all: cloning a waker may panic.
        *self.state = pending;
        if !self.register(cx.waker()) {
            return Poll::Ready(self.take().into_outcome());
        }
        if !is_polling() && !matches!(*self.state, CompletionState::Awaited(_)) {
            return Poll::Pending;
        }
        self.note_who_awaits()
    }

    /// It is awaited by an asynchronous task, or was.
    #[cold]
    fn note_who_awaits(&mut self) -> Poll<Result<R, TaskError>> {
        if let Some(by) = awaiter() {
            return self.poll_inside(by);
        }
        self.forget_awaiter();
        Poll::Pending
    }

    /// Whoever awaited it does not any more: somebody else asks for it now.
    pub(crate) fn forget_awaiter(&mut self) {
        if let CompletionState::Awaited(_) = *self.state {
            *self.state = self.take().unawaited();
        }
    }

    /// An asynchronous task awaits it, and keeps its resource meanwhile.
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

/// For [`then`](Self::then).
impl<R> Completion<R> {
    pub(crate) fn linked(task: Handle<R>, link: Arc<dyn Continuation>) -> Self {
        Completion {
            state: ManuallyDrop::new(CompletionState::Linked(task, link)),
            cancel_on_drop: false,
        }
    }

    /// Has `waker` woken once the outcome is there. `false`: it is.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.state.task().is_some_and(|task| task.register(waker))
    }

    /// The outcome. Only once [`Completion::is_finished`].
    pub(crate) fn into_outcome(mut self) -> Result<R, TaskError> {
        self.take().into_outcome()
    }

    /// Where its task is, if the outcome was not there from the start.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.state.origin()
    }

    /// Is it cancelled when it is dropped? From now on it is not.
    pub(crate) fn take_cancel_on_drop(&mut self) -> bool {
        std::mem::take(&mut self.cancel_on_drop)
    }
}

impl<R> Upstream for Completion<R> {
    fn cancel(self: Box<Self>) -> Option<Box<dyn Upstream>> {
        self.state.cancel_one().1
    }
}

/// Waits for the task, and cancels it where that would never end, if it is to
/// be cancelled with its completion.
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

/// Waits for the task; `false` if the time was up first.
#[cold]
fn block<R>(
    task: &Handle<R>,
    core: &Weak<Core<dyn Value>>,
    timeout: Option<Duration>,
) -> Result<bool, TaskError> {
    if task.is_complete() {
        return Ok(true);
    }
    let Some(core) = core.upgrade() else {
        // A resource goes only once all its tasks are through. That this one
        // is may reach us a moment after the news that the resource is gone.
        while !task.is_complete() {
            yield_now();
        }
        return Ok(true);
    };
    let deadline = timeout.and_then(|time| core.host().after(time));
    let task = task.waiting();
    match deadlock::Wait::begin(core.id(), task.event()) {
        Ok(_wait) => in_time(wait::wait(&core, task, deadline), deadline),
        Err(_) if task.is_complete() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Waits for a task and those that it waits for.
fn block_linked<R>(
    task: &Handle<R>,
    link: &Arc<dyn Continuation>,
    timeout: Option<Duration>,
) -> Result<bool, TaskError> {
    if !link.waits() {
        return block(task, &link.resource(), timeout);
    }
    let after = |time| match chain::stage(link) {
        Some(core) => core.host().after(time),
        None => Instant::now().checked_add(time),
    };
    let deadline = timeout.and_then(after);
    let task = task.waiting();
    let end = ChainEnd { task, link };
    match deadlock::Wait::begin(link.resource().as_ptr().cast(), &end) {
        Ok(_wait) => in_time(wait::wait_for_chain(link, task, deadline), deadline),
        Err(_) if task.is_complete() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A wait without a deadline ends with its task, unless nothing could end it.
fn in_time(came: bool, deadline: Option<Instant>) -> Result<bool, TaskError> {
    if !came && deadline.is_none() {
        return Err(TaskError::WouldDeadlock);
    }
    Ok(came)
}

#[cold]
#[track_caller]
fn taken() -> ! {
    panic!("the outcome of this completion was taken before, by polling it")
}

impl<R> Future for Completion<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    /// If polled again after it was ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.take() {
            CompletionState::Ready(outcome) => Poll::Ready(outcome),
            CompletionState::Taken => taken(),
            // Taken apart, so that the ready path does not have it in memory.
            CompletionState::Queued(task, core) => self.poll_queued(task, core, cx),
            CompletionState::Linked(task, link) => self.poll_linked(task, link, cx),
            CompletionState::Awaited(awaited) => self.poll_awaited(awaited, cx),
        }
    }
}

// The outcome is moved out, never pinned.
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
    /// Dropped with the outcome still to come, or in it.
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
