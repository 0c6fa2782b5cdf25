//! [`Resource::attach`]: each item of a stream becomes a task. An errand polls the stream and
//! submits a task for each item, with a limit for the items in flight.

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

/// # Streams
impl<T: Send + 'static> Resource<T> {
    /// Calls `f` for each item of `stream`, in order, each time as a task of its own.
    ///
    /// No thread waits for the stream. After a wake-up, a worker of the scheduler's pool polls the
    /// stream.
    ///
    /// An item is in flight once the stream has yielded the item, and until its task has finished.
    /// By default, at most 64 items are in flight. [`attach_limited`](Self::attach_limited) sets
    /// another limit. At the limit, the stream is not polled until the oldest item's task has
    /// finished. If the resource has a [capacity](crate::ResourceBuilder::capacity), each item
    /// waits for room in line with other submitters. So a stream that is faster than the resource
    /// is held back, if the stream can be held back.
    ///
    /// The attachment does not keep the resource alive. The attachment ends when the resource is
    /// closed or its last handle is dropped. If no waker of the stream is left, captor does not
    /// notice. In the guide: [steps and events](crate::guide::steps_and_events).
    ///
    /// # Errors
    /// The [`Attachment`] resolves to the first error, and the stream is dropped then:
    ///
    /// - the panic, if `f` or the stream panics;
    /// - [`TaskError::Closed`] or [`TaskError::Poisoned`], if the resource refuses an item or is
    ///   gone;
    /// - [`TaskError::Cancelled`], if an item's task was cancelled, or the attachment was
    ///   [detached](Attachment::detach).
    ///
    /// A panic of `f` ends only that call of `f`. `f` keeps what it captured. The attachment takes
    /// no more items, but `f` is called again for the items that were in flight already.
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
    /// assert_eq!(adds.wait(), Ok(4)); // the number of items
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

    /// Calls `f` for each item of `stream`, as [`attach`](Self::attach) does, with at most `limit`
    /// items in flight. A limit of 0 counts as 1.
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

/// The outcome of an attachment. If the outcome is a panic and no caller takes it, the drop logs
/// the panic.
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

/// Wakes its own task and waits once, so that other tasks get the thread.
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

/// The stream of an attachment. The stream's drop is user code. If it panics, the outcome of the
/// attachment stays as it is.
struct Source<'a, S>(Pin<&'a mut Option<S>>);

impl<S> Drop for Source<'_, S> {
    fn drop(&mut self) {
        panics::contain("drop of a stream", || self.0.set(None));
    }
}

/// Moves the items of a stream to a resource.
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
        let stream = pin!(Some(stream));
        let mut stream = Source(stream);
        let mut items = 0;
        while let Some(item) = poll_fn(|cx| self.poll_next(&mut stream, cx)).await? {
            let resource = self.resource.upgrade().ok_or(TaskError::Closed)?;
            self.items.send(resource.reserve().await?, item);
            items += 1;
            if items % LIMIT as u64 == 0 {
                // A stream that is always ready must not keep this thread.
                yield_now().await;
            }
        }
        poll_fn(|cx| self.items.poll_through(cx)).await?;
        Ok(items)
    }

    /// Polls for the next item, unless the limit of items in flight is reached. Fails when the
    /// resource is closed or gone.
    fn poll_next<S: Stream>(
        &mut self,
        stream: &mut Source<'_, S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<S::Item>, TaskError>> {
        let next = match self.items.poll_another(cx)? {
            Poll::Ready(()) => match stream.0.as_mut().as_pin_mut() {
                Some(stream) => stream.poll_next(cx),
                None => Poll::Ready(None),
            },
            Poll::Pending => Poll::Pending,
        };
        if next.is_pending() && Pin::new(&mut self.closing).poll(cx).is_ready() {
            return Poll::Ready(Err(TaskError::Closed));
        }
        next.map(Ok)
    }
}

/// A stream whose items become tasks, from [`Resource::attach`].
///
/// This is a future of the number of items. It resolves when the stream has ended and all items'
/// tasks have finished, and earlier at the first error.
#[must_use = "an attachment returns the errors of the stream; drop it to leave the stream attached"]
pub struct Attachment(Completion<Ending>);

impl Attachment {
    /// Blocks this thread until the stream has ended and all items' tasks have finished, or until
    /// the first error. Waits as [`Completion::wait`] does.
    ///
    /// # Errors
    /// Returns the first error, as listed at [`Resource::attach`]. Inside a task of the resource,
    /// the error is [`TaskError::WouldDeadlock`].
    ///
    /// # Panics
    /// Panics if the outcome was taken by polling before.
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

    /// Blocks this thread like [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    /// Returns the attachment if it has not ended when the timeout is over.
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

    /// Checks whether the attachment has ended.
    ///
    /// ```
    /// let r = captor::Resource::new(0);
    /// assert!(r.attach(futures::stream::empty::<u32>(), |_, _| ()).is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Ends the attachment: no more items are taken from the stream. A worker drops the stream. If
    /// a poll of the stream is under way, the drop comes after that poll. The tasks of items in
    /// flight still run. The attachment resolves to [`TaskError::Cancelled`], unless it had ended
    /// before.
    ///
    /// Unlike `detach` of a runtime's task, this does not leave the work running. To leave the
    /// stream attached, drop the attachment.
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
