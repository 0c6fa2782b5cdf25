//! Running tasks: how a thread takes the role of a resource, how long the thread runs queued tasks,
//! and how the role is given away.
//!
//! Only the holder may touch the value. No code here may block for an outcome: `waiting` lies
//! above. `ci/layering.sh` says which layers this layer may name.
//!
//! A thread that has the role works through the queue for one *shift*. When the shift is over and
//! tasks are left, the thread hands the role off: to a thread that is parked for this resource, or
//! else to the pool. `docs/design/protocol.md` and `docs/design/waiting.md` describe and argue the
//! protocol.
//!
//! - [`role`]: queueing a task, draining the queue, and the hand-off.
//! - [`shift`]: one thread's turn as holder, with its limits and its bookkeeping.
//! - [`job`]: the job that carries a hand-off to a scheduler.
//! - [`start`]: the first run of an asynchronous task, on its submitter.
//! - [`reclaim`]: healing a poisoned resource, and taking the value out of a closed resource.
//! - [`on_idle`]: the hook that is called each time the queue has run empty.
//! - [`watchdog`]: timing of tasks, and the warning about slow tasks.

pub(crate) mod job;
pub(crate) mod on_idle;
pub(crate) mod reclaim;
pub(crate) mod role;
pub(crate) mod shift;
pub(crate) mod start;
mod watchdog;
