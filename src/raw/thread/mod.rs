//! The state of a thread: the tasks that the thread is inside of, its waits, and the user code that
//! the thread calls.
//!
//! This layer must not touch a strand or a core. A resource is only an address, which is compared
//! and never followed. `ci/layering.sh` says which layers this layer may name. The state of this
//! layer is kept for each thread, except the wait-for graph, which the process has once.
//!
//! - [`context`]: the tasks that this thread is inside of
//! - [`deadlock`]: refuses waits that would never end
//! - [`panics`]: contains panics of user code that is not a task
//! - [`park`]: parks a thread, and makes the waker that unparks it
//! - [`spans`]: keeps the spans of a thread away from tasks of other submitters

pub(crate) mod context;
pub(crate) mod deadlock;
pub(crate) mod panics;
pub(crate) mod park;
pub(crate) mod spans;
