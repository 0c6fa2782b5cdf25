//! [`Resource`]: the handle to a value and its tasks, and the ways to submit a closure.
//!
//! This folder is the public interface of one resource. It decides between the fast path and the
//! busy path of a submission, and turns the core's answers into completions and errors. This layer
//! must not name `pool` or `compose`, and has no unsafe code. `ci/layering.sh` says which layers
//! this layer may name.
//!
//! Files:
//!
//! - `mod.rs`: the handle
//! - `create.rs`: a resource with default settings
//! - `builder.rs`: a resource with settings of its own
//! - `submit.rs`: `submit`, `with`, `execute`, `try_submit`
//! - `on_idle.rs`: the closure that runs each time the queue runs empty
//! - `inspect.rs`: names, statistics, and which resource a handle refers to
//! - `settings.rs`: the choices that a setting may have
//! - `task_builder.rs`: a task with a name, a priority or a deadline
//! - `async_task.rs`: tasks that await and keep their resource
//! - `permit.rs`: room in a bounded queue, reserved before a task is submitted
//! - `lifecycle.rs`: closing, cancelling, taking the value, and healing after a panic
//! - `current.rs`: the task that runs on this thread
//! - `weak.rs`: a handle that does not keep the value alive

// rustdoc lists the methods of a type in the order of the modules: how a resource is made, the
// calls that every user needs, then the rest in groups.
mod create;

pub(crate) mod builder;

mod submit;

pub(crate) mod task_builder;

pub(crate) mod async_task;

pub(crate) mod permit;

mod on_idle;

mod lifecycle;

mod inspect;

pub(crate) mod current;
pub(crate) mod settings;
pub(crate) mod weak;

use crate::raw::core::Core;
use crate::sync::Arc;
use std::fmt;

/// A value that many threads change by closures, one closure at a time, in order.
///
/// A `Resource` is a handle, and all clones refer to the same value. The value is dropped when the
/// last handle is dropped and all accepted tasks have finished.
///
/// | call | waits | returns |
/// |---|---|---|
/// | [`with`](Self::with) | blocks for the result | the result; the closure may borrow |
/// | [`submit`](Self::submit) | no | a [`Completion`](crate::Completion) to await, wait for, or cancel |
/// | [`try_submit`](Self::try_submit) | no | a `Completion`, or the refused closure |
/// | [`execute`](Self::execute) | no | whether the task was accepted |
/// | [`reserve`](Self::reserve), [`reserve_blocking`](Self::reserve_blocking) | for room | a [`Permit`](crate::Permit), if the resource has a [capacity](crate::ResourceBuilder::capacity) |
///
/// If the resource is idle, the calling thread runs the closure itself, before the call returns. If
/// the resource is busy, the closure is queued, and the thread that runs the resource's tasks runs
/// the closure in turn. If other threads queue tasks while the caller runs its own, the caller is
/// *captured*: it runs those tasks too, up to the [capture
/// limit](crate::ResourceBuilder::capture_limit).
/// [`Dispatch::Pool`](crate::Dispatch::Pool) keeps all tasks off the calling thread.
///
/// # Order
///
/// If one submission returned before another began, on any threads, its task runs first, and the
/// later task sees what the earlier task wrote. If the resource has levels of
/// [priority](crate::ResourceBuilder::priorities), this holds within a level.
///
/// # Inside a task
///
/// A task may submit to its own resource: the new task runs after the running task. A task may also
/// submit to other resources. If such a resource is idle, the new task runs at once, up to a depth
/// of eight tasks inside each other. A task must not wait for its own resource: such a wait returns
/// [`TaskError::WouldDeadlock`](crate::TaskError::WouldDeadlock).
///
/// # Example
///
/// ```
/// use captor::Resource;
///
/// let inbox = Resource::new(Vec::new());
/// std::thread::scope(|s| {
///     for n in 0..4 {
///         let inbox = &inbox;
///         s.spawn(move || inbox.execute(move |messages| messages.push(n)));
///     }
/// });
/// let mut all = inbox.with(|messages| messages.clone())?;
/// all.sort();
/// assert_eq!(all, [0, 1, 2, 3]);
/// # Ok::<(), captor::TaskError>(())
/// ```
pub struct Resource<T> {
    core: Arc<Core<T>>,
}

impl<T> Resource<T> {
    pub(crate) fn from_core(core: Arc<Core<T>>) -> Self {
        Resource { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core<T>> {
        &self.core
    }
}

// A panic in a task is contained and becomes the task's outcome. The panic policy decides whether
// later tasks see the value, as with a mutex.
impl<T> std::panic::UnwindSafe for Resource<T> {}
impl<T> std::panic::RefUnwindSafe for Resource<T> {}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        Resource {
            core: Arc::clone(&self.core),
        }
    }
}

impl<T> fmt::Debug for Resource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.core.name())
            .field("closed", &self.core.is_closed())
            .field("poisoned", &self.core.refusal().poisoned)
            .field("outstanding", &self.core.stats().outstanding)
            .finish_non_exhaustive()
    }
}
