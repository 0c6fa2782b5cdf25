//! How tasks end without running.

mod cancel;
mod close;
pub(crate) mod expiry;
pub(crate) mod stop;
