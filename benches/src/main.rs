//! Benchmarks of captor beside the tools that its users choose today, on the same work in the same
//! run.
//!
//! ```text
//! cargo run --release -p captor-bench                    # every row
//! cargo run --release -p captor-bench -- closed/16       # rows whose name contains this
//! cargo run --release -p captor-bench -- --help
//! ```
//!
//! The contestants of a row take turns for several rounds. Ratios are taken within a round, and
//! the report shows their median and spread. Each lap checks its own count. "cores" is CPU time
//! over wall time. If "cores" is low in a contended lap of a contestant that keeps the cores busy,
//! the lap does not count and is run again. A `*` marks such laps.

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
    /// Runs the rows whose name contains one of these texts (default: all rows).
    rows: Vec<String>,
    /// Runs captor and the contestants whose name contains one of these texts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Lists the rows and runs nothing.
    #[arg(long)]
    list: bool,
    /// Sets the number of laps of each contestant.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Sets the length of a lap in milliseconds.
    #[arg(long, default_value_t = 300)]
    ms: u64,
    /// Writes the results to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the plots in this folder, as SVG.
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
