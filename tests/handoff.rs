#![cfg(not(any(captor_loom, captor_shuttle)))]
//! The role passes from the holder to a waiter or to a worker (G7).

mod common;

use captor::{Dispatch, Job, Resource, Scheduler};
use common::{
    Gate, Sleepers, hold, join, outcome, pooled, wait_outstanding, wait_until, within_deadline,
};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// Returns a scheduler whose executor keeps its jobs, and the receiver of the jobs.
fn keeping(limit: usize) -> (Scheduler, mpsc::Receiver<Job>) {
    let (send, jobs) = mpsc::channel();
    let scheduler = Scheduler::builder()
        .capture_limit(limit)
        .capture_time(LONG)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    (scheduler, jobs)
}

#[test]
fn parked_waiter_takes_role_without_pool() {
    let (scheduler, jobs) = keeping(1);
    // The waiter may be awake when the holder hands off, and then takes the role without being
    // woken. Sooner or later the waiter sleeps in time.
    wait_until("a hand-off reaches a sleeping waiter", || {
        let asleep = Sleepers::new();
        let r = scheduler.resource(Vec::<ThreadId>::new());
        let held = hold(&r);
        r.execute(|v| v.push(thread::current().id())).unwrap();
        let waiter = {
            let (r, asleep) = (r.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                r.with(|v| (v.clone(), thread::current().id()))
            })
        };
        asleep.wait(&r, 3);
        held.release();
        let (ran_on, own) = join(waiter).unwrap().unwrap();
        assert_eq!(ran_on, [own]);
        assert_eq!(r.stats().handoffs, 1);
        jobs.try_iter().map(Job::run).count() == 0
    });
}

#[test]
fn waiter_hands_off_rest_after_own_task() {
    let asleep = Sleepers::new();
    let (scheduler, jobs) = keeping(3);
    let r = scheduler.resource(Vec::<ThreadId>::new());
    let held = hold(&r);
    // The holder runs two more tasks. The waiter runs the two tasks before its own, then its own.
    // These three tasks reach the limit, so the waiter runs nothing more.
    for _ in 0..4 {
        r.execute(|v| v.push(thread::current().id())).unwrap();
    }
    let waiter = {
        let (r, asleep) = (r.clone(), asleep.clone());
        thread::spawn(move || {
            asleep.here();
            r.with(|v| v.push(thread::current().id()))
        })
    };
    let waits = waiter.thread().id();
    asleep.wait(&r, 6);
    for _ in 0..4 {
        r.execute(|v| v.push(thread::current().id())).unwrap();
    }
    held.release();
    join(waiter).unwrap().unwrap();
    assert_eq!(r.stats().outstanding, 4);
    assert_eq!(jobs.try_iter().map(Job::run).count(), 1);
    let ran_on = r.with(|v| v.clone()).unwrap();
    assert_eq!(ran_on.len(), 9);
    assert_eq!(ran_on[2..5], [waits; 3]);
    assert!(!ran_on[5..].contains(&waits));
}

#[test]
fn completion_waiter_takes_role_at_handoff() {
    let (scheduler, jobs) = keeping(1);
    let r = scheduler.resource(());
    let held = hold(&r);
    let done = r.submit(|_| thread::current().id());
    let waiter = thread::spawn(move || (done.wait(), thread::current().id()));
    held.release();
    let (ran_on, own) = join(waiter).unwrap();
    assert_eq!(ran_on, Ok(own));
    drop(jobs);
}

#[test]
fn handoff_skips_waiter_with_timeout() {
    let (scheduler, jobs) = keeping(1);
    let r = scheduler.resource(());
    let held = hold(&r);
    r.execute(|_| ()).unwrap();
    let done = r.submit(|_| thread::current().id());
    let waiter = thread::spawn(move || (done.wait_timeout(LONG), thread::current().id()));
    held.release();
    // The role went to the executor: a waiter with a timeout would be away for an unknown time.
    jobs.recv_timeout(common::DEADLINE).unwrap().run();
    let (ran_on, own) = join(waiter).unwrap();
    let ran_on = ran_on.expect("an hour is enough").unwrap();
    assert_ne!(ran_on, own);
}

#[test]
fn cancel_of_waiter_during_handoff_loses_no_task() {
    // The holder offers the waiter the role at about the time the waiter's wait ends. In either
    // order, the remaining tasks must resolve.
    let r = Resource::builder().capture_limit(1).build(0).unwrap();
    for _ in 0..100 {
        let asleep = Sleepers::new();
        let held = hold(&r);
        let cancelled = r.submit(|n| *n += 1);
        let done = r.submit(|n| *n += 1);
        let waiter = {
            let (r, asleep) = (r.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                r.with(|n| *n += 1)
            })
        };
        asleep.wait(&r, 4);
        let gate = held.gate();
        let both = Arc::new(Barrier::new(2));
        let canceller = {
            let (r, both) = (r.clone(), both.clone());
            thread::spawn(move || {
                both.wait();
                r.cancel_pending();
            })
        };
        both.wait();
        gate.open();
        join(canceller).unwrap();
        held.release();
        // Each task ran or was cancelled, but resolved.
        let _ = (outcome(cancelled), outcome(done), join(waiter).unwrap());
        wait_until("no task is outstanding", || r.stats().outstanding == 0);
    }
}

#[test]
fn worker_drains_queue_when_no_job_waits() {
    let scheduler = Scheduler::builder()
        .workers(1)
        .capture_limit(1)
        .build()
        .unwrap();
    let r: Resource<Vec<ThreadId>> = scheduler.resource(Vec::new());
    let held = hold(&r);
    for _ in 0..1_000 {
        r.execute(|v| v.push(thread::current().id())).unwrap();
    }
    let all = r.submit(std::mem::take);
    held.release();
    let mut ran_on = Vec::new();
    wait_until("the queue is empty", || r.stats().outstanding == 0);
    ran_on.extend(outcome(all).unwrap());
    assert_eq!(ran_on.len(), 1_000);
    assert!(ran_on.iter().all(|id| *id == ran_on[0]), "one worker");
    assert_ne!(ran_on[0], thread::current().id());
    // The only hand-off is from the holder to the worker. No other resource waited, so the worker
    // kept the queue.
    assert_eq!(r.stats().handoffs, 1);
    assert_eq!(scheduler.stats().dispatched, 1);
}

#[test]
fn single_worker_drains_many_resources() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        let resources: Vec<_> = (0..200).map(|_| pooled(&scheduler, 0)).collect();
        for round in 0..10 {
            for r in &resources {
                r.execute(move |n| *n += round).unwrap();
            }
        }
        for r in &resources {
            assert_eq!(r.with(|n| *n), Ok(45));
        }
    });
}

#[test]
fn waiting_resource_runs_after_quantum() {
    // As many self-feeding resources as workers, and one resource that does not feed itself.
    for workers in [1, 2] {
        let scheduler = Scheduler::builder()
            .workers(workers)
            .quantum(Duration::from_millis(1))
            .build()
            .unwrap();
        let pooled = || pooled(&scheduler, 0_u64);
        let stop = Gate::new();
        let hungry: Vec<_> = (0..workers).map(|_| pooled()).collect();
        for r in &hungry {
            feed(r, &stop);
        }
        for r in &hungry {
            wait_until("the resource feeds itself", || r.stats().completed > 10);
        }
        let third = pooled();
        let fed_before: Vec<u64> = hungry.iter().map(|r| r.stats().completed).collect();
        assert_eq!(outcome(third.submit(|n| *n)), Ok(0));
        // The self-feeding resources continue afterwards.
        for (r, before) in hungry.iter().zip(fed_before) {
            wait_until("the resource runs another task", || {
                r.stats().completed > before
            });
            assert!(r.stats().handoffs >= 1 || workers > 1);
        }
        stop.open();
        for r in &hungry {
            wait_until("the resource stops feeding itself", || {
                r.stats().outstanding == 0
            });
        }
    }
}

#[test]
fn self_feeding_resources_share_a_worker() {
    // Four resources on one worker: each gets a turn again and again.
    let scheduler = Scheduler::builder()
        .workers(1)
        .quantum(Duration::from_millis(1))
        .build()
        .unwrap();
    let stop = Gate::new();
    let resources: Vec<_> = (0..4).map(|_| scheduler.resource(0_u64)).collect();
    for r in &resources {
        feed(r, &stop);
    }
    for _ in 0..5 {
        let before: Vec<u64> = resources.iter().map(|r| r.stats().completed).collect();
        for (r, before) in resources.iter().zip(before) {
            wait_until("each makes progress", || r.stats().completed > before);
        }
    }
    stop.open();
    for r in &resources {
        wait_until("the resource stops feeding itself", || {
            r.stats().outstanding == 0
        });
    }
}

fn feed(r: &Resource<u64>, stop: &Gate) {
    let (again, until) = (r.clone(), stop.clone());
    r.execute(move |n| {
        *n += 1;
        if !until.is_open() {
            feed(&again, &until);
        }
    })
    .unwrap();
}

#[test]
fn handoffs_make_progress_when_quantum_is_zero() {
    within_deadline(|| {
        let scheduler = Scheduler::builder()
            .workers(2)
            .quantum(Duration::ZERO)
            .capture_limit(1)
            .capture_time(Duration::ZERO)
            .build()
            .unwrap();
        // Only workers run the tasks of the pooled resources.
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            let build = |_| {
                let builder = Resource::builder().scheduler(&scheduler);
                builder.dispatch(dispatch).build(0_u64).unwrap()
            };
            let resources: Vec<_> = (0..3).map(build).collect();
            thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        for _ in 0..2_000 {
                            for r in &resources {
                                r.execute(|n| *n += 1).unwrap();
                            }
                        }
                    });
                }
            });
            for r in &resources {
                assert_eq!(outcome(r.submit(|n| *n)), Ok(6_000));
            }
        }
    });
}

#[test]
fn waiters_pass_role_when_executor_keeps_jobs() {
    within_deadline(|| {
        let (scheduler, jobs) = keeping(1);
        let r = scheduler.resource(0_u64);
        thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..500 {
                        r.with(|n| *n += 1).unwrap();
                    }
                });
            }
        });
        for job in jobs.try_iter() {
            job.run();
        }
        assert_eq!(r.with(|n| *n), Ok(4_000));
    });
}

/// A thread inside a task of `outer` waits for `inner`, receives the role of `inner`, and runs its
/// own task there. The task of `outer` still encloses that task.
#[test]
fn outer_task_stays_current_after_nested_handoff() {
    within_deadline(|| {
        let outer = Resource::new(());
        // No thread but the waiter runs what is handed off.
        let (scheduler, _jobs) = keeping(1);
        let inner = scheduler.resource(());
        let held = hold(&inner);
        let waiter = thread::spawn({
            let (outer, inner) = (outer.clone(), inner.clone());
            move || outer.with(|_| inner.with(|_| (outer.is_current(), thread::current().id())))
        });
        let id = waiter.thread().id();
        wait_outstanding(&inner, 2);
        held.release();
        assert_eq!(join(waiter).unwrap(), Ok(Ok((true, id))));
    });
}
