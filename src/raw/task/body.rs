//! A task in full: its closure and later its outcome, and what is done with them once the
//! type is forgotten.

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

/// The closure, then its outcome. The life word says which.
pub(in crate::raw) union Stage<F, R> {
    pub(in crate::raw) closure: ManuallyDrop<F>,
    pub(in crate::raw) outcome: ManuallyDrop<Result<R, TaskError>>,
}

/// A task in full.
#[repr(C, align(16))]
pub(in crate::raw) struct Task<F, R> {
    pub(in crate::raw) header: Header,
    pub(in crate::raw) stage: UnsafeCell<Stage<F, R>>,
}

const _: () = assert!(align_of::<Task<(), ()>>() >= ALIGN);

/// How a type of closure is run; what makes a `Task<F, _>` runnable on a `T`.
pub(crate) trait Body<T, R>: Sized {
    /// May it answer with [`Polled::Wait`]?
    const WAITS: bool = false;

    /// # Safety
    /// `this` holds an initialised closure that nobody else uses. It is moved
    /// out, unless the answer is [`Polled::Wait`]; after that one it stays where it is.
    /// `value` is a `T` that nobody else uses now, or did since that answer.
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Polled<R>;

    /// By what it is woken, if it may wait.
    ///
    /// # Safety
    /// `this` holds an initialised closure that nobody uses now.
    unsafe fn signal(_this: *const ManuallyDrop<Self>) -> Option<Arc<Signal>> {
        None
    }
}

/// A closure that runs once.
pub(crate) struct Once<F>(pub(crate) F);

impl<T, R, F: FnOnce(&mut T) -> R> Body<T, R> for Once<F> {
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Polled<R> {
        // SAFETY: initialised, ours, and not used again by the contract.
        let Once(f) = unsafe { ManuallyDrop::take(&mut *this) };
        // SAFETY: nobody else uses it, by the contract.
        Polled::Done(f(unsafe { &mut *value }))
    }
}

impl<F, R> Task<F, R> {
    pub(in crate::raw) fn new<T>(closure: F, handle: bool, tag: Tag, free: FreeFn) -> Self
    where
        F: Body<T, R>,
    {
        let mut life = if handle { QUEUED | HANDLE } else { QUEUED };
        if tag.is_timed() && matches!(free, FreeFn::Boxed) {
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

    /// # Safety
    /// For all of these: `this` is a live `Task<F, R>`. What the life word
    /// says about its stage is named at each.
    unsafe fn stage(this: NonNull<Header>) -> *mut Stage<F, R> {
        // SAFETY: a `Task` begins with its header (`repr(C)`), and the pointer
        // was made from one to the whole task.
        let task = unsafe { this.cast::<Task<F, R>>().as_ref() };
        task.stage.with_mut(|stage| stage)
    }

    /// Holds the closure, which nobody uses now.
    unsafe fn signal(this: NonNull<Header>) -> Option<Arc<Signal>> {
        // SAFETY: by the contract.
        unsafe { F::signal(&raw const (*Self::stage(this)).closure) }
    }

    /// Holds the closure; the caller claimed it. `value` is a `T` that is the caller's.
    unsafe fn run(this: NonNull<Header>, value: *mut (), resource: Option<&str>) -> Ran {
        // SAFETY: by the contract.
        let stage = unsafe { Self::stage(this) };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure and is ours; `value` is a
            // `T` that nobody else uses now.
            unsafe { F::call(&raw mut (*stage).closure, value.cast::<T>()) }
        }));
        let (outcome, ran) = match ran {
            Ok(Polled::Done(result)) => (Ok(result), Ran::Returned),
            Ok(Polled::Wait(signal)) => return Ran::Suspended(signal),
            Err(payload) => {
                // SAFETY: live by the contract.
                let task = unsafe { this.as_ref() }.name();
                let panic = Panic::new(payload).of(resource, task);
                (Err(TaskError::Panicked(panic)), Ran::Panicked)
            }
        };
        // SAFETY: the closure was moved out of the stage, which is still ours.
        unsafe { (*stage).outcome = ManuallyDrop::new(outcome) };
        ran
    }

    /// Holds the closure; the caller claimed it.
    unsafe fn refuse(
        this: NonNull<Header>,
        error: TaskError,
        resource: Option<&str>,
    ) -> ClosureDrop {
        // SAFETY: by the contract.
        let stage = unsafe { Self::stage(this) };
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure, ours, and it is not used again.
            unsafe { ManuallyDrop::drop(&mut (*stage).closure) }
        }));
        let (error, refused) = match dropped {
            Ok(()) => (error, ClosureDrop::Dropped),
            Err(payload) => {
                // SAFETY: live by the contract.
                let task = unsafe { this.as_ref() }.name();
                let panic = Panic::new(payload).of(resource, task);
                (TaskError::Panicked(panic), ClosureDrop::Panicked)
            }
        };
        // SAFETY: the closure is gone from the stage, which is still ours.
        unsafe { (*stage).outcome = ManuallyDrop::new(Err(error)) };
        refused
    }

    /// Holds the outcome. `to` is a `Result<R, TaskError>` to be written.
    unsafe fn take(this: NonNull<Header>, to: *mut ()) {
        // SAFETY: by the contract; the caller does not let it be used again.
        unsafe {
            let outcome = ManuallyDrop::take(&mut (*Self::stage(this)).outcome);
            to.cast::<Result<R, TaskError>>().write(outcome);
        }
    }

    /// Holds the outcome, which is not used again.
    unsafe fn forget(this: NonNull<Header>) {
        let mut outcome = MaybeUninit::<Result<R, TaskError>>::uninit();
        // SAFETY: by the contract; `take` has then written it.
        let outcome = unsafe {
            Self::take(this, outcome.as_mut_ptr().cast());
            outcome.assume_init()
        };
        crate::raw::thread::panics::drop_outcome(outcome);
    }

    /// Holds neither closure nor outcome, and was made by [`boxed`].
    unsafe fn free(this: NonNull<Header>) {
        // SAFETY: made by `Box` as this type; the last reference is gone.
        drop(unsafe { Box::from_raw(this.cast::<Task<F, R>>().as_ptr()) });
    }
}

/// A task on the heap, as the queue's and, where asked for, a handle's.
pub(in crate::raw) fn boxed<T, R, F>(closure: F, handle: bool, tag: Tag) -> NonNull<Header>
where
    F: Body<T, R>,
{
    let task = Box::new(Task::<F, R>::new::<T>(closure, handle, tag, FreeFn::Boxed));
    NonNull::from(Box::leak(task)).cast()
}
