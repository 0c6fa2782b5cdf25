//! [`Completion`]: the future of one task.

use crate::error::TaskError;
use crate::raw::deadlock;
use crate::raw::handle::Handle;
use crate::raw::inner::{Core, Value};
use crate::raw::panics;
use crate::raw::wait;
use crate::sync::{Weak, yield_now};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};
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
    state: ManuallyDrop<State<R>>,
    cancel_on_drop: bool,
}

enum State<R> {
    Ready(Result<R, TaskError>),
    Queued(Handle<R>, Weak<Core<dyn Value>>),
    Taken,
}

impl<R> Completion<R> {
    #[inline(always)]
    fn take(&mut self) -> State<R> {
        std::mem::replace(&mut *self.state, State::Taken)
    }

    #[inline]
    pub(crate) fn ready(outcome: Result<R, TaskError>) -> Self {
        Completion {
            state: ManuallyDrop::new(State::Ready(outcome)),
            cancel_on_drop: false,
        }
    }

    pub(crate) fn queued(task: Handle<R>, core: Weak<Core<dyn Value>>) -> Self {
        Completion {
            state: ManuallyDrop::new(State::Queued(task, core)),
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
            State::Ready(outcome) => outcome,
            State::Queued(task, core) => wait_queued(task, &core, self.cancel_on_drop),
            State::Taken => taken(),
        }
    }

    /// [`wait`](Self::wait), but for `timeout` at most.
    ///
    /// # Errors
    /// The completion itself if the task was not through by then.
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
        if let State::Queued(task, core) = &*self.state {
            // A deadline past the end of time is none.
            match block(task, core, Instant::now().checked_add(timeout)) {
                Ok(true) => {}
                Ok(false) => return Err(self),
                Err(error) => return Ok(Err(error)),
            }
        }
        match self.take() {
            State::Ready(outcome) => Ok(outcome),
            State::Queued(task, _) => Ok(task.take()),
            State::Taken => taken(),
        }
    }

    /// Is the outcome there?
    ///
    /// ```
    /// assert!(captor::Resource::new(()).submit(|_| ()).is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &*self.state {
            State::Ready(_) | State::Taken => true,
            State::Queued(task, _) => task.is_complete(),
        }
    }

    /// Cancels the task if it has not started: its closure is dropped now, on
    /// this thread, and the outcome is [`TaskError::Cancelled`].
    ///
    /// `false` if it has started, or is through already.
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
        match &*self.state {
            State::Queued(task, core) if !task.is_complete() => {
                // Without its resource the task is through.
                core.upgrade().is_some_and(|core| core.cancel(task))
            }
            _ => false,
        }
    }

    /// From now on, dropping the completion cancels the task.
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
    /// Out of line, and it puts the state back: so the ready path moves the
    /// outcome and nothing else.
    #[cold]
    fn poll_queued(
        &mut self,
        task: Handle<R>,
        core: Weak<Core<dyn Value>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, TaskError>> {
        // First of all: cloning a waker may panic.
        *self.state = State::Queued(task, core);
        if let State::Queued(task, _) = &*self.state {
            if task.register(cx.waker()) {
                return Poll::Pending;
            }
        }
        match self.take() {
            State::Queued(task, _) => Poll::Ready(task.take()),
            _ => taken(),
        }
    }
}

/// Waits for the task, and cancels it where that would never end, if it is to
/// be cancelled with its completion.
#[cold]
fn wait_queued<R>(
    task: Handle<R>,
    core: &Weak<Core<dyn Value>>,
    cancel: bool,
) -> Result<R, TaskError> {
    if let Err(error) = block(&task, core, None) {
        if let Some(core) = core.upgrade().filter(|_| cancel) {
            core.cancel(&task);
        }
        return Err(error);
    }
    task.take()
}

/// Waits for the task; `false` if the deadline came first.
#[cold]
fn block<R>(
    task: &Handle<R>,
    core: &Weak<Core<dyn Value>>,
    deadline: Option<Instant>,
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
    let task = task.waiting();
    match deadlock::Wait::begin(core.id(), task.event()) {
        Ok(_wait) => Ok(wait::wait(&core, task, deadline)),
        Err(_) if task.is_complete() => Ok(true),
        Err(error) => Err(error.into()),
    }
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
            State::Ready(outcome) => Poll::Ready(outcome),
            State::Queued(task, core) => self.poll_queued(task, core, cx),
            State::Taken => taken(),
        }
    }
}

// The outcome is moved out, never pinned.
impl<R> Unpin for Completion<R> {}

impl<R> Drop for Completion<R> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(*self.state, State::Taken) {
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
        if let State::Ready(outcome) = self.take() {
            panics::drop_outcome(outcome);
        }
    }
}

impl<R> fmt::Debug for Completion<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state {
            State::Ready(Ok(_)) => "ready",
            State::Ready(Err(_)) => "failed",
            State::Queued(task, _) if task.is_complete() => "ready",
            State::Queued(..) => "pending",
            State::Taken => "taken",
        };
        f.debug_tuple("Completion").field(&state).finish()
    }
}
