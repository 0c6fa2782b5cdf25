//! Time, as the core needs it: alarms, the way to the timer thread, and the times of tasks.
//!
//! This layer must not start a thread or take a lock. The timer thread itself is in `pool`.
//! `ci/layering.sh` says which layers this layer may name. See `docs/design/timers.md`.
//!
//! - [`alarm`]: the interface of a timer
//! - [`inbox`]: the stack by which alarms reach the timer thread
//! - [`stopwatch`]: how long tasks take and wait

pub(crate) mod alarm;
pub(crate) mod inbox;
pub(crate) mod stopwatch;

use core::time::Duration;

/// Returns the time in nanoseconds. A time over 584 years gives `u64::MAX`.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
