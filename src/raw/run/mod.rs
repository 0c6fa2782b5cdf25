//! Who runs a resource's tasks, and for how long.

pub(crate) mod job;
pub(crate) mod on_idle;
pub(crate) mod reclaim;
pub(crate) mod role;
pub(crate) mod shift;
pub(crate) mod start;
mod watchdog;
