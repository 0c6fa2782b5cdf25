//! Errors: one type for each operation, and the payload of a panic.
//!
//! [`TaskError`]'s page has the table of operations. This file names only `sync`. The mutex of
//! `std` in it only makes a payload `Sync`, and no thread locks it.

use crate::sync::Arc;
use std::any::Any;
use std::fmt;
use std::sync::Mutex;

/// The reason why a task has no result.
///
/// There is one error type for each operation. `?` turns the narrower types into `TaskError`. The
/// guide says [which error leaves the task unrun](crate::guide::errors_and_panics).
///
/// | operation | error | into |
/// |---|---|---|
/// | a task's outcome: [`Completion`](crate::Completion), [`with`](crate::Resource::with) | [`TaskError`] | |
/// | [`execute`](crate::Resource::execute) | [`SubmitError`] | [`TaskError`] |
/// | [`try_submit`](crate::Resource::try_submit) | [`TrySubmitError`], which hands the closure back | [`SubmitError`], [`TaskError`] |
/// | [`reserve`](crate::Resource::reserve), [`try_reserve`](crate::Resource::try_reserve), [`reserve_blocking`](crate::Resource::reserve_blocking), [`reserve_timeout`](crate::Resource::reserve_timeout) | [`ReserveError`] | [`TaskError`] |
/// | [`clear_poison`](crate::Resource::clear_poison) | [`HealError`] | |
/// | [`try_shutdown`](crate::Scheduler::try_shutdown) | [`ShutdownError`] | |
/// | the builders | [`BuildError`] | |
///
/// An error does not name the resource. Add the context that a reader of the message needs.
///
/// ```
/// use captor::{Resource, TaskError};
///
/// let counter = Resource::new(0_u32);
/// counter.close();
/// assert_eq!(counter.submit(|n| *n += 1).wait(), Err(TaskError::Closed));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task was cancelled before it started. An [asynchronous
    /// task](crate::Resource::submit_async) may also be cancelled at an `.await`.
    #[error("the task was cancelled")]
    Cancelled,
    /// The resource was closed when the task was submitted.
    #[error("the resource is closed")]
    Closed,
    /// The resource had no room for the task: as many tasks were queued as its
    /// [capacity](crate::ResourceBuilder::capacity) allows.
    #[error("the resource is full")]
    Full,
    /// The task's [deadline](crate::TaskBuilder::deadline) passed before the task started. For an
    /// [asynchronous task](crate::Resource::submit_async), the deadline passed before the task
    /// finished.
    #[error("the task's deadline passed")]
    Expired,
    /// The task was submitted with a priority that its resource does not have.
    #[error("the task's priority is out of range: the resource has {0}")]
    NoSuchPriority(PriorityRange),
    /// The task panicked. The variant contains the payload.
    #[error("the task panicked: {}", .0.message())]
    Panicked(Panic),
    /// An earlier task panicked on a resource with
    /// [`PanicPolicy::Poison`](crate::PanicPolicy::Poison).
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned,
    /// The wait could never end: the caller is inside a task that must finish first.
    ///
    /// The caller is inside a task of the awaited resource, or the wait would close a circle of
    /// waits across resources. With the feature `testing`, a simulation also returns this error if
    /// nothing is left to do that could end the wait.
    ///
    /// **The error has two meanings for the task.** They depend on the call that returned the
    /// error:
    ///
    /// - [`with`](crate::Resource::with): the task has not run and never runs.
    /// - A [`Completion`](crate::Completion), awaited or waited for: the awaited task still runs,
    ///   and its result is dropped. If the completion [cancels on
    ///   drop](crate::Completion::cancel_on_drop) and the task has not started, the task is
    ///   cancelled instead.
    ///
    /// From [`IntoInner`](crate::IntoInner), the error leaves the resource closed, and its accepted
    /// tasks still run. From a [`ReserveError`], no task was submitted.
    #[error("waiting here would deadlock: the caller is inside a task that must finish first")]
    WouldDeadlock,
}

impl TaskError {
    /// Returns the panic payload, or the error itself if it is not a panic.
    ///
    /// # Errors
    /// Returns `self` unless the error is [`TaskError::Panicked`].
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// let r = Resource::new(());
    /// let error = r.with(|_| panic!("spilled")).unwrap_err();
    /// let payload = error.try_into_panic().unwrap();
    /// assert_eq!(payload.downcast_ref::<&str>(), Some(&"spilled"));
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, TaskError> {
        match self {
            TaskError::Panicked(panic) => Ok(panic.into_payload()),
            other => Err(other),
        }
    }
}

/// Two errors are equal if they have the same variant and the same range. Two panics are never
/// equal.
impl PartialEq for TaskError {
    fn eq(&self, other: &Self) -> bool {
        use std::mem::discriminant;
        match (self, other) {
            (TaskError::Panicked(_), _) => false,
            (TaskError::NoSuchPriority(a), TaskError::NoSuchPriority(b)) => a == b,
            _ => discriminant(self) == discriminant(other),
        }
    }
}

/// The priorities that a resource has: from 0, the most urgent, up to the [least
/// urgent](Self::least_urgent).
///
/// ```
/// use captor::{Resource, SubmitError};
///
/// let r = Resource::builder().priorities(3).build(())?;
/// let Err(SubmitError::NoSuchPriority(range)) = r.task().priority(3).execute(|_| ()) else {
///     unreachable!()
/// };
/// assert_eq!((range.least_urgent(), range.to_string().as_str()), (2, "priorities 0 to 2"));
/// # Ok::<(), captor::BuildError>(())
/// ```
// The range is a reference to the number, and so as large as a panic's box. Errors, and with them
// outcomes, therefore still fit into two registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PriorityRange(&'static u8);

impl PriorityRange {
    pub(crate) fn up_to(least_urgent: u8) -> Self {
        static NUMBERS: [u8; 256] = {
            let mut numbers = [0; 256];
            let mut n = 0;
            while n < 256 {
                numbers[n] = n as u8;
                n += 1;
            }
            numbers
        };
        PriorityRange(&NUMBERS[usize::from(least_urgent)])
    }

    /// Returns the least urgent priority, which is the highest number.
    #[must_use]
    pub fn least_urgent(self) -> u8 {
        *self.0
    }
}

/// Writes the range for an error message.
impl fmt::Display for PriorityRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("priority 0 only"),
            n => write!(f, "priorities 0 to {n}"),
        }
    }
}

impl fmt::Debug for PriorityRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0..={}", self.0)
    }
}

/// The payload of a panic in a task.
///
/// ```
/// use captor::{Resource, TaskError};
///
/// let r = Resource::new(());
/// let Err(TaskError::Panicked(panic)) = r.with(|_| panic!("{} spilled", 3)) else {
///     unreachable!()
/// };
/// assert_eq!(panic.message(), "3 spilled");
/// std::panic::catch_unwind(|| panic.resume()).unwrap_err();
/// ```
pub struct Panic(Box<Payload>);

struct Payload {
    // The mutex makes the payload `Sync` without a bound on its type, so the error fits into
    // `Box<dyn Error + Send + Sync>`.
    value: Mutex<Box<dyn Any + Send>>,
    message: Box<str>,
    resource: Option<Box<str>>,
    task: Option<&'static str>,
}

impl Panic {
    pub(crate) fn new(value: Box<dyn Any + Send>) -> Self {
        let message = message(&*value).into();
        Panic(Box::new(Payload {
            value: Mutex::new(value),
            message,
            resource: None,
            task: None,
        }))
    }

    /// Adds the names of the resource and of the task that panicked.
    pub(crate) fn of(mut self, resource: Option<&str>, task: Option<&'static str>) -> Self {
        self.0.resource = resource.map(Box::from);
        self.0.task = task;
        self
    }

    /// Returns the name of the resource whose task panicked, if the resource has a name.
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    ///
    /// let r = Resource::builder().name("stock").build(())?;
    /// let refill = r.task().name("refill").submit(|_| panic!("it is empty"));
    /// let Err(TaskError::Panicked(panic)) = refill.wait() else {
    ///     unreachable!()
    /// };
    /// assert_eq!((panic.resource(), panic.task()), (Some("stock"), Some("refill")));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// Returns the [name](crate::TaskBuilder::name) of the task that panicked, if the task has a
    /// name.
    #[must_use]
    pub fn task(&self) -> Option<&'static str> {
        self.0.task
    }

    /// Returns the panic's message, or a placeholder if the payload is not a string.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the payload of the panic.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.0
            .value
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Continues the panic on this thread.
    ///
    /// # Panics
    /// Always: that is the purpose.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.into_payload())
    }
}

/// Writes the panic's message.
impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

const NO_MESSAGE: &str = "(a payload that is not a string)";

pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<String>() {
        Some(text) => text,
        None => payload
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or(NO_MESSAGE),
    }
}

/// The reason why [`execute`](crate::Resource::execute) refused a task. The task never runs.
///
/// ```
/// use captor::{Resource, SubmitError};
///
/// let r = Resource::new(0_u32);
/// r.close();
/// assert_eq!(r.execute(|n| *n += 1), Err(SubmitError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many tasks are queued as the resource's [capacity](crate::ResourceBuilder::capacity)
    /// allows.
    #[error("the resource is full")]
    Full,
    /// The resource is closed.
    #[error("the resource is closed")]
    Closed,
    /// An earlier task panicked and poisoned the resource.
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned,
    /// The task was submitted with a priority that the resource does not have.
    #[error("the task's priority is out of range: the resource has {0}")]
    NoSuchPriority(PriorityRange),
}

impl From<SubmitError> for TaskError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Full => TaskError::Full,
            SubmitError::Closed => TaskError::Closed,
            SubmitError::Poisoned => TaskError::Poisoned,
            SubmitError::NoSuchPriority(range) => TaskError::NoSuchPriority(range),
        }
    }
}

/// The reason why [`try_submit`](crate::Resource::try_submit) refused a task, with the closure to
/// try again elsewhere.
///
/// The error is `Sync` or `'static` only if the closure is. To pass the error on as a `Box<dyn
/// Error + Send + Sync>`, turn it into a [`SubmitError`] first.
///
/// ```
/// use captor::{Resource, TrySubmitError};
///
/// let (primary, spare) = (Resource::new(0_u32), Resource::new(0_u32));
/// primary.close();
/// if let Err(TrySubmitError::Closed(f)) = primary.try_submit(|n: &mut u32| *n += 1) {
///     spare.execute(f)?;
/// }
/// assert_eq!(spare.with(|n| *n), Ok(1));
/// # Ok::<(), captor::SubmitError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySubmitError<F> {
    /// As many tasks are queued as the resource's [capacity](crate::ResourceBuilder::capacity)
    /// allows.
    #[error("the resource is full")]
    Full(F),
    /// The resource is closed.
    #[error("the resource is closed")]
    Closed(F),
    /// An earlier task panicked and poisoned the resource.
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned(F),
    /// The task was submitted with a priority that the resource does not have.
    #[error("the task's priority is out of range: the resource has {1}")]
    NoSuchPriority(F, PriorityRange),
}

impl<F> TrySubmitError<F> {
    pub(crate) fn new(error: SubmitError, f: F) -> Self {
        match error {
            SubmitError::Full => TrySubmitError::Full(f),
            SubmitError::Closed => TrySubmitError::Closed(f),
            SubmitError::Poisoned => TrySubmitError::Poisoned(f),
            SubmitError::NoSuchPriority(range) => TrySubmitError::NoSuchPriority(f, range),
        }
    }

    /// Returns the refused closure.
    pub fn into_inner(self) -> F {
        match self {
            TrySubmitError::Full(f)
            | TrySubmitError::Closed(f)
            | TrySubmitError::Poisoned(f)
            | TrySubmitError::NoSuchPriority(f, _) => f,
        }
    }
}

// This is not derived, because a closure is not `Debug`.
impl<F> fmt::Debug for TrySubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySubmitError::Full(_) => "Full(..)",
            TrySubmitError::Closed(_) => "Closed(..)",
            TrySubmitError::Poisoned(_) => "Poisoned(..)",
            TrySubmitError::NoSuchPriority(..) => "NoSuchPriority(..)",
        })
    }
}

impl<F> From<TrySubmitError<F>> for SubmitError {
    fn from(error: TrySubmitError<F>) -> Self {
        match error {
            TrySubmitError::Full(_) => SubmitError::Full,
            TrySubmitError::Closed(_) => SubmitError::Closed,
            TrySubmitError::Poisoned(_) => SubmitError::Poisoned,
            TrySubmitError::NoSuchPriority(_, range) => SubmitError::NoSuchPriority(range),
        }
    }
}

impl<F> From<TrySubmitError<F>> for TaskError {
    fn from(error: TrySubmitError<F>) -> Self {
        SubmitError::from(error).into()
    }
}

/// The reason why there is no [`Permit`](crate::Permit).
///
/// ```
/// use captor::{Resource, ReserveError};
///
/// let r = Resource::builder().capacity(1).build(())?;
/// let permit = r.try_reserve()?;
/// assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Full);
/// r.close();
/// assert_eq!(r.reserve_blocking().unwrap_err(), ReserveError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// There is no room now. Only [`try_reserve`](crate::Resource::try_reserve) returns this error.
    #[error("the resource is full")]
    Full,
    /// There was no room in time. Only [`reserve_timeout`](crate::Resource::reserve_timeout)
    /// returns this error.
    #[error("timed out while waiting for room in the resource")]
    Timeout,
    /// The resource is closed.
    #[error("the resource is closed")]
    Closed,
    /// An earlier task panicked and poisoned the resource.
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned,
    /// The resource is full, and the wait for room might never end.
    ///
    /// The caller is inside a task of this resource, or the wait would close a circle of waits
    /// across resources. No task was submitted.
    #[error("waiting here would deadlock: the caller is inside a task that must finish first")]
    WouldDeadlock,
}

impl From<ReserveError> for TaskError {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Full | ReserveError::Timeout => TaskError::Full,
            ReserveError::Closed => TaskError::Closed,
            ReserveError::Poisoned => TaskError::Poisoned,
            ReserveError::WouldDeadlock => TaskError::WouldDeadlock,
        }
    }
}

/// The reason why [`clear_poison`](crate::Resource::clear_poison) did not heal a resource.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealError {
    /// The resource was not poisoned, or another caller healed it first.
    #[error("the resource is not poisoned")]
    NotPoisoned,
    /// The call came from inside a task of the resource, or another caller is still healing the
    /// resource.
    #[error("the resource is poisoned, and a task or another caller still holds it")]
    Busy,
    /// The healing closure panicked. The resource stays poisoned.
    #[error("the healing closure panicked: {}", .0.message())]
    Panicked(Panic),
}

/// Two errors are equal if they have the same variant. Two panics are never equal.
impl PartialEq for HealError {
    fn eq(&self, other: &Self) -> bool {
        use std::mem::discriminant;
        !matches!(self, HealError::Panicked(_)) && discriminant(self) == discriminant(other)
    }
}

/// The tasks and threads that were left when a [shutdown](crate::Scheduler::try_shutdown) returned.
///
/// ```
/// use captor::{Resource, Scheduler};
/// use std::{sync::mpsc, time::Duration};
///
/// let scheduler = Scheduler::builder().workers(1).build()?;
/// let r = Resource::builder().name("orders").scheduler(&scheduler);
/// let r = r.dispatch(captor::Dispatch::Pool).build(())?;
/// let (go, gate) = mpsc::channel::<()>();
/// r.execute(move |_| drop(gate.recv()))?;
/// let error = scheduler.try_shutdown(Duration::from_millis(5)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the shutdown is incomplete: tasks left on \"orders\" (1); threads still run"
/// );
/// # drop(go);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shutdown is incomplete: {}{}", Listed(.resources), if *.threads { "threads still run" } else { "all threads have ended" })]
#[non_exhaustive]
pub struct ShutdownError {
    /// The resources that have tasks left.
    pub resources: Vec<Unfinished>,
    /// Whether workers of the pool or jobs of the executor were left.
    pub threads: bool,
}

/// A resource that has tasks left; in a [`ShutdownError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// The resource's name, if it has a name.
    pub name: Option<Arc<str>>,
    /// The number of tasks that are queued or running.
    pub outstanding: u64,
}

/// Writes the list for an error message.
struct Listed<'a>(&'a [Unfinished]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Unfinished { name, outstanding }) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "tasks left on " } else { ", " })?;
            match name {
                Some(name) => write!(f, "{name:?} ({outstanding})")?,
                None => write!(f, "an unnamed resource ({outstanding})")?,
            }
        }
        f.write_str(if self.0.is_empty() { "" } else { "; " })
    }
}

/// The reason why a builder refused a setting.
///
/// ```
/// use captor::{BuildError, Resource};
///
/// let error = Resource::builder().capture_limit(0).build(()).unwrap_err();
/// assert!(matches!(error, BuildError::ZeroCaptureLimit));
/// assert_eq!(error.to_string(), "capture_limit must be at least 1: a submitter runs its own task");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `capture_limit(0)`.
    #[error("capture_limit must be at least 1: a submitter runs its own task")]
    ZeroCaptureLimit,
    /// `capacity(0)`.
    #[error("capacity must be at least 1: a busy resource would refuse every task")]
    ZeroCapacity,
    /// `priorities(n)`, and `n` is out of range.
    #[error("priorities must be between 1 and {max}, not {given}")]
    Priorities {
        /// The requested number.
        given: u16,
        /// The highest possible number.
        max: u16,
    },
    /// `default_priority(n)`, and the resource has no priority `n`.
    #[error("default_priority {given} is out of range: the resource has {range}")]
    DefaultPriority {
        /// The requested priority.
        given: u8,
        /// The priorities that the resource has.
        range: PriorityRange,
    },
    /// `ageing(Ageing::Every(n))`, and `n` is below 2.
    #[error("ageing must be at least Every(2), not Every({given}): urgent tasks need turns too")]
    Ageing {
        /// The requested number.
        given: u32,
    },
    /// `workers(n)`, and `n` is out of range.
    #[error("workers must be between 1 and {max}, not {given}")]
    Workers {
        /// The requested number.
        given: usize,
        /// The highest possible number.
        max: usize,
    },
    /// `thread_name`, with a NUL byte in the name.
    #[error("thread_name must not contain a NUL byte")]
    ThreadName,
    /// `workers` or `thread_name` together with an `executor`, which has threads of its own.
    #[error("{setting} cannot be combined with an executor, which has threads of its own")]
    ExecutorHasThreads {
        /// The builder method.
        setting: &'static str,
    },
}
