//! Records how each task of a resource ended, in a slot per task, and checks all slots once the
//! resource is gone.
//!
//! Every submission draws a slot. The submitter stamps the slot before and after the call, from
//! a clock that all resources share. The value logs the tasks that ran, in order. The stamps and
//! the log show whether order (G2) and exactly-once (G4) held, whatever the interleaving was.

#![allow(dead_code, unused_imports)] // Each test file uses its own part of the ledger.

mod aside;
mod audit;
mod value;
mod visit;

use aside::Aside;
pub(crate) use audit::Totals;
use captor::{SubmitError, TaskError};
use std::any::Any;
use std::collections::HashSet;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, Once};
pub(crate) use value::{Receipt, Ticket, Value};
pub(crate) use visit::{Holding, Spill, Visit};

/// The payload of every intended panic.
pub(crate) struct Intended;

/// Makes the panic hook print nothing for intended panics.
pub(crate) fn silence_intended_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Intended>() {
                others(info);
            }
        }));
    });
}

pub(crate) fn intended_panic() -> ! {
    panic::panic_any(Intended)
}

/// The clock that all resources share. No stamp is drawn twice.
static CLOCK: AtomicU64 = AtomicU64::new(1);

pub(crate) fn stamp() -> u64 {
    CLOCK.fetch_add(1, SeqCst)
}

/// How a task ended, as its submitter was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Not told: the submitter dropped the completion.
    Unknown = 0,
    Returned,
    Panicked,
    Cancelled,
    Closed,
    Poisoned,
    /// Refused with `WouldDeadlock`, before it was accepted.
    WouldDeadlock,
    Expired,
    Full,
}

impl Verdict {
    fn of(error: &TaskError) -> Option<Verdict> {
        Some(match error {
            TaskError::Panicked(_) => Verdict::Panicked,
            TaskError::Cancelled => Verdict::Cancelled,
            TaskError::Closed => Verdict::Closed,
            TaskError::Poisoned => Verdict::Poisoned,
            TaskError::WouldDeadlock => Verdict::WouldDeadlock,
            TaskError::Expired => Verdict::Expired,
            TaskError::Full => Verdict::Full,
            _ => return None,
        })
    }
}

const VERDICTS: [Verdict; 9] = [
    Verdict::Unknown,
    Verdict::Returned,
    Verdict::Panicked,
    Verdict::Cancelled,
    Verdict::Closed,
    Verdict::Poisoned,
    Verdict::WouldDeadlock,
    Verdict::Expired,
    Verdict::Full,
];

/// A mark in the log: `clear_poison` healed the value.
const HEALED: u32 = u32::MAX;

/// The trigger and the hook in the place of a task. Neither is in the log.
const TRIGGERED: u32 = u32::MAX - 1;
const IDLE: u32 = u32::MAX - 2;

#[derive(Default)]
struct Slot {
    begin: AtomicU64,
    end: AtomicU64,
    /// The priority of the task.
    level: AtomicU32,
    ran: AtomicU32,
    panicked: AtomicU32,
    dropped: AtomicU32,
    /// The closure panics if it is dropped before it ran.
    brittle: AtomicU32,
    /// The task needs no room, or has its room already.
    has_room: AtomicBool,
    /// One more than the task before it in its batch. 0 for the first part and outside of batches.
    follows: AtomicU32,
    /// The task is async.
    waits: AtomicBool,
    /// The async task finished or panicked.
    through: AtomicBool,
    /// How often the async task resumed after an `.await`.
    went_on: AtomicU32,
    /// The task may have waited while no waker of it existed.
    forsaken: AtomicBool,
    verdict: AtomicU32,
    /// The result that the submitter got. 0 if it got none.
    result: AtomicU64,
}

/// The record of all tasks of a resource.
pub(crate) struct Ledger {
    slots: Box<[Slot]>,
    next: AtomicUsize,
    poison: bool,
    /// The resource has a capacity.
    bounded: AtomicBool,
    log: Mutex<Vec<u32>>,
    faults: Mutex<Vec<String>>,
    closures: AtomicI64,
    results: AtomicI64,
    values: AtomicI64,
    /// Stamps around the first `close`.
    close_begin: AtomicU64,
    close_end: AtomicU64,
    /// Tasks that `cancel` or `cancel_pending` reported as taken out.
    taken_out: AtomicU64,
    /// Further tasks that a test asked to cancel.
    unwanted: AtomicU64,
    /// `cancel_pending` or `close_now` was called.
    swept: AtomicBool,
    /// The sum of the counts that these calls returned.
    swept_out: AtomicU64,
    /// Second tasks of chains that were never submitted, because the first task failed.
    fell: AtomicU64,
    /// Tasks that did not run and may never have been submitted: second tasks of chains whose first
    /// task succeeded, and tasks of `submit_when`. A second task of this kind was cancelled before
    /// or after it was queued.
    loose: AtomicU64,
    /// Jobs of several steps that did not begin. Each may have been refused.
    unbegun: AtomicU64,
    /// The resource has async tasks.
    has_waits: AtomicBool,
    /// All async tasks are asked to stop.
    stopped: AtomicBool,
    aside: Aside,
}

impl Ledger {
    /// Returns a ledger with slots for `capacity` tasks.
    pub(crate) fn new(capacity: usize, poison: bool) -> Arc<Ledger> {
        Arc::new(Ledger {
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            poison,
            bounded: AtomicBool::new(false),
            log: Mutex::default(),
            faults: Mutex::default(),
            closures: AtomicI64::new(0),
            results: AtomicI64::new(0),
            values: AtomicI64::new(0),
            close_begin: AtomicU64::new(u64::MAX),
            close_end: AtomicU64::new(u64::MAX),
            taken_out: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            swept: AtomicBool::new(false),
            swept_out: AtomicU64::new(0),
            fell: AtomicU64::new(0),
            loose: AtomicU64::new(0),
            unbegun: AtomicU64::new(0),
            has_waits: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            aside: Aside::default(),
        })
    }

    /// Records that the resource has a capacity.
    pub(crate) fn bound(&self) {
        self.bounded.store(true, SeqCst);
    }

    pub(crate) fn is_unbounded(&self) -> bool {
        !self.bounded.load(SeqCst)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.next.load(SeqCst) + 64 > self.slots.len()
    }

    pub(crate) fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    fn slot(&self, id: u32) -> &Slot {
        &self.slots[id as usize]
    }

    /// Begins a submission. Returns `None` if the ledger is full.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Ticket> {
        let id = self.next.fetch_add(1, SeqCst);
        if id >= self.slots.len() {
            self.next.fetch_sub(1, SeqCst);
            return None;
        }
        self.slots[id].begin.store(stamp(), SeqCst);
        self.slots[id].end.store(u64::MAX, SeqCst);
        self.closures.fetch_add(1, SeqCst);
        Some(Ticket::new(self, id as u32))
    }

    /// Records the priority of task `id`.
    pub(crate) fn set_level(&self, id: u32, level: u8) {
        self.slot(id).level.store(level.into(), SeqCst);
    }

    /// Records that task `id` must not be refused for want of room.
    pub(crate) fn has_room(&self, id: u32) {
        self.slot(id).has_room.store(true, SeqCst);
    }

    /// Records that `ids` are the parts of a batch, in order.
    pub(crate) fn batch(&self, ids: &[u32]) {
        for pair in ids.windows(2) {
            self.slot(pair[1]).follows.store(pair[0] + 1, SeqCst);
        }
    }

    /// Records that the submission of `id` began after `stamp`.
    pub(crate) fn began_after(&self, id: u32, stamp: u64) {
        self.slot(id).begin.fetch_max(stamp, SeqCst);
    }

    /// Records that the submission of `id` has returned.
    pub(crate) fn submitted(&self, id: u32) {
        self.slot(id).end.store(stamp(), SeqCst);
    }

    /// Records how `id` ended, as the submitter was told.
    pub(crate) fn settled(&self, id: u32, verdict: Verdict) {
        let before = self.slot(id).verdict.swap(verdict as u32, SeqCst);
        if before != Verdict::Unknown as u32 {
            self.fault(format!("task {id} resolved twice, now {verdict:?}"));
        }
    }

    /// Records how `id` ended, from its outcome.
    pub(crate) fn outcome(&self, id: u32, outcome: Result<Receipt, TaskError>) {
        match outcome {
            Ok(receipt) => {
                if receipt.id != id {
                    self.fault(format!("task {id} got the result of {}", receipt.id));
                }
                self.slot(id).result.store(receipt.result, SeqCst);
                self.settled(id, Verdict::Returned);
            }
            Err(error) => {
                self.failed(id, &error);
                if let TaskError::Panicked(payload) = error {
                    if !intended(payload.into_payload()) {
                        self.fault(format!("task {id} panicked, not as intended"));
                    }
                }
            }
        }
    }

    /// Records how `id` ended, from an error, which several tasks may share.
    pub(crate) fn failed(&self, id: u32, error: &TaskError) {
        match Verdict::of(error) {
            Some(verdict) => self.settled(id, verdict),
            None => self.fault(format!("task {id} ended in {error:?}")),
        }
    }

    /// Records how `id` ended, from an error of `execute` or `try_submit`.
    pub(crate) fn refused(&self, id: u32, error: SubmitError) {
        self.failed(id, &error.into());
    }

    /// Records that `count` tasks were taken out of the queue.
    pub(crate) fn took_out(&self, count: usize) {
        self.taken_out.fetch_add(count as u64, SeqCst);
    }

    /// Records that a sweep took all `count` queued tasks out.
    pub(crate) fn swept(&self, count: usize) {
        self.swept.store(true, SeqCst);
        self.swept_out.fetch_add(count as u64, SeqCst);
        self.took_out(count);
        if self.has_waits.load(SeqCst) {
            // An async task that ran during the sweep is dropped at its next `.await`.
            self.unwanted();
        }
    }

    /// Records that a task is to be cancelled if that is still possible.
    pub(crate) fn unwanted(&self) {
        self.unwanted.fetch_add(1, SeqCst);
    }

    pub(crate) fn ran(&self, id: u32) -> bool {
        self.slot(id).ran.load(SeqCst) > 0
    }

    pub(crate) fn panicked(&self, id: u32) -> bool {
        self.slot(id).panicked.load(SeqCst) > 0
    }

    pub(crate) fn is_brittle(&self, id: u32) -> bool {
        self.slot(id).brittle.load(SeqCst) > 0
    }

    /// Checks task `id`, the second of a chain. `returned` tells whether the first task returned.
    /// Must be called once every task has resolved.
    pub(crate) fn chained(&self, id: u32, returned: bool) {
        match (self.ran(id), returned) {
            (true, true) => {}
            (true, false) => self.fault(format!("task {id} ran with no result to continue from")),
            (false, true) => drop(self.loose.fetch_add(1, SeqCst)),
            (false, false) => drop(self.fell.fetch_add(1, SeqCst)),
        }
    }

    /// Calls `close` between two stamps.
    pub(crate) fn closing<R>(&self, close: impl FnOnce() -> R) -> R {
        self.close_begin.fetch_min(stamp(), SeqCst);
        let result = close();
        self.close_end.fetch_min(stamp(), SeqCst);
        result
    }

    /// Checks whether a close has begun.
    pub(crate) fn is_closing(&self) -> bool {
        self.close_begin.load(SeqCst) != u64::MAX
    }

    /// Checks whether the closure of a task still exists, queued or not.
    pub(crate) fn has_closures(&self) -> bool {
        self.closures() > 0
    }

    /// Returns how many closures exist.
    pub(crate) fn closures(&self) -> i64 {
        self.closures.load(SeqCst)
    }

    /// Checks whether the value is dropped.
    pub(crate) fn value_is_gone(&self) -> bool {
        self.values.load(SeqCst) == 0
    }

    /// Checks that sweeps took out exactly `expected` tasks.
    pub(crate) fn compare_swept(&self, expected: u64) -> Result<(), String> {
        match self.swept_out.load(SeqCst) {
            count if count == expected => Ok(()),
            count => Err(format!("sweeps took out {count} tasks, not {expected}")),
        }
    }

    /// Checks the order, and each verdict that a submitter was told.
    pub(crate) fn compare(&self, verdicts: &[Verdict], order: &[u32]) -> Result<(), String> {
        let begun: HashSet<_> = order.iter().copied().collect();
        let used = self.next.load(SeqCst);
        if used != verdicts.len() {
            return Err(format!("{used} tasks, not {}", verdicts.len()));
        }
        for (id, (slot, expected)) in self.slots.iter().zip(verdicts).enumerate() {
            let verdict = VERDICTS[slot.verdict.load(SeqCst) as usize];
            let runs = begun.contains(&(id as u32));
            let ran = slot.ran.load(SeqCst) == 1;
            if verdict != *expected && verdict != Verdict::Unknown || ran != runs {
                return Err(format!(
                    "task {id}: {verdict:?}, ran {ran}, not {expected:?}"
                ));
            }
        }
        let log = self.log.lock().unwrap();
        let ran: Vec<u32> = log.iter().copied().filter(|id| *id != HEALED).collect();
        match ran == order {
            true => Ok(()),
            false => Err(format!("ran in order {ran:?}, not {order:?}")),
        }
    }
}

/// Returns the state after task `id`.
fn step(state: u64, id: u32) -> u64 {
    (state ^ u64::from(id + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Checks whether a panic was intended.
pub(crate) fn intended(payload: Box<dyn Any + Send>) -> bool {
    payload.is::<Intended>()
}

/// A small random number generator.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Returns `true` once in `n` calls, on average.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
