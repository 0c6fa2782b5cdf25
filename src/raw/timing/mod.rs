//! Time.

pub(crate) mod inbox;
pub(crate) mod stopwatch;
