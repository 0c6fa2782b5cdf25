//! The effects of a program's operations, and the records made of them.

use crate::bells::Bells;
use crate::common::outcome;
use crate::ledger::{Ledger, Receipt, Ticket, Value};
use crate::outcome::{Batch, Cancels, Chain, One, Tasks};
use crate::program::{Fate, Kind, Op, Reserving, Setup, Task, Use};
use captor::{
    Permit, ReserveError, Resource, ResourceBuilder, SubmitError, TaskBuilder, Trigger,
    TrySubmitError, WeakResource,
};
use futures::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

type Later = Box<dyn FnOnce() + Send>;

/// The state that every operation needs.
pub(crate) struct World {
    pub(crate) setups: Vec<Setup>,
    pub(crate) ledgers: Vec<Arc<Ledger>>,
    weak: Vec<WeakResource<Value>>,
    triggers: Vec<Trigger>,
    /// The actions that are left for the end.
    later: Mutex<Vec<Later>>,
    chains: Mutex<Vec<Chain>>,
    /// Completions that may be cancelled later.
    pub(crate) kept: Mutex<Vec<Arc<dyn Cancels>>>,
    /// The bells that async tasks wait for.
    pub(crate) bells: Bells,
    /// How many awaits were refused, since they would deadlock.
    pub(crate) deadlocks: AtomicU64,
    /// The program runs on one thread and must not wait.
    pub(crate) sequential: bool,
}

pub(crate) type Handles = Vec<Option<Resource<Value>>>;

/// The caller that performs an operation.
#[derive(Clone, Copy)]
pub(crate) enum Caller<'a> {
    Thread(&'a Handles),
    Task,
}

impl World {
    pub(crate) fn new(
        setups: Vec<Setup>,
        builder: impl Fn(&Setup) -> ResourceBuilder,
        sequential: bool,
    ) -> (Arc<World>, Handles) {
        let ledgers: Vec<_> = setups.iter().map(|s| Ledger::new(4096, s.poison)).collect();
        let build = |(setup, ledger): (&Setup, &Arc<Ledger>)| {
            if setup.capacity.is_some() {
                ledger.bound();
            }
            builder(setup).build(Value::new(ledger)).unwrap()
        };
        let resources: Vec<_> = setups.iter().zip(&ledgers).map(build).collect();
        let trigger = |r: &Resource<Value>| r.trigger(Value::triggered);
        let world = World {
            weak: resources.iter().map(Resource::downgrade).collect(),
            triggers: resources.iter().map(trigger).collect(),
            setups,
            ledgers,
            later: Mutex::default(),
            chains: Mutex::default(),
            kept: Mutex::default(),
            bells: Bells::default(),
            deadlocks: AtomicU64::new(0),
            sequential,
        };
        (Arc::new(world), resources.into_iter().map(Some).collect())
    }

    /// Performs an operation of a thread.
    pub(crate) fn perform(self: &Arc<Self>, op: &Op, handles: &mut Handles) {
        let index = op.resource % handles.len();
        match op.kind {
            Kind::DropHandle => handles[index] = None,
            _ => self.perform_as(op, Caller::Thread(handles)),
        }
    }

    pub(crate) fn perform_as(self: &Arc<Self>, op: &Op, caller: Caller<'_>) {
        if let Some(call) = self.call(op.resource, caller) {
            call.perform(&op.kind);
        }
    }

    /// Returns a call of this resource, if the caller has a handle.
    pub(crate) fn call<'a>(
        self: &'a Arc<Self>,
        index: usize,
        caller: Caller<'a>,
    ) -> Option<Call<'a>> {
        let index = index % self.weak.len();
        let resource = match caller {
            Caller::Thread(handles) => handles[index].clone(),
            Caller::Task => self.weak[index].upgrade(),
        };
        resource.map(|resource| Call {
            world: self,
            index,
            resource,
            caller,
        })
    }

    pub(crate) fn later(&self, what: impl FnOnce() + Send + 'static) {
        self.later.lock().unwrap().push(Box::new(what));
    }

    /// Cancels a kept completion: the last one, or `which` places before it.
    fn cancel_kept(&self, which: usize) {
        let kept = {
            let kept = self.kept.lock().unwrap();
            let index = which.checked_rem(kept.len());
            index.map(|index| Arc::clone(&kept[kept.len() - 1 - index]))
        };
        if let Some(kept) = kept {
            kept.cancel();
        }
    }

    /// Performs the actions that were left for the end. No task may run any more.
    pub(crate) fn settle(&self) {
        self.kept.lock().unwrap().clear();
        loop {
            let last = self.later.lock().unwrap().pop();
            let Some(what) = last else { break };
            what();
        }
        for Chain { first, second } in self.chains.lock().unwrap().iter() {
            second.0.chained(second.1, first.returned());
        }
    }
}

/// An operation on a resource.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) index: usize,
    pub(crate) resource: Resource<Value>,
    pub(crate) caller: Caller<'a>,
}

impl Call<'_> {
    fn perform(&self, kind: &Kind) {
        let (r, ledger) = (&self.resource, self.ledger());
        match kind {
            Kind::Submit(fate, task) => self.submit(*fate, task),
            Kind::TrySubmit(fate, task) => self.try_submit(*fate, task),
            Kind::Execute(task) => self.execute(task),
            Kind::With(task) => self.with(task),
            Kind::Reserve(how, what) => self.reserve(*how, what),
            Kind::Then(fate, first, other, next) => match self.world.call(*other, self.caller) {
                Some(other) => self.then(*fate, first, &other, next),
                None => self.submit(*fate, first),
            },
            Kind::Batch(fate, tasks) => self.batch(*fate, tasks),
            Kind::Async(fate, task) => self.submit_async(*fate, task),
            Kind::When(fate, source, task) => self.when(*fate, *source, task),
            Kind::Steps(fate, tasks) => self.steps(*fate, tasks),
            Kind::Ring(bell, how) => self.world.bells.ring(*bell, *how),
            Kind::WakeKept => self.world.bells.wake_kept(),
            Kind::Fire => ledger.firing(|| self.world.triggers[self.index].fire()),
            Kind::OnIdle => self.on_idle(),
            Kind::CancelKept(which) => self.world.cancel_kept(*which),
            Kind::CancelPending => ledger.swept(r.cancel_pending()),
            Kind::Heal => drop(r.clear_poison(Value::healed)),
            Kind::Close => ledger.closing(|| r.close()),
            Kind::CloseNow => {
                ledger.stopping();
                ledger.swept(ledger.closing(|| r.close_now()));
            }
            Kind::DropHandle => {}
        }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.world.ledgers[self.index]
    }

    pub(crate) fn nested(&self) -> bool {
        matches!(self.caller, Caller::Task)
    }

    /// Begins a submission with this priority.
    fn ticket(&self, task: &Task, level: u8) -> (One, Ticket) {
        let ledger = self.ledger();
        let mut ticket = ledger.begin().expect("the ledger is large enough");
        ledger.set_level(ticket.id, level);
        if task.brittle {
            ticket.make_brittle();
        }
        (One(Arc::clone(ledger), ticket.id), ticket)
    }

    /// Begins a submission of a task without attributes.
    pub(crate) fn plain_ticket(&self, task: &Task) -> (One, Ticket) {
        self.ticket(task, self.world.setups[self.index].middle())
    }

    /// Begins a submission of a task with attributes.
    pub(crate) fn begin(&self, task: &Task) -> (One, Ticket, TaskBuilder<'_, Value>) {
        let level = task.level % self.world.setups[self.index].levels;
        let (one, ticket) = self.ticket(task, level);
        let builder = self.resource.task().priority(level);
        let timeout = task.timeout.map(Duration::from_micros);
        let builder = timeout.into_iter().fold(builder, TaskBuilder::timeout);
        (one, ticket, builder)
    }

    pub(crate) fn closure(
        &self,
        task: &Task,
        ticket: Ticket,
    ) -> impl FnOnce(&mut Value) -> Receipt + Send + use<> {
        let (world, task) = (Arc::clone(self.world), task.clone());
        move |value| {
            ticket.run(value, task.panics, || {
                for op in &task.nested {
                    world.perform_as(op, Caller::Task);
                }
                (0..task.turns).for_each(|_| thread::yield_now());
            })
        }
    }

    fn submit(&self, fate: Fate, task: &Task) {
        let (one, ticket, builder) = self.begin(task);
        let completion = builder.submit(self.closure(task, ticket));
        one.submitted();
        self.world
            .use_completion(fate, one, completion, self.nested());
    }

    fn try_submit(&self, fate: Fate, task: &Task) {
        let (one, ticket, builder) = self.begin(task);
        let tried = builder.try_submit(self.closure(task, ticket));
        one.submitted();
        match tried {
            Ok(completion) => self
                .world
                .use_completion(fate, one, completion, self.nested()),
            Err(refused) => give_back(&one, refused),
        }
    }

    fn execute(&self, task: &Task) {
        let (one, ticket, builder) = self.begin(task);
        let closure = self.closure(task, ticket);
        let done = builder.execute(move |value| drop(closure(value)));
        one.submitted();
        if let Err(error) = done {
            one.0.refused(one.1, error);
        }
    }

    fn with(&self, task: &Task) {
        if self.would_wait() {
            return;
        }
        let task = &Task {
            brittle: false,
            ..task.clone()
        };
        let (one, ticket, builder) = self.begin(task);
        one.0.has_room(one.1);
        let outcome = builder.with(self.closure(task, ticket));
        one.submitted();
        one.resolved(outcome);
    }

    /// Checks whether a program on one thread would have to wait for another of its tasks.
    fn would_wait(&self) -> bool {
        let r = &self.resource;
        self.world.sequential && !r.is_current() && r.stats().outstanding > 0
    }

    fn reserve(&self, how: Reserving, what: &Use) {
        let Some(permit) = self.permit(how) else {
            return;
        };
        let begin = |task: &Task| {
            let (one, ticket) = self.plain_ticket(task);
            one.0.has_room(one.1);
            (one, self.closure(task, ticket))
        };
        match what {
            Use::Submit(fate, task) => {
                let (one, closure) = begin(task);
                let completion = permit.submit(closure);
                one.submitted();
                self.world
                    .use_completion(*fate, one, completion, self.nested());
            }
            Use::Execute(task) => {
                let (one, closure) = begin(task);
                let done = permit.execute(move |value| drop(closure(value)));
                one.submitted();
                if let Err(error) = done {
                    one.0.refused(one.1, error);
                }
            }
            Use::Drop => drop(permit),
        }
    }

    fn permit(&self, how: Reserving) -> Option<Permit<Value>> {
        let r = &self.resource;
        let got = match how {
            Reserving::Timeout(time) if !self.nested() => {
                r.reserve_timeout(Duration::from_micros(time))
            }
            Reserving::Try | Reserving::Timeout(_) => r.try_reserve(),
            Reserving::PollOnce => r
                .reserve()
                .now_or_never()
                .unwrap_or(Err(ReserveError::Full)),
        };
        let ledger = self.ledger();
        let expected = match &got {
            Ok(_) => true,
            Err(ReserveError::Full | ReserveError::Timeout) => !ledger.is_unbounded(),
            // The future was polled in a task, which would have to end first.
            Err(ReserveError::WouldDeadlock) => self.nested() && !ledger.is_unbounded(),
            Err(ReserveError::Closed) => ledger.is_closing(),
            Err(ReserveError::Poisoned) => self.world.setups[self.index].poison,
            Err(_) => false,
        };
        if !expected {
            ledger.fault(format!("a reservation ended in {got:?}"));
        }
        got.ok()
    }

    fn then(&self, fate: Fate, first: &Task, other: &Call<'_>, next: &Task) {
        let (one, ticket, builder) = self.begin(first);
        let completion = builder.submit(self.closure(first, ticket));
        one.submitted();
        let (second, ticket) = other.plain_ticket(next);
        let chain = Chain { first: one, second };
        self.world.chains.lock().unwrap().push(chain.clone());
        let work = other.closure(next, ticket);
        let Chain { first, second } = chain.clone();
        let through = completion.is_finished();
        let end = completion.then(&other.resource, move |value, receipt: Receipt| {
            second.0.began_after(second.1, receipt.stamp);
            first.resolved(Ok(receipt));
            work(value)
        });
        // If the first task is unfinished, the second is submitted at an unknown time.
        if through {
            chain.second.submitted();
        }
        self.world.use_completion(fate, chain, end, self.nested());
    }

    fn batch(&self, fate: Fate, tasks: &[Task]) {
        let begin = |task| {
            let (one, ticket) = self.plain_ticket(task);
            (one.1, self.closure(task, ticket))
        };
        let (ids, parts): (Vec<_>, Vec<_>) = tasks.iter().map(begin).unzip();
        let ledger = self.ledger();
        ledger.batch(&ids);
        let completion = self.resource.submit_batch(parts);
        ids.iter().for_each(|id| ledger.submitted(*id));
        let batch = Batch(Arc::clone(ledger), ids);
        self.world
            .use_completion(fate, batch, completion, self.nested());
    }

    fn on_idle(&self) {
        let ledger = Arc::clone(self.ledger());
        ledger.hooking();
        let set = self.resource.on_idle(Value::idle);
        let later = self.nested() || self.world.sequential && !set.is_finished();
        let told = move || ledger.hooked(outcome(set));
        match later {
            true => self.world.later(told),
            false => told(),
        }
    }
}

/// Records the refusal of a closure, and drops the closure. A brittle closure panics here.
fn give_back<F>(one: &One, refused: TrySubmitError<F>) {
    let error = match refused {
        TrySubmitError::Poisoned(_) => SubmitError::Poisoned,
        TrySubmitError::Closed(_) => SubmitError::Closed,
        _ => SubmitError::Full,
    };
    one.0.refused(one.1, error);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(refused)));
}
