//! Calls that are built from the public calls of a resource, without unsafe code: triggers,
//! continuations, batches, timed tasks, streams and sinks.
//!
//! Only `testing` stands above this layer. Files here must not name `pool`, nor touch a state word,
//! a lane or a life word. `ci/layering.sh` says which layers this layer may name. No other layer
//! names `compose`; `lib.rs` exports its types.
//!
//! `when`, `steps` and `attach` run an *errand*: an asynchronous task that works on behalf of the
//! caller's resource without keeping that resource. The errand keeps a resource of its own, and
//! submits plain tasks to the caller's resource. `docs/design/composed.md` argues the races of
//! triggers and continuations, and `docs/design/tasks-that-wait.md` shows which call is built from
//! which.
//!
//! - `then`: a task that is queued when another task has finished.
//! - `timed`: tasks that are queued at a time or each period.
//! - `when`: a task that is queued when a future resolves.
//! - `steps`: an asynchronous job whose steps are tasks.
//! - `attach`: one task for each item of a stream.
//! - `sink`: one task for each item that is sent.
//! - `in_flight`: the items of a stream or a sink whose tasks have not finished.
//! - `errand`: makes the resource of an errand.
//! - `trigger`: a closure that runs once for many requests.
//! - `batch`: many closures as one task.

mod errand;
pub(crate) mod in_flight;
mod then;

// In this order rustdoc lists what these files add to a resource.
mod steps;

mod when;

pub(crate) mod timed;

pub(crate) mod attach;

pub(crate) mod sink;

mod batch;

pub(crate) mod trigger;
