//! One queued task: a single allocation with the closure, later its outcome,
//! and whoever waits for it.
//!
//! A task is reached from two sides. The *queue* owns it until it has run or
//! was refused ([`Queued`]); a *handle* owns it until its outcome was taken or
//! is of no interest ([`Handle`](crate::raw::task::handle::Handle)). A task with a deadline is reached from a
//! third, the *timer* ([`Expiry`](crate::raw::ending::expiry::Expiry)). The last of them frees it. The life word
//! decides between them:
//!
//! | bit | set by | when | never |
//! |---|---|---|---|
//! | `QUEUED` | birth | the queue still refers to the task; cleared by the queue, its last touch | after it was cleared |
//! | `HANDLE` | birth | a handle refers to it; cleared by the handle, its last touch | on a detached task |
//! | `TIMED` | birth | the timer refers to the task; cleared by the timer, its last touch. It may keep it for long after the task is through, so the last of the others drops the outcome | on a task on a stack |
//! | `CLAIMED` | queue, canceller or timer | who sets it owns the closure: it runs it or drops it | twice |
//! | `COMPLETE` | who claimed it | the outcome is in place | before `CLAIMED` |
//! | `TAKEN` | handle | the outcome was moved out | before `COMPLETE` |
//! | `WAITING` | handle | a waker is in place; while it is set and `COMPLETE` and `LENT` are not, only the handle may replace it | on a detached task |
//! | `THREAD` | handle | with `WAITING`: the waker unparks a thread that can take the role | |
//! | `LENT` | the holder | it takes the waker to offer its role to that thread; cleared when the role is on offer | with `WAITING` |
//! | `ASKED` | the holder | with `LENT`; cleared by the waiter, who then looks for the role | |
//! | `SUSPENDED` | the holder, with the backlog in hand, as it puts the task back | it was run, but not to its end, and is in the backlog; cleared by the holder, with the backlog in hand, as it takes the task out | before `CLAIMED`, without `WAITS` |
//! | `ROOM` | its submitter, before it is queued | it takes up room in a bounded queue; cleared by who claims it, who gives that back | after it was cleared |
//! | `STOP` | handle, sweep | it asked the task to stop, which was claimed by then; one that waits, or comes to, is given up by the holder | |
//! | `WAITS` | birth | it may come to wait, and then give its claim back | |
//! | `OVERDUE` | timer | its deadline passed after it was claimed; as with `STOP` | without `WAITS` |

use crate::error::{Panic, TaskError};
use crate::raw::strand::queue::Link;
use crate::raw::strand::state::ALIGN;
use crate::raw::task::signal::{Signal, Step};
use crate::raw::task::tag::{Meta, Tag};
use crate::raw::thread::context::{Described, TaskName};
use crate::raw::timing::alarm::Alarms;
use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::task::Waker;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

pub(crate) const QUEUED: u32 = 1;
pub(crate) const HANDLE: u32 = 1 << 1;
pub(crate) const CLAIMED: u32 = 1 << 2;
pub(crate) const COMPLETE: u32 = 1 << 3;
pub(crate) const TAKEN: u32 = 1 << 4;
pub(crate) const WAITING: u32 = 1 << 5;
pub(crate) const THREAD: u32 = 1 << 6;
pub(crate) const LENT: u32 = 1 << 7;
pub(crate) const ASKED: u32 = 1 << 8;
pub(crate) const SUSPENDED: u32 = 1 << 9;
pub(crate) const ROOM: u32 = 1 << 10;
pub(crate) const STOP: u32 = 1 << 11;
pub(crate) const TIMED: u32 = 1 << 12;
pub(crate) const WAITS: u32 = 1 << 13;
pub(crate) const OVERDUE: u32 = 1 << 14;

/// Those who refer to a task.
const OWNERS: u32 = QUEUED | HANDLE | TIMED;

/// How one run of a task ended.
#[derive(Debug)]
pub(crate) enum Ran {
    Returned,
    Panicked,
    Suspended(Arc<Signal>),
}

/// The part of a task that does not depend on its closure.
#[repr(C)]
pub(crate) struct Header {
    pub(in crate::raw) link: Link,
    pub(in crate::raw) vtable: &'static VTable,
    life: AtomicU32,
    /// Its priority.
    level: u8,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    meta: Option<Box<Meta>>,
}

impl Described for Header {
    fn name(&self) -> TaskName {
        self.meta.as_ref().and_then(|meta| meta.name)
    }

    fn level(&self) -> Option<u8> {
        Some(self.level)
    }

    fn queued_for(&self) -> Option<Duration> {
        self.meta.as_ref().map(|meta| meta.waited())
    }

    fn was_asked_to_stop(&self) -> bool {
        self.life() & (STOP | OVERDUE) != 0
    }

    fn waits(&self) -> bool {
        // Set, if at all, at birth.
        self.life.load(Ordering::Relaxed) & WAITS != 0
    }
}

/// A task's memory goes back after all use of it. loom sees no memory, so the
/// end of a task is a write to what both sides use.
#[cfg(captor_loom)]
impl Drop for Header {
    fn drop(&mut self) {
        self.life.with_mut(|_| ());
        self.waker.with_mut(|_| ());
    }
}

/// What to do with a closure whose type was forgotten.
///
/// Every function takes a live task of the type that the table was made for.
pub(in crate::raw) struct VTable {
    /// By what it is woken, if it may wait. Holds the closure, which nobody uses now.
    signal: unsafe fn(NonNull<Header>) -> Option<Arc<Signal>>,
    /// Runs the closure on the value and puts the outcome in its place. (The name is
    /// its resource's.)
    pub(in crate::raw) run: unsafe fn(NonNull<Header>, value: *mut (), Option<&str>) -> Ran,
    /// Drops the closure and puts the error in its place; a panic of the drop, if it
    /// panics, and then says so. (The name is its resource's.)
    pub(in crate::raw) refuse: unsafe fn(NonNull<Header>, TaskError, Option<&str>) -> Refused,
    /// Moves the outcome to `to`, a `Result<R, TaskError>`.
    pub(in crate::raw) take: unsafe fn(NonNull<Header>, to: *mut ()),
    /// Drops the outcome where it is.
    pub(in crate::raw) forget: unsafe fn(NonNull<Header>),
    /// Gives the memory back.
    pub(in crate::raw) free: unsafe fn(NonNull<Header>),
}

/// How the drop of a closure went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Dropped,
    Panicked,
}

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
// Six words: with a closure of up to two, a task fits into one cache line.
#[cfg(all(target_pointer_width = "64", not(any(captor_loom, captor_shuttle))))]
const _: () = assert!(size_of::<Header>() == 48);

/// How a type of closure is run; what makes a `Task<F, _>` runnable on a `T`.
pub(crate) trait Body<T, R>: Sized {
    /// May it answer with [`Step::Wait`]?
    const WAITS: bool = false;

    /// # Safety
    /// `this` holds an initialised closure that nobody else uses. It is moved
    /// out, unless the answer is [`Step::Wait`]; after that one it stays where it is.
    /// `value` is a `T` that nobody else uses now, or did since that answer.
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Step<R>;

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
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: *mut T) -> Step<R> {
        // SAFETY: initialised, ours, and not used again by the contract.
        let Once(f) = unsafe { ManuallyDrop::take(&mut *this) };
        // SAFETY: nobody else uses it, by the contract.
        Step::Done(f(unsafe { &mut *value }))
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
            Ok(Step::Done(result)) => (Ok(result), Ran::Returned),
            Ok(Step::Wait(signal)) => return Ran::Suspended(signal),
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
    unsafe fn refuse(this: NonNull<Header>, error: TaskError, resource: Option<&str>) -> Refused {
        // SAFETY: by the contract.
        let stage = unsafe { Self::stage(this) };
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure, ours, and it is not used again.
            unsafe { ManuallyDrop::drop(&mut (*stage).closure) }
        }));
        let (error, refused) = match dropped {
            Ok(()) => (error, Refused::Dropped),
            Err(payload) => {
                // SAFETY: live by the contract.
                let task = unsafe { this.as_ref() }.name();
                let panic = Panic::new(payload).of(resource, task);
                (TaskError::Panicked(panic), Refused::Panicked)
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

impl Header {
    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.meta.as_deref()
    }

    pub(in crate::raw) fn life(&self) -> u32 {
        // Acquire: partners with the AcqRel of every change; who sees
        // `COMPLETE` sees the outcome.
        self.life.load(Ordering::Acquire)
    }

    pub(in crate::raw) fn set(&self, bits: u32) -> u32 {
        self.life.fetch_or(bits, Ordering::AcqRel)
    }

    pub(in crate::raw) fn clear(&self, bits: u32) -> u32 {
        self.life.fetch_and(!bits, Ordering::AcqRel)
    }

    pub(in crate::raw) fn flip(&self, bits: u32) -> u32 {
        self.life.fetch_xor(bits, Ordering::AcqRel)
    }

    pub(in crate::raw) fn replace(&self, from: u32, to: u32) -> bool {
        self.life
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Its handle, or its deadline, asks it to stop, unless the other did before. Under
    /// the lock of those who do.
    pub(crate) fn ask_to_stop(&self, why: u32) {
        if self.life() & (STOP | OVERDUE) == 0 {
            self.set(why);
        }
    }

    /// Does it wait? With the backlog in hand.
    pub(crate) fn is_suspended(&self) -> bool {
        self.life() & SUSPENDED != 0
    }

    /// When it is to have started, if the timer is to see to that.
    #[inline]
    pub(crate) fn deadline_for_timer(&self) -> Option<Instant> {
        // Set, if at all, at birth.
        if self.life.load(Ordering::Relaxed) & TIMED == 0 {
            return None;
        }
        self.meta.as_ref().and_then(|meta| meta.deadline)
    }

    /// Claims one that was never run. `false`: somebody did before.
    pub(in crate::raw) fn claims(&self) -> bool {
        self.set(CLAIMED) & CLAIMED == 0
    }

    /// Claims one that nobody knows of but its maker.
    pub(in crate::raw) fn claim_unseen(&self) {
        // Relaxed: who comes to know of it is told by the queue.
        let life = self.life.load(Ordering::Relaxed);
        self.life.store(life | CLAIMED, Ordering::Relaxed);
    }

    /// Has it been asked, since it was claimed, to be given up where it waits?
    pub(crate) fn is_given_up(&self) -> Option<TaskError> {
        given_up(self.life())
    }

    /// It waits from now on. For the holder, who puts it back, with the backlog in hand.
    pub(crate) fn suspends(&self) {
        self.set(SUSPENDED | CLAIMED);
    }

    /// If it waits, it is to be given up, by whoever has the role next; returns by what
    /// that one is to be woken. With the backlog in hand: the future is neither run nor
    /// dropped meanwhile.
    pub(crate) fn gives_up(&self, why: u32) -> Option<Arc<Signal>> {
        if self.life() & (SUSPENDED | STOP | OVERDUE) != SUSPENDED {
            return None;
        }
        self.set(why);
        // SAFETY: suspended, so its closure is in place, and in nobody's use.
        unsafe { (self.vtable.signal)(NonNull::from(self)) }
    }

    /// Is there nothing to be claimed, now and later?
    pub(crate) fn is_past_claims(&self) -> bool {
        let life = self.life();
        life & CLAIMED != 0 && life & (WAITS | COMPLETE) != WAITS
    }

    /// It takes up room in a bounded queue from now on.
    pub(crate) fn takes_room(&self) {
        self.set(ROOM);
    }

    /// It does so no longer. `true` for the first who says so.
    pub(crate) fn leaves_room(&self) -> bool {
        // Set, if at all, before the task was queued.
        self.life.load(Ordering::Relaxed) & ROOM != 0 && self.clear(ROOM) & ROOM != 0
    }

    /// # Safety
    /// The waker is in place and the caller may take it (see the table).
    pub(in crate::raw) unsafe fn take_waker(&self) -> Waker {
        // A read, not a write: a handle may be comparing the same bytes now.
        // SAFETY: by the contract.
        self.waker.with(|w| unsafe { (*w).assume_init_read() })
    }

    /// # Safety
    /// A waker is in place, or was and nobody puts another there now.
    pub(in crate::raw) unsafe fn has_waker(&self, waker: &Waker) -> bool {
        // SAFETY: by the contract.
        self.waker
            .with(|w| unsafe { (*w).assume_init_ref().will_wake(waker) })
    }

    /// # Safety
    /// No waker is in place and only the caller may put one there.
    pub(in crate::raw) unsafe fn put_waker(&self, waker: Waker) {
        // SAFETY: by the contract.
        self.waker.with_mut(|w| unsafe {
            (*w).write(waker);
        });
    }
}

/// Puts the outcome on view. The caller claimed the task and has put it in place.
pub(in crate::raw) fn publish(header: &Header) -> Option<Waker> {
    let before = header.set(COMPLETE);
    // SAFETY: with `COMPLETE` set the handle leaves the waker to us, unless it
    // is lent; a lender clears `WAITING`.
    (before & WAITING != 0).then(|| unsafe { header.take_waker() })
}

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

/// The queue's reference to a task.
#[derive(Debug)]
#[must_use = "a task that leaves the queue has to be finished"]
pub(crate) struct Queued(NonNull<Header>);

// SAFETY: the closure inside is `Send`: the functions that make a `Queued` ask for it.
unsafe impl Send for Queued {}

impl Queued {
    /// A task whose outcome nobody asks for.
    pub(crate) fn detached<T, F>(f: F, tag: Tag) -> Self
    where
        F: FnOnce(&mut T) + Send,
    {
        Queued(boxed::<T, (), _>(Once(f), false, tag))
    }

    /// The queue's reference to a task that was made elsewhere.
    pub(in crate::raw) fn from_header(task: NonNull<Header>) -> Self {
        Queued(task)
    }

    /// What the queue knows of it.
    pub(crate) fn into_link(self) -> NonNull<Link> {
        self.0.cast()
    }

    /// # Safety
    /// `link` came from [`Queued::into_link`], and is in no queue now.
    pub(crate) unsafe fn from_link(link: NonNull<Link>) -> Self {
        Queued(link.cast())
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: live as long as the queue refers to it.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.header().meta()
    }

    /// Takes the closure, to run it or to drop it. `false`: it was cancelled.
    pub(crate) fn claim(&self) -> bool {
        let life = self.header().life.load(Ordering::Relaxed);
        if life & (HANDLE | TIMED | CLAIMED) == 0 {
            // Out of the queue, without a handle, not timed: nobody else can.
            return true;
        }
        self.header().claims()
    }

    /// Has its deadline passed before it started, or, where it may wait, at all?
    pub(crate) fn is_late(&self, clock: &dyn Alarms) -> bool {
        self.meta().is_some_and(|meta| match self.header().waits() {
            true => meta.is_late(clock),
            false => meta.is_late_to_start(clock),
        })
    }

    /// Runs the claimed closure.
    ///
    /// # Safety
    /// `value` is the value that the task was made for, and the caller's alone.
    pub(crate) unsafe fn run(&self, value: *mut (), resource: Option<&str>) -> Ran {
        // SAFETY: the closure is in place: it was claimed and not yet run to
        // its end; the rest by the contract.
        unsafe { (self.header().vtable.run)(self.0, value, resource) }
    }

    /// Drops the claimed closure, and lets the outcome be `error`.
    pub(crate) fn refuse(self, error: TaskError) {
        if let Some(waker) = self.fail(error) {
            crate::raw::thread::panics::wake(waker);
        }
    }

    /// The same, but for who waits: that one is for the caller to wake.
    #[must_use = "somebody waits for it"]
    pub(crate) fn fail(self, error: TaskError) -> Option<Waker> {
        self.drop_closure(error, None);
        self.complete()
    }

    /// Drops the claimed closure; its outcome is in place then, and not shown yet. (The
    /// name is its resource's.)
    pub(crate) fn drop_closure(&self, error: TaskError, resource: Option<&str>) -> Refused {
        // SAFETY: the closure is in place: it was claimed and not run to its end.
        unsafe { (self.header().vtable.refuse)(self.0, error, resource) }
    }

    /// Takes the closure back out of a task that was never queued.
    ///
    /// # Safety
    /// It was made by [`Handle::with_task`](crate::raw::task::handle::Handle::with_task) or [`Queued::detached`] as
    /// `Task<F, R>`, no push accepted it, and its handle is not used again.
    pub(crate) unsafe fn into_closure<F, R>(self) -> F {
        let task = self.0.cast::<Task<F, R>>();
        // SAFETY: never queued, so ours alone, and it still holds the closure.
        unsafe {
            let closure = task
                .as_ref()
                .stage
                .with_mut(|s| ManuallyDrop::take(&mut (*s).closure));
            (self.header().vtable.free)(self.0);
            closure
        }
    }

    /// The outcome is in place: shows it, and lets go. Who waits is for the
    /// caller to wake.
    #[must_use = "somebody waits for it"]
    #[inline]
    pub(crate) fn complete(self) -> Option<Waker> {
        let header = self.header();
        const COMMON: u32 = QUEUED | HANDLE | CLAIMED;
        if header.life.load(Ordering::Relaxed) & (HANDLE | TIMED) == 0 {
            // Nobody else is left who could look.
            self.dispose();
            return None;
        }
        if header.replace(COMMON, (COMMON | COMPLETE) & !QUEUED) {
            return None;
        }
        let waker = publish(header);
        self.leave();
        waker
    }

    /// Lets go of a task that is complete already: it was cancelled.
    pub(crate) fn leave(self) {
        // SAFETY: the queue's reference, not used again; the outcome is in place.
        unsafe { let_go(self.0, QUEUED, 0) }
    }

    /// Frees a task to which nobody else refers.
    fn dispose(self) {
        let header = self.header();
        // SAFETY: the last reference; what is in place is said by the bits.
        unsafe { dispose(self.0, header.life()) }
    }

    /// Offers the role to the thread that waits for this task, if one is
    /// parked. The task is in the backlog, which is in the caller's hand.
    ///
    /// The waker is out of the task when this returns, and `LENT` keeps the
    /// task alive until [`Lent::offered`]: its handle does not leave while it
    /// is set. See `docs/design.md`, Hand-off to a waiter.
    pub(crate) fn lend(link: NonNull<Link>) -> Option<Lent> {
        let this = link.cast::<Header>();
        // SAFETY: in the backlog, so live.
        let header = unsafe { this.as_ref() };
        let life = header.life();
        if life & (WAITING | THREAD | CLAIMED | LENT) != WAITING | THREAD {
            return None;
        }
        let lent = (life & !(WAITING | THREAD)) | LENT | ASKED;
        header.replace(life, lent).then(|| {
            // SAFETY: it was in place, and `LENT` says that we take it.
            let waker = unsafe { header.take_waker() };
            Lent { task: this, waker }
        })
    }
}

/// What comes out of a queue.
#[derive(Debug, Default)]
pub(crate) enum Taken {
    /// A task that is to be claimed, or what is left of one.
    #[default]
    New,
    /// One that waited, and may go on.
    Woken,
    /// One that waited, and is not to go on.
    GivenUp(TaskError),
}

/// Takes a task out of the backlog, which is in hand.
///
/// # Safety
/// `link` is a live task's.
#[inline]
pub(crate) unsafe fn takes(link: NonNull<Link>) -> Taken {
    // SAFETY: by the contract; a task begins with its header.
    let header = unsafe { link.cast::<Header>().as_ref() };
    // Relaxed: set and cleared with the backlog in hand.
    if header.life.load(Ordering::Relaxed) & SUSPENDED == 0 {
        return Taken::New;
    }
    takes_waiting(header)
}

#[cold]
fn takes_waiting(header: &Header) -> Taken {
    given_up(header.clear(SUSPENDED)).map_or(Taken::Woken, Taken::GivenUp)
}

fn given_up(life: u32) -> Option<TaskError> {
    match life {
        life if life & OVERDUE != 0 => Some(TaskError::Expired),
        life if life & STOP != 0 => Some(TaskError::Cancelled),
        _ => None,
    }
}

/// Does it wait? A sweep leaves it: it is for the holder to drop its future.
///
/// # Safety
/// `link` is a live task's, in the backlog, which is in hand.
pub(crate) unsafe fn is_waiting(link: NonNull<Link>) -> bool {
    // SAFETY: by the contract; a task begins with its header.
    unsafe { link.cast::<Header>().as_ref() }.life() & SUSPENDED != 0
}

/// The priority of a queued task.
///
/// # Safety
/// `link` is a live task's.
pub(crate) unsafe fn level_of(link: NonNull<Link>) -> u8 {
    // SAFETY: by the contract; a task begins with its header.
    unsafe { link.cast::<Header>().as_ref() }.level
}

/// Is it only what is left of a task that was cancelled, or expired?
///
/// # Safety
/// `link` is a live task's, in a queue.
pub(crate) unsafe fn is_over(link: NonNull<Link>) -> bool {
    // SAFETY: by the contract; a task begins with its header.
    unsafe { link.cast::<Header>().as_ref() }.life() & (CLAIMED | SUSPENDED) == CLAIMED
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

/// A waiter that is about to be offered the role.
#[must_use = "the waiter stays stuck until it hears of the offer"]
pub(crate) struct Lent {
    task: NonNull<Header>,
    waker: Waker,
}

impl Lent {
    /// The role is on offer now: lets the waiter know.
    pub(crate) fn offered(self) {
        // SAFETY: `LENT` is set, so the handle has not let go.
        unsafe { self.task.as_ref() }.clear(LENT);
        crate::raw::thread::panics::wake(self.waker);
    }
}
