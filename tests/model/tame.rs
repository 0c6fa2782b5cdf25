//! Programs whose outcome can be said in advance.

use crate::program::{Kind, Op, Task, Use};
use crate::steps::{AsyncTask, Step};

/// Leaves out what time decides, what others would have to wait for on this thread,
/// and, of tasks that run inside of others, what their submitters would leave to
/// workers: those submit to their own resource, or nothing to others.
pub(crate) fn tame(ops: Vec<Op>, resources: usize, inside: Option<usize>) -> Vec<Op> {
    let tamer = Tamer { resources, inside };
    ops.into_iter().map(|op| tamer.op(op)).collect()
}

#[derive(Clone, Copy)]
struct Tamer {
    resources: usize,
    /// In a task of this one.
    inside: Option<usize>,
}

impl Tamer {
    fn op(self, op: Op) -> Op {
        let resource = op.resource % self.resources;
        let is_here = self.inside.is_none_or(|inside| inside == resource);
        let task = |task| self.task(resource, task);
        let kind = match op.kind {
            Kind::Submit(fate, t) => Kind::Submit(fate, task(t)),
            Kind::TrySubmit(fate, t) => Kind::TrySubmit(fate, task(t)),
            Kind::Execute(t) => Kind::Execute(task(t)),
            Kind::With(t) if is_here => Kind::With(task(t)),
            Kind::With(t) => Kind::Execute(task(t)),
            Kind::Reserve(how, Use::Submit(fate, t)) => {
                Kind::Reserve(how, Use::Submit(fate, task(t)))
            }
            Kind::Reserve(how, Use::Execute(t)) => Kind::Reserve(how, Use::Execute(task(t))),
            Kind::Batch(fate, tasks) => Kind::Batch(fate, tasks.into_iter().map(task).collect()),
            Kind::Then(fate, first, other, next) => {
                let next = self.task(other % self.resources, next);
                Kind::Then(fate, task(first), other, next)
            }
            Kind::Async(fate, what) if is_here => Kind::Async(fate, self.waits(resource, what)),
            Kind::Async(fate, what) => Kind::Submit(fate, task(what.task)),
            Kind::When(fate, source, t) => Kind::When(fate, source, task(t)),
            Kind::Steps(fate, tasks) => Kind::Steps(fate, tasks.into_iter().map(alone).collect()),
            Kind::DropHandle => Kind::CancelPending,
            other => other,
        };
        Op { resource, kind }
    }

    fn task(self, resource: usize, task: Task) -> Task {
        let nested = match self.inside.is_none_or(|inside| inside == resource) {
            true => task.nested.clone(),
            false => Vec::new(),
        };
        let nested = tame(nested, self.resources, Some(resource));
        Task {
            nested,
            ..alone(task)
        }
    }

    fn waits(self, resource: usize, what: AsyncTask) -> AsyncTask {
        let within = Tamer {
            inside: Some(resource),
            ..self
        };
        let step = |step| match step {
            Step::Do(op) => Step::Do(within.op(op)),
            Step::Await(other, task) => Step::Await(other, alone(task)),
            other => other,
        };
        AsyncTask {
            task: Task {
                brittle: what.task.brittle,
                ..self.task(resource, what.task)
            },
            steps: what.steps.into_iter().map(step).collect(),
            ..what
        }
    }
}

/// With nothing nested in it, and nobody to give turns to.
fn alone(task: Task) -> Task {
    Task {
        nested: Vec::new(),
        brittle: false,
        timeout: None,
        turns: 0,
        ..task
    }
}
