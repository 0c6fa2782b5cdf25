//! What is built from the public calls of a resource.

pub(crate) mod attach;
mod batch;
mod errand;
pub(crate) mod in_flight;
pub(crate) mod sink;
mod steps;
mod then;
pub(crate) mod timed;
pub(crate) mod trigger;
mod when;
