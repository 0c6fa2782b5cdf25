//! Models of the lane beside the state word, and of the two barriers of unequal cost.
//!
//! Most other models of a resource that is not pooled use an open lane too. The models here cover
//! the cases that those models leave out.

use super::{Spawned, World, in_order, model, named, ran_all, unit};

/// The submitter that queues may find the lane taken. The submitter then relies on the entrant.
#[test]
fn queued_task_runs_when_lane_is_taken() {
    model(3, || {
        let w = World::without_limits();
        let other = w.spawn(|w| w.r.execute(unit(w.entry(1))).unwrap());
        w.queue(2);
        other.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}

/// A task that was left to the first entrant is swept. When the submitter of that task looks again,
/// a second entrant may be in the lane.
#[test]
fn queued_task_is_swept_when_lane_is_taken() {
    model(2, || {
        let w = World::new(10, super::FOREVER, named());
        let others = [
            w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).unwrap()),
            w.spawn(|w| w.queue(2)),
        ];
        let swept = w.r.cancel_pending();
        w.r.execute(unit(w.slow_entry(3))).unwrap();
        others.into_iter().for_each(Spawned::join);
        let expected: &[u8] = if swept == 0 { &[1, 2, 3] } else { &[1, 3] };
        ran_all(&w.finish(), expected);
    });
}

/// Threads claim by the word while the lane is closed and while the lane opens, and by the lane.
#[test]
fn tasks_run_in_order_when_closed_lane_opens() {
    model(3, || {
        let w = World::without_limits();
        w.queue(1);
        let other = w.spawn(|w| {
            w.r.execute(unit(w.entry(2))).unwrap();
            w.r.execute(unit(w.entry(3))).unwrap();
        });
        w.r.execute(unit(w.entry(4))).unwrap();
        w.r.execute(unit(w.entry(5))).unwrap();
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4, 5]);
        assert!(in_order(&ran, 2, 3) && in_order(&ran, 4, 5), "{ran:?}");
    });
}

/// Two threads claim while a third thread queues. Each thread runs at most one task.
#[test]
fn role_is_passed_on_when_limit_is_reached() {
    model(2, || {
        let w = World::served(named());
        let others = [
            w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).unwrap()),
            w.spawn(|w| w.queue(2)),
        ];
        w.r.execute(unit(w.entry(3))).unwrap();
        w.serve(2);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

/// The end is told only after the task in the lane has finished.
#[test]
fn end_waits_for_task_when_lane_is_taken() {
    model(3, || {
        let w = World::new(10, super::FOREVER, named());
        let other = w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).is_ok());
        w.r.close();
        let ended = w.r.core().has_ended();
        let ran = w.gone() == 2;
        let accepted = other.join();
        assert!(
            !ended || !accepted || ran,
            "the resource ended while a task ran"
        );
        assert!(w.r.core().has_ended());
        let expected: &[u8] = if accepted { &[1] } else { &[] };
        ran_all(&w.finish(), expected);
    });
}
