//! The lane: a way past the state word for tasks that no other task waits behind.
//!
//! A claim and a release on one word cost two read-modify-writes, which is most of what a short
//! task costs. The second read-modify-write only finds out, at the moment of release, whether
//! another thread has queued a task. The lane does without. A thread enters by a
//! read-modify-write, leaves by a plain store, and then looks at the state word. A submitter that
//! queues while an entrant is in the lane pays for the barrier that the entrant leaves out:
//! [`barrier::heavy`] takes some microseconds.
//!
//! So the lane suits resources that few threads contend for. The lane closes when a thread had to
//! queue. The lane opens again after as many claims in a row by the word as cost one heavy barrier.
//! This is the ski-rental rule: the total is at most twice what the best choice in hindsight would
//! have cost.
//!
//! Biased locking does this for one fixed thread; the lane does it for any thread that comes.
//! Sources: M. Herlihy, N. Shavit, "The Art of Multiprocessor Programming"; D. Dice, M. Moir, W.
//! Scherer, "Quickly Reacquirable Locks", 2003.
//!
//! An *entrant* is a thread that has entered the lane and not left it yet. A *claimant* is a thread
//! that takes an idle state word, or queues a task on it. [`Strand`](crate::raw::strand::Strand)
//! decides with both words. `docs/design/lane.md` names the steps (A1 to S4) and has the argument.
//!
//! | value | meaning | set by | never set while |
//! |---|---|---|---|
//! | `FREE` | open and empty | birth; an entrant that leaves; the holder | closed for ever |
//! | `TAKEN` | an entrant is in the lane | an entrant | taken or closed |
//! | `CLOSED` + n | closed, with a count | the holder | taken |
//! | `CLOSED_FOR_EVER` | never opens | birth; the holder | taken |
//! | `SLOW_PATH_ONLY` | never opens; releases do more | birth; the holder | taken |

use crate::raw::strand::barrier;
use crate::sync::{AtomicU32, MODEL, Ordering, yield_now};

/// The lane is open and empty, and the next submitter may enter. An open lane is born with this
/// value. An entrant sets `FREE` when it leaves. The holder sets `FREE` when the count of a closed
/// lane has run out. A lane that is closed for ever or slow-path-only cannot become `FREE`.
const FREE: u32 = 0;
/// An entrant is in the lane. A submitter sets `TAKEN` by a compare-exchange from `FREE`. `TAKEN`
/// cannot be set while the lane is taken or closed.
const TAKEN: u32 = 1;
/// The lane is closed, and claims go by the state word. The excess over `CLOSED` is a count: each
/// release by the word takes one off, and the release that finds `CLOSED` itself opens the lane.
/// The holder closes the lane when it drains queued tasks, or when the strand refuses tasks. A
/// further drain restarts the count. The holder cannot close the lane while it is taken.
const CLOSED: u32 = 2;
/// The lane never opens. A lane is born so if no heavy barrier is available, if the scheduler's
/// builder turned lanes off, or if the resource never runs on its callers. The holder sets this
/// value if the heavy barrier has failed since. This value cannot be set while the lane is taken.
const CLOSED_FOR_EVER: u32 = u32::MAX;
/// The lane never opens, and each release must ask the holder's crew whether more is to be done. A
/// resource whose tasks are timed or watched is born with this value. The holder of the state word
/// sets this value with the first `on_idle` hook. This value cannot be set while the lane is taken,
/// and never changes afterwards.
const SLOW_PATH_ONLY: u32 = u32::MAX - 1;

/// The count with which the lane closes. A heavy barrier takes 1 to 20 µs, depending on the
/// machine, and a claim by the lane saves 8 ns.
const CLAIMS: u32 = if MODEL { 1 } else { 1024 };

/// Returns `ordering`, or `SeqCst` under loom. There, a sequentially consistent load could
/// otherwise miss a sequentially consistent exchange, and read an earlier store of another
/// ordering.
const fn in_order(ordering: Ordering) -> Ordering {
    if cfg!(captor_loom) {
        Ordering::SeqCst
    } else {
        ordering
    }
}

#[derive(Debug)]
pub(crate) struct Lane(AtomicU32);

/// The result of a try to enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LaneEntry {
    Entered,
    Taken,
    Closed,
    /// No thread may take the fast path any more.
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

    /// Enters the lane if it is open and free. If the state word is idle afterwards, the entrant
    /// may run a task. Otherwise, the entrant must leave at once.
    #[inline(always)]
    pub(crate) fn enter(&self) -> LaneEntry {
        // SeqCst: A1 stands in one order with the step by which a claimant takes the word, and with
        // the claimant's look at the lane (`is_taken`). So the entrant or the claimant sees the
        // other thread's step. The acquire half partners with the Release in `leave`, whose task
        // precedes this one.
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

    /// Leaves the lane. The caller must look at the state word afterwards.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        // Release: partners with the acquire halves of `enter` and `is_taken`.
        self.0.store(FREE, in_order(Ordering::Release));
        // Between this store and the look at the word: partners with the heavy barrier in
        // `is_taken_for_sure`.
        barrier::light();
    }

    /// Checks whether an entrant is in the lane. `false` is certain if the caller has taken the
    /// state word. `true` may be out of date.
    #[inline(always)]
    pub(crate) fn is_taken(&self) -> bool {
        // SeqCst: see `enter`. Acquire: partners with the Release in `leave`.
        self.0.load(Ordering::SeqCst) == TAKEN
    }

    /// Checks whether an entrant is in the lane that will still look at the state word, and will
    /// see the caller's step on it. If not, either no entrant was in the lane, or the entrant has
    /// left. An entrant that has left may have seen the caller's step.
    pub(crate) fn is_taken_for_sure(&self) -> bool {
        // Between the caller's step on the word and this look: partners with the light barrier in
        // `leave`.
        self.is_taken() && {
            barrier::heavy();
            self.is_taken()
        }
    }

    /// Closes the lane, unless an entrant is in it. Must be called by the holder.
    pub(crate) fn close(&self) {
        let closed = if barrier::is_available() {
            CLOSED + CLAIMS
        } else {
            CLOSED_FOR_EVER
        };
        // Relaxed: the exchange decides between `FREE` and `TAKEN`. Only holders write the other
        // values, and the role orders holders.
        match self.0.load(Ordering::Relaxed) {
            CLOSED_FOR_EVER | SLOW_PATH_ONLY => {}
            FREE => {
                let _ = self
                    .0
                    .compare_exchange(FREE, closed, Ordering::SeqCst, Ordering::Relaxed);
            }
            TAKEN => {}
            // Relaxed: while the lane is closed, only the holder writes it.
            _ => self.0.store(closed, in_order(Ordering::Relaxed)),
        }
    }

    /// Takes one off the count of a closed lane, for a release by the word. Returns `false` if the
    /// strand is slow-path-only. Must be called by the holder.
    #[inline]
    pub(crate) fn count_down(&self) -> bool {
        let next = match self.0.load(Ordering::Relaxed) {
            FREE | TAKEN | CLOSED_FOR_EVER => return true,
            SLOW_PATH_ONLY => return false,
            CLOSED => FREE,
            left => left - 1,
        };
        // Release: partners with the acquire half of `enter`, as the store in `leave` does.
        self.0.store(next, in_order(Ordering::Release));
        true
    }

    /// Closes the lane for good, so that every release takes the slow path. Must be called by a
    /// holder that has the role by the word.
    pub(crate) fn set_slow_path_only(&self) {
        // An entrant leaves at once, since the word is not idle. So this loop ends.
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

    /// Checks whether the lane is slow-path-only. `false` may be out of date.
    #[inline]
    pub(crate) fn is_slow_path_only(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SLOW_PATH_ONLY
    }

    /// Acquires what every entrant released, as `Arc` does before it drops its value.
    #[cfg(captor_loom)]
    pub(crate) fn see_all(&self) {
        self.0.fetch_or(0, Ordering::AcqRel);
    }
}
