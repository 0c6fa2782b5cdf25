//! Small promises at the edge of others.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod common;

use captor::{Dispatch, Resource, SubmitError, TaskError};
use common::{hold, outcome, wait_outstanding};
use std::thread;
use std::time::Duration;

/// `cancel_on_drop` holds for a completion that `wait` consumes in vain, as it
/// does for one that is dropped and for `wait_timeout`.
#[test]
fn cancel_on_drop_holds_where_waiting_would_deadlock() {
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
fn a_refused_task_was_never_outstanding() {
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

/// The role is handed to a parked waiter, whose task is cancelled before it
/// gets there: somebody else has to take it, since submitters do not here.
#[test]
fn a_waiter_that_is_cancelled_on_its_way_to_the_role_passes_it_on() {
    let mut cancelled = 0;
    for _ in 0..200 {
        let r = Resource::builder().capture_limit(1).build(0).unwrap();
        let held = hold(&r);
        let waiter = thread::spawn({
            let r = r.clone();
            move || r.with(|n| *n += 1)
        });
        wait_outstanding(&r, 2);
        // Until it is parked, most likely; the outcome is right either way.
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
    println!("{cancelled} of 200 were cancelled on their way");
}
