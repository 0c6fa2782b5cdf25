//! The waker slot of a task: how a thread or a future is told of the outcome, and how a
//! holder offers its role to a thread that waits.

use crate::raw::strand::queue::Link;
use crate::raw::task::life::{ASKED, CLAIMED, COMPLETE, Header, LENT, QUEUED, THREAD, WAITING};
use crate::raw::thread::deadlock::Event;
use crate::raw::thread::panics;
use crate::sync::yield_now;
use core::ptr::NonNull;
use core::task::Waker;

/// What the waiting core needs of a task, whatever it returns.
pub(crate) trait Waitable: Event {
    /// The outcome's coming.
    fn event(&self) -> &dyn Event;
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
                // SAFETY: it was in place, and by clearing `WAITING` before
                // completion and lending we took it back.
                let waker = unsafe { self.take_waker() };
                panics::contain("drop of a waker", || drop(waker));
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
                // A completer only reads the waker, so comparing is no race. (It may
                // have dropped it since `life` was read; and another at its address
                // was made after that, so with that one `life` would show `COMPLETE`.)
                // SAFETY: in place while `WAITING` is set, and only the handle
                // replaces it.
                let same = unsafe { self.has_waker(waker) };
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
            panics::contain("drop of a waker", || drop(waker));
        }
    }
}

/// Puts the outcome on view. The caller claimed the task and has put it in place.
pub(in crate::raw) fn publish(header: &Header) -> Option<Waker> {
    let before = header.set(COMPLETE);
    // SAFETY: with `COMPLETE` set the handle leaves the waker to us, unless it
    // is lent; a lender clears `WAITING`.
    (before & WAITING != 0).then(|| unsafe { header.take_waker() })
}

/// A waiter that is about to be offered the role.
#[must_use = "the waiter stays stuck until it hears of the offer"]
pub(crate) struct Lent {
    task: NonNull<Header>,
    waker: Waker,
}

impl Lent {
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

    /// The role is on offer now: lets the waiter know.
    pub(crate) fn offered(self) {
        // SAFETY: `LENT` is set, so the handle has not let go.
        unsafe { self.task.as_ref() }.clear(LENT);
        crate::raw::thread::panics::wake(self.waker);
    }
}
