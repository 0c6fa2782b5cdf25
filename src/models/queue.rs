//! Pushing against a holder that drains.

use super::{Spawned, World, in_order, model, named, ran_all};
use std::time::Duration;

#[test]
fn pushes_of_one_thread_come_out_in_order() {
    model(3, || {
        let w = World::calm();
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
fn two_push_while_one_drains() {
    model(2, || {
        let w = World::calm();
        let others = [1, 2].map(|n| w.spawn(move |w| w.queue(n)));
        w.queue(3);
        w.queue(4);
        others.into_iter().for_each(Spawned::join);
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4]);
        assert!(in_order(&ran, 3, 4), "{ran:?}");
    });
}

/// Three drain in turns: each sees what all before it wrote.
#[test]
fn the_role_carries_what_earlier_holders_wrote() {
    model(2, || {
        let w = World::new(2, Duration::ZERO, named());
        let others = [1, 2].map(|n| w.spawn(move |w| w.queue(n)));
        w.queue(3);
        w.work_until_gone(6);
        others.into_iter().for_each(Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}
