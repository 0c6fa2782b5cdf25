//! One task.

pub(crate) mod future;
pub(crate) mod handle;
pub(crate) mod life;
pub(crate) mod signal;
pub(crate) mod tag;
