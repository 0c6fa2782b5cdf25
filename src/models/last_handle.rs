//! The last handle goes while tasks are queued or run.

use super::{World, model, named};
use std::time::Duration;

#[test]
fn the_value_goes_after_all_that_was_submitted_has_run() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| {
            w.queue(1);
            w.part();
        });
        w.queue(2);
        let rest = w.part();
        other.join();
        super::ran_all(&rest.finish(), &[1, 2]);
    });
}

/// What is handed off keeps the resource.
#[test]
fn a_job_keeps_the_value() {
    model(3, || {
        let w = World::restless();
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
            w.part();
        });
        w.queue(3);
        let rest = w.part();
        rest.work_until_gone(6);
        other.join();
        super::ran_all(&rest.finish(), &[1, 2, 3]);
    });
}

/// A completion refers to the resource, but does not keep it.
#[test]
fn a_completion_outlives_the_resource() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| w.r.execute(w.slow_entry(1)).unwrap());
        let c = w.r.submit(w.entry(2));
        let rest = w.part();
        let cancelled = c.cancel();
        assert_eq!(c.wait().is_err(), cancelled);
        other.join();
        assert_eq!(rest.finish().contains(&2), !cancelled);
    });
}

/// A task holds the last handle of its own resource.
#[test]
fn a_task_drops_the_last_handle() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| {
            let (inside, entry) = (w.r.clone(), w.entry(1));
            w.r.execute(move |log| {
                drop(entry(log));
                drop(inside);
            })
            .unwrap();
        });
        w.queue(2);
        let rest = w.part();
        other.join();
        super::ran_all(&rest.finish(), &[1, 2]);
    });
}
