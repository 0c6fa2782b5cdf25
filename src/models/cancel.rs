//! Taking tasks back out while the resource runs them.

use super::{Spawned, World, model, named, pooled};
use crate::TaskError;
use std::time::Duration;

/// `true`: it never runs. `false`: it does.
#[test]
fn a_handle_cancels_what_has_not_started() {
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
        w.r.execute(w.slow_entry(2)).unwrap();
        w.r.execute(w.entry(3)).unwrap();
        other.join();
        let cancelled = w.r.stats().cancelled;
        let ran = w.finish();
        assert_eq!(ran.contains(&1), cancelled == 0);
        assert!(ran.contains(&2) && ran.contains(&3));
    });
}

/// It is dropped, and so cancelled, while the resource may be about to run it.
#[test]
fn dropping_cancels_where_it_was_asked_to() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| drop(w.r.submit(w.entry(1)).cancel_on_drop()));
        w.r.execute(w.slow_entry(2)).unwrap();
        other.join();
        let cancelled = w.r.stats().cancelled;
        assert_eq!(w.finish().contains(&1), cancelled == 0);
    });
}

/// Each task runs or is cancelled, and the count is right.
#[test]
fn a_sweep_meets_a_drain_and_a_push() {
    model(2, || {
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

/// The closure belongs to one of three: who runs it, who sweeps, the handle.
#[test]
fn a_sweep_meets_a_handle_that_cancels() {
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
        w.r.execute(w.slow_entry(2)).unwrap();
        handle.join();
        sweeper.join();
        w.finish();
    });
}

#[test]
fn two_sweep_at_once() {
    model(1, || {
        let w = World::new(10, Duration::ZERO, named());
        let others = [(); 2].map(|()| w.spawn(|w| w.r.cancel_pending()));
        w.queue(1);
        w.queue(2);
        let swept: usize = others.into_iter().map(Spawned::join).sum();
        assert_eq!(w.finish().len() + swept, 2);
    });
}

/// A thread that blocks in `with` hears of it.
#[test]
fn a_sweep_wakes_who_waits() {
    model(2, || {
        let w = World::served(named());
        let waiter = w.spawn(|w| match w.r.with(w.entry(1)) {
            Ok(_) | Err(TaskError::Cancelled) => {}
            Err(other) => panic!("{other}"),
        });
        let sweeper = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.r.execute(w.slow_entry(2)).unwrap();
        w.serve(2);
        waiter.join();
        sweeper.join();
        w.finish();
    });
}

/// Nothing but what was swept is missing.
#[test]
fn tasks_of_a_pooled_resource_run_or_are_swept() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, pooled());
        let other = w.spawn(|w| {
            w.r.execute(w.entry(1)).unwrap();
            w.r.cancel_pending();
            w.r.execute(w.entry(2)).unwrap();
        });
        w.r.execute(w.entry(3)).unwrap();
        w.work_until_gone(6);
        other.join();
        let ran = w.finish();
        assert!(ran.contains(&2));
        assert!(ran.len() <= 3);
    });
}
