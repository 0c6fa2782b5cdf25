//! The lane beside the state word, and the two barriers of unequal cost.
//!
//! Every resource of the models has a lane, so the others are about it too.
//! Here it is met in the ways that none of them goes.

use super::{Spawned, World, in_order, model, named, ran_all};

/// The one who queues may find the lane taken, and rely on whoever is in it.
#[test]
fn what_is_queued_behind_the_lane_runs() {
    model(3, || {
        let w = World::calm();
        let other = w.spawn(|w| w.r.execute(w.entry(1)).unwrap());
        w.queue(2);
        other.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}

/// What was left to the first one in the lane is swept, and somebody else is
/// in the lane when its submitter comes to see to it.
#[test]
fn what_is_queued_behind_the_lane_is_swept() {
    model(2, || {
        let w = World::new(10, super::FOREVER, named());
        let others = [
            w.spawn(|w| w.r.execute(w.slow_entry(1)).unwrap()),
            w.spawn(|w| w.queue(2)),
        ];
        let swept = w.r.cancel_pending();
        w.r.execute(w.slow_entry(3)).unwrap();
        others.into_iter().for_each(Spawned::join);
        let expected: &[u8] = if swept == 0 { &[1, 2, 3] } else { &[1, 3] };
        ran_all(&w.finish(), expected);
    });
}

/// Claims by the word while the lane is closed, as it opens, and by the lane.
#[test]
fn a_closed_lane_opens() {
    model(3, || {
        let w = World::calm();
        w.queue(1);
        let other = w.spawn(|w| {
            w.r.execute(w.entry(2)).unwrap();
            w.r.execute(w.entry(3)).unwrap();
        });
        w.r.execute(w.entry(4)).unwrap();
        w.r.execute(w.entry(5)).unwrap();
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4, 5]);
        assert!(in_order(&ran, 2, 3) && in_order(&ran, 4, 5), "{ran:?}");
    });
}

/// Two claim while a third queues, and each runs one task at most.
#[test]
fn a_role_that_nobody_wants_is_passed_on() {
    model(2, || {
        let w = World::served(named());
        let others = [
            w.spawn(|w| w.r.execute(w.slow_entry(1)).unwrap()),
            w.spawn(|w| w.queue(2)),
        ];
        w.r.execute(w.entry(3)).unwrap();
        w.serve(2);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

/// A task that runs in the lane is through before the end is told.
#[test]
fn the_end_comes_after_the_task_in_the_lane() {
    model(3, || {
        let w = World::new(10, super::FOREVER, named());
        let other = w.spawn(|w| w.r.execute(w.slow_entry(1)).is_ok());
        w.r.close();
        let ended = w.r.core().has_ended();
        let ran = w.gone() == 2;
        let accepted = other.join();
        assert!(!ended || !accepted || ran, "it ended with a task under way");
        assert!(w.r.core().has_ended());
        let expected: &[u8] = if accepted { &[1] } else { &[] };
        ran_all(&w.finish(), expected);
    });
}
