//! How long to watch before queueing or parking.
//!
//! Queueing a tiny task costs more than waiting for it to end, and parking a
//! thread costs microseconds; so whoever finds a resource busy first lets
//! others run and looks again, a bounded number of times.
//!
//! Each look takes the state word away from the core that works with it. Where
//! tasks are tiny that slows them down, so looks are rare: many yields lie
//! between two. Where tasks are long it does not, and a watcher that comes late
//! has lost more; so looks are frequent. Yielding beats spinning where more
//! threads run than cores, since the one that is needed gets to run; but a yield
//! lasts for as long as the others please, so whoever has nothing else to do
//! spins first for as long as the task before its own may take. `docs/design.md`
//! has the figures behind the numbers.

use crate::sync::{Gauge, MODEL, yield_now};
use core::time::Duration;
use std::time::Instant;

/// Looks after the first, and yields before each.
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
/// Enough to take the path; every further look only multiplies the schedules.
const IN_A_MODEL: Rhythm = Rhythm {
    looks: 1,
    yields: 1,
};

/// Past this, others need the cores more: one last look.
const LONGEST: Duration = Duration::from_micros(500);

/// A tiny task that nobody else waits for ends in less time than a yield takes:
/// so many spins before each of the first looks (a spin takes 10 to 50 ns,
/// depending on the machine).
pub(crate) const SPINS: [u32; 3] = [4, 8, 16];

/// A long task is shorter than a few yields up to here, in nanoseconds. Who blocks
/// for the outcome of such spins first, for two tasks and a half at the most.
const SPINNABLE_TASK: u32 = 4_000;

/// Looks while so spinning, and how many of them in the time of one task. More
/// would only take the role, and with it the value, from core to core between
/// any two tasks of a thread that goes on and on.
const SPINNING_LOOKS: u32 = 20;
const LOOKS_IN_A_TASK: u32 = 8;

/// Tasks that take longer, in nanoseconds, are long. Those are worth queueing at
/// once where their submitter gets on with its own work meanwhile.
const LONG_TASK: u32 = 500;

/// About how long a task of a resource takes, in nanoseconds, as far as somebody
/// looked at the clock. Set by whoever was holder just now: two may, and one is
/// lost.
#[derive(Debug, Default)]
pub(crate) struct TaskTime(Gauge);

impl TaskTime {
    /// So many tasks took so long together.
    ///
    /// Follows by a factor of two at the most, so that one shift that was
    /// interrupted does not change everything.
    pub(crate) fn learn(&self, tasks: usize, time: Duration) {
        if MODEL {
            // A schedule has to be the same when it is played again.
            return;
        }
        let each = time.as_nanos() / tasks.max(1) as u128;
        let each = u32::try_from(each).unwrap_or(u32::MAX);
        let before = self.0.get();
        let most = before.saturating_mul(2).saturating_add(100);
        self.0.set(each.clamp(before / 2, most));
    }

    /// Do tasks take so long that they are better queued than waited for?
    pub(crate) fn is_long(&self) -> bool {
        self.0.get() > LONG_TASK
    }

    /// How to spin where tasks are long.
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

/// Is the next task one to be timed, of those that watchers come to run? Two
/// readings of the clock are a tenth of a task's time, so one in seven is: a
/// number that no rhythm in which threads take turns is likely to miss.
pub(crate) fn is_sample(turns: u64) -> bool {
    (turns / 2) % 7 == 0
}

/// Stays off the memory that others work on for a few dozen nanoseconds a spin.
pub(crate) fn pause(spins: u32) {
    (0..spins).for_each(|_| core::hint::spin_loop());
}

/// Looks without a yield between, for a limited time.
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

    /// Lets a moment pass, if a look is left.
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
    /// As many as pay for tasks that are long, or not.
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

    /// Lets others run, if a look is left.
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
