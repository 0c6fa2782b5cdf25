//! The rows. Each row answers one question that a user would ask.

mod alone;
mod crowd;
mod many;
mod patterns;
mod tasks;
mod waits;

use crate::contest::{Bar, Contest, Contestant};
use crate::measure::{Lap, Tally};
use hdrhistogram::Histogram;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

pub fn all() -> Vec<Contest> {
    let mut all = alone::rows();
    all.extend(crowd::rows());
    all.extend(tasks::rows());
    all.extend(many::rows());
    all.extend(patterns::rows());
    all.extend(waits::rows());
    all
}

fn contestant(
    name: &'static str,
    busy: bool,
    run: impl Fn(Duration) -> Lap + 'static,
) -> Contestant {
    Contestant {
        name,
        busy,
        run: Box::new(run),
    }
}

fn bar(ours: &'static str, rival: &'static str, ratio: f64) -> Bar {
    Bar { ours, rival, ratio }
}

/// The share of one thread of a crowd: its operations, and the times of its timed operations.
type Share = (u64, Histogram<u64>);

/// Tells the threads of a crowd when to stop.
struct Bell(AtomicBool);

impl Bell {
    fn rang(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Runs this number of threads at once. Each thread calls `prepare` and then runs the returned work
/// until the bell rings. `finish` waits for the outstanding operations and checks the count. The
/// clock stops after `finish`.
fn crowd<W: FnOnce(&Bell) -> Share>(
    threads: usize,
    time: Duration,
    prepare: impl Fn(usize) -> W + Sync,
    finish: impl FnOnce(u64),
) -> Lap {
    let (start, bell) = (Barrier::new(threads + 1), Bell(AtomicBool::new(false)));
    let (prepare, start, bell) = (&prepare, &start, &bell);
    let thread = |i| {
        move || {
            let work = prepare(i);
            start.wait();
            work(bell)
        }
    };
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..threads).map(|i| s.spawn(thread(i))).collect();
        Lap::measure(|watch| {
            start.wait();
            watch.sleep(time);
            bell.0.store(true, Relaxed);
            let shares = threads.into_iter().map(|t| t.join().expect("it ran"));
            let tally = Tally::sum(shares.collect());
            finish(tally.ops);
            tally
        })
    })
}
