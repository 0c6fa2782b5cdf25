//! Tasks that wait and keep their resource without keeping a thread.
//!
//! A task's run may end in [`Polled::Wait`] in place of an outcome. The holder
//! then puts it back at the head of its resource, gives its role to the task
//! ([`Mode::Suspended`](crate::raw::strand::state::Mode)), and *parks* its [`Signal`]. Whoever
//! has a waker of the task signals that it may go on. Both go through one word:
//!
//! | bits | set by | when | cleared by |
//! |---|---|---|---|
//! | `PARKED` | the holder | the strand is suspended, and the task at its head | who runs the task again |
//! | `WOKEN` | a waker; the drop of the last one, over `PARKED`; who gives the task up | at any time | who runs the task again |
//! | `THROUGH` | who drops the task's future | it waits for nothing any more | nobody |
//! | the rest | counts the wakers that exist | | |
//!
//! - *Woken while it runs, or before it is parked*: the holder finds `WOKEN` as it
//!   parks, keeps its role, and runs the task again when its turn comes, which is
//!   next.
//! - *Woken while it is parked*: who sets `WOKEN` over `PARKED`, the first only, brings
//!   the strand back.
//! - *No waker is left*: nobody could wake it any more. A holder that finds so gives
//!   the task up; the last waker that is dropped over `PARKED` wakes it once more, so
//!   that it can say whether it still waits.
//! - *Given up while it is parked*: who cancels it leaves word for the holder, who alone
//!   may drop its future, and wakes it.
//! - *Woken when it is through, or while its future is dropped*: `PARKED` is not set then,
//!   or `WOKEN` is, and nothing happens.
//!
//! Everything is a read-modify-write of the one word, so each sees what those before
//! it did. A waker refers to the signal and never to the task.
//!
//! A signal is made for the first waker that is kept ([`LazySignal`]): a task that never
//! comes to wait has none. Whoever finds none knows that nobody has a waker.
//!
//! While a task runs, this thread knows its signal ([`current`]): by it, a completion
//! that is polled knows who awaits it.

use crate::sync::{Arc, AtomicUsize, OnceLock, Ordering, UnsafeCell, thread_local_const};
use core::cell::Cell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::task::{RawWaker, RawWakerVTable, Waker};

const PARKED: usize = 1;
const WOKEN: usize = 1 << 1;
const THROUGH: usize = 1 << 2;
/// In units of which wakers are counted. (`Arc` counts them too, and aborts long
/// before this overflows in any program that ends.)
const WAKER: usize = 1 << 3;

/// What one run of a task that may wait came to.
#[derive(Debug)]
pub(crate) enum Polled<R> {
    Done(R),
    /// Not yet: run it again once this is signalled.
    Wait(Arc<Signal>),
}

/// Brings the strand of a parked task back.
type Back = Box<dyn FnOnce() + Send>;

/// By which a task that waits is told to go on.
pub(crate) struct Signal {
    word: AtomicUsize,
    /// Written by the holder before `PARKED`; taken by who sets `WOKEN` over it, or by
    /// the holder if it did not come to park.
    back: UnsafeCell<Option<Back>>,
}

// SAFETY: the cell is handed from one thread to the other by the word (see `park`
// and `wake`), and what is in it is `Send`.
unsafe impl Sync for Signal {}
// SAFETY: as above.
unsafe impl Send for Signal {}

impl Signal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Signal {
            word: AtomicUsize::new(0),
            back: UnsafeCell::new(None),
        })
    }

    /// The task is about to run: what it was woken for is seen by that run, and who
    /// wakes it from now on does so for the next. Holder only.
    pub(crate) fn starts(&self) {
        // Acquire: partners with the Release in `wake`.
        self.word.fetch_and(!(PARKED | WOKEN), Ordering::AcqRel);
    }

    /// The task's future is gone, and it waits for nothing any more.
    pub(crate) fn ends(&self) {
        // Relaxed: nothing is read that was written before.
        self.word.fetch_or(THROUGH, Ordering::Relaxed);
    }

    /// Does its task wait for nothing any more? "No" may be out of date.
    pub(crate) fn is_through(&self) -> bool {
        self.word.load(Ordering::Relaxed) & THROUGH != 0
    }

    /// Is nobody left who could wake it? For the holder, after a run: "yes" is for ever.
    pub(crate) fn is_deserted(&self) -> bool {
        // Relaxed: nothing is read that a waker wrote.
        self.word.load(Ordering::Relaxed) & !PARKED == 0
    }

    /// Leaves the strand to who wakes the task, and is to call `back`. `false`: it was
    /// woken already, or has nobody left who would, and the role is still the caller's.
    /// Holder only.
    pub(crate) fn park(&self, back: Back) -> bool {
        // SAFETY: `PARKED` is not set, so the cell is the holder's.
        self.back.with_mut(|cell| unsafe { *cell = Some(back) });
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WOKEN == 0 && word >= WAKER {
            // Release: for the cell, partner: the Acquire in `wake`.
            match self.word.compare_exchange_weak(
                word,
                word | PARKED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        // SAFETY: as above, still.
        drop(self.back.with_mut(|cell| unsafe { (*cell).take() }));
        false
    }

    /// The task may go on. Does not unwind.
    pub(crate) fn wake(&self) {
        // Release: for what was done before, partner: `starts`. Acquire: for the
        // cell, partner: `park`.
        let before = self.word.fetch_or(WOKEN, Ordering::AcqRel);
        if before & (PARKED | WOKEN) != PARKED {
            return;
        }
        // SAFETY: parked, and we are the one who set `WOKEN` over it.
        if let Some(back) = self.back.with_mut(|cell| unsafe { (*cell).take() }) {
            back();
        }
    }
}

/// As a waker, it does not count: a task for which there are only such is given up. For
/// events that may come, and that it is not to be kept for.
impl std::task::Wake for Signal {
    fn wake(self: Arc<Self>) {
        Signal::wake(&self);
    }
}

/// A task's signal, made when it is first asked for.
#[derive(Debug)]
pub(crate) struct LazySignal(OnceLock<Arc<Signal>>);

impl LazySignal {
    pub(crate) const fn new() -> Self {
        LazySignal(OnceLock::new())
    }

    pub(crate) fn get(&self) -> &Arc<Signal> {
        self.0.get_or_init(Signal::new)
    }

    /// See [`Signal::starts`].
    pub(crate) fn starts(&self) {
        if let Some(signal) = self.0.get() {
            signal.starts();
        }
    }

    /// See [`Signal::ends`].
    pub(crate) fn ends(&self) {
        if let Some(signal) = self.0.get() {
            signal.ends();
        }
    }

    /// Calls `f` with a waker that is there as long as the call lasts. It does not
    /// count: its clones do.
    pub(crate) fn lend<R>(&self, f: impl FnOnce(&Waker) -> R) -> R {
        let _leave = LeaveSignal::enter(self);
        let waker = match self.0.get() {
            // The one that was cloned before, so that `will_wake` says so.
            Some(signal) => RawWaker::new(Arc::as_ptr(signal).cast(), &VTABLE),
            None => RawWaker::new(core::ptr::from_ref(self).cast(), &LENT),
        };
        // SAFETY: the tables keep the contract of wakers (see there), for an address that
        // `Arc` gave and for ours; both are live while `f` runs, and nobody has the waker
        // for longer. This one is never dropped, and so takes no count away.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker) });
        f(&waker)
    }
}

thread_local_const! {
    static CURRENT: Cell<*const LazySignal> = Cell::new(core::ptr::null());
}

/// Goes back to the task further out, also when this one unwinds.
struct LeaveSignal(*const LazySignal);

impl LeaveSignal {
    fn enter(signal: *const LazySignal) -> Self {
        LeaveSignal(CURRENT.with(|current| current.replace(signal)))
    }
}

impl Drop for LeaveSignal {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.0));
    }
}

/// Calls `f`, which is a part of a task that waits for nothing any more: what it polls,
/// nobody awaits, and not the task further out.
pub(crate) fn apart(f: impl FnOnce()) {
    let _leave = LeaveSignal::enter(core::ptr::null());
    f();
}

/// Does this thread poll a task's future, or run something inside of that?
#[inline]
pub(crate) fn is_polling() -> bool {
    CURRENT.with(|current| !current.get().is_null())
}

/// The signal of the task whose future this thread polls, the innermost if there are
/// several.
pub(crate) fn current() -> Option<Arc<Signal>> {
    let signal = CURRENT.with(Cell::get);
    if signal.is_null() {
        return None;
    }
    // SAFETY: `lend` keeps it borrowed until our caller, further in, returns.
    Some(Arc::clone(unsafe { &*signal }.get()))
}

/// Each waker owns a count of the `Arc` and one of the word.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
/// For all of these: `signal` is the address of a live [`Signal`] in an `Arc`; those
/// that consume a waker are given one that owns its two counts.
unsafe fn clone(signal: *const ()) -> RawWaker {
    let signal = signal.cast::<Signal>();
    // SAFETY: live by the contract, and by the count that is added.
    unsafe {
        Arc::increment_strong_count(signal);
        // Relaxed: as with `Arc`, there is a count already, or the holder lends one.
        (*signal).word.fetch_add(WAKER, Ordering::Relaxed);
    }
    RawWaker::new(signal.cast(), &VTABLE)
}

unsafe fn wake(signal: *const ()) {
    // SAFETY: by the contract.
    unsafe {
        wake_by_ref(signal);
        drop_waker(signal);
    }
}

unsafe fn wake_by_ref(signal: *const ()) {
    // SAFETY: by the contract.
    unsafe { &*signal.cast::<Signal>() }.wake();
}

unsafe fn drop_waker(signal: *const ()) {
    // SAFETY: the waker's count, which goes with it.
    let signal = unsafe { Arc::from_raw(signal.cast::<Signal>()) };
    // Relaxed: it only counts. If it was the last, what follows is a wake-up.
    let before = signal.word.fetch_sub(WAKER, Ordering::Relaxed);
    if before & !(WAKER - 1) == WAKER && before & (PARKED | WOKEN) == PARKED {
        signal.wake();
    }
}

/// The same, for the address of a live [`LazySignal`], which owns nothing.
static LENT: RawWakerVTable = RawWakerVTable::new(clone_lent, wake_lent, wake_lent, |_| ());

unsafe fn clone_lent(lazy: *const ()) -> RawWaker {
    // SAFETY: live, by the contract.
    let signal = unsafe { &*lazy.cast::<LazySignal>() }.get();
    // SAFETY: the address of a signal in an `Arc`, which is borrowed here.
    unsafe { clone(Arc::as_ptr(signal).cast()) }
}

unsafe fn wake_lent(lazy: *const ()) {
    // SAFETY: live, by the contract.
    unsafe { &*lazy.cast::<LazySignal>() }.get().wake();
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("Signal")
            .field("parked", &(word & PARKED != 0))
            .field("woken", &(word & WOKEN != 0))
            .field("wakers", &(word / WAKER))
            .finish()
    }
}
