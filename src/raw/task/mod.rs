//! One task: the allocation with its closure and later its outcome, the owners that keep the
//! allocation alive, and the two ways to wake: a waiter for the outcome, and a suspended task.
//!
//! This layer must not take or give away a role, and knows its resource's value only as a raw
//! pointer: `core` lies above. `run` and `ending` call in here, and links in rustdoc are the only
//! way up. `ci/layering.sh` says which layers this layer may name.
//!
//! Each task has one life word, whose bits say which owners are left, which thread owns the
//! closure, and where the outcome and the waker are. tokio and `async-task` keep a task's state in
//! one word in this way. captor has one bit for each owner in place of a reference count.
//! `docs/design/tasks.md` argues the life word, `docs/design/waiting.md` the offer to a waiter, and
//! `docs/design/tasks-that-wait.md` suspended tasks.
//!
//! The word *refuse* has two senses. The functions of this layer that *refuse* a task drop the
//! closure of an accepted task, and put an error in its place. In the layers above, a resource
//! *refuses* a task that it does not accept. A comment here that says that the push was refused
//! means the second sense.
//!
//! - [`life`]: the life word's bits, the header that all tasks share, and the steps on the word.
//! - [`body`]: the typed task, and its functions once the type is forgotten.
//! - [`queued`]: the queue's reference to a task.
//! - [`handle`]: the handle's reference, and tasks on a blocked caller's stack frame.
//! - [`owners`]: how the owners let go, and the last owner frees the task.
//! - [`waiter`]: the waker slot, and the offer of the role to a parked thread.
//! - [`signal`]: how a suspended task is woken.
//! - [`future`]: the body of an asynchronous task.
//! - [`tag`]: a task's name, priority, deadline, span and times.

pub(crate) mod body;
pub(crate) mod future;
pub(crate) mod handle;
pub(crate) mod life;
pub(crate) mod owners;
pub(crate) mod queued;
pub(crate) mod signal;
pub(crate) mod tag;
pub(crate) mod waiter;
