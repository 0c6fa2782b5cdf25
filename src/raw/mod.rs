//! The protocol, and all unsafe code but for `sync`'s shims.
//!
//! From the bottom up: [`state`] (the word), [`queue`] (links),
//! [`backlog`] and [`levels`] (what was taken and not started), [`drain`] (the
//! state machine over both), [`lane`] and [`barrier`] (the way past it),
//! [`attributes`] (what is said of a task), [`task`] (one queued closure), [`handle`] (who waits for it), [`suspend`]
//! (tasks that wait), [`future`] and [`start`] (asynchronous ones), [`context`], [`deadlock`] and [`awaiting`] (what this thread is inside
//! of, and who waits for whom), [`inner`] (the allocation behind a resource), [`role`] (taking, using and
//! giving away its role), [`shift`] (one thread's turn), [`rest`] (what is done
//! when nothing runs any more), [`wait`] and [`linger`] (waiting for it),
//! [`job`] (the way to the pool), [`chain`] (tasks that come after others),
//! [`room`] (bounded queues), [`cancel`] (asking tasks to stop),
//! [`expiry`] (deadlines), [`inbox`] (the way to the timer), [`registry`]
//! (which resources there are), [`hook`] (what is done when a queue has run empty),
//! [`watch`] (how long tasks take).

#![allow(unsafe_code)]

pub(crate) mod attributes;
pub(crate) mod awaiting;
pub(crate) mod backlog;
pub(crate) mod barrier;
pub(crate) mod cancel;
pub(crate) mod chain;
pub(crate) mod context;
pub(crate) mod counters;
pub(crate) mod deadlock;
pub(crate) mod drain;
pub(crate) mod expiry;
pub(crate) mod extra;
pub(crate) mod future;
pub(crate) mod handle;
pub(crate) mod hook;
pub(crate) mod inbox;
pub(crate) mod inner;
pub(crate) mod job;
pub(crate) mod lane;
pub(crate) mod levels;
pub(crate) mod linger;
pub(crate) mod panics;
#[cfg(feature = "metrics")]
pub(crate) mod published;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod rest;
pub(crate) mod role;
pub(crate) mod room;
pub(crate) mod shift;
pub(crate) mod spans;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod submit;
pub(crate) mod suspend;
pub(crate) mod task;
pub(crate) mod wait;
pub(crate) mod watch;
