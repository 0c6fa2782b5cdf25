//! Batches: many closures as one task.

use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;

impl<T: Send + 'static> Resource<T> {
    /// Submits many closures in one step. They run in the iterator's order with
    /// nothing between them; the completion has all results, in that order.
    ///
    /// A batch is **one task**, and all that is said of
    /// [`submit`](Self::submit) goes for it: it runs here and now on an idle
    /// resource, is queued with one allocation beside the vector of closures,
    /// is cancelled as a whole, and counts as one in the statistics. It also
    /// counts as one for the [capture
    /// limit](crate::ResourceBuilder::capture_limit) and a worker's
    /// [quantum](crate::SchedulerBuilder::quantum), which look between tasks
    /// only: keep batches short. It has the resource's default priority, no deadline
    /// and no name. The iterator is run to its end first, by the
    /// caller, outside of the resource. An empty batch is a task, too. O(n).
    ///
    /// For a result each, awaited together, submit one by one and use
    /// `join_all`, `try_join_all` or `select_ok` of the `futures` crate: a
    /// [`Completion`] is a future like any other.
    ///
    /// # Errors
    /// Through the completion, as for [`submit`](Self::submit). If a closure
    /// panics, that is the outcome: those after it do not run, and the results
    /// of those before it are dropped. What those did to the value stays, as
    /// with half of any task.
    ///
    /// # Panics
    /// Only if the iterator does; nothing is submitted then.
    ///
    /// # Cancellation
    /// See [`Completion`]: all or none.
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// let log = Resource::new(Vec::new());
    /// let lengths = log.submit_batch(["a", "b", "c"].map(|line| {
    ///     move |log: &mut Vec<_>| {
    ///         log.push(line);
    ///         log.len()
    ///     }
    /// }));
    /// assert_eq!(lengths.wait(), Ok(vec![1, 2, 3]));
    /// ```
    ///
    /// Beside it, one by one, on several resources at once:
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    /// use futures::future::{join_all, select_ok};
    ///
    /// # futures::executor::block_on(async {
    /// let shards: Vec<_> = (1..4).map(Resource::new).collect();
    /// let all = join_all(shards.iter().map(|s| s.submit(|n| *n * 10))).await;
    /// assert_eq!(all, [Ok(10), Ok(20), Ok(30)]);
    ///
    /// shards[0].close();
    /// let (first, _others) = select_ok(shards.iter().map(|s| s.submit(|n| *n))).await?;
    /// assert_eq!(first, 2);
    /// # Ok::<(), TaskError>(())
    /// # }).unwrap();
    /// ```
    pub fn submit_batch<I, R, F>(&self, batch: I) -> Completion<Vec<R>>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let batch: Vec<_> = batch.into_iter().map(|f| BatchItem(Some(f))).collect();
        self.submit(move |value| {
            let mut results = Vec::with_capacity(batch.len());
            for mut part in batch {
                let Some(f) = part.0.take() else { continue };
                match panics::catch(|| f(value)) {
                    Ok(result) => results.push(result),
                    Err(panic) => {
                        // Before it goes on: one that is dropped by an unwind
                        // must not panic.
                        for result in results {
                            panics::contain("drop of a result", || drop(result));
                        }
                        panic.resume();
                    }
                }
            }
            results
        })
    }
}

/// A closure of a batch. Where several are dropped unrun, the panic of one must
/// not meet the panic of another.
struct BatchItem<F>(Option<F>);

impl<F> Drop for BatchItem<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            panics::contain("drop of a closure", || drop(f));
        }
    }
}
