#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Closing: accepted tasks run, later tasks are refused, and no task falls between the two (G4).

mod common;

use captor::{Dispatch, Resource, Scheduler, SubmitError, TaskError, TrySubmitError};
use common::{CountingWaker, Drops, Gate, hold, join, outcome, wait_until, within_deadline};
use futures::executor::block_on;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Context;
use std::thread;
use std::time::Duration;

#[test]
fn close_refuses_submissions_when_idle() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(1).unwrap();
        assert!(!r.is_closed());
        r.close();
        assert!(r.is_closed());
        assert_eq!(r.with(|n| *n), Err(TaskError::Closed));
        assert_eq!(r.submit(|n| *n).wait(), Err(TaskError::Closed));
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Closed));
        let back = r.try_submit(|n| *n).unwrap_err();
        assert_eq!(SubmitError::from(back), SubmitError::Closed);
        assert_eq!(r.stats().rejected, 4);
        assert_eq!(r.stats().submitted, 0);
        r.close();
        assert!(r.wait_closed(Duration::ZERO));
    }
}

#[test]
fn close_runs_accepted_tasks_when_busy() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder()
            .dispatch(dispatch)
            .build(Vec::new())
            .unwrap();
        let held = hold(&r);
        let tasks: Vec<_> = (0..30)
            .map(|n| {
                r.submit(move |v: &mut Vec<i32>| {
                    v.push(n);
                    v.len()
                })
            })
            .collect();
        r.close();
        assert!(r.is_closed());
        assert!(!r.wait_closed(Duration::ZERO), "tasks are left");
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Closed));
        held.release();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(outcome(task), Ok(n + 1));
        }
        assert!(r.wait_closed(common::DEADLINE));
    }
}

#[test]
fn close_in_own_task_runs_queued_tasks() {
    let r = Resource::new(0);
    let (running, go) = (Gate::new(), Gate::new());
    let closer = {
        let (outer, inner) = (r.clone(), r.clone());
        let (running, go) = (running.clone(), go.clone());
        thread::spawn(move || {
            outer.with(move |n| {
                running.open();
                go.wait();
                inner.close();
                *n += 1;
                (
                    inner.execute(|_| ()),
                    // Would wait for the calling task, so returns `false`.
                    inner.wait_closed(Duration::MAX),
                )
            })
        })
    };
    running.wait();
    let queued = r.submit(|n| {
        *n += 1;
        *n
    });
    go.open();
    let inside = join(closer).unwrap();
    assert_eq!(inside, Ok((Err(SubmitError::Closed), false)));
    assert_eq!(outcome(queued), Ok(2));
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn close_in_queued_task_spares_tasks_behind() {
    let r = Resource::new(());
    let held = hold(&r);
    let inner = r.clone();
    let closer = r.submit(move |_| inner.close());
    let behind = r.submit(|_| 5);
    held.release();
    assert_eq!(outcome(closer), Ok(()));
    assert_eq!(outcome(behind), Ok(5));
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn wait_closed_returns_false_in_own_task() {
    within_deadline(|| {
        let r = Resource::new(());
        let held = hold(&r);
        let inner = r.clone();
        let asks = r.submit(move |_| inner.wait_closed(Duration::MAX));
        r.close();
        held.release();
        assert_eq!(outcome(asks), Ok(false));
        assert!(r.wait_closed(Duration::MAX));
    });
}

#[test]
fn wait_closed_times_out_when_open_or_busy() {
    let r = Resource::new(());
    assert!(!r.wait_closed(Duration::ZERO));
    assert!(!r.wait_closed(Duration::from_millis(5)));
    let held = hold(&r);
    r.close();
    assert!(!r.wait_closed(Duration::from_millis(5)));
    held.release();
    assert!(r.wait_closed(Duration::ZERO));
}

#[test]
fn close_wakes_every_thread_in_wait_closed() {
    let r = Resource::new(());
    let held = hold(&r);
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let r = r.clone();
            thread::spawn(move || r.wait_closed(Duration::MAX))
        })
        .collect();
    r.close();
    held.release();
    for waiter in waiters {
        assert!(join(waiter).unwrap());
    }
}

#[test]
fn closed_resolves_after_last_task() {
    let r = Resource::new(());
    let count = CountingWaker::new();
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    let mut closed = r.closed();
    assert!(Pin::new(&mut closed).poll(&mut cx).is_pending());
    let held = hold(&r);
    r.close();
    assert!(Pin::new(&mut closed).poll(&mut cx).is_pending());
    held.release();
    wait_until("the waker is called", || count.wakes() >= 1);
    assert!(Pin::new(&mut closed).poll(&mut cx).is_ready());
    block_on(r.closed());
}

#[test]
fn close_wakes_closed_futures_except_dropped() {
    let r = Resource::new(());
    let counts: Vec<_> = (0..4).map(|_| CountingWaker::new()).collect();
    let mut futures: Vec<_> = counts
        .iter()
        .map(|count| {
            let mut closed = r.closed();
            let waker = count.waker();
            let polled = Pin::new(&mut closed).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            closed
        })
        .collect();
    drop(futures.remove(1));
    assert_eq!(Arc::strong_count(&counts[1]), 1, "the waker is gone");
    r.close();
    let wakes: Vec<_> = counts.iter().map(|count| count.wakes()).collect();
    assert_eq!(wakes, [1, 0, 1, 1]);
    for closed in futures {
        block_on(closed);
    }
}

#[test]
fn closed_is_ready_when_polled_after_close() {
    let r = Resource::new(());
    let closed = r.closed();
    r.close();
    block_on(closed);
}

#[test]
fn closed_future_keeps_value_alive() {
    let drops = Drops::new();
    let r = Resource::new(drops.counted());
    let closed = r.closed();
    r.close();
    drop(r);
    assert_eq!(drops.count(), 0);
    drop(closed);
    assert_eq!(drops.count(), 1);
}

#[test]
fn wait_closed_sees_writes_of_last_task() {
    let r = Resource::new(());
    for _ in 0..80 {
        let (r2, written) = (Resource::new(()), Arc::new(AtomicU64::new(0)));
        let held = hold(&r2);
        for _ in 0..3 {
            let written = written.clone();
            r2.execute(move |_| {
                written.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
        }
        r2.close();
        let gate = held.gate();
        gate.open();
        assert!(r2.wait_closed(common::DEADLINE));
        assert_eq!(written.load(Ordering::Relaxed), 3);
        held.release();
    }
    drop(r);
}

#[test]
fn close_completes_when_queue_is_cancelled() {
    let r = Resource::new(());
    let held = hold(&r);
    let tasks: Vec<_> = (0..5).map(|_| r.submit(|_| ())).collect();
    r.close();
    assert!(tasks[0].cancel());
    assert_eq!(r.cancel_pending(), 4);
    held.release();
    assert!(r.wait_closed(common::DEADLINE));
    for task in tasks {
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
    }
}

#[test]
fn two_threads_may_close_at_once() {
    within_deadline(|| {
        for _ in 0..80 {
            let r = Resource::new(());
            let held = hold(&r);
            let both = Barrier::new(3);
            thread::scope(|s| {
                for _ in 0..2 {
                    s.spawn(|| {
                        both.wait();
                        r.close();
                        assert!(r.is_closed());
                        assert!(r.wait_closed(Duration::MAX));
                    });
                }
                both.wait();
                held.gate().open();
            });
            held.release();
        }
    });
}

#[test]
fn task_runs_or_is_refused_during_close() {
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            for round in 0..30_u64 {
                let r = Resource::builder()
                    .dispatch(dispatch)
                    .capture_limit(2)
                    .build(())
                    .unwrap();
                let ran = Arc::new(AtomicU64::new(0));
                let drops = Drops::new();
                let start = Barrier::new(4);
                let (accepted, refused) = thread::scope(|s| {
                    let submitters: Vec<_> = (0..3)
                        .map(|_| s.spawn(|| submit_all(&r, &ran, &drops, &start)))
                        .collect();
                    start.wait();
                    wait_until("enough tasks have run", || {
                        ran.load(Ordering::SeqCst) > round
                    });
                    r.close();
                    assert!(r.wait_closed(common::DEADLINE));
                    let at_end = ran.load(Ordering::SeqCst);
                    let sums = submitters
                        .into_iter()
                        .map(|s| s.join().unwrap())
                        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                    assert_eq!(sums.0, at_end, "a task ran after wait_closed returned");
                    sums
                });
                assert_eq!(accepted + refused, 3 * EACH);
                assert_eq!(ran.load(Ordering::SeqCst), accepted);
                assert_eq!(drops.count() as u64, 3 * EACH, "closures");
                let stats = r.stats();
                assert_eq!((stats.submitted, stats.rejected), (accepted, refused));
                assert_eq!(stats.completed, accepted);
            }
        }
    });
}

const EACH: u64 = 200;

/// Submits in all four ways; returns how many tasks were accepted and refused.
fn submit_all(
    r: &Resource<()>,
    ran: &Arc<AtomicU64>,
    drops: &Drops,
    start: &Barrier,
) -> (u64, u64) {
    let mut pending = Vec::new();
    let mut accepted = 0;
    start.wait();
    for n in 0..EACH {
        let (ran, tag) = (ran.clone(), drops.counted());
        let task = move |_: &mut ()| {
            let _tag = tag;
            ran.fetch_add(1, Ordering::SeqCst);
        };
        match n % 4 {
            0 => pending.push(r.submit(task)),
            1 => match r.try_submit(task) {
                Ok(done) => pending.push(done),
                Err(TrySubmitError::Closed(_)) => {}
                Err(other) => panic!("{other:?}"),
            },
            2 => match r.execute(task) {
                Ok(()) => accepted += 1,
                Err(error) => assert_eq!(error, SubmitError::Closed),
            },
            _ => match r.with(task) {
                Ok(()) => accepted += 1,
                Err(error) => assert_eq!(error, TaskError::Closed),
            },
        }
    }
    for task in pending {
        match outcome(task) {
            Ok(()) => accepted += 1,
            Err(error) => assert_eq!(error, TaskError::Closed),
        }
    }
    (accepted, EACH - accepted)
}

#[test]
fn close_waits_for_handed_off_queue() {
    let (send, jobs) = std::sync::mpsc::channel();
    let scheduler = Scheduler::builder()
        .capture_limit(1)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = scheduler.resource(0);
    let held = hold(&r);
    r.execute(|n| *n += 1).unwrap();
    held.release();
    // The queue is on offer: no thread holds the resource now.
    r.close();
    assert!(!r.wait_closed(Duration::ZERO));
    assert_eq!(r.execute(|_| ()), Err(SubmitError::Closed));
    for job in jobs.try_iter() {
        job.run();
    }
    assert!(r.wait_closed(Duration::ZERO));
    assert_eq!(r.stats().completed, 2);
}
