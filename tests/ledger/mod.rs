//! What became of each task of a resource: a slot per task, and the checks of
//! all of them once the resource is gone.
//!
//! Every submission draws a slot, and stamps it from one clock before the call
//! and after it. The value logs which tasks ran, in order. From the two follows
//! whether order (G2) and exactly-once (G4) held, whatever the interleaving was.

#![allow(dead_code, unused_imports)] // Each test file uses its own part of it.

mod audit;
mod value;

pub(crate) use audit::Totals;
use captor::{SubmitError, TaskError};
use std::any::Any;
use std::panic;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, Once};
pub(crate) use value::{Receipt, Ticket, Value};

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
        Some(Ticket::new(self, id as u32))
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
}

/// What one task does to the state.
fn step(state: u64, id: u32) -> u64 {
    (state ^ u64::from(id + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Was it one of ours?
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

    /// True once in `n`.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
