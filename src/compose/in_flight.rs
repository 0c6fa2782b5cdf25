//! The items that are *in flight*: an attachment or a sink has submitted their tasks, and these
//! tasks have not finished. All tasks call one closure on one resource, in order, and their number
//! is limited.
//!
//! The completions lie in a queue, oldest first. The tasks finish in that order, because the
//! resource runs them in that order. So only the oldest completion is polled.

use crate::error::TaskError;
use crate::future::completion::Completion;
use crate::raw::thread::panics;
use crate::resource::permit::Permit;
use crate::sync::{Arc, MODEL, Mutex, lock};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The most items in flight, by default. A model uses 2, so that tests reach the limit.
pub(crate) const LIMIT: usize = if MODEL { 2 } else { 64 };

/// A closure, and the tasks in flight that call it.
pub(crate) struct InFlight<F> {
    f: Arc<Closure<F>>,
    /// Oldest first. The tasks finish in this order.
    tasks: VecDeque<Completion<()>>,
    limit: usize,
}

impl<F> InFlight<F> {
    pub(crate) fn new(limit: usize, f: F) -> Self {
        InFlight {
            f: Arc::new(Closure(Mutex::new(Some(f)))),
            tasks: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    /// Resolves when at most `most` items are in flight, or with the error of the oldest task
    /// that failed.
    fn poll_most(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        while let Some(oldest) = self.tasks.front_mut() {
            let Poll::Ready(outcome) = Pin::new(oldest).poll(cx) else {
                break;
            };
            self.tasks.pop_front();
            outcome?;
        }
        match self.tasks.len() {
            left if left <= most => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Resolves when one more item may be sent, or with the error of a task that failed.
    pub(crate) fn poll_another(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.poll_most(self.limit - 1, cx)
    }

    /// Resolves when all tasks have finished, or with the error of a task that failed.
    pub(crate) fn poll_through(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.poll_most(0, cx)
    }

    /// Submits the task that calls the closure with `item`.
    pub(crate) fn send<T, I>(&mut self, permit: Permit<T>, item: I)
    where
        T: Send + 'static,
        I: Send + 'static,
        F: FnMut(&mut T, I) + Send + 'static,
    {
        let f = Arc::clone(&self.f);
        self.tasks.push_back(permit.submit(move |value| {
            // The closure stays in place if it panics, so the tasks of later items call it again.
            if let Some(f) = &mut *lock(&f.0) {
                f(value, item);
            }
        }));
    }
}

/// The closure that the tasks in flight call. Only tasks of one resource lock the closure, so the
/// lock is never contended. `None` only when the last owner drops the closure.
struct Closure<F>(Mutex<Option<F>>);

/// The closure's drop is user code. If it panics, the outcome of the last task stays as it is.
impl<F> Drop for Closure<F> {
    fn drop(&mut self) {
        let f = lock(&self.0).take();
        panics::contain("drop of a closure", || drop(f));
    }
}
