//! Rounds in which contestants take turns. Ratios are taken within a round, so a slow phase of the
//! whole machine slows both sides of a ratio.

use crate::measure::{Lap, allocations};
use std::time::Duration;

/// Runs one lap of the given time, or one piece of work of a fixed size.
pub type Run = Box<dyn Fn(Duration) -> Lap>;

pub struct Contestant {
    pub name: &'static str,
    pub run: Run,
    /// The contestant keeps the cores busy by itself. If the cores were not busy in a lap, another
    /// program ran.
    pub busy: bool,
}

pub struct Contest {
    /// `group/parameter`.
    pub name: String,
    /// The question that the row answers for a user.
    pub question: &'static str,
    /// The contestants of captor. Each is compared with each rival.
    pub ours: Vec<Contestant>,
    pub rivals: Vec<Contestant>,
    pub bars: Vec<Bar>,
    /// How many cores the threads could keep busy.
    pub width: usize,
}

/// The bar of a row: the throughput of `ours` must be at least `ratio` times that of `rival`.
#[derive(Clone, Copy)]
pub struct Bar {
    pub ours: &'static str,
    pub rival: &'static str,
    pub ratio: f64,
}

pub struct Plan {
    pub rounds: usize,
    pub time: Duration,
    pub cores: usize,
}

/// One contestant's laps, in the order of the rounds.
pub struct Laps<'a> {
    pub contestant: &'a Contestant,
    pub laps: Vec<Lap>,
    /// The number of laps that were run again because not all cores were available.
    pub repeated: usize,
    pub allocations: f64,
}

/// The least share of the cores that must be busy for a contended lap to count.
const SIDE_BY_SIDE: f64 = 0.85;
const REPEATS: usize = 3;

impl Contest {
    pub fn everyone(&self) -> impl Iterator<Item = &Contestant> {
        self.ours.iter().chain(&self.rivals)
    }

    pub fn run(&self, plan: &Plan) -> Vec<Laps<'_>> {
        let mut all: Vec<_> = self
            .everyone()
            .map(|contestant| Laps {
                contestant,
                laps: Vec::new(),
                repeated: 0,
                // This lap also warms up.
                allocations: allocations(|| (contestant.run)(plan.time / 5)),
            })
            .collect();
        for _ in 0..plan.rounds {
            for laps in &mut all {
                self.lap(plan, laps);
            }
        }
        all
    }

    fn lap(&self, plan: &Plan, laps: &mut Laps<'_>) {
        let wanted = SIDE_BY_SIDE * self.width.min(plan.cores) as f64;
        let mut best = (laps.contestant.run)(plan.time);
        let mut repeats = 0;
        while laps.contestant.busy && best.cores() < wanted && repeats < REPEATS {
            let again = (laps.contestant.run)(plan.time);
            if again.cores() > best.cores() {
                best = again;
            }
            repeats += 1;
        }
        laps.repeated += usize::from(repeats > 0);
        laps.laps.push(best);
    }
}
