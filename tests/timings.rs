#![cfg(not(any(captor_loom, captor_shuttle)))]
//! How long tasks ran and waited, for resources that record timings.

mod common;

use captor::{Dispatch, QueueWaits, Resource, Scheduler};
use common::{hold, outcome, within_deadline};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(5);

fn noting(dispatch: Dispatch) -> Resource<u64> {
    Resource::builder()
        .timings(true)
        .dispatch(dispatch)
        .build(0)
        .unwrap()
}

#[test]
fn longest_task_is_recorded_inline_and_queued() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        for queued in [false, true] {
            let r = noting(dispatch);
            let held = queued.then(|| hold(&r));
            if !queued {
                r.with(|n| *n += 1).unwrap();
                assert!(r.stats().longest_task < Duration::from_secs(20));
            }
            let before = r.stats().longest_task;
            let slow = r.submit(move |_| thread::sleep(before + SOON));
            drop(held);
            outcome(slow).unwrap();
            let longest = r.stats().longest_task;
            assert!(
                longest >= before + SOON,
                "{dispatch:?} {queued} {longest:?}"
            );
            r.with(|n| *n += 1).unwrap();
            assert_eq!(
                r.stats().longest_task,
                longest,
                "a short one changes nothing"
            );
        }
    }
}

#[test]
fn timings_count_panicking_task() {
    let r = noting(Dispatch::Inline);
    let panics = r.with(|_| {
        thread::sleep(SOON);
        panic!("intended");
    });
    assert!(panics.is_err_and(|e| e.try_into_panic().is_ok()));
    assert!(r.stats().longest_task >= SOON);
    assert_eq!(r.queue_waits().unwrap().count(), 1);
}

#[test]
fn queue_waits_are_sorted_into_histogram() {
    let r = noting(Dispatch::Inline);
    for _ in 0..3 {
        r.execute(|n| *n += 1).unwrap();
    }
    let waits = r.queue_waits().unwrap();
    assert_eq!(
        (waits.count(), waits.quantile(1.0)),
        (3, Some(Duration::ZERO))
    );
    let held = hold(&r);
    let cancelled = r.submit(|_| ());
    let task = r.submit(|n| *n += 1);
    assert!(cancelled.cancel());
    thread::sleep(SOON);
    held.release();
    outcome(task).unwrap();
    let waits = r.queue_waits().unwrap();
    assert_eq!(waits.count(), 5, "the cancelled task did not run");
    assert_eq!(waits.quantile(0.5), Some(Duration::ZERO));
    let longest = waits.quantile(1.0).unwrap();
    assert!(longest >= SOON && longest < Duration::from_secs(20));
    assert_eq!(waits.quantile(f64::NAN), Some(longest));
    assert_eq!(waits.quantile(7.0), Some(longest));
    assert_eq!(waits.quantile(-1.0), Some(Duration::ZERO));
    assert_eq!(waits.buckets()[0], (Duration::ZERO, 4));
}

/// Lets a task of `r` wait behind another task.
fn waits_behind_another(r: &Resource<u64>) {
    let held = hold(r);
    let task = r.submit(|n| *n += 1);
    thread::sleep(SOON);
    held.release();
    outcome(task).unwrap();
}

#[test]
fn since_subtracts_earlier_queue_waits() {
    let r = noting(Dispatch::Inline);
    let waits = || r.queue_waits().unwrap();
    let at_first = waits();
    waits_behind_another(&r);
    let earlier = waits();
    assert_eq!(
        earlier.since(&at_first),
        earlier,
        "the first look found no waits"
    );
    for _ in 0..3 {
        r.with(|n| *n += 1).unwrap();
    }
    let now = waits();
    let came = now.since(&earlier);
    assert_eq!(came.buckets(), [(Duration::ZERO, 3)], "no bucket is empty");
    assert_eq!(came.quantile(1.0), Some(Duration::ZERO));
    assert!(now.quantile(1.0).unwrap() >= SOON);
    waits_behind_another(&r);
    let came = waits().since(&now);
    assert_eq!(came.count(), 2);
    assert!(
        came.quantile(1.0).unwrap() >= SOON,
        "the long wait has its own bucket"
    );
    assert_eq!(now.since(&now), QueueWaits::default());
    assert_eq!(
        earlier.since(&now),
        QueueWaits::default(),
        "a difference is never negative"
    );
}

#[test]
fn timings_are_off_by_default() {
    let r = Resource::new(());
    r.with(|()| thread::sleep(SOON)).unwrap();
    assert_eq!(r.stats().longest_task, Duration::ZERO);
    assert!(r.queue_waits().is_none());
    let warns = Resource::builder().slow_task(SOON).build(()).unwrap();
    warns.with(|()| ()).unwrap();
    assert!(warns.queue_waits().is_none());
}

#[test]
fn scheduler_list_includes_queue_waits() {
    let s = Scheduler::builder().build().unwrap();
    let r = Resource::builder().name("r").timings(true).scheduler(&s);
    let r = r.build(()).unwrap();
    r.with(|()| ()).unwrap();
    assert_eq!(s.resources()[0].queue_waits, r.queue_waits());
}

#[test]
fn timings_count_every_task_during_contention() {
    within_deadline(|| {
        let r = Resource::builder()
            .timings(true)
            .slow_task(Duration::from_micros(1));
        let r = r.build(0_u64).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let r = r.clone();
                thread::spawn(move || {
                    for _ in 0..2_000 {
                        r.with(|n| *n += 1).unwrap();
                        r.execute(|n| *n += 1).unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(r.with(|n| *n), Ok(16_000));
        assert_eq!(r.queue_waits().unwrap().count(), 16_001);
    });
}

/// A continuation is queued when its first task finishes.
#[test]
fn queue_wait_of_then_starts_when_first_ends() {
    let first = Resource::new(());
    let other = Resource::builder().timings(true).build(()).unwrap();
    let held = hold(&first);
    let queued_for = |(): &mut (), ()| captor::current().unwrap().queued_for();
    let end = first.submit(|()| ()).then(&other, queued_for);
    thread::sleep(Duration::from_millis(300));
    held.release();
    let queued_for = outcome(end).unwrap().unwrap();
    assert!(queued_for < Duration::from_millis(300), "{queued_for:?}");
}
