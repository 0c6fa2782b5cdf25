//! How the owners of a task let go, and the last owner frees the task.
//!
//! Queue, handle and timer each clear their bit by a read-modify-write of the life word. So if two
//! let go at the same time, the second sees that the first has gone. The timer may keep its
//! reference for long after the task has finished, and must then keep only the bare memory. So the
//! last of queue and handle drops the outcome first. `docs/design/timers.md` argues this.

use crate::error::TaskError;
use crate::raw::task::life::{COMPLETE, Header, OWNERS, TAKEN, TIMED};
use crate::raw::task::waiter::publish;
use crate::sync::Ordering;
use core::ptr::NonNull;
use core::task::Waker;

/// Drops the closure of a task that the caller has just claimed, and shows `error` as the outcome.
/// Returns the waiter's waker, which the caller must wake.
///
/// # Safety
/// The task must be live until this returns.
#[must_use = "the caller must wake the waiter"]
pub(in crate::raw) unsafe fn refuse_claimed(
    task: NonNull<Header>,
    error: TaskError,
) -> Option<Waker> {
    // SAFETY: the task is live (contract of this function).
    let header = unsafe { task.as_ref() };
    // SAFETY: the caller has just claimed the task, so the closure is in place and the caller's.
    unsafe { (header.vtable.refuse)(task, error, None) };
    publish(header)
}

/// Clears `own`, which is `QUEUED` or `HANDLE`, and sets `also`, which is not set yet, in one step.
/// If no owner is left, frees the task.
///
/// # Safety
/// The reference must be the caller's, and the caller must not use the reference again. If no other
/// owner is left, the outcome must be in place, unless `TAKEN` is set or gets set.
#[inline]
pub(in crate::raw) unsafe fn let_go(task: NonNull<Header>, own: u32, also: u32) {
    // SAFETY: the caller's reference keeps the task alive.
    let header = unsafe { task.as_ref() };
    // Relaxed: `TIMED` is only ever cleared, and both paths below acquire.
    if header.life.load(Ordering::Relaxed) & TIMED != 0 {
        // SAFETY: the reference is the caller's, and the outcome is in place if required (contract
        // of this function).
        return unsafe { let_go_timed(task, own, also) };
    }
    let flipped = own | also;
    let before = header.flip(flipped);
    if before & OWNERS == own {
        // SAFETY: this was the last reference.
        unsafe { dispose(task, before ^ flipped) }
    }
}

/// Lets go like [`let_go`], while the timer may refer to the task.
///
/// # Safety
/// The reference must be the caller's, and the caller must not use the reference again. If no other
/// owner is left, the outcome must be in place, unless `TAKEN` is set or gets set.
#[cold]
unsafe fn let_go_timed(task: NonNull<Header>, own: u32, also: u32) {
    // SAFETY: the caller's reference keeps the task alive until its bit is cleared.
    let header = unsafe { task.as_ref() };
    loop {
        let mut life = header.life();
        if (life | also) & (OWNERS | COMPLETE | TAKEN) == own | TIMED | COMPLETE {
            // Only the timer is left besides. `COMPLETE` is set, so the timer is not about to put
            // the outcome in place itself.
            // SAFETY: the outcome is in place, and only the caller may drop it. The timer drops an
            // outcome only if no other owner is left.
            unsafe { (header.vtable.forget)(task) };
            if let Some(meta) = &header.meta {
                // SAFETY: only the caller uses the span: the task has finished, and the timer does
                // not look at spans.
                unsafe { meta.leave_span() };
            }
            life = header.set(TAKEN) | TAKEN;
        }
        let next = (life & !own) | also;
        if header.replace(life, next) {
            if next & OWNERS == 0 {
                // SAFETY: this was the last reference.
                unsafe { dispose(task, next) }
            }
            return;
        }
    }
}

/// Lets go of the timer's reference. If no owner is left, frees the task.
///
/// # Safety
/// The reference must be the caller's, and the caller must not use the reference again.
pub(in crate::raw) unsafe fn let_go_timer(task: NonNull<Header>) {
    // SAFETY: the caller's reference keeps the task alive.
    let before = unsafe { task.as_ref() }.clear(TIMED);
    if before & OWNERS == TIMED {
        // SAFETY: this was the last reference.
        unsafe { dispose(task, before & !TIMED) }
    }
}

/// Drops the outcome if the outcome is still in place, and frees the task.
///
/// # Safety
/// The caller must hold the last reference to `task`, whose life word must be `life`.
pub(in crate::raw) unsafe fn dispose(task: NonNull<Header>, life: u32) {
    // SAFETY: the task is live until the last line frees the task.
    let vtable = unsafe { task.as_ref() }.vtable;
    // SAFETY: without `TAKEN` the outcome is in place, since a task is claimed and then run or
    // refused before its last reference goes.
    unsafe {
        if life & TAKEN == 0 {
            (vtable.forget)(task);
        }
        (vtable.free)(task);
    }
}
