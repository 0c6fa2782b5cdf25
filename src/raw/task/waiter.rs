//! The waker slot of a task: how a thread or a future is told of the outcome, and how a holder
//! offers its role to a parked thread.
//!
//! The bits `WAITING`, `COMPLETE` and `LENT` of the life word say which thread owns the waker. The
//! *waiter* puts the waker in place and sets `WAITING`. The *completer* sets `COMPLETE`, and then
//! owns the waker if `WAITING` was set. The holder as *lender* changes `WAITING` to `LENT`, and
//! then owns the waker. Each step is a read-modify-write of the life word, so exactly one thread
//! gets the waker. `docs/design/waiting.md` walks through the steps and races of an offer.

use crate::raw::strand::queue::Link;
use crate::raw::task::life::{ASKED, CLAIMED, COMPLETE, Header, LENT, QUEUED, THREAD, WAITING};
use crate::raw::thread::deadlock::Event;
use crate::raw::thread::panics;
use crate::sync::yield_now;
use core::ptr::NonNull;
use core::task::Waker;

/// The waiting core's view of a task, whatever the task returns.
pub(crate) trait Waitable: Event {
    /// Returns the event that the outcome is in place.
    fn event(&self) -> &dyn Event;
    /// Returns the address under which the task is queued.
    fn link(&self) -> *const Link;
    /// Checks whether the outcome is in place.
    fn is_complete(&self) -> bool;
    /// Checks whether the queue has let go of the task.
    fn is_released(&self) -> bool;
    /// Puts a thread's waker in place. If `helps` is set, the holder may offer its role through the
    /// waker. Returns `false` if the task is complete.
    fn register_thread(&self, waker: &Waker, helps: bool) -> bool;
    /// Returns `true` once for an offer: the holder has taken the waker and offered its role. The
    /// waiter then has to look for the role.
    fn was_asked(&self) -> bool;
    /// Takes the waker back out, unless a completer or a lender owns it. Does not wait for a
    /// lender.
    fn withdraw(&self);
    /// Waits until no holder is about to offer its role through this task.
    fn settle(&self);
}

impl Event for Header {
    fn has_come(&self) -> bool {
        self.is_complete()
    }
}

impl Waitable for Header {
    fn event(&self) -> &dyn Event {
        self
    }

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
                // SAFETY: the waker was in place. This step cleared `WAITING` before any completer
                // or lender took the waker, so the waker is the caller's again.
                let waker = unsafe { self.take_waker() };
                panics::contain("drop of a waker", || drop(waker));
                return;
            }
        }
    }

    fn settle(&self) {
        // The holder clears `LENT` a few instructions after it has set the bit.
        while self.life() & LENT != 0 {
            yield_now();
        }
    }
}

impl Header {
    /// Takes the waker out of the slot.
    ///
    /// # Safety
    /// The waker must be in place, and the bits of the life word must make it the caller's.
    pub(in crate::raw) unsafe fn take_waker(&self) -> Waker {
        // This is a read, not a write, because the waiter may be comparing the same bytes now.
        // SAFETY: the waker is in place, and the caller's (contract of this function).
        self.waker.with(|w| unsafe { (*w).assume_init_read() })
    }

    /// Checks whether the waker in the slot wakes the same task as `waker`.
    ///
    /// # Safety
    /// A waker must be in place. A waker that was taken out counts too, if no thread puts another
    /// waker there now.
    pub(in crate::raw) unsafe fn has_waker(&self, waker: &Waker) -> bool {
        // SAFETY: the bytes are those of a waker, and no thread writes them (contract of this
        // function).
        self.waker
            .with(|w| unsafe { (*w).assume_init_ref().will_wake(waker) })
    }

    /// Puts a waker in the slot.
    ///
    /// # Safety
    /// No waker may be in place, and only the caller may put one there.
    pub(in crate::raw) unsafe fn put_waker(&self, waker: Waker) {
        // SAFETY: the slot is empty, and only the caller writes to it (contract of this function).
        self.waker.with_mut(|w| unsafe {
            (*w).write(waker);
        });
    }

    /// Puts a waker in place and sets `WAITING` and `kind`. Returns `false` if the task is
    /// complete. Must be called by the waiter.
    pub(super) fn register(&self, waker: &Waker, kind: u32) -> bool {
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
                // A completer only reads the waker, so comparing is no race. The completer may have
                // dropped the waker since `life` was read. The caller's waker can be a new waker at
                // the old address only if it was made after that drop. In that case `life` would
                // show `COMPLETE`.
                // SAFETY: a waker is in place while `WAITING` is set, and only the waiter replaces
                // it.
                let same = unsafe { self.has_waker(waker) };
                if same && (life & THREAD) == kind {
                    return true;
                }
                self.withdraw();
                continue;
            }
            // SAFETY: no waker is in place, and only the waiter puts one there.
            unsafe { self.put_waker(waker.clone()) };
            if self.replace(life, life | WAITING | kind) {
                return true;
            }
            // SAFETY: the waker was not published, so the waker is still the waiter's.
            let waker = unsafe { self.take_waker() };
            panics::contain("drop of a waker", || drop(waker));
        }
    }
}

/// Shows the outcome, which must be in place in a task that the caller claimed. Returns the
/// waiter's waker, if one is in place.
pub(in crate::raw) fn publish(header: &Header) -> Option<Waker> {
    let before = header.set(COMPLETE);
    // SAFETY: `WAITING` was set, so the waker is in place and not lent: a lender clears `WAITING`.
    // Once `COMPLETE` is set, the waiter leaves the waker to the completer.
    (before & WAITING != 0).then(|| unsafe { header.take_waker() })
}

/// A waiter to which the holder is about to offer its role.
#[must_use = "the waiter stays stuck until the holder calls `offered`"]
pub(crate) struct Lent {
    task: NonNull<Header>,
    waker: Waker,
}

impl Lent {
    /// Takes the waker out of a queued task, if a thread that can take the role is parked for the
    /// task. Must be called by the holder, with the task in the backlog and the backlog in hand.
    ///
    /// `LENT` keeps the task alive until [`Lent::offered`], because the task's handle does not let
    /// go while the bit is set. `docs/design/waiting.md` describes the hand-off to a waiter.
    pub(crate) fn lend(link: NonNull<Link>) -> Option<Lent> {
        let this = link.cast::<Header>();
        // SAFETY: the task is in the backlog, and so live.
        let header = unsafe { this.as_ref() };
        let life = header.life();
        if life & (WAITING | THREAD | CLAIMED | LENT) != WAITING | THREAD {
            return None;
        }
        let lent = (life & !(WAITING | THREAD)) | LENT | ASKED;
        header.replace(life, lent).then(|| {
            // SAFETY: the waker was in place, and this step set `LENT`, so the waker is the
            // lender's.
            let waker = unsafe { header.take_waker() };
            Lent { task: this, waker }
        })
    }

    /// Tells the waiter that the role is on offer. Must be called once the role is on offer.
    pub(crate) fn offered(self) {
        // SAFETY: `LENT` is set, so the handle has not let go and the task is live.
        unsafe { self.task.as_ref() }.clear(LENT);
        crate::raw::thread::panics::wake(self.waker);
    }
}
