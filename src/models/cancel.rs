//! Models of cancelling and sweeping while a resource runs tasks.

use super::{Spawned, World, long_model, model, named, pooled, unit};
use crate::TaskError;
use std::time::Duration;

/// If `cancel` returns true, the task never runs. Otherwise the task runs.
#[test]
fn task_never_runs_when_cancel_returns_true() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| {
            let c = w.r.submit(w.entry(1));
            let cancelled = c.cancel();
            match c.wait() {
                Ok(_) => assert!(!cancelled),
                Err(TaskError::Cancelled) => assert!(cancelled),
                Err(other) => panic!("{other}"),
            }
        });
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        w.r.execute(unit(w.entry(3))).unwrap();
        other.join();
        let cancelled = w.r.stats().cancelled;
        let ran = w.finish();
        assert_eq!(ran.contains(&1), cancelled == 0);
        assert!(ran.contains(&2) && ran.contains(&3));
    });
}

/// The completion is dropped, and so cancels the task, while a holder may be about to run the task.
#[test]
fn cancel_on_drop_handle_drops_during_drain() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| drop(w.r.submit(w.entry(1)).cancel_on_drop()));
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        other.join();
        let cancelled = w.r.stats().cancelled;
        assert_eq!(w.finish().contains(&1), cancelled == 0);
    });
}

/// Each task runs or is swept, and `cancel_pending` counts the swept tasks.
#[test]
fn sweep_count_is_exact_during_drain_and_push() {
    long_model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let pusher = w.spawn(|w| w.queue(1));
        let sweeper = w.spawn(|w| w.r.cancel_pending());
        w.queue(2);
        w.queue(3);
        pusher.join();
        let swept = sweeper.join();
        assert_eq!(w.finish().len() + swept, 3);
    });
}

/// The holder, the sweep and the canceller all try to claim the task. One claim succeeds.
#[test]
fn sweep_during_cancel_through_handle() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let handle = w.spawn(|w| {
            let c = w.r.submit(w.entry(1));
            let cancelled = c.cancel();
            let outcome = c.wait();
            assert!(!cancelled || outcome.is_err());
        });
        let sweeper = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        handle.join();
        sweeper.join();
        w.finish();
    });
}

#[test]
fn sweep_counts_are_exact_when_two_sweeps_race() {
    model(1, || {
        let w = World::new(10, Duration::ZERO, named());
        let others = [(); 2].map(|()| w.spawn(|w| w.r.cancel_pending()));
        w.queue(1);
        w.queue(2);
        let swept: usize = others.into_iter().map(Spawned::join).sum();
        assert_eq!(w.finish().len() + swept, 2);
    });
}

/// A thread that blocks in `with` wakes if its task is swept.
#[test]
fn waiter_wakes_when_task_is_swept() {
    model(2, || {
        let w = World::served(named());
        let waiter = w.spawn(|w| match w.r.with(w.entry(1)) {
            Ok(_) | Err(TaskError::Cancelled) => {}
            Err(other) => panic!("{other}"),
        });
        let sweeper = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        w.serve(2);
        waiter.join();
        sweeper.join();
        w.finish();
    });
}

/// All tasks run, except for those that the sweep takes.
#[test]
fn tasks_run_or_are_swept_when_pooled() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, pooled());
        let other = w.spawn(|w| {
            w.r.execute(unit(w.entry(1))).unwrap();
            w.r.cancel_pending();
            w.r.execute(unit(w.entry(2))).unwrap();
        });
        w.r.execute(unit(w.entry(3))).unwrap();
        w.work_until_gone(6);
        other.join();
        let ran = w.finish();
        assert!(ran.contains(&2));
        assert!(ran.len() <= 3);
    });
}
