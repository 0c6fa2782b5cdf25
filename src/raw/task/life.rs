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

use crate::error::TaskError;
use crate::raw::strand::queue::Link;
use crate::raw::task::signal::Signal;
use crate::raw::task::tag::Meta;
use crate::raw::thread::context::{Described, TaskName};
use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::task::Waker;
use core::time::Duration;
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
pub(super) const OWNERS: u32 = QUEUED | HANDLE | TIMED;

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
    pub(super) life: AtomicU32,
    /// Its priority.
    pub(super) level: u8,
    pub(super) waker: UnsafeCell<MaybeUninit<Waker>>,
    pub(super) meta: Option<Box<Meta>>,
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
    pub(super) signal: unsafe fn(NonNull<Header>) -> Option<Arc<Signal>>,
    /// Runs the closure on the value and puts the outcome in its place. (The name is
    /// its resource's.)
    pub(in crate::raw) run: unsafe fn(NonNull<Header>, value: *mut (), Option<&str>) -> Ran,
    /// Drops the closure and puts the error in its place; a panic of the drop, if it
    /// panics, and then says so. (The name is its resource's.)
    pub(in crate::raw) refuse: unsafe fn(NonNull<Header>, TaskError, Option<&str>) -> ClosureDrop,
    /// Moves the outcome to `to`, a `Result<R, TaskError>`.
    pub(in crate::raw) take: unsafe fn(NonNull<Header>, to: *mut ()),
    /// Drops the outcome where it is.
    pub(in crate::raw) forget: unsafe fn(NonNull<Header>),
    /// Gives the memory back.
    pub(in crate::raw) free: unsafe fn(NonNull<Header>),
}

/// How the drop of a closure went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClosureDrop {
    Dropped,
    Panicked,
}

// Six words: with a closure of up to two, a task fits into one cache line.
#[cfg(all(target_pointer_width = "64", not(any(captor_loom, captor_shuttle))))]
const _: () = assert!(size_of::<Header>() == 48);

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
}

pub(super) fn given_up(life: u32) -> Option<TaskError> {
    match life {
        life if life & OVERDUE != 0 => Some(TaskError::Expired),
        life if life & STOP != 0 => Some(TaskError::Cancelled),
        _ => None,
    }
}
