//! Time.

pub(crate) mod alarm;
pub(crate) mod inbox;
pub(crate) mod stopwatch;

use core::time::Duration;

/// The time in nanoseconds; the most that fits, where it is longer (584 years).
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
