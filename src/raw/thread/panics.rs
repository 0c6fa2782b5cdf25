//! Calls user code that is not a task: drops, wakers, subscribers. A panic of this code ends here
//! and is logged, since no caller waits for it.

use crate::error::{Panic, SubmitError, TaskError};
use core::any::Any;
use core::task::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`. Returns a panic of `f` as the error. Never unwinds.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Panic::new)
}

/// Runs `f`, and logs a panic of `f`. Never unwinds.
pub(crate) fn contain(what: &'static str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        report(what, &*payload);
        discard(payload);
    }
}

/// Runs `f`, which logs an event. If the subscriber panics, its event is lost: the panic cannot be
/// logged either.
pub(crate) fn log_safely<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(discard).ok()
}

/// Drops a closure that will not run. Returns the outcome of its task: `error`, or the panic of the
/// drop.
pub(crate) fn refused<F>(error: impl Into<TaskError>, f: F) -> TaskError {
    match catch(|| drop(f)) {
        Ok(()) => error.into(),
        Err(panic) => TaskError::Panicked(panic),
    }
}

/// Drops a closure that will not run and whose task has no outcome, and logs a panic of the drop.
/// Returns `error`.
pub(crate) fn drop_refused<F>(error: SubmitError, f: F) -> SubmitError {
    contain("drop of a refused closure", || drop(f));
    error
}

/// Drops a payload. If this drop panics too, the new payload is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        core::mem::forget(again);
    }
}

/// Wakes a waker. A panic of the waker is contained.
pub(crate) fn wake(waker: Waker) {
    contain("waker", || waker.wake());
}

/// Drops an outcome that no caller took. If the outcome is a panic, the panic is logged.
pub(crate) fn drop_outcome<R>(outcome: Result<R, TaskError>) {
    if let Err(TaskError::Panicked(panic)) = &outcome {
        log_safely(|| {
            let (resource, task) = (panic.resource(), panic.task());
            tracing::error!(target: "captor", resource, task, panic = panic.message(), "a task panicked and nobody took its outcome");
        });
        record::unasked(panic.message());
    }
    if core::mem::needs_drop::<Result<R, TaskError>>() {
        contain("drop of an outcome", || drop(outcome));
    }
}

/// Logs a contained panic.
fn report(what: &'static str, payload: &(dyn Any + Send)) {
    let message = crate::error::message(payload);
    record::contained();
    record::unasked(message);
    log_safely(|| tracing::error!(target: "captor", what, panic = message, "panic contained"));
}

/// Records panics that only the log knows of, for simulations and models to ask for.
pub(crate) mod record {
    #[cfg(all(test, any(captor_loom, captor_shuttle)))]
    use crate::sync::os_thread_local;
    #[cfg(feature = "testing")]
    use crate::sync::thread_local_const;
    #[cfg(any(feature = "testing", all(test, any(captor_loom, captor_shuttle))))]
    use core::cell::Cell;

    #[cfg(feature = "testing")]
    thread_local_const! {
        /// The message of the first panic since the last `take_first`.
        static FIRST: Cell<Option<String>> = Cell::new(None);
    }

    #[cfg(all(test, any(captor_loom, captor_shuttle)))]
    os_thread_local! {
        /// How many panics were contained. All threads of a model are coroutines of one thread, so
        /// each model counts its own panics.
        static CONTAINED: Cell<usize> = const { Cell::new(0) };
    }

    /// Records the message of a panic, unless an earlier message is still there.
    #[cfg_attr(not(feature = "testing"), allow(unused_variables))]
    pub(in crate::raw) fn unasked(message: &str) {
        // While the thread's locals are being dropped, no code asks for the message.
        #[cfg(feature = "testing")]
        let _ = FIRST.try_with(|first| {
            let message = first.take().unwrap_or_else(|| message.to_owned());
            first.set(Some(message));
        });
    }

    pub(in crate::raw) fn contained() {
        #[cfg(all(test, any(captor_loom, captor_shuttle)))]
        CONTAINED.set(CONTAINED.get() + 1);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn take_first() -> Option<String> {
        FIRST.with(Cell::take)
    }

    #[cfg(all(test, any(captor_loom, captor_shuttle)))]
    pub(crate) fn count() -> usize {
        CONTAINED.get()
    }
}
