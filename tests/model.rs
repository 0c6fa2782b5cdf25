//! Random programs against a model.
//!
//! Several threads: what the interleaving was is read from the value's log and
//! from the stamps around each call, and [`ledger`] checks it against the same
//! tasks run one after the other. One thread: the model says in advance what
//! becomes of every task.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod common;
mod ledger;

use captor::{
    Completion, Dispatch, Job, PanicPolicy, Resource, ResourceBuilder, Scheduler, SubmitError,
    TaskBuilder, TaskError, TrySubmitError, WeakResource,
};
use common::{DEADLINE, outcome, wait_until, within_deadline};
use futures::executor::block_on;
use ledger::{Ledger, Receipt, Ticket, Value, Verdict};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

/// Kinds of schedulers a resource may have; see [`scheduler`].
const SCHEDULERS: usize = 6;

#[derive(Clone, Debug)]
struct Setup {
    poison: bool,
    pooled: bool,
    capture_limit: usize,
    scheduler: usize,
    levels: u8,
}

/// What the submitter does with a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Wait,
    WaitTimeout,
    Await,
    Drop,
    CancelOnDrop,
    Cancel,
    Keep,
}

#[derive(Clone, Debug)]
struct Task {
    panics: bool,
    /// Its closure panics when it is dropped unrun.
    brittle: bool,
    /// It gives others so many turns before it ends.
    turns: usize,
    /// Its priority, as far as its resource has so many.
    level: u8,
    /// It expires if it has not started after so many microseconds.
    timeout: Option<u64>,
    nested: Vec<Op>,
}

#[derive(Clone, Debug)]
enum Kind {
    Submit(Fate, Task),
    TrySubmit(Fate, Task),
    Execute(Task),
    With(Task),
    CancelPending,
    Heal,
    Close,
    DropHandle,
}

#[derive(Clone, Debug)]
struct Op {
    resource: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
struct Program {
    setups: Vec<Setup>,
    /// Phase by phase, thread by thread; a barrier lies between phases.
    phases: Vec<Vec<Vec<Op>>>,
    /// Nobody keeps a handle for later: the value goes with the last task.
    let_go: bool,
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        any::<bool>(),
        prop::bool::weighted(0.3),
        1..12_usize,
        0..SCHEDULERS,
        1..=3_u8,
    )
        .prop_map(|(poison, pooled, capture_limit, scheduler, levels)| Setup {
            poison,
            pooled,
            capture_limit,
            scheduler,
            levels,
        })
}

fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![
        Fate::Wait,
        Fate::WaitTimeout,
        Fate::Await,
        Fate::Drop,
        Fate::CancelOnDrop,
        Fate::Cancel,
        Fate::Keep,
    ])
}

fn task(depth: u32) -> BoxedStrategy<Task> {
    let nested = match depth {
        0 => Just(Vec::new()).boxed(),
        _ => prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec(op(depth - 1), 0..5),
        ]
        .boxed(),
    };
    let (panics, brittle) = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let turns = prop_oneof![4 => Just(0), 1 => 1..20_usize];
    let timeout = prop_oneof![5 => Just(None), 1 => (0..100_u64).prop_map(Some)];
    (panics, brittle, turns, 0..3_u8, timeout, nested)
        .prop_map(|(panics, brittle, turns, level, timeout, nested)| Task {
            panics,
            brittle,
            turns,
            level,
            timeout,
            nested,
        })
        .boxed()
}

fn op(depth: u32) -> BoxedStrategy<Op> {
    let kind = prop_oneof![
        8 => (fate(), task(depth)).prop_map(|(f, t)| Kind::Submit(f, t)),
        3 => (fate(), task(depth)).prop_map(|(f, t)| Kind::TrySubmit(f, t)),
        8 => task(depth).prop_map(Kind::Execute),
        4 => task(depth).prop_map(Kind::With),
        1 => Just(Kind::CancelPending),
        2 => Just(Kind::Heal),
        1 => prop::bool::weighted(0.6)
            .prop_map(|close| if close { Kind::Close } else { Kind::DropHandle }),
    ];
    (0..3_usize, kind)
        .prop_map(|(resource, kind)| Op { resource, kind })
        .boxed()
}

fn program() -> impl Strategy<Value = Program> {
    let phases = (2..=4_usize).prop_flat_map(|threads| {
        let ops = prop::collection::vec(op(2), 0..16);
        prop::collection::vec(prop::collection::vec(ops, threads), 1..4)
    });
    let setups = prop::collection::vec(setup(), 1..=3);
    (setups, phases, prop::bool::weighted(0.2)).prop_map(|(setups, phases, let_go)| Program {
        setups,
        phases,
        let_go,
    })
}

fn scheduler(kind: usize) -> Scheduler {
    let builder = Scheduler::builder();
    match kind {
        0 => return Scheduler::global().clone(),
        1 => builder.workers(1),
        2 => builder.workers(2).quantum(Duration::ZERO),
        3 => builder.executor(|job: Job| drop(thread::spawn(|| job.run()))),
        4 => builder.executor(|job: Job| drop(job)),
        _ => builder.executor(|job: Job| job.run()),
    }
    .build()
    .unwrap()
}

/// A completion to be resolved at the end.
struct Kept(Arc<Ledger>, u32, Completion<Receipt>);

/// What every operation needs.
struct World {
    ledgers: Vec<Arc<Ledger>>,
    weak: Vec<WeakResource<Value>>,
    /// How many levels of priority each has.
    levels: Vec<u8>,
    kept: Mutex<Vec<Kept>>,
    /// One thread and nothing to wait for.
    sequential: bool,
}

type Handles = Vec<Option<Resource<Value>>>;

impl World {
    fn new(
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
    fn perform(self: &Arc<Self>, op: &Op, handles: &mut Handles) {
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
            Fate::CancelOnDrop => drop(completion.cancel_on_drop()),
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
    fn settle(&self) {
        loop {
            let Some(Kept(ledger, id, completion)) = self.kept.lock().unwrap().pop() else {
                return;
            };
            ledger.outcome(id, outcome(completion));
        }
    }
}

/// A refused closure came back; a brittle one panics here.
fn give_back<F>(ledger: &Ledger, id: u32, refused: TrySubmitError<F>) {
    let error = match refused {
        TrySubmitError::Poisoned(_) => SubmitError::Poisoned,
        TrySubmitError::Closed(_) => SubmitError::Closed,
        _ => SubmitError::Full,
    };
    ledger.refused(id, error);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(refused)));
}

/// Waits until nothing is queued or running anywhere.
fn quiesce(handles: &Handles) {
    let sums = || {
        handles
            .iter()
            .flatten()
            .fold((0, 0), |(outstanding, submitted), r| {
                let stats = r.stats();
                (
                    outstanding + stats.outstanding,
                    submitted + stats.submitted + stats.rejected,
                )
            })
    };
    // A task of one resource may submit to another that was looked at before:
    // so nothing may have been submitted between two looks.
    wait_until("nothing is queued or running", || {
        let before = sums();
        before.0 == 0 && sums() == before
    });
}

fn run(program: Program) -> Result<(), String> {
    let builders = program.setups.iter().map(|setup| {
        let dispatch = match setup.pooled {
            true => Dispatch::Pool,
            false => Dispatch::Inline,
        };
        let builder = Resource::builder()
            .scheduler(&scheduler(setup.scheduler))
            .capture_limit(setup.capture_limit)
            .dispatch(dispatch);
        (builder.priorities(setup.levels.into()), setup.poison)
    });
    let levels = program.setups.iter().map(|setup| setup.levels).collect();
    let (world, mut handles) = World::new(builders, levels, false);
    let threads = program.phases[0].len();
    let barrier = Barrier::new(threads);
    let phases = &program.phases;
    thread::scope(|scope| {
        for index in 0..threads {
            let (world, barrier, mut handles) = (&world, &barrier, handles.clone());
            scope.spawn(move || {
                for phase in phases {
                    barrier.wait();
                    for op in &phase[index] {
                        world.perform(op, &mut handles);
                    }
                }
            });
        }
        if program.let_go {
            handles.iter_mut().for_each(|handle| *handle = None);
        }
    });
    finish(&world, handles)
}

fn finish(world: &Arc<World>, handles: Handles) -> Result<(), String> {
    quiesce(&handles);
    let mut all_stats = Vec::new();
    for (r, ledger) in handles.iter().zip(&world.ledgers) {
        all_stats.push(r.as_ref().map(|r| {
            ledger.closing(|| r.close());
            let stats = r.stats();
            if !r.wait_closed(DEADLINE) {
                ledger.fault("closed, and did not end".to_owned());
            }
            if !matches!(r.try_submit(|_| ()), Err(TrySubmitError::Closed(_))) {
                ledger.fault("closed, and took a task".to_owned());
            }
            stats
        }));
    }
    drop(handles);
    for ledger in &world.ledgers {
        // Tasks hold on to it, and jobs that nobody needs any more.
        wait_until("the value is dropped", || ledger.value_is_gone());
    }
    // Only now, since tasks keep completions too.
    world.settle();
    for (ledger, stats) in world.ledgers.iter().zip(&all_stats) {
        ledger.audit(stats.as_ref())?;
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => ProptestConfig::default().cases,
            None => 96,
        },
        // What fails depends on the interleaving: a seed alone says little.
        failure_persistence: None,
        max_shrink_iters: 1000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn threads_agree_with_some_sequence(program in program()) {
        ledger::silence_intended_panics();
        let result = within_deadline(move || run(program));
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }

    #[test]
    fn one_thread_agrees_with_the_model(
        poison in prop::collection::vec(any::<bool>(), 1..=3),
        ops in prop::collection::vec(op(2), 0..40),
    ) {
        ledger::silence_intended_panics();
        let result = within_deadline(move || run_sequential(&poison, ops));
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}

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

fn run_sequential(poison: &[bool], ops: Vec<Op>) -> Result<(), String> {
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
