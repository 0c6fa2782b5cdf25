//! The futures that callers hold: of one task's outcome, and of the end of a resource.
//!
//! This folder turns the core's handles, listeners and records of waits into futures and blocking
//! calls. This layer must not name the layers above, such as `resource` and `scheduler`, and has no
//! unsafe code. `ci/layering.sh` says which layers this layer may name.
//!
//! Files:
//!
//! - `completion.rs`: the outcome of one task
//! - `state.rs`: where an outcome is, and how a thread blocks for an outcome
//! - `closed.rs`: the end of a resource, its closing, and its value after the end

pub(crate) mod closed;
pub(crate) mod completion;
mod state;
