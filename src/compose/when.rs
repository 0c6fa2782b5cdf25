//! [`Resource::submit_when`]: a task that is queued when a future resolves. An errand polls the
//! future, and the task is the errand's continuation.

use crate::future::closed::unless;
use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;
use std::future::Future;

/// # When a future resolves
impl<T: Send + 'static> Resource<T> {
    /// Queues `f` with the output of `future`, when `future` resolves. Until then the resource is
    /// free, and no thread waits. After a wake-up, a worker of the scheduler's pool polls the
    /// future.
    ///
    /// The caller's thread polls the future once, before this call returns. With
    /// [`Dispatch::Pool`](crate::Dispatch::Pool), a worker polls the future first. If the future is
    /// ready at this poll, the call continues as [`submit`](Self::submit). Otherwise `f` has its
    /// place in the order as if it were submitted when the future resolves. The resource is kept
    /// alive until then. If the future has to wait, this costs 6 allocations.
    ///
    /// The future runs as an [asynchronous task](Self::submit_async) of a resource of its own. The
    /// future needs no runtime, but an event that it awaits must wake the future. tokio's timers
    /// and sockets must be created inside tokio.
    ///
    /// If no waker of the future is left, captor does not notice. Closing the resource would end
    /// the wait, so the wait does not count as endless. The resource is kept alive until it is
    /// closed.
    ///
    /// # Errors
    /// Errors arrive through the completion.
    ///
    /// - If the resource refuses tasks when this is called, the refusal is the outcome. The future
    ///   is not polled.
    /// - If the future panics, `f` is dropped and the panic is the outcome.
    /// - If the resource is closed before the future resolves, the outcome is
    ///   [`TaskError::Closed`](crate::TaskError::Closed).
    /// - If the resource refuses `f` when the future has resolved, the refusal is the outcome. A
    ///   full resource refuses `f`. The output is dropped with `f`.
    /// - If `f` panics, the panic is the outcome.
    ///
    /// # Panics
    /// Never. A panic of the future or of `f` is the outcome.
    ///
    /// # Cancellation
    /// [`Completion::cancel`] drops the future and `f`, or takes `f` back out of the queue.
    /// Dropping the completion leaves the future and `f` in place. Closing the resource ends the
    /// wait.
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
    /// assert_eq!(stock.with(|stock| *stock), Ok(3)); // the resource is free meanwhile
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
                None => unreachable!("a closed resource refuses the task"),
            })
    }
}
