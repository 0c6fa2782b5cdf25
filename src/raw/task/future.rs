//! The body of an asynchronous task: a closure, then the future that it makes.
//!
//! The future borrows the resource's value for as long as the task lasts, which no
//! lifetime can say: the borrow begins at the first run and ends when the future is
//! dropped, and in between the role changes threads. What makes it sound is that the
//! task keeps its resource (see [`suspend`](crate::raw::task::signal)): who has the role polls
//! the future and drops it, nobody else comes near the value meanwhile, and the core is
//! alive while any task of it is.

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

/// What [`submit_async`](crate::Resource::submit_async) takes: an async closure or an
/// `async fn` of a `&mut T`, whose future is `Send`.
///
/// It is implemented for all of those, and there is nothing to call or to implement:
/// it gives a name to the future that borrows for `'a`, which a bound cannot say
/// otherwise.
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

/// The future that an async task's closure makes. Its lifetime is a stand-in for "as
/// long as the task lasts".
type FutureOf<T, R, F> = <F as AsyncTask<'static, T, R>>::Future;

/// An asynchronous task.
pub(crate) struct AsyncBody<T: 'static, R, F: AsyncTask<'static, T, R>> {
    stage: PollState<T, R, F>,
    signal: LazySignal,
}

enum PollState<T: 'static, R, F: AsyncTask<'static, T, R>> {
    Closure(F),
    /// Pinned: it stays where it is until it is dropped there.
    Future(FutureOf<T, R, F>),
    /// The closure panicked.
    Gone,
}

impl<T, R, F: AsyncTask<'static, T, R>> AsyncBody<T, R, F> {
    pub(crate) fn new(f: F) -> Self {
        AsyncBody {
            stage: PollState::Closure(f),
            signal: LazySignal::new(),
        }
    }

    /// # Safety
    /// `value` is the value of the task's resource, whose role the caller has; it was
    /// the same in earlier calls, and nobody else used it in between. This is not moved
    /// any more.
    unsafe fn poll(&mut self, value: *mut T) -> Poll<R> {
        let stage = &mut self.stage;
        self.signal.lend(|waker| {
            if let PollState::Closure(_) = stage {
                if let PollState::Closure(f) = replace(stage, PollState::Gone) {
                    // SAFETY: the future's alone until it is dropped, by the contract. (It
                    // is not made again: that would end the borrow of the one before.)
                    *stage = PollState::Future(f(unsafe { &mut *value }));
                }
            }
            let PollState::Future(future) = stage else {
                unreachable!("it is not run again after a panic");
            };
            // SAFETY: not moved, by the contract, and dropped in place.
            let future = unsafe { Pin::new_unchecked(future) };
            future.poll(&mut Context::from_waker(waker))
        })
    }
}

impl<T, R, F: AsyncTask<'static, T, R>> Drop for AsyncBody<T, R, F> {
    fn drop(&mut self) {
        /// Also where the future's drop panics.
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
        // SAFETY: by the contract. (A reference to this field only: the future, beside it,
        // may refer to itself.)
        Some(Arc::clone(unsafe { &(*this.cast::<Self>()).signal }.get()))
    }

    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Polled<R> {
        // SAFETY: initialised and ours by the contract.
        let polled = unsafe { &mut **this };
        polled.signal.starts();
        // SAFETY: by the contract; a task is not moved once it was queued.
        let polled_to = catch_unwind(AssertUnwindSafe(|| unsafe { polled.poll(value) }));
        if let Ok(Poll::Pending) = polled_to {
            return Polled::Wait(Arc::clone(polled.signal.get()));
        }
        // Dropping the future is a part of the task, but is not to meet another panic.
        // SAFETY: not used again.
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
            (Ok(Poll::Pending), _) => unreachable!("handled above"),
        }
    }
}
