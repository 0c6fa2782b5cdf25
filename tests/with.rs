#![cfg(not(any(captor_loom, captor_shuttle)))]
//! The blocking call: its closure borrows, and the caller waits in the queue, runs tasks ahead of
//! its own, or is refused.

mod common;

use captor::{Resource, Scheduler, TaskError};
use common::{Drops, Gate, Sleepers, hold, join, panic_message, wait_outstanding, within_deadline};
use std::sync::mpsc;
use std::thread;

#[test]
fn with_closure_borrows_from_caller() {
    let r = Resource::new(vec![1, 2, 3]);
    let mut seen = 0;
    let limit = String::from("2");
    let above = r.with(|v| {
        seen = v.len();
        let limit: i32 = limit.parse().unwrap();
        v.iter().filter(|n| **n > limit).count()
    });
    assert_eq!((above, seen), (Ok(1), 3));
}

#[test]
fn with_waits_in_queue_when_busy() {
    let asleep = Sleepers::new();
    let r = Resource::new(Vec::new());
    let held = hold(&r);
    r.execute(|v| v.push(1)).unwrap();
    let word = String::from("borrowed");
    let length = thread::scope(|s| {
        let waiter = s.spawn(|| {
            asleep.here();
            r.with(|v| {
                v.push(2);
                word.len()
            })
        });
        // The holder's task, the queued task, and the waiter's task.
        asleep.wait(&r, 3);
        r.execute(|v| v.push(3)).unwrap();
        held.gate().open();
        waiter.join().unwrap()
    });
    assert_eq!(length, Ok(8));
    held.release();
    assert_eq!(r.with(|v| v.clone()), Ok(vec![1, 2, 3]));
}

#[test]
fn with_excludes_concurrent_threads() {
    within_deadline(|| {
        let r = Resource::new((0_u64, false));
        thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..5_000 {
                        r.with(|(n, inside)| {
                            assert!(!std::mem::replace(inside, true), "two tasks ran at once");
                            *n += 1;
                            *inside = false;
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(r.with(|(n, _)| *n), Ok(40_000));
    });
}

#[test]
fn waiter_runs_queue_when_executor_keeps_jobs() {
    // The executor keeps its jobs, so only the waiter can take the queue over. A holder looks for
    // waiters among the oldest 16 tasks only, so the test queues fewer.
    within_deadline(|| {
        let asleep = Sleepers::new();
        let (send, _jobs) = mpsc::channel();
        let scheduler = Scheduler::builder()
            .capture_limit(1)
            .executor(move |job| drop(send.send(job)))
            .build()
            .unwrap();
        let r = scheduler.resource(Vec::new());
        let held = hold(&r);
        for _ in 0..12 {
            r.execute(|v: &mut Vec<_>| v.push(thread::current().id()))
                .unwrap();
        }
        let waiter = {
            let (r, asleep) = (r.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                r.with(|v| (v.clone(), thread::current().id()))
            })
        };
        asleep.wait(&r, 14);
        held.release();
        let (ran_on, own) = join(waiter).unwrap().unwrap();
        assert_eq!(ran_on, [own].repeat(12));
    });
}

#[test]
fn nested_with_waits_for_second_resource() {
    let asleep = Sleepers::new();
    let (a, b) = (Resource::new(1), Resource::new(2));
    let held = hold(&b);
    thread::scope(|s| {
        let nested = s.spawn(|| {
            asleep.here();
            a.with(|x| b.with(|y| *x + *y))
        });
        asleep.wait(&b, 2);
        held.gate().open();
        assert_eq!(nested.join().unwrap(), Ok(Ok(3)));
    });
}

#[test]
fn panic_in_with_reaches_only_its_caller() {
    let asleep = Sleepers::new();
    let r = Resource::new(1);
    let error = r.with(|_| -> () { panic!("spilled {}", 3) });
    assert_eq!(panic_message(error), "spilled 3");
    let held = hold(&r);
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            asleep.here();
            r.with(|_| -> () { panic!("queued") })
        });
        asleep.wait(&r, 2);
        held.gate().open();
        assert_eq!(panic_message(waiter.join().unwrap()), "queued");
    });
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn refused_with_drops_closure() {
    let drops = Drops::new();
    let r = Resource::new(());
    let held = hold(&r);
    r.close();
    let tag = drops.counted();
    assert_eq!(r.with(move |_| drop(tag)), Err(TaskError::Closed));
    assert_eq!(drops.count(), 1);
    held.release();
    let tag = drops.counted();
    assert_eq!(r.with(move |_| drop(tag)), Err(TaskError::Closed));
    assert_eq!(drops.count(), 2);
}

#[test]
fn accepted_with_runs_after_close() {
    let asleep = Sleepers::new();
    let r = Resource::new(7);
    let held = hold(&r);
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            asleep.here();
            r.with(|n| *n)
        });
        asleep.wait(&r, 2);
        r.close();
        held.gate().open();
        assert_eq!(waiter.join().unwrap(), Ok(7));
    });
}

#[test]
fn line_of_waiters_resolves_without_deadlock() {
    // Each thread waits for the next thread's resource, in a line and not a ring.
    within_deadline(|| {
        let resources: Vec<_> = (0..6).map(Resource::new).collect();
        let last = hold(&resources[5]);
        let all_wait = Gate::new();
        thread::scope(|s| {
            let threads: Vec<_> = resources
                .windows(2)
                .map(|pair| {
                    let all_wait = all_wait.clone();
                    s.spawn(move || {
                        pair[0].with(|n| {
                            all_wait.wait();
                            pair[1].with(|m| *n + *m)
                        })
                    })
                })
                .collect();
            for r in &resources {
                wait_outstanding(r, 1);
            }
            all_wait.open();
            // Each resource is held by its own task, and the thread before waits for it.
            for r in &resources[1..] {
                wait_outstanding(r, 2);
            }
            last.gate().open();
            for (n, thread) in threads.into_iter().enumerate() {
                assert_eq!(thread.join().unwrap(), Ok(Ok(2 * n + 1)));
            }
        });
        last.release();
    });
}
