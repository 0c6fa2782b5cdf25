//! [`Resource::submit_when`]: a task that is queued when a future resolves.

use crate::future::closed::unless;
use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;
use std::future::Future;

impl<T: Send + 'static> Resource<T> {
    /// Queues `f` once `future` resolves, with its output. The resource is free
    /// meanwhile, and nobody waits: whoever wakes the future has it polled by a worker
    /// of the scheduler's pool.
    ///
    /// The future is polled once here and now (by a worker, with
    /// [`Dispatch::Pool`](crate::Dispatch::Pool)). If it is ready, this is
    /// [`submit`](Self::submit). Otherwise the place of `f` in the order is that of a
    /// task which is submitted when the future resolves. `self` is kept alive until
    /// then. Four allocations.
    ///
    /// The future is an [asynchronous task](Self::submit_async) of a resource of its own;
    /// what is said there of runtimes holds here. Of waits that would never end it does not
    /// quite: closing the resource would end this one, so it is not noticed if nobody has a
    /// waker of the future any more, and the resource is kept until then.
    ///
    /// # Errors
    /// As for [`then`](Completion::then), with the future in the place of the first task:
    /// if it panics, `f` is dropped and that is the outcome. If the resource refuses
    /// tasks, the future is not polled.
    ///
    /// # Panics
    /// Never; a panic of either is the outcome.
    ///
    /// # Cancellation
    /// [`Completion::cancel`] drops the future and `f`, or takes `f` back out of the queue.
    /// Dropping the completion leaves both. Closing the resource ends the wait.
    ///
    /// ```
    /// use captor::Resource;
    /// use futures::channel::oneshot;
    ///
    /// let stock = Resource::new(3);
    /// let (delivers, delivery) = oneshot::channel();
    /// let delivered = stock.submit_when(delivery, |stock, apples: Result<u32, _>| {
    ///     *stock += apples.unwrap_or(0);
    ///     *stock
    /// });
    /// assert_eq!(stock.with(|stock| *stock), Ok(3)); // it is free meanwhile
    /// delivers.send(4).unwrap();
    /// assert_eq!(delivered.wait(), Ok(7));
    /// ```
    pub fn submit_when<Fut, R, F>(&self, future: Fut, f: F) -> Completion<R>
    where
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
        F: FnOnce(&mut T, Fut::Output) -> R + Send + 'static,
        R: Send + 'static,
    {
        if let Some(error) = self.refusal_if_any() {
            return Completion::ready(Err(panics::refused(error, (future, f))));
        }
        let closing = self.closing();
        self.errand()
            .submit_async(async move |(): &mut ()| unless(closing, future).await)
            .then(self, move |value, output| match output {
                Some(output) => f(value, output),
                None => unreachable!("a closed resource refuses it"),
            })
    }
}
