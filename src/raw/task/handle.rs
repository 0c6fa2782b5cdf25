//! The handle's reference to a task: cancelling the task, waiting for the outcome and taking the
//! outcome. Also tasks on the stack frame of a caller that blocks.
//!
//! [`life`](crate::raw::task::life) describes the bits that are named here.

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

// SAFETY: a handle that moves to another thread gives that thread the outcome, an `R: Send`. The
// closure was required to be `Send` when the task was made.
unsafe impl<R: Send> Send for Handle<R> {}
// SAFETY: a shared handle lets a thread look at the life word and cancel the task, which drops a
// closure that is `Send`. A shared handle never gives access to the `R`.
unsafe impl<R: Send> Sync for Handle<R> {}

impl<R> Handle<R> {
    /// Makes a task and the handle to its outcome.
    pub(crate) fn with_task<T, F>(body: F, tag: Tag) -> (Queued, Self)
    where
        F: Body<T, R> + Send,
        R: Send,
    {
        let task = boxed::<T, R, F>(body, true, tag);
        (Queued::from_header(task), Handle::from_header(task))
    }

    /// Takes over the handle's reference to a task that was made elsewhere. The task must
    /// return an `R`.
    pub(in crate::raw) fn from_header(task: NonNull<Header>) -> Self {
        Handle(task, PhantomData)
    }

    /// Returns the task, for an ending that needs more than the header.
    pub(in crate::raw) fn task(&self) -> NonNull<Header> {
        self.0
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn waiting(&self) -> &dyn Waitable {
        self.header()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.header().life() & COMPLETE != 0
    }

    /// Claims the task and drops the closure. Returns `false` if the task was claimed before. If
    /// this returns `true`, the task will not run. Calls `claimed` after the claim and before the
    /// drop.
    pub(crate) fn cancel(&self, error: TaskError, claimed: impl FnOnce(&Header)) -> bool {
        let header = self.header();
        if !header.claims() {
            return false;
        }
        claimed(header);
        // SAFETY: the handle's reference keeps the task alive.
        if let Some(waker) = unsafe { refuse_claimed(self.0, error) } {
            panics::wake(waker);
        }
        true
    }

    /// Takes the outcome. Must be called once [`Handle::is_complete`] returns `true`.
    pub(crate) fn take(self) -> Result<R, TaskError> {
        let this = ManuallyDrop::new(self);
        assert!(this.is_complete(), "the task is not complete");
        this.header().settle();
        let mut outcome = MaybeUninit::<Result<R, TaskError>>::uninit();
        // SAFETY: the task is complete and the outcome was not taken, since taking consumes the
        // handle. The outcome is a `Result<R, TaskError>`, as the handle's type says.
        let outcome = unsafe {
            (this.header().vtable.take)(this.0, outcome.as_mut_ptr().cast());
            outcome.assume_init()
        };
        // SAFETY: this is the handle's reference, which is consumed. The outcome was taken.
        unsafe { let_go(this.0, HANDLE, TAKEN) };
        outcome
    }

    /// Registers `waker` for the outcome. Returns `false` if the task is complete.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.header().register(waker, 0)
    }
}

/// A reference for checking whether a task is complete. The handle must outlive this reference.
pub(crate) struct Outcome(NonNull<Header>);

// SAFETY: the only use of the task is to look at its life word, which any thread may do while the
// handle keeps the task alive (contract of `Handle::outcome`).
unsafe impl Send for Outcome {}
// SAFETY: any thread may look at the life word while the handle keeps the task alive (contract of
// `Handle::outcome`).
unsafe impl Sync for Outcome {}

impl Outcome {
    pub(crate) fn is_complete(&self) -> bool {
        // SAFETY: the handle still keeps the task alive (contract of `Handle::outcome`).
        unsafe { self.0.as_ref() }.is_complete()
    }
}

impl<R> Handle<R> {
    /// Returns a reference for checking whether the task is complete.
    ///
    /// # Safety
    /// The returned reference must be dropped before the handle is.
    pub(crate) unsafe fn outcome(&self) -> Outcome {
        Outcome(self.0)
    }
}

impl<R> Drop for Handle<R> {
    fn drop(&mut self) {
        // A waker that an earlier poll left behind must be taken out before the handle lets go.
        self.header().withdraw();
        self.header().settle();
        // SAFETY: this is the handle's reference, which is being dropped. If the queue has let go,
        // the task is complete.
        unsafe { let_go(self.0, HANDLE, 0) };
    }
}

/// A guard for a stack frame that a queued task refers to. To unwind out of that frame would leave
/// dangling references, so the guard aborts the process instead. The guard must be forgotten once
/// no task refers to the frame.
pub(crate) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Makes a task on this stack frame and returns its outcome.
///
/// `run` gets the queue's reference. `run` returns once the task is complete. If the task could not
/// be queued, `run` returns an error, and the closure comes back with this error.
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
            // The completer's last touch is to clear `QUEUED`, just after it has shown the outcome.
            while !task.header.is_released() {
                yield_now();
            }
            // SAFETY: the task is complete, and no other thread refers to the task any more.
            Ok(task
                .stage
                .with_mut(|s| unsafe { ManuallyDrop::take(&mut (*s).outcome) }))
        }
        Err(error) => {
            // SAFETY: the task was refused, so it still holds the closure, and only this thread
            // refers to the task.
            let Once(closure) = task
                .stage
                .with_mut(|s| unsafe { ManuallyDrop::take(&mut (*s).closure) });
            Err((error, closure))
        }
    };
    core::mem::forget(frame);
    result
}
