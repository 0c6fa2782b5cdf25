#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Cancel tokens, by which a running task is asked to stop.

mod common;

use captor::{CancelToken, Completion, Dispatch, Resource, TaskError, cancel_token};
use common::{
    Gate, hold, hold_running, outcome, poll_pending, wait_until, waker_that, within_deadline,
};
use std::sync::mpsc;
use std::thread;

/// Submits a task that runs until asked to stop; returns its completion and token.
fn until_stopped<T: Send + 'static>(r: &Resource<T>) -> (Completion<()>, CancelToken) {
    let (send, token) = mpsc::channel();
    let task = r.submit(move |_| {
        let token = cancel_token();
        send.send(token.clone()).unwrap();
        wait_until("the task is asked to stop", || token.is_cancelled());
    });
    (task, token.recv().unwrap())
}

fn pooled() -> Resource<()> {
    Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(())
        .unwrap()
}

#[test]
fn cancel_sets_token_of_running_task() {
    let r = pooled();
    let (task, token) = until_stopped(&r);
    assert!(!token.is_cancelled());
    assert!(!task.cancel(), "the task has started");
    assert_eq!(outcome(task), Ok(()));
    assert!(token.is_cancelled());
}

#[test]
fn cancel_on_drop_sets_token_of_running_task() {
    let r = pooled();
    let (task, token) = until_stopped(&r);
    drop(task.cancel_on_drop());
    wait_until("the task is asked to stop", || token.is_cancelled());
}

#[test]
fn sweep_cancels_queue_and_sets_running_token() {
    for close in [false, true] {
        let r = pooled();
        let (task, _) = until_stopped(&r);
        let next = r.submit(|_| ());
        let cancelled = if close {
            r.close_now()
        } else {
            r.cancel_pending()
        };
        assert_eq!(cancelled, 1);
        assert_eq!(outcome(task), Ok(()));
        assert_eq!(outcome(next), Err(captor::TaskError::Cancelled));
        assert_eq!(r.is_closed(), close);
    }
}

/// The task runs on its submitter, so no thread has its completion yet.
#[test]
fn cancel_pending_sets_token_of_inline_task() {
    let r = Resource::new(());
    let started = Gate::new();
    let (inside, running) = (r.clone(), started.clone());
    let caller = thread::spawn(move || {
        inside.with(|_| {
            let token = cancel_token();
            running.open();
            wait_until("the task is asked to stop", || token.is_cancelled());
        })
    });
    started.wait();
    r.cancel_pending();
    assert_eq!(caller.join().unwrap(), Ok(()));
}

/// The request to stop comes before the task first looks at its token.
#[test]
fn first_look_at_token_sees_earlier_cancel() {
    for by_handle in [false, true] {
        let r = pooled();
        let (gate, task) = hold_running(&r, |_| {
            (cancel_token().is_cancelled(), cancel_token().is_cancelled())
        });
        if by_handle {
            assert!(!task.cancel());
        } else {
            r.cancel_pending();
        }
        gate.open();
        assert_eq!(outcome(task), Ok((true, true)));
    }
}

#[test]
fn cancel_does_not_set_token_of_next_task() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(()).unwrap();
        // While no task runs.
        r.cancel_pending();
        assert_eq!(r.with(|_| cancel_token().is_cancelled()), Ok(false));
        let held = hold(&r);
        r.cancel_pending();
        let next = r.submit(|_| cancel_token().is_cancelled());
        held.release();
        assert_eq!(outcome(next), Ok(false));
        assert_eq!(r.with(|_| cancel_token().is_cancelled()), Ok(false));
        // Cancelling a queued task leaves nothing behind for the next task either.
        let held = hold(&r);
        assert!(r.submit(|_| ()).cancel());
        let next = r.submit(|_| cancel_token().is_cancelled());
        held.release();
        assert_eq!(outcome(next), Ok(false));
    }
}

/// A later task may reuse the number of an ended task, but not its token.
#[test]
fn token_stays_unset_after_task_ends() {
    let r = Resource::new(());
    let token = r.with(|_| cancel_token()).unwrap();
    for _ in 0..3 {
        let held = hold(&r);
        r.cancel_pending();
        held.release();
    }
    assert!(!token.is_cancelled());
    let done = r.submit(|_| cancel_token());
    assert!(!done.cancel());
    assert!(!done.wait().unwrap().is_cancelled());
}

#[test]
fn nested_task_sees_its_own_token() {
    let (outer, inner) = (Resource::new(()), Resource::new(()));
    let asked = outer.with(|_| {
        let mine = cancel_token();
        let inside = inner.with(|_| {
            inner.cancel_pending();
            cancel_token()
        });
        (
            mine.is_cancelled(),
            inside.unwrap().is_cancelled(),
            cancel_token().is_cancelled(),
        )
    });
    assert_eq!(asked, Ok((false, true, false)));
}

#[test]
fn token_is_never_set_outside_of_tasks() {
    assert!(!cancel_token().is_cancelled());
    assert!(format!("{:?}", cancel_token()).contains("cancelled: false"));
}

/// The first task has finished, and the holder calls its waker. Meanwhile the second task counts as
/// pending or as started. A sweep cancels a pending task and asks a started task to stop.
#[test]
fn next_task_is_cancelled_or_asked_during_wake() {
    let r = pooled();
    let held = hold(&r);
    let mut first = r.submit(|()| ());
    let (here, go) = (Gate::new(), Gate::new());
    let (is_here, goes) = (here.clone(), go.clone());
    poll_pending(
        &mut first,
        &waker_that(move || {
            is_here.open();
            goes.wait();
        }),
    );
    let second = r.submit(|()| {
        let token = cancel_token();
        wait_until("the task is asked to stop", || token.is_cancelled());
    });
    held.release();
    here.wait();
    let swept = r.close_now();
    go.open();
    match outcome(second) {
        Err(TaskError::Cancelled) => assert_eq!(swept, 1),
        outcome => assert_eq!((swept, outcome), (0, Ok(()))),
    }
}

/// A task that is about to start is either cancelled or asked to stop. Each of the many rounds
/// sweeps at a different moment.
#[test]
fn close_now_reaches_task_about_to_start() {
    within_deadline(|| {
        for round in 0..400 {
            let r = pooled();
            let held = hold(&r);
            for _ in 0..200 {
                r.execute(|()| (0..20).for_each(|_| std::hint::spin_loop()))
                    .unwrap();
            }
            let ends = r.submit(|()| {
                let token = cancel_token();
                wait_until("the task is asked to stop", || token.is_cancelled());
            });
            held.release();
            let ran = move |r: &Resource<()>| r.stats().completed > 1 + round % 200;
            wait_until("enough tasks have run", || ran(&r));
            r.close_now();
            let _: Result<(), TaskError> = outcome(ends);
        }
    });
}
