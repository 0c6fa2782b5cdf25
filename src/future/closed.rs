//! Futures of the end of a resource ([`Closed`]), of its closing (`Closing`), and of its value
//! ([`IntoInner`]).
//!
//! Each future registers its waker as a listener and then looks once more. So an end or a closing
//! between the two steps is not missed. A wait that could never end is found in the graph of waits
//! (`raw::thread::deadlock`).

use crate::error::TaskError;
use crate::raw::core::listeners::Key;
use crate::raw::core::{Core, Value};
use crate::raw::run::reclaim::NotTaken;
use crate::raw::thread::deadlock::{Event, Wait, WouldDeadlock};
use crate::raw::waiting::awaiting::{Awaiter, Record, awaiter};
use crate::raw::waiting::wait::block_on;
use crate::sync::{Arc, Weak};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// A future that resolves once a resource is closed and no task is queued or running; from
/// [`Resource::closed`](crate::Resource::closed).
///
/// The future keeps the resource's value alive. Dropping the future has no other effect.
///
/// An asynchronous task may await this future although the end has to wait for that task. Such a
/// task is a task of the same resource, or its wait closes a circle of waits across resources. The
/// future then never resolves. If no other waker of the task is left, the task is cancelled, with a
/// warning in the log. A combinator that keeps wakers of its own, such as `FuturesUnordered`, hides
/// that no other waker is left.
///
/// ```
/// # futures::executor::block_on(async {
/// let r = captor::Resource::new(());
/// let closed = r.closed();
/// r.close();
/// closed.await;
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Closed {
    core: Arc<Core<dyn Value>>,
    /// The key under which the waker is registered, if it is registered.
    key: Option<Key>,
    awaited: Record,
}

impl Closed {
    pub(crate) fn new(core: Arc<Core<dyn Value>>) -> Self {
        Closed {
            core,
            key: None,
            awaited: Record::default(),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.core.has_ended() {
            return Poll::Ready(());
        }
        self.core.cold().ended.listen(&mut self.key, cx.waker());
        // The end may come before this future is on the list of listeners.
        // - The ending thread took the list first: its lock makes the end visible to the look
        //   below.
        // - This future was on the list first: the ending thread wakes it.
        match self.core.has_ended() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Polls for the end, and records which asynchronous task awaits the end. The wait is refused
    /// if the end would have to wait for that task.
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WouldDeadlock>> {
        if self.poll_end(cx).is_ready() {
            self.awaited.clear();
            return Poll::Ready(Ok(()));
        }
        let core = Arc::clone(&self.core);
        let ends = |by: Awaiter| {
            Box::new(move || by.is_through() || core.has_ended()) as Box<dyn Event + Send + Sync>
        };
        match self.awaited.note(awaiter(), self.core.id(), ends) {
            Ok(()) => Poll::Pending,
            // The end came between the poll and the record.
            Err(WouldDeadlock) if self.core.has_ended() => Poll::Ready(Ok(())),
            Err(error) => {
                // Another task may still break the circle. The end then wakes this task. The waker
                // does not count as a waker that could resume the task.
                if let Some(by) = awaiter() {
                    self.core.cold().ended.listen(&mut self.key, &by.waker());
                }
                Poll::Ready(Err(error))
            }
        }
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            self.core.cold().ended.forget(key);
        }
    }
}

impl Future for Closed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_awaited(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // The end cannot come before the task finishes. If the task waits for nothing else, the
            // task is given up.
            Poll::Ready(Err(WouldDeadlock)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed")
            .field("ended", &self.core.has_ended())
            .finish()
    }
}

/// A future that resolves once a resource is closed or dropped. The future does not keep the
/// resource alive.
pub(crate) struct Closing {
    core: Weak<Core<dyn Value>>,
    key: Option<Key>,
}

impl Closing {
    pub(crate) fn new(core: Weak<Core<dyn Value>>) -> Self {
        Closing { core, key: None }
    }

    pub(crate) fn has_come(&self) -> bool {
        self.core.upgrade().is_none_or(|core| core.is_closed())
    }
}

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(core) = this.core.upgrade() else {
            return Poll::Ready(());
        };
        if !core.is_closed() {
            core.cold().closing.listen(&mut this.key, cx.waker());
        }
        // The closing may come before this future is on the list of listeners. See
        // `Closed::poll_end`.
        if core.is_closed() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Returns the output of `future`, or `None` if the resource is closed or dropped first.
pub(crate) async fn unless<F: Future>(closing: Closing, future: F) -> Option<F::Output> {
    let (mut closing, mut future) = (closing, pin!(future));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut closing).poll(cx).map(|()| None)
    })
    .await
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let (Some(key), Some(core)) = (self.key, self.core.upgrade()) {
            core.cold().closing.forget(key);
        }
    }
}

/// A future of the value of a closed resource, once all accepted tasks have finished; from
/// [`Resource::into_inner`](crate::Resource::into_inner).
///
/// If the `into_inner` of another handle has taken the value, the future resolves to
/// [`TaskError::Closed`]. If an asynchronous task awaits the future and must itself finish before
/// the end can come, the future resolves to [`TaskError::WouldDeadlock`]. The resource stays closed
/// in both cases.
///
/// Dropping the future leaves the resource closed. The value is then dropped with the last handle.
#[must_use = "this has closed the resource; await it, or call `wait`, to get the value"]
pub struct IntoInner<T> {
    core: Arc<Core<T>>,
    closed: Closed,
}

impl<T: Send + 'static> IntoInner<T> {
    /// Closes the resource of `core`, and returns the future of its value.
    pub(crate) fn new(core: Arc<Core<T>>) -> Self {
        core.close();
        let closed = Closed::new(Arc::clone(&core) as Arc<Core<dyn Value>>);
        IntoInner { core, closed }
    }

    /// Blocks until all accepted tasks have finished, and returns the value.
    ///
    /// # Errors
    /// - [`TaskError::Closed`] if the `into_inner` of another handle has taken the value.
    /// - [`TaskError::WouldDeadlock`] if the caller is inside a task that must finish before the
    ///   end can come. The resource stays closed, and its queued tasks still run.
    ///
    /// # In async code
    /// `wait` blocks the thread. `.await` the future instead.
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// let log = Resource::new(Vec::new());
    /// log.execute(|l| l.push("started"))?;
    /// assert_eq!(log.into_inner().wait()?, ["started"]);
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    pub fn wait(self) -> Result<T, TaskError> {
        loop {
            match self.core.take_value() {
                Ok(value) => return Ok(value),
                Err(NotTaken::Gone) => return Err(TaskError::Closed),
                Err(NotTaken::Busy) if wait(&self.closed.core, Duration::MAX) => {}
                Err(NotTaken::Busy) => return Err(TaskError::WouldDeadlock),
            }
        }
    }
}

impl<T: Send + 'static> Future for IntoInner<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.core.take_value() {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(NotTaken::Gone) => return Poll::Ready(Err(TaskError::Closed)),
                // If the end has come, another thread is taking the value now.
                Err(NotTaken::Busy) => std::task::ready!(self.closed.poll_awaited(cx))?,
            }
        }
    }
}

impl<T> fmt::Debug for IntoInner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoInner")
            .field("ended", &self.core.has_ended())
            .finish_non_exhaustive()
    }
}

/// Blocks until the end of the resource, for at most `timeout`; returns whether the end has come.
/// If the end could not come before this call returns, the call does not block.
pub(crate) fn wait(core: &Arc<Core<dyn Value>>, timeout: Duration) -> bool {
    let ends = || core.has_ended();
    let Ok(_wait) = Wait::begin(core.id(), &ends) else {
        return core.has_ended();
    };
    // A deadline that `Instant` cannot represent is no deadline.
    let deadline = core.host().after(timeout);
    let mut closed = Closed::new(Arc::clone(core));
    block_on(core, deadline, |cx| closed.poll_end(cx)).is_some()
}
