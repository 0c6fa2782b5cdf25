//! [`Resource::sink`]: a resource as the end of a pipeline. Each item that is sent becomes a task,
//! with a limit for the items in flight. No errand is needed, since the sender polls the sink.

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

/// # Sinks
impl<T: Send + 'static> Resource<T> {
    /// Returns a sink that calls `f` with each item that is sent, in order, each time as a task of
    /// its own.
    ///
    /// An item is in flight once it is sent, and until its task has finished. At most 64 items are
    /// in flight. If the resource has a [capacity](crate::ResourceBuilder::capacity), each item
    /// waits for room in line with other submitters. The sink is not ready at the limit, or while
    /// there is no room. So the sink holds the sender back.
    ///
    /// Flushing or closing the sink waits until the tasks of all items have finished. Closing the
    /// sink leaves the resource open. The sink keeps the resource alive.
    ///
    /// A stream of results needs nothing of captor's. `items.map(|item| r.submit(..))` is a stream
    /// of futures, and `buffered(n)` of the futures crate yields their outputs in order, with at
    /// most n in flight. In the guide: [streams](crate::guide::streams).
    ///
    /// # Errors
    /// The sink returns the error of each failed task once. If the resource refuses an item, the
    /// sink returns the reason. After an error, the sink accepts further items.
    ///
    /// A panic of `f` ends only that call of `f`: the panic is the error of that item's task. `f`
    /// keeps what it captured, and the tasks of all later items call `f` again.
    ///
    /// # Panics
    /// `start_send` panics if the sink was not ready, as the contract of [`Sink`] allows.
    ///
    /// # Cancellation
    /// Dropping the sink leaves the tasks of the items that were sent.
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

/// A sink whose items become tasks, from [`Resource::sink`].
#[must_use = "a sink does nothing until an item is sent"]
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

// No field is pinned.
impl<T, I, F> Unpin for Commands<T, I, F> {}

impl<T, I, F> fmt::Debug for Commands<T, I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}
