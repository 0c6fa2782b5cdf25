//! Many resources: a few hot ones among thousands, and short-lived ones.

use super::{Bell, bar, contestant, crowd};
use crate::contest::{Contest, Contestant};
use crate::measure::{Lap, Tally, note, waits};
use crate::rivals::{Shared, locks, ours};
use crate::work::Op;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::Zipf;
use std::hint::black_box;
use std::time::{Duration, Instant};

const THREADS: usize = 4;
/// The number of draws of the distribution. They are made before the clock runs.
const DRAWS: usize = 1 << 16;

fn zipf<S: Shared>(resources: usize) -> Contestant {
    contestant(S::NAME, S::BUSY, move |time| {
        let all: Vec<S> = (0..resources).map(|_| S::new()).collect();
        let law = Zipf::new(resources as f64, 0.99).expect("a valid law");
        let each = |seed| {
            let random = SmallRng::seed_from_u64(seed as u64);
            // Ranks start at 1. Neighbours in rank are not neighbours in memory.
            let draws: Vec<usize> = random
                .sample_iter(law)
                .take(DRAWS)
                .map(|rank| (rank as usize).wrapping_mul(0x9E37_79B1) % resources)
                .collect();
            let all = &all;
            move |bell: &Bell| {
                let (mut ops, mut waits) = (0, waits());
                for batch in draws.chunks(64).cycle() {
                    if bell.rang() {
                        break;
                    }
                    let since = Instant::now();
                    black_box(all[batch[0]].call(Op::TINY));
                    note(&mut waits, since);
                    for &i in &batch[1..] {
                        black_box(all[i].call(Op::TINY));
                    }
                    ops += batch.len() as u64;
                }
                (ops, waits)
            }
        };
        crowd(THREADS, time, each, |ops| {
            let sum: u64 = all.iter().map(|one| one.call(Op::TINY) - 1).sum();
            assert_eq!(sum, ops, "each ran exactly once");
        })
    })
}

/// Makes a resource, submits one call, and drops the resource.
fn churn<S: Shared>() -> Contestant {
    contestant(S::NAME, S::BUSY, |time| {
        Lap::measure(|_| {
            let end = Instant::now() + time;
            let mut ops = 0;
            while Instant::now() < end {
                for _ in 0..1_000 {
                    assert_eq!(black_box(S::new()).call(Op::TINY), 1);
                }
                ops += 1_000;
            }
            Tally::of(ops)
        })
    })
}

/// Makes a million resources and uses each once: a fixed piece of work.
fn million<S: Shared>() -> Contestant {
    const MILLION: usize = 1_000_000;
    contestant(S::NAME, S::BUSY, |_: Duration| {
        Lap::measure(|watch| {
            let all: Vec<Box<S>> = (0..MILLION).map(|_| Box::new(S::new())).collect();
            for one in &all {
                assert_eq!(one.call(Op::TINY), 1);
            }
            watch.look();
            Tally::of(MILLION as u64)
        })
    })
}

pub fn rows() -> Vec<Contest> {
    let mut all: Vec<_> = [1_000, 10_000, 1_000_000]
        .map(|resources| Contest {
            name: format!("zipf/{resources}"),
            question: "Four threads, many resources, a few of them hot (Zipf 0.99): what gets through?",
            ours: vec![zipf::<ours::With>(resources)],
            rivals: vec![
                zipf::<locks::ParkingLot>(resources),
                zipf::<locks::ArcParkingLot>(resources),
                zipf::<locks::Std>(resources),
                zipf::<locks::Lamlock>(resources),
            ],
            bars: match resources {
                10_000 => vec![bar("captor with", "parking_lot", 0.9)],
                _ => vec![],
            },
            width: THREADS,
        })
        .into();
    all.push(Contest {
        name: "churn/1".into(),
        question: "What does a resource cost that is made, used once and dropped?",
        ours: vec![churn::<ours::With>()],
        rivals: vec![
            churn::<locks::ParkingLot>(),
            churn::<locks::ArcParkingLot>(),
            churn::<locks::Std>(),
            churn::<locks::Desync>(),
        ],
        bars: vec![],
        width: 1,
    });
    all.push(Contest {
        name: "million/1".into(),
        question: "What do a million resources cost, made and used once?",
        ours: vec![million::<ours::With>()],
        rivals: vec![
            million::<locks::ParkingLot>(),
            million::<locks::ArcParkingLot>(),
            million::<locks::Desync>(),
        ],
        bars: vec![],
        width: 1,
    });
    all
}
