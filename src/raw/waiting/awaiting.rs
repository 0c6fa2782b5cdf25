//! What asynchronous tasks await, and the record of who does: of completions, which are
//! a handle and that record, and of anything else.

use crate::raw::task::handle::{Handle, Outcome};
use crate::raw::task::signal::{self, Signal};
use crate::raw::thread::context::{self, Id};
use crate::raw::thread::deadlock::{Await, Event, WouldDeadlock};
use crate::raw::waiting::chain::{Origin, each_stage};
use crate::sync::Arc;
use core::task::Waker;

/// A task that awaits, and the resource that it keeps.
pub(crate) struct Awaiter {
    resource: Id,
    signal: Arc<Signal>,
}

// SAFETY: the resource is an address, which nobody follows.
unsafe impl Send for Awaiter {}
// SAFETY: as above.
unsafe impl Sync for Awaiter {}

impl Awaiter {
    /// Wakes it, and is no reason to keep it.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.signal))
    }

    /// It waits for nothing any more.
    pub(crate) fn is_through(&self) -> bool {
        self.signal.is_through()
    }
}

/// The asynchronous task that this thread polls, if it is in the midst of that.
pub(crate) fn awaiter() -> Option<Awaiter> {
    let signal = signal::current()?;
    // Not one that has called a task of another resource meanwhile.
    let resource = context::with_task(|id, task| task.filter(|task| task.waits()).map(|_| id))??;
    Some(Awaiter { resource, signal })
}

/// The record of who awaits something: the asynchronous task that polled it last, if one
/// did.
#[derive(Default)]
pub(crate) struct Record(Option<(Arc<Signal>, Await)>);

impl Record {
    /// Notes that `by` awaits `event`, for which tasks of `target` have to run; or that
    /// nobody does.
    ///
    /// # Errors
    /// It would never come.
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

/// A completion that is awaited by an asynchronous task.
pub(crate) struct Awaited<R> {
    // Dropped first: it looks at the task.
    record: Await,
    by: Arc<Signal>,
    task: Handle<R>,
    origin: Origin,
}

impl<R> Awaited<R> {
    /// # Errors
    /// It would never come.
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
        // SAFETY: it goes with the record, which goes before the task.
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

    /// Is it this one who awaits it?
    pub(crate) fn is_by(&self, by: &Awaiter) -> bool {
        Arc::ptr_eq(&self.by, &by.signal)
    }

    /// Nobody awaits it any more.
    pub(crate) fn into_parts(self) -> (Handle<R>, Origin) {
        drop(self.record);
        (self.task, self.origin)
    }
}

/// The outcome of a task, for those who look for deadlocks.
struct PendingOutcome {
    outcome: Outcome,
    by: Arc<Signal>,
    /// Whose end it is, if it is one of a chain.
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
