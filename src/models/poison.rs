//! Models of a panic that poisons or closes, and of the heal, while other threads submit.

use super::{FOREVER, Spawned, World, model, named, unit};
use crate::raw::core::cold_state::{AfterPanic, Settings};
use crate::{HealError, SubmitError, TaskError};
use std::time::Duration;

fn poisonable(capture_limit: usize, quantum: Duration) -> World {
    world(AfterPanic::Poison, capture_limit, quantum)
}

fn world(after_panic: AfterPanic, capture_limit: usize, quantum: Duration) -> World {
    let settings = Settings {
        after_panic,
        ..named()
    };
    World::new(capture_limit, quantum, settings)
}

fn submit(w: &World, n: u8) {
    match w.r.submit(w.entry(n)).wait() {
        Ok(_) | Err(TaskError::Poisoned) => {}
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn submission_runs_or_fails_during_poisoning() {
    model(3, || {
        let w = poisonable(10, FOREVER);
        let other = w.spawn(|w| {
            submit(&w, 1);
            submit(&w, 2);
        });
        let outcome = w.r.submit(w.panicking_entry(3)).wait();
        assert!(matches!(outcome, Err(TaskError::Panicked(_))));
        assert!(w.r.is_poisoned());
        assert_eq!(w.r.execute(|_| ()), Err(SubmitError::Poisoned));
        other.join();
        heal(&w);
        assert!(w.finish().contains(&3));
    });
}

/// A panic closes the resource and drops the value, while another thread submits. No task runs on
/// the dropped value: a checked cell lies inside the value.
#[test]
fn value_is_dropped_once_during_submissions() {
    model(3, || {
        let w = world(AfterPanic::Close, 10, FOREVER);
        let other = w.spawn(|w| {
            for n in [1, 2] {
                match w.r.submit(w.entry(n)).wait() {
                    Ok(_) | Err(TaskError::Cancelled | TaskError::Closed) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let outcome = w.r.submit(w.panicking_entry(3)).wait();
        assert!(matches!(outcome, Err(TaskError::Panicked(_))));
        assert!(w.r.is_closed());
        assert_eq!(w.r.execute(|_| ()), Err(SubmitError::Closed));
        other.join();
        assert!(w.finish().contains(&3));
    });
}

fn heal(w: &World) {
    assert_eq!(w.r.clear_poison(|log| log.push(0)).ok(), Some(()));
    w.r.with(|log| log.push(9)).unwrap();
}

#[test]
fn heal_during_submissions() {
    model(1, || {
        let w = poisonable(10, FOREVER);
        let others = [1, 2].map(|n| w.spawn(move |w| submit(&w, n)));
        let _ = w.r.submit(w.panicking_entry(3)).wait();
        heal(&w);
        others.into_iter().for_each(Spawned::join);
        let ran = w.finish();
        assert!(ran.contains(&3) && ran.contains(&9));
    });
}

#[test]
fn heal_succeeds_once_when_two_threads_heal() {
    model(3, || {
        let w = poisonable(10, FOREVER);
        let _ = w.r.submit(w.panicking_entry(1)).wait();
        let other = w.spawn(|w| w.r.clear_poison(|log| log.push(2)).is_ok());
        let healed = match w.r.clear_poison(|log| log.push(3)) {
            Ok(()) => true,
            Err(HealError::NotPoisoned) => false,
            Err(error) => panic!("{error}"),
        };
        assert!(healed != other.join());
        assert!(w.r.with(|_| ()).is_ok());
        w.finish();
    });
}

/// A heal does not reopen a closed resource. The end is told all the same.
#[test]
fn resource_stays_closed_during_heal() {
    model(2, || {
        let w = poisonable(10, FOREVER);
        let _ = w.r.submit(w.panicking_entry(1)).wait();
        let healer = w.spawn(|w| drop(w.r.clear_poison(|log| log.push(2))));
        w.r.close();
        assert!(w.r.wait_closed(FOREVER));
        healer.join();
        assert_eq!(w.r.with(|_| ()), Err(TaskError::Closed));
        w.finish();
    });
}

/// The task that panics runs on a captured thread or on a worker, with more tasks in the queue.
#[test]
fn queued_tasks_resolve_during_poisoning() {
    model(2, || {
        let w = poisonable(1, Duration::ZERO);
        let other = w.spawn(|w| submit(&w, 1));
        w.r.execute(unit(w.panicking_entry(2))).unwrap();
        submit_and_work(&w, 3);
        w.work_until_gone(6);
        other.join();
        heal(&w);
        assert!(w.finish().contains(&2));
    });
}

fn submit_and_work(w: &World, n: u8) {
    let c = w.r.submit(w.entry(n));
    w.work_until(|| c.is_finished());
}
