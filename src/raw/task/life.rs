//! The life word of a task, the header that all tasks share, and the steps on the word.
//!
//! A task is a single allocation with the closure, later the outcome, and a slot for one waker.
//! Three owners may refer to a task. The *queue* owns the task until the task has run or was
//! refused ([`Queued`](crate::raw::task::queued::Queued)). A *handle* owns the task until the
//! outcome was taken or is of no interest ([`Handle`](crate::raw::task::handle::Handle)). The
//! *timer* owns a task with a deadline ([`Expiry`](crate::raw::ending::expiry::Expiry)). The last
//! owner that lets go frees the task. The bits of the life word decide between the owners. The
//! table is a summary, and each constant says more.
//!
//! | bit | set by | meaning | never |
//! |---|---|---|---|
//! | `QUEUED` | birth | the queue refers to the task | after it was cleared |
//! | `HANDLE` | birth | a handle refers to the task | on a detached task |
//! | `TIMED` | birth | the timer refers to the task | on a task on a stack frame |
//! | `CLAIMED` | the first thread to claim | the closure has an owner | by a second claim |
//! | `COMPLETE` | the completer | the outcome is in place | before `CLAIMED` |
//! | `TAKEN` | the handle or the queue | the outcome is gone | before `COMPLETE` |
//! | `WAITING` | the waiter | a waker is in place | on a detached task |
//! | `THREAD` | the waiter | the waker's thread can take the role | without `WAITING` |
//! | `LENT` | the holder | the holder has the waker | with `WAITING` |
//! | `ASKED` | the holder | the waiter must look for the role | before `LENT` |
//! | `SUSPENDED` | the holder | started, and in the backlog | before `CLAIMED`, without `WAITS` |
//! | `ROOM` | the thread that queues the task | the task takes up room | after it was cleared |
//! | `STOP` | canceller, sweep | asked to stop | before `CLAIMED`, with `OVERDUE` |
//! | `WAITS` | birth | the task may come to wait | after birth |
//! | `OVERDUE` | timer thread | deadline passed after the claim | without `WAITS`, with `STOP` |

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

/// The queue refers to the task from birth. The thread that has the queue's reference clears this
/// bit, as its last touch. `QUEUED` cannot be set again.
pub(crate) const QUEUED: u32 = 1;
/// A handle refers to the task from birth. The handle clears this bit, as its last touch. A
/// detached task never has `HANDLE`.
pub(crate) const HANDLE: u32 = 1 << 1;
/// The closure has an owner: the thread that set this bit runs or drops the closure. The holder
/// claims a task to run the closure. A submitter claims an asynchronous task that it runs at once.
/// A canceller, a sweep, the timer thread or a caller whose wait ends early claims a task to drop
/// the closure. So does a thread that cannot queue the task. No second claim succeeds.
///
/// A suspended task keeps `CLAIMED`, and each next holder owns its closure. If a task has neither
/// `HANDLE` nor `TIMED`, only the thread that took the task out of the queue can reach it. That
/// thread need not set `CLAIMED`.
pub(crate) const CLAIMED: u32 = 1 << 2;
/// The outcome is in place. The completer, which is the thread that ran or dropped the closure,
/// sets this bit, never before `CLAIMED`. `COMPLETE` closes the waker slot: before that step the
/// waiter owns a registered waker, and after that step the completer does.
pub(crate) const COMPLETE: u32 = 1 << 3;
/// The outcome was moved out or dropped. The handle sets this bit as it takes the outcome. If only
/// the timer is left besides, the queue or the handle drops the outcome and sets this bit before it
/// lets go. `TAKEN` cannot be set before `COMPLETE`.
pub(crate) const TAKEN: u32 = 1 << 4;
/// A waker is in place. A thread or a future that waits for the outcome sets this bit. While
/// `WAITING` is set and `COMPLETE` is not, only the waiter may replace the waker. The waiter clears
/// `WAITING` to take the waker back, and the holder clears `WAITING` to lend the role. This bit
/// cannot be set on a task that is complete, is `LENT` or has no handle.
pub(crate) const WAITING: u32 = 1 << 5;
/// The waker unparks a thread that can take the role. The waiter sets and clears this bit with
/// `WAITING`, and never without it. The holder clears both bits to lend the role.
pub(crate) const THREAD: u32 = 1 << 6;
/// The holder has taken the waker out to offer its role to that thread. The holder sets this bit in
/// the step that clears `WAITING` and `THREAD`, and clears `LENT` when the role is on offer. `LENT`
/// keeps the handle from letting go. This bit cannot be set on a task that is claimed.
pub(crate) const LENT: u32 = 1 << 7;
/// The holder counts on the waiter to look for the role. The holder sets this bit with `LENT`. The
/// waiter clears `ASKED` once `LENT` is clear, and then looks for the role.
pub(crate) const ASKED: u32 = 1 << 8;
/// The task was run, but not to its end, and is in the backlog. The holder sets this bit as it puts
/// the task back, and clears `SUSPENDED` as it takes the task out. Both steps are made with the
/// backlog in hand. This bit cannot be set before `CLAIMED`, or without `WAITS`.
pub(crate) const SUSPENDED: u32 = 1 << 9;
/// The task takes up room in a bounded queue. The thread that queues the task sets this bit before
/// the push. The step that clears `ROOM` decides: the thread that finds the bit set in this step
/// gives the room back. The holder and a sweep take this step before they claim the task. A
/// canceller and the timer thread take this step after their claim. A submitter takes this step if
/// the push is refused.
pub(crate) const ROOM: u32 = 1 << 10;
/// The claimed task is asked to stop. A canceller sets this bit through the handle, once its own
/// attempt to claim has failed. A sweep sets this bit on a suspended task. If the task is
/// suspended, or comes to be, the holder gives the task up. `STOP` cannot be set before `CLAIMED`,
/// or once `OVERDUE` is.
pub(crate) const STOP: u32 = 1 << 11;
/// The timer refers to the task from birth, because the task has a deadline. The timer clears this
/// bit, as its last touch, perhaps long after the task has finished. So the last of queue and
/// handle drops the outcome. A task on a stack frame never has `TIMED`.
pub(crate) const TIMED: u32 = 1 << 12;
/// The task may come to wait, and keeps its claim while it waits. This bit is set at birth or
/// never.
pub(crate) const WAITS: u32 = 1 << 13;
/// The deadline passed after the task was claimed. The timer thread sets this bit. As with `STOP`,
/// the holder gives the task up if the task is suspended or comes to be. `OVERDUE` cannot be set
/// without `WAITS`, or once `STOP` is.
pub(crate) const OVERDUE: u32 = 1 << 14;

/// The bits of the owners, which refer to a task.
pub(super) const OWNERS: u32 = QUEUED | HANDLE | TIMED;

/// How one run of a task ended.
#[derive(Debug)]
pub(crate) enum Ran {
    Returned,
    Panicked,
    Suspended(Arc<Signal>),
}

/// The part of a task whose layout does not depend on the closure.
#[repr(C)]
pub(crate) struct Header {
    pub(in crate::raw) link: Link,
    pub(in crate::raw) vtable: &'static VTable,
    pub(super) life: AtomicU32,
    /// The task's priority.
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
        // Relaxed: `WAITS` is set at birth or never.
        self.life.load(Ordering::Relaxed) & WAITS != 0
    }
}

/// The memory of a task is given back after all use of the task. loom does not see memory, so the
/// end of a task writes to the two fields that both sides use.
#[cfg(captor_loom)]
impl Drop for Header {
    fn drop(&mut self) {
        self.life.with_mut(|_| ());
        self.waker.with_mut(|_| ());
    }
}

/// The functions on a closure whose type was forgotten.
///
/// Each function must be called with a live task of the type that the table was made for. The
/// `Option<&str>` is the name of the task's resource.
pub(in crate::raw) struct VTable {
    /// Returns the signal that wakes the task, if the task may wait. The closure must be in place,
    /// and no thread may use the closure now.
    pub(super) signal: unsafe fn(NonNull<Header>) -> Option<Arc<Signal>>,
    /// Runs the closure on the value and puts the outcome in its place.
    pub(in crate::raw) run: unsafe fn(NonNull<Header>, value: *mut (), Option<&str>) -> Ran,
    /// Drops the closure and puts the error in its place. If the drop panics, the panic is the
    /// outcome instead of the error, and the returned value says so.
    pub(in crate::raw) refuse: unsafe fn(NonNull<Header>, TaskError, Option<&str>) -> ClosureDrop,
    /// Moves the outcome to `to`, which points to a `Result<R, TaskError>`.
    pub(in crate::raw) take: unsafe fn(NonNull<Header>, to: *mut ()),
    /// Drops the outcome in place.
    pub(in crate::raw) forget: unsafe fn(NonNull<Header>),
    /// Gives the memory back.
    pub(in crate::raw) free: unsafe fn(NonNull<Header>),
}

/// How the drop of a closure ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClosureDrop {
    Dropped,
    Panicked,
}

// Six words: with a closure of up to two words, a task fits into one cache line.
#[cfg(all(target_pointer_width = "64", not(any(captor_loom, captor_shuttle))))]
const _: () = assert!(size_of::<Header>() == 48);

impl Header {
    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.meta.as_deref()
    }

    pub(in crate::raw) fn life(&self) -> u32 {
        // Acquire: partners with the AcqRel of every change, so a thread that sees `COMPLETE` sees
        // the outcome.
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

    /// Asks a claimed task to stop, for the handle by `STOP` or for the deadline by `OVERDUE`. The
    /// first reason stays. The caller must hold the resource's lock on stop requests.
    pub(crate) fn ask_to_stop(&self, why: u32) {
        if self.life() & (STOP | OVERDUE) == 0 {
            self.set(why);
        }
    }

    /// Checks whether the task is suspended. Must be called with the backlog in hand.
    pub(crate) fn is_suspended(&self) -> bool {
        self.life() & SUSPENDED != 0
    }

    /// Returns the deadline, if the timer refers to the task.
    #[inline]
    pub(crate) fn deadline_for_timer(&self) -> Option<Instant> {
        // Relaxed: `TIMED` is set at birth or never, and the caller has not given the timer its
        // reference yet.
        if self.life.load(Ordering::Relaxed) & TIMED == 0 {
            return None;
        }
        self.meta.as_ref().and_then(|meta| meta.deadline)
    }

    /// Claims a task that was never run. Returns `false` if the task was claimed before.
    pub(in crate::raw) fn claims(&self) -> bool {
        self.set(CLAIMED) & CLAIMED == 0
    }

    /// Claims a task that only its maker refers to.
    pub(in crate::raw) fn claim_unseen(&self) {
        // Relaxed: no other thread refers to the task. A thread that later takes the task out of
        // the queue, or gets the handle, acquires this store with the pointer.
        let life = self.life.load(Ordering::Relaxed);
        self.life.store(life | CLAIMED, Ordering::Relaxed);
    }

    /// Returns the reason to give the task up, if the task was asked to stop since its claim.
    pub(crate) fn is_given_up(&self) -> Option<TaskError> {
        given_up(self.life())
    }

    /// Marks the task as suspended, and as claimed if the claim needed no bit. Must be called by
    /// the holder as it puts the task back, with the backlog in hand.
    pub(crate) fn suspends(&self) {
        self.set(SUSPENDED | CLAIMED);
    }

    /// If the task is suspended, leaves word that the next holder must give the task up. Returns
    /// the signal that then wakes the task. Returns `None` if the task is not suspended or was
    /// asked to stop before.
    ///
    /// Must be called with the backlog in hand, so that no holder runs or drops the future
    /// meanwhile.
    pub(crate) fn gives_up(&self, why: u32) -> Option<Arc<Signal>> {
        if self.life() & (SUSPENDED | STOP | OVERDUE) != SUSPENDED {
            return None;
        }
        self.set(why);
        // SAFETY: the task is suspended, so its closure is in place. The backlog is in hand, so no
        // thread uses the closure (contract of `VTable::signal`).
        unsafe { (self.vtable.signal)(NonNull::from(self)) }
    }

    /// Checks whether the deadline can change nothing any more: the task is claimed, and is
    /// complete or cannot wait.
    pub(crate) fn is_alarm_over(&self) -> bool {
        let life = self.life();
        life & CLAIMED != 0 && life & (WAITS | COMPLETE) != WAITS
    }

    /// Notes that the task takes up room in a bounded queue.
    pub(crate) fn takes_room(&self) {
        self.set(ROOM);
    }

    /// Notes that the task takes up no room any more. Returns `true` for the first call that finds
    /// room to give back.
    pub(crate) fn leaves_room(&self) -> bool {
        // Relaxed: `ROOM` is set, if at all, before the push, which the queue's next user acquires.
        // A canceller that misses the bit leaves the room to the thread that takes the remains out.
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
