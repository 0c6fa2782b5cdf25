//! The lane: a way past the state word for tasks that nobody else waits behind.
//!
//! A claim and a release on one word cost two read-modify-writes, which is most
//! of what a short task costs. The second is there to find out, at the very
//! moment of release, whether somebody queued. The lane does without: entering
//! is a read-modify-write, leaving a plain store, and then a look at the state
//! word. Who wants to queue while somebody is in the lane pays for the barrier
//! that the other side left out ([`barrier::heavy`]), some microseconds.
//!
//! So the lane is for resources that few contend for. It closes when somebody
//! had to queue, and opens again after as many claims in a row by the word as
//! would have paid for one heavy barrier (the ski-rental rule: no more than
//! twice what the best choice in hindsight would have cost).
//!
//! This is what biased locking does for one thread (M. Herlihy, N. Shavit, "The
//! Art of Multiprocessor Programming"; D. Dice, M. Moir, W. Scherer, "Quickly
//! Reacquirable Locks", 2003), for whichever thread comes.
//! [`Strand`](crate::raw::strand::Strand) decides with it; the argument is in
//! `docs/design.md`, The lane.

use crate::raw::strand::barrier;
use crate::sync::{AtomicU32, MODEL, Ordering, yield_now};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Closed; what is beyond this is the number of claims by the word that are to
/// come before it opens.
const CLOSED: u32 = 2;
const CLOSED_FOR_EVER: u32 = u32::MAX;
/// The same; and whoever releases the strand has more to do than that.
const SLOW_PATH_ONLY: u32 = u32::MAX - 1;

/// For how many claims it is closed: a heavy barrier takes 1 to 20 µs, depending
/// on the machine, and a claim by the lane saves 8 ns.
const CLAIMS: u32 = if MODEL { 1 } else { 1024 };

/// loom would let a sequentially consistent load miss a sequentially consistent
/// exchange, and read an earlier store of another ordering.
const fn in_order(ordering: Ordering) -> Ordering {
    if cfg!(captor_loom) {
        Ordering::SeqCst
    } else {
        ordering
    }
}

#[derive(Debug)]
pub(crate) struct Lane(AtomicU32);

/// What became of a try to enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LaneEntry {
    Entered,
    Taken,
    Closed,
    /// Nobody is to take the fast path any more.
    SlowPathOnly,
}

impl Lane {
    #[inline]
    pub(crate) fn new(open: bool, slow_path_only: bool) -> Self {
        let state = match (slow_path_only, open) {
            (true, _) => SLOW_PATH_ONLY,
            (false, true) => FREE,
            (false, false) => CLOSED_FOR_EVER,
        };
        let lane = AtomicU32::new(state);
        #[cfg(captor_loom)]
        lane.store(state, Ordering::SeqCst);
        Lane(lane)
    }

    /// Takes the lane if it is open and free. Who has it may run a task if the
    /// state word is idle afterwards, and else leaves at once.
    #[inline(always)]
    pub(crate) fn enter(&self) -> LaneEntry {
        // SeqCst: in one order with the step by which another takes the word
        // and its look at the lane (`is_taken`): one of the two sees the other.
        // Its acquire half partners with the Release in `leave`, whose task
        // this one follows.
        match self
            .0
            .compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::Relaxed)
        {
            Ok(_) => LaneEntry::Entered,
            Err(TAKEN) => LaneEntry::Taken,
            Err(SLOW_PATH_ONLY) => LaneEntry::SlowPathOnly,
            Err(_) => LaneEntry::Closed,
        }
    }

    /// Leaves it. Then the caller looks at the state word.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        // Release: partners with the acquire halves of `enter` and `is_taken`.
        self.0.store(FREE, in_order(Ordering::Release));
        // Between this store and the look at the word: partners with the heavy
        // one in `is_taken_for_sure`.
        barrier::light();
    }

    /// Is somebody in it? "No" is the truth to those who have taken the state
    /// word; "yes" may be out of date.
    #[inline(always)]
    pub(crate) fn is_taken(&self) -> bool {
        // SeqCst: see `enter`. Acquire: see `leave`.
        self.0.load(Ordering::SeqCst) == TAKEN
    }

    /// Is somebody in it who will still look at the state word, and see what
    /// the caller did to it? "No": nobody is, or has left and seen it perhaps.
    pub(crate) fn is_taken_for_sure(&self) -> bool {
        // Between the caller's step on the word and this look: partners with
        // the light one in `leave`.
        self.is_taken() && {
            barrier::heavy();
            self.is_taken()
        }
    }

    /// Somebody queued: closes it, unless somebody is in it. Holder only.
    pub(crate) fn close(&self) {
        let closed = if barrier::is_available() {
            CLOSED + CLAIMS
        } else {
            CLOSED_FOR_EVER
        };
        match self.0.load(Ordering::Relaxed) {
            CLOSED_FOR_EVER | SLOW_PATH_ONLY => {}
            FREE => {
                let _ = self
                    .0
                    .compare_exchange(FREE, closed, Ordering::SeqCst, Ordering::Relaxed);
            }
            TAKEN => {}
            // While it is closed, the holder alone writes it.
            _ => self.0.store(closed, in_order(Ordering::Relaxed)),
        }
    }

    /// Nobody queued behind a task that was claimed by the word: it comes one
    /// step nearer to opening. `false`: the strand is attended. Holder only.
    #[inline]
    pub(crate) fn count_down(&self) -> bool {
        let next = match self.0.load(Ordering::Relaxed) {
            FREE | TAKEN | CLOSED_FOR_EVER => return true,
            SLOW_PATH_ONLY => return false,
            CLOSED => FREE,
            left => left - 1,
        };
        // Release: partners with `enter`, as in `leave`.
        self.0.store(next, in_order(Ordering::Release));
        true
    }

    /// From now on nobody takes it, for good. Holder only, by the word.
    pub(crate) fn set_slow_path_only(&self) {
        // Whoever enters it leaves at once, since the word is not idle.
        while self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, |s| {
                (s != TAKEN).then_some(SLOW_PATH_ONLY)
            })
            .is_err()
        {
            yield_now();
        }
    }

    /// "No" may be out of date.
    #[inline]
    pub(crate) fn is_slow_path_only(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SLOW_PATH_ONLY
    }

    /// What `Arc` does before it drops what it holds.
    #[cfg(captor_loom)]
    pub(crate) fn see_all(&self) {
        self.0.fetch_or(0, Ordering::AcqRel);
    }
}
