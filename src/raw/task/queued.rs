//! The queue's reference to a task.

use crate::error::TaskError;
use crate::raw::strand::queue::Link;
use crate::raw::task::body::{Once, Task, boxed};
use crate::raw::task::life::{
    CLAIMED, COMPLETE, ClosureDrop, HANDLE, Header, QUEUED, Ran, SUSPENDED, TIMED, given_up,
};
use crate::raw::task::owners::{dispose, let_go};
use crate::raw::task::tag::{Meta, Tag};
use crate::raw::task::waiter::publish;
use crate::raw::thread::context::Described;
use crate::raw::timing::alarm::Alarms;
use crate::sync::Ordering;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::task::Waker;

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
    pub(crate) fn drop_closure(&self, error: TaskError, resource: Option<&str>) -> ClosureDrop {
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
