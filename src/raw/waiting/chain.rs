//! Tasks that come after tasks of other resources: what a
//! [`Completion`](crate::Completion) of one and those who block for it need to
//! know of the chain behind it, whatever its types.
//!
//! Chains may be very long, so whatever goes along one is a loop.

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

/// A task that is queued once another is through.
pub(crate) trait Continuation: Send + Sync {
    /// Cancels it if it waits for the other, which is returned then.
    fn cancel(&self) -> Option<Box<dyn Upstream>>;
    /// The resource it is for.
    fn resource(&self) -> Weak<Core<dyn Value>>;
    /// Does it wait still, for a task or anything else?
    fn waits(&self) -> bool;
    /// What it waits for, unless it is queued or through, or that is no task.
    fn origin(&self) -> Option<Origin>;
}

/// What a link waited for.
pub(crate) trait Upstream {
    /// Cancels it if it has not started. If it waited for another in turn, that
    /// one is returned.
    fn cancel(self: Box<Self>) -> Option<Box<dyn Upstream>>;
}

/// Where a task that somebody waits for is.
#[derive(Clone)]
pub(crate) enum Origin {
    /// In the queue of this resource, or through.
    Resource(Weak<Core<dyn Value>>),
    /// At the end of a chain.
    Continuation(Arc<dyn Continuation>),
}

/// Calls `f` with each resource of the chain that is yet to do something, from
/// the last to the first; returns the first, which is the one at work.
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

/// The resource whose turn it is; `None`: the chain is just moving on.
pub(crate) fn stage(link: &Arc<dyn Continuation>) -> Option<Arc<Core<dyn Value>>> {
    each_stage(link, |_| ()).upgrade()
}

/// The outcome of a chain, as what a thread waits for: each resource that is
/// yet to do something has to move for it to come.
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

/// A task that will not be queued, and why.
pub(crate) struct Fallen {
    /// Its resource, unless that is gone.
    pub(crate) core: Option<Arc<Core<dyn Value>>>,
    pub(crate) task: Queued,
    pub(crate) error: TaskError,
}

impl Fallen {
    /// Says whom to wake.
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
    /// What fell while this thread wakes who waits for another that fell.
    static FALLEN: RefCell<Option<Vec<Fallen>>> = RefCell::new(None);
}

/// Lets the task fall, and those after it, before this returns.
pub(crate) fn fall(first: Fallen) {
    // This may be called by a user's waker that is woken below: what falls for that
    // one is not for the caller further out.
    let further_out = FALLEN.try_with(RefCell::take).ok().flatten();
    fall_with_others(first);
    if further_out.is_some() {
        FALLEN.with(|fallen| fallen.replace(further_out));
    }
}

/// The same, for the waker of a link, whose task falls with the one before it: it is
/// left to the caller further out, so that the stack does not grow with the chain.
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
        // User code (the closure's drop) runs in here, outside of the frame
        // that keeps others back.
        let Some(waiter) = next.refuse() else {
            continue;
        };
        if left.is_err() {
            // The thread's locals are gone: let it go deeper.
            panics::wake(waiter);
            continue;
        }
        FALLEN.with(|outer| outer.replace(Some(fallen)));
        panics::wake(waiter);
        fallen = FALLEN.with(RefCell::take).unwrap_or_default();
    }
}
