//! Queueing a task, and the offer of a role that no thread has.

use crate::raw::strand::claim::Claim;
use crate::raw::strand::queue::Link;
use crate::raw::strand::state::{Mode, State};
use crate::raw::strand::{Pooled, Strand};
use core::ptr::NonNull;

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// Queued behind a holder or an offer that stands.
    Queued,
    /// Queued, and the role is now the caller's.
    Captured,
    /// Queued on an idle strand, which is now on offer.
    Offered {
        /// The caller has to dispatch a job.
        dispatch: bool,
    },
    /// Not queued: the strand refuses.
    Refused,
}

/// What a push does to the word, besides queueing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PushStep {
    /// Nothing: others have the role, or have to see to it.
    Queue,
    /// Takes an idle strand, if nobody is in the lane.
    Claim,
    /// Takes the role that is on offer.
    Take,
    /// Leaves the task to who is in the lane.
    Leave,
    /// Puts the role of an idle strand on offer.
    Offer,
}

/// Which roles a submitter takes on when it finds them free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Terms {
    /// An idle strand, and one on offer, with all that is queued there.
    Any,
    /// An idle strand only: the submitter runs no task but its own. (Not where
    /// tasks are sorted: a more urgent one may come before it.)
    Own,
    /// None: the task is left to the pool.
    None,
}

impl Strand {
    /// Queues `task` as the newest, unless the strand refuses. `inside`: by a
    /// task of this strand.
    ///
    /// The claim, the push and the refusal are one step on one word. That is
    /// what keeps submission order: "idle" is seen only after all that was
    /// queued has run (G2), and a task is either refused or accounted for (G4).
    ///
    /// # Safety
    /// `task` is a live node in no queue; if it is accepted it stays live
    /// until it comes out of [`Crew::run`] or [`Strand::sweep`].
    pub(crate) unsafe fn push(
        &self,
        task: NonNull<Link>,
        terms: Terms,
        pooled: Pooled,
        inside: bool,
    ) -> Pushed {
        let mut step = PushStep::Queue;
        let pushed = self.update(|s| {
            if s.is_refusing() {
                return None;
            }
            step = self.step_of_push(s, terms, pooled);
            let next = match step {
                PushStep::Queue | PushStep::Leave => s,
                PushStep::Take | PushStep::Claim => s.with_mode(Mode::Held),
                PushStep::Offer => s.with_mode(Mode::Offered),
            };
            // SAFETY: not yet pushed, so the node is still the caller's alone.
            unsafe { Link::set_next(task, s.head().cast()) };
            Some(next.with_head(task.as_ptr().cast()))
        });
        if pushed.is_err() {
            return Pushed::Refused;
        }
        let captured = match step {
            PushStep::Queue => false,
            PushStep::Offer => return Pushed::Offered { dispatch: true },
            PushStep::Take => return Pushed::Captured,
            // Its own task is the first.
            PushStep::Claim if terms == Terms::Own && !self.lane.is_taken() => {
                return Pushed::Captured;
            }
            PushStep::Claim => self.contest() != Claim::Failed,
            // Who is inside is in the lane itself, and looks when it leaves.
            PushStep::Leave if inside => false,
            PushStep::Leave => !self.lane.is_taken_for_sure() && self.claim_leftover(),
        };
        match terms {
            _ if !captured => Pushed::Queued,
            Terms::Any => Pushed::Captured,
            // Others' tasks may be there, before its own.
            Terms::Own | Terms::None => Pushed::Offered {
                dispatch: self.offer(pooled),
            },
        }
    }

    fn step_of_push(&self, s: State, terms: Terms, pooled: Pooled) -> PushStep {
        match s.mode() {
            Mode::Idle if !s.head().is_null() => PushStep::Queue,
            // It has no lane.
            Mode::Idle if pooled => PushStep::Offer,
            Mode::Idle if self.lane.is_taken() => PushStep::Leave,
            Mode::Idle => PushStep::Claim,
            Mode::Offered if terms == Terms::Any => PushStep::Take,
            _ => PushStep::Queue,
        }
    }

    /// Takes the role if it is on offer.
    pub(crate) fn take_offer(&self) -> bool {
        self.update(|s| (s.mode() == Mode::Offered).then(|| s.with_mode(Mode::Held)))
            .is_ok()
    }

    /// A job for this strand starts, or was dropped: it is no longer pending.
    /// Takes the role if it is still on offer.
    pub(crate) fn accept_job(&self, pooled: Pooled) -> bool {
        let before = self.update(|s| {
            let s = if pooled { s } else { s.with_job(false) };
            Some(match s.mode() {
                Mode::Offered => s.with_mode(Mode::Held),
                _ => s,
            })
        });
        before.is_ok_and(|s| s.mode() == Mode::Offered)
    }

    /// Puts the role on offer. Holder only. Returns whether the caller has to
    /// dispatch a job (a pending one serves as well).
    pub(crate) fn offer(&self, pooled: Pooled) -> bool {
        self.update(|s| Some(s.with_mode(Mode::Offered).with_job(true)))
            .is_ok_and(|s| pooled || !s.has_job())
    }

    /// Puts the role on offer with no job: the caller has somebody who will
    /// look for it. Holder only.
    pub(crate) fn offer_without_job(&self) {
        let _ = self.update(|s| Some(s.with_mode(Mode::Offered)));
    }

    /// The role is on offer and nobody is sure to come: orders a job.
    /// Returns whether the caller has to dispatch it.
    pub(crate) fn order_job(&self) -> bool {
        self.update(|s| (s.mode() == Mode::Offered && !s.has_job()).then(|| s.with_job(true)))
            .is_ok()
    }
}
