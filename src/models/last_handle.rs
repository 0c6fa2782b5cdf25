//! Models of dropping the last handle while tasks are queued or run.

use super::{World, model, named, unit};
use std::time::Duration;

#[test]
fn queued_tasks_run_when_last_handle_drops() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| {
            w.queue(1);
            w.drop_handle();
        });
        w.queue(2);
        let rest = w.drop_handle();
        other.join();
        super::ran_all(&rest.finish(), &[1, 2]);
    });
}

/// A job keeps the resource alive.
#[test]
fn job_keeps_value_when_last_handle_drops() {
    model(3, || {
        let w = World::handing_off();
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
            w.drop_handle();
        });
        w.queue(3);
        let rest = w.drop_handle();
        rest.work_until_gone(6);
        other.join();
        super::ran_all(&rest.finish(), &[1, 2, 3]);
    });
}

/// A completion refers to the resource, but does not keep the resource alive.
#[test]
fn completion_resolves_when_last_handle_drops() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).unwrap());
        let c = w.r.submit(w.entry(2));
        let rest = w.drop_handle();
        let cancelled = c.cancel();
        assert_eq!(c.wait().is_err(), cancelled);
        other.join();
        assert_eq!(rest.finish().contains(&2), !cancelled);
    });
}

/// A task drops the last handle of its own resource.
#[test]
fn last_handle_drops_during_own_task() {
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
        let rest = w.drop_handle();
        other.join();
        super::ran_all(&rest.finish(), &[1, 2]);
    });
}
