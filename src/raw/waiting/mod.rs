//! Waiting for an outcome: how a thread blocks for a task, how an asynchronous task awaits a
//! completion, and how a chain of tasks moves on.
//!
//! No code here may touch the value: a waiting thread that takes the role drains through `run`.
//! `ci/layering.sh` says which layers this layer may name.
//!
//! A thread and a future are told of an outcome through the same waker slot of the task, so there
//! is one waiting core. `docs/design/waiting.md` describes and argues the protocol.
//!
//! - [`wait`]: the waiting thread, which looks, takes a role that is on offer, and parks.
//! - [`awaiting`]: what asynchronous tasks await, with a record for the deadlock check.
//! - [`chain`]: tasks that come after tasks of other resources.

pub(crate) mod awaiting;
pub(crate) mod chain;
pub(crate) mod wait;
