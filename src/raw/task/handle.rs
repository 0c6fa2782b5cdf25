//! Who waits for a task: the handle to its outcome, and the frame of a caller
//! that blocks for it.
//!
//! The bits named here are described at [`task`](crate::raw::task::life).

use crate::error::TaskError;
use crate::raw::task::body::{Body, FreeFn, Once, Task, boxed};
use crate::raw::task::life::{COMPLETE, HANDLE, Header, TAKEN};
use crate::raw::task::owners::{let_go, refuse_claimed};
use crate::raw::task::queued::Queued;
use crate::raw::task::tag::Tag;
use crate::raw::task::waiter::Waitable;
use crate::raw::thread::panics;
use crate::sync::yield_now;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::task::Waker;

/// A handle's reference to a task and its outcome.
#[derive(Debug)]
pub(crate) struct Handle<R>(NonNull<Header>, PhantomData<R>);

// SAFETY: what moves between threads through it is the outcome, an `R: Send`;
// the closure was asked to be `Send` when the task was made.
unsafe impl<R: Send> Send for Handle<R> {}
// SAFETY: through a shared handle one can look at the life word and cancel,
// which drops a closure that is `Send`; never reach the `R`.
unsafe impl<R: Send> Sync for Handle<R> {}

impl<R> Handle<R> {
    /// A task, and the handle to its outcome.
    pub(crate) fn with_task<T, F>(body: F, tag: Tag) -> (Queued, Self)
    where
        F: Body<T, R> + Send,
        R: Send,
    {
        let task = boxed::<T, R, F>(body, true, tag);
        (Queued::from_header(task), Handle::from_header(task))
    }

    /// The handle's reference to a task that was made elsewhere, and returns an `R`.
    pub(in crate::raw) fn from_header(task: NonNull<Header>) -> Self {
        Handle(task, PhantomData)
    }

    /// The task, for an ending that needs more than its header.
    pub(in crate::raw) fn task(&self) -> NonNull<Header> {
        self.0
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: live as long as the handle refers to it.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn waiting(&self) -> &dyn Waitable {
        self.header()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.header().life() & COMPLETE != 0
    }

    /// Drops the closure unless it was claimed. `true`: the task will not run,
    /// and `claimed` was called before.
    pub(crate) fn cancel(&self, error: TaskError, claimed: impl FnOnce(&Header)) -> bool {
        let header = self.header();
        if !header.claims() {
            return false;
        }
        claimed(header);
        // SAFETY: live as long as the handle refers to it.
        if let Some(waker) = unsafe { refuse_claimed(self.0, error) } {
            panics::wake(waker);
        }
        true
    }

    /// The outcome. Only once [`Handle::is_complete`].
    pub(crate) fn take(self) -> Result<R, TaskError> {
        let this = ManuallyDrop::new(self);
        assert!(this.is_complete(), "the task is not complete");
        this.header().settle();
        let mut outcome = MaybeUninit::<Result<R, TaskError>>::uninit();
        // SAFETY: complete and not taken: the handle is consumed. The
        // outcome is a `Result<R, TaskError>`, as the handle's type says.
        let outcome = unsafe {
            (this.header().vtable.take)(this.0, outcome.as_mut_ptr().cast());
            outcome.assume_init()
        };
        // SAFETY: the handle's reference, and it is consumed; taken.
        unsafe { let_go(this.0, HANDLE, TAKEN) };
        outcome
    }

    /// Registers `waker` for the outcome. `false`: it is complete.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.header().register(waker, 0)
    }
}

/// A look at whether a task is complete, which the handle outlives.
pub(crate) struct Outcome(NonNull<Header>);

// SAFETY: all that is done with the task is to look at its life word, which any thread
// may while the handle keeps it (see `Handle::outcome`).
unsafe impl Send for Outcome {}
// SAFETY: as above.
unsafe impl Sync for Outcome {}

impl Outcome {
    pub(crate) fn is_complete(&self) -> bool {
        // SAFETY: the handle is there, by the contract of `Handle::outcome`.
        unsafe { self.0.as_ref() }.is_complete()
    }
}

impl<R> Handle<R> {
    /// # Safety
    /// It is dropped before the handle is.
    pub(crate) unsafe fn outcome(&self) -> Outcome {
        Outcome(self.0)
    }
}

impl<R> Drop for Handle<R> {
    fn drop(&mut self) {
        // A waker left behind by an earlier poll goes first.
        self.header().withdraw();
        self.header().settle();
        // SAFETY: the handle's reference, and it is being dropped. If the queue's
        // is gone, the task is complete.
        unsafe { let_go(self.0, HANDLE, 0) };
    }
}

/// A stack frame that a queued task refers to: to leave it by an unwind would be
/// fatal. To be forgotten once nobody refers to it.
pub(crate) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Makes a task on this stack frame and returns its outcome.
///
/// `run` gets the queue's reference. It returns once the task is complete, or
/// with an error if it did not come to be queued; the closure then comes back.
pub(crate) fn on_stack<T, R, F, E>(
    closure: F,
    tag: Tag,
    run: impl FnOnce(&dyn Waitable, Queued) -> Result<(), E>,
) -> Result<Result<R, TaskError>, (E, F)>
where
    F: FnOnce(&mut T) -> R + Send,
    R: Send,
{
    let body = Once(closure);
    let task = Task::<Once<F>, R>::new::<T>(body, true, tag, FreeFn::Borrowed);
    let this = NonNull::from(&task).cast::<Header>();
    let frame = AbortOnUnwind;
    let result = match run(&task.header, Queued::from_header(this)) {
        Ok(()) => {
            task.header.settle();
            // The completer's last touch comes just after it showed the outcome.
            while !task.header.is_released() {
                yield_now();
            }
            // SAFETY: complete, and nobody else refers to the task any more.
            Ok(task
                .stage
                .with_mut(|s| unsafe { ManuallyDrop::take(&mut (*s).outcome) }))
        }
        Err(error) => {
            // SAFETY: refused, so it still holds the closure and is ours alone.
            let Once(closure) = task
                .stage
                .with_mut(|s| unsafe { ManuallyDrop::take(&mut (*s).closure) });
            Err((error, closure))
        }
    };
    core::mem::forget(frame);
    result
}
