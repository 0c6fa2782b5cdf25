#![cfg(not(any(captor_loom, captor_shuttle)))]
//! `PanicPolicy::Close`: a panic closes the resource and drops the value.

mod common;

use captor::{Dispatch, HealError, PanicPolicy, Resource, Scheduler, SubmitError, TaskError};
use common::{Counted, Drops, hold, outcome, wait_until, within_deadline};
use futures::channel::oneshot;
use futures::executor::block_on;
use std::sync::{Arc, Mutex};

fn closing<T: Send + 'static>(value: T) -> Resource<T> {
    let builder = Resource::builder().panic_policy(PanicPolicy::Close);
    builder.build(value).unwrap()
}

fn panics<R>(result: Result<R, TaskError>) -> bool {
    matches!(result, Err(TaskError::Panicked(_)))
}

/// A value that counts its drop, and calls `then` in it.
struct Value(Option<Counted>, Option<Box<dyn FnOnce() + Send>>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.take();
        if let Some(then) = self.1.take() {
            then();
        }
    }
}

#[test]
fn waiter_inside_value_is_told_when_task_panics() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let journal = Resource::builder()
            .dispatch(dispatch)
            .panic_policy(PanicPolicy::Close)
            .build(Vec::new())
            .unwrap();
        let (tell, told) = oneshot::channel::<u64>();
        journal
            .with(move |waiters: &mut Vec<_>| waiters.push(tell))
            .unwrap();
        journal.execute(|_| panic!("the disk is full")).unwrap();
        assert!(within_deadline(move || block_on(told)).is_err());
        assert!(journal.is_closed());
    }
}

#[test]
fn resource_closes_when_inline_task_panics() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    assert!(panics(r.with(|_| panic!("inline"))));
    assert_eq!(drops.count(), 1);
    assert_eq!(r.execute(|_| ()), Err(SubmitError::Closed));
    assert_eq!(r.with(|_| ()), Err(TaskError::Closed));
    assert!(!r.is_poisoned());
    assert_eq!(r.clear_poison(|_| ()), Err(HealError::NotPoisoned));
    assert!(r.wait_closed(common::DEADLINE));
    assert!(matches!(
        r.clone().into_inner().wait(),
        Err(TaskError::Closed)
    ));
    drop(r);
    assert_eq!(drops.count(), 1);
}

#[test]
fn queued_tasks_are_cancelled_when_task_panics() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    let held = hold(&r);
    let panicking = r.submit(|_| panic!("queued"));
    let seen = drops.clone();
    let late = r.submit(|_| ());
    held.release();
    assert!(panics(outcome(panicking)));
    assert_eq!(outcome(late), Err(TaskError::Cancelled));
    assert_eq!(seen.count(), 1);
    let stats = r.stats();
    assert_eq!(
        (stats.outstanding, stats.panicked, stats.cancelled),
        (0, 1, 1)
    );
    let ends = stats.completed + stats.panicked + stats.cancelled + stats.expired;
    assert_eq!(stats.submitted, ends);
}

#[test]
fn value_is_gone_when_queued_task_resolves() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    let held = hold(&r);
    r.execute(|_| panic!("queued")).unwrap();
    let seen = drops.clone();
    // The closure's drop runs as its task is cancelled.
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&order);
    let probe = Value(
        None,
        Some(Box::new(move || note.lock().unwrap().push(seen.count()))),
    );
    let queued = r.submit(move |_| drop(probe));
    held.release();
    assert_eq!(outcome(queued), Err(TaskError::Cancelled));
    assert_eq!(*order.lock().unwrap(), [1]);
}

#[test]
fn resource_closes_when_async_task_panics() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let drops = Drops::new();
    let r = Resource::builder()
        .scheduler(&s)
        .panic_policy(PanicPolicy::Close)
        .build(drops.counted())
        .unwrap();
    let (go, gate) = oneshot::channel::<()>();
    let task = r.submit_async(async move |_: &mut Counted| {
        let _ = gate.await;
        panic!("after an await")
    });
    let queued = r.submit(|_| ());
    go.send(()).unwrap();
    assert!(panics::<()>(outcome(task)));
    assert_eq!(outcome(queued), Err(TaskError::Cancelled));
    assert_eq!(drops.count(), 1);
}

#[test]
fn first_run_closes_when_async_task_panics() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    assert!(panics::<()>(
        r.submit_async(async |_: &mut Counted| panic!("at once"))
            .wait()
    ));
    assert_eq!(drops.count(), 1);
}

/// Holds the value's borrow and panics in its drop.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("drop of a future");
    }
}

#[test]
fn resource_closes_when_future_panics_in_drop() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    let (_kept, gate) = oneshot::channel::<()>();
    let task = r.submit_async(async move |_: &mut Counted| {
        let _bomb = Bomb;
        let _ = gate.await;
    });
    assert!(!task.is_finished());
    task.cancel();
    assert!(panics(outcome(task)));
    wait_until("the value is dropped", || drops.count() == 1);
    assert!(r.is_closed());
}

#[test]
fn resource_closes_when_hook_panics() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    r.on_idle(|_| panic!("hook")).wait().unwrap();
    r.with(|_| ()).unwrap();
    assert_eq!(drops.count(), 1);
    assert!(r.is_closed());
}

#[test]
fn panic_in_drop_of_value_is_contained() {
    let r = closing(Value(None, Some(Box::new(|| panic!("drop of the value")))));
    assert!(panics(r.with(|_| panic!("task"))));
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn value_uses_resource_during_its_drop() {
    let r = closing(Value(None, None));
    let weak = r.downgrade();
    let answer = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answer);
    r.with(move |value| {
        value.1 = Some(Box::new(move || {
            let r = weak.upgrade().unwrap();
            *slot.lock().unwrap() = Some((r.with(|_| ()), r.execute(|_| ())));
        }));
    })
    .unwrap();
    let panicked = within_deadline(move || panics(r.with(|_| panic!("task"))));
    assert!(panicked);
    let (with, execute) = answer.lock().unwrap().take().unwrap();
    assert_eq!(with, Err(TaskError::WouldDeadlock));
    assert_eq!(execute, Err(SubmitError::Closed));
}

#[test]
fn draining_resource_drops_value_when_task_panics() {
    let drops = Drops::new();
    let r = closing(drops.counted());
    let held = hold(&r);
    let panicking = r.submit(|_| panic!("queued"));
    let queued = r.submit(|_| ());
    r.close();
    held.release();
    assert!(panics(outcome(panicking)));
    assert_eq!(outcome(queued), Err(TaskError::Cancelled));
    assert_eq!(drops.count(), 1);
}
