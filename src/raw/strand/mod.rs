//! The drain state machine: every transition of the state word, and the loop
//! that runs a queue.
//!
//! A [`Strand`] is the state word, the backlog and the [`Lane`]: what a resource
//! needs to run tasks one at a time. It never sees the value, threads or time;
//! what it needs from them it asks of a [`Crew`]. `docs/design.md` draws the
//! transitions and argues each guarantee from them.
//!
//! # Orderings
//!
//! Steps on the word are read-modify-writes, so each continues the release
//! sequences of those before it: whoever takes the role sees what every earlier
//! holder wrote (G3), and whoever takes the queue sees every node pushed to it.
//! They are sequentially consistent, as entering the lane is, for the one
//! question that two words decide: is somebody in the lane?

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

/// The state word, the backlog and the lane.
// In this order: see `Core`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Strand {
    backlog: Backlog,
    word: AtomicPtr<()>,
    lane: Lane,
    task_time: TaskTime,
}

/// Whether the resource never runs on its callers. It is a setting of the
/// resource, kept where settings are, and passed to the steps that differ.
pub(crate) type Pooled = bool;

impl Strand {
    /// An idle strand. A `pooled` one never takes the fast path. One without a
    /// `lane` takes it by the word. One with an order runs what is queued in
    /// that.
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
        // loom would let sequentially consistent loads miss a step but for this.
        #[cfg(captor_loom)]
        word.store(idle.into_raw(), Ordering::SeqCst);
        Strand {
            word,
            backlog: Backlog::new(order),
            lane: Lane::new(lane && !pooled, slow_path_only),
            task_time: TaskTime::default(),
        }
    }

    /// What is kept beside the strand for those who come to it.
    pub(crate) fn task_time(&self) -> &TaskTime {
        &self.task_time
    }

    pub(crate) fn state(&self) -> State {
        // Acquire: partners with every Release on the word; a caller that
        // finds the strand ended sees what its last task wrote.
        State::from_raw(self.word.load(Ordering::Acquire))
    }

    /// "No" may be out of date.
    #[inline]
    pub(crate) fn is_slow_path_only(&self) -> bool {
        self.lane.is_slow_path_only()
    }

    /// Is the role on offer?
    pub(crate) fn is_offered(&self) -> bool {
        self.state().mode() == Mode::Offered
    }

    /// Does nobody hold it, and is nothing queued? If a strand that refuses is
    /// not at rest, there is somebody who will be heard of when it is.
    pub(crate) fn is_at_rest(&self) -> bool {
        // SeqCst: see `Lane::enter`. Who entered the lane in vain may have left
        // it unheard, so that is made sure of.
        let s = State::from_raw(self.word.load(Ordering::SeqCst));
        s.mode() == Mode::Idle && s.head().is_null() && !self.lane.is_taken_for_sure()
    }

    /// Makes all that holders did visible, which `Arc` does before it drops
    /// what it holds. loom knows nothing of that `Arc`.
    #[cfg(captor_loom)]
    pub(crate) fn see_all(&self) {
        let _ = self.update(Some);
        self.lane.see_all();
    }

    /// Applies `f` in one step, or nothing where it returns `None`; returns
    /// the state before.
    fn update(&self, mut f: impl FnMut(State) -> Option<State>) -> Result<State, State> {
        let mut now = self.state();
        loop {
            let Some(next) = f(now) else { return Err(now) };
            match self.word.compare_exchange_weak(
                now.into_raw(),
                next.into_raw(),
                Ordering::SeqCst,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(now),
                Err(raw) => now = State::from_raw(raw),
            }
        }
    }

    /// Gives the role to a task that waits. Holder only.
    pub(crate) fn suspend(&self) {
        let _ = self.update(|s| Some(s.with_mode(Mode::Suspended)));
    }

    /// Takes the role back for a task that no longer waits. Only for the one
    /// who may resume that task.
    pub(crate) fn unsuspend(&self) {
        let _ = self.update(|s| {
            debug_assert_eq!(s.mode(), Mode::Suspended);
            Some(s.with_mode(Mode::Held))
        });
    }

    /// From now on the strand is attended: nobody takes the fast path, or releases
    /// it without asking the crew. Holder only, by the word.
    pub(crate) fn set_slow_path_only(&self) {
        self.lane.set_slow_path_only();
    }

    /// From now on every push is refused. `true`: nobody was at work, nothing
    /// was queued; else whoever is at work comes to the end later.
    pub(crate) fn refuse(&self) -> bool {
        let before = self.update(|s| Some(s.with_refusing(true)));
        before.is_ok_and(|s| s.mode() == Mode::Idle && s.head().is_null())
            && !self.lane.is_taken_for_sure()
    }

    /// Accepts again. Holder only.
    pub(crate) fn reopen(&self) {
        let _ = self.update(|s| Some(s.with_refusing(false)));
    }
}
