//! Programs on one thread: the model says in advance what becomes of every task.

use crate::common::DEADLINE;
use crate::ledger::Verdict;
use crate::program::{Fate, Kind, Op, Task};
use crate::threads::finish;
use crate::world::World;
use captor::Resource;
use std::collections::VecDeque;

/// What the model says of one resource, on one thread.
#[derive(Default)]
struct Model {
    poison: bool,
    held: bool,
    closed: bool,
    poisoned: bool,
    queue: VecDeque<(usize, Task)>,
    verdicts: Vec<Verdict>,
    order: Vec<u32>,
}

struct Models(Vec<Model>);

impl Models {
    fn refusal(&self, r: usize) -> Option<Verdict> {
        match &self.0[r] {
            m if m.closed => Some(Verdict::Closed),
            m if m.poisoned => Some(Verdict::Poisoned),
            _ => None,
        }
    }

    fn perform(&mut self, op: &Op) {
        let r = op.resource % self.0.len();
        match &op.kind {
            Kind::Submit(fate, task) | Kind::TrySubmit(fate, task) => {
                self.submit(r, task, Some(*fate));
            }
            Kind::Execute(task) => self.submit(r, task, None),
            Kind::With(_) if self.0[r].held => self.0[r].verdicts.push(Verdict::WouldDeadlock),
            Kind::With(task) => self.submit(r, task, Some(Fate::Wait)),
            Kind::CancelPending => self.sweep(r, Verdict::Cancelled),
            Kind::Heal if !self.0[r].held => self.0[r].poisoned = false,
            Kind::Close => self.0[r].closed = true,
            Kind::Heal | Kind::DropHandle => {}
        }
    }

    /// `fate`: none for `execute`.
    fn submit(&mut self, r: usize, task: &Task, fate: Option<Fate>) {
        let id = self.0[r].verdicts.len();
        if let Some(verdict) = self.refusal(r) {
            self.0[r].verdicts.push(verdict);
            return;
        }
        self.0[r].verdicts.push(Verdict::Unknown);
        if !self.0[r].held {
            self.run(r, id, task);
            while let Some((id, task)) = self.0[r].queue.pop_front() {
                self.run(r, id, &task);
            }
            return;
        }
        match fate {
            Some(Fate::Cancel | Fate::CancelOnDrop) => {
                self.0[r].verdicts[id] = Verdict::Cancelled;
            }
            _ => self.0[r].queue.push_back((id, task.clone())),
        }
    }

    fn run(&mut self, r: usize, id: usize, task: &Task) {
        self.0[r].held = true;
        self.0[r].order.push(id as u32);
        task.nested.iter().for_each(|op| self.perform(op));
        self.0[r].held = false;
        self.0[r].verdicts[id] = if task.panics {
            Verdict::Panicked
        } else {
            Verdict::Returned
        };
        if task.panics && self.0[r].poison {
            self.0[r].poisoned = true;
            self.sweep(r, Verdict::Poisoned);
        }
    }

    fn sweep(&mut self, r: usize, verdict: Verdict) {
        for (id, _) in std::mem::take(&mut self.0[r].queue) {
            self.0[r].verdicts[id] = verdict;
        }
    }
}

/// Leaves out what would run on another thread or be refused by a panic: tasks
/// nested in tasks submit to their own resource, or nothing to others.
fn tame(ops: Vec<Op>, resources: usize, inside: Option<usize>) -> Vec<Op> {
    let tame_one = |op: Op| {
        let resource = op.resource % resources;
        let own = inside.is_none_or(|r| r == resource);
        let tame_task = |task: Task| Task {
            nested: match own {
                true => tame(task.nested, resources, Some(resource)),
                false => Vec::new(),
            },
            brittle: false,
            timeout: None,
            ..task
        };
        let kind = match op.kind {
            Kind::Submit(fate, task) => Kind::Submit(fate, tame_task(task)),
            Kind::TrySubmit(fate, task) => Kind::TrySubmit(fate, tame_task(task)),
            Kind::Execute(task) => Kind::Execute(tame_task(task)),
            Kind::With(task) => Kind::With(tame_task(task)),
            Kind::DropHandle => Kind::CancelPending,
            other => other,
        };
        Op { resource, kind }
    };
    ops.into_iter().map(tame_one).collect()
}

pub(crate) fn run(poison: &[bool], ops: Vec<Op>) -> Result<(), String> {
    let ops = tame(ops, poison.len(), None);
    let builders = poison.iter().map(|poison| {
        let builder = Resource::builder()
            .capture_limit(usize::MAX)
            .capture_time(DEADLINE);
        (builder, *poison)
    });
    let (world, mut handles) = World::new(builders, vec![1; poison.len()], true);
    let mut models = Models(
        poison
            .iter()
            .map(|&poison| Model {
                poison,
                ..Model::default()
            })
            .collect(),
    );
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
    let ledgers = world.ledgers.clone();
    finish(&world, handles)?;
    for (ledger, model) in ledgers.iter().zip(&models.0) {
        ledger.compare(&model.verdicts, &model.order)?;
    }
    Ok(())
}
