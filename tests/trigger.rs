#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Triggers: fired while queued or running, refused, cancelled, or panicking.

mod common;

use captor::{Dispatch, PanicPolicy, Resource, SubmitError, Trigger};
use common::{Drops, Gate, hold, join, wait_until, within_deadline};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;

fn counting(r: &Resource<usize>) -> Trigger {
    r.trigger(|n| *n += 1)
}

#[test]
fn fire_runs_every_time_when_idle() {
    let r = Resource::new(0);
    let bump = counting(&r);
    for n in 1..=3 {
        bump.fire().unwrap();
        assert_eq!(r.with(|n| *n), Ok(n));
    }
}

#[test]
fn fires_coalesce_when_queued() {
    let r = Resource::new(0);
    let bump = counting(&r);
    let held = hold(&r);
    for _ in 0..100 {
        bump.clone().fire().unwrap();
    }
    assert_eq!(r.stats().outstanding, 2, "the holder's task and one run");
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
    bump.fire().unwrap();
    assert_eq!(r.with(|n| *n), Ok(2));
}

#[test]
fn fires_during_run_cause_a_single_rerun() {
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(0)
        .unwrap();
    let (running, go) = (Gate::new(), Gate::new());
    let bump = r.trigger({
        let (running, go) = (running.clone(), go.clone());
        move |n| {
            running.open();
            go.wait();
            *n += 1;
        }
    });
    bump.fire().unwrap();
    running.wait();
    for _ in 0..3 {
        bump.fire().unwrap();
    }
    go.open();
    assert_eq!(r.with(|n| *n), Ok(2));
    assert_eq!(r.stats().submitted, 3);
}

#[test]
fn fires_inside_task_queue_a_single_run() {
    let r = Resource::new(0);
    let bump = counting(&r);
    let seen = r.with(|n| {
        for _ in 0..10 {
            bump.fire().unwrap();
        }
        *n
    });
    assert_eq!(seen, Ok(0), "the trigger does not run inside the task");
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn fire_inside_own_run_runs_again() {
    // Each run fires the trigger again, up to 100 runs.
    let r = Resource::new(0);
    let own = Arc::new(OnceLock::<Trigger>::new());
    let again = Arc::downgrade(&own);
    let bump = r.trigger(move |n| {
        *n += 1;
        if *n < 100 {
            let own = again.upgrade().unwrap();
            own.get().unwrap().fire().unwrap();
        }
    });
    own.set(bump.clone()).unwrap();
    bump.fire().unwrap();
    wait_until("the trigger has run 100 times", || {
        r.with(|n| *n) == Ok(100)
    });
}

#[test]
fn coalesced_run_sees_writes_before_fire() {
    // Two threads fire the trigger for many rounds. The last run sees the last write of both
    // threads, whichever of them queued the run. The writes are relaxed, so only `fire` orders them.
    within_deadline(|| {
        for _ in 0..if cfg!(miri) { 5 } else { 500 } {
            let r = Resource::new([0; 2]);
            let written: Arc<[AtomicUsize; 2]> = Arc::default();
            let read = Arc::clone(&written);
            let look = r.trigger(move |seen: &mut [usize; 2]| {
                *seen = [0, 1].map(|n| read[n].load(Ordering::Relaxed));
            });
            let start = Arc::new(Barrier::new(2));
            let threads = [0, 1].map(|n| {
                let (look, start, written) =
                    (look.clone(), Arc::clone(&start), Arc::clone(&written));
                thread::spawn(move || {
                    start.wait();
                    for i in 1..=50 {
                        written[n].store(i, Ordering::Relaxed);
                        look.fire().unwrap();
                    }
                })
            });
            for thread in threads {
                join(thread).unwrap();
            }
            assert_eq!(r.with(|seen| *seen), Ok([50; 2]));
        }
    });
}

#[test]
fn fire_fails_when_closed() {
    let r = Resource::new(0);
    let bump = counting(&r);
    r.close();
    for _ in 0..3 {
        assert_eq!(bump.fire(), Err(SubmitError::Closed));
    }
    assert_eq!(r.stats().rejected, 3);
}

#[test]
fn queued_trigger_runs_after_close() {
    let r = Resource::new(());
    let drops = Drops::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let (count, tag) = (Arc::clone(&runs), drops.counted());
    let bump = r.trigger(move |()| {
        let _ = &tag;
        count.fetch_add(1, Ordering::SeqCst);
    });
    let held = hold(&r);
    bump.fire().unwrap();
    r.close();
    assert_eq!(bump.fire(), Ok(()), "the fire joins an accepted run");
    held.release();
    assert_eq!(bump.fire(), Err(SubmitError::Closed));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(drops.count(), 0);
    drop(bump);
    assert_eq!(drops.count(), 1);
}

#[test]
fn fire_fails_when_poisoned_until_healed() {
    let r = Resource::builder()
        .panic_policy(PanicPolicy::Poison)
        .build(0)
        .unwrap();
    let bump = counting(&r);
    assert!(r.with(|_| resume_unwind(Box::new(()))).is_err());
    assert_eq!(bump.fire(), Err(SubmitError::Poisoned));
    r.clear_poison(|_| ()).unwrap();
    bump.fire().unwrap();
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn fire_works_after_cancel_pending() {
    let r = Resource::new(0);
    let bump = counting(&r);
    let held = hold(&r);
    bump.fire().unwrap();
    bump.fire().unwrap();
    assert_eq!(r.cancel_pending(), 1);
    bump.fire().unwrap();
    assert_eq!(r.stats().outstanding, 2);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
    let stats = r.stats();
    assert_eq!(
        (stats.submitted, stats.cancelled, stats.completed),
        (4, 1, 3)
    );
}

#[test]
fn fire_works_after_panic() {
    let r = Resource::new(0);
    let bump = r.trigger(|n| {
        *n += 1;
        if *n == 1 {
            resume_unwind(Box::new(()));
        }
    });
    for runs in 1..=3 {
        bump.fire().unwrap();
        assert_eq!(r.with(|n| *n), Ok(runs));
    }
    let held = hold(&r);
    bump.fire().unwrap();
    held.release();
    assert_eq!(r.with(|n| *n), Ok(4));
    assert_eq!(r.stats().panicked, 1);
}

#[test]
fn trigger_stored_in_own_value_does_not_leak() {
    let drops = Drops::new();
    let (of_value, of_closure) = (drops.counted(), drops.counted());
    let r = Resource::new((of_value, None::<Trigger>));
    let bump = r.trigger(move |_| {
        let _ = &of_closure;
    });
    bump.fire().unwrap();
    r.with(|value| value.1 = Some(bump)).unwrap();
    drop(r);
    assert_eq!(drops.count(), 2);
}

#[test]
fn fire_fails_when_resource_is_dropped() {
    let r = Resource::new(0);
    let bump = counting(&r);
    drop(r);
    assert_eq!(bump.fire(), Err(SubmitError::Closed));
    assert_eq!(bump.fire(), Err(SubmitError::Closed));
}

#[test]
fn queued_trigger_runs_after_drop() {
    let r = Resource::new(0);
    let bump = counting(&r);
    let held = hold(&r);
    bump.fire().unwrap();
    drop(bump);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn panic_in_drop_of_trigger_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(()));
        }
    }
    let r = Resource::new(0);
    let bomb = Bomb;
    let bump = r.trigger(move |n| {
        let _ = &bomb;
        *n += 1;
    });
    let held = hold(&r);
    bump.fire().unwrap();
    drop(bump);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
    assert_eq!(r.stats().panicked, 0);
    drop(r.trigger({
        let bomb = Bomb;
        move |_| {
            let _ = &bomb;
        }
    }));
}

#[test]
fn trigger_is_send_sync_and_two_words() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Trigger>();
    assert_eq!(size_of::<Trigger>(), 2 * size_of::<usize>());
}
