//! The core: the protocol of a resource, and all unsafe code but for `sync`'s shims.
//!
//! # Glossary
//!
//! - *Strand*: the state word, the backlog and the lane of one resource; the machine that runs
//!   tasks one at a time.
//! - *Role*: the right to run a strand's tasks. At most one thread has the role.
//! - *Holder*: the thread that has the role now.
//! - *Lane*: a word beside the state word. While no thread contends, a submitter claims and
//!   releases the role through the lane, with one read-modify-write.
//! - *Entrant*: a thread that is in the lane.
//! - *Backlog*: tasks that the holder has taken from the state word and not started.
//! - *Shift*: one holder's turn: which tasks it may run, and for how long.
//! - *Captured*: said of a submitter that runs queued tasks after its own.
//! - *Hand-off*: the holder's shift is over and tasks are left, so the role passes to a waiter
//!   or to the pool.
//! - *Offer*: the role while tasks are queued and no thread is the holder. The first thread that
//!   comes takes the role.
//! - *Job*: the message that brings an offer to the pool.
//! - *Suspended*: said of a task that keeps the role while it waits, and of its strand.
//! - *Park*: of a thread, to sleep until another thread unparks it. Of a signal, to leave the
//!   strand to the thread that wakes the task, with word how to bring the strand back.
//! - *Pooled*: said of a resource, and of its strand, that never runs tasks on its callers.
//! - *Watched*: said of a resource whose settings time each task: `timings` or `slow_task`.
//! - *Slow-path-only*: said of a strand whose tasks all pass the drain loop, because the
//!   resource is watched or has an `on_idle` hook.
//! - *Sweep*: takes every queued task out of a strand, to cancel them.
//! - *Remains*: a queued node whose closure is gone, because its task was cancelled or expired.
//! - *Errand*: an asynchronous task that works on behalf of a resource without keeping that
//!   resource. The errand keeps a resource of its own.
//! - *G1* to *G10*: the guarantees, which `docs/design/guarantees.md` argues.
//!
//! # Layers
//!
//! Each layer names only lower layers, and of these only the layers that `ci/layering.sh` lists.
//!
//! | layer | what it is for |
//! |---|---|
//! | [`submit`] | the way in: run here, queue, or block |
//! | [`waiting`] | how a thread or a task waits for an outcome |
//! | [`run`] | which thread runs tasks, for how long, and to which thread it hands off |
//! | [`ending`] | how tasks end without running: close, cancel, expire |
//! | [`core`](self::core) | the allocation behind a resource, and its books |
//! | [`task`] | one task: closure, outcome, waiter, owners |
//! | [`timing`] | alarms, and how long tasks take |
//! | [`thread`] | what a thread is inside of, waits for, and survives |
//! | [`strand`] | the state machine; never sees a value, a thread or a clock |

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
