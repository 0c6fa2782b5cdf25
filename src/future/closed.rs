//! Awaiting the end of a closed resource, and taking its value back.

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

/// Resolves once a resource is closed and nothing is queued or running; from
/// [`Resource::closed`](crate::Resource::closed).
///
/// It keeps the resource's value alive. Dropping it is free of consequences.
///
/// Awaited inside an asynchronous task that the end has to wait for (one of the same
/// resource, or of one that waits for it), it does not resolve: if nobody else has a waker of
/// the task, that is cancelled, with a warning in the log. (What keeps wakers of its own,
/// such as `FuturesUnordered`, hides that nobody has one.)
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
    /// Under which its waker is registered, if it is.
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
        // The end may have come before we were on the list. If who tells of it took the
        // list before, its lock brings what they did before that; if not, we are told.
        match self.core.has_ended() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The same, and notes who awaits it. A task that the end would have to wait for is
    /// not kept for it.
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
            // It came just now.
            Err(WouldDeadlock) if self.core.has_ended() => Poll::Ready(Ok(())),
            Err(error) => {
                // The circle may come to be broken elsewhere.
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
            // It would never come, and the task is given up if it waits for nothing else.
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

/// Resolves once a resource is closed, or gone. It does not keep it.
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
        // It may have come before we were on the list: as for the end.
        if core.is_closed() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The output of `future`, unless the resource is closed, or gone, before that.
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

/// Resolves to the value of a resource, once everything that it accepted is
/// through; from [`Resource::into_inner`](crate::Resource::into_inner).
///
/// It resolves to [`TaskError::Closed`] where another handle's `into_inner` has
/// taken the value. Dropping it leaves the value to the last handle, and the
/// resource closed.
#[must_use = "without awaiting it, this only closes the resource"]
pub struct IntoInner<T> {
    core: Arc<Core<T>>,
    closed: Closed,
}

impl<T: Send + 'static> IntoInner<T> {
    /// Closes the resource of `core`.
    pub(crate) fn new(core: Arc<Core<T>>) -> Self {
        core.close();
        let closed = Closed::new(Arc::clone(&core) as Arc<Core<dyn Value>>);
        IntoInner { core, closed }
    }

    /// Blocks until the value is there.
    ///
    /// # Errors
    /// [`TaskError::Closed`]: another handle's `into_inner` has taken it.
    /// [`TaskError::WouldDeadlock`]: this is called by a task that the end has to
    /// wait for. The resource is closed all the same.
    ///
    /// # In async code
    /// It blocks the thread: `.await` the future instead.
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
                // If it is ready, another is taking the value just now.
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

/// Blocks until the end, for `timeout` at most; not at all where it could not
/// come before this returns.
pub(crate) fn wait(core: &Arc<Core<dyn Value>>, timeout: Duration) -> bool {
    let ends = || core.has_ended();
    let Ok(_wait) = Wait::begin(core.id(), &ends) else {
        return core.has_ended();
    };
    // A deadline past the end of time is none.
    let deadline = core.host().after(timeout);
    let mut closed = Closed::new(Arc::clone(core));
    block_on(core, deadline, |cx| closed.poll_end(cx)).is_some()
}
