//! What a thread is inside of.

pub(crate) mod context;
pub(crate) mod deadlock;
pub(crate) mod panics;
pub(crate) mod park;
pub(crate) mod spans;
