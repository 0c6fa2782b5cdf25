//! Cancelling tasks: one through its handle, or all that a resource has.

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

/// Is it a task that waits, for the one who sweeps?
pub(super) fn is_waiting(link: NonNull<Link>) -> bool {
    // SAFETY: live in the backlog, which is in hand.
    unsafe { queued::is_waiting(link) }
}

impl Shell {
    /// Cancels what is queued and has not started, and asks what has to stop.
    ///
    /// What was swept is in this thread's hands until its turn comes, so a
    /// closure whose drop waits for one of those is told that it would never
    /// end: hence the frame.
    pub(crate) fn cancel_pending(&self) -> usize {
        context::enter(self.id(), Kind::Aside, || {
            let mut waiting = None;
            // In one step: each task is swept, or runs and is asked, or waits and is given up.
            let swept = self.strand.sweep(is_waiting, |first| {
                self.stop_running();
                // SAFETY: live in the backlog, which is in hand.
                let first = first.map(|first| unsafe { first.cast::<Header>().as_ref() });
                waiting = first.and_then(|task| self.gives_up(task, STOP));
            });
            let given_up = usize::from(waiting.is_some());
            if let Some(signal) = waiting {
                signal.wake();
            }
            self.refuse_all(swept, || TaskError::Cancelled) + given_up
        })
    }

    /// If the task waits, it is to be given up, by whoever has the role next: only he may
    /// drop its future, which has the value. Returns by what he is to be woken. With the
    /// backlog in hand.
    fn gives_up(&self, task: &Header, why: u32) -> Option<Arc<Signal>> {
        let signal = task.gives_up(why)?;
        self.tell_waiting(task);
        Some(signal)
    }

    /// The same, from anywhere. `false`: it was given up before; or it does not wait, and
    /// if it runs, is given up when it comes to.
    pub(in crate::raw) fn give_up(&self, task: &Header, why: u32) -> bool {
        let signal = self.strand.in_one_step(|| {
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

    pub(super) fn refuse_all(&self, swept: Chain, error: impl Fn() -> TaskError) -> usize {
        let mut count = 0;
        for link in swept {
            // SAFETY: it came out of the queue.
            let task = unsafe { Queued::from_link(link) };
            let cold = self.cold();
            self.leave_room(task.header());
            if task.claim() {
                cold.rare.swept.add(1);
                count += 1;
                task.refuse(error());
            } else {
                // Cancelled through its handle, or expired, and counted there.
                cold.rare.cleared.add(1);
                cold.rare.remains.sub(1);
                task.leave();
            }
        }
        count
    }

    /// Cancels a queued task of this resource through its handle, or asks it to
    /// stop if it has started.
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

    /// Nothing could have a queued task of this resource run, and who waits for it
    /// leaves.
    pub(crate) fn abandon<R>(&self, task: &Handle<R>) {
        let note = |task: &Header| self.note_unrun(task, |rare| &rare.cancelled);
        task.cancel(TaskError::WouldDeadlock, note);
    }

    /// Refuses a task that did not come to be queued; returns who waits for it.
    pub(crate) fn refuse_unqueued(&self, task: Queued, error: TaskError) -> Option<Waker> {
        self.leave_room(task.header());
        if task.claim() {
            return task.fail(error);
        }
        // Cancelled through its handle, and counted as if it were queued.
        let cold = self.cold();
        cold.rare.remains.sub(1);
        cold.rare.cancelled.sub(1);
        task.leave();
        None
    }
}
