//! A timer, as the rooms that set alarms see it.

use std::time::Instant;

/// What a timer is given.
pub(crate) trait Alarm: Send {
    /// It need not ring any more.
    fn is_over(&self) -> bool;
    /// It is time. Runs user code, and does not unwind.
    fn ring(self: Box<Self>);
}

/// A timer, as those see it who set alarms.
pub(crate) trait Alarms: Send + Sync {
    /// The time that it goes by.
    fn now(&self) -> Instant {
        Instant::now()
    }
    /// Has `alarm` ring at this time. Never waits.
    fn add(&self, at: Instant, alarm: Box<dyn Alarm>);
}
