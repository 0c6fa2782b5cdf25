//! [`Resource::submit_async`]: tasks that wait, and keep their resource meanwhile.

use crate::future::completion::Completion;
use crate::raw::core::{Core, Value};
use crate::raw::run::start::FirstRun;
use crate::raw::submit::Admission;
use crate::raw::task::future::{AsyncBody, AsyncTask};
use crate::raw::task::tag::Given;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::sync::{Arc, Weak};

impl<T: Send + 'static> Resource<T> {
    /// Submits an asynchronous task, an async closure or an `async fn(&mut T)`: it may
    /// `.await`, with its borrow of the value in hand, and gives its thread back
    /// whenever it does.
    ///
    /// **It keeps the resource from its start to its end.** While it waits no thread is
    /// held, what else is submitted queues up in order, and nobody comes in between.
    /// Where others are to come in, do not wait inside of a task: await first and then
    /// [`submit`](Self::submit), or leave that to [`submit_when`](Self::submit_when).
    ///
    /// It is first polled where a plain task would run: at once, by this thread, if the
    /// resource is idle. When it is woken it goes on by a worker of the scheduler's pool.
    /// One that never waits takes one allocation more than `submit`; its first wait takes
    /// two, each other one, and all of them a hand-off.
    ///
    /// The future has to be `Send`, as for a multi-threaded runtime. It needs none: what
    /// it awaits has to wake it, as channels, completions of other resources and
    /// `async-io`'s sockets do. tokio's sockets and timers have to be made inside tokio.
    ///
    /// # Errors
    /// Through the completion, as for `submit`, with this difference: where it has a
    /// [capacity](crate::ResourceBuilder::capacity), it needs room if it has to be
    /// queued, and gives it back when it starts. [`TaskError::Cancelled`], and a warning in
    /// the log, if it waits and nobody has a waker of it any more: it could never go on.
    ///
    /// Inside of it, awaiting a completion of the same resource, or one that closes a
    /// circle across resources, is [`TaskError::WouldDeadlock`]. Each completion that was
    /// polled and neither resolved nor dropped since counts as awaited, so of a `select!`
    /// too. (It cannot see other waits: a channel whose other end is a task of this
    /// resource.)
    ///
    /// # Panics
    /// Never. A panic in a poll, or in the drop of the future, is the task's.
    ///
    /// # Cancellation
    /// [`Completion::cancel`], [`cancel_pending`](Self::cancel_pending), and a
    /// [deadline](crate::TaskBuilder::deadline), which bounds the whole task, drop the
    /// future where it waits. If it runs just then, [`cancel_token`](crate::cancel_token)
    /// tells, and it is dropped when it comes to wait next. [`close`](Self::close) waits
    /// for it.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::channel::oneshot;
    ///
    /// let log = Resource::new(vec!["begin"]);
    /// let (send, receive) = oneshot::channel();
    /// let waits = log.submit_async(async move |log| {
    ///     let line = receive.await.unwrap(); // the log is kept, and no thread
    ///     log.push(line);
    ///     log.len()
    /// });
    /// let after = log.submit(|log| log.push("end"));
    /// send.send("middle").unwrap();
    /// assert_eq!(waits.wait(), Ok(2));
    /// after.wait()?;
    /// assert_eq!(log.into_inner().wait()?, ["begin", "middle", "end"]);
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    ///
    /// [`TaskError::Cancelled`]: crate::TaskError::Cancelled
    /// [`TaskError::WouldDeadlock`]: crate::TaskError::WouldDeadlock
    pub fn submit_async<R, F>(&self, f: F) -> Completion<R>
    where
        F: AsyncFnOnce(&mut T) -> R + for<'a> AsyncTask<'a, T, R> + Send + 'static,
        R: Send + 'static,
    {
        self.submit_async_as(f, None)
    }

    pub(crate) fn submit_async_as<R, F>(&self, f: F, given: Given<'_>) -> Completion<R>
    where
        F: for<'a> AsyncTask<'a, T, R> + Send + 'static,
        R: Send + 'static,
    {
        let core = self.core();
        let queued = match core.try_start(AsyncBody::new(f), given) {
            Ok(FirstRun::Finished(outcome)) => return Completion::ready(outcome),
            Ok(FirstRun::Waits(task)) => Ok(task),
            Err(body) => core.queue_body(body, core.tag(given), Admission::Bounded),
        };
        match queued {
            Ok(task) => Completion::queued(task, Arc::downgrade(core) as Weak<Core<dyn Value>>),
            Err((error, body)) => Completion::ready(Err(panics::refused(error, body))),
        }
    }
}
