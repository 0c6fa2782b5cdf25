//! Claiming an idle strand and releasing it, by the lane or by the word.

use crate::raw::strand::Strand;
use crate::raw::strand::lane::LaneEntry;
use crate::raw::strand::state::{Mode, State};
use crate::sync::{Ordering, yield_now};

/// How a submitter came to run a task, and is to let go of the strand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Lane,
    Word,
}

/// What became of a try to claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It was idle and is now the caller's.
    Made(Way),
    /// It was not idle.
    Failed,
    /// It was not idle, and the role is the caller's, with what others queued:
    /// they took the caller for one who runs a task.
    ClaimedWithBacklog,
}

/// What a look at the strand without a task in hand found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// It was idle and is now the caller's.
    Claimed(Way),
    /// See [`Claim::ClaimedWithBacklog`].
    ClaimedWithBacklog,
    /// Its holder is at work: it may soon be idle.
    Busy,
    /// No holder is at work on it now, or the queue's order says: queue.
    Queue,
    /// It refuses.
    Refusing,
}

impl Strand {
    /// The fast path's claim: idle, open, no job pending.
    ///
    /// Races with another claim (one wins, the other queues), a push (loses
    /// to the claim or finds it made), a close (before: refused; after: the
    /// task was accepted). By the word, all are decided there. By the lane, it
    /// is taken first and the word looked at second, and whoever moves the word
    /// looks at the lane second: of two that race, at least one sees the other.
    #[inline(always)]
    pub(crate) fn try_claim(&self) -> Claim {
        match self.lane.enter() {
            // SeqCst: see `Lane::enter`. Acquire: partners with those who
            // released by the word.
            LaneEntry::Entered if self.word.load(Ordering::SeqCst) == State::IDLE.into_raw() => {
                Claim::Made(Way::Lane)
            }
            LaneEntry::Entered => self.back_off(),
            LaneEntry::Taken | LaneEntry::SlowPathOnly => Claim::Failed,
            LaneEntry::Closed => self.claim_by_word(),
        }
    }

    /// A look that orders nothing.
    #[inline(always)]
    fn is_idle(&self) -> bool {
        self.word.load(Ordering::Relaxed) == State::IDLE.into_raw()
    }

    pub(crate) fn claim_by_word(&self) -> Claim {
        let claimed = self.word.compare_exchange(
            State::IDLE.into_raw(),
            State::HELD.into_raw(),
            // SeqCst: see `Lane::enter`. Its acquire half partners with the
            // Release of `try_release` and the release half of `release`,
            // whose task this one follows.
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        match claimed {
            Ok(_) => self.contest(),
            Err(_) => Claim::Failed,
        }
    }

    /// Entered the lane, and the word was not idle any more.
    #[cold]
    fn back_off(&self) -> Claim {
        self.lane.leave();
        if !self.is_idle() && self.claim_leftover() {
            Claim::ClaimedWithBacklog
        } else {
            Claim::Failed
        }
    }

    /// The fast path's release: nothing was queued, nothing was asked for.
    ///
    /// Holder only, with an empty backlog. Fails where a push, a close or a
    /// job came between; then the role is the caller's, by the word, and it
    /// goes on to [`Strand::drain`].
    #[inline(always)]
    pub(crate) fn try_release(&self, way: Way) -> bool {
        match way {
            Way::Lane => {
                self.lane.leave();
                self.is_idle() || !self.claim_leftover()
            }
            Way::Word => {
                // Its release half partners with the acquire half of the next
                // claim. SeqCst: like every step on the word.
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

    /// The holder is to keep the role for longer than the lane is for: from now on it has
    /// it by the word. (B0 in `docs/design.md`, The lane.)
    #[cold]
    pub(crate) fn by_word(&self, way: Way) {
        if way == Way::Word {
            return;
        }
        // Whoever else takes the idle word finds the lane taken, and gives it back at
        // once; what they queued comes with it.
        let take = |s: State| (s.mode() == Mode::Idle).then(|| s.with_mode(Mode::Held));
        while self.update(take).is_err() {
            yield_now();
        }
        self.lane.leave();
    }

    /// The word was idle, and says now that the role is the caller's. Is it so,
    /// or is somebody in the lane?
    ///
    /// Asked by whoever takes an idle word, and by nobody else: while it is not
    /// idle, whoever enters the lane leaves at once.
    #[inline]
    pub(super) fn contest(&self) -> Claim {
        if !self.lane.is_taken() {
            Claim::Made(Way::Word)
        } else if self.yield_to_lane() {
            // Others came meanwhile, and it may have been closed and at its end.
            Claim::ClaimedWithBacklog
        } else {
            Claim::Failed
        }
    }

    /// Gives the role back: whoever is in the lane has it, with what is queued.
    /// (The backlog is empty, since the word was idle.) `true` if they left
    /// meanwhile, and there is something to do, for which the role is the
    /// caller's again.
    #[cold]
    fn yield_to_lane(&self) -> bool {
        let _ = self.update(|s| Some(s.with_mode(Mode::Idle)));
        !self.lane.is_taken_for_sure() && self.claim_leftover()
    }

    /// Takes the role if there is something to do that was left to those in
    /// the lane: tasks queued on an idle strand, or the end of one that refuses.
    ///
    /// Called by each who leaves the lane and finds the word changed, and by
    /// each who changed it and found the lane left.
    #[cold]
    pub(super) fn claim_leftover(&self) -> bool {
        self.update(|s| {
            let left = s.mode() == Mode::Idle && (!s.head().is_null() || s.is_refusing());
            left.then(|| s.with_mode(Mode::Held))
        })
        .is_ok()
            && self.contest() != Claim::Failed
    }

    /// Looks once, and claims the strand if it is idle (a stale job does not
    /// matter here).
    pub(crate) fn look(&self) -> Look {
        let s = self.state();
        let claim = match s.mode() {
            Mode::Idle if s.has_job() || self.lane.is_slow_path_only() => self.claim_anyway(),
            // To enter the lane in vain has consequences.
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

    /// With a job pending, or attended.
    fn claim_anyway(&self) -> Claim {
        let claimed = self.update(|s| {
            let idle = s.mode() == Mode::Idle && s.head().is_null() && !s.is_refusing();
            idle.then(|| s.with_mode(Mode::Held))
        });
        match claimed {
            Ok(_) => self.contest(),
            Err(_) => Claim::Failed,
        }
    }

    /// Takes a strand that refuses and is idle.
    pub(crate) fn claim_refusing(&self) -> bool {
        // The one whose task made it refuse may still be in the lane; or
        // another, if it was healed and refuses again.
        !self.lane.is_taken()
            && self
                .update(|s| {
                    (s.mode() == Mode::Idle && s.is_refusing()).then(|| s.with_mode(Mode::Held))
                })
                .is_ok()
            && self.contest() != Claim::Failed
    }
}
