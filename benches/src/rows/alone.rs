//! The cost of the idle path: a single caller.

use super::{bar, contestant};
use crate::contest::{Contest, Contestant};
use crate::measure::{Lap, Tally};
use crate::rivals::{AsyncShared, Shared, actors, frameworks, locks, ours, runtime};
use crate::work::Op;
use std::hint::black_box;
use std::time::Instant;

const BATCH: u64 = 10_000;

fn calls<S: Shared>() -> Contestant {
    contestant(S::NAME, S::BUSY, |time| {
        let shared = S::new();
        Lap::measure(|_| {
            let end = Instant::now() + time;
            let mut ops = 0;
            while Instant::now() < end {
                for _ in 0..BATCH {
                    black_box(shared.call(Op::TINY));
                }
                ops += BATCH;
            }
            assert_eq!(shared.call(Op::TINY), ops + 1, "each ran exactly once");
            Tally::of(ops)
        })
    })
}

fn awaits<S: AsyncShared>() -> Contestant {
    contestant(S::NAME, false, |time| {
        let shared = S::new();
        let task = async move {
            let end = Instant::now() + time;
            let mut ops = 0;
            while Instant::now() < end {
                for _ in 0..BATCH {
                    black_box(shared.call(Op::TINY).await);
                }
                ops += BATCH;
            }
            assert_eq!(shared.call(Op::TINY).await, ops + 1);
            ops
        };
        Lap::measure(|_| Tally::of(runtime().block_on(runtime().spawn(task)).expect("it ran")))
    })
}

pub fn rows() -> Vec<Contest> {
    vec![
        Contest {
            name: "idle/thread".into(),
            question: "What does a call cost when nobody else is there?",
            ours: vec![calls::<ours::Submit>(), calls::<ours::With>()],
            rivals: vec![
                calls::<locks::ParkingLot>(),
                calls::<locks::Std>(),
                calls::<locks::Lamlock>(),
                calls::<locks::Desync>(),
                calls::<actors::Crossbeam>(),
            ],
            // captor may cost at most 1.15 of `parking_lot`.
            bars: vec![bar("captor submit", "parking_lot", 1.0 / 1.15)],
            width: 1,
        },
        Contest {
            name: "idle/tokio".into(),
            question: "And when it is awaited in a tokio task?",
            ours: vec![awaits::<ours::Await>()],
            rivals: vec![
                awaits::<locks::Tokio>(),
                awaits::<locks::AsyncParkingLot>(),
                awaits::<locks::AsyncDesync>(),
                awaits::<actors::Tokio>(),
                awaits::<frameworks::Kameo>(),
                awaits::<frameworks::Ractor>(),
            ],
            // captor may cost at most 0.12 of tokio's mutex.
            bars: vec![bar("captor submit.await", "tokio mutex", 1.0 / 0.12)],
            width: 1,
        },
    ]
}
