//! How tasks end early: cancelled, expired, swept by a closing resource, or asked to stop.
//!
//! A task that has not started is claimed here, and its closure is dropped. A task that runs is
//! only asked to stop. A task that waits is given up, and the next holder drops its future. The
//! life word of the task decides between these threads and the holder: see
//! `docs/design/tasks.md` and `docs/design/timers.md`.
//!
//! No code here may touch the value, or drop the future of a task that waits: both belong to the
//! holder. `ci/layering.sh` says which layers this layer may name.
//!
//! - `cancel`: cancels one task through its handle, or all pending tasks
//! - `close`: closes or poisons a resource
//! - [`expiry`]: lets a task expire at its deadline
//! - [`stop`]: asks a running task to stop

mod cancel;
mod close;
pub(crate) mod expiry;
pub(crate) mod stop;
