//! The checks of all tasks of a resource, once it is gone.

use super::{HEALED, Ledger, Slot, VERDICTS, Verdict, step};
use captor::ResourceStats;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

impl Ledger {
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

        self.audit_batches(&log, &mut faults);
        self.audit_trigger(totals.panicked, &mut faults);
        self.audit_hook(&log, stats.map(|s| s.submitted), &mut faults);
        if let Some(stats) = stats {
            self.audit_stats(stats, &totals, &mut faults);
        }
        if totals.cancelled > self.cancels() {
            faults.push("more told that they were cancelled than were".to_owned());
        }
        if totals.logged != log.iter().filter(|id| **id != HEALED).count() as u64 {
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

    /// The most tasks that may have been cancelled.
    fn cancels(&self) -> u64 {
        // Whatever comes to wait when all are asked to stop.
        let waits = |slot: &&Slot| slot.waits.load(SeqCst);
        let stopped = match self.stopped.load(SeqCst) {
            true => self.slots.iter().filter(waits).count() as u64,
            false => 0,
        };
        self.taken_out.load(SeqCst) + self.unwanted.load(SeqCst) + stopped
    }

    /// Statistics agree with what happened.
    fn audit_stats(&self, s: &ResourceStats, totals: &Totals, faults: &mut Vec<String>) {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("statistics: {what}"));
            }
        };
        let count = |count: &AtomicU64| count.load(SeqCst);
        let aside = &self.aside;
        let (runs, fires) = (count(&aside.runs), count(&aside.fires));
        let through = s.completed + s.panicked + s.cancelled + s.expired;
        let tried = s.submitted + s.rejected;
        let unasked = totals.would_deadlock + count(&self.fell);
        let asked = totals.tasks + count(&aside.hooks) + count(&aside.fires_refused) - unasked;
        // How many tasks a trigger came to queue is its own affair, within bounds.
        let asked = asked + runs - count(&self.loose)..=asked + fires + count(&self.unbegun);
        let ran = totals.ran + count(&aside.hooks_set);
        must(s.outstanding == 0, "outstanding");
        must(s.submitted == through, "submitted is the sum of all ends");
        must(asked.contains(&tried), "submitted, rejected");
        let completed = s.completed + s.panicked;
        must((ran + runs..=ran + fires).contains(&completed), "completed");
        must(s.panicked == totals.panicked, "panicked");
        must(s.expired >= totals.expired, "expired");
        must(
            s.cancelled + totals.fell >= count(&self.taken_out),
            "more taken out than cancelled",
        );
        // Poison takes out what nobody counts.
        must(
            s.cancelled <= self.cancels() || self.poison,
            "more cancelled than somebody wished to be",
        );
        must(s.max_outstanding <= tried, "max_outstanding");
    }

    fn audit_slot(&self, slot: &Slot, totals: &mut Totals) -> Option<String> {
        let ran = slot.ran.load(SeqCst);
        let panicked = slot.panicked.load(SeqCst);
        let brittle = slot.brittle.load(SeqCst) != 0;
        // An asynchronous task ends by itself, or is given up where it waits.
        let waits = slot.waits.load(SeqCst);
        let through = slot.through.load(SeqCst);
        let verdict = VERDICTS[slot.verdict.load(SeqCst) as usize];
        let (begin, end) = (slot.begin.load(SeqCst), slot.end.load(SeqCst));
        let leads = slot.follows.load(SeqCst) == 0;
        totals.logged += u64::from(ran);
        if leads {
            totals.tasks += 1;
            // One that was given up did not run, but for a panic in the drop of its future.
            let fell = waits && !through && panicked > 0;
            totals.fell += u64::from(fell);
            let ran_through = if waits { (through || fell).into() } else { ran };
            totals.ran += u64::from(ran_through);
        }
        totals.panicked += u64::from(panicked);
        let in_vain =
            verdict == Verdict::Full && (self.is_unbounded() || slot.has_room.load(SeqCst));
        let expected = match verdict {
            Verdict::Unknown => ran <= 1,
            Verdict::Returned => ran == 1 && panicked == 0 && waits == through,
            Verdict::Panicked => ran == 1 && panicked == 1 || brittle && ran == 0,
            Verdict::Cancelled | Verdict::Expired if waits => ran <= 1 && !through,
            _ => ran == 0,
        };
        match verdict {
            Verdict::Cancelled if leads => totals.cancelled += 1,
            Verdict::Closed => totals.closed += 1,
            Verdict::Expired => totals.expired += 1,
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
        } else if in_vain {
            Some("refused for want of room, and needed none".to_owned())
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

    /// The parts of a batch came one after the other, up to one that panicked.
    fn audit_batches(&self, log: &[u32], faults: &mut Vec<String>) {
        let used = self.next.load(SeqCst);
        let mut places = vec![None; used];
        for (place, id) in log.iter().enumerate().filter(|(_, id)| **id != HEALED) {
            places[*id as usize] = Some(place);
        }
        for (id, slot) in self.slots[..used].iter().enumerate() {
            let Some(before) = slot.follows.load(SeqCst).checked_sub(1) else {
                continue;
            };
            let expected = match places[before as usize] {
                Some(place) if !self.panicked(before) => Some(place + 1),
                _ => None,
            };
            if places[id] != expected {
                faults.push(format!("task {id} does not follow {before} in their batch"));
            }
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
            for _ in 0..=slot.went_on.load(SeqCst) {
                state = step(state, id);
            }
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

/// Sums over tasks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) tasks: u64,
    pub(crate) ran: u64,
    /// Those that ran, and all parts of batches that did.
    pub(crate) logged: u64,
    pub(crate) panicked: u64,
    /// Of those, the ones that were given up where they waited.
    pub(crate) fell: u64,
    pub(crate) cancelled: u64,
    pub(crate) closed: u64,
    pub(crate) expired: u64,
    pub(crate) poisoned: u64,
    pub(crate) would_deadlock: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        self.tasks += other.tasks;
        self.ran += other.ran;
        self.logged += other.logged;
        self.panicked += other.panicked;
        self.fell += other.fell;
        self.cancelled += other.cancelled;
        self.closed += other.closed;
        self.expired += other.expired;
        self.poisoned += other.poisoned;
        self.would_deadlock += other.would_deadlock;
    }
}
