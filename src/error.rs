//! One error type per operation; [`TaskError`]'s page has the table.

use crate::sync::Arc;
use std::any::Any;
use std::fmt;
use std::sync::Mutex;

/// Why a task has no result.
///
/// There is one error type per operation; `?` turns the narrower ones into
/// this one.
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
/// An error does not say which resource it came from: its message is to be
/// read with what you add to it.
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
    /// It was cancelled before it started; or, of an [asynchronous
    /// one](crate::Resource::submit_async), where it waited.
    #[error("the task was cancelled")]
    Cancelled,
    /// The resource was closed when it was submitted.
    #[error("the resource is closed")]
    Closed,
    /// The resource had no room for it: as many tasks were queued as its
    /// [capacity](crate::ResourceBuilder::capacity) allows.
    #[error("the resource is full")]
    Full,
    /// Its [deadline](crate::TaskBuilder::deadline) passed before it started; or, of an
    /// [asynchronous one](crate::Resource::submit_async), before it was through.
    #[error("the task's deadline passed")]
    Expired,
    /// It was given a priority that its resource does not have.
    #[error("the task's priority is out of range: the resource has {0}")]
    NoSuchPriority(PriorityRange),
    /// It panicked; the payload is inside.
    #[error("the task panicked: {}", .0.message())]
    Panicked(Panic),
    /// An earlier task panicked on a resource with
    /// [`PanicPolicy::Poison`](crate::PanicPolicy::Poison).
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned,
    /// Waiting would never have ended: the caller is inside a task of that
    /// resource, or of one that waits for it. (Or, in a simulation, with the feature
    /// `testing`: there is nothing left to do that could end it.)
    #[error("waiting here would deadlock: it is inside a task that has to end first")]
    WouldDeadlock,
}

impl TaskError {
    /// The panic payload, or the error back if it is another.
    ///
    /// # Errors
    /// Returns `self` unless it is [`TaskError::Panicked`].
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

/// Equal if they say the same; two panics are never equal.
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

/// The priorities that a resource has: from 0, the most urgent, up to the
/// [least urgent](Self::least_urgent).
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
// A reference to the number: as large as a panic's box, so that errors, and
// with them outcomes, still fit into two registers.
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

    /// The highest number.
    #[must_use]
    pub fn least_urgent(self) -> u8 {
        *self.0
    }
}

/// For a message.
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
    // A mutex makes it `Sync` without asking it of the payload, so that the
    // error fits into `Box<dyn Error + Send + Sync>`.
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

    /// It was in a task of this name, of a resource of that one.
    pub(crate) fn of(mut self, resource: Option<&str>, task: Option<&'static str>) -> Self {
        self.0.resource = resource.map(Box::from);
        self.0.task = task;
        self
    }

    /// The name of the resource whose task panicked, if it has one.
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

    /// The [name](crate::TaskBuilder::name) of the task that panicked, if it has one.
    #[must_use]
    pub fn task(&self) -> Option<&'static str> {
        self.0.task
    }

    /// The panic's message, or a stand-in where it was not a string.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The value that was panicked with.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.0
            .value
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Goes on with the panic on this thread.
    ///
    /// # Panics
    /// Always: that is its purpose.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.into_payload())
    }
}

/// The message.
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

/// Why [`execute`](crate::Resource::execute) refused a task.
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
    /// As many tasks are queued as the resource's
    /// [capacity](crate::ResourceBuilder::capacity) allows.
    #[error("the resource is full")]
    Full,
    /// The resource is closed.
    #[error("the resource is closed")]
    Closed,
    /// An earlier task panicked, and the resource keeps others out since.
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned,
    /// The task was given a priority that the resource does not have.
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

/// Why [`try_submit`](crate::Resource::try_submit) refused a task, with the
/// closure to try again elsewhere.
///
/// With the closure inside it is `Sync`, or `'static`, only where the closure
/// is. To pass it on as a `Box<dyn Error + Send + Sync>`, turn it into a
/// [`SubmitError`] first.
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
    /// As many tasks are queued as the resource's
    /// [capacity](crate::ResourceBuilder::capacity) allows.
    #[error("the resource is full")]
    Full(F),
    /// The resource is closed.
    #[error("the resource is closed")]
    Closed(F),
    /// An earlier task panicked, and the resource keeps others out since.
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned(F),
    /// The task was given a priority that the resource does not have.
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

    /// The closure that was refused.
    pub fn into_inner(self) -> F {
        match self {
            TrySubmitError::Full(f)
            | TrySubmitError::Closed(f)
            | TrySubmitError::Poisoned(f)
            | TrySubmitError::NoSuchPriority(f, _) => f,
        }
    }
}

// Not derived: a closure is not `Debug`.
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

/// Why there is no [`Permit`](crate::Permit).
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
    /// There is no room now;
    /// from [`try_reserve`](crate::Resource::try_reserve) alone.
    #[error("the resource is full")]
    Full,
    /// There was no room in time;
    /// from [`reserve_timeout`](crate::Resource::reserve_timeout) alone.
    #[error("the resource was full for as long as was waited")]
    Timeout,
    /// The resource is closed.
    #[error("the resource is closed")]
    Closed,
    /// An earlier task panicked, and the resource keeps others out since.
    #[error("the resource is poisoned: an earlier task panicked")]
    Poisoned,
    /// It is full, and waiting might never have ended: the caller is inside a
    /// task of that resource, or of one that waits for it.
    #[error("waiting here would deadlock: it is inside a task that has to end first")]
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

/// Why [`clear_poison`](crate::Resource::clear_poison) did not heal a resource.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealError {
    /// It was not poisoned, or another caller healed it first.
    #[error("the resource is not poisoned")]
    NotPoisoned,
    /// The call came from inside a task of the resource, or another caller is
    /// still healing it.
    #[error("the resource is poisoned but still held")]
    Busy,
    /// The healing closure panicked; the resource stays poisoned.
    #[error("healing panicked: {}", .0.message())]
    Panicked(Panic),
}

/// Equal if they are the same variant; two panics are never equal.
impl PartialEq for HealError {
    fn eq(&self, other: &Self) -> bool {
        use std::mem::discriminant;
        !matches!(self, HealError::Panicked(_)) && discriminant(self) == discriminant(other)
    }
}

/// What was left when the time for a [shutdown](crate::Scheduler::try_shutdown)
/// was over.
///
/// ```
/// use captor::{Resource, Scheduler};
/// use std::{sync::mpsc, time::Duration};
///
/// let scheduler = Scheduler::builder().workers(1).build()?;
/// let r = Resource::builder().name("orders").scheduler(&scheduler);
/// let r = r.dispatch(captor::Dispatch::Pool).build(())?;
/// let (go, gate) = mpsc::channel::<()>();
/// r.execute(move |_| gate.recv().is_ok())?;
/// let error = scheduler.try_shutdown(Duration::from_millis(5)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the scheduler was not through in time: tasks left on \"orders\" (1); threads still run"
/// );
/// # drop(go);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler was not through in time: {}{}", Listed(.resources), if *.threads { "threads still run" } else { "no thread runs any more" })]
#[non_exhaustive]
pub struct ShutdownError {
    /// The resources that have tasks left.
    pub resources: Vec<Unfinished>,
    /// Whether workers, or jobs of the executor, were left.
    pub threads: bool,
}

/// A resource that has tasks left; in a [`ShutdownError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// What it is called, if it has a name.
    pub name: Option<Arc<str>>,
    /// How many tasks are queued or running.
    pub outstanding: u64,
}

/// For a message.
struct Listed<'a>(&'a [Unfinished]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Unfinished { name, outstanding }) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "tasks left on " } else { ", " })?;
            match name {
                Some(name) => write!(f, "{name:?} ({outstanding})")?,
                None => write!(f, "one without a name ({outstanding})")?,
            }
        }
        f.write_str(if self.0.is_empty() { "" } else { "; " })
    }
}

/// What is wrong with a setting.
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
    #[error("capacity must be at least 1: a busy resource could take no task")]
    ZeroCapacity,
    /// `priorities(n)` with `n` out of range.
    #[error("priorities must be between 1 and {max}, not {given}")]
    Priorities {
        /// What was asked for.
        given: u16,
        /// The most that is possible.
        max: u16,
    },
    /// `default_priority(n)` of a resource that has no priority `n`.
    #[error("default_priority {given} is out of range: the resource has {range}")]
    DefaultPriority {
        /// What was asked for.
        given: u8,
        /// What there is.
        range: PriorityRange,
    },
    /// `ageing(Ageing::Every(n))` with an `n` below 2.
    #[error(
        "ageing must leave the most urgent task a turn: every 2nd task at most, not every {given}"
    )]
    Ageing {
        /// What was asked for.
        given: u32,
    },
    /// `workers(n)` with `n` out of range.
    #[error("workers must be between 1 and {max}, not {given}")]
    Workers {
        /// What was asked for.
        given: usize,
        /// The most that is possible.
        max: usize,
    },
    /// `thread_name` with a NUL byte in it.
    #[error("thread_name must not contain a NUL byte")]
    ThreadName,
    /// `workers` or `thread_name` beside an `executor`, which has its own threads.
    #[error("{setting} cannot be combined with an executor, which has threads of its own")]
    ExecutorHasThreads {
        /// The builder method.
        setting: &'static str,
    },
}
