//! Calls that are built from the public calls of a resource, without unsafe code: triggers,
//! continuations, batches, timed tasks, streams and sinks.
//!
//! This is the uppermost room. Its files may name the public types of `resource`, `future` and
//! `scheduler`, and of the core the modules under `raw` that carry one task: `core`, `task`,
//! `run`, `waiting`, `submit` and `thread`. They must not name `pool`, nor touch a state word, a
//! lane or a life word. No other room names `compose`; `lib.rs` exports its types.
//!
//! `when`, `steps` and `attach` run an *errand*: an asynchronous task of a resource of its own,
//! which submits plain tasks to the resource of the caller. `docs/design/composed.md` argues the
//! races of triggers and continuations, and `docs/design/tasks-that-wait.md` shows which call is
//! built from which.
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
