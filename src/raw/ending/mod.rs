//! How tasks end without running.

pub(crate) mod expiry;
pub(crate) mod stop;
