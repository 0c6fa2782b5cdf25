//! [`Resource::attach`]: each item of a stream becomes a task.

use crate::compose::in_flight::{InFlight, LIMIT};
use crate::error::TaskError;
use crate::future::closed::Closing;
use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::resource::weak::WeakResource;
use futures_core::Stream;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::replace;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

impl<T: Send + 'static> Resource<T> {
    /// Calls `f` for each item of `stream`, in order, each time as a task of its own.
    ///
    /// No thread waits for the stream: whoever wakes it has it polled by a worker of the
    /// scheduler's pool. At most 64 items are on their way at a time, taken from the
    /// stream and not yet worked off; then the stream is not polled until the oldest is
    /// through ([`attach_limited`](Self::attach_limited) sets another number). Where the
    /// resource has a [capacity](crate::ResourceBuilder::capacity), each item waits for
    /// room in line with others. So a stream that is faster than the resource is held
    /// back, if it can be.
    ///
    /// The attachment does not keep the resource alive, and ends when that is closed, or
    /// its last handle goes. If nobody has a waker of the stream any more, that is not
    /// noticed.
    ///
    /// # Errors
    /// Through the [`Attachment`], which ends with the first error: a panic of `f` or of
    /// the stream, [`TaskError::Closed`] or [`TaskError::Poisoned`] if the resource refuses
    /// an item or is gone, [`TaskError::Cancelled`] if an item's task was cancelled, or it
    /// was [detached](Attachment::detach). The stream is dropped then.
    ///
    /// # Cancellation
    /// Dropping the [`Attachment`] leaves the stream attached.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::stream;
    ///
    /// let sum = Resource::new(0);
    /// let adds = sum.attach(stream::iter(1..=4), |sum, n| *sum += n);
    /// assert_eq!(adds.wait(), Ok(4)); // so many items
    /// assert_eq!(sum.with(|sum| *sum), Ok(10));
    /// ```
    pub fn attach<S, F>(&self, stream: S, f: F) -> Attachment
    where
        S: Stream + Send + 'static,
        S::Item: Send + 'static,
        F: FnMut(&mut T, S::Item) + Send + 'static,
    {
        self.attach_limited(LIMIT, stream, f)
    }

    /// [`attach`](Self::attach), with at most `limit` items on their way, and at least one.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::stream;
    ///
    /// let log = Resource::new(Vec::new());
    /// let lines = log.attach_limited(1, stream::iter(["a", "b"]), |log, line| log.push(line));
    /// assert_eq!(lines.wait(), Ok(2));
    /// ```
    pub fn attach_limited<S, F>(&self, limit: usize, stream: S, f: F) -> Attachment
    where
        S: Stream + Send + 'static,
        S::Item: Send + 'static,
        F: FnMut(&mut T, S::Item) + Send + 'static,
    {
        let to = To {
            resource: self.downgrade(),
            items: InFlight::new(limit, f),
            closing: self.closing(),
        };
        let drive = async move |(): &mut ()| Ending(to.drive(stream).await);
        Attachment(self.errand().submit_async(drive))
    }
}

/// What an attachment came to. A panic in it is in the log if nobody takes it.
struct Ending(Result<u64, TaskError>);

impl Ending {
    fn take(mut self) -> Result<u64, TaskError> {
        replace(&mut self.0, Ok(0))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        panics::drop_outcome(replace(&mut self.0, Ok(0)));
    }
}

/// Gives up its turn.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Where the items go.
struct To<T, F> {
    resource: WeakResource<T>,
    items: InFlight<F>,
    closing: Closing,
}

impl<T: Send + 'static, F> To<T, F> {
    async fn drive<S>(mut self, stream: S) -> Result<u64, TaskError>
    where
        S: Stream + Send,
        S::Item: Send + 'static,
        F: FnMut(&mut T, S::Item) + Send + 'static,
    {
        let mut stream = pin!(stream);
        let mut items = 0;
        while let Some(item) = poll_fn(|cx| self.poll_next(stream.as_mut(), cx)).await? {
            let resource = self.resource.upgrade().ok_or(TaskError::Closed)?;
            self.items.send(resource.reserve().await?, item);
            items += 1;
            if items % LIMIT as u64 == 0 {
                // A stream that is always ready is no reason to keep this thread.
                yield_now().await;
            }
        }
        poll_fn(|cx| self.items.poll_through(cx)).await?;
        Ok(items)
    }

    /// The next item, if there is one, and if another may be on its way.
    fn poll_next<S: Stream>(
        &mut self,
        stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<S::Item>, TaskError>> {
        let next = match self.items.poll_another(cx)? {
            Poll::Ready(()) => stream.poll_next(cx),
            Poll::Pending => Poll::Pending,
        };
        if next.is_pending() && Pin::new(&mut self.closing).poll(cx).is_ready() {
            return Poll::Ready(Err(TaskError::Closed));
        }
        next.map(Ok)
    }
}

/// A stream whose items become tasks; from [`Resource::attach`].
///
/// A future of the number of items, once the stream has ended and all of them have been
/// worked off.
#[must_use = "how it ends is told here, errors too; drop it to leave the stream attached"]
pub struct Attachment(Completion<Ending>);

impl Attachment {
    /// Blocks this thread until the stream has ended, as [`Completion::wait`] does.
    ///
    /// # Errors
    /// See [`Resource::attach`]; and [`TaskError::WouldDeadlock`] inside a task of the
    /// resource.
    ///
    /// # Panics
    /// If the outcome was taken by polling before.
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    /// use futures::stream;
    ///
    /// let r = Resource::new(());
    /// r.close();
    /// let attachment = r.attach(stream::iter([1]), |_, _| ());
    /// assert_eq!(attachment.wait(), Err(TaskError::Closed));
    /// ```
    pub fn wait(self) -> Result<u64, TaskError> {
        self.0.wait().and_then(Ending::take)
    }

    /// [`wait`](Self::wait), but for `timeout` at most.
    ///
    /// # Errors
    /// The attachment itself, if the stream had not ended by then.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::channel::mpsc;
    /// use std::time::Duration;
    ///
    /// let (send, receive) = mpsc::unbounded::<u32>();
    /// let sum = Resource::new(0);
    /// let attachment = sum.attach(receive, |sum, n| *sum += n);
    /// assert!(attachment.wait_timeout(Duration::from_millis(5)).is_err());
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<u64, TaskError>, Self> {
        match self.0.wait_timeout(timeout) {
            Ok(outcome) => Ok(outcome.and_then(Ending::take)),
            Err(waits) => Err(Attachment(waits)),
        }
    }

    /// Has it ended?
    ///
    /// ```
    /// let r = captor::Resource::new(0);
    /// assert!(r.attach(futures::stream::empty::<u32>(), |_, _| ()).is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Ends it. (Not as `detach` of a runtime's task, which leaves that running: for that,
    /// drop the attachment.) It takes no more items: the stream is dropped, by a worker,
    /// when a poll of it that is under way has returned. Those on their way are worked off.
    /// It ends with [`TaskError::Cancelled`], unless it had ended before.
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    /// use futures::channel::mpsc;
    ///
    /// let (send, receive) = mpsc::unbounded::<u32>();
    /// let sum = Resource::new(0);
    /// let attachment = sum.attach(receive, |sum, n| *sum += n);
    /// attachment.detach();
    /// assert_eq!(attachment.wait(), Err(TaskError::Cancelled));
    /// assert!(send.is_closed());
    /// ```
    pub fn detach(&self) {
        self.0.cancel();
    }
}

impl Future for Attachment {
    type Output = Result<u64, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|outcome| outcome.and_then(Ending::take))
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("finished", &self.is_finished())
            .finish()
    }
}
