//! Chains: tasks that come after tasks of other resources.
//!
//! The [`Completion`](crate::Completion) of such a task, and a thread that blocks for its outcome,
//! need to know the chain behind the task. This file has that knowledge, without the types of the
//! tasks.
//!
//! Chains may be very long, so every walk along a chain is a loop.

use crate::error::TaskError;
use crate::raw::core::{Core, Value};
use crate::raw::task::queued::Queued;
use crate::raw::task::waiter::Waitable;
use crate::raw::thread::context::Id;
use crate::raw::thread::deadlock::Event;
use crate::raw::thread::panics;
use crate::sync::{Arc, Weak, thread_local_const};
use core::cell::RefCell;
use core::task::Waker;

/// A task that is queued when another task has finished.
pub(crate) trait Continuation: Send + Sync {
    /// Cancels the task if it still waits, and returns what the task waited for.
    fn cancel(&self) -> Option<Box<dyn Upstream>>;
    /// Returns the resource of the task.
    fn resource(&self) -> Weak<Core<dyn Value>>;
    /// Checks whether the task still waits, for another task or for anything else.
    fn waits(&self) -> bool;
    /// Returns the task that this task waits for. Returns `None` if this task is queued or has
    /// finished, or waits for something that is no task.
    fn origin(&self) -> Option<Origin>;
}

/// The event that a continuation waited for, usually the end of a task.
pub(crate) trait Upstream {
    /// Cancels the task if it has not started. If the task waited in turn, returns what the task
    /// waited for.
    fn cancel(self: Box<Self>) -> Option<Box<dyn Upstream>>;
}

/// The place of a task that a thread or another task waits for.
#[derive(Clone)]
pub(crate) enum Origin {
    /// The task is in the queue of this resource, or has finished.
    Resource(Weak<Core<dyn Value>>),
    /// The task is at the end of a chain.
    Continuation(Arc<dyn Continuation>),
}

/// Calls `f` with each resource of the chain that has yet to do its part, from the last to the
/// first. Returns the first, whose turn it is.
pub(crate) fn each_stage(
    link: &Arc<dyn Continuation>,
    mut f: impl FnMut(Id),
) -> Weak<Core<dyn Value>> {
    let mut link = Arc::clone(link);
    loop {
        let resource = link.resource();
        f(resource.as_ptr().cast());
        match link.origin() {
            None => return resource,
            Some(Origin::Resource(first)) => {
                f(first.as_ptr().cast());
                return first;
            }
            Some(Origin::Continuation(earlier)) => link = earlier,
        }
    }
}

/// Returns the resource whose turn it is, or `None` while the chain is just moving on.
pub(crate) fn stage(link: &Arc<dyn Continuation>) -> Option<Arc<Core<dyn Value>>> {
    each_stage(link, |_| ()).upgrade()
}

/// The outcome of a chain, as the event that a thread waits for. Each resource that has yet to do
/// its part must move before the outcome comes.
pub(crate) struct ChainEnd<'a> {
    pub(crate) task: &'a dyn Waitable,
    pub(crate) link: &'a Arc<dyn Continuation>,
}

impl Event for ChainEnd<'_> {
    fn has_come(&self) -> bool {
        self.task.is_complete()
    }

    fn each_other(&self, f: &mut dyn FnMut(Id)) {
        each_stage(self.link, f);
    }
}

/// A task that will not be queued, and the reason.
pub(crate) struct Fallen {
    /// The task's resource, unless the resource is gone.
    pub(crate) core: Option<Arc<Core<dyn Value>>>,
    pub(crate) task: Queued,
    pub(crate) error: TaskError,
}

impl Fallen {
    /// Completes the task with the error. Returns the waker of its waiter.
    fn refuse(self) -> Option<Waker> {
        match self.core {
            Some(core) => core.refuse_unqueued(self.task, self.error),
            None if self.task.claim() => self.task.fail(self.error),
            None => {
                self.task.leave();
                None
            }
        }
    }
}

thread_local_const! {
    /// The tasks that fell while this thread wakes the waiter of another fallen task. `None` if the
    /// thread is not waking a waiter.
    static FALLEN: RefCell<Option<Vec<Fallen>>> = RefCell::new(None);
}

/// Completes a fallen task, and all tasks that fall with it, before this returns.
pub(crate) fn fall(first: Fallen) {
    // A user's waker may call this while `fall_with_others` wakes the waker. The tasks that fall
    // now must not be left to that outer call, so the outer list is put aside.
    let further_out = FALLEN.try_with(RefCell::take).ok().flatten();
    fall_with_others(first);
    if further_out.is_some() {
        FALLEN.with(|fallen| fallen.replace(further_out));
    }
}

/// Completes a fallen task, for the waker of a continuation whose task falls with the task before
/// it.
///
/// If an outer call on this thread completes fallen tasks already, the task is left to that call.
/// So the stack does not grow with the chain.
pub(crate) fn fall_with_others(first: Fallen) {
    let mut first = Some(first);
    let left = FALLEN.try_with(|fallen| {
        if let Some(fallen) = &mut *fallen.borrow_mut() {
            fallen.extend(first.take());
        }
    });
    let Some(first) = first else { return };
    let mut fallen = vec![first];
    while let Some(next) = fallen.pop() {
        // `refuse` drops the closure, which is user code. `FALLEN` is `None` meanwhile, so tasks
        // that fall by this drop are not left to this call.
        let Some(waiter) = next.refuse() else {
            continue;
        };
        if left.is_err() {
            // The thread's locals are gone, so the waker cannot leave its task to this call. The
            // stack may grow.
            panics::wake(waiter);
            continue;
        }
        FALLEN.with(|outer| outer.replace(Some(fallen)));
        panics::wake(waiter);
        fallen = FALLEN.with(RefCell::take).unwrap_or_default();
    }
}
