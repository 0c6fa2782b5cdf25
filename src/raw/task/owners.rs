//! How the owners of a task let go of it, and the last of them frees it.

use crate::error::TaskError;
use crate::raw::task::life::{COMPLETE, Header, OWNERS, TAKEN, TIMED};
use crate::raw::task::waiter::publish;
use crate::sync::Ordering;
use core::ptr::NonNull;
use core::task::Waker;

/// Drops the closure of a task that the caller has just claimed, and shows
/// `error`. Returns who is to be woken.
///
/// # Safety
/// The task is live until this returns.
#[must_use = "somebody waits for it"]
pub(in crate::raw) unsafe fn refuse_claimed(
    task: NonNull<Header>,
    error: TaskError,
) -> Option<Waker> {
    // SAFETY: live by the contract.
    let header = unsafe { task.as_ref() };
    // SAFETY: claimed just now, so the closure is in place and the caller's.
    unsafe { (header.vtable.refuse)(task, error, None) };
    publish(header)
}

/// Clears `own`, `QUEUED` or `HANDLE`, and sets `also`, which is not set, in
/// one step.
///
/// # Safety
/// The reference is the caller's, and not used again. If nobody else refers to
/// the task, the outcome is in place, unless `TAKEN` is or gets set.
#[inline]
pub(in crate::raw) unsafe fn let_go(task: NonNull<Header>, own: u32, also: u32) {
    // SAFETY: live, by the caller's reference.
    let header = unsafe { task.as_ref() };
    if header.life.load(Ordering::Relaxed) & TIMED != 0 {
        // SAFETY: by the contract.
        return unsafe { let_go_timed(task, own, also) };
    }
    let flipped = own | also;
    let before = header.flip(flipped);
    if before & OWNERS == own {
        // SAFETY: this was the last reference.
        unsafe { dispose(task, before ^ flipped) }
    }
}

/// The same, while the timer may refer to the task.
///
/// # Safety
/// As there.
#[cold]
unsafe fn let_go_timed(task: NonNull<Header>, own: u32, also: u32) {
    // SAFETY: live, by the caller's reference, until that is cleared.
    let header = unsafe { task.as_ref() };
    loop {
        let mut life = header.life();
        if (life | also) & (OWNERS | COMPLETE | TAKEN) == own | TIMED | COMPLETE {
            // Only the timer is left besides, and is not about to put the
            // outcome in place itself.
            // SAFETY: in place, and nobody else's to drop: the timer does so only
            // where nobody else is left.
            unsafe { (header.vtable.forget)(task) };
            if let Some(meta) = &header.meta {
                // SAFETY: as above; the timer does not look at spans.
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

/// The timer lets go.
///
/// # Safety
/// The reference is the caller's, and not used again.
pub(in crate::raw) unsafe fn let_go_timer(task: NonNull<Header>) {
    // SAFETY: live, by the caller's reference.
    let before = unsafe { task.as_ref() }.clear(TIMED);
    if before & OWNERS == TIMED {
        // SAFETY: this was the last reference.
        unsafe { dispose(task, before & !TIMED) }
    }
}

/// # Safety
/// The caller holds the last reference to `task`, whose life word is `life`.
pub(in crate::raw) unsafe fn dispose(task: NonNull<Header>, life: u32) {
    // SAFETY: live until freed below.
    let vtable = unsafe { task.as_ref() }.vtable;
    // SAFETY: without `TAKEN` the outcome is in place: a task is claimed and
    // then run or refused before its last reference goes.
    unsafe {
        if life & TAKEN == 0 {
            (vtable.forget)(task);
        }
        (vtable.free)(task);
    }
}
