//! [`Resource::submit_steps`]: long jobs that let others in between.

use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;
use std::future::Future;

impl<T: Send + 'static> Resource<T> {
    /// Runs an asynchronous job that uses this resource step by step: what it submits
    /// with the handle that it is given are tasks like any others, and others come in
    /// between. It does not keep the resource while it awaits, as a task of
    /// [`submit_async`](Self::submit_async) does.
    ///
    /// No thread and no runtime is held: it is polled here and now at first (by a worker,
    /// with [`Dispatch::Pool`](crate::Dispatch::Pool)), and then by a worker of the
    /// scheduler's pool whenever it is woken. (A borrow of the value that
    /// lasted across a point where others come in would be unsound; so each step is a
    /// closure, and its borrow ends where others may begin.)
    ///
    /// The job keeps the resource alive. What is said at `submit_async` of runtimes, and
    /// of waits that would never end, holds here.
    ///
    /// # Errors
    /// Through the completion: if the resource refuses tasks, the job is not begun. A panic
    /// is its outcome. What its steps come to is for the job to look at.
    ///
    /// # Cancellation
    /// [`Completion::cancel`] drops the job where it waits; a step that is queued runs all
    /// the same, unless its completion [cancels on drop](Completion::cancel_on_drop).
    /// Dropping the completion leaves the job.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::channel::oneshot;
    ///
    /// let stock = Resource::new(1);
    /// let (send, receive) = oneshot::channel();
    /// let order = stock.submit_steps(async move |stock| {
    ///     let before = stock.submit(|n| *n).await?;
    ///     let more = receive.await.unwrap_or(0); // others are let in meanwhile
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
