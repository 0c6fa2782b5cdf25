//! captor beside the locks it competes with, on the same work in the same run.
//!
//! ```text
//! cargo run --release -p captor-bench              # all rows
//! cargo run --release -p captor-bench -- closed/16 # rows whose name contains this
//! ```
//!
//! Each row runs its contestants in turn, several rounds, and prints the median
//! and spread of each and the median of captor's ratio to each rival within a
//! round. Contended rows print CPU time over wall time: where that is under
//! 1.7 on two cores the threads did not run side by side, and the row does not
//! count.

mod contest;
mod work;

use contest::{Contest, Report};
use std::time::Duration;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let rounds = env("CAPTOR_BENCH_ROUNDS", 7);
    let time = Duration::from_millis(env("CAPTOR_BENCH_MS", 300));
    Report::header();
    for contest in contests() {
        if contest.name.contains(&filter) {
            contest.run(rounds, time).print();
        }
    }
}

fn env<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn contests() -> Vec<Contest> {
    let mut all = vec![work::idle()];
    for threads in [2, 4, 16, 64] {
        all.push(work::closed_loop(threads));
    }
    for threads in [1, 2, 4, 16, 64] {
        all.push(work::detached(threads));
    }
    all
}
