#![cfg(not(any(captor_loom, captor_shuttle)))]
//! `Dispatch::Pool`: tasks never run on a caller, and workers may wait for each other.

mod common;

use captor::{Resource, Scheduler};
use common::{Gate, Sleepers, hold, join, outcome, pooled, within_deadline};
use std::thread::{self, ThreadId};
use std::time::Duration;

fn one_worker() -> Scheduler {
    Scheduler::builder()
        .workers(1)
        .thread_name("pool")
        .build()
        .unwrap()
}

fn on_worker() -> bool {
    thread::current()
        .name()
        .is_some_and(|n| n.starts_with("pool-"))
}

#[test]
fn pooled_task_never_runs_on_caller() {
    let scheduler = one_worker();
    let r = pooled(&scheduler, Vec::<ThreadId>::new());
    for _ in 0..50 {
        assert_eq!(r.with(|_| on_worker()), Ok(true));
        assert_eq!(r.submit(|_| on_worker()).wait(), Ok(true));
        assert_eq!(outcome(r.try_submit(|_| on_worker()).unwrap()), Ok(true));
        r.execute(|v| v.push(thread::current().id())).unwrap();
    }
    let me = thread::current().id();
    assert_eq!(r.with(|v| v.contains(&me)), Ok(false));
}

#[test]
fn pooled_task_never_runs_on_waiter() {
    // The worker hands no task to a thread parked in `with` or `wait`.
    within_deadline(|| {
        let scheduler = one_worker();
        let r = pooled(&scheduler, ());
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for n in 0..200 {
                        let there = if n % 2 == 0 {
                            r.with(|_| on_worker())
                        } else {
                            r.submit(|_| on_worker()).wait()
                        };
                        assert_eq!(there, Ok(true));
                    }
                });
            }
        });
    });
}

#[test]
fn pooled_task_never_runs_in_submitting_task() {
    let scheduler = one_worker();
    let r = pooled(&scheduler, ());
    let inner = r.clone();
    let nested = Resource::new(()).with(move |_| inner.submit(|_| on_worker()));
    assert_eq!(outcome(nested.unwrap()), Ok(true));
}

#[test]
fn pooled_task_may_take_lock_held_by_submitter() {
    // The task takes a lock that the submitter holds across `submit`.
    let scheduler = one_worker();
    let r = pooled(&scheduler, 0);
    let lock = std::sync::Arc::new(std::sync::Mutex::new(()));
    let guard = lock.lock().unwrap();
    let inside = lock.clone();
    let task = r.submit(move |n| {
        drop(inside.lock().unwrap());
        *n += 1;
    });
    drop(guard);
    assert_eq!(outcome(task), Ok(()));
}

#[test]
fn submit_returns_before_pooled_task_ends() {
    let scheduler = one_worker();
    let r = pooled(&scheduler, ());
    let gate = Gate::new();
    let go = gate.clone();
    let task = r.submit(move |_| go.wait());
    assert!(!task.is_finished());
    gate.open();
    assert_eq!(outcome(task), Ok(()));
}

#[test]
fn with_works_in_task_of_single_worker() {
    within_deadline(|| {
        let scheduler = one_worker();
        let (a, b) = (pooled(&scheduler, 1), pooled(&scheduler, 2));
        let b2 = b.clone();
        assert_eq!(a.with(move |x| b2.with(|y| *x + *y)), Ok(Ok(3)));
        let stats = scheduler.stats();
        assert_eq!(
            (stats.workers, stats.threads),
            (1, 2),
            "one thread stood in"
        );
    });
}

#[test]
fn wait_works_in_task_of_single_worker() {
    within_deadline(|| {
        let scheduler = one_worker();
        let (a, b) = (pooled(&scheduler, 1), pooled(&scheduler, 2));
        for _ in 0..100 {
            let b2 = b.clone();
            let sum = a.submit(move |x| b2.submit(|y| *y).wait().map(|y| *x + y));
            assert_eq!(outcome(sum), Ok(Ok(3)));
            let b2 = b.clone();
            let sum = a.submit(move |x| outcome(b2.submit(|y| *y)).map(|y| *x + y));
            assert_eq!(outcome(sum), Ok(Ok(3)));
        }
    });
}

#[test]
fn wait_closed_works_in_task_of_single_worker() {
    within_deadline(|| {
        let scheduler = one_worker();
        let (a, b) = (pooled(&scheduler, ()), pooled(&scheduler, ()));
        let b2 = b.clone();
        let ended = a.submit(move |_| {
            b2.execute(|_| ()).unwrap();
            b2.close();
            b2.wait_closed(common::DEADLINE)
        });
        assert_eq!(outcome(ended), Ok(true));
    });
}

#[test]
fn chain_of_100_waits_ends_on_single_worker() {
    within_deadline(|| {
        let scheduler = one_worker();
        let all: Vec<_> = (0..100_u64).map(|n| pooled(&scheduler, n)).collect();
        fn sum(all: &[Resource<u64>]) -> u64 {
            match all {
                [] => 0,
                [first, rest @ ..] => first.with(|n| *n + sum(rest)).unwrap(),
            }
        }
        for _ in 0..3 {
            assert_eq!(sum(&all), 4_950);
        }
    });
}

#[test]
fn stand_ins_leave_when_workers_unblock() {
    // After all waits, only one worker runs at a time again.
    within_deadline(|| {
        let scheduler = one_worker();
        let all: Vec<_> = (0..10).map(|_| pooled(&scheduler, ())).collect();
        for pair in all.windows(2) {
            let next = pair[1].clone();
            assert_eq!(pair[0].with(move |_| next.with(|_| ())), Ok(Ok(())));
        }
        // Two tasks can meet only if they run at once.
        let met = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks: Vec<_> = all
            .iter()
            .map(|r| {
                let met = met.clone();
                r.submit(move |_| {
                    use std::sync::atomic::Ordering::SeqCst;
                    let inside = met.fetch_add(1, SeqCst) + 1;
                    for _ in 0..50 {
                        thread::yield_now();
                    }
                    met.fetch_sub(1, SeqCst);
                    inside
                })
            })
            .collect();
        let most = tasks.into_iter().map(|t| outcome(t).unwrap()).max();
        assert_eq!(
            most,
            Some(1),
            "more tasks ran at once than there are workers"
        );
    });
}

#[test]
fn inline_and_pooled_resources_nest_both_ways() {
    within_deadline(|| {
        let scheduler = one_worker();
        let (inline, pool) = (scheduler.resource(1), pooled(&scheduler, 2));
        let (i, p) = (inline.clone(), pool.clone());
        assert_eq!(inline.with(move |x| p.with(|y| *x + *y)), Ok(Ok(3)));
        assert_eq!(pool.with(move |y| i.with(|x| *x + *y)), Ok(Ok(3)));
    });
}

#[test]
fn queued_pooled_tasks_run_in_order_on_worker() {
    let asleep = Sleepers::new();
    let scheduler = one_worker();
    let r = pooled(&scheduler, 0);
    let held = hold(&r);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            r.submit(|n| {
                *n += 1;
                (*n, on_worker())
            })
        })
        .collect();
    let waiter = {
        let (r, asleep) = (r.clone(), asleep.clone());
        thread::spawn(move || {
            asleep.here();
            r.with(|n| (*n, on_worker()))
        })
    };
    asleep.wait(&r, 22);
    held.release();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(outcome(task), Ok((n + 1, true)));
    }
    assert_eq!(join(waiter).unwrap(), Ok((20, true)));
}

#[test]
fn wait_timeout_ends_when_worker_is_busy() {
    let scheduler = one_worker();
    let (busy, r) = (pooled(&scheduler, ()), pooled(&scheduler, 3));
    let held = hold(&busy);
    let task = r.submit(|n| *n);
    let task = task.wait_timeout(Duration::from_millis(5)).unwrap_err();
    held.release();
    assert_eq!(outcome(task), Ok(3));
}

#[test]
fn inline_and_pooled_tasks_run_exactly_once() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(2).build().unwrap();
        let (a, b) = (scheduler.resource(0_u64), pooled(&scheduler, 0_u64));
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for _ in 0..1_000 {
                        let to = b.clone();
                        a.execute(move |n| {
                            *n += 1;
                            to.execute(|n| *n += 1).unwrap();
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(a.with(|n| *n), Ok(3_000));
        assert_eq!(b.with(|n| *n), Ok(3_000));
    });
}
