//! Models of tasks that the holder sorts by priority, while other threads push and sweep.

use super::{Log, Spawned, World, in_order, long_model, model, named, ran_all};
use crate::raw::core::cold_state::{Priorities, Settings};
use crate::raw::submit::Admission;
use crate::raw::task::tag::Tag;
use crate::raw::thread::context;
use std::time::Duration;

fn two_levels(capture_limit: usize) -> World {
    let settings = Settings {
        priorities: Some(Priorities {
            levels: 2,
            default: 1,
            every: 2,
        }),
        ..named()
    };
    World::new(capture_limit, Duration::ZERO, settings)
}

#[test]
fn order_within_level_holds_during_pushes() {
    model(3, || {
        let w = two_levels(10);
        let other = w.spawn(|w| {
            w.queue_at(1, 1);
            w.queue_at(0, 2);
            w.queue_at(1, 3);
        });
        w.queue_at(1, 4);
        w.queue_at(1, 5);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4, 5]);
        assert!(in_order(&ran, 1, 3) && in_order(&ran, 4, 5), "{ran:?}");
    });
}

/// Sorted tasks pass from a holder to the next holder.
#[test]
fn sorted_tasks_run_when_role_is_handed_off() {
    long_model(2, || {
        let w = two_levels(2);
        let others = [0, 1].map(|n| w.spawn(move |w| w.queue_at(n, n)));
        w.queue_at(1, 2);
        w.queue_at(0, 3);
        w.work_until_gone(8);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[0, 1, 2, 3]);
    });
}

#[test]
fn sweep_count_is_exact_when_tasks_are_sorted() {
    model(2, || {
        let w = two_levels(10);
        let pusher = w.spawn(|w| w.queue_at(0, 1));
        let sweeper = w.spawn(|w| w.r.cancel_pending());
        w.queue_at(1, 2);
        w.queue_at(0, 3);
        pusher.join();
        let swept = sweeper.join();
        assert_eq!(w.finish().len() + swept, 3);
    });
}

/// Queues a task that must not run inside another task.
fn queue_checked(w: &World, level: u8, n: u8) {
    let entry = w.entry(n);
    let checked = move |log: &mut Log| {
        assert!(context::depth() < 2, "task {n} runs inside a task");
        drop(entry(log));
    };
    let tag = Tag { level, meta: None };
    let queued = w.r.core().queue_detached(checked, tag, Admission::Bounded);
    assert!(queued.is_ok());
}

/// The submitter's own task may have to run after other tasks. Inside a task, the submitter
/// therefore does not take the role.
#[test]
fn submitter_drains_nothing_when_inside_task() {
    model(2, || {
        let w = two_levels(10);
        let (outer, inner) = (World::without_limits(), w.clone());
        let other = w.spawn(|w| {
            queue_checked(&w, 0, 1);
            queue_checked(&w, 0, 2);
        });
        let submits = move |_: &mut Log| {
            queue_checked(&inner, 1, 3);
            queue_checked(&inner, 0, 4);
            drop(inner.drop_handle());
        };
        outer.r.with(submits).unwrap();
        w.work_until_gone(8);
        other.join();
        ran_all(&w.finish(), &[1, 2, 3, 4]);
        outer.finish();
    });
}
