//! Long chains of tasks that each wait for the next resource. There is no cycle, so no task may
//! hang, be refused, or run out of stack.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod common;

use captor::{Dispatch, Job, Resource, Scheduler};
use common::{Gate, hold, hold_running, outcome, pooled, wait_outstanding};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The longest time that a chain may take. A longer run counts as a hang.
const PATIENCE: Duration = Duration::from_secs(20);

type Links = Arc<Vec<Resource<usize>>>;

/// Returns the task of link `i`, which counts and then waits for the next link.
fn link(links: &Links, i: usize) -> impl FnOnce(&mut usize) + Send + use<> {
    let links = Arc::clone(links);
    move |n| {
        *n += 1;
        if let Some(next) = links.get(i + 1) {
            next.with(|n| *n += 1).unwrap();
        }
    }
}

/// Waits until every link has run, at most [`PATIENCE`]; returns how many tasks are left.
fn wait_until_all_ran(links: &Links) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = links.iter().map(|r| r.stats().outstanding).sum();
        if left == 0 || Instant::now() > deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns a scheduler whose only worker is busy until the gate opens.
fn busy_pool() -> (Scheduler, Gate) {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let (gate, _) = hold_running(&pooled(&scheduler, ()), |()| ());
    (scheduler, gate)
}

/// Every link is handed off to the pool before the pool runs the first link. Each waiter takes
/// over the next queue on offer, inside the wait before.
#[test]
fn chain_of_5000_waiters_fits_on_stack() {
    let (scheduler, gate) = busy_pool();
    let make = |_| {
        let builder = Resource::builder().scheduler(&scheduler).capture_limit(1);
        builder.build(0).unwrap()
    };
    let links: Links = Arc::new((0..5000).map(make).collect());
    for (i, r) in links.iter().enumerate() {
        // Submitted from inside a task it is queued, and then handed off.
        let (inside, work) = (r.clone(), link(&links, i));
        r.execute(move |_| inside.execute(work).unwrap()).unwrap();
    }
    gate.open();
    assert_eq!(wait_until_all_ran(&links), 0);
}

/// No waiter may take over a pooled resource: each link blocks a worker.
#[test]
fn chain_of_400_blocked_workers_does_not_hang() {
    let (scheduler, gate) = busy_pool();
    let make = |_| {
        let builder = Resource::builder().scheduler(&scheduler);
        builder.dispatch(Dispatch::Pool).build(0).unwrap()
    };
    let links: Links = Arc::new((0..400).map(make).collect());
    for (i, r) in links.iter().enumerate() {
        r.execute(link(&links, i)).unwrap();
    }
    gate.open();
    let left = wait_until_all_ran(&links);
    assert_eq!(left, 0, "{:?}", scheduler.stats());
}

/// The executor's only thread waits for a resource that is handed off to the same executor. Only
/// the waiter can run the queue.
#[test]
fn waiting_executor_thread_takes_over_queue() {
    for ahead in [5, 100] {
        let (send, receive) = mpsc::channel::<Job>();
        thread::spawn(move || receive.into_iter().for_each(Job::run));
        let scheduler = Scheduler::builder()
            .executor(move |job: Job| drop(send.send(job)))
            .build()
            .unwrap();
        let r = scheduler.resource(0_u64);
        let held = hold(&r);
        for _ in 0..ahead {
            r.execute(|n| *n += 1).unwrap();
        }
        let inner = r.clone();
        let on_executor = pooled(&scheduler, ());
        let waiting = on_executor.submit(move |()| inner.with(|n| *n));
        wait_outstanding(&r, ahead + 2);
        // Gives the waiter time to park. The result does not depend on that.
        thread::sleep(Duration::from_millis(20));
        held.release();
        let result = waiting.wait_timeout(PATIENCE);
        let result = result.unwrap_or_else(|_| panic!("a hang: {r:?} {:?}", r.stats()));
        assert_eq!(result.unwrap(), Ok(ahead));
        drop(outcome(r.submit(|_| ())));
    }
}
