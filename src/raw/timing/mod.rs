//! Time.

pub(crate) mod alarm;
pub(crate) mod inbox;
pub(crate) mod stopwatch;
