//! [`Resource::sink`]: a resource as the end of a pipeline.

use crate::compose::in_flight::{InFlight, LIMIT};
use crate::error::TaskError;
use crate::resource::Resource;
use crate::resource::permit::{Permit, Reserve};
use futures_sink::Sink;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl<T: Send + 'static> Resource<T> {
    /// A sink of commands: `f` is called with each item that is sent, in order, each time
    /// as a task of its own.
    ///
    /// At most 64 items are on their way at a time, sent and not yet worked off; where the
    /// resource has a [capacity](crate::ResourceBuilder::capacity), each waits for room
    /// in line with others. Until then the sink is not ready, which holds back whoever
    /// sends. To flush it is to wait until all are worked off; so is to close it, which
    /// leaves the resource open.
    ///
    /// (Results as a stream need nothing of captor's: `items.map(|item| r.submit(..))` and
    /// `buffered(n)`, of the futures crate, give them in order, n at a time.)
    ///
    /// # Errors
    /// By the sink, once: what the first task that failed came to, or why the resource
    /// refuses. It goes on with what is sent after that.
    ///
    /// # Panics
    /// As the contract of sinks has it, `start_send` panics if the sink was not ready.
    ///
    /// # Cancellation
    /// Dropping the sink leaves what was sent.
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    /// use futures::{SinkExt, StreamExt, stream};
    ///
    /// # futures::executor::block_on(async {
    /// let log = Resource::new(Vec::new());
    /// let mut sink = log.sink(|log, line: &str| log.push(line));
    /// sink.send("one").await?;
    /// stream::iter(["two", "three"]).map(Ok).forward(sink).await?;
    /// assert_eq!(log.submit(|log| log.len()).await, Ok(3));
    /// # Ok::<(), TaskError>(())
    /// # }).unwrap();
    /// ```
    pub fn sink<I, F>(&self, f: F) -> Commands<T, I, F>
    where
        I: Send + 'static,
        F: FnMut(&mut T, I) + Send + 'static,
    {
        Commands {
            resource: self.clone(),
            items: InFlight::new(LIMIT, f),
            next: NextSlot::None,
            item: PhantomData,
        }
    }
}

/// A sink whose items become tasks; from [`Resource::sink`].
#[must_use = "sinks do nothing unless something is sent"]
pub struct Commands<T, I, F> {
    resource: Resource<T>,
    items: InFlight<F>,
    next: NextSlot<T>,
    item: PhantomData<fn(I)>,
}

/// Room for the next item.
enum NextSlot<T> {
    None,
    Reserving(Reserve<T>),
    Reserved(Permit<T>),
}

impl<T, I, F> Sink<I> for Commands<T, I, F>
where
    T: Send + 'static,
    I: Send + 'static,
    F: FnMut(&mut T, I) + Send + 'static,
{
    type Error = TaskError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        let this = &mut *self;
        loop {
            match &mut this.next {
                NextSlot::Reserved(_) => return Poll::Ready(Ok(())),
                NextSlot::None => {
                    ready!(this.items.poll_another(cx))?;
                    this.next = NextSlot::Reserving(this.resource.reserve());
                }
                NextSlot::Reserving(reserve) => {
                    let reserved = ready!(Pin::new(reserve).poll(cx));
                    this.next = NextSlot::None;
                    this.next = NextSlot::Reserved(reserved?);
                }
            }
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: I) -> Result<(), TaskError> {
        match std::mem::replace(&mut self.next, NextSlot::None) {
            NextSlot::Reserved(permit) => self.items.send(permit, item),
            _ => panic!("the sink is not ready: `poll_ready` comes before `start_send`"),
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.items.poll_through(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.poll_flush(cx)
    }
}

// Nothing in it is pinned.
impl<T, I, F> Unpin for Commands<T, I, F> {}

impl<T, I, F> fmt::Debug for Commands<T, I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}
