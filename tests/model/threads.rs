//! Programs on several threads, and the checks at their end.

use crate::common::{DEADLINE, Gate, on_drop, wait_until};
use crate::ledger::{Ledger, Value};
use crate::program::{Op, Program, Setup};
use crate::world::{Handles, World};
use captor::{
    Dispatch, Job, PanicPolicy, Resource, ResourceBuilder, ResourceStats, Scheduler, TaskError,
    TrySubmitError,
};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

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

fn builder(setup: &Setup) -> ResourceBuilder {
    settings(setup, &scheduler(setup.scheduler))
}

pub(crate) fn settings(setup: &Setup, scheduler: &Scheduler) -> ResourceBuilder {
    let dispatch = match setup.pooled {
        true => Dispatch::Pool,
        false => Dispatch::Inline,
    };
    let policy = match setup.poison {
        true => PanicPolicy::Poison,
        false => PanicPolicy::Continue,
    };
    let builder = Resource::builder()
        .scheduler(scheduler)
        .capture_limit(setup.capture_limit)
        .dispatch(dispatch)
        .panic_policy(policy)
        .priorities(setup.levels.into());
    let capacity = setup.capacity.into_iter();
    capacity.fold(builder, ResourceBuilder::capacity)
}

pub(crate) fn run(program: Program) -> Result<(), String> {
    let (world, mut handles) = World::new(program.setups, builder, false);
    let done = Gate::new();
    thread::scope(|scope| {
        scope.spawn(|| ring_until(&done, &world));
        let _done = on_drop(|| done.open());
        perform(&program.phases, &world, &mut handles, program.drop_handles);
        match program.take {
            true => take_out(&world, handles),
            false => finish(&world, handles),
        }
    })
}

/// Rings all bells now and then, since a thread may wait for a task that waits for a bell which the
/// same thread would ring. Each time a new thread rings. That thread may have to run the tasks it
/// wakes, and wait inside them for the next ring.
fn ring_until(done: &Gate, world: &World) {
    thread::scope(|scope| {
        while !done.wait_timeout(Duration::from_micros(200)) {
            scope.spawn(|| world.bells.ring_all());
        }
    });
}

fn perform(phases: &[Vec<Vec<Op>>], world: &Arc<World>, handles: &mut Handles, drop_handles: bool) {
    let threads = phases[0].len();
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        for index in 0..threads {
            let (barrier, mut handles) = (&barrier, handles.clone());
            scope.spawn(move || {
                for phase in phases {
                    barrier.wait();
                    for op in &phase[index] {
                        world.perform(op, &mut handles);
                    }
                }
            });
        }
        if drop_handles {
            handles.iter_mut().for_each(|handle| *handle = None);
        }
    });
}

/// Waits until no task is queued or running anywhere, and no continuation waits for its first task.
fn quiesce(world: &World, handles: &Handles) {
    let sums = || {
        let all = handles.iter().flatten().map(Resource::stats);
        all.fold((0, 0), |(outstanding, tried), s| {
            (
                outstanding + s.outstanding,
                tried + s.submitted + s.rejected,
            )
        })
    };
    // A task of one resource may submit to a resource whose sum was read before. No task may
    // therefore have been submitted between two readings.
    wait_until("nothing is queued or running", || {
        // From here on no task waits for a bell. A task that waits for nothing is given up.
        world.bells.open();
        let before = sums();
        let closures = world.ledgers.iter().any(|ledger| ledger.has_closures());
        before.0 == 0 && !closures && sums() == before
    });
}

/// Ends a program: closes the resources that are left, and drops their handles.
pub(crate) fn finish(world: &World, handles: Handles) -> Result<(), String> {
    quiesce(world, &handles);
    let mut all_stats = Vec::new();
    for ((r, ledger), setup) in handles.iter().zip(&world.ledgers).zip(&world.setups) {
        all_stats.push(r.as_ref().map(|r| {
            audit_room(r, ledger, setup.capacity);
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
    audit(world, &all_stats)
}

/// No task is queued, so the whole capacity must be free.
fn audit_room(r: &Resource<Value>, ledger: &Ledger, capacity: Option<usize>) {
    let Some(capacity) = capacity else { return };
    if r.is_poisoned() && r.clear_poison(Value::healed).is_err() {
        ledger.fault("at rest, and not to be healed".to_owned());
    }
    if r.is_closed() {
        return;
    }
    let mut permits = Vec::new();
    // The thread that expires a task counts it first, and then returns its room.
    wait_until("all room is free again", || {
        permits.extend(r.try_reserve());
        permits.len() >= capacity
    });
    if r.try_reserve().is_ok() {
        ledger.fault(format!("room for more than {capacity}"));
    }
}

/// Ends a program: takes the values out, whatever is queued by then.
fn take_out(world: &World, handles: Handles) -> Result<(), String> {
    let close = |(r, ledger): (&Option<Resource<Value>>, &Arc<Ledger>)| {
        let r = r.clone()?;
        Some((ledger.closing(|| r.clone().into_inner()), r))
    };
    // Closes while tasks wait. `into_inner` waits for these tasks.
    let closed: Vec<_> = handles.iter().zip(&world.ledgers).map(close).collect();
    world.bells.open();
    for (closed, ledger) in closed.into_iter().zip(&world.ledgers) {
        let Some((value, r)) = closed else { continue };
        match value.wait() {
            Ok(value) => drop(value),
            Err(error) => ledger.fault(format!("no value came back: {error}")),
        }
        if !matches!(r.into_inner().wait(), Err(TaskError::Closed)) {
            ledger.fault("the value came back twice".to_owned());
        }
    }
    quiesce(world, &handles);
    let stats = |r: &Option<Resource<Value>>| r.as_ref().map(Resource::stats);
    let all_stats: Vec<_> = handles.iter().map(stats).collect();
    drop(handles);
    audit(world, &all_stats)
}

/// Checks all ledgers, with the statistics of the resources whose handles were kept.
fn audit(world: &World, all_stats: &[Option<ResourceStats>]) -> Result<(), String> {
    for ledger in &world.ledgers {
        // Tasks may still hold the value, and so may jobs that are no longer needed.
        wait_until("the value is dropped", || ledger.value_is_gone());
    }
    // Only after the values are dropped, since tasks keep completions too.
    world.settle();
    for (ledger, stats) in world.ledgers.iter().zip(all_stats) {
        ledger.audit(stats.as_ref())?;
    }
    Ok(())
}
