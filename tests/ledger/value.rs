//! The parts of a resource's work that the ledger counts: closures, results, the value.

use super::{HEALED, IDLE, Ledger, TRIGGERED, intended_panic, stamp, step};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use std::thread;

/// Travels in the closure of a task, and is counted as the closure.
pub(crate) struct Ticket {
    pub(super) ledger: Arc<Ledger>,
    pub(crate) id: u32,
    brittle: bool,
    pub(super) ran: bool,
}

impl Ticket {
    pub(super) fn new(ledger: &Arc<Ledger>, id: u32) -> Ticket {
        Ticket {
            ledger: Arc::clone(ledger),
            id,
            brittle: false,
            ran: false,
        }
    }

    /// Makes the drop panic if the task has not run.
    pub(crate) fn make_brittle(&mut self) {
        self.brittle = true;
        self.ledger.slot(self.id).brittle.store(1, SeqCst);
    }

    /// Checks whether the drop in progress must panic.
    pub(super) fn is_about_to_panic(&self) -> bool {
        self.brittle && !self.ran
    }

    /// Runs the task: calls `body` between the checks, then panics if `panics` is set.
    pub(crate) fn run(mut self, value: &mut Value, panics: bool, body: impl FnOnce()) -> Receipt {
        self.ran = true;
        let result = value.enter(self.id);
        body();
        value.leave(self.id);
        if panics {
            self.ledger.slot(self.id).panicked.fetch_add(1, SeqCst);
            intended_panic();
        }
        self.receipt(result)
    }

    pub(super) fn receipt(&self, result: u64) -> Receipt {
        self.ledger.results.fetch_add(1, SeqCst);
        Receipt {
            ledger: Arc::clone(&self.ledger),
            id: self.id,
            result,
            stamp: stamp(),
            brittle: false,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ledger.closures.fetch_sub(1, SeqCst);
        self.ledger.slot(self.id).dropped.fetch_add(1, SeqCst);
        if self.is_about_to_panic() {
            intended_panic();
        }
    }
}

/// The result of a task.
pub(crate) struct Receipt {
    ledger: Arc<Ledger>,
    pub(super) id: u32,
    pub(super) result: u64,
    /// Drawn shortly before the task finished.
    pub(crate) stamp: u64,
    brittle: bool,
}

impl Receipt {
    /// Makes the drop panic. Inside `execute`, that panic is the panic of the task.
    pub(crate) fn brittle_in_execute(mut self) -> Self {
        self.brittle = true;
        self.ledger.slot(self.id).panicked.fetch_add(1, SeqCst);
        self
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.ledger.results.fetch_sub(1, SeqCst);
        if self.brittle {
            intended_panic();
        }
    }
}

/// The value of a resource. Logs the tasks that run on it.
pub(crate) struct Value {
    ledger: Arc<Ledger>,
    /// One more than the running task. 0 if no task runs. Loads and stores are relaxed: they must
    /// detect two tasks at once, not keep the tasks apart.
    current: AtomicU32,
    state: u64,
    log: Vec<u32>,
    /// Tasks and trigger runs since the last call of the hook.
    ran_since: u64,
}

impl Value {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Value {
        ledger.values.fetch_add(1, SeqCst);
        Value {
            ledger: Arc::clone(ledger),
            current: AtomicU32::new(0),
            state: 0,
            log: Vec::new(),
            ran_since: 0,
        }
    }

    pub(super) fn enter(&mut self, id: u32) -> u64 {
        self.must_be(0, id);
        self.current.store(id + 1, Relaxed);
        self.log.push(id);
        self.ran_since += 1;
        self.state = step(self.state, id);
        self.ledger.slot(id).ran.fetch_add(1, SeqCst);
        self.state
    }

    /// Records that the running async task resumed after an `.await`.
    pub(super) fn goes_on(&mut self, id: u32) -> u64 {
        self.must_be(id + 1, id);
        self.state = step(self.state, id);
        self.ledger.slot(id).went_on.fetch_add(1, SeqCst);
        self.state
    }

    pub(super) fn leave(&mut self, id: u32) {
        self.must_be(id + 1, id);
        self.current.store(0, Relaxed);
    }

    fn must_be(&self, expected: u32, id: u32) {
        let current = self.current.load(Relaxed);
        if current != expected {
            self.ledger
                .fault(format!("task {id} ran while current was {current}"));
        }
    }

    /// Records a run of the resource's trigger.
    pub(crate) fn triggered(&mut self) {
        self.must_be(0, TRIGGERED);
        self.ran_since += 1;
        let aside = &self.ledger.aside;
        aside.runs.fetch_add(1, SeqCst);
        aside.last_run.store(stamp(), SeqCst);
        // Gives other threads time to fire the trigger while it runs.
        thread::yield_now();
    }

    /// Records a call of the resource's hook.
    pub(crate) fn idle(&mut self) {
        self.must_be(0, IDLE);
        self.ran_since = 0;
        self.ledger.aside.idle_calls.fetch_add(1, SeqCst);
    }

    /// Records a call of `clear_poison`.
    pub(crate) fn healed(&mut self) {
        self.must_be(0, HEALED);
        self.log.push(HEALED);
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let aside = &self.ledger.aside;
        aside.ran_since.store(self.ran_since, SeqCst);
        *self.ledger.log.lock().unwrap() = std::mem::take(&mut self.log);
        self.ledger.values.fetch_sub(1, SeqCst);
    }
}
