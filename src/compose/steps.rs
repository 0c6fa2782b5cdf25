//! [`Resource::submit_steps`]: an asynchronous job whose steps are tasks, so that other tasks run
//! in between. An errand polls the job.

use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;
use std::future::Future;

/// # Jobs in steps
impl<T: Send + 'static> Resource<T> {
    /// Runs an asynchronous job that uses this resource step by step. The job gets a handle, and
    /// each closure that it submits with this handle is a task like any other. Other tasks run in
    /// between. Unlike a task of [`submit_async`](Self::submit_async), the job does not hold the
    /// resource while it awaits.
    ///
    /// The job holds no thread and needs no runtime. The caller's thread polls the job first,
    /// before this call returns. With [`Dispatch::Pool`](crate::Dispatch::Pool), a worker polls the
    /// job first. After each wake-up, a worker of the scheduler's pool polls the job.
    ///
    /// Each step is a closure, and its borrow of the value ends where other tasks may begin. A
    /// borrow that lasted while other tasks run would be unsound.
    ///
    /// The job keeps the resource alive. The job runs as an asynchronous task of a resource of its
    /// own. The rules for asynchronous tasks hold here too:
    ///
    /// - An event that the job awaits must wake the job. tokio's timers and sockets must be created
    ///   inside tokio.
    /// - If no waker of the job is left, the job is cancelled, with a warning in the log.
    /// - If the job awaits a completion and that wait closes a circle of waits, the completion
    ///   resolves to [`TaskError::WouldDeadlock`](crate::TaskError::WouldDeadlock).
    ///
    /// In the guide: [steps and events](crate::guide::steps_and_events).
    ///
    /// # Errors
    /// Errors arrive through the completion. If the resource refuses tasks, the refusal is the
    /// outcome, and the job does not begin. If the job panics, the panic is the outcome. The
    /// outcome of each step goes to the job, which must handle it.
    ///
    /// # Cancellation
    /// [`Completion::cancel`] drops the job at its wait. A queued step still runs, unless its
    /// completion [cancels on drop](Completion::cancel_on_drop). Dropping the completion leaves the
    /// job running.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::channel::oneshot;
    ///
    /// let stock = Resource::new(1);
    /// let (send, receive) = oneshot::channel();
    /// let order = stock.submit_steps(async move |stock| {
    ///     let before = stock.submit(|n| *n).await?;
    ///     let more = receive.await.unwrap_or(0); // other tasks run meanwhile
    ///     let after = stock.submit(move |n| { *n += more; *n }).await?;
    ///     Ok::<_, captor::TaskError>((before, after))
    /// });
    /// stock.execute(|n| *n = 10)?;
    /// send.send(5).unwrap();
    /// assert_eq!(order.wait()?, Ok((1, 15)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit_steps<R, F, Fut>(&self, f: F) -> Completion<R>
    where
        F: FnOnce(Resource<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Send + 'static,
    {
        if let Some(error) = self.refusal_if_any() {
            return Completion::ready(Err(panics::refused(error, f)));
        }
        let resource = self.clone();
        self.errand()
            .submit_async(async move |(): &mut ()| f(resource).await)
    }
}
