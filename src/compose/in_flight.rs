//! Items that become tasks of one resource: at most so many at a time, in order.

use crate::error::TaskError;
use crate::future::completion::Completion;
use crate::resource::permit::Permit;
use crate::sync::{Arc, MODEL, Mutex, lock};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How many items are on their way, unless it is said. (In a model, no more than it
/// takes to be too many.)
pub(crate) const LIMIT: usize = if MODEL { 2 } else { 64 };

pub(crate) struct InFlight<F> {
    /// Locked by tasks of one resource, and so never contended. `None` once it panicked.
    f: Arc<Mutex<Option<F>>>,
    /// Oldest first: they are through in that order.
    tasks: VecDeque<Completion<()>>,
    limit: usize,
}

impl<F> InFlight<F> {
    pub(crate) fn new(limit: usize, f: F) -> Self {
        InFlight {
            f: Arc::new(Mutex::new(Some(f))),
            tasks: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    /// Ready once there are `most` at most, or one of them failed.
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

    /// Ready once another may be on its way, or one of them failed.
    pub(crate) fn poll_another(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.poll_most(self.limit - 1, cx)
    }

    /// Ready once all are through, or one of them failed.
    pub(crate) fn poll_through(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        self.poll_most(0, cx)
    }

    pub(crate) fn send<T, I>(&mut self, permit: Permit<T>, item: I)
    where
        T: Send + 'static,
        I: Send + 'static,
        F: FnMut(&mut T, I) + Send + 'static,
    {
        let f = Arc::clone(&self.f);
        self.tasks.push_back(permit.submit(move |value| {
            let mut slot = lock(&f);
            // Not there while it runs: it is not called again if it panics.
            if let Some(mut f) = slot.take() {
                f(value, item);
                *slot = Some(f);
            }
        }));
    }
}
