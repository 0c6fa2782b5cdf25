//! Giving the role away, to the pool or to a thread that waits, while others submit.

use super::{Spawned, World, in_order, model, named, pooled, ran_all};
use std::time::Duration;

#[test]
fn submitters_hand_off_to_the_pool_while_others_push() {
    model(3, || {
        let w = World::restless();
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
fn two_submitters_and_a_worker() {
    model(2, || {
        let w = World::restless();
        let others = [1, 2].map(|n| w.spawn(move |w| w.r.execute(w.slow_entry(n)).unwrap()));
        w.queue(3);
        w.work_until_gone(6);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

#[test]
fn two_workers_share_the_jobs_of_a_pooled_resource() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, pooled());
        let other = w.spawn(|w| {
            w.r.execute(w.entry(1)).unwrap();
            w.work_until_gone(6);
        });
        w.r.execute(w.entry(2)).unwrap();
        w.r.execute(w.entry(3)).unwrap();
        w.work_until_gone(6);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3]);
        assert!(in_order(&ran, 2, 3), "{ran:?}");
    });
}

/// The offer is taken by a submitter; the job comes later, to a strand that is
/// busy, idle, or on offer again.
#[test]
fn a_job_that_comes_late_does_no_harm() {
    model(3, || {
        let w = World::new(2, Duration::ZERO, named());
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
            w.queue(3);
        });
        w.r.execute(w.slow_entry(4)).unwrap();
        w.work_until_gone(8);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4]);
        assert!(in_order(&ran, 1, 2) && in_order(&ran, 2, 3), "{ran:?}");
    });
}

/// The executor drops each job: it comes back as one to be rescued, and is
/// dropped again, which runs it.
#[test]
fn jobs_that_an_executor_drops_are_not_lost() {
    model(3, || {
        let w = World::restless();
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
        // Each is dropped twice.
        assert!(dropped % 2 == 0);
        other.join();
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

/// Every hand-off finds a thread that is parked, or about to be, or about to
/// leave.
#[test]
fn threads_that_wait_are_given_the_role() {
    model(1, || {
        let w = World::served(named());
        let others = [1, 2].map(|n| w.spawn(move |w| drop(w.r.with(w.entry(n)).unwrap())));
        w.r.execute(w.slow_entry(3)).unwrap();
        w.serve(2);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

#[test]
fn one_thread_that_waits_is_given_the_role() {
    model(3, || {
        let w = World::restless();
        let other = w.spawn(|w| drop(w.r.with(w.entry(1)).unwrap()));
        w.r.execute(w.slow_entry(2)).unwrap();
        w.work_until_gone(4);
        other.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}

/// Nobody runs jobs before the waiter is through: either it needs none, or it
/// runs what it waits for itself.
#[test]
fn a_thread_that_waits_helps_itself() {
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

/// The task that the role was offered through is cancelled: its waiter leaves,
/// and must not leave the offer behind.
#[test]
fn a_waiter_that_is_cancelled_passes_the_offer_on() {
    model(3, || {
        let w = World::restless();
        let waiter = w.spawn(|w| {
            let _ = w.r.with(w.entry(1));
        });
        w.r.execute(w.slow_entry(2)).unwrap();
        w.r.cancel_pending();
        // Behind an offer that stands.
        w.queue(3);
        w.work_until_gone(6);
        waiter.join();
        let ran = w.finish();
        assert!(ran.contains(&2) && ran.contains(&3));
    });
}

/// The waiter wakes up by itself (threads may, and from time to time it looks
/// after offers), takes the role that is on offer through its task, and is
/// through with all before the holder has let go of that task.
#[cfg(captor_loom)]
#[test]
fn a_waiter_wakes_up_by_itself_while_it_is_offered_the_role() {
    model(3, || {
        let w = World::restless();
        let waiter = w.spawn(|w| drop(w.r.with(w.entry(1)).unwrap()));
        let thread = waiter.0.thread().clone();
        let stray = w.spawn(move |_| thread.unpark());
        w.r.execute(w.slow_entry(2)).unwrap();
        w.work_until_gone(4);
        waiter.join();
        stray.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}
