//! How long tasks take and wait, for the resources whose settings ask for it.
//!
//! Such a resource is [slow-path-only](crate::raw::strand::lane), so that the stopwatch sees each
//! of its tasks. The holder notes which task runs and since when, and the watchdog reads that from
//! another thread. The note is a sequence lock, R. Bayer's and others' trick, as in Linux. The one
//! writer is never held up. A reader looks again if a write has disturbed its read.
//!
//! The watchdog is an alarm of the scheduler's timer, and a resource has one alarm at a time. A
//! task that starts without an alarm sets the alarm for the time when the task takes too long. A
//! task that starts can race with an alarm that rings:
//!
//! - The timer thread clears the flag `alarm`, and then looks at which task runs.
//! - The starting task writes that it runs, and then looks at the flag.
//! - Each side has a full fence between its two steps. So at least one side sees the other, and no
//!   task runs without a watch (Dekker's argument).
//!
//! This file has the data. `run::watchdog` has the steps of the holder and the alarm.

use crate::raw::thread::context::TaskName;
use crate::raw::timing::nanos;
use crate::stats::QueueWaits;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Counter, Ordering, fence, yield_now};
use core::ptr;
use core::time::Duration;
use std::time::Instant;

/// The start time that means that no task runs.
pub(crate) const NEVER: u64 = u64::MAX;

/// Which task runs, and since when.
#[derive(Debug)]
pub(crate) struct Running {
    /// A number for each task, odd while the holder writes.
    sequence: AtomicUsize,
    since: AtomicU64,
    name: AtomicPtr<u8>,
    length: AtomicUsize,
}

/// A task as the watchdog sees it.
pub(crate) struct Seen {
    pub(crate) task: usize,
    /// In nanoseconds since the stopwatch was made. [`NEVER`] means that no task runs.
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

    /// Writes which task runs. Returns the number of that task. Must be called by the holder.
    pub(crate) fn write(&self, since: u64, name: TaskName) -> usize {
        let (name, length) = name.map_or((ptr::null(), 0), |name| (name.as_ptr(), name.len()));
        let before = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(before.wrapping_add(1), Ordering::Relaxed);
        // Release: the stores below stay after the odd number. Partners with the Acquire fence in
        // `read`.
        fence(Ordering::Release);
        self.since.store(since, Ordering::Relaxed);
        self.name.store(name.cast_mut(), Ordering::Relaxed);
        self.length.store(length, Ordering::Relaxed);
        let task = before.wrapping_add(2);
        // Release: partners with the Acquire load in `read`.
        self.sequence.store(task, Ordering::Release);
        task
    }

    /// Reads which task runs. Retries while the holder writes.
    pub(crate) fn read(&self) -> Seen {
        loop {
            // Acquire: partners with the Release store in `write`.
            let task = self.sequence.load(Ordering::Acquire);
            if task % 2 == 0 {
                let since = self.since.load(Ordering::Relaxed);
                let name = self.name.load(Ordering::Relaxed);
                let length = self.length.load(Ordering::Relaxed);
                // Acquire: the loads above stay before the second look at the number. Partners with
                // the Release fence in `write`.
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == task {
                    // SAFETY: the number has not changed, so one `write` has stored both words.
                    // They are the parts of one `&'static str`.
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
    /// The time from which on a task is slow, in nanoseconds.
    pub(in crate::raw) slow: Option<u64>,
    pub(in crate::raw) running: Running,
    /// 1 if an alarm is set, and 0 if not.
    pub(in crate::raw) alarm: AtomicUsize,
    /// The number of the last task that the watchdog has warned of.
    pub(in crate::raw) last_warned: AtomicU64,
    /// The longest time that a task took, in nanoseconds.
    pub(in crate::raw) longest: Counter,
    pub(in crate::raw) waits: Option<Box<Histogram>>,
}

impl Stopwatch {
    /// Makes a stopwatch. Tasks are slow if they take `slow` or longer. If `times` is set, the
    /// stopwatch keeps a histogram of how long tasks wait.
    pub(crate) fn new(slow: Option<Duration>, times: bool, epoch: Instant) -> Self {
        Stopwatch {
            epoch,
            slow: slow.map(nanos),
            running: Running::new(),
            alarm: AtomicUsize::new(0),
            last_warned: AtomicU64::new(0),
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

/// Each power of two has four buckets, so a time that is read from the histogram is at most a
/// quarter too long.
const BUCKETS: usize = 252;

/// How many tasks waited how long. Only the holder may write here.
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

/// Returns the longest time that falls into a bucket.
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
    fn bucket_error_is_at_most_quarter_of_time() {
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
