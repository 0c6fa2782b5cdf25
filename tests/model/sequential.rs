//! Programs on one thread: the model predicts the outcome of every task.
//!
//! The executor only collects jobs. The jobs run after each operation, one after the other. A woken
//! task therefore continues then, in the order of the wake-ups.

use crate::common::DEADLINE;
use crate::ledger::Value;
use crate::program::{Op, Setup};
use crate::reference::Reference;
use crate::tame::tame;
use crate::threads::{finish, settings};
use crate::world::{Handles, World};
use captor::{Job, Resource, Scheduler};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The jobs that the executor was given.
#[derive(Clone, Default)]
struct Jobs(Arc<Mutex<VecDeque<Job>>>);

impl Jobs {
    fn scheduler(&self) -> Scheduler {
        let jobs = self.clone();
        let builder = Scheduler::builder().quantum(DEADLINE);
        let keep = move |job: Job| jobs.0.lock().unwrap().push_back(job);
        builder.executor(keep).build().unwrap()
    }

    /// Runs the jobs, and all jobs that they cause.
    fn run(&self) {
        loop {
            let next = self.0.lock().unwrap().pop_front();
            let Some(job) = next else { return };
            job.run();
        }
    }
}

pub(crate) fn run(setups: Vec<Setup>, ops: Vec<Op>) -> Result<(), String> {
    let ops = tame(ops, setups.len(), None);
    let mut model = Reference::new(&setups);
    let jobs = Jobs::default();
    let scheduler = jobs.scheduler();
    let patient = |setup: &Setup| settings(setup, &scheduler).capture_time(DEADLINE);
    let (world, mut handles) = World::new(setups, patient, true);
    for op in &ops {
        world.perform(op, &mut handles);
        model.perform(op);
        jobs.run();
        model.run_jobs();
        agree(&world, &handles, &model).map_err(|error| format!("after {op:?}: {error}"))?;
    }
    // A task that continues may keep wakers again.
    let mut turns = 0..1000;
    while turns.next().is_some() {
        world.bells.open();
        model.open();
        jobs.run();
        model.run_jobs();
        agree(&world, &handles, &model)?;
        if world.bells.keep_none() && !handles.iter().flatten().any(is_at_work) {
            break;
        }
    }
    finish(&world, handles)?;
    for (r, ledger) in world.ledgers.iter().enumerate() {
        let compared = model.compare(r, ledger);
        compared.map_err(|error| format!("resource {r}: {error}"))?;
    }
    match (world.deadlocks.load(SeqCst), model.deadlocks) {
        (ours, expected) if ours == expected => Ok(()),
        (ours, expected) => Err(format!("{ours} would deadlock, not {expected}")),
    }
}

fn is_at_work(r: &Resource<Value>) -> bool {
    r.stats().outstanding > 0
}

fn agree(world: &World, handles: &Handles, model: &Reference) -> Result<(), String> {
    for (index, r) in handles.iter().flatten().enumerate() {
        let ended = r.wait_closed(Duration::ZERO);
        let outstanding = r.stats().outstanding;
        let state = (r.is_closed(), ended, r.is_poisoned(), outstanding);
        let expected = model.state(index);
        if state != expected {
            return Err(format!("resource {index}: {state:?}, not {expected:?}"));
        }
        let closures = world.ledgers[index].closures();
        let expected = model.closures(index);
        if closures != expected {
            let what = format!("resource {index}: {closures} closures, not {expected}");
            return Err(what);
        }
    }
    Ok(())
}
