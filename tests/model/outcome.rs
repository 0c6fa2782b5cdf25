//! The tasks behind a completion, and the uses a submitter makes of a completion.

use crate::common::outcome;
use crate::ledger::{Ledger, Receipt};
use crate::program::Fate;
use crate::world::World;
use captor::{Completion, TaskError};
use futures::executor::block_on;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Tasks that share one outcome.
pub(crate) trait Tasks<R>: Send + Sync + 'static {
    fn resolved(&self, outcome: Result<R, TaskError>);
    /// Records that the tasks were cancelled.
    fn was_cancelled(&self);
    /// Records that the tasks are to be cancelled, if that is still possible.
    fn unwanted(&self);
    fn fault(&self, what: &str);
    /// Checks whether the outcome of cancelled tasks arrives only after their future is dropped.
    fn resolves_late(&self) -> bool {
        false
    }
    /// Records that the tasks were asked to stop, and not cancelled immediately.
    fn was_asked_to_stop(&self) {}
}

/// A task of a ledger.
#[derive(Clone)]
pub(crate) struct One(pub(crate) Arc<Ledger>, pub(crate) u32);

impl One {
    /// Records that the submission has returned.
    pub(crate) fn submitted(&self) {
        self.0.submitted(self.1);
    }

    /// Records that the task waits, and that no waker for it may exist.
    pub(crate) fn forsaken(&self) {
        self.0.forsaken(self.1);
    }

    /// Checks whether the task ran and had a result.
    pub(crate) fn returned(&self) -> bool {
        self.0.ran(self.1) && !self.0.panicked(self.1)
    }
}

impl Tasks<Receipt> for One {
    fn resolved(&self, outcome: Result<Receipt, TaskError>) {
        self.0.outcome(self.1, outcome);
    }

    fn was_cancelled(&self) {
        self.0.took_out(1);
    }

    fn unwanted(&self) {
        self.0.unwanted();
    }

    fn fault(&self, what: &str) {
        self.0.fault(format!("task {} {what}", self.1));
    }
}

/// An async task.
#[derive(Clone)]
pub(crate) struct Async(pub(crate) One);

impl Tasks<Receipt> for Async {
    fn resolved(&self, outcome: Result<Receipt, TaskError>) {
        self.0.resolved(outcome);
    }

    fn was_cancelled(&self) {
        self.0.was_cancelled();
    }

    fn unwanted(&self) {
        self.0.unwanted();
    }

    fn fault(&self, what: &str) {
        self.0.fault(what);
    }

    fn resolves_late(&self) -> bool {
        true
    }

    /// The task is given up if it suspends.
    fn was_asked_to_stop(&self) {
        self.0.unwanted();
    }
}

/// A task that is queued when a future resolves.
#[derive(Clone)]
pub(crate) struct When(pub(crate) One);

impl When {
    /// Must be called after the program is over.
    pub(crate) fn settle(&self) {
        self.0.0.awaited_a_future(self.0.1);
    }
}

impl Tasks<Receipt> for When {
    fn resolved(&self, outcome: Result<Receipt, TaskError>) {
        self.0.resolved(outcome);
    }

    /// The task may not have been queued yet.
    fn was_cancelled(&self) {
        self.unwanted();
    }

    fn unwanted(&self) {
        self.0.unwanted();
    }

    fn fault(&self, what: &str) {
        self.0.fault(what);
    }
}

/// A job that submits tasks.
#[derive(Clone)]
pub(crate) struct Job(Arc<JobState>);

struct JobState {
    ledger: Arc<Ledger>,
    begun: AtomicBool,
    ended: AtomicBool,
    unwanted: AtomicBool,
}

impl Job {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Job {
        Job(Arc::new(JobState {
            ledger: Arc::clone(ledger),
            begun: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
        }))
    }

    pub(crate) fn begins(&self) {
        if self.0.begun.swap(true, SeqCst) {
            self.fault("began twice");
        }
    }

    pub(crate) fn ends(&self) {
        self.0.ended.store(true, SeqCst);
    }

    /// Must be called after the program is over.
    pub(crate) fn settle(&self) {
        if !self.0.begun.load(SeqCst) {
            self.0.ledger.did_not_begin();
        }
    }
}

impl Tasks<()> for Job {
    fn resolved(&self, outcome: Result<(), TaskError>) {
        let [begun, ended, unwanted] =
            [&self.0.begun, &self.0.ended, &self.0.unwanted].map(|is| is.load(SeqCst));
        let expected = match &outcome {
            Ok(()) => ended,
            Err(TaskError::Closed | TaskError::Poisoned) => !begun,
            Err(TaskError::Cancelled) => unwanted && !ended,
            Err(_) => false,
        };
        if !expected {
            self.fault(&format!("is told {outcome:?}: {begun} {ended} {unwanted}"));
        }
    }

    /// The steps of the job are not cancelled.
    fn was_cancelled(&self) {
        self.unwanted();
    }

    fn unwanted(&self) {
        self.0.unwanted.store(true, SeqCst);
    }

    fn fault(&self, what: &str) {
        self.0.ledger.fault(format!("a job {what}"));
    }

    fn resolves_late(&self) -> bool {
        true
    }

    fn was_asked_to_stop(&self) {
        self.unwanted();
    }
}

/// A task and its continuation.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) first: One,
    pub(crate) second: One,
}

impl Tasks<Receipt> for Chain {
    /// If the first task had no result, an error is the first task's.
    fn resolved(&self, outcome: Result<Receipt, TaskError>) {
        let One(ledger, id) = &self.second;
        let went_on = ledger.ran(*id) || self.first.returned();
        match outcome {
            _ if went_on => self.second.resolved(outcome),
            // Either task was cancelled.
            Err(TaskError::Cancelled) => {}
            // The closure of the second task panicked in its drop.
            Err(TaskError::Panicked(_)) if ledger.is_brittle(*id) => {}
            error => self.first.resolved(error),
        }
    }

    /// Both tasks were cancelled, or the second alone. The second may not have been queued.
    fn was_cancelled(&self) {
        self.unwanted();
    }

    fn unwanted(&self) {
        self.first.unwanted();
        self.second.unwanted();
    }

    fn fault(&self, what: &str) {
        self.second.fault(what);
    }
}

/// The parts of a batch.
pub(crate) struct Batch(pub(crate) Arc<Ledger>, pub(crate) Vec<u32>);

impl Tasks<Vec<Receipt>> for Batch {
    fn resolved(&self, outcome: Result<Vec<Receipt>, TaskError>) {
        let Batch(ledger, ids) = self;
        match outcome {
            Ok(receipts) => {
                if receipts.len() != ids.len() {
                    self.fault(&format!("has {} results", receipts.len()));
                }
                for (id, receipt) in ids.iter().zip(receipts) {
                    ledger.outcome(*id, Ok(receipt));
                }
            }
            Err(TaskError::Panicked(panic)) => match ids.iter().find(|id| ledger.panicked(**id)) {
                Some(id) => ledger.outcome(*id, Err(TaskError::Panicked(panic))),
                None => self.fault("panicked, but no part panicked"),
            },
            Err(error) => ids.iter().for_each(|id| ledger.failed(*id, &error)),
        }
    }

    fn was_cancelled(&self) {
        self.0.took_out(1);
    }

    fn unwanted(&self) {
        self.0.unwanted();
    }

    fn fault(&self, what: &str) {
        self.0.fault(format!("batch {:?} {what}", self.1));
    }
}

impl World {
    /// Does with a completion what `fate` says. `nested`: the submitter is inside a task.
    pub(crate) fn use_completion<R: Send + Sync + 'static>(
        &self,
        fate: Fate,
        tasks: impl Tasks<R>,
        completion: Completion<R>,
        nested: bool,
    ) {
        match fate {
            // A program on one thread must not wait.
            Fate::Wait | Fate::WaitTimeout | Fate::Await
                if self.sequential && !completion.is_finished() =>
            {
                self.keep(tasks, completion);
            }
            Fate::Await if !nested => tasks.resolved(block_on(completion)),
            Fate::Wait | Fate::Await => match completion.wait() {
                // The task stays queued, and no waiter learns its outcome.
                Err(TaskError::WouldDeadlock) if nested => {}
                outcome => tasks.resolved(outcome),
            },
            Fate::WaitTimeout => match completion.wait_timeout(Duration::from_micros(50)) {
                Ok(Err(TaskError::WouldDeadlock)) if nested => {}
                Ok(outcome) => tasks.resolved(outcome),
                Err(completion) => self.keep(tasks, completion),
            },
            Fate::Drop => drop(completion),
            Fate::CancelOnDrop => {
                tasks.unwanted();
                drop(completion.cancel_on_drop());
            }
            Fate::Cancel => {
                cancel(&tasks, &completion);
                self.later(move || tasks.resolved(outcome(completion)));
            }
            Fate::Keep => self.keep(tasks, completion),
        }
    }

    /// Keeps a completion for the end, or until an operation cancels it.
    fn keep<R: Send + Sync + 'static>(&self, tasks: impl Tasks<R>, completion: Completion<R>) {
        let is_finished = completion.is_finished();
        let kept = Arc::new(Kept { tasks, completion });
        if !is_finished {
            let kept = Arc::clone(&kept);
            self.kept.lock().unwrap().push(kept);
        }
        self.later(move || {
            let Kept { tasks, completion } =
                Arc::into_inner(kept).expect("no operation cancels any more");
            tasks.resolved(outcome(completion));
        });
    }
}

struct Kept<R, T> {
    tasks: T,
    completion: Completion<R>,
}

/// A completion that is kept.
pub(crate) trait Cancels: Send + Sync {
    fn cancel(&self);
}

impl<R: Send + Sync + 'static, T: Tasks<R>> Cancels for Kept<R, T> {
    fn cancel(&self) {
        cancel(&self.tasks, &self.completion);
    }
}

fn cancel<R>(tasks: &impl Tasks<R>, completion: &Completion<R>) {
    let finished = completion.is_finished();
    if !completion.cancel() {
        tasks.was_asked_to_stop();
        return;
    }
    tasks.was_cancelled();
    if finished {
        tasks.fault("was finished, and then cancelled");
    }
    if !completion.is_finished() && !tasks.resolves_late() {
        tasks.fault("was cancelled, and is not finished");
    }
}
