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
//! had to queue, and opens again after a number of claims in a row by the word
//! ([`Hints`](crate::raw::hints::Hints)).
//!
//! This is what biased locking does for one thread (M. Herlihy, N. Shavit, "The
//! Art of Multiprocessor Programming"; D. Dice, M. Moir, W. Scherer, "Quickly
//! Reacquirable Locks", 2003), for whichever thread comes.
//! [`Strand`](crate::raw::drain::Strand) decides with it; the argument is in
//! `docs/design.md`, The lane.

use crate::raw::barrier;
use crate::sync::{AtomicU32, Ordering};

const FREE: u32 = 0;
const TAKEN: u32 = 1;

#[derive(Debug)]
pub(crate) struct Lane(AtomicU32);

impl Lane {
    pub(crate) fn new() -> Self {
        let state = AtomicU32::new(FREE);
        // loom would let sequentially consistent loads miss a store but for this.
        #[cfg(captor_loom)]
        state.store(FREE, Ordering::SeqCst);
        Lane(state)
    }

    /// Takes the lane. Who has it may run a task if the state word is idle
    /// afterwards, and else leaves at once.
    #[inline(always)]
    pub(crate) fn enter(&self) -> bool {
        // SeqCst: in one order with the step by which another takes the word
        // and its look at the lane (`is_taken`): one of the two sees the other.
        // Its acquire half partners with the Release in `leave`, whose task
        // this one follows.
        self.0
            .compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Leaves it. Then the caller looks at the state word.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        // Release: partners with the acquire halves of `enter` and `is_taken`.
        // loom would let `is_taken` read this store where `enter` overwrote it.
        const LEAVE: Ordering = match cfg!(captor_loom) {
            false => Ordering::Release,
            true => Ordering::SeqCst,
        };
        self.0.store(FREE, LEAVE);
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

    /// What `Arc` does before it drops what it holds.
    #[cfg(captor_loom)]
    pub(crate) fn see_all(&self) {
        self.0.fetch_or(0, Ordering::AcqRel);
    }
}
