#![cfg(not(any(captor_loom, captor_shuttle)))]
//! `into_inner` returns the value after the queue has run.

mod common;

use captor::{Dispatch, HealError, PanicPolicy, Resource, TaskError};
use common::{CountingWaker, Drops, hold, wait_until, within_deadline};
use futures::executor::block_on;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;

#[test]
fn value_returns_immediately_when_idle() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let build = || Resource::builder().dispatch(dispatch).build(7).unwrap();
        assert_eq!(build().into_inner().wait(), Ok(7));
        assert_eq!(block_on(build().into_inner()), Ok(7));
    }
}

#[test]
fn value_is_dropped_exactly_once() {
    let drops = Drops::new();
    let r = Resource::new(drops.counted());
    let other = r.clone();
    let value = r.into_inner().wait().unwrap();
    drop(other);
    assert_eq!(drops.count(), 0);
    drop(value);
    assert_eq!(drops.count(), 1);

    drop(Resource::new(drops.counted()).into_inner());
    assert_eq!(drops.count(), 2, "the future drops the value");
}

#[test]
fn accepted_tasks_run_before_value_returns() {
    within_deadline(|| {
        let r = Resource::new(Vec::new());
        let held = hold(&r);
        for n in 0..100 {
            r.execute(move |v| v.push(n)).unwrap();
        }
        let value = r.clone().into_inner();
        assert!(r.is_closed(), "closed by the call");
        let waiter = thread::spawn(|| value.wait());
        held.release();
        assert_eq!(
            waiter.join().unwrap().unwrap(),
            (0..100).collect::<Vec<_>>()
        );
    });
}

#[test]
fn pending_future_is_woken_when_queue_drains() {
    within_deadline(|| {
        let r = Resource::new(1);
        let held = hold(&r);
        let waker = CountingWaker::new();
        let mut value = r.into_inner();
        let counted = waker.waker();
        let mut cx = Context::from_waker(&counted);
        assert!(Pin::new(&mut value).poll(&mut cx).is_pending());
        held.release();
        wait_until("the future is woken", || waker.wakes() > 0);
        assert_eq!(Pin::new(&mut value).poll(&mut cx), Poll::Ready(Ok(1)));
    });
}

#[test]
fn single_handle_gets_value_when_many_ask() {
    within_deadline(|| {
        for _ in 0..200 {
            let r = Resource::new(Box::new(5));
            let start = Arc::new(std::sync::Barrier::new(4));
            let threads: Vec<_> = (0..4)
                .map(|i| {
                    let (r, start) = (r.clone(), Arc::clone(&start));
                    thread::spawn(move || {
                        start.wait();
                        match i % 2 {
                            0 => r.into_inner().wait(),
                            _ => block_on(r.into_inner()),
                        }
                    })
                })
                .collect();
            let got: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            let values = got.iter().filter(|g| **g == Ok(Box::new(5))).count();
            let closed = got.iter().filter(|g| **g == Err(TaskError::Closed)).count();
            assert_eq!((values, closed), (1, 3));
        }
    });
}

#[test]
fn wait_inside_own_task_would_deadlock() {
    within_deadline(|| {
        let r = Resource::new(3);
        let handle = r.clone();
        let (send, receive) = mpsc::channel();
        let inside = r
            .with(move |_| {
                send.send(handle.clone().into_inner()).unwrap();
                handle.into_inner().wait()
            })
            .unwrap();
        assert_eq!(inside, Err(TaskError::WouldDeadlock));
        assert!(r.is_closed());
        assert_eq!(
            receive.recv().unwrap().wait(),
            Ok(3),
            "outside the task the wait ends"
        );
    });
}

#[test]
fn poisoned_value_is_taken_and_heal_then_fails() {
    let r = Resource::builder()
        .panic_policy(PanicPolicy::Poison)
        .build(1)
        .unwrap();
    assert!(r.with(|_| panic!("poison")).is_err());
    let other = r.clone();
    assert!(other.is_poisoned());
    assert_eq!(r.into_inner().wait(), Ok(1));
    let healed = other.clear_poison(|_| unreachable!("there is no value"));
    assert_eq!(healed, Err(HealError::NotPoisoned));
}
