//! What became of each task of a resource: a slot per task, and the checks of
//! all of them once the resource is gone.
//!
//! Every submission draws a slot, and stamps it from one clock before the call
//! and after it. The value logs which tasks ran, in order. From the two follows
//! whether order (G2) and exactly-once (G4) held, whatever the interleaving was.

#![allow(dead_code)] // Each test file uses its own part of it.

use captor::{ResourceStats, SubmitError, TaskError};
use std::any::Any;
use std::panic;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, Once};

/// The payload of every intended panic.
pub(crate) struct Intended;

/// Lets intended panics go by without a word.
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

/// One clock for all resources; a stamp is never drawn twice.
static CLOCK: AtomicU64 = AtomicU64::new(1);

pub(crate) fn stamp() -> u64 {
    CLOCK.fetch_add(1, SeqCst)
}

/// How a task ended, as far as its submitter was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Not told: the submitter let go of it.
    Unknown = 0,
    Returned,
    Panicked,
    Cancelled,
    Closed,
    Poisoned,
    /// Refused with `WouldDeadlock`, before it was accepted.
    WouldDeadlock,
    Expired,
}

const VERDICTS: [Verdict; 8] = [
    Verdict::Unknown,
    Verdict::Returned,
    Verdict::Panicked,
    Verdict::Cancelled,
    Verdict::Closed,
    Verdict::Poisoned,
    Verdict::WouldDeadlock,
    Verdict::Expired,
];

/// In the log: the value was healed.
const HEALED: u32 = u32::MAX;

#[derive(Default)]
struct Slot {
    begin: AtomicU64,
    end: AtomicU64,
    /// Its priority.
    level: AtomicU32,
    ran: AtomicU32,
    panicked: AtomicU32,
    dropped: AtomicU32,
    /// Its closure panics when it is dropped unrun.
    brittle: AtomicU32,
    verdict: AtomicU32,
    /// What the task returned, as its submitter got it; 0: nothing.
    result: AtomicU64,
}

/// Everything that is known of one resource's tasks.
pub(crate) struct Ledger {
    slots: Box<[Slot]>,
    next: AtomicUsize,
    poison: bool,
    log: Mutex<Vec<u32>>,
    faults: Mutex<Vec<String>>,
    closures: AtomicI64,
    results: AtomicI64,
    values: AtomicI64,
    /// Stamps around the first `close`.
    close_begin: AtomicU64,
    close_end: AtomicU64,
    /// Tasks that `cancel` or `cancel_pending` said it took out.
    taken_out: AtomicU64,
}

impl Ledger {
    /// For a resource that takes `capacity` tasks at most.
    pub(crate) fn new(capacity: usize, poison: bool) -> Arc<Ledger> {
        Arc::new(Ledger {
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            poison,
            log: Mutex::default(),
            faults: Mutex::default(),
            closures: AtomicI64::new(0),
            results: AtomicI64::new(0),
            values: AtomicI64::new(0),
            close_begin: AtomicU64::new(u64::MAX),
            close_end: AtomicU64::new(u64::MAX),
            taken_out: AtomicU64::new(0),
        })
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

    /// Begins a submission. `None`: the ledger is full.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Ticket> {
        let id = self.next.fetch_add(1, SeqCst);
        if id >= self.slots.len() {
            self.next.fetch_sub(1, SeqCst);
            return None;
        }
        self.slots[id].begin.store(stamp(), SeqCst);
        self.slots[id].end.store(u64::MAX, SeqCst);
        self.closures.fetch_add(1, SeqCst);
        Some(Ticket {
            ledger: Arc::clone(self),
            id: id as u32,
            brittle: false,
            ran: false,
        })
    }

    /// It is submitted with this priority.
    pub(crate) fn set_level(&self, id: u32, level: u8) {
        self.slot(id).level.store(level.into(), SeqCst);
    }

    /// The submission of `id` has returned.
    pub(crate) fn submitted(&self, id: u32) {
        self.slot(id).end.store(stamp(), SeqCst);
    }

    /// The submitter was told how `id` ended.
    pub(crate) fn settled(&self, id: u32, verdict: Verdict) {
        let before = self.slot(id).verdict.swap(verdict as u32, SeqCst);
        if before != Verdict::Unknown as u32 {
            self.fault(format!("task {id} resolved twice, now {verdict:?}"));
        }
    }

    /// The same, from an outcome.
    pub(crate) fn outcome(&self, id: u32, outcome: Result<Receipt, TaskError>) {
        match outcome {
            Ok(receipt) => {
                if receipt.id != id {
                    self.fault(format!("task {id} got the result of {}", receipt.id));
                }
                self.slot(id).result.store(receipt.result, SeqCst);
                self.settled(id, Verdict::Returned);
            }
            Err(TaskError::Panicked(payload)) => {
                if !intended(payload.into_payload()) {
                    self.fault(format!("task {id} panicked, not as intended"));
                }
                self.settled(id, Verdict::Panicked);
            }
            Err(TaskError::Cancelled) => self.settled(id, Verdict::Cancelled),
            Err(TaskError::Closed) => self.settled(id, Verdict::Closed),
            Err(TaskError::Poisoned) => self.settled(id, Verdict::Poisoned),
            Err(TaskError::WouldDeadlock) => self.settled(id, Verdict::WouldDeadlock),
            Err(TaskError::Expired) => self.settled(id, Verdict::Expired),
            Err(other) => self.fault(format!("task {id} ended in {other:?}")),
        }
    }

    /// The same, from an error of `execute` or `try_submit`.
    pub(crate) fn refused(&self, id: u32, error: SubmitError) {
        match error {
            SubmitError::Closed => self.settled(id, Verdict::Closed),
            SubmitError::Poisoned => self.settled(id, Verdict::Poisoned),
            other => self.fault(format!("task {id} refused with {other:?}")),
        }
    }

    /// Tasks were taken out of the queue.
    pub(crate) fn took_out(&self, count: usize) {
        self.taken_out.fetch_add(count as u64, SeqCst);
    }

    /// Calls `close`, between two stamps.
    pub(crate) fn closing(&self, close: impl FnOnce()) {
        self.close_begin.fetch_min(stamp(), SeqCst);
        close();
        self.close_end.fetch_min(stamp(), SeqCst);
    }

    /// Is the value gone?
    pub(crate) fn value_is_gone(&self) -> bool {
        self.values.load(SeqCst) == 0
    }

    /// All checks, once the value is gone and nobody submits any more; `stats`
    /// were taken when nothing was queued or running. Returns totals.
    pub(crate) fn audit(&self, stats: Option<&ResourceStats>) -> Result<Totals, String> {
        let mut faults = std::mem::take(&mut *self.faults.lock().unwrap());
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(what.to_owned());
            }
        };
        let live = |count: &AtomicI64| count.load(SeqCst);
        must(live(&self.values) == 0, "a value was leaked");
        must(
            live(&self.closures) == 0,
            "a closure was leaked or dropped twice",
        );
        must(
            live(&self.results) == 0,
            "a result was leaked or dropped twice",
        );

        let log = self.log.lock().unwrap().clone();
        let mut totals = Totals::default();
        let used = self.next.load(SeqCst);
        for (id, slot) in self.slots[..used].iter().enumerate() {
            if let Some(fault) = self.audit_slot(slot, &mut totals) {
                faults.push(format!("task {id}: {fault}"));
            }
        }
        self.audit_order(&log, &mut faults);
        self.audit_replay(&log, &mut faults);

        if let Some(stats) = stats {
            self.audit_stats(stats, &totals, &mut faults);
        }
        if totals.ran != log.iter().filter(|id| **id != HEALED).count() as u64 {
            faults.push("tasks ran that the value did not see".to_owned());
        }
        if faults.is_empty() {
            return Ok(totals);
        }
        faults.truncate(20);
        Err(format!(
            "{faults:#?}\n{stats:#?}\n{totals:#?}\n{used} tasks"
        ))
    }

    /// Statistics agree with what happened.
    fn audit_stats(&self, s: &ResourceStats, totals: &Totals, faults: &mut Vec<String>) {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("statistics: {what}"));
            }
        };
        let through = s.completed + s.panicked + s.cancelled + s.expired;
        let refused = s.rejected + totals.would_deadlock;
        must(s.outstanding == 0, "outstanding");
        must(s.submitted == through, "submitted is the sum of all ends");
        must(s.submitted + refused == totals.tasks, "submitted, rejected");
        must(s.completed + s.panicked == totals.ran, "completed");
        must(s.panicked == totals.panicked, "panicked");
        must(
            s.cancelled >= self.taken_out.load(SeqCst),
            "more taken out than cancelled",
        );
        let tried = s.submitted + s.rejected;
        must(s.max_outstanding <= tried, "max_outstanding");
    }

    /// Exactly these verdicts, where one was given, and this order.
    pub(crate) fn compare(&self, verdicts: &[Verdict], order: &[u32]) -> Result<(), String> {
        let used = self.next.load(SeqCst);
        if used != verdicts.len() {
            return Err(format!("{used} tasks, not {}", verdicts.len()));
        }
        for (id, (slot, expected)) in self.slots.iter().zip(verdicts).enumerate() {
            let verdict = VERDICTS[slot.verdict.load(SeqCst) as usize];
            let runs = matches!(expected, Verdict::Returned | Verdict::Panicked);
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

    fn audit_slot(&self, slot: &Slot, totals: &mut Totals) -> Option<String> {
        let ran = slot.ran.load(SeqCst);
        let panicked = slot.panicked.load(SeqCst);
        let brittle = slot.brittle.load(SeqCst) != 0;
        let verdict = VERDICTS[slot.verdict.load(SeqCst) as usize];
        let (begin, end) = (slot.begin.load(SeqCst), slot.end.load(SeqCst));
        totals.tasks += 1;
        totals.ran += u64::from(ran);
        totals.panicked += u64::from(panicked);
        let expected = match verdict {
            Verdict::Unknown => ran <= 1,
            Verdict::Returned => ran == 1 && panicked == 0,
            Verdict::Panicked => ran == 1 && panicked == 1 || ran == 0 && brittle,
            _ => ran == 0,
        };
        match verdict {
            Verdict::Cancelled => totals.cancelled += 1,
            Verdict::Closed => totals.closed += 1,
            Verdict::Poisoned => totals.poisoned += 1,
            Verdict::WouldDeadlock => totals.would_deadlock += 1,
            _ => {}
        }
        let after_close = begin > self.close_end.load(SeqCst);
        let before_close = end < self.close_begin.load(SeqCst);
        if !expected {
            Some(format!("{verdict:?}, but ran {ran}, panicked {panicked}"))
        } else if slot.dropped.load(SeqCst) != 1 {
            Some(format!("closure dropped {:?} times", slot.dropped))
        } else if after_close && ran > 0 {
            Some("submitted after close, and ran".to_owned())
        } else if before_close && verdict == Verdict::Closed {
            Some("refused as closed before it was".to_owned())
        } else {
            None
        }
    }

    /// G2: no task ran before one whose submission had returned before its own began.
    fn audit_order(&self, log: &[u32], faults: &mut Vec<String>) {
        // Of each level.
        let mut earliest_ends = [(u64::MAX, 0); 256];
        for &id in log.iter().rev().filter(|id| **id != HEALED) {
            let slot = self.slot(id);
            let earliest_end = &mut earliest_ends[slot.level.load(SeqCst) as usize];
            if earliest_end.0 < slot.begin.load(SeqCst) {
                faults.push(format!("task {id} overtook task {}", earliest_end.1));
            }
            *earliest_end = (*earliest_end).min((slot.end.load(SeqCst), id));
        }
    }

    /// The results are those of the same tasks run one after the other.
    fn audit_replay(&self, log: &[u32], faults: &mut Vec<String>) {
        let mut state = 0;
        let mut poisoned = false;
        for &id in log {
            if id == HEALED {
                poisoned = false;
                continue;
            }
            let slot = self.slot(id);
            state = step(state, id);
            if poisoned {
                faults.push(format!("task {id} ran on a poisoned resource"));
            }
            let result = slot.result.load(SeqCst);
            if result != 0 && result != state {
                faults.push(format!("task {id} returned {result}, not {state}"));
            }
            poisoned |= self.poison && slot.panicked.load(SeqCst) > 0;
        }
    }
}

/// What one task does to the state.
fn step(state: u64, id: u32) -> u64 {
    (state ^ u64::from(id + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Was it one of ours?
pub(crate) fn intended(payload: Box<dyn Any + Send>) -> bool {
    payload.is::<Intended>()
}

/// Sums over tasks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) tasks: u64,
    pub(crate) ran: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) closed: u64,
    pub(crate) poisoned: u64,
    pub(crate) would_deadlock: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        self.tasks += other.tasks;
        self.ran += other.ran;
        self.panicked += other.panicked;
        self.cancelled += other.cancelled;
        self.closed += other.closed;
        self.poisoned += other.poisoned;
        self.would_deadlock += other.would_deadlock;
    }
}

/// Travels in a task's closure; counts as the closure.
pub(crate) struct Ticket {
    ledger: Arc<Ledger>,
    pub(crate) id: u32,
    brittle: bool,
    ran: bool,
}

impl Ticket {
    /// From now on, dropping it unrun panics.
    pub(crate) fn make_brittle(&mut self) {
        self.brittle = true;
        self.ledger.slot(self.id).brittle.store(1, SeqCst);
    }

    /// The task runs: `body` is its part, between the checks. `panics`: after
    /// that it panics.
    pub(crate) fn run(mut self, value: &mut Value, panics: bool, body: impl FnOnce()) -> Receipt {
        self.ran = true;
        let result = value.enter(self.id);
        body();
        value.leave(self.id);
        if panics {
            self.ledger.slot(self.id).panicked.fetch_add(1, SeqCst);
            intended_panic();
        }
        self.ledger.results.fetch_add(1, SeqCst);
        Receipt {
            ledger: Arc::clone(&self.ledger),
            id: self.id,
            result,
            brittle: false,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ledger.closures.fetch_sub(1, SeqCst);
        self.ledger.slot(self.id).dropped.fetch_add(1, SeqCst);
        if self.brittle && !self.ran {
            intended_panic();
        }
    }
}

/// A task's result.
pub(crate) struct Receipt {
    ledger: Arc<Ledger>,
    id: u32,
    result: u64,
    brittle: bool,
}

impl Receipt {
    /// From now on, dropping it panics; inside `execute` that is the task's panic.
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

/// The value of a resource. Logs what runs on it.
pub(crate) struct Value {
    ledger: Arc<Ledger>,
    /// The task that runs now, plus one. Relaxed loads and stores: two tasks
    /// at once are to be seen, not kept apart.
    current: AtomicU32,
    state: u64,
    log: Vec<u32>,
}

impl Value {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Value {
        ledger.values.fetch_add(1, SeqCst);
        Value {
            ledger: Arc::clone(ledger),
            current: AtomicU32::new(0),
            state: 0,
            log: Vec::new(),
        }
    }

    fn enter(&mut self, id: u32) -> u64 {
        self.must_be(0, id);
        self.current.store(id + 1, Relaxed);
        self.log.push(id);
        self.state = step(self.state, id);
        self.ledger.slot(id).ran.fetch_add(1, SeqCst);
        self.state
    }

    fn leave(&mut self, id: u32) {
        self.must_be(id + 1, id);
        self.current.store(0, Relaxed);
    }

    fn must_be(&self, expected: u32, id: u32) {
        let current = self.current.load(Relaxed);
        if current != expected {
            self.ledger
                .fault(format!("task {id} met {current} at work"));
        }
    }

    /// In `clear_poison`.
    pub(crate) fn healed(&mut self) {
        self.must_be(0, HEALED);
        self.log.push(HEALED);
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        *self.ledger.log.lock().unwrap() = std::mem::take(&mut self.log);
        self.ledger.values.fetch_sub(1, SeqCst);
    }
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

    /// True once in `n`.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
