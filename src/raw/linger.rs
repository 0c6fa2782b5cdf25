//! How long to watch before queueing or parking.
//!
//! Queueing a tiny task costs more than waiting for it to end, and parking a
//! thread costs microseconds; so whoever finds a resource busy first lets
//! others run and looks again, a bounded number of times.
//!
//! Each look takes the state word away from the core that works with it, so
//! looks are rare: several yields lie between two. Yielding beats spinning:
//! where more threads run than cores, the one that is needed gets to run.
//! `docs/design.md` has the figures behind the numbers.

use crate::sync::yield_now;
use core::time::Duration;
use std::time::Instant;

const MODEL: bool = cfg!(any(captor_loom, captor_shuttle));

/// Looks after the first. In a model enough to take the path; every further
/// one only multiplies the schedules.
const LOOKS: u8 = if MODEL { 1 } else { 3 };

/// Yields before each.
const YIELDS: u8 = if MODEL { 1 } else { 16 };

/// Past this, others need the cores more: one last look.
const LONGEST: Duration = Duration::from_micros(500);

/// Tasks that take longer are worth queueing at once, in nanoseconds: their
/// submitter gets on with its own work meanwhile.
pub(crate) const LONG_TASK: u32 = 500;

/// The looks that are left to a watcher.
#[derive(Debug)]
pub(crate) struct Turns {
    looks: u8,
    since: Option<Instant>,
}

impl Turns {
    /// As many as pay, or none.
    pub(crate) fn new(patient: bool) -> Self {
        Turns {
            looks: if patient { LOOKS } else { 0 },
            since: None,
        }
    }

    /// Lets others run, if a look is left.
    pub(crate) fn take(&mut self) -> bool {
        if self.looks == 0 {
            return false;
        }
        self.looks -= 1;
        for _ in 0..YIELDS {
            yield_now();
            if !MODEL && self.since.get_or_insert_with(Instant::now).elapsed() > LONGEST {
                self.looks = 0;
                break;
            }
        }
        true
    }
}
