//! How a thread or a task waits for an outcome.

pub(crate) mod awaiting;
pub(crate) mod chain;
pub(crate) mod wait;
