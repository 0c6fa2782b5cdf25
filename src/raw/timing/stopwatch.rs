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

use crate::raw::core::{Core, Owner, Shell, Value};
use crate::raw::ending::expiry::Alarm;
use crate::raw::task::tag::TaskName;
use crate::raw::thread::context;
use crate::raw::thread::panics;
use crate::stats::QueueWaits;
use crate::sync::{
    Arc, AtomicPtr, AtomicU64, AtomicUsize, Counter, Ordering, Weak, fence, yield_now,
};
use core::ptr;
use core::time::Duration;
use std::time::Instant;

/// Nothing runs.
const NEVER: u64 = u64::MAX;

/// What runs, since when.
#[derive(Debug)]
struct Running {
    /// Odd while it is being written; a number for each task.
    sequence: AtomicUsize,
    since: AtomicU64,
    name: AtomicPtr<u8>,
    length: AtomicUsize,
}

/// What the watchdog sees.
struct Seen {
    task: usize,
    /// In nanoseconds since the watch began; [`NEVER`]: nothing runs.
    since: u64,
    name: TaskName,
}

impl Running {
    fn new() -> Self {
        Running {
            sequence: AtomicUsize::new(0),
            since: AtomicU64::new(NEVER),
            name: AtomicPtr::new(ptr::null_mut()),
            length: AtomicUsize::new(0),
        }
    }

    /// Returns the number of what runs now. Holder only.
    fn write(&self, since: u64, name: TaskName) -> usize {
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

    fn read(&self) -> Seen {
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
pub(crate) struct Watch {
    epoch: Instant,
    /// What is too long, in nanoseconds.
    slow: Option<u64>,
    running: Running,
    /// 1: an alarm is set.
    alarm: AtomicUsize,
    /// The task that was barked at last.
    barked: AtomicU64,
    /// Nanoseconds.
    longest: Counter,
    waits: Option<Box<Histogram>>,
}

impl Watch {
    /// For tasks that are slow if they take so long; `times`: with a histogram of
    /// how long they wait.
    pub(crate) fn new(slow: Option<Duration>, times: bool, epoch: Instant) -> Self {
        Watch {
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

    fn now(&self, shell: &Shell) -> u64 {
        let now = shell.host().now();
        nanos(now.saturating_duration_since(self.epoch))
    }

    /// A task starts, which `waited` so long. Holder only.
    #[cold]
    pub(crate) fn starts(
        &self,
        owner: &dyn Owner,
        name: TaskName,
        waited: Option<Duration>,
    ) -> Started {
        if let (Some(waits), Some(waited)) = (&self.waits, waited) {
            waits.record(nanos(waited));
        }
        let since = self.now(owner.core());
        let task = self.running.write(since, name);
        if let Some(slow) = self.slow {
            self.set_alarm(owner, since.saturating_add(slow));
        }
        Started { since, task }
    }

    /// It is through. Holder only.
    #[cold]
    pub(crate) fn ends(&self, shell: &Shell, name: TaskName, started: Started) {
        self.running.write(NEVER, None);
        let took = self.now(shell).saturating_sub(started.since);
        let longest = self.longest.get();
        if took > longest {
            self.longest.bump_by(took - longest);
        }
        if self.slow.is_some_and(|slow| took >= slow) {
            // The alarm was late.
            self.bark(shell, started.task, name, took, "a task ran for long");
        }
    }

    /// Runs `f` as a task that was not queued. Holder only.
    pub(crate) fn time<R>(&self, owner: &dyn Owner, name: TaskName, f: impl FnOnce() -> R) -> R {
        let _timing = Timing {
            watch: self,
            owner,
            name,
            started: self.starts(owner, name, Some(Duration::ZERO)),
        };
        f()
    }

    /// Sets the alarm, if none is.
    fn set_alarm(&self, owner: &dyn Owner, at: u64) {
        // Between what was written of the task and the look at the alarm; partner:
        // the fence in `look_after`.
        fence(Ordering::SeqCst);
        if self.alarm.load(Ordering::Relaxed) != 0 || self.alarm.swap(1, Ordering::Relaxed) != 0 {
            return;
        }
        let Some(at) = self.epoch.checked_add(Duration::from_nanos(at)) else {
            return;
        };
        let core = owner.share();
        let alarm = Box::new(Watchdog(Arc::downgrade(&core)));
        core.host().alarms.add(at, alarm);
    }

    /// The alarm has rung: barks if the task that runs is too long at it.
    fn look_after(&self, core: &Arc<Core<dyn Value>>, slow: u64) {
        self.alarm.store(0, Ordering::Relaxed);
        // See `set_alarm`.
        fence(Ordering::SeqCst);
        let seen = self.running.read();
        if seen.since == NEVER {
            return;
        }
        let takes = self.now(core).saturating_sub(seen.since);
        if takes < slow {
            self.set_alarm(core, seen.since.saturating_add(slow));
        } else {
            self.bark(
                core,
                seen.task,
                seen.name,
                takes,
                "a task has been running for long",
            );
        }
    }

    /// Once for each task.
    fn bark(&self, shell: &Shell, task: usize, name: TaskName, takes: u64, what: &'static str) {
        // Relaxed: it only decides which of the two who may bark at it does.
        if self.barked.fetch_max(task as u64, Ordering::Relaxed) >= task as u64 {
            return;
        }
        let takes = Duration::from_nanos(takes);
        // Under the role, or on the timer's thread, which is to be back for the next alarm.
        context::enter_apart(shell.id(), || {
            panics::tell(|| {
                tracing::warn!(target: "captor", resource = shell.name(), task = name, ?takes, "{what}");
            });
        });
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

/// A task that is being timed.
#[derive(Clone, Copy)]
pub(crate) struct Started {
    since: u64,
    task: usize,
}

/// One that may end by a panic.
struct Timing<'a> {
    watch: &'a Watch,
    owner: &'a dyn Owner,
    name: TaskName,
    started: Started,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.watch.ends(self.owner.core(), self.name, self.started);
    }
}

struct Watchdog(Weak<Core<dyn Value>>);

impl Alarm for Watchdog {
    fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }

    fn ring(self: Box<Self>) {
        if let Some(core) = self.0.upgrade() {
            if let Some((watch, slow)) = core.watch().and_then(|w| Some((w, w.slow?))) {
                watch.look_after(&core, slow);
            }
        }
    }
}

/// Four buckets for each power of two: what is read from it is a quarter too much
/// at most.
const BUCKETS: usize = 252;

/// Written by the holder alone.
#[derive(Debug)]
struct Histogram([Counter; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Histogram([const { Counter::new() }; BUCKETS])
    }
}

impl Histogram {
    fn record(&self, nanos: u64) {
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

    #[cfg(captor_loom)]
    #[test]
    fn the_watchdog_sees_one_task_or_another_and_never_half_of_each() {
        crate::models::model(3, || {
            let running = Arc::new(Running::new());
            let writer = Arc::clone(&running);
            let other = crate::sync::thread::spawn(move || {
                writer.write(1, Some("a"));
                writer.write(333, Some("bbb"));
            });
            let seen = running.read();
            match (seen.since, seen.name) {
                (NEVER, None) | (1, Some("a")) | (333, Some("bbb")) => {}
                other => panic!("{other:?}"),
            }
            other.join().unwrap();
        });
    }
}
