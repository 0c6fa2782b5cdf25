//! Programs on several threads, and what has to hold at their end.

use crate::common::{DEADLINE, wait_until};
use crate::ledger::{Ledger, Value};
use crate::program::{Program, Setup};
use crate::world::{Handles, World};
use captor::{
    Dispatch, Job, PanicPolicy, Resource, ResourceBuilder, ResourceStats, Scheduler, TaskError,
    TrySubmitError,
};
use std::sync::Barrier;
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
pub(crate) fn builder(setup: &Setup) -> ResourceBuilder {
    let dispatch = match setup.pooled {
        true => Dispatch::Pool,
        false => Dispatch::Inline,
    };
    let policy = match setup.poison {
        true => PanicPolicy::Poison,
        false => PanicPolicy::Continue,
    };
    let builder = Resource::builder()
        .scheduler(&scheduler(setup.scheduler))
        .capture_limit(setup.capture_limit)
        .dispatch(dispatch)
        .panic_policy(policy)
        .priorities(setup.levels.into());
    let capacity = setup.capacity.into_iter();
    capacity.fold(builder, ResourceBuilder::capacity)
}

pub(crate) fn run(program: Program) -> Result<(), String> {
    let (world, mut handles) = World::new(program.setups, builder, false);
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
    match program.take {
        true => take_out(&world, handles),
        false => finish(&world, handles),
    }
}

/// Waits until nothing is queued or running anywhere, or waits for a task to go
/// on with its result.
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
    // A task of one resource may submit to another that was looked at before:
    // so nothing may have been submitted between two looks.
    wait_until("nothing is queued or running", || {
        let before = sums();
        let closures = world.ledgers.iter().any(|ledger| ledger.has_closures());
        before.0 == 0 && !closures && sums() == before
    });
}

/// Ends a program: closes what is left, and lets go of it.
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

/// Nothing is queued: so there is room for as many tasks as there ever was.
fn audit_room(r: &Resource<Value>, ledger: &Ledger, capacity: Option<usize>) {
    let Some(capacity) = capacity else { return };
    if r.is_poisoned() && r.clear_poison(Value::healed).is_err() {
        ledger.fault("at rest, and not to be healed".to_owned());
    }
    if r.is_closed() {
        return;
    }
    let mut permits = Vec::new();
    // Who expires a task counts it first, and then gives its room back.
    wait_until("all room has come back", || {
        permits.extend(r.try_reserve());
        permits.len() >= capacity
    });
    if r.try_reserve().is_ok() {
        ledger.fault(format!("room for more than {capacity}"));
    }
}

/// Ends a program: takes the values out, whatever is queued by then.
fn take_out(world: &World, handles: Handles) -> Result<(), String> {
    for (r, ledger) in handles.iter().zip(&world.ledgers) {
        let Some(r) = r.clone() else { continue };
        match ledger.closing(|| r.clone().into_inner()).wait() {
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

/// Statistics are there where a handle was kept.
fn audit(world: &World, all_stats: &[Option<ResourceStats>]) -> Result<(), String> {
    for ledger in &world.ledgers {
        // Tasks hold on to it, and jobs that nobody needs any more.
        wait_until("the value is dropped", || ledger.value_is_gone());
    }
    // Only now, since tasks keep completions too.
    world.settle();
    for (ledger, stats) in world.ledgers.iter().zip(all_stats) {
        ledger.audit(stats.as_ref())?;
    }
    Ok(())
}
