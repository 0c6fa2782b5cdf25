//! Models of a hand-off to the pool or to a waiter, while other threads submit.

use super::{Spawned, World, in_order, long_model, model, named, pooled, ran_all, unit};
use std::time::Duration;

#[test]
fn hand_off_to_pool_during_pushes() {
    model(3, || {
        let w = World::handing_off();
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
        });
        w.queue(3);
        w.work_until_gone(6);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3]);
        assert!(in_order(&ran, 1, 2), "{ran:?}");
    });
}

#[test]
fn tasks_all_run_when_two_submitters_hand_off() {
    long_model(2, || {
        let w = World::handing_off();
        let others = [1, 2].map(|n| w.spawn(move |w| w.r.execute(unit(w.slow_entry(n))).unwrap()));
        w.queue(3);
        w.work_until_gone(6);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

#[test]
fn order_holds_when_two_workers_share_jobs() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, pooled());
        let other = w.spawn(|w| {
            w.r.execute(unit(w.entry(1))).unwrap();
            w.work_until_gone(6);
        });
        w.r.execute(unit(w.entry(2))).unwrap();
        w.r.execute(unit(w.entry(3))).unwrap();
        w.work_until_gone(6);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3]);
        assert!(in_order(&ran, 2, 3), "{ran:?}");
    });
}

/// A submitter takes the offer. The job runs later and finds a strand that is busy, idle, or on
/// offer again.
#[test]
fn stale_job_is_harmless_when_offer_was_taken() {
    model(3, || {
        let w = World::new(2, Duration::ZERO, named());
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
            w.queue(3);
        });
        w.r.execute(unit(w.slow_entry(4))).unwrap();
        w.work_until_gone(8);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4]);
        assert!(in_order(&ran, 1, 2) && in_order(&ran, 2, 3), "{ran:?}");
    });
}

/// The executor drops each job. The drop posts a job for the built-in pool. The drop of that second
/// job runs the tasks.
#[test]
fn tasks_run_when_executor_drops_jobs() {
    model(3, || {
        let w = World::handing_off();
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
        });
        w.queue(3);
        let mut dropped = 0;
        while w.gone() < 6 {
            match w.calls.take() {
                Some(call) => {
                    dropped += 1;
                    drop(call);
                }
                None => crate::sync::yield_now(),
            }
        }
        // Each job is dropped twice.
        assert!(dropped % 2 == 0);
        other.join();
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

/// Every hand-off finds a thread that is parked, is about to park, or is about to leave.
#[test]
fn role_reaches_waiter_when_two_threads_wait() {
    model(1, || {
        let w = World::served(named());
        let others = [1, 2].map(|n| w.spawn(move |w| drop(w.r.with(w.entry(n)).unwrap())));
        w.r.execute(unit(w.slow_entry(3))).unwrap();
        w.serve(2);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

#[test]
fn role_reaches_waiter_when_single_thread_waits() {
    model(3, || {
        let w = World::handing_off();
        let other = w.spawn(|w| drop(w.r.with(w.entry(1)).unwrap()));
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        w.work_until_gone(4);
        other.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}

/// No worker runs a job before the waiter is done. Either the waiter needs no job, or it runs the
/// awaited task itself.
#[test]
fn waiter_finishes_when_no_worker_runs_jobs() {
    model(3, || {
        let w = World::new(2, Duration::ZERO, named());
        let other = w.spawn(|w| drop(w.r.with(w.entry(1)).unwrap()));
        w.queue(2);
        w.queue(3);
        other.join();
        w.run_jobs();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3]);
        assert!(in_order(&ran, 2, 3), "{ran:?}");
    });
}

/// The task of the waiter that was asked to take the role is cancelled. The waiter leaves, and must
/// not leave the offer behind.
#[test]
fn offer_is_passed_on_when_waiter_is_cancelled() {
    model(3, || {
        let w = World::handing_off();
        let waiter = w.spawn(|w| {
            let _ = w.r.with(w.entry(1));
        });
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        w.r.cancel_pending();
        // This task may be queued behind an offer.
        w.queue(3);
        w.work_until_gone(6);
        waiter.join();
        let ran = w.finish();
        assert!(ran.contains(&2) && ran.contains(&3));
    });
}

/// The waiter wakes spuriously or on its patrol, and takes the role that is offered through its
/// task. The waiter may have finished before the holder's last touch of that task.
#[cfg(captor_loom)]
#[test]
fn waiter_wakes_spuriously_during_offer() {
    model(3, || {
        let w = World::handing_off();
        let waiter = w.spawn(|w| drop(w.r.with(w.entry(1)).unwrap()));
        let thread = waiter.0.thread().clone();
        let stray = w.spawn(move |_| thread.unpark());
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        w.work_until_gone(4);
        waiter.join();
        stray.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}
