//! The checks of all tasks of a resource, once the resource is gone.

use super::{HEALED, Ledger, Slot, VERDICTS, Verdict, step};
use captor::ResourceStats;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

impl Ledger {
    /// Does all checks; returns the totals. Must be called once the value is gone and no thread
    /// submits any more. `stats` must be taken while no task is queued or running.
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
            faults.push("more tasks resolved to Cancelled than were cancelled".to_owned());
        }
        if totals.logged != log.iter().filter(|id| **id != HEALED).count() as u64 {
            faults.push("the log of the value lacks tasks that ran".to_owned());
        }
        if faults.is_empty() {
            return Ok(totals);
        }
        faults.truncate(20);
        Err(format!(
            "{faults:#?}\n{stats:#?}\n{totals:#?}\n{used} tasks"
        ))
    }

    /// Returns the largest number of tasks that may have been cancelled.
    fn cancels(&self) -> u64 {
        // Once all tasks are asked to stop, each async task that waits is cancelled.
        let waits = |slot: &&Slot| slot.waits.load(SeqCst);
        let stopped = match self.stopped.load(SeqCst) {
            true => self.slots.iter().filter(waits).count() as u64,
            false => 0,
        };
        self.taken_out.load(SeqCst) + self.unwanted.load(SeqCst) + stopped
    }

    /// Checks the statistics against the ledger.
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
        // A trigger may queue fewer tasks than it is fired: only bounds are checked.
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
            "fewer cancelled than taken out",
        );
        // Poison takes tasks out that the ledger does not count.
        must(
            s.cancelled <= self.cancels() || self.poison,
            "more cancelled than asked for",
        );
        must(s.max_outstanding <= tried, "max_outstanding");
    }

    fn audit_slot(&self, slot: &Slot, totals: &mut Totals) -> Option<String> {
        let ran = slot.ran.load(SeqCst);
        let panicked = slot.panicked.load(SeqCst);
        let brittle = slot.brittle.load(SeqCst) != 0;
        // An async task finishes, or is dropped at an `.await`.
        let waits = slot.waits.load(SeqCst);
        let through = slot.through.load(SeqCst);
        let verdict = VERDICTS[slot.verdict.load(SeqCst) as usize];
        let (begin, end) = (slot.begin.load(SeqCst), slot.end.load(SeqCst));
        let leads = slot.follows.load(SeqCst) == 0;
        totals.logged += u64::from(ran);
        if leads {
            totals.tasks += 1;
            // A task dropped at an `.await` counts as run only if its drop panicked.
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
            Some("refused with Full, and needed no room".to_owned())
        } else if after_close && ran > 0 {
            Some("ran, though submitted after close".to_owned())
        } else if before_close && verdict == Verdict::Closed {
            Some("refused with Closed before the close".to_owned())
        } else {
            None
        }
    }

    /// Checks G2: if a submission returned before another began, its task ran first.
    fn audit_order(&self, log: &[u32], faults: &mut Vec<String>) {
        // For each level of priority.
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

    /// Checks that the parts of a batch ran in a row, up to a part that panicked.
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

    /// Checks that replaying the log in sequence gives the same results.
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
    /// The tasks that ran, and every part of a batch that ran.
    pub(crate) logged: u64,
    pub(crate) panicked: u64,
    /// Async tasks that were dropped at an `.await` and panicked in that drop.
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
