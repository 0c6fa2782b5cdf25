//! The body of an asynchronous task: a closure, then the future that the closure makes.
//!
//! The future borrows the resource's value for as long as the task lasts, which no lifetime can
//! express. The borrow begins at the first run and ends when the future is dropped. In between, the
//! role changes threads. The borrow is sound because a suspended task keeps its resource (see
//! [`signal`](crate::raw::task::signal)):
//!
//! - Only the holder polls or drops the future.
//! - No other thread makes a reference to the value meanwhile.
//! - The core is alive while any task of the resource is.
//!
//! `docs/design/tasks-that-wait.md` has the argument under "The borrow".

use crate::error::TaskError;
use crate::raw::task::body::Body;
use crate::raw::task::signal::{self, LazySignal, Polled, Signal};
use crate::raw::thread::panics;
use crate::sync::Arc;
use core::future::Future;
use core::mem::{ManuallyDrop, replace};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The argument of [`submit_async`](crate::Resource::submit_async): an async closure or an `async
/// fn` that takes a `&mut T`, and whose future is `Send`.
///
/// Every such closure implements this trait, so there is nothing to call or to implement. The trait
/// gives a name to the future that borrows for `'a`. A bound cannot express that otherwise.
pub trait AsyncTask<'a, T: 'a, R>: FnOnce(&'a mut T) -> Self::Future {
    /// The future of one run.
    type Future: Future<Output = R> + Send + 'a;
}

impl<'a, T: 'a, R, F, Fut> AsyncTask<'a, T, R> for F
where
    F: FnOnce(&'a mut T) -> Fut,
    Fut: Future<Output = R> + Send + 'a,
{
    type Future = Fut;
}

/// The future that an async task's closure makes. The lifetime stands for "as long as the task
/// lasts".
type FutureOf<T, R, F> = <F as AsyncTask<'static, T, R>>::Future;

/// The body of an asynchronous task, with the signal that wakes the task.
pub(crate) struct AsyncBody<T: 'static, R, F: AsyncTask<'static, T, R>> {
    stage: PollState<T, R, F>,
    signal: LazySignal,
}

enum PollState<T: 'static, R, F: AsyncTask<'static, T, R>> {
    Closure(F),
    /// Pinned: the future stays in place until it is dropped there.
    Future(FutureOf<T, R, F>),
    /// The closure panicked, or the future was dropped.
    Gone,
}

impl<T, R, F: AsyncTask<'static, T, R>> AsyncBody<T, R, F> {
    pub(crate) fn new(f: F) -> Self {
        AsyncBody {
            stage: PollState::Closure(f),
            signal: LazySignal::new(),
        }
    }

    /// Makes the future in the first call, and polls the future in each call.
    ///
    /// # Safety
    /// The caller must hold the role of the task's resource, and `value` must be the value of that
    /// resource. Every call must get this value, and no other thread may use the value between
    /// calls. The body must not be moved any more.
    unsafe fn poll(&mut self, value: *mut T) -> Poll<R> {
        let stage = &mut self.stage;
        self.signal.lend(|waker| {
            if let PollState::Closure(_) = stage {
                if let PollState::Closure(f) = replace(stage, PollState::Gone) {
                    // SAFETY: only the future uses the value until the future is dropped (contract
                    // of this function). The reference is made once: to make it again would end the
                    // borrow that the future holds.
                    *stage = PollState::Future(f(unsafe { &mut *value }));
                }
            }
            let PollState::Future(future) = stage else {
                unreachable!("a task does not run again after a panic");
            };
            // SAFETY: the future is not moved (contract of this function), and dropped in place.
            let future = unsafe { Pin::new_unchecked(future) };
            future.poll(&mut Context::from_waker(waker))
        })
    }
}

impl<T, R, F: AsyncTask<'static, T, R>> Drop for AsyncBody<T, R, F> {
    fn drop(&mut self) {
        /// Ends the signal even if the drop of the future panics.
        struct Ends<'a>(&'a LazySignal);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.ends();
            }
        }
        let _ends = Ends(&self.signal);
        let stage = &mut self.stage;
        signal::apart(|| *stage = PollState::Gone);
    }
}

impl<T, R, F: AsyncTask<'static, T, R>> Body<T, R> for AsyncBody<T, R, F> {
    const WAITS: bool = true;

    unsafe fn signal(this: *const ManuallyDrop<Self>) -> Option<Arc<Signal>> {
        // SAFETY: the body is initialised, and no thread uses the body now (contract of
        // `Body::signal`). The reference is to this field only, because the future beside it may
        // refer to itself.
        Some(Arc::clone(unsafe { &(*this.cast::<Self>()).signal }.get()))
    }

    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Polled<R> {
        // SAFETY: the body is initialised, and no other thread uses the body (contract of
        // `Body::call`).
        let polled = unsafe { &mut **this };
        polled.signal.starts();
        // SAFETY: no other thread uses the value now, or has since the first call (contract of
        // `Body::call`). A task is not moved once it was queued.
        let polled_to = catch_unwind(AssertUnwindSafe(|| unsafe { polled.poll(value) }));
        if let Ok(Poll::Pending) = polled_to {
            return Polled::Wait(Arc::clone(polled.signal.get()));
        }
        // Dropping the future is part of the task. A panic of the drop is caught: an unwind from
        // here would drop the result or the first panic, and a second panic there would abort the
        // process.
        // SAFETY: the body is not used again.
        let dropped = panics::catch(|| unsafe { ManuallyDrop::drop(&mut *this) });
        match (polled_to, dropped) {
            (Ok(Poll::Ready(result)), Ok(())) => Polled::Done(result),
            (Ok(Poll::Ready(result)), Err(panic)) => {
                panics::contain("drop of a result", || drop(result));
                panic.resume()
            }
            (Err(payload), dropped) => {
                panics::drop_outcome(dropped.map_err(TaskError::Panicked));
                resume_unwind(payload)
            }
            (Ok(Poll::Pending), _) => unreachable!("a pending task has returned already"),
        }
    }
}
