//! Completions and other events that asynchronous tasks await, and the record of each wait for the
//! deadlock check.
//!
//! An [`Awaited`] is an awaited completion: a handle and its record. A [`Record`] is for anything
//! else that a task awaits. A record lasts until the awaited future is dropped or resolved, or
//! until the task has finished. See "Deadlocks" in `docs/design/tasks-that-wait.md`.

use crate::raw::task::handle::{Handle, Outcome};
use crate::raw::task::signal::{self, Signal};
use crate::raw::thread::context::{self, Id};
use crate::raw::thread::deadlock::{Await, Event, WouldDeadlock};
use crate::raw::waiting::chain::{Origin, each_stage};
use crate::sync::Arc;
use core::task::Waker;

/// An asynchronous task that awaits something, and the resource that the task keeps.
pub(crate) struct Awaiter {
    resource: Id,
    signal: Arc<Signal>,
}

// SAFETY: `resource` is an address that is never dereferenced. `signal` is `Send`.
unsafe impl Send for Awaiter {}
// SAFETY: `resource` is an address that is never dereferenced. `signal` is `Sync`.
unsafe impl Sync for Awaiter {}

impl Awaiter {
    /// Returns a waker of the task. The signal does not count this waker, so a task with no other
    /// waker is still given up.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.signal))
    }

    /// Checks whether the task has finished, and so waits for nothing any more.
    pub(crate) fn is_through(&self) -> bool {
        self.signal.is_through()
    }
}

/// Returns the asynchronous task that this thread polls now, if any.
pub(crate) fn awaiter() -> Option<Awaiter> {
    let signal = signal::current()?;
    // If the polled task has called a plain task of another resource, the plain task runs now and
    // awaits nothing.
    let resource = context::with_task(|id, task| task.filter(|task| task.waits()).map(|_| id))??;
    Some(Awaiter { resource, signal })
}

/// The record of a wait: which asynchronous task polled the awaited thing last, if any did.
#[derive(Default)]
pub(crate) struct Record(Option<(Arc<Signal>, Await)>);

impl Record {
    /// Records that `by` awaits `event`, for which tasks of `target` must run. If `by` is `None`,
    /// clears the record.
    ///
    /// # Errors
    /// Fails if the event would never come.
    pub(crate) fn note(
        &mut self,
        by: Option<Awaiter>,
        target: Id,
        event: impl FnOnce(Awaiter) -> Box<dyn Event + Send + Sync>,
    ) -> Result<(), WouldDeadlock> {
        let Some(by) = by else {
            self.clear();
            return Ok(());
        };
        if (self.0.as_ref()).is_some_and(|(before, _)| Arc::ptr_eq(before, &by.signal)) {
            return Ok(());
        }
        self.clear();
        let (resource, signal) = (by.resource, Arc::clone(&by.signal));
        self.0 = Some((signal, Await::begin(resource, target, event(by))?));
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

/// A completion that an asynchronous task awaits.
pub(crate) struct Awaited<R> {
    // The record looks at the task, so it is dropped before the task.
    record: Await,
    by: Arc<Signal>,
    task: Handle<R>,
    origin: Origin,
}

impl<R> Awaited<R> {
    /// Records that `by` awaits the outcome of `task`.
    ///
    /// # Errors
    /// Fails if the outcome would never come, and gives `task` and `origin` back.
    pub(crate) fn begin(
        by: Awaiter,
        task: Handle<R>,
        origin: Origin,
    ) -> Result<Self, (WouldDeadlock, Handle<R>, Origin)> {
        let target = match &origin {
            Origin::Resource(core) => core.as_ptr().cast(),
            Origin::Continuation(link) => link.resource().as_ptr().cast(),
        };
        let link = match &origin {
            Origin::Resource(_) => None,
            Origin::Continuation(link) => Some(Arc::clone(link)),
        };
        // SAFETY: the record owns `outcome`, and is dropped before `task` is (contract of
        // `Handle::outcome`).
        let outcome = unsafe { task.outcome() };
        let event = Box::new(PendingOutcome {
            outcome,
            by: Arc::clone(&by.signal),
            link,
        });
        match Await::begin(by.resource, target, event) {
            Ok(record) => Ok(Awaited {
                record,
                by: by.signal,
                task,
                origin,
            }),
            Err(error) => Err((error, task, origin)),
        }
    }

    pub(crate) fn task(&self) -> &Handle<R> {
        &self.task
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Checks whether `by` is the task that awaits this completion.
    pub(crate) fn is_by(&self, by: &Awaiter) -> bool {
        Arc::ptr_eq(&self.by, &by.signal)
    }

    /// Ends the record of the wait, and returns the handle and its origin.
    pub(crate) fn into_parts(self) -> (Handle<R>, Origin) {
        drop(self.record);
        (self.task, self.origin)
    }
}

/// The outcome of a task, as the deadlock check sees it.
struct PendingOutcome {
    outcome: Outcome,
    by: Arc<Signal>,
    /// The last link of the chain, if the task is the end of a chain.
    link: Option<Arc<dyn crate::raw::waiting::chain::Continuation>>,
}

impl Event for PendingOutcome {
    fn has_come(&self) -> bool {
        self.by.is_through() || self.outcome.is_complete()
    }

    fn each_other(&self, each: &mut dyn FnMut(Id)) {
        if let Some(link) = &self.link {
            each_stage(link, each);
        }
    }
}
