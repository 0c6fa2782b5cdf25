//! The model's knowledge of one resource, or of one errand.

use crate::ledger::Verdict;
use crate::program::{Setup, Task};
use crate::steps::AsyncTask;
use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct Strand {
    pub(super) poison: bool,
    capacity: Option<usize>,
    /// A thread holds the role.
    pub(super) held: bool,
    /// The role is on offer.
    pub(super) offered: bool,
    pub(super) closed: bool,
    pub(super) poisoned: bool,
    pub(super) queue: VecDeque<Work>,
    pub(super) verdicts: Vec<Verdict>,
    /// How often each task continued after it had waited.
    pub(super) progress: Vec<u32>,
    pub(super) order: Vec<u32>,
    /// The suspended task that keeps the strand.
    pub(super) waiting: Option<Run>,
    pub(super) polled: Polled,
    /// Every task that suspends is given up.
    pub(super) stopped: bool,
    /// For an errand: its resource, and whether closing the resource ends the errand.
    errand: Option<(usize, bool)>,
    /// How many tasks were swept away.
    pub(super) swept: u64,
    /// How often the trigger's closure ran, and whether it is queued.
    pub(super) runs: u64,
    pub(super) fired: bool,
    pub(super) hooked: bool,
    /// How often the hook was called, and whether a task ran since.
    pub(super) calls: u64,
    pub(super) ran_since: bool,
}

/// The async task that is being polled.
#[derive(Default)]
pub(super) struct Polled {
    pub(super) id: Option<usize>,
    /// The task was woken, or asked to stop, during the poll.
    pub(super) woken: bool,
    pub(super) asked: bool,
}

/// An async task that has started.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) id: usize,
    pub(super) what: AsyncTask,
    /// The current step, and the event that the task waits for in this step.
    pub(super) at: usize,
    pub(super) on: Option<WaitsFor>,
    pub(super) given_up: bool,
}

/// The event that a task waits for.
#[derive(Clone, Copy)]
pub(super) enum WaitsFor {
    Itself,
    /// The next ring of a bell, after this many.
    Bell(u64),
    /// A task of this resource, and whether the task has finished.
    Task(usize, bool),
    Nothing,
}

/// Work that may be queued.
#[derive(Clone)]
pub(super) enum Work {
    /// One task, or a batch.
    Tasks(Vec<(usize, Task)>),
    Async(usize, Box<AsyncTask>),
    Trigger,
    /// Sets a hook.
    Hook,
    /// The remains of a cancelled task.
    Remains,
}

impl Work {
    fn needs_room(&self) -> bool {
        matches!(self, Work::Tasks(_) | Work::Async(..))
    }

    /// The number of its first task.
    pub(super) fn id(&self) -> Option<usize> {
        match self {
            Work::Tasks(tasks) => tasks.first().map(|(id, _)| *id),
            Work::Async(id, _) => Some(*id),
            _ => None,
        }
    }
}

impl Strand {
    pub(super) fn new(setup: &Setup) -> Strand {
        Strand {
            poison: setup.poison,
            capacity: setup.capacity,
            ..Strand::default()
        }
    }

    /// An errand of this resource. `ends`: closing the resource ends the errand.
    pub(super) fn errand(of: usize, ends: bool) -> Strand {
        Strand {
            errand: Some((of, ends)),
            ..Strand::default()
        }
    }

    pub(super) fn is_of(&self, r: usize) -> bool {
        self.errand.is_some_and(|(of, _)| of == r)
    }

    /// The resource whose closing ends the errand.
    pub(super) fn until(&self) -> Option<usize> {
        self.errand.filter(|(_, ends)| *ends).map(|(of, _)| of)
    }

    /// The reason for which no work is accepted, whatever room is free.
    pub(super) fn refusal(&self) -> Option<Verdict> {
        match self {
            s if s.closed => Some(Verdict::Closed),
            s if s.poisoned => Some(Verdict::Poisoned),
            _ => None,
        }
    }

    fn is_full(&self) -> bool {
        let waiting = self.queue.iter().filter(|work| work.needs_room()).count();
        self.capacity.is_some_and(|n| waiting >= n)
    }

    pub(super) fn has_room(&self) -> bool {
        self.refusal().is_none() && !self.is_full()
    }

    /// Submitted work has to wait for its turn.
    pub(super) fn is_busy(&self) -> bool {
        self.held || self.offered || self.waiting.is_some()
    }

    /// The reason for which this work is not accepted.
    pub(super) fn refuses(&self, work: &Work) -> Option<Verdict> {
        let full = work.needs_room() && self.is_busy() && self.is_full();
        self.refusal().or(full.then_some(Verdict::Full))
    }

    /// How many tasks are queued, run or wait.
    pub(super) fn outstanding(&self) -> u64 {
        self.queued() + u64::from(self.waiting.is_some())
    }

    /// How many tasks are queued, without remains.
    pub(super) fn queued(&self) -> u64 {
        let queued = self.queue.iter().filter(|w| !matches!(w, Work::Remains));
        queued.count() as u64
    }

    /// Numbers tasks in the order of their submission.
    pub(super) fn number(&mut self, count: usize) -> usize {
        let first = self.verdicts.len();
        self.verdicts.resize(first + count, Verdict::Unknown);
        self.progress.resize(first + count, 0);
        first
    }

    /// Resolves an async task that is dropped before its end.
    pub(super) fn resolve_dropped(&mut self, id: usize, what: &AsyncTask, verdict: Verdict) {
        let started = self.order.contains(&(id as u32));
        self.verdicts[id] = match what.task.brittle || started && what.spills {
            true => Verdict::Panicked,
            false => verdict,
        };
    }
}
