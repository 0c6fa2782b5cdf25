//! How long a thread watches a busy resource before it queues its task or parks.
//!
//! Queueing a tiny task costs more than waiting for its end, and parking a thread costs
//! microseconds. So a thread that finds a resource busy lets other threads run and looks again, a
//! bounded number of times.
//!
//! Each look takes the state word's cache line away from the core that works with it. If tasks are
//! tiny, that slows the holder down, so looks are rare: many yields lie between two looks. If tasks
//! are long, looks do not slow the holder down, and a watcher that comes late has lost more. So
//! looks are frequent.
//!
//! If more threads run than cores, yielding beats spinning, since the thread that is needed gets to
//! run. But a yield lasts as long as other threads please. So a watcher that has nothing else to do
//! spins first, for as long as the task before its own may take.
//!
//! `docs/design/waiting.md` explains these rules, and `docs/design/figures.md` has the measurements
//! behind the numbers.

use crate::sync::{Gauge, MODEL, yield_now};
use core::time::Duration;
use std::time::Instant;

/// The number of looks after the first look, and of yields before each.
struct Rhythm {
    looks: u8,
    yields: u8,
}

const FOR_TINY_TASKS: Rhythm = Rhythm {
    looks: 3,
    yields: 16,
};
const FOR_LONG_TASKS: Rhythm = Rhythm {
    looks: 12,
    yields: 1,
};
/// Enough to take the path: every further look only multiplies the schedules.
const IN_A_MODEL: Rhythm = Rhythm {
    looks: 1,
    yields: 1,
};

/// The longest time to linger. After that, other threads need the cores more, and the watcher takes
/// one last look.
const LONGEST: Duration = Duration::from_micros(500);

/// Spins before each of the first looks. If no other thread waits, a tiny task ends in less time
/// than a yield takes. A spin takes 10 to 50 ns, depending on the machine.
pub(crate) const SPINS: [u32; 3] = [4, 8, 16];

/// The longest task that is worth a spin, in nanoseconds. Up to this length, a long task is shorter
/// than a few yields. A caller that blocks for the outcome of such a task spins first, for at most
/// the time of two and a half tasks.
const SPINNABLE_TASK: u32 = 4_000;

/// The number of looks of a caller that spins so, and how many of them fall into the time of one
/// task. More looks would only move the role, and with it the value, from core to core. That would
/// happen between any two tasks of a thread that submits without a pause.
const SPINNING_LOOKS: u32 = 20;
const LOOKS_IN_A_TASK: u32 = 8;

/// Tasks that take longer than this, in nanoseconds, are long. A submitter that does its own work
/// meanwhile does better to queue a long task at once.
const LONG_TASK: u32 = 500;

/// The estimated length of a resource's tasks, in nanoseconds. Only shifts and calls that read the
/// clock contribute. Threads that were just the holder set the estimate: if two do so at a time,
/// one update is lost.
#[derive(Debug, Default)]
pub(crate) struct TaskTime(Gauge);

impl TaskTime {
    /// Learns that `tasks` tasks took `time` together.
    ///
    /// The estimate falls to no less than half, and rises to no more than twice its value plus 100
    /// ns. So one interrupted shift does not overturn the estimate.
    pub(crate) fn learn(&self, tasks: usize, time: Duration) {
        if MODEL {
            // A schedule must be the same each time that it is replayed.
            return;
        }
        let each = time.as_nanos() / tasks.max(1) as u128;
        let each = u32::try_from(each).unwrap_or(u32::MAX);
        let before = self.0.get();
        let most = before.saturating_mul(2).saturating_add(100);
        self.0.set(each.clamp(before / 2, most));
    }

    /// Checks whether tasks take so long that queueing is better than waiting.
    pub(crate) fn is_long(&self) -> bool {
        self.0.get() > LONG_TASK
    }

    /// Returns the spins for long tasks, or none if tasks take too long for spins.
    pub(crate) fn spins(&self) -> Spins {
        let task = self.0.get();
        if task > SPINNABLE_TASK {
            return Spins::NONE;
        }
        Spins {
            apart: Duration::from_nanos((task / LOOKS_IN_A_TASK).into()),
            left: SPINNING_LOOKS,
        }
    }
}

/// Checks whether the next task that runs after lingering is to be timed. Two readings of the clock
/// are a tenth of a task's time, so one task in seven is timed. Seven is a number that no rhythm in
/// which threads take turns is likely to miss.
pub(crate) fn is_sample(turns: u64) -> bool {
    (turns / 2) % 7 == 0
}

/// Stays off the memory that other threads work on, for a few dozen nanoseconds per spin.
pub(crate) fn pause(spins: u32) {
    (0..spins).for_each(|_| core::hint::spin_loop());
}

/// Looks without a yield between them, for a limited time.
#[derive(Debug)]
pub(crate) struct Spins {
    apart: Duration,
    left: u32,
}

impl Spins {
    pub(crate) const NONE: Spins = Spins {
        apart: Duration::ZERO,
        left: 0,
    };

    /// Lets a moment pass. Returns `false` at once if no look is left.
    pub(crate) fn take(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let since = Instant::now();
        while since.elapsed() < self.apart {
            pause(4);
        }
        true
    }
}

/// The looks that are left to a watcher.
#[derive(Debug)]
pub(crate) struct Turns {
    looks: u8,
    yields: u8,
    since: Option<Instant>,
}

impl Turns {
    /// Allows as many looks as pay for long tasks, or for tiny tasks.
    pub(crate) fn new(tasks_are_long: bool) -> Self {
        let Rhythm { looks, yields } = match tasks_are_long {
            _ if MODEL => IN_A_MODEL,
            true => FOR_LONG_TASKS,
            false => FOR_TINY_TASKS,
        };
        Turns {
            looks,
            yields,
            since: None,
        }
    }

    pub(crate) fn none() -> Self {
        Turns {
            looks: 0,
            yields: 0,
            since: None,
        }
    }

    /// Lets other threads run. Returns `false` at once if no look is left.
    pub(crate) fn take(&mut self) -> bool {
        if self.looks == 0 {
            return false;
        }
        self.looks -= 1;
        for _ in 0..self.yields {
            yield_now();
            if !MODEL && self.since.get_or_insert_with(Instant::now).elapsed() > LONGEST {
                self.looks = 0;
                break;
            }
        }
        true
    }
}
