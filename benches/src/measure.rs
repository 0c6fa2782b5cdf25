//! One contestant's lap: what it did, and what that took.

use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the threads of a lap report.
pub struct Tally {
    /// Operations, as counted by the work itself.
    pub ops: u64,
    /// Nanoseconds of single calls, of those that were timed.
    pub waits: Histogram<u64>,
    /// Operations of the slowest thread over those of the fastest.
    pub fairness: f64,
}

impl Tally {
    pub fn of(ops: u64) -> Tally {
        Tally {
            ops,
            waits: waits(),
            fairness: 1.0,
        }
    }

    /// Adds up what each thread did.
    pub fn sum(threads: Vec<(u64, Histogram<u64>)>) -> Tally {
        let mut sum = Tally::of(0);
        let (mut least, mut most) = (u64::MAX, 0);
        for (ops, waits) in threads {
            sum.ops += ops;
            least = least.min(ops);
            most = most.max(ops);
            sum.waits.add(waits).expect("histograms of one shape");
        }
        sum.fairness = least as f64 / most.max(1) as f64;
        sum
    }
}

/// For nanoseconds up to a minute, two digits.
pub fn waits() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("valid bounds")
}

/// Records how long a call took.
pub fn note(waits: &mut Histogram<u64>, since: Instant) {
    let nanos = since.elapsed().as_nanos().max(1);
    waits.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
}

pub struct Lap {
    pub tally: Tally,
    pub wall: Duration,
    pub cpu: Duration,
    /// The most memory that the process had resident, in bytes, beyond what it
    /// had before.
    pub resident: u64,
}

impl Lap {
    pub fn measure(work: impl FnOnce(&mut Watch) -> Tally) -> Lap {
        let mut watch = Watch::default();
        watch.look();
        let before = watch.most;
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        let tally = work(&mut watch);
        let (wall, cpu) = (wall.elapsed(), cpu.elapsed());
        watch.look();
        Lap {
            tally,
            wall,
            cpu,
            resident: watch.most - before,
        }
    }

    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.tally.ops as f64 / self.wall.as_secs_f64()
    }

    /// How many cores were at work.
    pub fn cores(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Watches the process's memory.
#[derive(Default)]
pub struct Watch {
    most: u64,
}

impl Watch {
    pub fn look(&mut self) {
        if let Some(stats) = memory_stats::memory_stats() {
            self.most = self.most.max(stats.physical_mem as u64);
        }
    }

    /// Sleeps, looking every 20 ms.
    pub fn sleep(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.look();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

/// The system's allocator, counting calls while it is told to. (Counters that
/// always count would be one more line that all threads fight for.)
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `work`, which returns a lap, and says how many allocations it made per
/// operation.
pub fn allocations(work: impl FnOnce() -> Lap) -> f64 {
    ALLOCATIONS.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let lap = work();
    COUNTS.store(false, Relaxed);
    ALLOCATIONS.load(Relaxed) as f64 / lap.tally.ops.max(1) as f64
}
