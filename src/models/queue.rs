//! Models of pushing while a holder drains.

use super::{Spawned, World, in_order, model, named, ran_all};
use std::time::Duration;

#[test]
fn order_within_thread_holds_during_drain() {
    model(3, || {
        let w = World::without_limits();
        let other = w.spawn(|w| {
            w.queue(1);
            w.queue(2);
        });
        w.queue(3);
        w.queue(4);
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4]);
        assert!(in_order(&ran, 1, 2) && in_order(&ran, 3, 4), "{ran:?}");
    });
}

#[test]
fn two_threads_push_during_drain() {
    model(2, || {
        let w = World::without_limits();
        let others = [1, 2].map(|n| w.spawn(move |w| w.queue(n)));
        w.queue(3);
        w.queue(4);
        others.into_iter().for_each(Spawned::join);
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4]);
        assert!(in_order(&ran, 3, 4), "{ran:?}");
    });
}

/// Three threads drain in turn. Each holder sees what all earlier holders wrote.
#[test]
fn holder_sees_earlier_writes_when_role_moves() {
    model(2, || {
        let w = World::new(2, Duration::ZERO, named());
        let others = [1, 2].map(|n| w.spawn(move |w| w.queue(n)));
        w.queue(3);
        w.work_until_gone(6);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}
