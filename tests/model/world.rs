//! What a program's operations do, and what is noted of them.

use crate::common::outcome;
use crate::ledger::{Ledger, Receipt, Ticket, Value};
use crate::program::{Fate, Kind, Op, Task};
use captor::{
    Completion, PanicPolicy, Resource, ResourceBuilder, SubmitError, TaskBuilder, TaskError,
    TrySubmitError, WeakResource,
};
use futures::executor::block_on;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A completion to be resolved at the end.
pub(crate) struct Kept(Arc<Ledger>, u32, Completion<Receipt>);

/// What every operation needs.
pub(crate) struct World {
    pub(crate) ledgers: Vec<Arc<Ledger>>,
    pub(crate) weak: Vec<WeakResource<Value>>,
    /// How many levels of priority each has.
    pub(crate) levels: Vec<u8>,
    pub(crate) kept: Mutex<Vec<Kept>>,
    /// One thread and nothing to wait for.
    pub(crate) sequential: bool,
}

pub(crate) type Handles = Vec<Option<Resource<Value>>>;

impl World {
    pub(crate) fn new(
        builders: impl Iterator<Item = (ResourceBuilder, bool)>,
        levels: Vec<u8>,
        sequential: bool,
    ) -> (Arc<World>, Handles) {
        let (ledgers, resources): (Vec<_>, Vec<_>) = builders
            .map(|(builder, poison)| {
                let ledger = Ledger::new(4096, poison);
                let policy = match poison {
                    true => PanicPolicy::Poison,
                    false => PanicPolicy::Continue,
                };
                let builder = builder.panic_policy(policy);
                let resource = builder.build(Value::new(&ledger)).unwrap();
                (ledger, Some(resource))
            })
            .unzip();
        let world = World {
            ledgers,
            weak: resources
                .iter()
                .flatten()
                .map(Resource::downgrade)
                .collect(),
            levels,
            kept: Mutex::default(),
            sequential,
        };
        (Arc::new(world), resources)
    }

    /// An operation of a thread.
    pub(crate) fn perform(self: &Arc<Self>, op: &Op, handles: &mut Handles) {
        let index = op.resource % handles.len();
        if matches!(op.kind, Kind::DropHandle) {
            handles[index] = None;
        } else if let Some(resource) = &handles[index] {
            self.call(op, index, resource, false);
        }
    }

    /// An operation of a task.
    fn perform_nested(self: &Arc<Self>, op: &Op) {
        let index = op.resource % self.weak.len();
        if let Some(resource) = self.weak[index].upgrade() {
            self.call(op, index, &resource, true);
        }
    }

    fn closure(
        self: &Arc<Self>,
        task: &Task,
        mut ticket: Ticket,
        may_be_brittle: bool,
    ) -> impl FnOnce(&mut Value) -> Receipt + Send + use<> {
        let (world, task) = (Arc::clone(self), task.clone());
        if task.brittle && may_be_brittle {
            ticket.make_brittle();
        }
        move |value| {
            ticket.run(value, task.panics, || {
                task.nested.iter().for_each(|op| world.perform_nested(op));
                (0..task.turns).for_each(|_| thread::yield_now());
            })
        }
    }

    fn call(self: &Arc<Self>, op: &Op, index: usize, r: &Resource<Value>, nested: bool) {
        let ledger = &self.ledgers[index];
        let begin = |task: &Task| {
            let ticket = ledger.begin().expect("a ledger large enough");
            let level = task.level % self.levels[index];
            ledger.set_level(ticket.id, level);
            let builder = r.task().priority(level);
            let timeout = task.timeout.map(Duration::from_micros);
            (
                ticket,
                timeout.into_iter().fold(builder, TaskBuilder::timeout),
            )
        };
        match &op.kind {
            Kind::Submit(fate, task) => {
                let (ticket, builder) = begin(task);
                let id = ticket.id;
                let completion = builder.submit(self.closure(task, ticket, true));
                ledger.submitted(id);
                self.meet(*fate, Kept(Arc::clone(ledger), id, completion), nested);
            }
            Kind::TrySubmit(fate, task) => {
                let (ticket, builder) = begin(task);
                let id = ticket.id;
                let tried = builder.try_submit(self.closure(task, ticket, true));
                ledger.submitted(id);
                match tried {
                    Ok(completion) => {
                        self.meet(*fate, Kept(Arc::clone(ledger), id, completion), nested);
                    }
                    Err(refused) => give_back(ledger, id, refused),
                }
            }
            Kind::Execute(task) => {
                let (ticket, builder) = begin(task);
                let id = ticket.id;
                let done = builder.execute(self.closure(task, ticket, true));
                ledger.submitted(id);
                if let Err(error) = done {
                    ledger.refused(id, error);
                }
            }
            Kind::With(task) => {
                let (ticket, builder) = begin(task);
                let id = ticket.id;
                let outcome = builder.with(self.closure(task, ticket, false));
                ledger.submitted(id);
                ledger.outcome(id, outcome);
            }
            Kind::CancelPending => ledger.took_out(r.cancel_pending()),
            Kind::Heal => drop(r.clear_poison(Value::healed)),
            Kind::Close => ledger.closing(|| r.close()),
            Kind::DropHandle => {}
        }
    }

    fn meet(&self, fate: Fate, kept: Kept, nested: bool) {
        let Kept(ledger, id, completion) = kept;
        match fate {
            // Nothing may be waited for where all happens on one thread.
            Fate::Wait | Fate::WaitTimeout | Fate::Await if nested && self.sequential => {
                self.keep(Kept(ledger, id, completion));
            }
            Fate::Await if !nested => ledger.outcome(id, block_on(completion)),
            Fate::Wait | Fate::Await => match completion.wait() {
                // It stays queued, and nobody will hear of it.
                Err(TaskError::WouldDeadlock) if nested => {}
                outcome => ledger.outcome(id, outcome),
            },
            Fate::WaitTimeout => match completion.wait_timeout(Duration::from_micros(50)) {
                Ok(Err(TaskError::WouldDeadlock)) if nested => {}
                Ok(outcome) => ledger.outcome(id, outcome),
                Err(completion) => self.keep(Kept(ledger, id, completion)),
            },
            Fate::Drop => drop(completion),
            Fate::CancelOnDrop => {
                ledger.unwanted();
                drop(completion.cancel_on_drop());
            }
            Fate::Cancel => {
                let finished = completion.is_finished();
                let cancelled = completion.cancel();
                if cancelled {
                    ledger.took_out(1);
                    if finished {
                        ledger.fault(format!("task {id} was finished, and then cancelled"));
                    }
                    if !completion.is_finished() {
                        ledger.fault(format!("task {id} was cancelled, and is not finished"));
                    }
                }
                self.keep(Kept(ledger, id, completion));
            }
            Fate::Keep => self.keep(Kept(ledger, id, completion)),
        }
    }

    fn keep(&self, kept: Kept) {
        self.kept.lock().unwrap().push(kept);
    }

    /// Resolves all that was kept for later.
    pub(crate) fn settle(&self) {
        loop {
            let Some(Kept(ledger, id, completion)) = self.kept.lock().unwrap().pop() else {
                return;
            };
            ledger.outcome(id, outcome(completion));
        }
    }
}

/// A refused closure came back; a brittle one panics here.
pub(crate) fn give_back<F>(ledger: &Ledger, id: u32, refused: TrySubmitError<F>) {
    let error = match refused {
        TrySubmitError::Poisoned(_) => SubmitError::Poisoned,
        TrySubmitError::Closed(_) => SubmitError::Closed,
        _ => SubmitError::Full,
    };
    ledger.refused(id, error);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(refused)));
}
