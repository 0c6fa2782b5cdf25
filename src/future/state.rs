//! Where the outcome of a completion is: here, with a task in a queue, or at the end of a chain.
//! How a thread blocks for an outcome that is not here.

use crate::error::TaskError;
use crate::raw::core::{Core, Value};
use crate::raw::task::handle::Handle;
use crate::raw::thread::deadlock::{self, WouldDeadlock};
use crate::raw::waiting::awaiting::{Awaited, Awaiter};
use crate::raw::waiting::chain::{self, ChainEnd, Continuation, Origin, Upstream};
use crate::raw::waiting::wait;
use crate::sync::{Arc, Weak, yield_now};
use std::time::{Duration, Instant};

pub(super) enum CompletionState<R> {
    Ready(Result<R, TaskError>),
    Queued(Handle<R>, Weak<Core<dyn Value>>),
    /// The task is queued once another task has finished, or has been queued since.
    Linked(Handle<R>, Arc<dyn Continuation>),
    /// An asynchronous task awaits a `Queued` or a `Linked` task.
    Awaited(Box<Awaited<R>>),
    Taken,
}

impl<R> CompletionState<R> {
    /// Returns the task, unless the outcome is here.
    pub(super) fn task(&self) -> Option<&Handle<R>> {
        match self {
            CompletionState::Queued(task, _) | CompletionState::Linked(task, _) => Some(task),
            CompletionState::Awaited(awaited) => Some(awaited.task()),
            CompletionState::Ready(_) | CompletionState::Taken => None,
        }
    }

    /// Returns where the task is, unless the outcome is here.
    pub(super) fn origin(&self) -> Option<Origin> {
        match self {
            CompletionState::Queued(_, core) => Some(Origin::Resource(Weak::clone(core))),
            CompletionState::Linked(_, link) => Some(Origin::Continuation(Arc::clone(link))),
            CompletionState::Awaited(awaited) => Some(awaited.origin().clone()),
            CompletionState::Ready(_) | CompletionState::Taken => None,
        }
    }

    /// Returns the outcome. Must be called only once the outcome is in place.
    pub(super) fn into_outcome(self) -> Result<R, TaskError> {
        match self {
            CompletionState::Ready(outcome) => outcome,
            CompletionState::Queued(task, _) | CompletionState::Linked(task, _) => task.take(),
            CompletionState::Awaited(awaited) => awaited.into_parts().0.take(),
            CompletionState::Taken => taken(),
        }
    }

    /// Cancels the task, and the tasks that come before it in its chain.
    pub(super) fn cancel(&self) -> bool {
        let (cancelled, mut upstream) = self.cancel_one();
        while let Some(task) = upstream {
            upstream = task.cancel();
        }
        cancelled
    }

    /// Cancels the task. Returns whether the task was cancelled, and the task that comes before it.
    pub(super) fn cancel_one(&self) -> (bool, Option<Box<dyn Upstream>>) {
        let (Some(task), Some(origin)) = (self.task(), self.origin()) else {
            return (false, None);
        };
        if task.is_complete() {
            return (false, None);
        }
        let core = match origin {
            Origin::Resource(core) => core.upgrade(),
            Origin::Continuation(link) => match link.cancel() {
                None => link.resource().upgrade(),
                upstream => return (true, upstream),
            },
        };
        // If the resource is gone, the task has finished.
        (core.is_some_and(|core| core.cancel(task)), None)
    }

    /// Blocks until the task has finished; returns `false` if the timeout came first.
    #[cold]
    pub(super) fn block(&self, timeout: Option<Duration>) -> Result<bool, TaskError> {
        match (self.task(), self.origin()) {
            (Some(task), Some(Origin::Resource(core))) => block(task, &core, timeout),
            (Some(task), Some(Origin::Continuation(link))) => block_linked(task, &link, timeout),
            _ => Ok(true),
        }
    }

    /// Removes the record that an asynchronous task awaits the completion.
    pub(super) fn unawaited(self) -> Self {
        match self {
            CompletionState::Awaited(awaited) => CompletionState::pending(awaited.into_parts()),
            other => other,
        }
    }

    pub(super) fn pending((task, origin): (Handle<R>, Origin)) -> Self {
        match origin {
            Origin::Resource(core) => CompletionState::Queued(task, core),
            Origin::Continuation(link) => CompletionState::Linked(task, link),
        }
    }

    /// Records that the asynchronous task `by` awaits the completion. A record of another task is
    /// removed.
    pub(super) fn await_by(self, by: Awaiter) -> Result<Self, (WouldDeadlock, Self)> {
        let (task, origin) = match self {
            CompletionState::Awaited(awaited) if awaited.is_by(&by) => {
                return Ok(CompletionState::Awaited(awaited));
            }
            CompletionState::Awaited(awaited) => awaited.into_parts(),
            CompletionState::Queued(task, core) => (task, Origin::Resource(core)),
            CompletionState::Linked(task, link) => (task, Origin::Continuation(link)),
            CompletionState::Ready(_) | CompletionState::Taken => return Ok(self),
        };
        match Awaited::begin(by, task, origin) {
            Ok(awaited) => Ok(CompletionState::Awaited(Box::new(awaited))),
            Err((error, task, origin)) => Err((error, CompletionState::pending((task, origin)))),
        }
    }
}

/// Blocks until the task has finished; returns `false` if the timeout came first.
#[cold]
fn block<R>(
    task: &Handle<R>,
    core: &Weak<Core<dyn Value>>,
    timeout: Option<Duration>,
) -> Result<bool, TaskError> {
    if task.is_complete() {
        return Ok(true);
    }
    let Some(core) = core.upgrade() else {
        // A resource is dropped only after all its tasks have finished. This thread may see that
        // the resource is gone a moment before it sees the outcome.
        while !task.is_complete() {
            yield_now();
        }
        return Ok(true);
    };
    let deadline = timeout.and_then(|time| core.host().after(time));
    let task = task.waiting();
    match deadlock::Wait::begin(core.id(), task.event()) {
        Ok(_wait) => in_time(wait::wait(&core, task, deadline), deadline),
        Err(_) if task.is_complete() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Blocks until a task at the end of a chain has finished.
fn block_linked<R>(
    task: &Handle<R>,
    link: &Arc<dyn Continuation>,
    timeout: Option<Duration>,
) -> Result<bool, TaskError> {
    if !link.waits() {
        return block(task, &link.resource(), timeout);
    }
    let after = |time| match chain::stage(link) {
        Some(core) => core.host().after(time),
        None => Instant::now().checked_add(time),
    };
    let deadline = timeout.and_then(after);
    let task = task.waiting();
    let end = ChainEnd { task, link };
    match deadlock::Wait::begin(link.resource().as_ptr().cast(), &end) {
        Ok(_wait) => in_time(wait::wait_for_chain(link, task, deadline), deadline),
        Err(_) if task.is_complete() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether the outcome came in time. A wait without a deadline ends without an outcome only
/// if nothing could end the wait, which is an error.
fn in_time(came: bool, deadline: Option<Instant>) -> Result<bool, TaskError> {
    if !came && deadline.is_none() {
        return Err(TaskError::WouldDeadlock);
    }
    Ok(came)
}

#[cold]
#[track_caller]
pub(super) fn taken() -> ! {
    panic!("the outcome of this completion was already taken by an earlier poll")
}
