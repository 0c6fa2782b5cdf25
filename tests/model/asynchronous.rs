//! Operations whose tasks wait: async tasks, tasks that a future starts, jobs of steps.

use crate::bells::suspend_for_ever;
use crate::ledger::{Holding, Receipt, Spill, Value, Visit, stamp};
use crate::outcome::{Async, Job, One, When};
use crate::program::{Fate, Task};
use crate::steps::{AsyncTask, Source, Step};
use crate::world::{Call, Caller, World};
use captor::{CancelToken, Completion, TaskError, cancel_token};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

impl Call<'_> {
    pub(crate) fn submit_async(&self, fate: Fate, what: &AsyncTask) {
        let (one, ticket, builder) = self.begin(&what.task);
        one.0.waits(one.1);
        let timeout = what.task.timeout.map(Duration::from_micros);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let (world, what, task) = (Arc::clone(self.world), what.clone(), one.clone());
        let completion = builder.submit_async(borrowing_the_value(move |value| {
            let visit = ticket.enter(value);
            let watched = Watched {
                _held: task.0.holding(),
                deadline,
                token: what.asks.then(cancel_token),
                _spill: what.spills.then(|| task.0.spill(task.1)),
                is_over: false,
                task: task.clone(),
                inner: perform(world, what, task, visit).boxed(),
            };
            watched.boxed()
        }));
        one.submitted();
        let nested = self.nested();
        self.world
            .use_completion(fate, Async(one), completion, nested);
    }

    pub(crate) fn when(&self, fate: Fate, source: Source, task: &Task) {
        let (one, ticket) = self.plain_ticket(task);
        let when = When(one.clone());
        let settled = when.clone();
        self.world.later(move || settled.settle());
        if matches!(source, Source::Panics) {
            one.0.meets_a_panic(one.1);
        }
        let (work, second) = (self.closure(task, ticket), one.clone());
        let future = resolves(Arc::clone(self.world), source, one.0.holding());
        let completion = self.resource.submit_when(future, move |value, stamp| {
            second.0.began_after(second.1, stamp);
            work(value)
        });
        // If the future is still pending, the task is submitted at an unknown time.
        if completion.is_finished() {
            one.submitted();
        }
        self.world
            .use_completion(fate, when, completion, self.nested());
    }

    pub(crate) fn steps(&self, fate: Fate, tasks: &[Task]) {
        let job = Job::new(self.ledger());
        let settled = job.clone();
        self.world.later(move || settled.settle());
        let (world, index) = (Arc::clone(self.world), self.index);
        let (tasks, running, held) = (tasks.to_vec(), job.clone(), self.ledger().holding());
        let completion = self.resource.submit_steps(async move |resource| {
            let _held = held;
            running.begins();
            for task in &tasks {
                let awaited = {
                    let (world, resource) = (&world, resource.clone());
                    let caller = Caller::Task;
                    let call = Call {
                        world,
                        index,
                        resource,
                        caller,
                    };
                    call.submit_awaited(task)
                };
                world.await_task(awaited).await;
            }
            running.ends();
        });
        self.world
            .use_completion(fate, job, completion, self.nested());
    }

    fn submit_awaited(&self, task: &Task) -> Awaited {
        let (one, ticket, builder) = self.begin(task);
        let completion = builder.submit(self.closure(task, ticket));
        one.submitted();
        (one, completion)
    }
}

type Awaited = (One, Completion<Receipt>);

impl World {
    async fn await_task(&self, (one, completion): Awaited) {
        match completion.await {
            // The task stays queued, and no waiter learns its outcome.
            Err(TaskError::WouldDeadlock) => drop(self.deadlocks.fetch_add(1, SeqCst)),
            outcome => one.0.outcome(one.1, outcome),
        }
    }
}

/// Fixes a closure's signature, so that its future may borrow the value.
fn borrowing_the_value<F>(f: F) -> F
where
    F: for<'a> FnOnce(&'a mut Value) -> BoxFuture<'a, Receipt>,
{
    f
}

/// The body of an async task.
async fn perform(world: Arc<World>, what: AsyncTask, one: One, mut visit: Visit<'_>) -> Receipt {
    for op in &what.task.nested {
        world.perform_as(op, Caller::Task);
    }
    for step in &what.steps {
        match step {
            Step::Do(op) => {
                world.perform_as(op, Caller::Task);
                continue;
            }
            Step::Yield(how) => world.bells.yield_once(*how).await,
            Step::Hear { bell, once } => world.bells.hear_or_give_up(*bell, *once, &one).await,
            Step::Outlast if what.task.timeout.is_none() => continue,
            Step::Outlast => world.bells.outlast().await,
            Step::Await(index, task) => {
                let call = world.call(*index, Caller::Task);
                let awaited = call.map(|call| call.submit_awaited(task));
                if let Some(awaited) = awaited {
                    world.await_task(awaited).await;
                }
            }
            Step::SuspendForEver => suspend_for_ever(&one).await,
            Step::Panic => visit.panics(),
        }
        visit.goes_on();
    }
    (0..what.task.turns).for_each(|_| thread::yield_now());
    if what.task.panics {
        visit.panics();
    }
    visit.ends()
}

/// The future that starts a task. Resolves to a stamp from just before.
async fn resolves(world: Arc<World>, source: Source, held: Holding) -> u64 {
    let _held = held;
    match source {
        Source::Ready => {}
        Source::Hears(bell) => world.bells.hear(bell).await,
        Source::Panics => crate::ledger::intended_panic(),
    }
    stamp()
}

/// The future of an async task. If the task is told to stop, or its deadline passes, the future
/// must not be polled again after it suspends. A finished future must not be polled either.
struct Watched<'a> {
    task: One,
    _held: Holding,
    token: Option<CancelToken>,
    /// The deadline of the task, or a moment later.
    deadline: Option<Instant>,
    is_over: bool,
    inner: BoxFuture<'a, Receipt>,
    /// Dropped last, since its drop panics.
    _spill: Option<Spill>,
}

impl Future for Watched<'_> {
    type Output = Receipt;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Receipt> {
        let One(ledger, id) = &self.task;
        if self.is_over {
            ledger.fault(format!("task {id} was polled, and is over"));
        }
        let polled = self.inner.as_mut().poll(cx);
        self.is_over = polled.is_ready()
            || self.token.as_ref().is_some_and(CancelToken::is_cancelled)
            || self.deadline.is_some_and(|at| at < Instant::now());
        polled
    }
}

/// A task that is given up while suspended must have been told to stop.
impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let One(ledger, id) = &self.task;
        let told = self.token.as_ref().is_none_or(CancelToken::is_cancelled);
        if !told && self.deadline.is_none() && ledger.is_given_up(*id) {
            ledger.fault(format!("task {id} was given up, and not told"));
        }
    }
}
