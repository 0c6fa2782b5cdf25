//! How long to watch before queueing or parking.
//!
//! Queueing a tiny task costs more than waiting for it to end, and parking a
//! thread costs microseconds; so whoever finds a resource busy first lets
//! others run and looks again, a bounded number of times. Yielding beats
//! spinning here: it takes the watchers off the holder's cache line.
//! `docs/design.md` has the figures behind the numbers.

use crate::sync::yield_now;

#[cfg(not(any(captor_loom, captor_shuttle)))]
const TURNS: u8 = 12;
// Enough to take the path; every further turn only multiplies the schedules.
#[cfg(any(captor_loom, captor_shuttle))]
const TURNS: u8 = 1;

/// The turns that are left to a watcher.
#[derive(Debug)]
pub(crate) struct Turns(u8);

impl Turns {
    /// As many as pay, or none.
    pub(crate) fn new(patient: bool) -> Self {
        Turns(if patient { TURNS } else { 0 })
    }

    /// Lets others run, if a turn is left.
    pub(crate) fn take(&mut self) -> bool {
        if self.0 == 0 {
            return false;
        }
        self.0 -= 1;
        yield_now();
        true
    }
}
