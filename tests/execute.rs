#![cfg(not(any(captor_loom, captor_shuttle)))]
//! `execute`: fire and forget.

mod common;

use captor::{Dispatch, Resource, SubmitError};
use common::{Drops, hold, join, wait_until, within_deadline};
use std::thread;

#[test]
fn execute_runs_on_caller_when_idle() {
    let r = Resource::new(None);
    r.execute(|at| *at = Some(thread::current().id())).unwrap();
    assert_eq!(r.stats().completed, 1);
    assert_eq!(r.with(|at| *at), Ok(Some(thread::current().id())));
}

#[test]
fn executed_tasks_run_once_with_four_producers() {
    within_deadline(|| {
        let r = Resource::new(0_u64);
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..20_000 {
                        r.execute(|n| *n += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(r.with(|n| *n), Ok(80_000));
    });
}

#[test]
fn execute_drops_closure_where_task_ran() {
    let drops = Drops::new();
    let r = Resource::new(());
    let tag = drops.counted();
    r.execute(move |_| {
        let _ = &tag;
    })
    .unwrap();
    assert_eq!(drops.count(), 1);
    let held = hold(&r);
    let tag = drops.counted();
    r.execute(move |_| {
        let _ = &tag;
    })
    .unwrap();
    assert_eq!(drops.count(), 1);
    held.release();
    assert_eq!(r.with(|_| drops.count()), Ok(2));
}

#[test]
fn execute_drops_closure_when_refused() {
    let drops = Drops::new();
    let r = Resource::new(());
    r.close();
    let tag = drops.counted();
    assert_eq!(r.execute(move |_| drop(tag)), Err(SubmitError::Closed));
    assert_eq!(drops.count(), 1);
}

#[test]
fn execute_counts_panic_and_resource_goes_on() {
    let r = Resource::new(0);
    r.execute(|_| -> () { panic!("inline") }).unwrap();
    let held = hold(&r);
    r.execute(|_| -> () { panic!("queued") }).unwrap();
    r.execute(|n| *n += 1).unwrap();
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
    assert_eq!(r.stats().panicked, 2);
}

#[test]
fn execute_in_own_task_passes_high_water_mark() {
    // Pacing would wait for the very task that submits.
    within_deadline(|| {
        let r = Resource::new(0_u64);
        let inner = r.clone();
        r.with(move |_| {
            for _ in 0..50_000 {
                inner.execute(|n| *n += 1).unwrap();
            }
        })
        .unwrap();
        assert_eq!(r.with(|n| *n), Ok(50_000));
    });
}

#[test]
fn execute_does_not_block_when_resource_is_held() {
    // Pacing is bounded: the submitter must not wait for a resource that stays held.
    let r = Resource::new(0_u64);
    let held = hold(&r);
    let producer = {
        let r = r.clone();
        thread::spawn(move || {
            for _ in 0..40_000 {
                r.execute(|n| *n += 1).unwrap();
            }
        })
    };
    join(producer).unwrap();
    assert_eq!(r.stats().outstanding, 40_001);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(40_000));
}

#[test]
fn self_feeding_tasks_all_run() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(0).unwrap();
        feed(&r, 5_000);
        wait_until("the chain has ended", || r.stats().completed >= 5_000);
        assert_eq!(r.with(|n| *n), Ok(5_000));
    }
}

fn feed(r: &Resource<u32>, left: u32) {
    if left > 0 {
        let again = r.clone();
        r.execute(move |n| {
            *n += 1;
            feed(&again, left - 1);
        })
        .unwrap();
    }
}
