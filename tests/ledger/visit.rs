//! Asynchronous tasks: they are at work on the value from their start until their
//! future is gone, and go on in between.

use super::{Ledger, Receipt, Ticket, Value, intended_panic};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl Ticket {
    /// The task, which may come to wait, starts.
    pub(crate) fn enter(self, value: &mut Value) -> Visit<'_> {
        let state = value.enter(self.id);
        Visit {
            ticket: self,
            value,
            state,
        }
    }
}

/// A task at work. Whoever drops it unfinished meets its ticket's panic, if that is
/// brittle.
pub(crate) struct Visit<'a> {
    ticket: Ticket,
    value: &'a mut Value,
    state: u64,
}

impl Visit<'_> {
    /// It has waited, or was about to.
    pub(crate) fn goes_on(&mut self) {
        self.state = self.value.goes_on(self.ticket.id);
    }

    /// It is to panic, next.
    pub(crate) fn panics(mut self) -> ! {
        self.through();
        let slot = self.ticket.ledger.slot(self.ticket.id);
        slot.panicked.fetch_add(1, SeqCst);
        drop(self);
        intended_panic();
    }

    /// It is through.
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

/// Part of a task's future that panics when it is dropped.
pub(crate) struct Spill(Arc<Ledger>, u32);

impl Drop for Spill {
    fn drop(&mut self) {
        self.0.panics_in_drop(self.1);
        intended_panic();
    }
}

/// Counts as a closure while it is there.
pub(crate) struct Holding(Arc<Ledger>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.closures.fetch_sub(1, SeqCst);
    }
}

impl Ledger {
    /// It is an asynchronous task.
    pub(crate) fn waits(&self, id: u32) {
        self.has_waits.store(true, SeqCst);
        self.slot(id).waits.store(true, SeqCst);
    }

    /// It waits, and there may be no waker of it: if so, it is given up.
    pub(crate) fn forsaken(&self, id: u32) {
        if !self.slot(id).forsaken.swap(true, SeqCst) {
            self.unwanted();
        }
    }

    /// Its future is dropped: was it given up because somebody asked for that?
    pub(crate) fn is_given_up(&self, id: u32) -> bool {
        let slot = self.slot(id);
        !slot.through.load(SeqCst) && !slot.forsaken.load(SeqCst)
    }

    /// Its future is dropped, and panics in that: it is the task's panic, if it had none.
    fn panics_in_drop(&self, id: u32) {
        let panicked = &self.slot(id).panicked;
        let _ = panicked.compare_exchange(0, 1, SeqCst, SeqCst);
    }

    /// Its outcome may be a panic that is not its own.
    pub(crate) fn meets_a_panic(&self, id: u32) {
        self.slot(id).brittle.store(1, SeqCst);
    }

    /// A part of its future.
    pub(crate) fn spill(self: &Arc<Self>, id: u32) -> Spill {
        self.meets_a_panic(id);
        Spill(Arc::clone(self), id)
    }

    /// A part of a future that is no task of this resource.
    pub(crate) fn holding(self: &Arc<Self>) -> Holding {
        self.closures.fetch_add(1, SeqCst);
        Holding(Arc::clone(self))
    }

    /// What comes to wait from now on is given up.
    pub(crate) fn stopping(&self) {
        self.stopped.store(true, SeqCst);
    }

    /// It was to go on when a future resolves, and may not have been submitted; to be
    /// called when all are through.
    pub(crate) fn awaited_a_future(&self, id: u32) {
        if !self.ran(id) {
            self.loose.fetch_add(1, SeqCst);
        }
    }

    /// A job did not begin: it may have been refused.
    pub(crate) fn did_not_begin(&self) {
        self.unbegun.fetch_add(1, SeqCst);
    }

    /// So often each task went on, exactly.
    pub(crate) fn compare_progress(&self, progress: &[u32]) -> Result<(), String> {
        let went_on = |slot: &super::Slot| slot.went_on.load(SeqCst);
        for (id, (slot, expected)) in self.slots.iter().zip(progress).enumerate() {
            let ours = went_on(slot);
            if ours != *expected {
                return Err(format!("task {id} went on {ours} times, not {expected}"));
            }
        }
        Ok(())
    }
}
