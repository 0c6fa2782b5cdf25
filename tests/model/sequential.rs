//! Programs on one thread: the model says in advance what becomes of every task.

use crate::common::DEADLINE;
use crate::ledger::Verdict;
use crate::program::{Fate, Kind, Op, Setup, Task, Use};
use crate::threads::{builder, finish};
use crate::world::World;
use std::collections::VecDeque;
use std::slice::from_ref;

/// What the model says of one resource.
#[derive(Default)]
struct Model {
    poison: bool,
    capacity: Option<usize>,
    held: bool,
    closed: bool,
    poisoned: bool,
    queue: VecDeque<Work>,
    verdicts: Vec<Verdict>,
    order: Vec<u32>,
    /// How often the trigger's closure ran, and whether it is to.
    runs: u64,
    fired: bool,
    hooked: bool,
    /// How often the hook was called, and whether something ran since.
    calls: u64,
    ran_since: bool,
}

/// What may be queued.
#[derive(Clone)]
enum Work {
    /// One task, or a batch.
    Tasks(Vec<(usize, Task)>),
    Trigger,
    /// It sets a hook.
    Hook,
    /// What is left of a task that was cancelled.
    Remains,
}

impl Work {
    fn needs_room(&self) -> bool {
        matches!(self, Work::Tasks(_))
    }
}

impl Model {
    fn new(setup: &Setup) -> Model {
        Model {
            poison: setup.poison,
            capacity: setup.capacity,
            ..Model::default()
        }
    }

    /// Why nothing is taken, not even with room.
    fn refusal(&self) -> Option<Verdict> {
        match self {
            m if m.closed => Some(Verdict::Closed),
            m if m.poisoned => Some(Verdict::Poisoned),
            _ => None,
        }
    }

    fn is_full(&self) -> bool {
        let waiting = self.queue.iter().filter(|work| work.needs_room()).count();
        self.capacity.is_some_and(|n| waiting >= n)
    }

    fn has_room(&self) -> bool {
        self.refusal().is_none() && !self.is_full()
    }

    /// Numbers tasks in the order of their submission.
    fn number(&mut self, tasks: &[Task]) -> Vec<(usize, Task)> {
        let first = self.verdicts.len();
        self.verdicts.resize(first + tasks.len(), Verdict::Unknown);
        (first..).zip(tasks.iter().cloned()).collect()
    }

    /// What becomes of work without its being run.
    fn falls(&mut self, work: &Work, verdict: Verdict) {
        match work {
            Work::Tasks(tasks) => tasks
                .iter()
                .for_each(|(id, _)| self.verdicts[*id] = verdict),
            Work::Trigger => self.fired = false,
            Work::Hook | Work::Remains => {}
        }
    }

    fn sweep(&mut self, verdict: Verdict) {
        for work in std::mem::take(&mut self.queue) {
            self.falls(&work, verdict);
        }
    }
}

struct Models(Vec<Model>);

impl Models {
    fn perform(&mut self, op: &Op) {
        let r = op.resource % self.0.len();
        let model = &mut self.0[r];
        match &op.kind {
            Kind::Submit(fate, task) | Kind::TrySubmit(fate, task) => {
                self.submit(r, from_ref(task), Some(*fate));
            }
            Kind::Execute(task) => self.submit(r, from_ref(task), None),
            Kind::With(_) if model.held => model.verdicts.push(Verdict::WouldDeadlock),
            Kind::With(task) => self.submit(r, from_ref(task), Some(Fate::Wait)),
            Kind::Batch(fate, tasks) => self.submit(r, tasks, Some(*fate)),
            Kind::Reserve(_, what) if model.has_room() => match what {
                Use::Submit(fate, task) => self.submit(r, from_ref(task), Some(*fate)),
                Use::Execute(task) => self.submit(r, from_ref(task), None),
                Use::Drop => {}
            },
            Kind::Then(fate, first, other, next) => {
                self.then(r, first, other % self.0.len(), next, *fate);
            }
            Kind::Fire if !model.fired => {
                model.fired = true;
                self.take(r, Work::Trigger);
            }
            Kind::OnIdle if model.refusal().is_none() => drop(self.accept(r, Work::Hook)),
            Kind::CancelPending => model.sweep(Verdict::Cancelled),
            Kind::Heal if !model.held => model.poisoned = false,
            Kind::Close => model.closed = true,
            Kind::CloseNow => {
                model.closed = true;
                model.sweep(Verdict::Cancelled);
            }
            Kind::Reserve(..) | Kind::Fire | Kind::OnIdle | Kind::Heal | Kind::DropHandle => {}
        }
    }

    /// `fate`: none for `execute`.
    fn submit(&mut self, r: usize, tasks: &[Task], fate: Option<Fate>) {
        let work = Work::Tasks(self.0[r].number(tasks));
        let queued = self.take(r, work.clone());
        if queued && matches!(fate, Some(Fate::Cancel | Fate::CancelOnDrop)) {
            self.0[r].queue.pop_back();
            self.0[r].queue.push_back(Work::Remains);
            self.0[r].falls(&work, Verdict::Cancelled);
        }
    }

    /// Of chains in a queue, only those are left that are cancelled there.
    fn then(&mut self, r: usize, first: &Task, other: usize, next: &Task, fate: Fate) {
        let held = self.0[r].held;
        let id = self.0[r].verdicts.len();
        self.submit(r, from_ref(first), Some(fate));
        match self.0[r].verdicts[id] {
            Verdict::Returned => self.submit(other, from_ref(next), Some(fate)),
            Verdict::Cancelled if held => self.0[other].verdicts.push(Verdict::Cancelled),
            _ => self.0[other].verdicts.push(Verdict::Unknown),
        }
    }

    /// Refuses it, or runs it, or queues it; was it queued?
    fn take(&mut self, r: usize, work: Work) -> bool {
        let model = &mut self.0[r];
        let full = work.needs_room() && model.held && model.is_full();
        let full = full.then_some(Verdict::Full);
        match model.refusal().or(full) {
            Some(verdict) => model.falls(&work, verdict),
            None => return self.accept(r, work),
        }
        false
    }

    fn accept(&mut self, r: usize, work: Work) -> bool {
        self.0[r].queue.push_back(work);
        if self.0[r].held {
            return true;
        }
        while let Some(work) = self.0[r].queue.pop_front() {
            self.run(r, work);
        }
        let model = &mut self.0[r];
        if std::mem::take(&mut model.ran_since) && model.hooked && !model.poisoned {
            model.calls += 1;
        }
        false
    }

    fn run(&mut self, r: usize, work: Work) {
        let ran_since = std::mem::replace(&mut self.0[r].ran_since, true);
        match work {
            Work::Tasks(tasks) => self.run_tasks(r, &tasks),
            Work::Trigger => {
                self.0[r].runs += 1;
                self.0[r].fired = false;
            }
            Work::Hook => {
                // What ran is owed a call, if there was a hook to be called.
                self.0[r].ran_since = ran_since && self.0[r].hooked;
                self.0[r].hooked = true;
            }
            Work::Remains => self.0[r].ran_since = ran_since,
        }
    }

    /// Up to one that panics.
    fn run_tasks(&mut self, r: usize, tasks: &[(usize, Task)]) {
        self.0[r].held = true;
        let mut panicked = false;
        for (id, task) in tasks {
            self.0[r].order.push(*id as u32);
            task.nested.iter().for_each(|op| self.perform(op));
            panicked = task.panics;
            self.0[r].verdicts[*id] = match panicked {
                true => Verdict::Panicked,
                false => Verdict::Returned,
            };
            if panicked {
                break;
            }
        }
        self.0[r].held = false;
        if panicked && self.0[r].poison {
            self.0[r].poisoned = true;
            self.0[r].sweep(Verdict::Poisoned);
        }
    }
}

/// Leaves out what would run on another thread or be refused by a panic: tasks
/// nested in tasks submit to their own resource, or nothing to others; and what
/// goes on after a queued task is a worker's.
fn tame(ops: Vec<Op>, resources: usize, inside: Option<usize>) -> Vec<Op> {
    let tame_one = |op: Op| {
        let resource = op.resource % resources;
        let tame_on = |r: usize, task: Task| Task {
            nested: match inside.is_none_or(|inside| inside == r) {
                true => tame(task.nested, resources, Some(r)),
                false => Vec::new(),
            },
            brittle: false,
            timeout: None,
            ..task
        };
        let tame_task = |task| tame_on(resource, task);
        let tame_use = |what| match what {
            Use::Submit(fate, task) => Use::Submit(fate, tame_task(task)),
            Use::Execute(task) => Use::Execute(tame_task(task)),
            Use::Drop => Use::Drop,
        };
        let kind = match op.kind {
            Kind::Submit(fate, task) => Kind::Submit(fate, tame_task(task)),
            Kind::TrySubmit(fate, task) => Kind::TrySubmit(fate, tame_task(task)),
            Kind::Execute(task) => Kind::Execute(tame_task(task)),
            Kind::With(task) => Kind::With(tame_task(task)),
            Kind::Reserve(how, what) => Kind::Reserve(how, tame_use(what)),
            Kind::Batch(fate, tasks) => {
                Kind::Batch(fate, tasks.into_iter().map(tame_task).collect())
            }
            Kind::Then(fate, first, other, next) => match (inside, fate) {
                (None, _) | (_, Fate::Cancel | Fate::CancelOnDrop) => {
                    let next = tame_on(other % resources, next);
                    Kind::Then(fate, tame_task(first), other, next)
                }
                _ => Kind::Submit(fate, tame_task(first)),
            },
            Kind::DropHandle => Kind::CancelPending,
            other => other,
        };
        Op { resource, kind }
    };
    ops.into_iter().map(tame_one).collect()
}

pub(crate) fn run(setups: Vec<Setup>, ops: Vec<Op>) -> Result<(), String> {
    let ops = tame(ops, setups.len(), None);
    let mut models = Models(setups.iter().map(Model::new).collect());
    let patient = |setup: &Setup| builder(setup).capture_time(DEADLINE);
    let (world, mut handles) = World::new(setups, patient, true);
    for op in &ops {
        world.perform(op, &mut handles);
        models.perform(op);
        // Nothing is left for later, or for another thread.
        if handles.iter().flatten().any(|r| r.stats().outstanding > 0) {
            return Err(format!("after {op:?} something is left"));
        }
    }
    for (r, model) in handles.iter().flatten().zip(&models.0) {
        if r.is_closed() != model.closed || r.is_poisoned() != model.poisoned {
            return Err(format!("{r:?}, but {} {}", model.closed, model.poisoned));
        }
    }
    finish(&world, handles)?;
    for (ledger, model) in world.ledgers.iter().zip(&models.0) {
        ledger.compare(&model.verdicts, &model.order)?;
        ledger.compare_aside(model.runs, model.calls)?;
    }
    Ok(())
}
