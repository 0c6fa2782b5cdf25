//! How long tasks take and wait, and a bark at those that take too long: for the
//! resources that ask for it.
//!
//! Such a resource is [attended](crate::raw::strand::lane): each of its tasks goes by the
//! long way, which leads past here. The holder notes what runs since when, for the
//! watchdog to look at from another thread. That is a sequence lock (R. Bayer's and
//! others' trick, as in Linux): one writer, who is never held up, and a reader who
//! looks again if something was written meanwhile.
//!
//! The watchdog is an alarm of the scheduler's timer; a resource has one at a time.
//! It is set by the first task that starts without one, for when that task is too
//! long. When it rings it bars itself first and looks what runs second; a task that
//! starts says so first and looks for an alarm second. So of a task and an alarm
//! that just rings, one sees the other (Dekker's argument), and no task runs on
//! unwatched.

use crate::raw::thread::context::TaskName;
use crate::raw::timing::nanos;
use crate::stats::QueueWaits;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Counter, Ordering, fence, yield_now};
use core::ptr;
use core::time::Duration;
use std::time::Instant;

/// Nothing runs.
pub(crate) const NEVER: u64 = u64::MAX;

/// What runs, since when.
#[derive(Debug)]
pub(crate) struct Running {
    /// Odd while it is being written; a number for each task.
    sequence: AtomicUsize,
    since: AtomicU64,
    name: AtomicPtr<u8>,
    length: AtomicUsize,
}

/// What the watchdog sees.
pub(crate) struct Seen {
    pub(crate) task: usize,
    /// In nanoseconds since the watch began; [`NEVER`]: nothing runs.
    pub(crate) since: u64,
    pub(crate) name: TaskName,
}

impl Running {
    pub(crate) fn new() -> Self {
        Running {
            sequence: AtomicUsize::new(0),
            since: AtomicU64::new(NEVER),
            name: AtomicPtr::new(ptr::null_mut()),
            length: AtomicUsize::new(0),
        }
    }

    /// Returns the number of what runs now. Holder only.
    pub(crate) fn write(&self, since: u64, name: TaskName) -> usize {
        let (name, length) = name.map_or((ptr::null(), 0), |name| (name.as_ptr(), name.len()));
        let before = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(before.wrapping_add(1), Ordering::Relaxed);
        // Keeps what follows after it; partner: the Acquire fence in `read`.
        fence(Ordering::Release);
        self.since.store(since, Ordering::Relaxed);
        self.name.store(name.cast_mut(), Ordering::Relaxed);
        self.length.store(length, Ordering::Relaxed);
        let task = before.wrapping_add(2);
        // Release: partners with the Acquire in `read`.
        self.sequence.store(task, Ordering::Release);
        task
    }

    pub(crate) fn read(&self) -> Seen {
        loop {
            let task = self.sequence.load(Ordering::Acquire);
            if task % 2 == 0 {
                let since = self.since.load(Ordering::Relaxed);
                let name = self.name.load(Ordering::Relaxed);
                let length = self.length.load(Ordering::Relaxed);
                // Keeps what came before it; see `write`.
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == task {
                    // SAFETY: both were written by one `write`, from one `&'static
                    // str`: had another begun since, the sequence were another.
                    let name = (!name.is_null()).then(|| unsafe {
                        core::str::from_utf8_unchecked(core::slice::from_raw_parts(name, length))
                    });
                    return Seen { task, since, name };
                }
            }
            yield_now();
        }
    }
}

/// The times of a resource's tasks.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    pub(in crate::raw) epoch: Instant,
    /// What is too long, in nanoseconds.
    pub(in crate::raw) slow: Option<u64>,
    pub(in crate::raw) running: Running,
    /// 1: an alarm is set.
    pub(in crate::raw) alarm: AtomicUsize,
    /// The task that was barked at last.
    pub(in crate::raw) barked: AtomicU64,
    /// Nanoseconds.
    pub(in crate::raw) longest: Counter,
    pub(in crate::raw) waits: Option<Box<Histogram>>,
}

impl Stopwatch {
    /// For tasks that are slow if they take so long; `times`: with a histogram of
    /// how long they wait.
    pub(crate) fn new(slow: Option<Duration>, times: bool, epoch: Instant) -> Self {
        Stopwatch {
            epoch,
            slow: slow.map(nanos),
            running: Running::new(),
            alarm: AtomicUsize::new(0),
            barked: AtomicU64::new(0),
            longest: Counter::default(),
            waits: times.then(Box::default),
        }
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.get())
    }

    pub(crate) fn waits(&self) -> Option<QueueWaits> {
        self.waits.as_ref().map(|waits| waits.snapshot())
    }
}

/// Four buckets for each power of two: what is read from it is a quarter too much
/// at most.
const BUCKETS: usize = 252;

/// Written by the holder alone.
#[derive(Debug)]
pub(in crate::raw) struct Histogram([Counter; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Histogram([const { Counter::new() }; BUCKETS])
    }
}

impl Histogram {
    pub(in crate::raw) fn record(&self, nanos: u64) {
        self.0[bucket(nanos)].bump();
    }

    fn snapshot(&self) -> QueueWaits {
        let used = self.0.iter().enumerate().filter(|(_, n)| n.get() > 0);
        QueueWaits::new(
            used.map(|(at, n)| (Duration::from_nanos(most(at)), n.get()))
                .collect(),
        )
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < 4 {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    (power as usize - 1) * 4 + ((nanos >> (power - 2)) % 4) as usize
}

/// The most that falls into a bucket.
fn most(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (power, quarter) = (bucket / 4 + 1, bucket as u64 % 4);
    let step = 1_u64 << (power - 2);
    (1_u64 << power) - 1 + step * (quarter + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_times_a_quarter_apart() {
        for n in (0..200).chain((8..64).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1])) {
            let at = bucket(n);
            assert!(most(at) >= n, "{n}");
            assert!(at == 0 || most(at - 1) < n, "{n}");
            assert!(most(at) - n <= n / 4, "{n}");
        }
        assert_eq!(
            (bucket(u64::MAX), most(BUCKETS - 1)),
            (BUCKETS - 1, u64::MAX)
        );
    }
}
