//! Models of the `on_idle` hook, against tasks that arrive on every path.

use super::{Spawned, World, in_order, model, named, ran_all, unit};
use std::time::Duration;

const SET: u8 = 8;
const CALLED: u8 = 9;

fn set(w: &World) {
    drop(w.r.on_idle(|log| log.push(CALLED)));
    w.queue(SET);
}

/// Asserts that the hook was called after every task that ran since the hook was set.
fn called_after_all(ran: &[u8]) {
    let at = ran
        .iter()
        .position(|n| *n == SET)
        .expect("the hook was set");
    assert!(
        at + 1 == ran.len() || ran.last() == Some(&CALLED),
        "{ran:?}"
    );
    assert!(ran[at..].contains(&CALLED), "{ran:?}");
    let entries: Vec<_> = ran.iter().copied().filter(|n| *n != CALLED).collect();
    ran_all(&entries, &[1, 2, SET]);
    assert!(in_order(ran, 1, 2), "{ran:?}");
}

#[test]
fn hook_is_set_during_fast_path_tasks() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| {
            w.r.execute(unit(w.entry(1))).unwrap();
            w.r.execute(unit(w.entry(2))).unwrap();
        });
        set(&w);
        other.join();
        called_after_all(&w.finish());
    });
}

#[test]
fn tasks_are_queued_during_hook_call() {
    model(2, || {
        let w = World::new(2, Duration::ZERO, named());
        set(&w);
        let others = [w.spawn(|w| {
            w.queue(1);
            w.queue(2);
        })];
        w.run_jobs();
        others.into_iter().for_each(Spawned::join);
        w.work_until_gone(6);
        called_after_all(&w.finish());
    });
}
