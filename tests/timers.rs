#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Tasks that are queued at a given time.

mod common;

use captor::{MissedTicks, Resource, Scheduler, TaskError};
use common::{DEADLINE, Drops, Gate, hold, outcome, panic_message, wait_until, within_deadline};
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(3600);

#[test]
fn task_runs_not_before_its_time() {
    let r = Resource::new(0);
    let begin = Instant::now();
    let task = r.submit_after(SOON, |n| {
        *n += 1;
        Instant::now()
    });
    assert_eq!(r.with(|n| *n), Ok(0), "the resource is free until then");
    assert!(outcome(task).unwrap() >= begin + SOON);
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn timed_tasks_run_in_order_of_time() {
    let r = Resource::new(Vec::new());
    let tasks: Vec<_> = [30, 10, 20]
        .map(|n| r.submit_after(Duration::from_millis(n), move |log| log.push(n)))
        .into();
    tasks.into_iter().for_each(|task| outcome(task).unwrap());
    assert_eq!(r.with(|log| log.clone()), Ok(vec![10, 20, 30]));
}

#[test]
fn zero_delay_runs_immediately() {
    let r = Resource::new(1);
    assert_eq!(outcome(r.submit_after(Duration::ZERO, |n| *n)), Ok(1));
}

#[test]
fn cancel_drops_timed_closure() {
    let (r, drops) = (Resource::new(0), Drops::new());
    let counted = drops.counted();
    let task = r.submit_after(LATER, move |_| drop(counted));
    assert!(task.cancel());
    assert_eq!(
        (drops.count(), outcome(task)),
        (1, Err(TaskError::Cancelled))
    );
}

#[test]
fn unreachable_time_never_comes() {
    let r = Resource::new(0);
    let task = r.submit_after(Duration::MAX, |_| ());
    let task = task.wait_timeout(SOON).unwrap_err();
    r.close();
    assert_eq!(outcome(task), Err(TaskError::Closed));
}

#[test]
fn close_fails_timed_tasks() {
    let (r, drops) = (Resource::new(0), Drops::new());
    let counted = drops.counted();
    let task = r.submit_after(LATER, move |_| drop(counted));
    r.close();
    assert_eq!(outcome(task), Err(TaskError::Closed));
    assert_eq!(drops.count(), 1);
    assert!(r.wait_closed(DEADLINE));
    assert_eq!(
        outcome(r.submit_after(SOON, |_| ())),
        Err(TaskError::Closed)
    );
}

#[test]
fn timed_task_fails_when_resource_drops() {
    let (drops, r) = (Drops::new(), Drops::new());
    let value = Resource::new(r.counted());
    let counted = drops.counted();
    let task = value.submit_after(LATER, move |_| drop(counted));
    drop(value);
    wait_until("the value is dropped", || r.count() == 1);
    assert_eq!(outcome(task), Err(TaskError::Closed));
    assert_eq!(drops.count(), 1);
}

/// A thread that blocks for a timed task does not keep the resource alive.
#[test]
fn blocked_waiter_fails_when_resource_drops() {
    within_deadline(|| {
        let r = Resource::new(0);
        let (first, second) = (r.submit_after(LATER, |n| *n), r.submit_after(LATER, |n| *n));
        let (begins, began) = std::sync::mpsc::channel();
        let waits = [
            thread::spawn({
                let begins = begins.clone();
                move || {
                    begins.send(()).unwrap();
                    first.wait()
                }
            }),
            thread::spawn(move || {
                begins.send(()).unwrap();
                second.wait_timeout(LATER).unwrap()
            }),
        ];
        (0..2).for_each(|_| began.recv().unwrap());
        // Most likely the threads are parked by now.
        thread::sleep(5 * SOON);
        drop(r);
        for waits in waits {
            assert_eq!(waits.join().unwrap(), Err(TaskError::Closed));
        }
    });
}

#[test]
fn many_timers_need_a_single_thread() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let r = s.resource(0_u32);
    let tasks: Vec<_> = (0..20_000)
        .map(|n| r.submit_after(Duration::from_micros(n * 5), |n| *n += 1))
        .collect();
    tasks.into_iter().for_each(|task| outcome(task).unwrap());
    assert_eq!(r.with(|n| *n), Ok(20_000));
    assert!(s.stats().threads <= 1);
}

#[test]
fn ticks_stop_after_detach() {
    let r = Resource::new(Vec::new());
    let begin = Instant::now();
    let ticks = r.every(Duration::from_millis(5), |log| log.push(Instant::now()));
    wait_until("four ticks ran", || r.with(|log| log.len()).unwrap() >= 4);
    ticks.detach();
    assert_eq!(ticks.wait(), Err(TaskError::Cancelled));
    let log = r.with(|log| log.clone()).unwrap();
    for (n, at) in (1..).zip(&log) {
        assert!(*at >= begin + n * Duration::from_millis(5), "tick {n}");
    }
    let ran = log.len();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(r.with(|log| log.len()), Ok(ran));
}

/// Returns how often the ticks ran while the resource was held for 20 periods, and just after.
fn ticks_when_held(missed: MissedTicks) -> usize {
    let period = Duration::from_millis(10);
    let r = Resource::new(Vec::new());
    let held = hold(&r);
    let ticks = r.every_with(period, missed, |log| log.push(Instant::now()));
    thread::sleep(20 * period);
    let released = Instant::now();
    held.release();
    wait_until("two ticks ran", || r.with(|log| log.len()).unwrap() >= 2);
    wait_until("missed ticks had time to run", || {
        released.elapsed() >= period
    });
    ticks.detach();
    let log = r.into_inner().wait().unwrap();
    log.iter().filter(|at| **at < released + period).count()
}

#[test]
fn missed_ticks_are_skipped_or_delayed() {
    // That `MissedTicks::Burst` makes up for missed ticks is tested with virtual time, in
    // `testing.rs`.
    assert!(ticks_when_held(MissedTicks::Skip) <= 2);
    assert!(ticks_when_held(MissedTicks::Delay) <= 1);
}

#[test]
fn ticks_end_on_close_drop_or_panic() {
    let r = Resource::new(0);
    let ticks = r.every(LATER, |_| ());
    r.close();
    assert_eq!(ticks.wait(), Err(TaskError::Closed));
    let r = Resource::new(0);
    let ticks = r.every(LATER, |_| ());
    drop(r);
    assert_eq!(ticks.wait(), Err(TaskError::Closed));
    let r = Resource::new(0);
    let ticks = r.every(SOON, |_| resume_unwind(Box::new("spilled")));
    assert_eq!(panic_message(ticks.wait()), "spilled");
}

#[test]
fn async_task_sleeps_for_given_time() {
    within_deadline(|| {
        let s = Scheduler::builder().workers(1).build().unwrap();
        let r = s.resource(0);
        let inside = s.clone();
        let begin = Instant::now();
        let task = r.submit_async(async move |n: &mut u32| {
            for _ in 0..3 {
                inside.sleep(SOON).await;
                *n += 1;
            }
            *n
        });
        assert_eq!(outcome(task), Ok(3));
        assert!(begin.elapsed() >= 3 * SOON);
    });
}

#[test]
fn dropped_sleep_does_not_wake() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let mut sleep = s.sleep(LATER);
    let gate = Gate::new();
    let opens = gate.clone();
    common::poll_pending(&mut sleep, &common::waker_that(move || opens.open()));
    drop(sleep);
    assert!(!gate.is_open());
    let sleep = s.sleep(SOON);
    futures::executor::block_on(sleep);
}

/// The timer may keep its alarm for an hour, but keeps no waker by that alarm.
#[test]
fn dropping_sleep_drops_its_waker() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let (mut dropped, mut reset) = (s.sleep(LATER), s.sleep(Duration::MAX));
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    let waker = common::waker_that(move || drop(Arc::clone(&holds)));
    common::poll_pending(&mut dropped, &waker);
    common::poll_pending(&mut reset, &waker);
    drop(waker);
    drop(dropped);
    assert_eq!(
        Arc::strong_count(&held),
        2,
        "the second sleep keeps its waker"
    );
    drop(reset);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn task_is_cancelled_after_dropping_last_sleep() {
    within_deadline(|| {
        let s = Scheduler::builder().workers(1).build().unwrap();
        let r = s.resource(0);
        let (mut long, short) = (s.sleep(LATER), s.sleep(SOON));
        let task = r.submit_async(async move |_: &mut u32| {
            poll_fn(|cx| Poll::Ready(Pin::new(&mut long).poll(cx).is_pending())).await;
            // The timer fires this sleep, so the timer already has the alarm of the long sleep.
            short.await;
            drop(long);
            std::future::pending::<()>().await;
        });
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
        assert_eq!(outcome(r.submit(|n| *n)), Ok(0));
    });
}

/// The timer thread calls wakers, but runs no task: neither a task that a waker submits, nor a
/// task whose time has come.
#[test]
fn timer_thread_runs_no_task() {
    let name = || thread::current().name().map(String::from);
    let s = Scheduler::builder().thread_name("t").build().unwrap();
    let r = s.resource(());
    let later = r.submit_after(SOON, move |()| name());
    let (to_r, (tell, told)) = (r.clone(), std::sync::mpsc::channel());
    let waker = common::waker_that(move || {
        let submitted = to_r.submit(move |()| name());
        tell.send((name(), submitted)).unwrap();
    });
    let mut sleep = s.sleep(SOON);
    common::poll_pending(&mut sleep, &waker);
    let (wakes, submitted) = told.recv_timeout(DEADLINE).unwrap();
    assert_eq!(wakes.as_deref(), Some("t-timer"));
    for ran_by in [outcome(later), outcome(submitted)] {
        let ran_by = ran_by.unwrap().unwrap();
        assert!(ran_by.starts_with("t-") && ran_by != "t-timer", "{ran_by}");
    }
}

/// A timed task of each resource keeps the next resource alive, so all are dropped with the first.
/// The stack does not grow with their number.
#[test]
fn long_row_of_resources_drops_without_overflow() {
    let (first, drops) = (Resource::new(None), Drops::new());
    let mut last = first.clone();
    for _ in 0..20_000 {
        let next = Resource::new(Some(drops.counted()));
        let kept = next.clone();
        drop(last.submit_after(LATER, move |_| drop(kept)));
        last = next;
    }
    drop(last);
    assert_eq!(drops.count(), 0);
    drop(first);
    assert_eq!(drops.count(), 20_000);
}
