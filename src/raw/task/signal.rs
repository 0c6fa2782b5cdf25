//! How a suspended task is woken: a task that waits keeps its resource without keeping a thread.
//!
//! A run of a task may end in [`Polled::Wait`] in place of an outcome. The holder then puts the
//! task back at the head of the backlog, suspends the strand
//! ([`Mode::Suspended`](crate::raw::strand::state::Mode)), and *parks* the task's [`Signal`]. A
//! thread that has a waker of the task signals that the task may go on. Both steps use one word:
//!
//! | bits | set by | when | cleared by |
//! |---|---|---|---|
//! | `PARKED` | the holder | the strand is suspended, with the task at its head | the next holder |
//! | `WOKEN` | the thread that wakes the task | at any time | the next holder |
//! | `THROUGH` | the thread that drops the future | the task awaits nothing more | no thread |
//! | the rest | clones and drops of wakers | a count of the wakers | |
//!
//! The cast: the *holder* runs the task. A *waking thread* uses a waker. A *canceller* gives the
//! task up; this includes a sweep and the timer thread.
//!
//! - *Woken while the task runs, or before it is parked*: the holder finds `WOKEN` as it parks the
//!   task, and keeps the role. The holder runs the task again when its turn comes, which is next.
//! - *Woken while the task is parked*: the first waking thread that sets `WOKEN` over `PARKED`
//!   brings the strand back.
//! - *No waker is left*: no thread could wake the task any more. A holder that finds this gives the
//!   task up. If the last waker is dropped over `PARKED`, that drop wakes the task once more, and
//!   the run shows whether the task still waits.
//! - *Given up while the task is parked*: the canceller leaves word for the holder, which alone may
//!   drop the future, and wakes the task.
//! - *Woken when the task has finished, or while its future is dropped*: `PARKED` is not set, or
//!   `WOKEN` is, and nothing happens.
//!
//! Each of these steps is a read-modify-write of the one word, so each step sees the steps before
//! it. A waker refers to the signal and never to the task. `docs/design/tasks-that-wait.md` has the
//! argument.
//!
//! A signal is made for the first waker that is kept ([`LazySignal`]). A task that never waits has
//! no signal. If a task has no signal, no thread has a waker of the task.
//!
//! While a thread polls a task, the thread knows the task's signal ([`current`]). By this signal, a
//! completion that is polled knows which task awaits it.

use crate::sync::{Arc, AtomicUsize, OnceLock, Ordering, UnsafeCell, thread_local_const};
use core::cell::Cell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::task::{RawWaker, RawWakerVTable, Waker};

/// The strand is suspended, with the task at its head. The holder sets this bit after a run that
/// ended in "wait", and the next holder clears `PARKED` before it runs the task again. This bit
/// cannot be set while `WOKEN` is set, or if no waker is left.
const PARKED: usize = 1;
/// The task may go on. A waker sets this bit at any time, and so does a canceller that gives the
/// task up. The drop of the last waker sets this bit only over `PARKED`. The next holder clears
/// `WOKEN` before it runs the task again.
const WOKEN: usize = 1 << 1;
/// The task's future is gone. The thread that drops the future sets this bit, which is never
/// cleared.
const THROUGH: usize = 1 << 2;
/// The unit in which wakers are counted. `Arc` counts wakers too, and aborts the process long
/// before this count overflows in any program that ends.
const WAKER: usize = 1 << 3;

/// How one run of a task that may wait ended.
#[derive(Debug)]
pub(crate) enum Polled<R> {
    Done(R),
    /// The task waits, and must run again once the signal wakes the task.
    Wait(Arc<Signal>),
}

/// Brings the strand of a parked task back.
type Back = Box<dyn FnOnce() + Send>;

/// Tells a suspended task to go on.
pub(crate) struct Signal {
    word: AtomicUsize,
    /// Written by the holder before `PARKED`. Taken by the thread that sets `WOKEN` over `PARKED`,
    /// or by the holder if it did not set `PARKED`.
    back: UnsafeCell<Option<Back>>,
}

// SAFETY: the word passes the cell from one thread to the next (see `park` and `wake`), and the
// content of the cell is `Send`.
unsafe impl Sync for Signal {}
// SAFETY: the word passes the cell from one thread to the next (see `park` and `wake`), and the
// content of the cell is `Send`.
unsafe impl Send for Signal {}

impl Signal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Signal {
            word: AtomicUsize::new(0),
            back: UnsafeCell::new(None),
        })
    }

    /// Notes that the task is about to run. This run sees the cause of earlier wake-ups. A later
    /// wake-up is for the next run. Must be called by the holder.
    pub(crate) fn starts(&self) {
        // Acquire: partners with the Release in `wake`.
        self.word.fetch_and(!(PARKED | WOKEN), Ordering::AcqRel);
    }

    /// Notes that the task's future is gone, and the task awaits nothing any more.
    pub(crate) fn ends(&self) {
        // Relaxed: a thread that sees the bit reads nothing that was written before.
        self.word.fetch_or(THROUGH, Ordering::Relaxed);
    }

    /// Checks whether the task awaits nothing any more. The answer `false` may be out of date.
    pub(crate) fn is_through(&self) -> bool {
        self.word.load(Ordering::Relaxed) & THROUGH != 0
    }

    /// Checks whether no waker is left that could wake the task. Must be called by the holder,
    /// after a run. The answer `true` is final.
    pub(crate) fn has_no_waker(&self) -> bool {
        // Relaxed: the caller reads nothing that a waking thread wrote.
        self.word.load(Ordering::Relaxed) & !PARKED == 0
    }

    /// Leaves the strand to the thread that wakes the task, and that will call `back`. Returns
    /// `false` if the task was woken already or no waker is left. The caller then still has the
    /// role.
    ///
    /// Must be called by the holder.
    pub(crate) fn park(&self, back: Back) -> bool {
        // SAFETY: `PARKED` is not set, so only the holder uses the cell.
        self.back.with_mut(|cell| unsafe { *cell = Some(back) });
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WOKEN == 0 && word >= WAKER {
            // Release: publishes the cell, partners with the Acquire in `wake`.
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
        // SAFETY: `PARKED` was not set, so only the holder uses the cell.
        drop(self.back.with_mut(|cell| unsafe { (*cell).take() }));
        false
    }

    /// Wakes the task. Does not unwind.
    pub(crate) fn wake(&self) {
        // Release: publishes what was done before, partners with `starts`.
        // Acquire: receives the cell, partners with `park`.
        let before = self.word.fetch_or(WOKEN, Ordering::AcqRel);
        if before & (PARKED | WOKEN) != PARKED {
            return;
        }
        // SAFETY: the signal was parked, and this thread set `WOKEN` over `PARKED`, so the cell is
        // this thread's.
        if let Some(back) = self.back.with_mut(|cell| unsafe { (*cell).take() }) {
            back();
        }
    }
}

/// As a waker, an `Arc` of the signal does not count: a task that has only such wakers is given up.
/// This is for events that may come, but for which the task must not be kept.
impl std::task::Wake for Signal {
    fn wake(self: Arc<Self>) {
        Signal::wake(&self);
    }
}

/// A task's signal, made on first use.
#[derive(Debug)]
pub(crate) struct LazySignal(OnceLock<Arc<Signal>>);

impl LazySignal {
    pub(crate) const fn new() -> Self {
        LazySignal(OnceLock::new())
    }

    pub(crate) fn get(&self) -> &Arc<Signal> {
        self.0.get_or_init(Signal::new)
    }

    /// Calls [`Signal::starts`] if there is a signal.
    pub(crate) fn starts(&self) {
        if let Some(signal) = self.0.get() {
            signal.starts();
        }
    }

    /// Calls [`Signal::ends`] if there is a signal.
    pub(crate) fn ends(&self) {
        if let Some(signal) = self.0.get() {
            signal.ends();
        }
    }

    /// Calls `f` with a waker that lives as long as the call. The lent waker does not count, but
    /// its clones do.
    pub(crate) fn lend<R>(&self, f: impl FnOnce(&Waker) -> R) -> R {
        let _leave = LeaveSignal::enter(self);
        let waker = match self.0.get() {
            // A clone that was made before has this address and table, so `will_wake` says yes.
            Some(signal) => RawWaker::new(Arc::as_ptr(signal).cast(), &VTABLE),
            None => RawWaker::new(core::ptr::from_ref(self).cast(), &LENT),
        };
        // SAFETY: the functions of both tables keep the contract of wakers, `VTABLE` for an address
        // that `Arc` gave and `LENT` for an address of a `LazySignal`. Both are live while `f`
        // runs, and `f` only borrows the waker. This waker is never dropped, and so takes no count
        // away.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker) });
        f(&waker)
    }
}

thread_local_const! {
    static CURRENT: Cell<*const LazySignal> = Cell::new(core::ptr::null());
}

/// Restores the signal of the enclosing task, even if the inner task unwinds.
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

/// Calls `f`, which drops a part of a task that awaits nothing any more. A completion that `f`
/// polls has no awaiter. In particular, the enclosing task does not await that completion.
pub(crate) fn apart(f: impl FnOnce()) {
    let _leave = LeaveSignal::enter(core::ptr::null());
    f();
}

/// Checks whether this thread polls a task's future, or runs something inside of that poll.
#[inline]
pub(crate) fn is_polling() -> bool {
    CURRENT.with(|current| !current.get().is_null())
}

/// Returns the signal of the innermost task whose future this thread polls.
pub(crate) fn current() -> Option<Arc<Signal>> {
    let signal = CURRENT.with(Cell::get);
    if signal.is_null() {
        return None;
    }
    // SAFETY: `lend` borrows the signal until the caller, which runs inside of `lend`, returns.
    Some(Arc::clone(unsafe { &*signal }.get()))
}

/// The table of a counted waker. Each such waker owns a count of the `Arc` and a count of the word.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// Clones a counted waker.
///
/// # Safety
/// For all functions of this table: `signal` must be the address of a live [`Signal`] in an `Arc`.
/// A function that consumes the waker must be given a waker that owns its two counts.
unsafe fn clone(signal: *const ()) -> RawWaker {
    let signal = signal.cast::<Signal>();
    // SAFETY: the signal is live in an `Arc` (contract of the table), and the added count keeps the
    // signal alive for the new waker.
    unsafe {
        Arc::increment_strong_count(signal);
        // Relaxed: as with `Arc`, a count exists already, or the holder lends its own.
        (*signal).word.fetch_add(WAKER, Ordering::Relaxed);
    }
    RawWaker::new(signal.cast(), &VTABLE)
}

unsafe fn wake(signal: *const ()) {
    // SAFETY: the signal is live, and the waker owns its two counts (contract of the table).
    unsafe {
        wake_by_ref(signal);
        drop_waker(signal);
    }
}

unsafe fn wake_by_ref(signal: *const ()) {
    // SAFETY: the signal is live (contract of the table).
    unsafe { &*signal.cast::<Signal>() }.wake();
}

unsafe fn drop_waker(signal: *const ()) {
    // SAFETY: the waker owns a count of the `Arc`, and gives it up here (contract of the table).
    let signal = unsafe { Arc::from_raw(signal.cast::<Signal>()) };
    // Relaxed: this step only counts. If the count was the last, a wake-up follows, which orders.
    let before = signal.word.fetch_sub(WAKER, Ordering::Relaxed);
    if before & !(WAKER - 1) == WAKER && before & (PARKED | WOKEN) == PARKED {
        signal.wake();
    }
}

/// The table of a lent waker, which owns nothing. Its functions must be called with the address of
/// a live [`LazySignal`].
static LENT: RawWakerVTable = RawWakerVTable::new(clone_lent, wake_lent, wake_lent, |_| ());

unsafe fn clone_lent(lazy: *const ()) -> RawWaker {
    // SAFETY: the `LazySignal` is live (contract of the table).
    let signal = unsafe { &*lazy.cast::<LazySignal>() }.get();
    // SAFETY: this is the address of a signal in an `Arc`, which is borrowed here.
    unsafe { clone(Arc::as_ptr(signal).cast()) }
}

unsafe fn wake_lent(lazy: *const ()) {
    // SAFETY: the `LazySignal` is live (contract of the table).
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
