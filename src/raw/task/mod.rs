//! One task.

pub(crate) mod body;
pub(crate) mod future;
pub(crate) mod handle;
pub(crate) mod life;
pub(crate) mod owners;
pub(crate) mod queued;
pub(crate) mod signal;
pub(crate) mod tag;
pub(crate) mod waiter;
