//! The typed task: its closure and later its outcome, and the functions on both once the type is
//! forgotten.
//!
//! The table of these functions ([`VTable`]) is made once for each type of task. Code that knows
//! only the header calls through the table.

use crate::error::{Panic, TaskError};
use crate::raw::strand::queue::Link;
use crate::raw::strand::state::ALIGN;
use crate::raw::task::life::{ClosureDrop, HANDLE, Header, QUEUED, Ran, TIMED, VTable, WAITS};
use crate::raw::task::signal::{Polled, Signal};
use crate::raw::task::tag::Tag;
use crate::raw::thread::context::Described;
use crate::sync::{Arc, AtomicU32, UnsafeCell};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The closure, then its outcome. The life word says which of the two is in place.
pub(in crate::raw) union Stage<F, R> {
    pub(in crate::raw) closure: ManuallyDrop<F>,
    pub(in crate::raw) outcome: ManuallyDrop<Result<R, TaskError>>,
}

/// A task with its type.
#[repr(C, align(16))]
pub(in crate::raw) struct Task<F, R> {
    pub(in crate::raw) header: Header,
    pub(in crate::raw) stage: UnsafeCell<Stage<F, R>>,
}

const _: () = assert!(align_of::<Task<(), ()>>() >= ALIGN);

/// How a type of closure is run. A `Task<F, _>` can run on a `T` if `F` is a `Body<T, _>`.
pub(crate) trait Body<T, R>: Sized {
    /// Whether [`Body::call`] may return [`Polled::Wait`].
    const WAITS: bool = false;

    /// Runs the closure on the value.
    ///
    /// # Safety
    /// `this` must hold an initialised closure that no other thread uses. The call moves the
    /// closure out, unless it returns [`Polled::Wait`]. In that case the closure stays in place.
    /// `value` must be a `T` that no other thread uses now. If an earlier call returned
    /// [`Polled::Wait`], no other thread may have used the `T` since.
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Polled<R>;

    /// Returns the signal that wakes the task, if the task may wait.
    ///
    /// # Safety
    /// `this` must hold an initialised closure that no thread uses now.
    unsafe fn signal(_this: *const ManuallyDrop<Self>) -> Option<Arc<Signal>> {
        None
    }
}

/// A closure that runs once.
pub(crate) struct Once<F>(pub(crate) F);

impl<T, R, F: FnOnce(&mut T) -> R> Body<T, R> for Once<F> {
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Polled<R> {
        // SAFETY: the closure is initialised, no other thread uses it, and it is moved out only
        // here (contract of `Body::call`).
        let Once(f) = unsafe { ManuallyDrop::take(&mut *this) };
        // SAFETY: no other thread uses the value (contract of `Body::call`).
        Polled::Done(f(unsafe { &mut *value }))
    }
}

impl<F, R> Task<F, R> {
    pub(in crate::raw) fn new<T>(closure: F, handle: bool, tag: Tag, free: FreeFn) -> Self
    where
        F: Body<T, R>,
    {
        let mut life = if handle { QUEUED | HANDLE } else { QUEUED };
        if tag.has_deadline() && matches!(free, FreeFn::Boxed) {
            life |= TIMED;
        }
        if F::WAITS {
            life |= WAITS;
        }
        let vtable = match free {
            FreeFn::Boxed => &Typed::<T, F, R>::BOXED,
            FreeFn::Borrowed => &Typed::<T, F, R>::BORROWED,
        };
        Task {
            header: Header {
                link: Link::new(),
                vtable,
                life: AtomicU32::new(life),
                waker: UnsafeCell::new(MaybeUninit::uninit()),
                level: tag.level,
                meta: tag.meta,
            },
            stage: UnsafeCell::new(Stage {
                closure: ManuallyDrop::new(closure),
            }),
        }
    }
}

pub(in crate::raw) enum FreeFn {
    Boxed,
    Borrowed,
}

struct Typed<T, F, R>(PhantomData<fn(T) -> (F, R)>);

impl<T, F: Body<T, R>, R> Typed<T, F, R> {
    const BORROWED: VTable = VTable {
        signal: Self::signal,
        run: Self::run,
        refuse: Self::refuse,
        take: Self::take,
        forget: Self::forget,
        free: |_| {},
    };
    const BOXED: VTable = VTable {
        free: Self::free,
        ..Self::BORROWED
    };

    /// Returns a pointer to the stage.
    ///
    /// # Safety
    /// For all functions of this table: `this` must be a live `Task<F, R>`. Each function says
    /// which state of the stage it needs.
    unsafe fn stage(this: NonNull<Header>) -> *mut Stage<F, R> {
        // SAFETY: a `Task` begins with its header (`repr(C)`), and the pointer was made from a
        // pointer to the whole task.
        let task = unsafe { this.cast::<Task<F, R>>().as_ref() };
        task.stage.with_mut(|stage| stage)
    }

    /// The stage must hold the closure, and no thread may use the closure now.
    unsafe fn signal(this: NonNull<Header>) -> Option<Arc<Signal>> {
        // SAFETY: the task is live, its stage holds the closure, and no thread uses the closure
        // (contract of this function).
        unsafe { F::signal(&raw const (*Self::stage(this)).closure) }
    }

    /// The stage must hold the closure, which the caller claimed. `value` must be a `T` that only
    /// the caller uses.
    unsafe fn run(this: NonNull<Header>, value: *mut (), resource: Option<&str>) -> Ran {
        // SAFETY: the task is live (contract of `Typed::stage`).
        let stage = unsafe { Self::stage(this) };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure, which the caller claimed. `value` is a `T` that
            // only the caller uses (contract of this function).
            unsafe { F::call(&raw mut (*stage).closure, value.cast::<T>()) }
        }));
        let (outcome, ran) = match ran {
            Ok(Polled::Done(result)) => (Ok(result), Ran::Returned),
            Ok(Polled::Wait(signal)) => return Ran::Suspended(signal),
            Err(payload) => {
                // SAFETY: the task is live (contract of `Typed::stage`).
                let task = unsafe { this.as_ref() }.name();
                let panic = Panic::new(payload).of(resource, task);
                (Err(TaskError::Panicked(panic)), Ran::Panicked)
            }
        };
        // SAFETY: `F::call` moved the closure out of the stage, and the caller's claim covers the
        // stage.
        unsafe { (*stage).outcome = ManuallyDrop::new(outcome) };
        ran
    }

    /// The stage must hold the closure, which the caller claimed.
    unsafe fn refuse(
        this: NonNull<Header>,
        error: TaskError,
        resource: Option<&str>,
    ) -> ClosureDrop {
        // SAFETY: the task is live (contract of `Typed::stage`).
        let stage = unsafe { Self::stage(this) };
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure, which the caller claimed and does not use again
            // (contract of this function).
            unsafe { ManuallyDrop::drop(&mut (*stage).closure) }
        }));
        let (error, refused) = match dropped {
            Ok(()) => (error, ClosureDrop::Dropped),
            Err(payload) => {
                // SAFETY: the task is live (contract of `Typed::stage`).
                let task = unsafe { this.as_ref() }.name();
                let panic = Panic::new(payload).of(resource, task);
                (TaskError::Panicked(panic), ClosureDrop::Panicked)
            }
        };
        // SAFETY: the closure in the stage was dropped, and the caller's claim covers the stage.
        unsafe { (*stage).outcome = ManuallyDrop::new(Err(error)) };
        refused
    }

    /// The stage must hold the outcome, which moves to `to`. `to` must be valid for writing a
    /// `Result<R, TaskError>`.
    unsafe fn take(this: NonNull<Header>, to: *mut ()) {
        // SAFETY: the stage holds the outcome, and `to` is valid for writing (contract of this
        // function). The caller does not use the outcome in the stage again.
        unsafe {
            let outcome = ManuallyDrop::take(&mut (*Self::stage(this)).outcome);
            to.cast::<Result<R, TaskError>>().write(outcome);
        }
    }

    /// The stage must hold the outcome, which is not used again.
    unsafe fn forget(this: NonNull<Header>) {
        let mut outcome = MaybeUninit::<Result<R, TaskError>>::uninit();
        // SAFETY: the stage holds the outcome (contract of this function), so `take` writes it to
        // the local variable.
        let outcome = unsafe {
            Self::take(this, outcome.as_mut_ptr().cast());
            outcome.assume_init()
        };
        crate::raw::thread::panics::drop_outcome(outcome);
    }

    /// The stage must hold neither closure nor outcome, and the task must be made by [`boxed`].
    unsafe fn free(this: NonNull<Header>) {
        // SAFETY: `boxed` made the task by a `Box` of this type, and the caller gives up the last
        // reference (contract of this function).
        drop(unsafe { Box::from_raw(this.cast::<Task<F, R>>().as_ptr()) });
    }
}

/// Makes a task on the heap that the queue owns, and also a handle if `handle` is set.
pub(in crate::raw) fn boxed<T, R, F>(closure: F, handle: bool, tag: Tag) -> NonNull<Header>
where
    F: Body<T, R>,
{
    let task = Box::new(Task::<F, R>::new::<T>(closure, handle, tag, FreeFn::Boxed));
    NonNull::from(Box::leak(task)).cast()
}
