//! One contestant's lap: its operations and their cost.

use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The report of the threads of a lap.
pub struct Tally {
    /// The number of operations, as the work itself counts them.
    pub ops: u64,
    /// The nanoseconds of the timed calls.
    pub waits: Histogram<u64>,
    /// The operations of the slowest thread over the operations of the fastest thread.
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

    /// Adds up the operations and waits of all threads.
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

/// Makes a histogram of nanoseconds up to a minute, with two digits.
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
    /// How much the resident memory of the process grew at most, in bytes.
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

    /// Returns the operations per second.
    pub fn rate(&self) -> f64 {
        self.tally.ops as f64 / self.wall.as_secs_f64()
    }

    /// Returns the number of busy cores.
    pub fn cores(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Watches the memory of the process.
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

    /// Sleeps for `time` and looks every 20 ms.
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

/// The system's allocator, which counts calls while `COUNTS` is set. A counter that always counts
/// would be one more cache line that all threads contend for.
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed unchanged to the system's allocator, which keeps the contract of
// `GlobalAlloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller gives a layout of nonzero size (contract of `alloc`).
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives a block of this allocator with its layout (contract of
        // `dealloc`), and all blocks of this allocator come from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `work`, which returns a lap. Returns the number of allocations per operation.
pub fn allocations(work: impl FnOnce() -> Lap) -> f64 {
    ALLOCATIONS.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let lap = work();
    COUNTS.store(false, Relaxed);
    ALLOCATIONS.load(Relaxed) as f64 / lap.tally.ops.max(1) as f64
}
