//! Programs on several threads, and what has to hold at their end.

use crate::common::{DEADLINE, wait_until};
use crate::program::Program;
use crate::world::{Handles, World};
use captor::{Dispatch, Job, Resource, Scheduler, TrySubmitError};
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
/// Waits until nothing is queued or running anywhere.
pub(crate) fn quiesce(handles: &Handles) {
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

pub(crate) fn run(program: Program) -> Result<(), String> {
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

pub(crate) fn finish(world: &Arc<World>, handles: Handles) -> Result<(), String> {
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
