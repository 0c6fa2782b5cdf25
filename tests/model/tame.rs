//! Programs whose outcome can be predicted.

use crate::program::{Kind, Op, Task, Use};
use crate::steps::{AsyncTask, Step};

/// Makes a program predictable. Leaves out three kinds of operations:
///
/// - Operations that time decides.
/// - Operations that would block this thread for another task.
/// - Operations that a submitter inside a task would leave to workers. A task submitted to another
///   resource from inside a task therefore submits nothing.
pub(crate) fn tame(ops: Vec<Op>, resources: usize, inside: Option<usize>) -> Vec<Op> {
    let tamer = Tamer { resources, inside };
    ops.into_iter().map(|op| tamer.op(op)).collect()
}

#[derive(Clone, Copy)]
struct Tamer {
    resources: usize,
    /// The resource whose task encloses the operations.
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

/// Removes everything nested in the task, its timeout, and its yields.
fn alone(task: Task) -> Task {
    Task {
        nested: Vec::new(),
        brittle: false,
        timeout: None,
        turns: 0,
        ..task
    }
}
