//! The state machine of one queue: every transition of the state word, and the drain loop.

pub(crate) mod backlog;
pub(crate) mod barrier;
pub(crate) mod drain;
pub(crate) mod lane;
pub(crate) mod levels;
pub(crate) mod linger;
pub(crate) mod queue;
pub(crate) mod state;
