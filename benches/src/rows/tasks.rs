//! Ten thousand async callers on one resource.

use super::{bar, contestant};
use crate::contest::{Contest, Contestant};
use crate::measure::{Lap, Tally};
use crate::rivals::{AsyncShared, actors, frameworks, locks, ours, runtime};
use crate::work::Op;
use std::hint::black_box;

const TASKS: u64 = 10_000;
const CALLS: u64 = 100;

/// Runs a fixed piece of work, whatever the time of the lap.
fn by<S: AsyncShared>() -> Contestant {
    contestant(S::NAME, false, |_| {
        let shared = S::new();
        Lap::measure(|_| {
            runtime().block_on(async {
                let task = |shared: S| async move {
                    for _ in 0..CALLS {
                        black_box(shared.call(Op::TINY).await);
                    }
                };
                let tasks: Vec<_> = (0..TASKS)
                    .map(|_| tokio::spawn(task(shared.clone())))
                    .collect();
                for task in tasks {
                    task.await.expect("it ran");
                }
                let ops = TASKS * CALLS;
                assert_eq!(shared.call(Op::TINY).await, ops + 1);
                Tally::of(ops)
            })
        })
    })
}

pub fn rows() -> Vec<Contest> {
    vec![Contest {
        name: "async/10000".into(),
        question: "Ten thousand tokio tasks share one resource: what gets through?",
        ours: vec![by::<ours::Await>()],
        rivals: vec![
            by::<locks::Tokio>(),
            by::<locks::AsyncParkingLot>(),
            by::<locks::AsyncDesync>(),
            by::<actors::Tokio>(),
            by::<frameworks::Kameo>(),
            by::<frameworks::Ractor>(),
        ],
        bars: vec![
            bar("captor submit.await", "tokio mutex", 8.0),
            bar("captor submit.await", "parking_lot", 0.7),
        ],
        width: 2,
    }]
}
