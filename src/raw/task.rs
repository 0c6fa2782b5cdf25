//! One queued task: a single allocation with the closure, later its outcome,
//! and whoever waits for it.
//!
//! A task is reached from two sides. The *queue* owns it until it has run or
//! was refused ([`Queued`]); a *handle* owns it until its outcome was taken or
//! is of no interest ([`Handle`]). The last of the two frees it. The life word
//! decides between them:
//!
//! | bit | set by | when | never |
//! |---|---|---|---|
//! | `QUEUED` | birth | the queue still refers to the task; cleared by the queue, its last touch | after it was cleared |
//! | `HANDLE` | birth | a handle refers to it; cleared by the handle, its last touch | on a detached task |
//! | `CLAIMED` | queue or canceller | who sets it owns the closure: it runs it or drops it | twice |
//! | `COMPLETE` | who claimed it | the outcome is in place | before `CLAIMED` |
//! | `TAKEN` | handle | the outcome was moved out | before `COMPLETE` |
//! | `WAITING` | handle | a waker is in place; while it is set and `COMPLETE` and `LENT` are not, only the handle may replace it | on a detached task |
//! | `THREAD` | handle | with `WAITING`: the waker unparks a thread that can take the role | |
//! | `LENT` | the holder | it takes the waker to offer its role to that thread; cleared when the role is on offer | with `WAITING` |
//! | `ASKED` | the holder | with `LENT`; cleared by the waiter, who then looks for the role | |
//! | `SUSPENDED` | the holder | the closure was run, but not to its end | before `CLAIMED` |

use crate::error::{Panic, TaskError};
use crate::raw::queue::Link;
use crate::raw::state::ALIGN;
use crate::raw::suspend::{Step, Suspension};
use crate::sync::{AtomicUsize, Ordering, UnsafeCell, yield_now};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::task::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) const QUEUED: usize = 1;
pub(crate) const HANDLE: usize = 1 << 1;
pub(crate) const CLAIMED: usize = 1 << 2;
pub(crate) const COMPLETE: usize = 1 << 3;
pub(crate) const TAKEN: usize = 1 << 4;
pub(crate) const WAITING: usize = 1 << 5;
pub(crate) const THREAD: usize = 1 << 6;
pub(crate) const LENT: usize = 1 << 7;
pub(crate) const ASKED: usize = 1 << 8;
pub(crate) const SUSPENDED: usize = 1 << 9;

/// How one run of a task ended.
#[derive(Debug)]
pub(crate) enum Ran {
    Returned,
    Panicked,
    Suspended(Suspension),
}

/// What a task is called and under which span it was submitted.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) name: Option<&'static str>,
    pub(crate) span: tracing::Span,
}

impl Meta {
    /// Nothing, where there is neither a name nor a current span.
    pub(crate) fn current(name: Option<&'static str>) -> Option<Box<Meta>> {
        let span = tracing::Span::current();
        (name.is_some() || !span.is_disabled()).then(|| Box::new(Meta { name, span }))
    }
}

/// The part of a task that does not depend on its closure.
#[repr(C)]
pub(crate) struct Header {
    link: Link,
    vtable: &'static VTable,
    life: AtomicUsize,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    meta: Option<Box<Meta>>,
}

/// What to do with a closure whose type was forgotten.
///
/// Every function takes a live task of the type that the table was made for.
struct VTable {
    /// Runs the closure on the value and puts the outcome in its place.
    run: unsafe fn(NonNull<Header>, value: *mut ()) -> Ran,
    /// Drops the closure and puts the error in its place.
    refuse: unsafe fn(NonNull<Header>, TaskError),
    /// Moves the outcome to `to`, a `Result<R, TaskError>`.
    take: unsafe fn(NonNull<Header>, to: *mut ()),
    /// Drops the outcome where it is.
    forget: unsafe fn(NonNull<Header>),
    /// Gives the memory back.
    free: unsafe fn(NonNull<Header>),
}

/// The closure, then its outcome. The life word says which.
union Stage<F, R> {
    closure: ManuallyDrop<F>,
    outcome: ManuallyDrop<Result<R, TaskError>>,
}

/// A task in full.
#[repr(C, align(16))]
pub(crate) struct Task<F, R> {
    header: Header,
    stage: UnsafeCell<Stage<F, R>>,
}

const _: () = assert!(align_of::<Task<(), ()>>() >= ALIGN);

/// How a type of closure is run; what makes a `Task<F, _>` runnable on a `T`.
pub(crate) trait Body<T, R>: Sized {
    /// # Safety
    /// `this` holds an initialised closure that nobody else uses. It is moved
    /// out, unless the answer is [`Step::Wait`].
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: &mut T) -> Step<R>;
}

/// A closure that runs once.
pub(crate) struct Once<F>(pub(crate) F);

impl<T, R, F: FnOnce(&mut T) -> R> Body<T, R> for Once<F> {
    unsafe fn call(this: *mut ManuallyDrop<Self>, value: &mut T) -> Step<R> {
        // SAFETY: initialised, ours, and not used again by the contract.
        let Once(f) = unsafe { ManuallyDrop::take(&mut *this) };
        Step::Done(f(value))
    }
}

impl<F, R> Task<F, R> {
    fn new<T>(closure: F, handle: bool, meta: Option<Box<Meta>>, free: FreeFn) -> Self
    where
        F: Body<T, R>,
    {
        let life = if handle { QUEUED | HANDLE } else { QUEUED };
        let vtable = match free {
            FreeFn::Boxed => &Typed::<T, F, R>::BOXED,
            FreeFn::Borrowed => &Typed::<T, F, R>::BORROWED,
        };
        Task {
            header: Header {
                link: Link::new(),
                vtable,
                life: AtomicUsize::new(life),
                waker: UnsafeCell::new(MaybeUninit::uninit()),
                meta,
            },
            stage: UnsafeCell::new(Stage {
                closure: ManuallyDrop::new(closure),
            }),
        }
    }
}

enum FreeFn {
    Boxed,
    Borrowed,
}

struct Typed<T, F, R>(PhantomData<fn(T) -> (F, R)>);

impl<T, F: Body<T, R>, R> Typed<T, F, R> {
    const BORROWED: VTable = VTable {
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

    /// Holds the closure; the caller claimed it. `value` is a `T` that is the caller's.
    unsafe fn run(this: NonNull<Header>, value: *mut ()) -> Ran {
        // SAFETY: by the contract.
        let stage = unsafe { Self::stage(this) };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure and is ours; `value` is a
            // `T` that nobody else uses now.
            unsafe { F::call(&raw mut (*stage).closure, &mut *value.cast::<T>()) }
        }));
        let (outcome, ran) = match ran {
            Ok(Step::Done(result)) => (Ok(result), Ran::Returned),
            Ok(Step::Wait(suspension)) => return Ran::Suspended(suspension),
            Err(payload) => (Err(TaskError::Panicked(Panic::new(payload))), Ran::Panicked),
        };
        // SAFETY: the closure was moved out of the stage, which is still ours.
        unsafe { (*stage).outcome = ManuallyDrop::new(outcome) };
        ran
    }

    /// Holds the closure; the caller claimed it.
    unsafe fn refuse(this: NonNull<Header>, error: TaskError) {
        // SAFETY: by the contract.
        let stage = unsafe { Self::stage(this) };
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the closure, ours, and it is not used again.
            unsafe { ManuallyDrop::drop(&mut (*stage).closure) }
        }));
        let error = match dropped {
            Ok(()) => error,
            Err(payload) => TaskError::Panicked(Panic::new(payload)),
        };
        // SAFETY: the closure is gone from the stage, which is still ours.
        unsafe { (*stage).outcome = ManuallyDrop::new(Err(error)) };
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
        crate::raw::panics::drop_outcome(outcome);
    }

    /// Holds neither closure nor outcome, and was made by [`boxed`].
    unsafe fn free(this: NonNull<Header>) {
        // SAFETY: made by `Box` as this type; the last reference is gone.
        drop(unsafe { Box::from_raw(this.cast::<Task<F, R>>().as_ptr()) });
    }
}

/// A task on the heap, as the queue's and, where asked for, a handle's.
fn boxed<T, R, F>(closure: F, handle: bool, meta: Option<Box<Meta>>) -> NonNull<Header>
where
    F: Body<T, R>,
{
    let task = Box::new(Task::<F, R>::new::<T>(closure, handle, meta, FreeFn::Boxed));
    NonNull::from(Box::leak(task)).cast()
}

impl Header {
    fn life(&self) -> usize {
        // Acquire: partners with the AcqRel of every change; who sees
        // `COMPLETE` sees the outcome.
        self.life.load(Ordering::Acquire)
    }

    fn set(&self, bits: usize) -> usize {
        self.life.fetch_or(bits, Ordering::AcqRel)
    }

    fn clear(&self, bits: usize) -> usize {
        self.life.fetch_and(!bits, Ordering::AcqRel)
    }

    fn replace(&self, from: usize, to: usize) -> bool {
        self.life
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// # Safety
    /// The waker is in place and the caller may take it (see the table).
    unsafe fn take_waker(&self) -> Waker {
        // A read, not a write: a handle may be comparing the same bytes now.
        // SAFETY: by the contract.
        self.waker.with(|w| unsafe { (*w).assume_init_read() })
    }

    /// # Safety
    /// No waker is in place and only the caller may put one there.
    unsafe fn put_waker(&self, waker: Waker) {
        // SAFETY: by the contract.
        self.waker.with_mut(|w| unsafe {
            (*w).write(waker);
        });
    }
}

/// Puts the outcome on view. The caller claimed the task and has put it in place.
fn publish(header: &Header) -> Option<Waker> {
    let before = header.set(COMPLETE);
    // SAFETY: with `COMPLETE` set the handle leaves the waker to us, unless it
    // is lent; a lender clears `WAITING`.
    (before & WAITING != 0).then(|| unsafe { header.take_waker() })
}

/// The queue's reference to a task.
#[derive(Debug)]
#[must_use = "a task that leaves the queue has to be finished"]
pub(crate) struct Queued(NonNull<Header>);

// SAFETY: the closure inside is `Send`: the functions that make a `Queued` ask for it.
unsafe impl Send for Queued {}

impl Queued {
    /// A task whose outcome nobody asks for.
    pub(crate) fn detached<T, F>(f: F, meta: Option<Box<Meta>>) -> Self
    where
        F: FnOnce(&mut T) + Send,
    {
        Queued(boxed::<T, (), _>(Once(f), false, meta))
    }

    /// A task with a handle to its outcome.
    pub(crate) fn with_handle<T, R, F>(body: F, meta: Option<Box<Meta>>) -> (Self, Handle<R>)
    where
        F: Body<T, R> + Send,
        R: Send,
    {
        let task = boxed::<T, R, F>(body, true, meta);
        (Queued(task), Handle(task, PhantomData))
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
        self.header().meta.as_deref()
    }

    /// Takes the closure, to run it or to drop it. `false`: it was cancelled.
    pub(crate) fn claim(&self) -> bool {
        let life = self.header().life.load(Ordering::Relaxed);
        if life & (HANDLE | CLAIMED) == 0 {
            // Out of the queue and without a handle: nobody else can.
            return true;
        }
        if life & SUSPENDED != 0 {
            // Claimed at its first run, and resumed since.
            self.header().clear(SUSPENDED);
            return true;
        }
        self.header().set(CLAIMED) & CLAIMED == 0
    }

    /// Runs the claimed closure.
    ///
    /// # Safety
    /// `value` is the value that the task was made for, and the caller's alone.
    pub(crate) unsafe fn run(&self, value: *mut ()) -> Ran {
        // SAFETY: the closure is in place: it was claimed and not yet run to
        // its end; the rest by the contract.
        unsafe { (self.header().vtable.run)(self.0, value) }
    }

    /// Drops the claimed closure, and lets the outcome be `error`.
    pub(crate) fn refuse(self, error: TaskError) {
        // SAFETY: the closure is in place: it was claimed and not run.
        unsafe { (self.header().vtable.refuse)(self.0, error) };
        self.complete();
    }

    /// Takes the closure back out of a task that was never queued.
    ///
    /// # Safety
    /// It was made by [`Queued::with_handle`] or [`Queued::detached`] as
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

    /// The outcome is in place: shows it, wakes who waits, and lets go.
    pub(crate) fn complete(self) {
        let header = self.header();
        const COMMON: usize = QUEUED | HANDLE | CLAIMED;
        if header.life.load(Ordering::Relaxed) & HANDLE == 0 {
            // Nobody else is left who could look.
            return self.dispose();
        }
        if header.replace(COMMON, (COMMON | COMPLETE) & !QUEUED) {
            return;
        }
        let waker = publish(header);
        self.leave();
        if let Some(waker) = waker {
            crate::raw::panics::wake(waker);
        }
    }

    /// Lets go of a task that is complete already: it was cancelled.
    pub(crate) fn leave(self) {
        if self.header().clear(QUEUED) & HANDLE == 0 {
            self.dispose();
        }
    }

    /// Frees a task whose handle is gone.
    fn dispose(self) {
        let header = self.header();
        // SAFETY: the last reference; what is in place is said by the bits.
        unsafe { dispose(self.0, header.life()) }
    }

    /// It was run and came back to wait: the next claim goes on with it.
    pub(crate) fn suspended(&self) {
        self.header().set(SUSPENDED | CLAIMED);
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

/// # Safety
/// The caller holds the last reference to `task`, whose life word is `life`.
unsafe fn dispose(task: NonNull<Header>, life: usize) {
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
        crate::raw::panics::wake(self.waker);
    }
}

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
    fn header(&self) -> &Header {
        // SAFETY: live as long as the handle refers to it.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn waiting(&self) -> &dyn Awaited {
        self.header()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.header().life() & COMPLETE != 0
    }

    /// Drops the closure unless it was claimed. `true`: the task will not run.
    pub(crate) fn cancel(&self, error: TaskError) -> bool {
        let header = self.header();
        if header.set(CLAIMED) & CLAIMED != 0 {
            return false;
        }
        // SAFETY: claimed just now, so the closure is in place and ours.
        unsafe { (header.vtable.refuse)(self.0, error) };
        if let Some(waker) = publish(header) {
            crate::raw::panics::wake(waker);
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
        this.let_go(TAKEN);
        outcome
    }

    /// Clears `HANDLE` and sets `also`, which is not set, in one step.
    fn let_go(&self, also: usize) {
        let flipped = HANDLE | also;
        let before = self.header().life.fetch_xor(flipped, Ordering::AcqRel);
        if before & QUEUED == 0 {
            // SAFETY: the queue's reference is gone, and this was the other.
            unsafe { dispose(self.0, before ^ flipped) }
        }
    }

    /// Registers `waker` for the outcome. `false`: it is complete.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.header().register(waker, 0)
    }
}

impl<R> Drop for Handle<R> {
    fn drop(&mut self) {
        // A waker left behind by an earlier poll goes first.
        self.header().withdraw();
        self.header().settle();
        self.let_go(0);
    }
}

/// What the waiting core needs of a task, whatever it returns.
pub(crate) trait Awaited {
    /// The address it is queued under.
    fn link(&self) -> *const Link;
    /// The outcome is in place.
    fn is_complete(&self) -> bool;
    /// The queue does not refer to the task any more.
    fn is_released(&self) -> bool;
    /// Puts a thread's waker in place; one that `helps` may be offered the
    /// role through it. `false`: complete.
    fn register_thread(&self, waker: &Waker, helps: bool) -> bool;
    /// The holder has taken the waker to offer its role: true once an offer
    /// (which the waiter then has to look for).
    fn was_asked(&self) -> bool;
    /// Takes the waker back out, and waits out a holder that is taking it.
    fn withdraw(&self);
    /// Waits until no holder is about to offer its role through this task.
    fn settle(&self);
}

impl Awaited for Header {
    fn link(&self) -> *const Link {
        &raw const self.link
    }

    fn is_complete(&self) -> bool {
        self.life() & COMPLETE != 0
    }

    fn is_released(&self) -> bool {
        self.life() & QUEUED == 0
    }

    fn register_thread(&self, waker: &Waker, helps: bool) -> bool {
        self.register(waker, if helps { THREAD } else { 0 })
    }

    fn was_asked(&self) -> bool {
        let life = self.life();
        if life & ASKED == 0 || life & LENT != 0 {
            return false;
        }
        self.clear(ASKED);
        true
    }

    fn withdraw(&self) {
        loop {
            let life = self.life();
            if life & COMPLETE != 0 || life & WAITING == 0 {
                return;
            }
            if self.replace(life, life & !(WAITING | THREAD)) {
                // SAFETY: it was in place, and by clearing `WAITING` before
                // completion and lending we took it back.
                let waker = unsafe { self.take_waker() };
                crate::raw::panics::contain("drop of a waker", || drop(waker));
                return;
            }
        }
    }

    fn settle(&self) {
        // The holder clears it a few instructions after it set it.
        while self.life() & LENT != 0 {
            yield_now();
        }
    }
}

impl Header {
    fn register(&self, waker: &Waker, kind: usize) -> bool {
        loop {
            let life = self.life();
            if life & COMPLETE != 0 {
                return false;
            }
            if life & LENT != 0 {
                self.settle();
                continue;
            }
            if life & WAITING != 0 {
                // A completer only reads the waker, so comparing is no race.
                // SAFETY: in place while `WAITING` is set, and only the handle
                // replaces it.
                let same = self
                    .waker
                    .with(|w| unsafe { (*w).assume_init_ref().will_wake(waker) });
                if same && (life & THREAD) == kind {
                    return true;
                }
                self.withdraw();
                continue;
            }
            // SAFETY: none is in place, and only the handle puts one there.
            unsafe { self.put_waker(waker.clone()) };
            if self.replace(life, life | WAITING | kind) {
                return true;
            }
            // SAFETY: not published, so still ours.
            let waker = unsafe { self.take_waker() };
            crate::raw::panics::contain("drop of a waker", || drop(waker));
        }
    }
}

/// Runs `wait` with a task on this stack frame that is queued by `push`, and
/// returns its outcome.
///
/// `push` gets the queue's reference: it queues it or refuses it. `wait` has
/// to return only once the task is complete.
pub(crate) fn on_stack<T, R, F, E>(
    closure: F,
    meta: Option<Box<Meta>>,
    push: impl FnOnce(Queued) -> Result<(), E>,
    wait: impl FnOnce(&dyn Awaited),
) -> Result<Result<R, TaskError>, (E, F)>
where
    F: FnOnce(&mut T) -> R + Send,
    R: Send,
{
    /// Leaving the frame while the queue refers to it would be fatal.
    struct Frame;
    impl Drop for Frame {
        fn drop(&mut self) {
            std::process::abort();
        }
    }

    let body = Once(closure);
    let task = Task::<Once<F>, R>::new::<T>(body, true, meta, FreeFn::Borrowed);
    let this = NonNull::from(&task).cast::<Header>();
    let frame = Frame;
    let result = match push(Queued(this)) {
        Ok(()) => {
            wait(&task.header);
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
