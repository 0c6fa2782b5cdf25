//! Loads that are not a steady loop.

use super::{Bell, contestant, crowd};
use crate::contest::{Contest, Contestant};
use crate::measure::{Lap, Tally, note, waits};
use crate::rivals::{Shared, actors, locks, ours};
use crate::work::{Op, Topic};
use captor::Resource;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const THREADS: usize = 64;
const OUTSTANDING: usize = 10_000;

/// Each thread submits. Once all threads together have 10,000 tasks outstanding, each thread also
/// waits for its oldest task.
fn submits() -> Contestant {
    contestant("captor submit", true, |time| {
        let shared: Resource<Topic> = Resource::default();
        let each = |_| {
            |bell: &Bell| {
                let (mut ops, mut waits) = (0, waits());
                let mut under_way = VecDeque::new();
                while !bell.rang() {
                    let since = Instant::now();
                    under_way.push_back(shared.submit(|t| Op::TINY.run(t)));
                    if under_way.len() >= OUTSTANDING / THREADS {
                        let oldest = under_way.pop_front().expect("not empty");
                        oldest.wait().expect("open");
                    }
                    note(&mut waits, since);
                    ops += 1;
                }
                for task in under_way {
                    task.wait().expect("open");
                }
                (ops, waits)
            }
        };
        crowd(THREADS, time, each, |ops| {
            assert_eq!(shared.with(|t| t.count), Ok(ops), "each ran exactly once");
        })
    })
}

/// Each thread calls a lock, or sends to an actor without waiting.
fn casts<S: Shared>() -> Contestant {
    contestant(S::NAME, S::BUSY, |time| {
        let shared = S::new();
        let each = |_| {
            |bell: &Bell| {
                let (mut ops, mut waits) = (0, waits());
                while !bell.rang() {
                    let since = Instant::now();
                    shared.cast(Op::TINY);
                    note(&mut waits, since);
                    ops += 1;
                }
                (ops, waits)
            }
        };
        crowd(THREADS, time, each, |ops| {
            assert_eq!(shared.call(Op::TINY), ops + 1, "each ran exactly once");
        })
    })
}

/// Four threads fire a thousand calls each at once. Then all threads are quiet for 2 ms.
fn bursts<S: Shared>() -> Contestant {
    contestant(S::NAME, false, |time| {
        let shared = S::new();
        Lap::measure(|_| {
            let end = Instant::now() + time;
            let mut tally = Tally::of(0);
            while Instant::now() < end {
                let since = Instant::now();
                std::thread::scope(|s| {
                    for _ in 0..4 {
                        s.spawn(|| (0..1_000).for_each(|_| shared.cast(Op::TINY)));
                    }
                });
                tally.ops += 4_001;
                assert_eq!(shared.call(Op::TINY), tally.ops, "each ran exactly once");
                note(&mut tally.waits, since);
                std::thread::sleep(Duration::from_millis(2));
            }
            tally
        })
    })
}

pub fn rows() -> Vec<Contest> {
    vec![
        Contest {
            name: "outstanding/64".into(),
            question: "64 threads, at most 10,000 calls under way at once: what gets through?",
            ours: vec![submits()],
            rivals: vec![
                casts::<locks::ParkingLot>(),
                casts::<locks::Std>(),
                casts::<actors::Crossbeam>(),
                casts::<actors::Kanal>(),
            ],
            bars: vec![],
            width: THREADS,
        },
        Contest {
            name: "burst/4".into(),
            question: "4,000 calls at once from four threads, then silence: how long until all has run?",
            ours: vec![bursts::<ours::Execute>()],
            rivals: vec![
                bursts::<locks::ParkingLot>(),
                bursts::<locks::Std>(),
                bursts::<actors::Crossbeam>(),
            ],
            bars: vec![],
            width: 4,
        },
    ]
}
