//! The first run of an asynchronous task on its submitter: one that never waits costs
//! little more than any other.

use crate::error::TaskError;
use crate::raw::attributes::{Described, Given, Tag};
use crate::raw::context::{self, Kind, MAX_DEPTH, Subject};
use crate::raw::drain::{Claim, Flow, Way};
use crate::raw::handle::Handle;
use crate::raw::inner::Core;
use crate::raw::role::{captured, drain, pass_on};
use crate::raw::shift::Shift;
use crate::raw::suspend::Signal;
use crate::raw::task::{Body, Queued, Ran};
use crate::sync::Arc;

/// What a first run came to.
pub(crate) enum Started<R> {
    Through(Result<R, TaskError>),
    /// It waits, or is queued to go on.
    Waits(Handle<R>),
}

impl<T: Send + 'static> Core<T> {
    /// Runs a task that may wait here and now, if the resource is idle; gives it back
    /// if not, and where something has to be done around it that the drain does.
    pub(crate) fn try_start<R, F>(
        self: &Arc<Self>,
        body: F,
        given: Given<'_>,
    ) -> Result<Started<R>, F>
    where
        F: Body<T, R> + Send + 'static,
        R: Send + 'static,
    {
        let is_timed = given.is_some_and(|attributes| attributes.deadline.is_some());
        if is_timed
            || self.settings().pooled
            || self.strand().is_attended()
            || context::depth() >= MAX_DEPTH
        {
            return Err(body);
        }
        // User code, a subscriber: before the role is ours.
        let tag = self.tag(given);
        // By the word: the lane is for those who leave it when they return.
        match self.strand().claim_by_word() {
            Claim::Made(way) => Ok(self.start_claimed(body, tag, way)),
            Claim::Failed => Err(body),
            Claim::Burdened => {
                pass_on(self);
                Err(body)
            }
        }
    }

    /// Holder only, with an empty queue.
    fn start_claimed<R, F>(self: &Arc<Self>, body: F, tag: Tag, way: Way) -> Started<R>
    where
        F: Body<T, R> + Send,
        R: Send,
    {
        let (task, handle) = Handle::with_task::<T, F>(body, tag);
        task.claim_unqueued();
        if let Some(meta) = task.meta() {
            meta.starts(self.host());
        }
        self.inline.turn();
        let subject = Some(task.header() as Subject<'_>);
        let ran = context::enter_task(self.id(), Kind::Own, subject, || {
            // SAFETY: claimed by the caller, and a task of this resource.
            unsafe { task.run(self.value(), self.name()) }
        });
        match ran {
            Ran::Suspended(signal) => {
                self.wait_on(task, &signal);
                return Started::Waits(handle);
            }
            Ran::Returned => {}
            Ran::Panicked => self.note_panic(task.header().name()),
        }
        self.inline.turn();
        // SAFETY: it ran to its end and was in no queue; a signal does not refer to it.
        let take = || unsafe { handle.take_unqueued(task) };
        // Its span is closed, by user code.
        let outcome = context::enter(self.id(), Kind::Aside, take);
        if !self.strand().try_release(way) {
            captured(self);
        }
        Started::Through(outcome)
    }

    /// The task waits. From now on it counts as one that was queued.
    #[cold]
    fn wait_on(self: &Arc<Self>, task: Queued, signal: &Signal) {
        // Somebody who asks what runs to stop finds that something does.
        self.strand().in_one_step(|| {
            self.counters.dequeued.turn();
            self.inline.interrupt();
        });
        let depth = self.count_push();
        self.counters.pushed(&depth);
        let mut shift = Shift::submitter(self, None);
        match shift.suspends(task, signal) {
            Flow::Done => drain(self, shift),
            // Its spans are entered again, by user code.
            Flow::Suspended => context::enter(self.id(), Kind::Aside, || drop(shift)),
        }
    }
}
