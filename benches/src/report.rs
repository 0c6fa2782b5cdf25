//! The results of a contest, for the terminal and for a file.

use crate::contest::{Bar, Contest, Laps};
use crate::measure::waits;
use serde::Serialize;
use std::process::Command;

/// The smallest, the median and the largest of several values.
#[derive(Serialize, Clone, Copy)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
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

#[derive(Serialize)]
pub struct Report {
    pub name: String,
    pub question: &'static str,
    pub entries: Vec<Entry>,
    pub verdicts: Vec<Verdict>,
}

#[derive(Serialize)]
pub struct Entry {
    pub contestant: &'static str,
    pub ours: bool,
    /// Operations per second.
    pub rate: Spread,
    /// The number of busy cores.
    pub cores: Spread,
    /// The number of laps that were run again because not all cores were available.
    pub repeated: usize,
    /// The nanoseconds of the timed calls, over all laps.
    pub p50: u64,
    pub p99: u64,
    pub longest: u64,
    /// The slowest thread's operations over the fastest thread's, as a median.
    pub fairness: f64,
    pub allocations_per_op: f64,
    /// How much the resident memory of the process grew at most, in bytes.
    pub resident: u64,
    /// The rate of captor's first contestant over the rate of this contestant, within a round.
    pub ratio: Spread,
}

#[derive(Serialize)]
pub struct Verdict {
    pub ours: &'static str,
    pub rival: &'static str,
    pub ratio: Spread,
    pub bar: f64,
    pub holds: bool,
}

impl Report {
    pub fn new(contest: &Contest, all: &[Laps<'_>]) -> Report {
        let first = &all[0];
        let entries = all.iter().enumerate().map(|(i, laps)| {
            let mut single = waits();
            for lap in &laps.laps {
                single.add(&lap.tally.waits).expect("of one shape");
            }
            Entry {
                contestant: laps.contestant.name,
                ours: i < contest.ours.len(),
                rate: Spread::of(laps.laps.iter().map(|l| l.rate())),
                cores: Spread::of(laps.laps.iter().map(|l| l.cores())),
                repeated: laps.repeated,
                p50: single.value_at_quantile(0.5),
                p99: single.value_at_quantile(0.99),
                longest: single.max(),
                fairness: Spread::of(laps.laps.iter().map(|l| l.tally.fairness)).median,
                allocations_per_op: laps.allocations,
                resident: laps.laps.iter().map(|l| l.resident).max().unwrap_or(0),
                ratio: ratio(first, laps),
            }
        });
        Report {
            name: contest.name.clone(),
            question: contest.question,
            entries: entries.collect(),
            verdicts: contest.bars.iter().map(|b| verdict(b, all)).collect(),
        }
    }

    pub fn print(&self) {
        println!("\n{}: {}", self.name, self.question);
        println!(
            "  {:<20} {:>9} {:>19}  {:>5}  {:>8} {:>8} {:>8}  {:>4}  {:>6} {:>7}  captor / this",
            "", "Mop/s", "(min - max)", "cores", "p50", "p99", "longest", "fair", "allocs", "MiB",
        );
        for e in &self.entries {
            println!(
                "  {:<20} {:>9.3} {:>9.3} -{:>8.3}  {:>5.2}{} {:>8} {:>8} {:>8}  {:>4.2}  {:>6.2} {:>7.1}  {}",
                e.contestant,
                e.rate.median * 1e-6,
                e.rate.min * 1e-6,
                e.rate.max * 1e-6,
                e.cores.median,
                if e.repeated > 0 { "*" } else { " " },
                time(e.p50),
                time(e.p99),
                time(e.longest),
                e.fairness,
                e.allocations_per_op,
                e.resident as f64 / (1 << 20) as f64,
                show(e.ratio),
            );
        }
        for v in &self.verdicts {
            println!(
                "  {} {}: {} of {}, bar {:.2}",
                if v.holds { "holds" } else { "MISSED" },
                v.ours,
                show(v.ratio),
                v.rival,
                v.bar,
            );
        }
    }
}

fn show(s: Spread) -> String {
    format!("{:.2} ({:.2} - {:.2})", s.median, s.min, s.max)
}

pub fn time(nanos: u64) -> String {
    match nanos {
        0 => "-".into(),
        1..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanos as f64 * 1e-3),
        _ => format!("{:.1} ms", nanos as f64 * 1e-6),
    }
}

fn ratio(ours: &Laps<'_>, theirs: &Laps<'_>) -> Spread {
    let pairs = ours.laps.iter().zip(&theirs.laps);
    Spread::of(pairs.map(|(a, b)| a.rate() / b.rate()))
}

fn verdict(bar: &Bar, all: &[Laps<'_>]) -> Verdict {
    let find = |name| {
        let found = all.iter().find(|laps| laps.contestant.name == name);
        found.expect("a bar names contestants of its row")
    };
    let ratio = ratio(find(bar.ours), find(bar.rival));
    Verdict {
        ours: bar.ours,
        rival: bar.rival,
        ratio,
        bar: bar.ratio,
        holds: ratio.median >= bar.ratio,
    }
}

/// The place and time of the measurement.
#[derive(Serialize)]
pub struct Place {
    pub cpu: String,
    pub cores: usize,
    pub system: String,
    pub rustc: String,
    pub commit: String,
    pub date: String,
    pub rounds: usize,
    pub milliseconds: u64,
}

impl Place {
    pub fn here(cores: usize, rounds: usize, milliseconds: u64) -> Place {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|l| l.starts_with("model name"));
        let cpu = model.and_then(|l| l.split(": ").nth(1));
        Place {
            cpu: cpu.unwrap_or("unknown").into(),
            cores,
            system: output("uname", &["-sm"]),
            rustc: output("rustc", &["-V"]),
            commit: output("git", &["describe", "--always", "--dirty"]),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            rounds,
            milliseconds,
        }
    }

    pub fn print(&self) {
        println!(
            "{} ({} cores), {}, {}, commit {}, {}; {} rounds of {} ms",
            self.cpu,
            self.cores,
            self.system,
            self.rustc,
            self.commit,
            self.date,
            self.rounds,
            self.milliseconds
        );
    }
}

fn output(command: &str, args: &[&str]) -> String {
    let output = Command::new(command).args(args).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    text.unwrap_or_default()
}
