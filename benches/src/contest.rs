//! Rounds of contestants in turn, and what they came to.

use cpu_time::ProcessTime;
use std::time::{Duration, Instant};

/// What one contestant did in one round.
pub struct Lap {
    /// Operations, as counted by the work itself.
    pub ops: u64,
    pub wall: Duration,
    pub cpu: Duration,
    /// The longest that one operation took, where that was measured.
    pub longest: Duration,
}

impl Lap {
    /// Measures `work`, which returns how many operations it did, and the longest.
    pub fn measure(work: impl FnOnce() -> (u64, Duration)) -> Lap {
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        let (ops, longest) = work();
        Lap {
            ops,
            wall: wall.elapsed(),
            cpu: cpu.elapsed(),
            longest,
        }
    }

    fn rate(&self) -> f64 {
        self.ops as f64 / self.wall.as_secs_f64()
    }
}

pub type Contestant = (&'static str, Box<dyn Fn(Duration) -> Lap>);

pub struct Contest {
    pub name: String,
    /// The first is captor's; ratios are to the others. `captor` contestants
    /// beyond the first are listed as well.
    pub contestants: Vec<Contestant>,
}

impl Contest {
    pub fn run(&self, rounds: usize, time: Duration) -> Report<'_> {
        let warm_up = time / 10;
        for (_, lap) in &self.contestants {
            lap(warm_up);
        }
        let mut laps: Vec<Vec<Lap>> = self.contestants.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for ((_, lap), laps) in self.contestants.iter().zip(&mut laps) {
                laps.push(lap(time));
            }
        }
        Report {
            contest: self,
            laps,
        }
    }
}

pub struct Report<'a> {
    contest: &'a Contest,
    laps: Vec<Vec<Lap>>,
}

impl Report<'_> {
    pub fn header() {
        println!(
            "{:<14} {:<16} {:>9} {:>17} {:>8} {:>9} {:>24}",
            "row",
            "contestant",
            "Mop/s",
            "(min - max)",
            "cpu/wall",
            "longest",
            "captor is, of this (min - max)"
        );
    }

    pub fn print(&self) {
        for (i, (name, _)) in self.contest.contestants.iter().enumerate() {
            let laps = &self.laps[i];
            let rates = Spread::of(laps.iter().map(Lap::rate));
            let cores = Spread::of(
                laps.iter()
                    .map(|l| l.cpu.as_secs_f64() / l.wall.as_secs_f64()),
            );
            let longest = laps.iter().map(|l| l.longest).max().unwrap_or_default();
            let ratio = Spread::of(
                self.laps[0]
                    .iter()
                    .zip(laps)
                    .map(|(a, b)| a.rate() / b.rate()),
            );
            let m = 1e-6;
            println!(
                "{:<14} {:<16} {:>9.2} {:>7.2} - {:<7.2} {:>8.2} {:>9} {:>10.2} ({:.2} - {:.2})",
                self.contest.name,
                name,
                rates.median * m,
                rates.min * m,
                rates.max * m,
                cores.median,
                format!("{longest:.1?}"),
                ratio.median,
                ratio.min,
                ratio.max,
            );
        }
        println!();
    }
}

struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Spread {
            min: values[0],
            median: values[values.len() / 2],
            max: values[values.len() - 1],
        }
    }
}
