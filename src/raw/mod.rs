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
//! [`stopwatch`] (how long tasks take).

#![allow(unsafe_code)]

pub(crate) mod core;
pub(crate) mod ending;
pub(crate) mod run;
pub(crate) mod strand;
pub(crate) mod submit;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod timing;
pub(crate) mod waiting;
