//! Deadlines: a task that has not started by then expires, wherever it is in
//! the queue.
//!
//! The timer refers to such a task as its queue and its handle do, and claims it
//! like somebody who cancels it; what is left lies in the queue until its turn
//! comes. A timer keeps its alarms until they come up, or until so many of them
//! are over that it throws those away; so it may refer to a task for long after
//! that is through. All but the task's bare memory goes earlier: its outcome with
//! the last of the other two (see [`task`]).

use crate::error::TaskError;
use crate::raw::core::{Core, Owner, Value};
use crate::raw::task::handle::Handle;
use crate::raw::task::life::{self, Header};
use crate::raw::task::owners;
use crate::raw::thread::context::{self, Described};
use crate::raw::thread::panics;
use crate::raw::timing::alarm::Alarm;
use crate::sync::{Arc, Weak};
use core::ptr::NonNull;
use std::time::Instant;

/// The timer's reference to a task.
pub(crate) struct Expiry {
    task: NonNull<Header>,
    core: Weak<Core<dyn Value>>,
}

// SAFETY: through it a task is claimed, and its closure dropped, which is `Send`
// as the task's maker asked for.
unsafe impl Send for Expiry {}

impl Expiry {
    /// # Safety
    /// `task` is a task of this resource with `TIMED` set, and nobody else takes
    /// over that reference.
    unsafe fn new(task: NonNull<Header>, core: Weak<Core<dyn Value>>) -> Self {
        Expiry { task, core }
    }

    fn header(&self) -> &Header {
        // SAFETY: live as long as this refers to it.
        unsafe { self.task.as_ref() }
    }
}

impl Alarm for Expiry {
    fn is_over(&self) -> bool {
        self.header().is_past_claims()
    }

    fn ring(self: Box<Self>) {
        // A resource goes only once all its tasks are through.
        if let Some(core) = self.core.upgrade() {
            // The drop of a closure and who is woken are user code, and this thread is
            // to be back for the next alarm.
            // SAFETY: live, by our reference.
            context::enter_apart(core.id(), || unsafe { core.expire(self.task) });
        }
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        // SAFETY: our reference, which goes with us.
        unsafe { owners::let_go_timer(self.task) }
    }
}

/// Sets the alarm for a task that was queued.
///
/// # Safety
/// As for [`Expiry::new`].
#[cold]
pub(crate) unsafe fn set_alarm(owner: &dyn Owner, task: NonNull<Header>, at: Instant) {
    let core = owner.share();
    // SAFETY: by the contract.
    let expiry = unsafe { Expiry::new(task, Arc::downgrade(&core)) };
    if !expiry.is_over() {
        core.host().alarms.add(at, Box::new(expiry));
    }
}

impl Core<dyn Value> {
    /// Lets a task expire, unless somebody claimed it before.
    ///
    /// # Safety
    /// It is a live task of this resource until this returns.
    pub(crate) unsafe fn expire(&self, task: NonNull<Header>) -> bool {
        // SAFETY: by the contract.
        let header = unsafe { task.as_ref() };
        if !header.claims() {
            // It expires where it waits, if it ever does.
            return header.waits() && self.give_up(header, life::OVERDUE);
        }
        self.note_unrun(header, |rare| &rare.expired);
        // SAFETY: live by the contract, and claimed just now.
        if let Some(waker) = unsafe { owners::refuse_claimed(task, TaskError::Expired) } {
            panics::wake(waker);
        }
        true
    }
}

impl<R> Handle<R> {
    /// Lets the task expire, unless somebody claimed it before.
    pub(crate) fn expire(&self, owner: &dyn Owner) {
        // SAFETY: live as long as the handle refers to it.
        unsafe { owner.core().expire(self.task()) };
    }
}
