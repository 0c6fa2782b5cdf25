//! Cancels one task through its handle, or all pending tasks of a resource.
//!
//! A sweep takes the queued tasks out of the strand. The thread that sets a task's `CLAIMED` bit
//! may drop its closure. The section "Cases of `cancel_pending`" in `docs/design/tasks.md` shows
//! that a sweep misses no task.

use crate::error::TaskError;
use crate::raw::core::Shell;
use crate::raw::strand::drain::Chain;
use crate::raw::strand::queue::Link;
use crate::raw::task::handle::Handle;
use crate::raw::task::life::{Header, STOP};
use crate::raw::task::queued::{self, Queued};
use crate::raw::task::signal::Signal;
use crate::raw::thread::context::{self, Described, Kind};
use crate::sync::Arc;
use core::ptr::NonNull;
use core::task::Waker;

/// Checks whether the task waits. Must be called by a sweep, with the backlog in hand.
pub(super) fn is_waiting(link: NonNull<Link>) -> bool {
    // SAFETY: the calling sweep has the backlog in hand (contract of `is_waiting`), so the task is
    // live.
    unsafe { queued::is_waiting(link) }
}

impl Shell {
    /// Cancels the tasks that are queued and have not started, and asks the running task to stop.
    /// Returns how many tasks were cancelled or given up.
    ///
    /// This thread refuses the swept tasks one after another. The drop of a closure may wait for a
    /// swept task that is not refused yet, and such a wait would never end. The frame makes the
    /// deadlock check refuse this wait.
    pub(crate) fn cancel_pending(&self) -> usize {
        context::enter(self.id(), Kind::Aside, || {
            let mut waiting = None;
            // One step decides: each task is swept, or runs and is asked to stop, or waits and is
            // given up.
            let swept = self.strand.sweep(is_waiting, |first| {
                self.stop_running();
                // SAFETY: the sweep calls this with the backlog in hand, so its first task is live,
                // and a task begins with its header.
                let first = first.map(|first| unsafe { first.cast::<Header>().as_ref() });
                waiting = first.and_then(|task| self.gives_up(task, STOP));
            });
            let given_up = usize::from(waiting.is_some());
            if let Some(signal) = waiting {
                signal.wake();
            }
            self.refuse_swept(swept, || TaskError::Cancelled) + given_up
        })
    }

    /// Gives up a task that waits, and returns the signal by which the caller must wake the task.
    /// Only the next holder may drop the future, which has the value. Returns `None` for a task
    /// that does not wait. Must be called with the backlog in hand.
    fn gives_up(&self, task: &Header, why: u32) -> Option<Arc<Signal>> {
        let signal = task.gives_up(why)?;
        self.tell_waiting(task);
        Some(signal)
    }

    /// Gives up a task that waits, and wakes the task. May be called by any thread.
    ///
    /// Returns `false` if the task was given up before, or does not wait. A task that runs is given
    /// up by the holder at its next wait.
    pub(in crate::raw) fn give_up(&self, task: &Header, why: u32) -> bool {
        let signal = self.strand.with_backlog_in_hand(|| {
            if !task.is_suspended() {
                self.stop(task, why);
            }
            self.gives_up(task, why)
        });
        if let Some(signal) = &signal {
            signal.wake();
        }
        signal.is_some()
    }

    /// Refuses the swept tasks with `error`. Returns how many tasks had not been claimed before.
    pub(super) fn refuse_swept(&self, swept: Chain, error: impl Fn() -> TaskError) -> usize {
        let mut count = 0;
        for link in swept {
            // SAFETY: the sweep took the task out of the queue, and no other thread has its link.
            let task = unsafe { Queued::from_link(link) };
            let cold = self.cold();
            self.leave_room(task.header());
            if task.claim() {
                cold.rare.swept.add(1);
                count += 1;
                task.refuse(error());
            } else {
                // A canceller or the timer thread has claimed and counted the task.
                cold.rare.cleared.add(1);
                cold.rare.remains.sub(1);
                task.leave();
            }
        }
        count
    }

    /// Cancels a queued task of this resource through its handle. If the task has started, asks the
    /// task to stop.
    pub(crate) fn cancel<R>(&self, task: &Handle<R>) -> bool {
        let note = |task: &Header| self.note_unrun(task, |rare| &rare.cancelled);
        if task.cancel(TaskError::Cancelled, note) {
            return true;
        }
        if task.header().waits() {
            return self.give_up(task.header(), STOP);
        }
        self.stop(task.header(), STOP);
        false
    }

    /// Refuses a queued task that no thread can run any more. Called when the caller that waits for
    /// the task leaves.
    pub(crate) fn abandon<R>(&self, task: &Handle<R>) {
        let note = |task: &Header| self.note_unrun(task, |rare| &rare.cancelled);
        task.cancel(TaskError::WouldDeadlock, note);
    }

    /// Refuses a task that was never queued. Returns the waker of its waiter.
    pub(crate) fn refuse_unqueued(&self, task: Queued, error: TaskError) -> Option<Waker> {
        self.leave_room(task.header());
        if task.claim() {
            return task.fail(error);
        }
        // The task was cancelled through its handle, and counted as a queued task. Take that back.
        let cold = self.cold();
        cold.rare.remains.sub(1);
        cold.rare.cancelled.sub(1);
        task.leave();
        None
    }
}
