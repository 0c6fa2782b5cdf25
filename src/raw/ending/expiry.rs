//! Lets a task expire at its deadline: a task that has not started, wherever the task is in the
//! queue, and an asynchronous task that has started and waits.
//!
//! The timer refers to the task, as the queue and the handle do, and claims the task as a canceller
//! does. The remains lie in the queue until their turn. A task that waits is claimed already, so
//! the timer gives the task up. If an asynchronous task runs at its deadline, the holder gives the
//! task up at its next wait.
//!
//! The timer keeps an alarm until the alarm is due. If the timer has many alarms, it throws away
//! the alarms that are over, before they are due. So the timer may refer to a task long after the
//! task has finished. Only the bare memory of the task lasts that long. The last of queue and
//! handle drops the outcome: see [`life`](crate::raw::task::life) and "Deadlines" in
//! `docs/design/timers.md`.

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

/// The timer's reference to a task. This is the alarm of the task's deadline.
pub(crate) struct Expiry {
    task: NonNull<Header>,
    core: Weak<Core<dyn Value>>,
}

// SAFETY: the timer thread claims the task through this reference and drops the closure. The
// closure is `Send`, as the functions that make tasks require.
unsafe impl Send for Expiry {}

impl Expiry {
    /// # Safety
    ///
    /// `task` must be a live task of the resource `core`, with `TIMED` set. The caller passes on
    /// the timer's reference: no other code may use or give up that reference.
    unsafe fn new(task: NonNull<Header>, core: Weak<Core<dyn Value>>) -> Self {
        Expiry { task, core }
    }

    fn header(&self) -> &Header {
        // SAFETY: the timer's reference keeps the task live (contract of `new`).
        unsafe { self.task.as_ref() }
    }
}

impl Alarm for Expiry {
    fn is_over(&self) -> bool {
        self.header().is_alarm_over()
    }

    fn ring(self: Box<Self>) {
        // If the core is gone, all its tasks have finished, since a queued task keeps its core.
        if let Some(core) = self.core.upgrade() {
            // The drop of the closure and the waker are user code, and this thread must be back for
            // the next alarm. So they run in a frame that runs no task.
            // SAFETY: the timer's reference keeps the task live until `self` is dropped (contract
            // of `Expiry::new`), and the task is one of this core.
            context::enter_without_tasks(core.id(), || unsafe { core.expire(self.task) });
        }
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        // SAFETY: `self` owns the timer's reference (contract of `new`), and is being dropped.
        unsafe { owners::let_go_timer(self.task) }
    }
}

/// Sets the alarm for a task that was queued.
///
/// # Safety
///
/// `task` must be a live task of the resource `owner`, with `TIMED` set. The caller passes on the
/// timer's reference: no other code may use or give up that reference.
#[cold]
pub(crate) unsafe fn set_alarm(owner: &dyn Owner, task: NonNull<Header>, at: Instant) {
    let core = owner.share();
    // SAFETY: the caller passes on the timer's reference to a task of this core (contract of
    // `set_alarm`).
    let expiry = unsafe { Expiry::new(task, Arc::downgrade(&core)) };
    if !expiry.is_over() {
        core.host().alarms.add(at, Box::new(expiry));
    }
}

impl Core<dyn Value> {
    /// Lets a task expire, unless another thread has claimed the task. Returns whether the task
    /// expires: at once, or when the next holder gives up the task that waits.
    ///
    /// # Safety
    ///
    /// `task` must be a task of this resource, and stay live until this returns.
    pub(crate) unsafe fn expire(&self, task: NonNull<Header>) -> bool {
        // SAFETY: the task is live (contract of `expire`).
        let header = unsafe { task.as_ref() };
        if !header.claims() {
            // The task was claimed before. If it waits, it is given up where it waits.
            return header.waits() && self.give_up(header, life::OVERDUE);
        }
        self.note_unrun(header, |rare| &rare.expired);
        // SAFETY: the task is live (contract of `expire`), and was claimed by `claims` above.
        if let Some(waker) = unsafe { owners::refuse_claimed(task, TaskError::Expired) } {
            panics::wake(waker);
        }
        true
    }
}

impl<R> Handle<R> {
    /// Lets the task expire, unless another thread has claimed the task.
    pub(crate) fn expire(&self, owner: &dyn Owner) {
        // SAFETY: the handle keeps the task live until this returns.
        unsafe { owner.core().expire(self.task()) };
    }
}
