#![cfg(not(any(captor_loom, captor_shuttle)))]
//! The lane on real hardware, and without one: whoever runs a task there leaves by a plain store,
//! which others may see late. What they queue, or close, meanwhile must not be
//! left lying. The models show why; this shows that the kernel's barrier does
//! what they take it for.

mod common;

use captor::{Resource, Scheduler};
use common::{DEADLINE, wait_until};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const ROUNDS: usize = if cfg!(debug_assertions) {
    5_000
} else {
    50_000
};

fn race(one: impl Fn(&Resource<u32>) + Sync, other: impl Fn(&Resource<u32>) + Sync) {
    for lane in [true, false] {
        let scheduler = Scheduler::builder().membarrier(lane).build().unwrap();
        race_on(&scheduler, &one, &other);
    }
}

/// Lets `one` and `other` loose on new resources, at the same time to some
/// nanoseconds, `other` a little later each time.
fn race_on(
    scheduler: &Scheduler,
    one: impl Fn(&Resource<u32>) + Sync,
    other: impl Fn(&Resource<u32>) + Sync,
) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| scheduler.resource(0)).collect();
    let arrived = AtomicUsize::new(0);
    let meet = |round: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        let mut turns = 0_u32;
        while arrived.load(Ordering::Acquire) < 2 * (round + 1) {
            // The other one may be without a core.
            turns += 1;
            if turns % 1024 == 0 {
                thread::yield_now();
            } else {
                spin_loop();
            }
        }
    };
    thread::scope(|s| {
        s.spawn(|| {
            for (round, r) in rounds.iter().enumerate() {
                meet(round);
                one(r);
            }
        });
        for (round, r) in rounds.iter().enumerate() {
            meet(round);
            (0..round % 16).for_each(|_| spin_loop());
            other(r);
        }
    });
    // Nobody comes to them any more who could find by chance what was left.
    for r in &rounds {
        wait_until("all has run", || r.stats().outstanding == 0);
    }
}

#[test]
fn task_queued_as_holder_leaves_lane_runs() {
    // Inside a task of another resource, nobody lingers before they queue.
    let elsewhere = Resource::new(());
    race(
        |r| (0..4).for_each(|_| r.execute(|n| *n += 1).unwrap()),
        |r| {
            elsewhere
                .with(|()| r.execute(|n| *n += 1).unwrap())
                .unwrap()
        },
    );
}

#[test]
fn wait_closed_returns_as_holder_leaves_lane() {
    race(
        |r| {
            for _ in 0..4 {
                let _ = r.execute(|n| *n += 1);
            }
        },
        |r| {
            r.close();
            assert!(r.wait_closed(DEADLINE));
            let done = r.stats().completed;
            thread::yield_now();
            assert_eq!(r.stats().completed, done, "it ended with a task under way");
        },
    );
}
