//! The futures that callers hold: of one task's outcome, and of the end of a resource.
//!
//! This folder turns the core's handles, listeners and records of waits into futures and blocking
//! calls. The folder may name `error`, `sync` and the core in `raw`. The rooms above, such as
//! `resource` and `scheduler`, must not be named here. The folder has no unsafe code.
//!
//! Files:
//!
//! - `completion.rs`: the outcome of one task
//! - `closed.rs`: the end of a resource, its closing, and its value after the end

pub(crate) mod closed;
pub(crate) mod completion;
