//! Rounds of contestants in turn: ratios are taken within a round, so that
//! what slows the whole machine for a while slows both sides of them.

use crate::measure::{Lap, allocations};
use std::time::Duration;

/// Runs one lap that goes on for the given time, or one piece of work of a
/// fixed size.
pub type Run = Box<dyn Fn(Duration) -> Lap>;

pub struct Contestant {
    pub name: &'static str,
    pub run: Run,
    /// It keeps the cores busy by itself, so a lap in which they were not says
    /// that something else ran.
    pub busy: bool,
}

pub struct Contest {
    /// `group/parameter`.
    pub name: String,
    /// The question that it answers for a user.
    pub question: &'static str,
    /// Whose ratio is asked for; each of them is compared with each rival.
    pub ours: Vec<Contestant>,
    pub rivals: Vec<Contestant>,
    pub bars: Vec<Bar>,
    /// How many cores the threads could keep busy.
    pub width: usize,
}

/// What a row is to reach: `ours` at least `ratio` of `rival`, by throughput.
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
    /// Laps that were run again, because the cores were not all to be had.
    pub repeated: usize,
    pub allocations: f64,
}

/// How much of the cores has to be at work for a contended lap to count.
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
                // Warms up as well.
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
