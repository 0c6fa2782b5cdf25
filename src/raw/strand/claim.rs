//! Claiming an idle strand and releasing it, by the lane or by the word.
//!
//! A claim by the lane enters the lane and then looks at the word. A claim by the word takes the
//! idle word and then looks at the lane. If two threads race, at least one sees the other thread's
//! step. `docs/design/lane.md` names the steps (A1 to S4) and has the argument.

use crate::raw::strand::Strand;
use crate::raw::strand::lane::LaneEntry;
use crate::raw::strand::state::{Mode, State};
use crate::sync::{Ordering, yield_now};

/// The way by which a thread claimed the strand, and by which it must release the strand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Lane,
    Word,
}

/// The result of a try to claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// The strand was idle, and the caller now holds it.
    Made(Way),
    /// The strand was not idle.
    Failed,
    /// The claim failed, but the caller now holds the role. While the caller was briefly in the
    /// lane or had the word, other threads took the caller for a thread that runs a task. They left
    /// queued tasks to the caller, or the end of a strand that refuses. So the caller must drain
    /// the strand, or hand it off.
    ClaimedWithBacklog,
}

/// The result of a look at the strand without a task in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// The strand was idle, and the caller now holds it.
    Claimed(Way),
    /// The claim failed, but the caller now holds the role: see [`Claim::ClaimedWithBacklog`].
    ClaimedWithBacklog,
    /// A holder is at work, so the strand may soon be idle.
    Busy,
    /// The role is on offer, or a suspended task keeps the strand: the caller must queue.
    Queue,
    /// The strand refuses tasks.
    Refusing,
}

impl Strand {
    /// Claims the strand by the fast path, if it is idle and open with no job pending.
    ///
    /// The races of a claim by the word, each decided on the word:
    /// - *Another claim*: one compare-exchange wins; the loser queues.
    /// - *A push*: if the claim comes first, the task is queued behind the holder. If the push
    ///   comes first, the claim fails.
    /// - *A close*: if the close comes first, the task is refused. If the claim comes first, the
    ///   task was accepted.
    ///
    /// A claim by the lane enters the lane (A1), and then looks at the word (A2). A thread that
    /// claims, pushes or closes changes the word, and then looks at the lane (S2). So at least one
    /// of two racing threads sees the other thread's step.
    #[inline(always)]
    pub(crate) fn try_claim(&self) -> Claim {
        match self.lane.enter() {
            // SeqCst: A2, see `Lane::enter`. Acquire: partners with the releases of the word.
            LaneEntry::Entered if self.word.load(Ordering::SeqCst) == State::IDLE.into_raw() => {
                Claim::Made(Way::Lane)
            }
            LaneEntry::Entered => self.back_off(),
            LaneEntry::Taken | LaneEntry::SlowPathOnly => Claim::Failed,
            LaneEntry::Closed => self.claim_by_word(),
        }
    }

    /// Checks whether the word is idle and open, with no job. This look orders nothing.
    #[inline(always)]
    fn is_idle(&self) -> bool {
        self.word.load(Ordering::Relaxed) == State::IDLE.into_raw()
    }

    pub(crate) fn claim_by_word(&self) -> Claim {
        let claimed = self.word.compare_exchange(
            State::IDLE.into_raw(),
            State::HELD.into_raw(),
            // SeqCst: S1, see `Lane::enter`. The acquire half partners with the release halves of
            // `try_release` and `release`, whose task precedes this one.
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        match claimed {
            Ok(_) => self.confirm_claim(),
            Err(_) => Claim::Failed,
        }
    }

    /// Leaves the lane after an entry in vain: the word was not idle any more.
    #[cold]
    fn back_off(&self) -> Claim {
        self.lane.leave();
        if !self.is_idle() && self.claim_leftover() {
            Claim::ClaimedWithBacklog
        } else {
            Claim::Failed
        }
    }

    /// Releases the strand by the fast path. Must be called by the holder, with an empty backlog.
    ///
    /// Returns `false` if a task was pushed, the strand was closed, a job is pending, or the strand
    /// is slow-path-only. Then the caller holds the role by the word, and must call
    /// [`Strand::drain`].
    #[inline(always)]
    pub(crate) fn try_release(&self, way: Way) -> bool {
        match way {
            Way::Lane => {
                self.lane.leave();
                self.is_idle() || !self.claim_leftover()
            }
            Way::Word => {
                // The release half partners with the acquire half of the next claim. SeqCst: like
                // every step on the word.
                self.lane.count_down()
                    && self
                        .word
                        .compare_exchange(
                            State::HELD.into_raw(),
                            State::IDLE.into_raw(),
                            Ordering::SeqCst,
                            Ordering::Relaxed,
                        )
                        .is_ok()
            }
        }
    }

    /// Moves an entrant from the lane to the word, so that its task can keep the role while the
    /// task waits (B0 in `docs/design/lane.md`). If the caller has claimed by the word, this does
    /// nothing.
    #[cold]
    pub(crate) fn move_to_word(&self, way: Way) {
        if way == Way::Word {
            return;
        }
        // A claimant that takes the idle word finds the lane taken, and gives the word back at
        // once. So this loop ends. Tasks that submitters have queued come with the role.
        let take = |s: State| (s.mode() == Mode::Idle).then(|| s.with_mode(Mode::Held));
        while self.update(take).is_err() {
            yield_now();
        }
        self.lane.leave();
    }

    /// Decides whether the caller, which has just taken an idle word, has the role (S2). If an
    /// entrant is in the lane, the caller gives the role back.
    ///
    /// Must be called by a thread that has taken an idle word, and by no other thread. While the
    /// word is not idle, an entrant leaves at once.
    #[inline]
    pub(super) fn confirm_claim(&self) -> Claim {
        if !self.lane.is_taken() {
            Claim::Made(Way::Word)
        } else if self.yield_to_lane() {
            // Other threads came meanwhile: tasks may be queued, or the strand may be closed and at
            // its end.
            Claim::ClaimedWithBacklog
        } else {
            Claim::Failed
        }
    }

    /// Gives the role back to the entrant in the lane, with what is queued. The backlog is empty,
    /// since the word was idle. Returns `true` if the entrant has left meanwhile and something is
    /// left to do. Then the caller has the role again.
    #[cold]
    fn yield_to_lane(&self) -> bool {
        let _ = self.update(|s| Some(s.with_mode(Mode::Idle)));
        !self.lane.is_taken_for_sure() && self.claim_leftover()
    }

    /// Takes the role if something was left to the entrant: tasks queued on an idle strand, or the
    /// end of a strand that refuses.
    ///
    /// A thread that leaves the lane calls this if it finds the word changed. A thread that changed
    /// the word calls this if it finds the lane left. One compare-exchange decides between the two.
    #[cold]
    pub(super) fn claim_leftover(&self) -> bool {
        self.update(|s| {
            let left = s.mode() == Mode::Idle && (!s.head().is_null() || s.is_refusing());
            left.then(|| s.with_mode(Mode::Held))
        })
        .is_ok()
            && self.confirm_claim() != Claim::Failed
    }

    /// Looks once, and claims an idle strand. A stale job does not matter here.
    pub(crate) fn look(&self) -> Look {
        let s = self.state();
        let claim = match s.mode() {
            Mode::Idle if s.has_job() || self.lane.is_slow_path_only() => self.claim_slow_path(),
            // An entry in vain has consequences, so only an idle word is worth a try.
            Mode::Idle if s == State::IDLE => self.try_claim(),
            _ => Claim::Failed,
        };
        match (claim, s.mode()) {
            (Claim::Made(way), _) => Look::Claimed(way),
            (Claim::ClaimedWithBacklog, _) => Look::ClaimedWithBacklog,
            (Claim::Failed, _) if s.is_refusing() => Look::Refusing,
            (Claim::Failed, Mode::Idle | Mode::Held) => Look::Busy,
            (Claim::Failed, Mode::Offered | Mode::Suspended) => Look::Queue,
        }
    }

    /// Claims an idle strand by the word, although a job is pending or the strand is
    /// slow-path-only.
    fn claim_slow_path(&self) -> Claim {
        let claimed = self.update(|s| {
            let idle = s.mode() == Mode::Idle && s.head().is_null() && !s.is_refusing();
            idle.then(|| s.with_mode(Mode::Held))
        });
        match claimed {
            Ok(_) => self.confirm_claim(),
            Err(_) => Claim::Failed,
        }
    }

    /// Takes the role of a strand that refuses and is idle. Returns whether the caller now has the
    /// role.
    pub(crate) fn claim_refusing(&self) -> bool {
        // The entrant whose task made the strand refuse may still be in the lane. If the strand was
        // healed and refuses again, another entrant may be in the lane.
        !self.lane.is_taken()
            && self
                .update(|s| {
                    (s.mode() == Mode::Idle && s.is_refusing()).then(|| s.with_mode(Mode::Held))
                })
                .is_ok()
            && self.confirm_claim() != Claim::Failed
    }
}
