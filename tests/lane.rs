#![cfg(not(any(captor_loom, captor_shuttle)))]
//! The lane on real hardware, with and without the barrier of the kernel. A thread that runs a task
//! in the lane leaves by a plain store, which other threads may see late. A task queued meanwhile
//! must run, and a close must end the resource. The models show why this holds. These tests show
//! that the kernel's barrier does what the models assume.

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

fn race(first: impl Fn(&Resource<u32>) + Sync, second: impl Fn(&Resource<u32>) + Sync) {
    for lane in [true, false] {
        let scheduler = Scheduler::builder().membarrier(lane).build().unwrap();
        race_on(&scheduler, &first, &second);
    }
}

/// Runs `first` and `second` on new resources at the same time, to some nanoseconds. `second`
/// starts a little later each round.
fn race_on(
    scheduler: &Scheduler,
    first: impl Fn(&Resource<u32>) + Sync,
    second: impl Fn(&Resource<u32>) + Sync,
) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| scheduler.resource(0)).collect();
    let arrived = AtomicUsize::new(0);
    let meet = |round: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        let mut turns = 0_u32;
        while arrived.load(Ordering::Acquire) < 2 * (round + 1) {
            // The other thread may be without a core.
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
                first(r);
            }
        });
        for (round, r) in rounds.iter().enumerate() {
            meet(round);
            (0..round % 16).for_each(|_| spin_loop());
            second(r);
        }
    });
    // No later call can find a leftover task by chance.
    for r in &rounds {
        wait_until("all tasks have run", || r.stats().outstanding == 0);
    }
}

#[test]
fn task_queued_as_holder_leaves_lane_runs() {
    // A submitter inside a task of another resource does not linger before queueing.
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
            assert_eq!(
                r.stats().completed,
                done,
                "the resource ended before its last task"
            );
        },
    );
}
