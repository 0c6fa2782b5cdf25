//! Batches: many closures as one task, which calls them in turn. So no task runs between them,
//! and the batch is cancelled as a whole.

use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::Resource;

/// # Batches
impl<T: Send + 'static> Resource<T> {
    /// Submits many closures as one task. The closures run in the iterator's order, and no other
    /// task runs between them. The completion has all results, in that order.
    ///
    /// A batch is **one task**, and behaves as a task of [`submit`](Self::submit):
    ///
    /// - If the resource is idle, the batch runs before this call returns.
    /// - A queued batch costs one allocation beside the vector of closures.
    /// - The batch is cancelled as a whole, and counts as one task in the statistics.
    /// - The batch also counts as one task for the [capture
    ///   limit](crate::ResourceBuilder::capture_limit) and a worker's
    ///   [quantum](crate::SchedulerBuilder::quantum). Both are checked only between tasks, so keep
    ///   batches short.
    /// - The batch has the resource's default priority, no deadline and no name.
    ///
    /// The caller first runs the iterator to its end, outside of the resource. An empty batch is a
    /// task too. O(n) for n closures.
    ///
    /// If each closure must have a completion of its own, submit the closures one by one. To await
    /// the completions together, use `join_all`, `try_join_all` or `select_ok` of the `futures`
    /// crate: a [`Completion`] is a future like any other.
    ///
    /// # Errors
    /// Errors arrive through the completion, as for [`submit`](Self::submit). If a closure panics,
    /// the panic is the outcome. The closures after it do not run, and the results of the closures
    /// before it are dropped. The changes that they made to the value stay, as after any task that
    /// panics halfway.
    ///
    /// # Panics
    /// Panics only if the iterator panics. Nothing is submitted then.
    ///
    /// # Cancellation
    /// [`Completion::cancel`] cancels the whole batch, or nothing if the batch has started.
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
    /// For comparison, one submission for each closure, on several resources at once:
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
                        // The results are dropped before the panic resumes, each drop contained.
                        // If an unwind dropped them, a panic in a drop would abort.
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

/// A closure of a batch. If several closures are dropped unrun, each drop is contained: two panics
/// at once would abort.
struct BatchItem<F>(Option<F>);

impl<F> Drop for BatchItem<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            panics::contain("drop of a closure", || drop(f));
        }
    }
}
