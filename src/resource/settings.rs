//! Choices that a [`ResourceBuilder`](crate::ResourceBuilder) offers.

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
    /// On the submitter, where the resource is idle: the closure may run
    /// before `submit` returns, on the calling thread, **under the locks that
    /// the caller holds**. And after it, tasks of others, up to the
    /// [capture limit](ResourceBuilder::capture_limit): if those take a lock
    /// that the caller holds across the call, they deadlock with it.
    #[default]
    Inline,
    /// Never on a submitter or waiter: always on the pool or executor. For
    /// tasks that use much CPU, or must not run under the caller's locks.
    Pool,
}

/// What a panic in a task does to its resource.
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
    /// The panic is the task's outcome; the next task runs, and sees the value
    /// as the panic left it.
    #[default]
    Continue,
    /// As with a poisoned mutex, nobody touches the value any more: what is
    /// queued and what is submitted later ends in
    /// [`TaskError::Poisoned`](crate::TaskError::Poisoned), until
    /// [`clear_poison`](Resource::clear_poison).
    Poison,
}

/// How tasks that are passed over by more urgent ones come to run.
///
/// ```
/// use captor::{Ageing, Resource};
///
/// let r = Resource::builder().priorities(4).ageing(Ageing::Every(8)).build(())?;
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ageing {
    /// Every n-th task that is started is taken from a less urgent level: those
    /// turns go round all levels that have tasks, but level 0. So the oldest
    /// task of a level starts after n · (levels − 1) others at most, however
    /// many tasks come at the levels above it. `n` is at least 2.
    Every(u32),
    /// Never: a task starts once no more urgent one waits. A flood of those
    /// starves it.
    Strict,
}

/// Every 16th.
impl Default for Ageing {
    fn default() -> Self {
        Ageing::Every(16)
    }
}
