//! Edge cases where two guarantees meet.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod common;

use captor::{Dispatch, Job, Resource, Scheduler, SubmitError, TaskError};
use common::{Gate, hold, hold_running, outcome, pooled, wait_outstanding};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A refused `wait` consumes the completion. `cancel_on_drop` cancels the task then too, as after a
/// drop and for `wait_timeout`.
#[test]
fn cancel_on_drop_cancels_when_wait_is_refused() {
    for timed in [false, true] {
        let r = Resource::new(0);
        let inside = r.clone();
        let outcome = r.with(move |_| {
            let queued = inside.submit(|n| *n += 1).cancel_on_drop();
            match timed {
                false => queued.wait(),
                true => queued.wait_timeout(Duration::from_secs(1)).unwrap(),
            }
        });
        assert_eq!(outcome, Ok(Err(TaskError::WouldDeadlock)));
        assert_eq!(r.with(|n| *n), Ok(0), "timed: {timed}");
        assert_eq!(r.stats().cancelled, 1);
    }
}

#[test]
fn refused_task_is_never_outstanding() {
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(())
        .unwrap();
    r.close();
    assert_eq!(r.execute(|()| ()), Err(SubmitError::Closed));
    let stats = r.stats();
    assert_eq!((stats.submitted, stats.rejected), (0, 1));
    assert_eq!(stats.max_outstanding, 0);
}

/// The role is handed to a parked waiter, whose task is cancelled before the waiter takes the role.
/// Submitters do not take the role here, so another thread must.
#[test]
fn cancelled_waiter_passes_role_on() {
    let mut cancelled = 0;
    for _ in 0..100 {
        let r = Resource::builder().capture_limit(1).build(0).unwrap();
        let held = hold(&r);
        let waiter = thread::spawn({
            let r = r.clone();
            move || r.with(|n| *n += 1)
        });
        wait_outstanding(&r, 2);
        // Most likely the waiter is parked by then. The outcome is right either way.
        thread::sleep(Duration::from_micros(200));
        held.gate().open();
        while r.stats().handoffs == 0 && !waiter.is_finished() {
            std::hint::spin_loop();
        }
        let swept = r.cancel_pending();
        let last = r.submit(|n| *n);
        let ran = i32::from(swept == 0);
        assert_eq!(outcome(last), Ok(ran));
        assert_eq!(waiter.join().unwrap().is_ok(), swept == 0);
        cancelled += swept;
        held.release();
    }
    println!("{cancelled} of 100 waiters were cancelled on the way to the role");
}

/// A thread waits for a task and, while waiting, runs a foreign task. Then the awaited task is
/// cancelled. The thread is stuck until the foreign task ends, so a cycle through this thread is
/// still a cycle.
#[test]
fn cancelled_wait_of_helper_still_closes_cycle() {
    // The executor keeps its jobs, so only the waiter can run queued tasks.
    let (keep, _jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(1)
        .executor(move |job: Job| drop(keep.send(job)))
        .build()
        .unwrap();
    let [a, b, c] = [(); 3].map(|()| scheduler.resource(0));
    let (helping, cancelled, turn) = (Gate::new(), Gate::new(), Gate::new());
    let (say, hear) = mpsc::channel();

    let held = hold(&b);
    b.execute({
        let (c, helping, cancelled, say) =
            (c.clone(), helping.clone(), cancelled.clone(), say.clone());
        move |_| {
            helping.open();
            cancelled.wait();
            say.send(("helper", c.with(|_| ()))).unwrap();
        }
    })
    .unwrap();
    // Holds `a`, waits for `b`, and meanwhile runs the "helper" task.
    thread::spawn({
        let (a, b) = (a.clone(), b.clone());
        move || a.with(|_| drop(b.with(|_| ())))
    });
    wait_outstanding(&b, 3);
    held.release();
    helping.wait();
    assert_eq!(b.cancel_pending(), 1);

    // Holds `c`, then waits for `a`.
    let (started, go) = (Gate::new(), turn.clone());
    thread::spawn({
        let (c, started) = (c.clone(), started.clone());
        move || {
            c.with(|_| {
                started.open();
                go.wait();
                say.send(("holder", a.with(|_| ()))).unwrap();
            })
        }
    });
    started.wait();
    cancelled.open();
    wait_outstanding(&c, 2);
    turn.open();

    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let next = hear.recv_timeout(Duration::from_secs(10));
        outcomes.push(next.expect("a hang: no wait was refused"));
    }
    // One wait was refused, and that let the other task finish.
    outcomes.sort_by_key(|(_, outcome)| outcome.is_ok());
    assert_eq!(outcomes[0].1, Err(TaskError::WouldDeadlock));
    assert_eq!(outcomes[1].1, Ok(()));
}

/// No other thread can take the queue over. The pool's only worker waits for this thread, and the
/// waiter's own task is too far back in the queue for a hand-off to find.
#[test]
fn waiter_takes_over_when_pool_is_blocked() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let (gate, _) = hold_running(&pooled(&scheduler, ()), |()| ());
    let r = scheduler.resource(0);
    let held = hold(&r);
    for _ in 0..60 {
        r.execute(|n| *n += 1).unwrap();
    }
    let waiter = thread::spawn({
        let r = r.clone();
        move || r.with(|n| *n)
    });
    wait_outstanding(&r, 62);
    held.release();
    assert_eq!(common::join(waiter).unwrap(), Ok(60));
    gate.open();
}

/// A sweep has taken two tasks out. The closure of the first task waits in its drop for a resource
/// whose task waits for the second.
#[test]
fn drop_during_sweep_may_wait_for_swept_task() {
    common::within_deadline(|| {
        struct WaitsInDrop(Resource<i32>, mpsc::Sender<Result<i32, TaskError>>);
        impl Drop for WaitsInDrop {
            fn drop(&mut self) {
                self.1.send(self.0.with(|n| *n)).unwrap();
            }
        }
        let (swept, visited) = (Resource::new(0), Resource::new(1));
        let held = hold(&swept);
        let (send, dropped) = mpsc::channel();
        let first = WaitsInDrop(visited.clone(), send);
        swept.execute(move |_| drop(first)).unwrap();
        let second = swept.submit(|n| *n);
        let (send, started) = mpsc::channel();
        let waiter = thread::spawn(move || {
            visited.with(|_| {
                send.send(()).unwrap();
                second.wait()
            })
        });
        started.recv().unwrap();
        // The wait that comes second is refused, or its outcome has come already.
        assert_eq!(swept.cancel_pending(), 2);
        let in_drop = dropped.recv().unwrap();
        let second = common::join(waiter).unwrap().unwrap();
        assert!(
            in_drop == Ok(1) || in_drop == Err(TaskError::WouldDeadlock),
            "{in_drop:?}"
        );
        assert!(
            second == Err(TaskError::Cancelled) || second == Err(TaskError::WouldDeadlock),
            "{second:?}"
        );
        held.release();
    });
}
