//! [`Resource::submit_async`]: tasks that await, and keep their resource while they wait.
//!
//! If the resource is idle, the core starts the task on this thread (`Core::try_start`). A task
//! that waits then, or that finds the resource busy, is in the queue, and the completion refers to
//! it. The protocol is in `docs/design/tasks-that-wait.md`.

use crate::future::completion::Completion;
use crate::raw::core::{Core, Value};
use crate::raw::run::start::FirstRun;
use crate::raw::submit::Admission;
use crate::raw::task::future::{AsyncBody, AsyncTask};
use crate::raw::task::tag::Given;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::sync::{Arc, Weak};

/// # Tasks that wait
impl<T: Send + 'static> Resource<T> {
    /// Submits an asynchronous task, which may `.await` while it borrows the value.
    ///
    /// `f` is an async closure or an `async fn(&mut T)`. The task holds no thread while it waits.
    ///
    /// **The task keeps the resource from its start to its end.** While the task waits, other tasks
    /// queue in order, and none of them runs. If other tasks should run during the wait, do not
    /// wait inside a task. Await first and then [`submit`](Self::submit), or use
    /// [`submit_when`](Self::submit_when). In the guide: [tasks that
    /// wait](crate::guide::tasks_that_wait).
    ///
    /// The first poll happens where a plain task would run: if the resource is idle, on this
    /// thread, at once. After a wake-up, a worker of the scheduler's pool continues the task. A
    /// task that never waits takes one allocation more than `submit`. The first wait takes two
    /// allocations, and each later wait takes one. Each wait also takes a hand-off.
    ///
    /// The future must be `Send`, as for a multi-threaded runtime. The task needs no runtime, but
    /// something must wake the task: a channel, a completion of another resource, or a socket of
    /// `async-io`. Sockets and timers of tokio must be created inside tokio.
    ///
    /// # Errors
    /// Errors arrive through the completion, as for [`submit`](Self::submit), with these
    /// differences:
    ///
    /// - On a resource with a [capacity](crate::ResourceBuilder::capacity), a task that must be
    ///   queued needs room. The room comes back when the task starts.
    /// - [`TaskError::Cancelled`], with a warning in the log, if the task waits and no waker of the
    ///   task is left. Such a task could never resume.
    ///
    /// If the task awaits a completion of the same resource, that completion resolves to
    /// [`TaskError::WouldDeadlock`]. So does a completion whose wait would close a circle of waits
    /// across resources. In both cases the awaited task still runs, and its result is dropped. If
    /// the completion [cancels on drop](Completion::cancel_on_drop) and the awaited task has not
    /// started, the awaited task is cancelled instead. A completion counts as awaited after its
    /// first poll, until it resolves or is dropped. So the completions of a `select!` count too.
    /// captor cannot see other waits, such as a channel whose other end is a task of this resource.
    ///
    /// # Panics
    /// Never. A panic in a poll, or in the drop of the future, is the task's outcome.
    ///
    /// # Cancellation
    /// [`Completion::cancel`], [`cancel_pending`](Self::cancel_pending) and a
    /// [deadline](crate::TaskBuilder::deadline) drop the future where it waits. The deadline bounds
    /// the whole task. If the task is running at that moment, its
    /// [`cancel_token`](crate::cancel_token) is set, and the future is dropped at its next wait.
    /// [`close`](Self::close) lets the task finish, and the end of the resource waits for the task.
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
