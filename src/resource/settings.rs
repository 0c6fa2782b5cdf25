//! The choices behind settings of [`ResourceBuilder`](crate::ResourceBuilder): where tasks run,
//! what a panic does, and how less urgent tasks age. The values of all settings are kept in
//! `Settings`, in `raw/core/cold_state.rs`.

/// Where a resource's tasks may run.
///
/// ```
/// use captor::{Dispatch, Resource};
///
/// let here = std::thread::current().id();
/// let on_caller = Resource::new(());
/// assert_eq!(on_caller.with(|_| std::thread::current().id()), Ok(here));
///
/// let on_pool = Resource::builder().dispatch(Dispatch::Pool).build(())?;
/// assert_ne!(on_pool.with(|_| std::thread::current().id()), Ok(here));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// On an idle resource, tasks run on the submitter.
    ///
    /// The closure may run before `submit` returns, on the calling thread, **under the locks that
    /// the caller holds**. After its own task, the caller may run tasks of other submitters, up to
    /// the [capture limit](crate::ResourceBuilder::capture_limit). If any of these tasks takes a
    /// lock that the caller holds across the call, the thread deadlocks.
    #[default]
    Inline,
    /// Tasks run on workers of the pool or on the executor, and never on a submitter or waiter.
    ///
    /// Use this for tasks that use much CPU or block, or that must not run under the caller's
    /// locks.
    Pool,
}

/// The effect of a panic in a task on the task's resource.
///
/// ```
/// use captor::{PanicPolicy, Resource, TaskError};
///
/// let r = Resource::builder().panic_policy(PanicPolicy::Poison).build(())?;
/// assert!(matches!(r.with(|_| panic!()), Err(TaskError::Panicked(_))));
/// assert_eq!(r.with(|_| ()), Err(TaskError::Poisoned));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PanicPolicy {
    /// The panic is the task's outcome. The next task runs, and sees the value as the panic left
    /// it.
    #[default]
    Continue,
    /// The panic poisons the resource, as with a poisoned mutex: no task sees the value any more.
    ///
    /// Queued tasks and later submissions end in
    /// [`TaskError::Poisoned`](crate::TaskError::Poisoned), until
    /// [`clear_poison`](crate::Resource::clear_poison) heals the resource.
    Poison,
    /// The panic closes the resource and drops the value, as the panic of a thread drops what the
    /// thread owns.
    ///
    /// Queued tasks end in [`TaskError::Cancelled`](crate::TaskError::Cancelled), and later
    /// submissions in [`TaskError::Closed`](crate::TaskError::Closed). The value is dropped before
    /// any of them resolves, on the thread that ran the panicking task. So a caller that waits for
    /// a channel or a oneshot whose other end lies inside the value is told at once.
    /// [`into_inner`](crate::Resource::into_inner) then resolves to `Closed`.
    Close,
}

/// How less urgent tasks get their turn among more urgent tasks.
///
/// ```
/// use captor::{Ageing, Resource};
///
/// let r = Resource::builder().priorities(4).ageing(Ageing::Every(8)).build(())?;
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ageing {
    /// Every n-th task that is started comes from a less urgent level.
    ///
    /// These turns rotate over all levels that have tasks, except level 0. The oldest task of a
    /// level therefore starts after at most n · (levels − 1) other tasks, however many tasks arrive
    /// at more urgent levels. `n` must be at least 2.
    Every(u32),
    /// Less urgent tasks get no turns: a task starts only when no more urgent task waits.
    ///
    /// A flood of more urgent tasks starves the less urgent tasks.
    Strict,
}

/// The default is every 16th task.
impl Default for Ageing {
    fn default() -> Self {
        Ageing::Every(16)
    }
}
