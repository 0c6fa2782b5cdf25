#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Completions, the future of a task: polled, awaited, waited for, moved, forgotten.

mod common;

use captor::{Completion, Dispatch, Resource, TaskError};
use common::{
    CountingWaker, Drops, hold, hold_running, join, outcome, wait_until, within_deadline,
};
use futures::executor::block_on;
use futures::future::{self, Either};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

fn poll<R>(task: &mut Completion<R>, waker: &Arc<CountingWaker>) -> Poll<Result<R, TaskError>> {
    let waker = waker.waker();
    Pin::new(task).poll(&mut Context::from_waker(&waker))
}

#[test]
fn completion_is_ready_when_task_ran_inline() {
    let r = Resource::new(1);
    let count = CountingWaker::new();
    let mut task = r.submit(|n| *n);
    assert_eq!(poll(&mut task, &count), Poll::Ready(Ok(1)));
    assert_eq!(count.wakes(), 0);
    // The completion was ready, so the waker was not stored.
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn completion_resolves_without_runtime() {
    let r = Resource::new(20);
    assert_eq!(block_on(r.submit(|n| *n + 1)), Ok(21));
    let held = hold(&r);
    let task = r.submit(|n| *n + 2);
    let gate = held.gate();
    let opener = thread::spawn(move || gate.open());
    assert_eq!(block_on(task), Ok(22));
    join(opener).unwrap();
    held.release();
}

#[test]
fn completions_resolve_in_both_tokio_runtimes() {
    within_deadline(|| {
        let one = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let many = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        for runtime in [one, many] {
            let r = Resource::new(0_u64);
            runtime.block_on(async {
                let tasks: Vec<_> = (0..100)
                    .map(|_| {
                        let r = r.clone();
                        tokio::spawn(async move {
                            for _ in 0..100 {
                                r.submit(|n| *n += 1).await.unwrap();
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert_eq!(r.with(|n| *n), Ok(10_000));
        }
    });
}

#[test]
fn completion_wakes_its_waker_once() {
    let r = Resource::new(1);
    let held = hold(&r);
    let count = CountingWaker::new();
    let mut task = r.submit(|n| *n);
    for _ in 0..3 {
        assert!(poll(&mut task, &count).is_pending());
    }
    assert_eq!(count.wakes(), 0);
    held.release();
    wait_until("the waker is called", || count.wakes() > 0);
    assert_eq!(poll(&mut task, &count), Poll::Ready(Ok(1)));
    assert_eq!(count.wakes(), 1);
}

#[test]
fn same_waker_is_stored_once_when_repolled() {
    let r = Resource::new(());
    let held = hold(&r);
    let count = CountingWaker::new();
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    let mut task = r.submit(|_| ());
    for _ in 0..5 {
        assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
    }
    // The references are `count`, `waker`, and the clone in the task.
    assert_eq!(Arc::strong_count(&count), 3);
    held.release();
    assert_eq!(outcome(task), Ok(()));
    assert_eq!(Arc::strong_count(&count), 2);
}

#[test]
fn only_last_waker_is_woken_when_two_poll() {
    let r = Resource::new(1);
    let held = hold(&r);
    let (first, second) = (CountingWaker::new(), CountingWaker::new());
    let mut task = r.submit(|n| *n);
    assert!(poll(&mut task, &first).is_pending());
    assert!(poll(&mut task, &second).is_pending());
    assert!(poll(&mut task, &first).is_pending());
    assert!(poll(&mut task, &second).is_pending());
    assert_eq!(Arc::strong_count(&first), 1, "the replaced waker is gone");
    held.release();
    wait_until("the waker is called", || second.wakes() > 0);
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert_eq!(poll(&mut task, &first), Poll::Ready(Ok(1)));
}

#[test]
fn poller_is_woken_when_waker_is_replaced() {
    // The poller is woken, whichever waker is in place.
    within_deadline(|| {
        let r = Resource::new(0_u64);
        for round in 0..150_u64 {
            let held = hold(&r);
            let mut task = r.submit(|n| {
                *n += 1;
                *n
            });
            let gate = held.gate();
            gate.open();
            let mut wakers = Vec::new();
            let result = loop {
                let waker = CountingWaker::new();
                match poll(&mut task, &waker) {
                    Poll::Ready(result) => break result,
                    Poll::Pending => wakers.push(waker),
                }
                if wakers.len() == 50 {
                    let last = wakers.last().unwrap();
                    wait_until("the last waker is woken", || last.wakes() == 1);
                }
            };
            assert_eq!(result, Ok(round + 1));
            let woken: Vec<_> = wakers.iter().map(|w| w.wakes()).collect();
            assert!(woken.iter().sum::<usize>() <= 1, "{woken:?}");
            held.release();
        }
    });
}

#[test]
fn wait_returns_outcome_after_poll() {
    let r = Resource::new(1);
    let held = hold(&r);
    let count = CountingWaker::new();
    let mut task = r.submit(|n| *n);
    assert!(poll(&mut task, &count).is_pending());
    let waiter = thread::spawn(move || task.wait());
    held.release();
    assert_eq!(join(waiter).unwrap(), Ok(1));
}

#[test]
fn poll_returns_outcome_after_wait_timeout() {
    let r = Resource::new(1);
    let held = hold(&r);
    let task = r.submit(|n| *n);
    let mut task = task.wait_timeout(Duration::from_millis(1)).unwrap_err();
    let count = CountingWaker::new();
    assert!(poll(&mut task, &count).is_pending());
    held.release();
    wait_until("the waker is called", || count.wakes() == 1);
    assert_eq!(poll(&mut task, &count), Poll::Ready(Ok(1)));
}

#[test]
fn pending_completion_moves_between_threads() {
    let r = Resource::new(5);
    let held = hold(&r);
    let count = CountingWaker::new();
    let mut task = r.submit(|n| *n);
    assert!(poll(&mut task, &count).is_pending());
    let elsewhere = thread::spawn(move || block_on(task));
    held.release();
    assert_eq!(join(elsewhere).unwrap(), Ok(5));
}

#[test]
fn wait_timeout_returns_in_time() {
    let r = Resource::new(1);
    let held = hold(&r);
    let begin = Instant::now();
    let mut task = r.submit(|n| *n);
    for timeout in [Duration::ZERO, Duration::from_millis(20)] {
        task = task.wait_timeout(timeout).unwrap_err();
        assert!(!task.is_finished());
    }
    assert!(begin.elapsed() >= Duration::from_millis(20));
    held.release();
    assert_eq!(outcome(task), Ok(1));
    let inline = r.submit(|n| *n).wait_timeout(Duration::ZERO);
    assert_eq!(inline.unwrap(), Ok(1));
}

#[test]
fn wait_timeout_accepts_duration_max() {
    let r = Resource::new(1);
    let held = hold(&r);
    let task = r.submit(|n| *n);
    let waiter = thread::spawn(move || task.wait_timeout(Duration::MAX));
    held.release();
    assert_eq!(join(waiter).unwrap().unwrap(), Ok(1));
}

#[test]
fn outcome_is_kept_when_wait_timeout_races() {
    within_deadline(|| {
        let r = Resource::new(0_u64);
        for round in 0..150_u64 {
            let held = hold(&r);
            let mut task = r.submit(|n| {
                *n += 1;
                *n
            });
            held.gate().open();
            let result = loop {
                match task.wait_timeout(Duration::from_micros(5)) {
                    Ok(result) => break result,
                    Err(late) => task = late,
                }
            };
            assert_eq!(result, Ok(round + 1));
        }
    });
}

#[test]
fn select_returns_finished_completion_first() {
    let (a, b) = (Resource::new("a"), Resource::new("b"));
    let held = hold(&a);
    let slow = a.submit(|s| *s);
    let quick = b.submit(|s| *s);
    match block_on(future::select(slow, quick)) {
        Either::Right((Ok("b"), slow)) => {
            held.release();
            assert_eq!(block_on(slow), Ok("a"));
        }
        _ => panic!("`a` is held, so `b` should finish first"),
    }
}

#[test]
fn try_join_all_collects_all_outcomes() {
    let r = Resource::new(0);
    let held = hold(&r);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            r.submit(|n| {
                *n += 1;
                *n
            })
        })
        .collect();
    let gate = held.gate();
    let opener = thread::spawn(move || gate.open());
    let all: Result<Vec<i32>, _> = block_on(future::try_join_all(tasks));
    assert_eq!(all, Ok((1..=50).collect()));
    join(opener).unwrap();
    held.release();
}

#[test]
fn poll_and_wait_panic_after_ready() {
    let r = Resource::new(1);
    let count = CountingWaker::new();
    let mut inline = r.submit(|n| *n);
    assert!(poll(&mut inline, &count).is_ready());
    let held = hold(&r);
    let mut queued = r.submit(|n| *n);
    held.release();
    wait_until("the task has run", || poll(&mut queued, &count).is_ready());
    for mut task in [inline, queued] {
        assert!(task.is_finished());
        assert!(!task.cancel());
        let again = catch_unwind(AssertUnwindSafe(|| poll(&mut task, &count)));
        assert!(again.is_err());
        let waited = catch_unwind(AssertUnwindSafe(|| task.wait()));
        assert!(waited.is_err());
    }
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn task_runs_when_completion_is_forgotten() {
    let drops = Drops::new();
    let r = Resource::new(0);
    let held = hold(&r);
    let tag = drops.counted();
    let count = CountingWaker::new();
    let mut task = r.submit(move |n| {
        drop(tag);
        *n += 1;
    });
    assert!(poll(&mut task, &count).is_pending());
    std::mem::forget(task);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
    assert_eq!((drops.count(), count.wakes()), (1, 1));
}

#[test]
fn dropping_queued_completion_drops_waker_first() {
    let drops = Drops::new();
    let r = Resource::new(());
    let held = hold(&r);
    let count = CountingWaker::new();
    let made = drops.clone();
    let mut task = r.submit(move |_| made.counted());
    assert!(poll(&mut task, &count).is_pending());
    drop(task);
    assert_eq!(Arc::strong_count(&count), 1);
    assert_eq!(drops.count(), 0);
    held.release();
    wait_until("the result is dropped", || drops.count() == 1);
    assert_eq!(count.wakes(), 0);
}

#[test]
fn dropping_finished_completion_drops_result() {
    let drops = Drops::new();
    let r = Resource::new(());
    let made = drops.clone();
    drop(r.submit(move |_| made.counted()));
    assert_eq!(drops.count(), 1);
    let held = hold(&r);
    let made = drops.clone();
    let task = r.submit(move |_| made.counted());
    held.release();
    wait_until("the task has run", || task.is_finished());
    assert_eq!(drops.count(), 1);
    drop(task);
    assert_eq!(drops.count(), 2);
}

#[test]
fn result_is_dropped_when_drop_races_finish() {
    within_deadline(|| {
        let r = Resource::new(());
        for round in 1..=150 {
            let drops = Drops::new();
            let held = hold(&r);
            let count = CountingWaker::new();
            let made = drops.clone();
            let mut task = r.submit(move |_| made.counted());
            if round % 2 == 0 {
                assert!(poll(&mut task, &count).is_pending());
            }
            held.gate().open();
            drop(task);
            held.release();
            wait_until("the result is dropped", || drops.count() == 1);
            wait_until("the waker is dropped", || Arc::strong_count(&count) == 1);
        }
    });
}

#[test]
fn completion_outlives_its_resource() {
    let r = Resource::new(String::from("kept"));
    let held = hold(&r);
    let task = r.submit(|s| s.clone());
    drop(r);
    held.release();
    assert_eq!(outcome(task).as_deref(), Ok("kept"));
}

#[test]
fn outcome_is_there_when_waker_is_called() {
    // `block_on` polls when its waker is called. An outcome stored later would never be seen.
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(3)
        .unwrap();
    let (gate, task) = hold_running(&r, |n| *n);
    let waiting = thread::spawn(move || block_on(task));
    gate.open();
    assert_eq!(join(waiting).unwrap(), Ok(3));
}

#[test]
fn is_finished_stays_true() {
    let r = Resource::new(());
    let held = hold(&r);
    let task = r.submit(|_| ());
    assert!(!task.is_finished());
    held.release();
    wait_until("the task has run", || task.is_finished());
    assert!(task.is_finished());
    assert_eq!(task.wait(), Ok(()));
}
