//! Threads that all use the same resource, all the time.

use super::{Bell, bar, contestant, crowd};
use crate::contest::{Bar, Contest, Contestant};
use crate::measure::{Lap, note, waits};
use crate::rivals::{Shared, actors, frameworks, locks, ours};
use crate::work::{Op, Private};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The loop that each thread runs.
#[derive(Clone, Copy)]
struct Loop {
    threads: usize,
    /// How long a task takes. Zero means the tiny task.
    task: Duration,
    /// The thread's own work between two calls.
    private: Duration,
    detached: bool,
    /// How long one task in [`SLOW`] takes.
    slow: Option<Duration>,
}

/// One call in this many is timed, so that reading the clock does not weigh.
const TIMED: u64 = 64;
/// If a row has slow tasks, one task of a thread in this many is slow.
const SLOW: u64 = 1_000;

impl Loop {
    fn closed(threads: usize) -> Self {
        Loop {
            threads,
            task: Duration::ZERO,
            private: Duration::ZERO,
            detached: false,
            slow: None,
        }
    }

    fn lap<S: Shared>(self, time: Duration) -> Lap {
        let shared = S::new();
        // With longer work, reading the clock does not weigh.
        let tiny = self.task.is_zero() && self.private.is_zero();
        let timed = if tiny { TIMED } else { 1 };
        let (op, slow) = (Op::lasting(self.task), self.slow.map(Op::lasting));
        let each = |_| {
            let mut private = Private::lasting(self.private);
            let shared = &shared;
            let mut call = move |op: Op| {
                if self.detached {
                    shared.cast(op);
                } else {
                    black_box(shared.call(op));
                }
                private.work();
            };
            move |bell: &Bell| {
                let (mut ops, mut waits) = (0, waits());
                while !bell.rang() {
                    let rare = slow.filter(|_| ops % SLOW == 0);
                    let since = Instant::now();
                    call(rare.unwrap_or(op));
                    note(&mut waits, since);
                    for _ in 1..timed {
                        call(op);
                    }
                    ops += timed;
                }
                (ops, waits)
            }
        };
        // Detached tasks count once they have run.
        crowd(self.threads, time, each, |ops| {
            assert_eq!(shared.call(op), ops + 1, "each ran exactly once");
        })
    }

    fn by<S: Shared>(self) -> Contestant {
        contestant(S::NAME, S::BUSY, move |time| self.lap::<S>(time))
    }

    fn mutexes(self) -> Vec<Contestant> {
        vec![self.by::<locks::ParkingLot>(), self.by::<locks::Std>()]
    }

    fn everyone(self) -> Vec<Contestant> {
        let mut all = self.mutexes();
        all.extend([
            self.by::<locks::Lamlock>(),
            self.by::<locks::Desync>(),
            self.by::<actors::Crossbeam>(),
            self.by::<actors::Flume>(),
            self.by::<actors::Kanal>(),
            self.by::<actors::Tokio>(),
            self.by::<frameworks::Kameo>(),
            self.by::<frameworks::Ractor>(),
        ]);
        all
    }

    fn row(
        self,
        name: String,
        question: &'static str,
        ours: Vec<Contestant>,
        rivals: Vec<Contestant>,
        bars: Vec<Bar>,
    ) -> Contest {
        Contest {
            name,
            question,
            ours,
            rivals,
            bars,
            width: self.threads,
        }
    }
}

const ACTORS: [&str; 4] = [
    "actor crossbeam",
    "actor flume",
    "actor kanal",
    "actor tokio mpsc",
];

pub fn rows() -> Vec<Contest> {
    let mut all = Vec::new();
    all.extend([2, 4, 16, 64].map(closed));
    all.extend([1, 2, 4, 16, 64].map(detached));
    for nanos in [100, 1_000, 10_000, 100_000] {
        all.extend([4, 16].map(|threads| length(Duration::from_nanos(nanos), threads)));
    }
    all.extend([2, 4, 16].map(|threads| private(threads, false)));
    all.extend([2, 4, 16].map(|threads| private(threads, true)));
    all.push(slow_among_fast());
    all
}

fn closed(threads: usize) -> Contest {
    let this = Loop::closed(threads);
    let ours = ["captor with", "captor submit"];
    let bars = ours.map(|name| [bar(name, "parking_lot", 1.1), bar(name, "std", 2.0)]);
    this.row(
        format!("closed/{threads}"),
        "All threads call one resource and wait for the result: what gets through?",
        vec![this.by::<ours::With>(), this.by::<ours::Submit>()],
        this.everyone(),
        bars.concat(),
    )
}

fn detached(threads: usize) -> Contest {
    let this = Loop {
        detached: true,
        ..Loop::closed(threads)
    };
    let ratio = if threads == 1 { 0.95 } else { 1.3 };
    let mut bars = vec![bar("captor execute", "parking_lot", ratio)];
    bars.extend(ACTORS.map(|actor| bar("captor execute", actor, 8.0)));
    this.row(
        format!("execute/{threads}"),
        "All threads fire at one resource and forget: how long until all has run?",
        vec![this.by::<ours::Execute>()],
        this.everyone(),
        bars,
    )
}

fn length(task: Duration, threads: usize) -> Contest {
    let this = Loop {
        task,
        ..Loop::closed(threads)
    };
    // Only tasks of 1 µs have a bar.
    let bars = match task.as_nanos() {
        1_000 => vec![bar("captor with", "parking_lot", 1.1)],
        _ => vec![],
    };
    this.row(
        format!("length-{}/{threads}", format!("{task:?}").replace('µ', "u")),
        "And when the tasks take longer?",
        vec![this.by::<ours::With>(), this.by::<ours::Submit>()],
        this.mutexes(),
        bars,
    )
}

fn private(threads: usize, detached: bool) -> Contest {
    const MICRO: Duration = Duration::from_micros(1);
    let this = Loop {
        threads,
        task: MICRO,
        private: MICRO,
        detached,
        slow: None,
    };
    let mut rivals = this.mutexes();
    rivals.push(this.by::<locks::Lamlock>());
    let (kind, ours, name, ratio) = if detached {
        ("execute", this.by::<ours::Execute>(), "captor execute", 1.0)
    } else {
        ("with", this.by::<ours::With>(), "captor with", 0.95)
    };
    this.row(
        format!("private-{kind}/{threads}"),
        "And when callers have 1 µs of work of their own between calls of 1 µs?",
        vec![ours],
        rivals,
        vec![bar(name, "parking_lot", ratio), bar(name, "std", ratio)],
    )
}

fn slow_among_fast() -> Contest {
    let this = Loop {
        private: Duration::from_micros(10),
        slow: Some(Duration::from_millis(1)),
        detached: true,
        ..Loop::closed(4)
    };
    let mut rivals = this.mutexes();
    rivals.push(this.by::<actors::Crossbeam>());
    this.row(
        "slow-among-fast/4".into(),
        "One call in a thousand takes 1 ms: how long are the callers of the others held up?",
        vec![this.by::<ours::Execute>()],
        rivals,
        vec![],
    )
}
