//! The strand: a state word, and the lane beside it, decide which thread runs a resource's tasks.
//!
//! A [`Strand`] is what a resource needs to run tasks one at a time: the state word, the backlog
//! and the [`Lane`]. The state machine never sees the value, threads or time. The drain asks a
//! [`Crew`](drain::Crew) for what it needs from them.
//!
//! This layer is at the bottom of `src/raw`, beside `thread`. Code here must not touch a value, and
//! only `linger` reads a clock. `ci/layering.sh` says which layers this layer may name.
//!
//! Submitters push onto a Treiber stack in the state word, and the holder takes that stack whole.
//! The lane releases a resource without a read-modify-write: an asymmetric Dekker lock. The sources
//! are in [`queue`], [`lane`] and [`barrier`]. `docs/design/protocol.md` draws the transitions,
//! `docs/design/lane.md` walks through the races, and `docs/design/guarantees.md` argues each
//! guarantee.
//!
//! - [`state`]: the bits of the state word.
//! - [`queue`]: links, and the reversal of the stack.
//! - [`levels`]: tasks sorted by priority.
//! - [`backlog`]: tasks that the holder has taken and not yet started.
//! - [`barrier`]: a pair of memory barriers; the light barrier costs nothing.
//! - [`lane`]: the way past the state word.
//! - [`linger`]: how long a submitter watches before it queues or parks.
//! - [`claim`]: claims and releases, by the lane or by the word.
//! - [`push`]: how a task is queued, and how the role is put on offer.
//! - [`drain`]: the loop that runs a queue, and the sweep.
//!
//! # Orderings
//!
//! Steps on the word are read-modify-writes, so each step continues the release sequences of the
//! steps before. A thread that takes the role sees what every earlier holder wrote (G3). A thread
//! that takes the queue sees every node that was pushed to it.
//!
//! Steps on the word are sequentially consistent, as entering the lane is. Only one question needs
//! that, because two words decide it: is an entrant in the lane?

pub(crate) mod backlog;
pub(crate) mod barrier;
pub(crate) mod claim;
pub(crate) mod drain;
pub(crate) mod lane;
pub(crate) mod levels;
pub(crate) mod linger;
pub(crate) mod push;
pub(crate) mod queue;
pub(crate) mod state;

use crate::raw::strand::backlog::Backlog;
use crate::raw::strand::lane::Lane;
use crate::raw::strand::levels::Order;
use crate::raw::strand::linger::TaskTime;
use crate::raw::strand::state::{Mode, State};
use crate::sync::{AtomicPtr, Ordering};

/// The state word, the backlog and the lane of a resource, and how long its tasks take.
// The order of the fields is part of the layout that `Shell` in `src/raw/core` explains.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Strand {
    backlog: Backlog,
    word: AtomicPtr<()>,
    lane: Lane,
    task_time: TaskTime,
}

/// Whether a resource never runs tasks on its callers. The settings of the resource hold this flag,
/// and callers pass it to the steps that depend on it.
pub(crate) type Pooled = bool;

impl Strand {
    /// Creates an idle strand. If `pooled` is set, no submitter takes the fast path. Without a
    /// `lane`, the fast path goes by the word. If `slow_path_only` is set, every release asks the
    /// crew. With an `order`, queued tasks run in that order.
    #[inline]
    pub(crate) fn new(
        pooled: Pooled,
        lane: bool,
        slow_path_only: bool,
        order: Option<Order>,
    ) -> Self {
        let idle = if pooled {
            State::IDLE_POOLED
        } else {
            State::IDLE
        };
        let word = AtomicPtr::new(idle.into_raw());
        // loom does not count an initial value as a sequentially consistent store. Without this
        // store, loom would let sequentially consistent loads miss a step.
        #[cfg(captor_loom)]
        word.store(idle.into_raw(), Ordering::SeqCst);
        Strand {
            word,
            backlog: Backlog::new(order),
            lane: Lane::new(lane && !pooled, slow_path_only),
            task_time: TaskTime::default(),
        }
    }

    /// Returns the estimate of how long the tasks of this resource take.
    pub(crate) fn task_time(&self) -> &TaskTime {
        &self.task_time
    }

    pub(crate) fn state(&self) -> State {
        // Acquire: partners with every Release on the word. A caller that finds the strand ended
        // sees what its last task wrote.
        State::from_raw(self.word.load(Ordering::Acquire))
    }

    /// Checks whether every release asks the crew. `false` may be out of date.
    #[inline]
    pub(crate) fn is_slow_path_only(&self) -> bool {
        self.lane.is_slow_path_only()
    }

    /// Checks whether the role is on offer.
    pub(crate) fn is_offered(&self) -> bool {
        self.state().mode() == Mode::Offered
    }

    /// Checks whether no thread holds the role and nothing is queued. If a strand that refuses is
    /// not at rest, its entrant or a holder will tell the end.
    pub(crate) fn is_at_rest(&self) -> bool {
        // SeqCst: see `Lane::enter`. An entrant in vain may have left without telling the end, and
        // its store may not be seen yet. So the lane is checked behind the heavy barrier.
        let s = State::from_raw(self.word.load(Ordering::SeqCst));
        s.mode() == Mode::Idle && s.head().is_null() && !self.lane.is_taken_for_sure()
    }

    /// Makes everything that holders did visible to the caller. `Arc` does this before it drops its
    /// value, but loom does not see that `Arc`.
    #[cfg(captor_loom)]
    pub(crate) fn see_all(&self) {
        let _ = self.update(Some);
        self.lane.see_all();
    }

    /// Applies `f` to the state in one step, and returns the state before. If `f` returns `None`,
    /// the word does not change, and the state that `f` saw is the error.
    fn update(&self, mut f: impl FnMut(State) -> Option<State>) -> Result<State, State> {
        let mut now = self.state();
        loop {
            let Some(next) = f(now) else { return Err(now) };
            match self.word.compare_exchange_weak(
                now.into_raw(),
                next.into_raw(),
                // SeqCst: see `Lane::enter`. Each step continues the release sequences of the steps
                // before, and acquires them. Acquire on failure: see `state`.
                Ordering::SeqCst,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(now),
                Err(raw) => now = State::from_raw(raw),
            }
        }
    }

    /// Gives the role to a suspended task. Must be called by the holder.
    pub(crate) fn suspend(&self) {
        let _ = self.update(|s| Some(s.with_mode(Mode::Suspended)));
    }

    /// Takes the role back from a suspended task. Must be called by the thread that may resume the
    /// task: the thread that woke the task, or the holder if parking failed.
    pub(crate) fn unsuspend(&self) {
        let _ = self.update(|s| {
            debug_assert_eq!(s.mode(), Mode::Suspended);
            Some(s.with_mode(Mode::Held))
        });
    }

    /// Makes the strand slow-path-only: from now on no thread takes the fast path, and every
    /// release asks the crew. Must be called by a holder that has the role by the word.
    pub(crate) fn set_slow_path_only(&self) {
        self.lane.set_slow_path_only();
    }

    /// Makes the strand refuse every push from now on. Returns `true` if no thread was at work and
    /// nothing was queued. Otherwise, the entrant or a holder tells the end later.
    pub(crate) fn refuse(&self) -> bool {
        let before = self.update(|s| Some(s.with_refusing(true)));
        before.is_ok_and(|s| s.mode() == Mode::Idle && s.head().is_null())
            && !self.lane.is_taken_for_sure()
    }

    /// Accepts tasks again. Must be called by the holder.
    pub(crate) fn reopen(&self) {
        let _ = self.update(|s| Some(s.with_refusing(false)));
    }
}
