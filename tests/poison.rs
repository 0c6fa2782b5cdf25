#![cfg(not(any(captor_loom, captor_shuttle)))]
//! `PanicPolicy::Poison`: after a panic, no further task sees the value.

mod common;

use captor::{Dispatch, HealError, PanicPolicy, Resource, SubmitError, TaskError, TrySubmitError};
use common::{
    CountingWaker, Drops, Gate, Sleepers, hold, join, outcome, panic_message, wait_until,
    within_deadline,
};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::Context;
use std::thread;
use std::time::Duration;

fn poisonable(dispatch: Dispatch) -> Resource<i32> {
    Resource::builder()
        .panic_policy(PanicPolicy::Poison)
        .dispatch(dispatch)
        .build(1)
        .unwrap()
}

fn poison(r: &Resource<i32>) {
    let task = r.submit(|n| {
        *n = -1;
        resume_unwind(Box::new("half done"));
    });
    assert_eq!(panic_message::<()>(outcome(task)), "half done");
    assert!(r.is_poisoned());
}

#[test]
fn every_submission_is_refused_when_poisoned() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = poisonable(dispatch);
        poison(&r);
        let drops = Drops::new();
        let tag = drops.counted();
        assert_eq!(
            r.submit(move |_| drop(tag)).wait(),
            Err(TaskError::Poisoned)
        );
        assert_eq!(drops.count(), 1);
        assert_eq!(r.with(|n| *n), Err(TaskError::Poisoned));
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Poisoned));
        let back = r.try_submit(|n| *n).unwrap_err();
        assert!(matches!(back, TrySubmitError::Poisoned(_)));
        assert_eq!(Resource::new(8).submit(back.into_inner()).wait(), Ok(8));
        assert_eq!(r.stats().rejected, 4);
    }
}

#[test]
fn queued_tasks_fail_when_panic_poisons() {
    let asleep = Sleepers::new();
    let drops = Drops::new();
    let r = poisonable(Dispatch::Inline);
    let held = hold(&r);
    let before = r.submit(|n| *n);
    let bad: captor::Completion<()> = r.submit(|_| resume_unwind(Box::new("bad")));
    let tag = drops.counted();
    let mut after = r.submit(move |n| {
        let _tag = tag;
        *n
    });
    let count = CountingWaker::new();
    let waker = count.waker();
    assert!(
        Pin::new(&mut after)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let tag = drops.counted();
    r.execute(move |_| drop(tag)).unwrap();
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            asleep.here();
            r.with(|n| *n)
        });
        asleep.wait(&r, 6);
        held.gate().open();
        assert_eq!(waiter.join().unwrap(), Err(TaskError::Poisoned));
    });
    held.release();
    assert_eq!(outcome(before), Ok(1));
    assert_eq!(panic_message(outcome(bad)), "bad");
    assert_eq!(outcome(after), Err(TaskError::Poisoned));
    assert_eq!(count.wakes(), 1);
    assert_eq!(drops.count(), 2);
    let stats = r.stats();
    assert_eq!((stats.submitted, stats.completed), (6, 2));
    assert_eq!((stats.panicked, stats.cancelled), (1, 3));
    assert_eq!(stats.outstanding, 0);
}

#[test]
fn detached_panic_poisons() {
    let r = poisonable(Dispatch::Inline);
    r.execute(|_| -> () { resume_unwind(Box::new("x")) })
        .unwrap();
    assert!(r.is_poisoned());
    assert!(!r.is_closed());
}

#[test]
fn tasks_run_again_after_clear_poison() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = poisonable(dispatch);
        for round in 0..3 {
            poison(&r);
            let before = r.clear_poison(|n| std::mem::replace(n, round)).unwrap();
            assert_eq!(before, -1);
            assert!(!r.is_poisoned());
            assert_eq!(r.with(|n| *n), Ok(round));
            r.execute(|n| *n += 1).unwrap();
            assert_eq!(outcome(r.submit(|n| *n)), Ok(round + 1));
        }
    }
}

#[test]
fn submission_during_heal_is_refused() {
    let r = poisonable(Dispatch::Inline);
    poison(&r);
    let inside = r.clone();
    let seen = r
        .clear_poison(|n| {
            *n = 0;
            (
                inside.is_current(),
                inside.with(|_| ()),
                inside.execute(|_| ()),
            )
        })
        .unwrap();
    assert!(seen.0);
    assert!(
        seen.1.is_err(),
        "the resource is poisoned, and held by this thread"
    );
    assert_eq!(seen.2, Err(SubmitError::Poisoned));
    assert_eq!(r.with(|n| *n), Ok(0));
}

#[test]
fn resource_stays_poisoned_when_heal_panics() {
    let r = poisonable(Dispatch::Inline);
    poison(&r);
    let failed = r.clear_poison(|_| -> () { resume_unwind(Box::new("again")) });
    match failed {
        Err(HealError::Panicked(panic)) => assert_eq!(panic.message(), "again"),
        other => panic!("{other:?}"),
    }
    assert!(r.is_poisoned());
    assert_eq!(r.with(|n| *n), Err(TaskError::Poisoned));
    r.clear_poison(|n| *n = 5).unwrap();
    assert_eq!(r.with(|n| *n), Ok(5));
}

#[test]
fn heal_fails_when_not_poisoned() {
    let r = poisonable(Dispatch::Inline);
    let healed = r.clear_poison(|_| ());
    assert!(matches!(healed, Err(HealError::NotPoisoned)));
    r.close();
    let healed = r.clear_poison(|_| ());
    assert!(matches!(healed, Err(HealError::NotPoisoned)));
    let other = Resource::new(());
    let _ = other.with(|_| -> () { resume_unwind(Box::new("x")) });
    let healed = other.clear_poison(|_| ());
    assert!(matches!(healed, Err(HealError::NotPoisoned)));
}

#[test]
fn nested_heal_is_busy_during_heal() {
    within_deadline(|| {
        let r = poisonable(Dispatch::Inline);
        poison(&r);
        let inside = r.clone();
        let nested = r
            .clear_poison(move |_| inside.clear_poison(|_| ()))
            .unwrap();
        assert!(matches!(nested, Err(HealError::Busy)));
        assert!(!r.is_poisoned());
    });
}

#[test]
fn concurrent_heals_succeed_once() {
    within_deadline(|| {
        let r = poisonable(Dispatch::Inline);
        for _ in 0..50 {
            poison(&r);
            let healed = thread::scope(|s| {
                let heal = || r.clear_poison(|n| *n += 2).is_ok();
                let threads = [s.spawn(heal), s.spawn(heal)];
                threads.map(|t| t.join().unwrap())
            });
            assert!(healed[0] != healed[1], "{healed:?}");
            assert_eq!(r.with(|n| *n), Ok(1));
        }
    });
}

#[test]
fn poisoned_resource_closes_and_can_be_healed() {
    let r = poisonable(Dispatch::Inline);
    poison(&r);
    assert!(!r.wait_closed(Duration::ZERO), "poisoned is not closed");
    r.close();
    assert!(r.is_closed() && r.is_poisoned());
    assert!(r.wait_closed(common::DEADLINE));
    assert_eq!(r.with(|n| *n), Err(TaskError::Closed));
    // The value can still be healed, but no task is accepted afterwards.
    r.clear_poison(|n| *n = 4).unwrap();
    assert!(r.is_closed() && !r.is_poisoned());
    assert_eq!(r.with(|n| *n), Err(TaskError::Closed));
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn queued_panic_poisons_closed_resource() {
    let r = poisonable(Dispatch::Inline);
    let held = hold(&r);
    let bad: captor::Completion<()> = r.submit(|_| resume_unwind(Box::new("bad")));
    let after = r.submit(|n| *n);
    r.close();
    held.release();
    assert_eq!(panic_message(outcome(bad)), "bad");
    assert_eq!(outcome(after), Err(TaskError::Poisoned));
    assert!(r.wait_closed(common::DEADLINE));
    assert!(r.is_closed() && r.is_poisoned());
}

#[test]
fn poison_does_not_resolve_closed_future() {
    let r = poisonable(Dispatch::Inline);
    let ended = Gate::new();
    let waiter = {
        let (r, ended) = (r.clone(), ended.clone());
        thread::spawn(move || {
            futures::executor::block_on(r.closed());
            ended.open();
        })
    };
    poison(&r);
    r.clear_poison(|n| *n = 1).unwrap();
    poison(&r);
    assert!(!ended.is_open());
    r.close();
    ended.wait();
    join(waiter).unwrap();
}

#[test]
fn each_task_runs_or_is_refused_during_poisoning() {
    // Each submission ran before the panic or was refused. None is lost.
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            for _ in 0..20 {
                let r = poisonable(dispatch);
                let (ran, refused) = thread::scope(|s| {
                    let submitters: Vec<_> = (0..3)
                        .map(|at| {
                            let r = &r;
                            s.spawn(move || {
                                let (mut ran, mut refused) = (0_u64, 0_u64);
                                for n in 0..60 {
                                    if at == 0 && n == 30 {
                                        let bad = r.submit(|_| resume_unwind(Box::new("bad")));
                                        assert_eq!(panic_message::<()>(outcome(bad)), "bad");
                                        continue;
                                    }
                                    match outcome(r.submit(|n| *n += 1)) {
                                        Ok(()) => ran += 1,
                                        Err(TaskError::Poisoned) => refused += 1,
                                        Err(other) => panic!("{other:?}"),
                                    }
                                }
                                (ran, refused)
                            })
                        })
                        .collect();
                    let all = submitters.into_iter().map(|s| s.join().unwrap());
                    all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
                });
                assert_eq!(ran + refused, 3 * 60 - 1);
                assert!(refused >= 29);
                wait_until("no task is outstanding", || r.stats().outstanding == 0);
                let value = r.clear_poison(|n| *n).unwrap();
                assert_eq!(value as u64, 1 + ran);
                let stats = r.stats();
                assert_eq!(stats.completed, ran);
                assert_eq!(stats.rejected + stats.cancelled, refused);
            }
        }
    });
}

/// A second heal does not wait for a slow one.
#[test]
fn heal_is_busy_during_heal_on_another_thread() {
    let r = poisonable(Dispatch::Inline);
    poison(&r);
    let (inside, go_on) = (Gate::new(), Gate::new());
    let healer = thread::spawn({
        let (r, inside, go_on) = (r.clone(), inside.clone(), go_on.clone());
        move || {
            r.clear_poison(|n| {
                inside.open();
                go_on.wait();
                *n = 3;
            })
        }
    });
    inside.wait();
    within_deadline({
        let r = r.clone();
        move || assert_eq!(r.clear_poison(|_| ()), Err(HealError::Busy))
    });
    go_on.open();
    assert_eq!(common::join(healer).unwrap(), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(3));
}
