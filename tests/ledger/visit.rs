//! Async tasks. Such a task occupies the value from its start until its future is dropped, and
//! resumes after each `.await`.

use super::{Ledger, Receipt, Ticket, Value, intended_panic};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl Ticket {
    /// Starts the async task.
    pub(crate) fn enter(self, value: &mut Value) -> Visit<'_> {
        let state = value.enter(self.id);
        Visit {
            ticket: self,
            value,
            state,
        }
    }
}

/// A started async task. Dropping an unfinished visit panics if its ticket is brittle.
pub(crate) struct Visit<'a> {
    ticket: Ticket,
    value: &'a mut Value,
    state: u64,
}

impl Visit<'_> {
    /// Records that the task resumed, or continued without a wait.
    pub(crate) fn goes_on(&mut self) {
        self.state = self.value.goes_on(self.ticket.id);
    }

    /// Records that the task panics, then panics.
    pub(crate) fn panics(mut self) -> ! {
        self.through();
        let slot = self.ticket.ledger.slot(self.ticket.id);
        slot.panicked.fetch_add(1, SeqCst);
        drop(self);
        intended_panic();
    }

    /// Records that the task finished; returns its result.
    pub(crate) fn ends(mut self) -> Receipt {
        self.through();
        self.ticket.receipt(self.state)
    }

    fn through(&mut self) {
        self.ticket.ran = true;
        let slot = self.ticket.ledger.slot(self.ticket.id);
        if slot.through.swap(true, SeqCst) {
            let id = self.ticket.id;
            self.ticket.ledger.fault(format!("task {id} ended twice"));
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.value.leave(self.ticket.id);
        if self.ticket.is_about_to_panic() {
            self.ticket.ledger.panics_in_drop(self.ticket.id);
        }
    }
}

/// A part of a task's future that panics in its drop.
pub(crate) struct Spill(Arc<Ledger>, u32);

impl Drop for Spill {
    fn drop(&mut self) {
        self.0.panics_in_drop(self.1);
        intended_panic();
    }
}

/// Counts as a closure while it exists.
pub(crate) struct Holding(Arc<Ledger>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.closures.fetch_sub(1, SeqCst);
    }
}

impl Ledger {
    /// Records that task `id` is async.
    pub(crate) fn waits(&self, id: u32) {
        self.has_waits.store(true, SeqCst);
        self.slot(id).waits.store(true, SeqCst);
    }

    /// Records that task `id` waits, possibly without a waker. If no waker exists, the task is cancelled.
    pub(crate) fn forsaken(&self, id: u32) {
        if !self.slot(id).forsaken.swap(true, SeqCst) {
            self.unwanted();
        }
    }

    /// Checks, in the drop of the future of `id`, whether the task was cancelled on request.
    pub(crate) fn is_given_up(&self, id: u32) -> bool {
        let slot = self.slot(id);
        !slot.through.load(SeqCst) && !slot.forsaken.load(SeqCst)
    }

    /// Records a panic in the drop of the future of `id`. Unless the task panicked before, this is
    /// the panic of the task.
    fn panics_in_drop(&self, id: u32) {
        let panicked = &self.slot(id).panicked;
        let _ = panicked.compare_exchange(0, 1, SeqCst, SeqCst);
    }

    /// Records that the outcome of `id` may be a panic although the task did not panic.
    pub(crate) fn meets_a_panic(&self, id: u32) {
        self.slot(id).brittle.store(1, SeqCst);
    }

    /// Returns a part for the future of `id` that panics in its drop.
    pub(crate) fn spill(self: &Arc<Self>, id: u32) -> Spill {
        self.meets_a_panic(id);
        Spill(Arc::clone(self), id)
    }

    /// Returns a part for a future. The part is counted as a closure until the future is dropped.
    pub(crate) fn holding(self: &Arc<Self>) -> Holding {
        self.closures.fetch_add(1, SeqCst);
        Holding(Arc::clone(self))
    }

    /// Records that each async task is cancelled at its next `.await`.
    pub(crate) fn stopping(&self) {
        self.stopped.store(true, SeqCst);
    }

    /// Records task `id`, which `submit_when` submits when a future resolves. A task that
    /// did not run may not have been submitted. Must be called once every task has resolved.
    pub(crate) fn awaited_a_future(&self, id: u32) {
        if !self.ran(id) {
            self.loose.fetch_add(1, SeqCst);
        }
    }

    /// Records that a job did not begin. The job may have been refused.
    pub(crate) fn did_not_begin(&self) {
        self.unbegun.fetch_add(1, SeqCst);
    }

    /// Checks that each task resumed exactly as often as `progress` says.
    pub(crate) fn compare_progress(&self, progress: &[u32]) -> Result<(), String> {
        let went_on = |slot: &super::Slot| slot.went_on.load(SeqCst);
        for (id, (slot, expected)) in self.slots.iter().zip(progress).enumerate() {
            let ours = went_on(slot);
            if ours != *expected {
                return Err(format!("task {id} resumed {ours} times, not {expected}"));
            }
        }
        Ok(())
    }
}
