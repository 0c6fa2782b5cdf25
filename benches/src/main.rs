//! captor beside what its users reach for today, on the same work in the same
//! run.
//!
//! ```text
//! cargo run --release -p captor-bench                    # every row
//! cargo run --release -p captor-bench -- closed/16       # rows whose name contains this
//! cargo run --release -p captor-bench -- --help
//! ```
//!
//! The contestants of a row take turns, several rounds; ratios are taken
//! within a round, and their median and spread are shown. Each lap checks its
//! own count. "cores" is CPU time over wall time: a contended lap of those
//! that keep the cores busy does not count where it is low, and is run again
//! (then a `*` stands there).

mod contest;
mod measure;
mod plot;
mod report;
mod rivals;
mod rows;
mod work;

use clap::Parser;
use contest::Plan;
use report::{Place, Report};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

/// Measures captor beside its rivals.
#[derive(Parser)]
struct Args {
    /// Rows whose name contains one of these; all if none is given.
    rows: Vec<String>,
    /// Contestants whose name contains one of these, and captor.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Names the rows, and runs nothing.
    #[arg(long)]
    list: bool,
    /// Laps of each contestant.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Milliseconds a lap.
    #[arg(long, default_value_t = 300)]
    ms: u64,
    /// Writes the results here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the results in this folder.
    #[arg(long)]
    plots: Option<PathBuf>,
}

#[derive(Serialize)]
struct Results {
    place: Place,
    rows: Vec<Report>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut rows = rows::all();
    rows.retain(|row| args.rows.is_empty() || args.rows.iter().any(|r| row.name.contains(r)));
    if args.list {
        rows.iter()
            .for_each(|row| println!("{:<20} {}", row.name, row.question));
        return Ok(());
    }
    if !args.only.is_empty() {
        for row in &mut rows {
            let wanted = |name: &str| args.only.iter().any(|o| name.contains(o));
            row.rivals.retain(|rival| wanted(rival.name));
            let there: Vec<_> = row.everyone().map(|c| c.name).collect();
            row.bars.retain(|bar| there.contains(&bar.rival));
        }
    }
    let rounds = usize::from(args.rounds);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan {
        rounds,
        time: Duration::from_millis(args.ms),
        cores,
    };
    let place = Place::here(cores, rounds, args.ms);
    place.print();
    let mut reports = Vec::new();
    for row in &rows {
        let report = Report::new(row, &row.run(&plan));
        report.print();
        reports.push(report);
    }
    let missed: Vec<_> = reports
        .iter()
        .filter(|r| r.verdicts.iter().any(|v| !v.holds))
        .map(|r| r.name.as_str())
        .collect();
    println!("\n{} rows, bar missed in: {missed:?}", reports.len());
    let results = Results {
        place,
        rows: reports,
    };
    if let Some(folder) = &args.plots {
        plot::draw(&results.rows, folder)?;
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&results)?)?;
    }
    Ok(())
}
