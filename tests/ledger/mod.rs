//! What became of each task of a resource: a slot per task, and the checks of
//! all of them once the resource is gone.
//!
//! Every submission draws a slot, and stamps it from one clock before the call
//! and after it. The value logs which tasks ran, in order. From the two follows
//! whether order (G2) and exactly-once (G4) held, whatever the interleaving was.

#![allow(dead_code, unused_imports)] // Each test file uses its own part of it.

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

/// In the log: the value was healed.
const HEALED: u32 = u32::MAX;

/// No tasks, and not in the log.
const TRIGGERED: u32 = u32::MAX - 1;
const IDLE: u32 = u32::MAX - 2;

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
    /// It needs no room, or has it already.
    has_room: AtomicBool,
    /// It is part of a batch, and comes after this one, less one.
    follows: AtomicU32,
    /// It is asynchronous; it came to its end, or panicked; how often it went on.
    waits: AtomicBool,
    through: AtomicBool,
    went_on: AtomicU32,
    /// It may have waited where nobody had a waker.
    forsaken: AtomicBool,
    verdict: AtomicU32,
    /// What the task returned, as its submitter got it; 0: nothing.
    result: AtomicU64,
}

/// Everything that is known of one resource's tasks.
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
    /// Tasks that `cancel` or `cancel_pending` said it took out.
    taken_out: AtomicU64,
    /// Others that somebody wished to be cancelled.
    unwanted: AtomicU64,
    /// `cancel_pending` was called, or the like; and what all of those returned.
    swept: AtomicBool,
    swept_out: AtomicU64,
    /// Seconds of chains that did not run: the first failed, and nobody was asked;
    /// or it did not, and they were cancelled before or after they were queued.
    fell: AtomicU64,
    loose: AtomicU64,
    /// Jobs of several steps that may have been refused, or have not begun.
    unbegun: AtomicU64,
    /// There are asynchronous tasks; all of them are asked to stop.
    has_waits: AtomicBool,
    stopped: AtomicBool,
    aside: Aside,
}

impl Ledger {
    /// For a resource that takes `capacity` tasks at most.
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

    /// The resource has a capacity.
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

    /// It must not be refused for want of room.
    pub(crate) fn has_room(&self, id: u32) {
        self.slot(id).has_room.store(true, SeqCst);
    }

    /// These are a batch.
    pub(crate) fn batch(&self, ids: &[u32]) {
        for pair in ids.windows(2) {
            self.slot(pair[1]).follows.store(pair[0] + 1, SeqCst);
        }
    }

    /// The submission of `id` began after this stamp.
    pub(crate) fn began_after(&self, id: u32, stamp: u64) {
        self.slot(id).begin.fetch_max(stamp, SeqCst);
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

    /// The same, from an error that may be that of several.
    pub(crate) fn failed(&self, id: u32, error: &TaskError) {
        match Verdict::of(error) {
            Some(verdict) => self.settled(id, verdict),
            None => self.fault(format!("task {id} ended in {error:?}")),
        }
    }

    /// The same, from an error of `execute` or `try_submit`.
    pub(crate) fn refused(&self, id: u32, error: SubmitError) {
        self.failed(id, &error.into());
    }

    /// Tasks were taken out of the queue.
    pub(crate) fn took_out(&self, count: usize) {
        self.taken_out.fetch_add(count as u64, SeqCst);
    }

    /// What was queued was taken out, all of it.
    pub(crate) fn swept(&self, count: usize) {
        self.swept.store(true, SeqCst);
        self.swept_out.fetch_add(count as u64, SeqCst);
        self.took_out(count);
        if self.has_waits.load(SeqCst) {
            // What ran just then may come to wait, and is given up there.
            self.unwanted();
        }
    }

    /// A task is to be cancelled if that is still possible.
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

    /// `id` was to go on with the result of a task that returned, or did not; to
    /// be called when all are through.
    pub(crate) fn chained(&self, id: u32, returned: bool) {
        match (self.ran(id), returned) {
            (true, true) => {}
            (true, false) => self.fault(format!("task {id} went on with no result")),
            (false, true) => drop(self.loose.fetch_add(1, SeqCst)),
            (false, false) => drop(self.fell.fetch_add(1, SeqCst)),
        }
    }

    /// Calls `close`, between two stamps.
    pub(crate) fn closing<R>(&self, close: impl FnOnce() -> R) -> R {
        self.close_begin.fetch_min(stamp(), SeqCst);
        let result = close();
        self.close_end.fetch_min(stamp(), SeqCst);
        result
    }

    /// Has anybody begun to close it?
    pub(crate) fn is_closing(&self) -> bool {
        self.close_begin.load(SeqCst) != u64::MAX
    }

    /// Is some task's closure still there, queued or not?
    pub(crate) fn has_closures(&self) -> bool {
        self.closures() > 0
    }

    /// How many are there?
    pub(crate) fn closures(&self) -> i64 {
        self.closures.load(SeqCst)
    }

    /// Is the value gone?
    pub(crate) fn value_is_gone(&self) -> bool {
        self.values.load(SeqCst) == 0
    }

    /// So much was swept away, exactly.
    pub(crate) fn compare_swept(&self, expected: u64) -> Result<(), String> {
        match self.swept_out.load(SeqCst) {
            count if count == expected => Ok(()),
            count => Err(format!("{count} were swept away, not {expected}")),
        }
    }

    /// Exactly these verdicts, where one was given, and this order.
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
