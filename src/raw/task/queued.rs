//! The queue's reference to a task: making tasks, claiming, running and refusing them, and showing
//! the outcome.

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
#[must_use = "a task that leaves the queue must be finished"]
pub(crate) struct Queued(NonNull<Header>);

// SAFETY: the closure in the task is `Send`: the functions that make a `Queued` require that.
unsafe impl Send for Queued {}

impl Queued {
    /// Makes a task whose outcome is not wanted.
    pub(crate) fn detached<T, F>(f: F, tag: Tag) -> Self
    where
        F: FnOnce(&mut T) + Send,
    {
        Queued(boxed::<T, (), _>(Once(f), false, tag))
    }

    /// Takes over the queue's reference to a task that was made elsewhere.
    pub(in crate::raw) fn from_header(task: NonNull<Header>) -> Self {
        Queued(task)
    }

    /// Returns the link that the queue works with.
    pub(crate) fn into_link(self) -> NonNull<Link> {
        self.0.cast()
    }

    /// Takes the queue's reference back from a link.
    ///
    /// # Safety
    /// `link` must come from [`Queued::into_link`], and be in no queue now.
    pub(crate) unsafe fn from_link(link: NonNull<Link>) -> Self {
        Queued(link.cast())
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the queue's reference keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.header().meta()
    }

    /// Claims the closure, to run or drop it. Returns `false` if the task was claimed before.
    pub(crate) fn claim(&self) -> bool {
        let life = self.header().life.load(Ordering::Relaxed);
        if life & (HANDLE | TIMED | CLAIMED) == 0 {
            // The task is out of the queue, without a handle, and not timed. So no other thread can
            // claim the task.
            // Relaxed: the owners' bits are only ever cleared.
            return true;
        }
        self.header().claims()
    }

    /// Checks whether the deadline has passed. Must be called by the holder, before the task starts
    /// or resumes.
    ///
    /// - *A task that may wait*: the holder asks before the start and again before each resume, and
    ///   the deadline counts each time.
    /// - *A plain task*: the holder asks once, before the start. `is_late_to_start` also looks at
    ///   whether the task has started. That look is redundant, because a plain task runs once.
    pub(crate) fn is_late(&self, clock: &dyn Alarms) -> bool {
        self.meta().is_some_and(|meta| match self.header().waits() {
            true => meta.is_late(clock),
            false => meta.is_late_to_start(clock),
        })
    }

    /// Runs the claimed closure.
    ///
    /// # Safety
    /// `value` must be the value that the task was made for, and only the caller may use it.
    pub(crate) unsafe fn run(&self, value: *mut (), resource: Option<&str>) -> Ran {
        // SAFETY: the task was claimed and has not run to its end, so the closure is in place. The
        // value is the caller's (contract of this function).
        unsafe { (self.header().vtable.run)(self.0, value, resource) }
    }

    /// Drops the claimed closure, shows `error` as the outcome, and wakes the waiter.
    pub(crate) fn refuse(self, error: TaskError) {
        if let Some(waker) = self.fail(error) {
            crate::raw::thread::panics::wake(waker);
        }
    }

    /// Drops the claimed closure and shows `error` as the outcome. Returns the waiter's waker,
    /// which the caller must wake.
    #[must_use = "the caller must wake the waiter"]
    pub(crate) fn fail(self, error: TaskError) -> Option<Waker> {
        self.drop_closure(error, None);
        self.complete()
    }

    /// Drops the claimed closure. The outcome is then in place, but not shown yet. `resource` is
    /// the resource's name.
    pub(crate) fn drop_closure(&self, error: TaskError, resource: Option<&str>) -> ClosureDrop {
        // SAFETY: the task was claimed and has not run to its end, so the closure is in place.
        unsafe { (self.header().vtable.refuse)(self.0, error, resource) }
    }

    /// Takes the closure back out of a task that was never queued.
    ///
    /// # Safety
    /// The task must be made by [`Handle::with_task`](crate::raw::task::handle::Handle::with_task)
    /// or [`Queued::detached`] as `Task<F, R>`. No push may have accepted the task, and its handle
    /// must not be used again.
    pub(crate) unsafe fn into_closure<F, R>(self) -> F {
        let task = self.0.cast::<Task<F, R>>();
        // SAFETY: the task was never queued, and its handle is not used again (contract of this
        // function). So only this thread refers to the task, which still holds the closure.
        unsafe {
            let closure = task
                .as_ref()
                .stage
                .with_mut(|s| ManuallyDrop::take(&mut (*s).closure));
            (self.header().vtable.free)(self.0);
            closure
        }
    }

    /// Shows the outcome, which is in place, and lets go of the task. Returns the waiter's waker,
    /// which the caller must wake.
    #[must_use = "the caller must wake the waiter"]
    #[inline]
    pub(crate) fn complete(self) -> Option<Waker> {
        let header = self.header();
        const COMMON: u32 = QUEUED | HANDLE | CLAIMED;
        if header.life.load(Ordering::Relaxed) & (HANDLE | TIMED) == 0 {
            // No other owner is left that could look.
            // Relaxed: the owners' bits are only ever cleared, and `dispose` acquires what earlier
            // owners did.
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

    /// Lets go of a task that is complete already, because another thread refused it.
    pub(crate) fn leave(self) {
        // SAFETY: this is the queue's reference, and not used again. The outcome is in place.
        unsafe { let_go(self.0, QUEUED, 0) }
    }

    /// Frees a task to which no other owner refers.
    fn dispose(self) {
        let header = self.header();
        // SAFETY: this is the last reference, and the life word is passed on.
        unsafe { dispose(self.0, header.life()) }
    }
}

/// The state of a task that came out of the queue.
#[derive(Debug, Default)]
pub(crate) enum Taken {
    /// The task must be claimed next, or is the remains of a task that was refused.
    #[default]
    New,
    /// The task was suspended, and may go on.
    Woken,
    /// The task was suspended, and must be given up.
    GivenUp(TaskError),
}

/// Takes a task out of the backlog. Must be called with the backlog in hand.
///
/// # Safety
/// `link` must belong to a live task.
#[inline]
pub(crate) unsafe fn takes(link: NonNull<Link>) -> Taken {
    // SAFETY: the task is live (contract of this function), and begins with its header.
    let header = unsafe { link.cast::<Header>().as_ref() };
    // Relaxed: `SUSPENDED` is set and cleared with the backlog in hand, and so is this load made.
    if header.life.load(Ordering::Relaxed) & SUSPENDED == 0 {
        return Taken::New;
    }
    takes_waiting(header)
}

#[cold]
fn takes_waiting(header: &Header) -> Taken {
    given_up(header.clear(SUSPENDED)).map_or(Taken::Woken, Taken::GivenUp)
}

/// Checks whether a task in the backlog is suspended. A sweep leaves such a task in place, because
/// only the holder may drop its future.
///
/// # Safety
/// `link` must belong to a live task in the backlog, which must be in hand.
pub(crate) unsafe fn is_waiting(link: NonNull<Link>) -> bool {
    // SAFETY: the task is live (contract of this function), and begins with its header.
    unsafe { link.cast::<Header>().as_ref() }.life() & SUSPENDED != 0
}

/// Returns the priority of a queued task.
///
/// # Safety
/// `link` must belong to a live task.
pub(crate) unsafe fn level_of(link: NonNull<Link>) -> u8 {
    // SAFETY: the task is live (contract of this function), and begins with its header.
    unsafe { link.cast::<Header>().as_ref() }.level
}

/// Checks whether a queued task is only the remains of a task that was cancelled or has expired.
///
/// # Safety
/// `link` must belong to a live task in a queue.
pub(crate) unsafe fn is_over(link: NonNull<Link>) -> bool {
    // SAFETY: the task is live (contract of this function), and begins with its header.
    unsafe { link.cast::<Header>().as_ref() }.life() & (CLAIMED | SUSPENDED) == CLAIMED
}
