//! Where user code runs that is not a task: drops, wakers, subscribers. A panic
//! there ends there, and is reported, since nobody waits for it.

use crate::error::{Panic, TaskError};
use core::any::Any;
use core::task::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`; a panic is its error. Never unwinds.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Panic::new)
}

/// Runs `f`; a panic goes to the log. Never unwinds.
pub(crate) fn contain(what: &'static str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        report(what, &*payload);
        discard(payload);
    }
}

/// Has something logged. A subscriber that panics loses its event, and that
/// cannot be logged either.
pub(crate) fn tell<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(discard).ok()
}

/// A payload may panic in its own drop; that one is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        core::mem::forget(again);
    }
}

/// Wakes; a waker that panics hurts nobody else.
pub(crate) fn wake(waker: Waker) {
    contain("waker", || waker.wake());
}

/// Drops an outcome that nobody took.
pub(crate) fn drop_outcome<R>(outcome: Result<R, TaskError>) {
    if let Err(TaskError::Panicked(panic)) = &outcome {
        tell(|| {
            let (resource, task) = (panic.resource(), panic.task());
            tracing::error!(target: "captor", resource, task, panic = panic.message(), "a task panicked and nobody took its outcome");
        });
        #[cfg(feature = "testing")]
        crate::testing::note_panic(panic.message());
    }
    if core::mem::needs_drop::<Result<R, TaskError>>() {
        contain("drop of an outcome", || drop(outcome));
    }
}

fn report(what: &'static str, payload: &(dyn Any + Send)) {
    #[cfg(all(test, any(captor_loom, captor_shuttle)))]
    crate::models::note_contained_panic();
    let message = crate::error::message(payload);
    #[cfg(feature = "testing")]
    crate::testing::note_panic(message);
    tell(|| tracing::error!(target: "captor", what, panic = message, "panic contained"));
}
