#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Tasks that are queued when a future resolves.

mod common;

use captor::{Resource, Scheduler, TaskError};
use common::{DEADLINE, Drops, hold, outcome, panic_message, wait_until, within_deadline};
use futures::channel::oneshot;
use std::panic::resume_unwind;
use std::time::Duration;

#[test]
fn task_runs_immediately_when_future_is_ready() {
    let r = Resource::new(1);
    let task = r.submit_when(std::future::ready(2), |n, two| *n + two);
    assert!(task.is_finished());
    assert_eq!(task.wait(), Ok(3));
}

#[test]
fn resource_is_free_until_future_resolves() {
    let r = Resource::new(Vec::new());
    let (send, receive) = oneshot::channel();
    let task = r.submit_when(receive, |log, n: Result<u32, _>| log.push(n.unwrap()));
    assert_eq!(r.stats().outstanding, 0);
    r.execute(|log| log.push(1)).unwrap();
    let held = hold(&r);
    send.send(2).unwrap();
    r.execute(|log| log.push(3)).unwrap();
    assert!(!task.is_finished());
    held.release();
    assert_eq!(outcome(task), Ok(()));
    let mut log = r.into_inner().wait().unwrap();
    assert_eq!(log.remove(0), 1);
    log.sort();
    assert_eq!(log, [2, 3]);
}

#[test]
fn cancel_drops_closure_and_future() {
    let r = Resource::new(());
    let (send, receive) = oneshot::channel::<()>();
    let drops = Drops::new();
    let counted = drops.counted();
    let task = r.submit_when(receive, move |(), _| drop(counted));
    assert!(task.cancel());
    assert_eq!(drops.count(), 1);
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    wait_until("the future is dropped", || send.is_canceled());
    assert_eq!(r.stats().submitted, 0);
}

#[test]
fn task_runs_after_completion_is_dropped() {
    let r = Resource::new(0);
    let (send, receive) = oneshot::channel::<u32>();
    drop(r.submit_when(receive, |n, m| *n = m.unwrap()));
    send.send(7).unwrap();
    wait_until("the task ran", || r.with(|n| *n) == Ok(7));
}

#[test]
fn panic_in_future_or_closure_is_outcome() {
    let r = Resource::new(1);
    let task = r.submit_when(async { resume_unwind(Box::new("future")) }, |_, ()| ());
    assert_eq!(panic_message(outcome(task)), "future");
    let (send, receive) = oneshot::channel::<()>();
    let task = r.submit_when(receive, |_, _| -> () { resume_unwind(Box::new("task")) });
    send.send(()).unwrap();
    assert_eq!(panic_message(outcome(task)), "task");
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn pending_future_fails_when_resource_closes() {
    let r = Resource::new(1);
    let task = r.submit_when(std::future::pending::<()>(), |_, ()| ());
    r.close();
    assert_eq!(outcome(task), Err(TaskError::Closed));
}

#[test]
fn close_drops_future_and_refuses_new_future() {
    let r = Resource::new(1);
    let (send, receive) = oneshot::channel::<()>();
    let before = r.submit_when(receive, |_, _| ());
    r.close();
    assert!(
        r.wait_closed(DEADLINE),
        "the close does not wait for the future"
    );
    assert_eq!(outcome(before), Err(TaskError::Closed));
    wait_until("the future is dropped", || send.is_canceled());
    let after = r.submit_when(
        async { unreachable!("the future is not polled") },
        |_, ()| (),
    );
    assert_eq!(outcome(after), Err(TaskError::Closed));
}

#[test]
fn pending_future_does_not_block_shutdown() {
    within_deadline(|| {
        let s = Scheduler::builder().workers(1).build().unwrap();
        let r = s.resource(1);
        let (send, receive) = oneshot::channel::<()>();
        let task = r.submit_when(receive, |_, _| ());
        assert!(s.shutdown(DEADLINE));
        wait_until("the future is dropped", || send.is_canceled());
        assert_eq!(outcome(task), Err(TaskError::Closed));
    });
}

#[test]
fn future_is_polled_on_worker_when_pooled() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let r = common::pooled(&s, ());
    let here = std::thread::current().id();
    let polled = async move { std::thread::current().id() != here };
    assert_eq!(outcome(r.submit_when(polled, |(), there| there)), Ok(true));
    let job = r.submit_steps(async move |_| std::thread::current().id() != here);
    assert_eq!(outcome(job), Ok(true));
}

#[test]
fn pending_futures_need_no_thread() {
    let s = Scheduler::builder().workers(2).build().unwrap();
    let r = s.resource(0_u32);
    let (sends, tasks): (Vec<_>, Vec<_>) = (0..10_000)
        .map(|_| {
            let (send, receive) = oneshot::channel::<u32>();
            (send, r.submit_when(receive, |sum, n| *sum += n.unwrap()))
        })
        .unzip();
    assert_eq!(s.stats().threads, 0);
    for send in sends {
        send.send(1).unwrap();
    }
    for task in tasks {
        assert_eq!(outcome(task), Ok(()));
    }
    assert_eq!(r.with(|sum| *sum), Ok(10_000));
    assert!(s.stats().threads <= 2);
}

#[tokio::test]
async fn task_runs_after_tokio_sleep() {
    let r = Resource::new(1);
    let sleep = tokio::time::sleep(Duration::from_millis(5));
    assert_eq!(r.submit_when(sleep, |n, ()| *n).await, Ok(1));
}
