//! Queueing a task, and putting the role on offer while no thread has it.
//!
//! A push changes the state word in one step, which queues the task and may also claim the strand.
//! [`PushStep`] lists what a push does to the word. `docs/design/protocol.md` draws the
//! transitions.

use crate::raw::strand::claim::Claim;
use crate::raw::strand::queue::Link;
use crate::raw::strand::state::{Mode, State};
use crate::raw::strand::{Pooled, Strand};
use core::ptr::NonNull;

/// The result of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// The task is queued behind a holder, a suspended task, an entrant or an offer that stands.
    Queued,
    /// The task is queued, and the caller now has the role.
    Captured,
    /// The task is queued on an idle strand, whose role is now on offer.
    Offered {
        /// Whether the caller must dispatch a job.
        dispatch: bool,
    },
    /// The task is not queued: the strand refuses.
    Refused,
}

/// The change that a push makes to the word, besides queueing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PushStep {
    /// Nothing: another thread or a suspended task has the role, or another thread will take the
    /// role.
    Queue,
    /// Takes an idle strand, unless an entrant is in the lane.
    Claim,
    /// Takes the role that is on offer.
    Take,
    /// Leaves the task to the entrant in the lane.
    Leave,
    /// Puts the role of an idle strand on offer.
    Offer,
}

/// Which roles a submitter takes if its push finds them free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Terms {
    /// The role of an idle strand, and a role on offer with all that is queued there.
    Any,
    /// The role of an idle strand only: the submitter runs no task but its own. Must not be used if
    /// tasks are sorted, since a more urgent task may be pushed and come first.
    Own,
    /// No role: the task is left to the pool.
    None,
}

impl Strand {
    /// Queues `task` as the newest task, unless the strand refuses. `inside` says that a task of
    /// this strand makes the call.
    ///
    /// The claim, the push and the refusal are one step on one word. That step keeps the submission
    /// order: a submitter sees "idle" only after all that was queued has run (G2). A task is either
    /// refused or accounted for (G4).
    ///
    /// # Safety
    /// `task` must be a live node in no queue. If `task` is accepted, it must stay live until it
    /// comes out of the queue, by [`Crew::run`](crate::raw::strand::drain::Crew::run) or
    /// [`Strand::sweep`].
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
            // SAFETY: `task` is live and in no queue (contract of `push`). The push has not
            // succeeded yet, so no other thread can reach the node.
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
            // The word was idle and the lane is free, so the caller's task is the first.
            PushStep::Claim if terms == Terms::Own && !self.lane.is_taken() => {
                return Pushed::Captured;
            }
            PushStep::Claim => self.confirm_claim() != Claim::Failed,
            // The caller is inside a task that runs in the lane, and its thread looks when it
            // leaves the lane.
            PushStep::Leave if inside => false,
            PushStep::Leave => !self.lane.is_taken_for_sure() && self.claim_leftover(),
        };
        match terms {
            _ if !captured => Pushed::Queued,
            Terms::Any => Pushed::Captured,
            // Tasks of other submitters may come before the caller's task.
            Terms::Own | Terms::None => Pushed::Offered {
                dispatch: self.offer(pooled),
            },
        }
    }

    fn step_of_push(&self, s: State, terms: Terms, pooled: Pooled) -> PushStep {
        match s.mode() {
            Mode::Idle if !s.head().is_null() => PushStep::Queue,
            // A pooled strand has no lane.
            Mode::Idle if pooled => PushStep::Offer,
            Mode::Idle if self.lane.is_taken() => PushStep::Leave,
            Mode::Idle => PushStep::Claim,
            Mode::Offered if terms == Terms::Any => PushStep::Take,
            _ => PushStep::Queue,
        }
    }

    /// Takes the role if it is on offer. Returns whether the caller now has the role.
    pub(crate) fn take_offer(&self) -> bool {
        self.update(|s| (s.mode() == Mode::Offered).then(|| s.with_mode(Mode::Held)))
            .is_ok()
    }

    /// Records that a job for this strand starts, so that no job is pending any more. If an
    /// executor drops a job, the job still starts, on another thread or in its drop. Takes the role
    /// if it is still on offer, and returns whether the caller now has the role.
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

    /// Puts the role on offer. Must be called by the holder. Returns whether the caller must
    /// dispatch a job: a pending job serves as well, unless the strand is `pooled`.
    pub(crate) fn offer(&self, pooled: Pooled) -> bool {
        self.update(|s| Some(s.with_mode(Mode::Offered).with_job(true)))
            .is_ok_and(|s| pooled || !s.has_job())
    }

    /// Puts the role on offer without a job. Must be called by the holder, and a thread must be
    /// sure to look for the offer.
    pub(crate) fn offer_without_job(&self) {
        let _ = self.update(|s| Some(s.with_mode(Mode::Offered)));
    }

    /// Orders a job if the role is on offer and no job is pending. Returns whether the caller must
    /// dispatch the job. Called if no thread is sure to look for the offer.
    pub(crate) fn order_job(&self) -> bool {
        self.update(|s| (s.mode() == Mode::Offered && !s.has_job()).then(|| s.with_job(true)))
            .is_ok()
    }
}
