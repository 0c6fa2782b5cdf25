//! The interface of a timer: [`Alarms`] takes alarms, and an [`Alarm`] rings.
//!
//! The layers that set alarms know only these traits. The timer thread implements `Alarms`, and so
//! do the simulations and the models.

use std::time::Instant;

/// An action for a later time.
pub(crate) trait Alarm: Send {
    /// Checks whether the alarm need not ring any more.
    fn is_over(&self) -> bool;
    /// Rings: the time has come. Runs user code, and must not unwind.
    fn ring(self: Box<Self>);
}

/// A timer, as seen by code that sets alarms.
pub(crate) trait Alarms: Send + Sync {
    /// Returns the time that the timer goes by.
    fn now(&self) -> Instant {
        Instant::now()
    }
    /// Adds `alarm`, which rings at the time `at`. Never waits.
    fn add(&self, at: Instant, alarm: Box<dyn Alarm>);
}
