//! The builders: settings of a resource, attributes of a task.

use crate::error::{BuildError, PriorityRange, SubmitError, TaskError, TrySubmitError};
use crate::future::completion::Completion;
use crate::raw::core::Core;
use crate::raw::core::extra::{Priorities, Settings};
use crate::raw::strand::levels::MAX_LEVELS;
use crate::raw::submit::Entry;
use crate::raw::task::future::AsyncTask;
use crate::raw::task::tag::Attributes;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::scheduler::Scheduler;
use crate::sync::Arc;
use std::fmt;
use std::time::{Duration, Instant};

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

/// Settings of a [`Resource`]; from [`Resource::builder`].
///
/// A resource with other settings than the default takes a second allocation.
///
/// ```
/// use captor::{PanicPolicy, Resource};
/// use std::time::Duration;
///
/// let topics = Resource::builder()
///     .name("topics")
///     .capture_limit(20)
///     .capture_time(Duration::from_micros(100))
///     .panic_policy(PanicPolicy::Poison)
///     .build(Vec::<String>::new())?;
/// # Ok::<(), captor::BuildError>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ResourceBuilder {
    settings: Settings,
    scheduler: Option<Scheduler>,
    priorities: Option<u16>,
    default_priority: Option<u8>,
    ageing: Ageing,
}

impl Resource<()> {
    /// Settings for a resource; the value comes last, in
    /// [`build`](ResourceBuilder::build), and its type with it: call this as
    /// `Resource::builder()`, without one.
    ///
    /// ```
    /// use captor::Resource;
    /// let r = Resource::builder().name("sessions").capture_limit(4).build(vec![1])?;
    /// assert_eq!(r.with(|v| v.len()), Ok(1));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn builder() -> ResourceBuilder {
        ResourceBuilder::new()
    }
}

impl ResourceBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What it is called in the log. Default: no name. Names need not be unique.
    ///
    /// Having one also decides whether it is listed in
    /// [`Scheduler::resources`], whether its statistics are published (feature
    /// `metrics`), and whether the [global](Scheduler::global) scheduler closes it
    /// when it is [shut down](Scheduler::shutdown).
    ///
    /// ```
    /// let r = captor::Resource::builder().name("topics").build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into());
        self
    }

    /// How many tasks a submitter may come to run, its own included, before it
    /// hands off. At least 1. Default: the scheduler's, which is 10 unless set.
    ///
    /// ```
    /// let r = captor::Resource::builder().capture_limit(1).build(())?; // its own only
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_limit(mut self, tasks: usize) -> Self {
        self.settings.capture_limit = Some(tasks);
        self
    }

    /// How long after its own task a submitter may start others' tasks.
    /// Default: the scheduler's, which is 1 ms unless set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let r = captor::Resource::builder().capture_time(Duration::from_micros(50)).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_time(mut self, time: Duration) -> Self {
        self.settings.capture_time = Some(time);
        self
    }

    /// How many tasks may be queued: submitted, and not started yet. At least one.
    /// Default: any number. In the guide:
    /// [bounds and back-pressure](crate::guide#bounds-and-back-pressure).
    ///
    /// Where that many are, [`submit`](Resource::submit),
    /// [`try_submit`](Resource::try_submit) and [`execute`](Resource::execute)
    /// refuse with `Full`, at once; [`reserve`](Resource::reserve) and its kin
    /// wait for room. A task that runs at once, on an idle resource, needs none.
    /// Nor does [`with`](Resource::with): what it queues lies on the stack of
    /// its caller, who submits nothing else meanwhile. Nor do a
    /// [trigger](Resource::trigger)'s task, of which there are few however often it is
    /// fired, and [`on_idle`](Resource::on_idle). Room comes back when a
    /// task starts, and when it is cancelled. (One that is cancelled through its
    /// [`Completion`] leaves its memory in the queue, its closure dropped, until
    /// its turn comes.)
    ///
    /// A task that submits to its own resource is refused like any other when
    /// that is full, and goes on: nobody waits.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TrySubmitError};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().capacity(1).dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// let (started, running) = mpsc::channel();
    /// let first = r.submit(move |_| {
    ///     started.send(()).unwrap();
    ///     gate.recv()
    /// });
    /// running.recv().unwrap();
    ///
    /// let second = r.submit(|n| *n += 1);
    /// let Err(TrySubmitError::Full(third)) = r.try_submit(|n: &mut i32| *n += 1) else {
    ///     unreachable!("the queue has room for one");
    /// };
    /// # drop(go);
    /// # let _ = first.wait();
    /// second.wait()?;
    /// r.try_submit(third)?.wait()?;
    /// assert_eq!(r.with(|n| *n), Ok(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, tasks: usize) -> Self {
        self.settings.capacity = Some(tasks);
        self
    }

    /// How many levels of priority tasks have, 1 to 256. Level 0 is the most
    /// urgent. Default: 1. In the guide: [priorities](crate::guide#priorities).
    ///
    /// They decide between tasks that are queued: the most urgent one starts
    /// next, within a level the one that was submitted first. See
    /// [`TaskBuilder::priority`] and [`ageing`](Self::ageing). A task that finds the
    /// resource idle runs at once, whatever its level, and one that runs is
    /// never interrupted.
    ///
    /// Submitting costs the same as without. Taking the next task costs O(1), and
    /// the resource 16 bytes a level.
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().priorities(3).dispatch(Dispatch::Pool).build(Vec::new())?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| gate.recv().is_ok())?;
    /// r.task().priority(2).execute(|log| log.push("clean up"))?;
    /// r.execute(|log| log.push("publish"))?; // 1, the middle
    /// r.task().priority(0).execute(|log| log.push("acknowledge"))?;
    /// drop(go);
    /// let log = r.task().priority(2).submit(|log| log.clone()).wait()?;
    /// assert_eq!(log, ["acknowledge", "publish", "clean up"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn priorities(mut self, levels: u16) -> Self {
        self.priorities = Some(levels);
        self
    }

    /// The priority of tasks that are submitted without one. Default: the
    /// middle level, of an even number the less urgent of the middle ones
    /// (levels / 2).
    ///
    /// ```
    /// let r = captor::Resource::builder().priorities(8).default_priority(7).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn default_priority(mut self, level: u8) -> Self {
        self.default_priority = Some(level);
        self
    }

    /// How less urgent tasks get their turn. Default: [`Ageing::Every`]`(16)`.
    ///
    /// ```
    /// use captor::{Ageing, Resource};
    /// let r = Resource::builder().priorities(2).ageing(Ageing::Strict).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn ageing(mut self, ageing: Ageing) -> Self {
        self.ageing = ageing;
        self
    }

    /// Whether to note how long tasks run and wait: the
    /// [longest task](crate::ResourceStats::longest_task), and a
    /// [histogram of waits](Resource::queue_waits). Default: no.
    ///
    /// It costs three readings of the clock for each task, the fastest path, a
    /// second allocation for each queued task, and 2 KiB for the resource.
    ///
    /// ```
    /// let r = captor::Resource::builder().timings(true).build(())?;
    /// r.with(|_| std::thread::sleep(std::time::Duration::from_millis(2))).unwrap();
    /// assert!(r.stats().longest_task.as_millis() >= 2);
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn timings(mut self, yes: bool) -> Self {
        self.settings.timings = yes;
        self
    }

    /// Warns, through `tracing`, when a task has been running for so long, while it
    /// still runs: with the resource's and the task's name, once for each task.
    /// Default: no.
    ///
    /// The scheduler's timer watches. It costs two readings of the clock for each
    /// task, and the fastest path.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let r = captor::Resource::builder().name("orders").slow_task(Duration::from_millis(100));
    /// let r = r.build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn slow_task(mut self, time: Duration) -> Self {
        self.settings.slow_task = Some(time);
        self
    }

    /// Where tasks may run. Default: [`Dispatch::Inline`].
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.settings.pooled = dispatch == Dispatch::Pool;
        self
    }

    /// What a panic does. Default: [`PanicPolicy::Continue`].
    ///
    /// ```
    /// use captor::{PanicPolicy, Resource};
    /// let r = Resource::builder().panic_policy(PanicPolicy::Poison).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.settings.poison = policy == PanicPolicy::Poison;
        self
    }

    /// Who runs what it hands off. Default: [`Scheduler::global`].
    ///
    /// ```
    /// use captor::{Resource, Scheduler};
    /// let scheduler = Scheduler::builder().workers(1).build()?;
    /// let r = Resource::builder().scheduler(&scheduler).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn scheduler(mut self, scheduler: &Scheduler) -> Self {
        self.scheduler = Some(scheduler.clone());
        self
    }

    /// The resource.
    ///
    /// # Errors
    /// Which setting is out of its range: [`BuildError::ZeroCaptureLimit`],
    /// [`BuildError::ZeroCapacity`], [`BuildError::Priorities`],
    /// [`BuildError::DefaultPriority`], [`BuildError::Ageing`]. The value is
    /// dropped then.
    ///
    /// ```
    /// let r = captor::Resource::builder().build(7)?;
    /// assert_eq!(r.with(|n| *n), Ok(7));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn build<T: Send + 'static>(mut self, value: T) -> Result<Resource<T>, BuildError> {
        if self.settings.capture_limit == Some(0) {
            return Err(BuildError::ZeroCaptureLimit);
        }
        if self.settings.capacity == Some(0) {
            return Err(BuildError::ZeroCapacity);
        }
        self.settings.priorities = self.sorting()?;
        let scheduler = self
            .scheduler
            .as_ref()
            .unwrap_or_else(|| Scheduler::global());
        let host = Arc::clone(scheduler.host());
        Ok(Resource::from_core(Core::with_settings(
            value,
            host,
            self.settings,
        )))
    }

    /// How tasks are sorted, if there is more than one level.
    fn sorting(&self) -> Result<Option<Priorities>, BuildError> {
        let levels = self.priorities.unwrap_or(1);
        let last = match levels {
            1..=MAX_LEVELS => u8::try_from(levels - 1).unwrap_or(u8::MAX),
            given => {
                let max = MAX_LEVELS;
                return Err(BuildError::Priorities { given, max });
            }
        };
        let middle = u8::try_from(levels / 2).unwrap_or(u8::MAX);
        let default = self.default_priority.unwrap_or(middle.min(last));
        if default > last {
            let (given, range) = (default, PriorityRange::up_to(last));
            return Err(BuildError::DefaultPriority { given, range });
        }
        let every = match self.ageing {
            Ageing::Strict => 0,
            Ageing::Every(given @ 0..=1) => return Err(BuildError::Ageing { given }),
            Ageing::Every(n) => n,
        };
        Ok((levels > 1).then_some(Priorities {
            levels,
            default,
            every,
        }))
    }
}

/// Attributes of one task, then its submission; from [`Resource::task`].
///
/// A task that is submitted so and has to be queued takes a second, small
/// allocation.
///
/// ```
/// let r = captor::Resource::new(0);
/// let done = r.task().name("refill").submit(|n| *n += 1);
/// done.wait()?;
/// # Ok::<(), captor::TaskError>(())
/// ```
#[must_use = "nothing is submitted until `submit`, `try_submit`, `execute` or `with`"]
pub struct TaskBuilder<'a, T> {
    resource: &'a Resource<T>,
    attributes: Attributes,
}

impl<'a, T> TaskBuilder<'a, T> {
    pub(crate) fn new(resource: &'a Resource<T>) -> Self {
        TaskBuilder {
            resource,
            attributes: Attributes::default(),
        }
    }
}

impl<T: Send + 'static> Resource<T> {
    /// A task with attributes.
    ///
    /// ```
    /// let r = captor::Resource::new(0);
    /// r.task().name("bump").execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn task(&self) -> TaskBuilder<'_, T> {
        TaskBuilder::new(self)
    }
}

impl<T: Send + 'static> TaskBuilder<'_, T> {
    /// What the task is called in the log, and by [`current`](crate::current).
    /// Default: no name.
    ///
    /// ```
    /// captor::Resource::new(0).task().name("bump").execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn name(mut self, name: &'static str) -> Self {
        self.attributes.name = Some(name);
        self
    }

    /// How urgent it is: 0 is the most urgent, the number of
    /// [priorities](ResourceBuilder::priorities) less one the least. Default:
    /// the resource's [default](ResourceBuilder::default_priority).
    ///
    /// A level that the resource does not have is refused when the task is
    /// submitted, with `NoSuchPriority`, which names those that it has.
    ///
    /// ```
    /// use captor::{Resource, SubmitError};
    ///
    /// let r = Resource::builder().priorities(3).build(0)?;
    /// r.task().priority(0).execute(|n| *n += 1)?;
    /// let error = r.task().priority(3).execute(|n| *n += 1).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the task's priority is out of range: the resource has priorities 0 to 2"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn priority(mut self, level: u8) -> Self {
        self.attributes.level = Some(level);
        self
    }

    /// When it is to have started: one that has not by then is dropped unrun, and
    /// resolves to [`TaskError::Expired`], at that time and not when its turn comes.
    /// Default: none. One that has started is not interrupted. In the guide:
    /// [deadlines and cancellation](crate::guide#deadlines-and-cancellation).
    ///
    /// The scheduler has one timer for all its resources, a thread that is started
    /// when the first task with a deadline is queued. It drops the closures of those
    /// that expire, and wakes who waits for them. Room in a bounded queue comes
    /// back then, and statistics say [`expired`](crate::ResourceStats::expired). O(log n)
    /// for n tasks with deadlines, on that thread; submitting is O(1).
    ///
    /// What [`execute`](Self::execute) is given expires silently, and is `Ok`.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TaskError};
    /// use std::sync::mpsc;
    /// use std::time::{Duration, Instant};
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(0)?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| gate.recv().is_ok())?;
    /// let soon = Instant::now() + Duration::from_millis(5);
    /// let late = r.task().deadline(soon).submit(|n| *n = 7);
    /// assert_eq!(late.wait(), Err(TaskError::Expired)); // while the first still runs
    /// drop(go);
    /// assert_eq!(r.with(|n| *n), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.attributes.deadline = Some(deadline);
        self
    }

    /// [`deadline`](Self::deadline), so long after this call. (A time past the end
    /// of time is none.)
    ///
    /// ```
    /// use std::time::Duration;
    /// let r = captor::Resource::new(1);
    /// let n = r.task().timeout(Duration::from_secs(1)).submit(|n| *n);
    /// assert_eq!(n.wait(), Ok(1));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.attributes.deadline = self.resource.core().host().after(timeout);
        self
    }

    /// [`Resource::submit`] with these attributes.
    ///
    /// # Errors
    /// As there; [`TaskError::NoSuchPriority`] and [`TaskError::Expired`].
    ///
    /// # Panics
    /// Never; a panic of `f` is its outcome.
    ///
    /// # Cancellation
    /// See [`Completion`].
    ///
    /// ```
    /// assert_eq!(captor::Resource::new(4).task().submit(|n| *n).wait(), Ok(4));
    /// ```
    pub fn submit<R, F>(self, f: F) -> Completion<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => self.resource.late(f),
            Ok(()) => (self.resource).submit_as(f, Some(&self.attributes), Entry::Bounded),
            Err(error) => Completion::ready(Err(panics::refused(error, f))),
        }
    }

    /// [`Resource::submit_async`] with these attributes.
    ///
    /// # Errors
    /// As there; [`TaskError::NoSuchPriority`], and [`TaskError::Expired`]: a deadline
    /// bounds the whole task, which is dropped where it waits at that time.
    ///
    /// ```
    /// let r = captor::Resource::new(4);
    /// assert_eq!(r.task().submit_async(async |n| *n).wait(), Ok(4));
    /// ```
    pub fn submit_async<R, F>(self, f: F) -> Completion<R>
    where
        F: AsyncFnOnce(&mut T) -> R + for<'a> AsyncTask<'a, T, R> + Send + 'static,
        R: Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => self.resource.late(f),
            Ok(()) => (self.resource).submit_async_as(f, Some(&self.attributes)),
            Err(error) => Completion::ready(Err(panics::refused(error, f))),
        }
    }

    /// [`Resource::try_submit`] with these attributes.
    ///
    /// # Errors
    /// As there; and [`TrySubmitError::NoSuchPriority`]. A deadline that has passed
    /// already is no refusal: this is `Ok`, `f` is dropped, and the completion resolves
    /// to [`TaskError::Expired`].
    ///
    /// # Panics
    /// Never; a panic of `f` is its outcome.
    ///
    /// # Cancellation
    /// See [`Completion`].
    ///
    /// ```
    /// let r = captor::Resource::new(4);
    /// assert_eq!(r.task().try_submit(|n| *n).unwrap().wait(), Ok(4));
    /// ```
    pub fn try_submit<R, F>(self, f: F) -> Result<Completion<R>, TrySubmitError<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => match self.resource.refusal_if_any() {
                None => Ok(self.resource.late(f)),
                Some(error) => Err(TrySubmitError::new(error, f)),
            },
            Ok(()) => self.resource.try_submit_as(f, Some(&self.attributes)),
            Err(error) => Err(TrySubmitError::new(error, f)),
        }
    }

    /// [`Resource::execute`] with these attributes.
    ///
    /// # Errors
    /// As there; and [`SubmitError::NoSuchPriority`]. A task that expires does so
    /// silently; one whose deadline has passed already is dropped here, and `Ok`.
    ///
    /// # Panics
    /// Never; a panic of `f`, or of its result's drop, is reported as there.
    ///
    /// # Cancellation
    /// Only by [`cancel_pending`](Resource::cancel_pending) or its
    /// [deadline](Self::deadline), before it has started.
    ///
    /// ```
    /// captor::Resource::new(4).task().execute(|n| *n += 1)?;
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn execute<R, F>(self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        match self.check() {
            Ok(()) if self.is_late() => match self.resource.refusal_if_any() {
                None => {
                    drop(self.resource.late::<(), _>(f));
                    Ok(())
                }
                Some(error) => Err(panics::turned_away(error, f)),
            },
            Ok(()) => (self.resource).execute_as(f, Some(&self.attributes), Entry::Bounded),
            Err(error) => Err(panics::turned_away(error, f)),
        }
    }

    /// [`Resource::with`] with these attributes.
    ///
    /// # Errors
    /// As there; [`TaskError::NoSuchPriority`], and [`TaskError::Expired`]: with a
    /// deadline, it blocks until then for a task to start, and as long as it takes
    /// for one that has. (One with a deadline is allocated, where it has to be
    /// queued.)
    ///
    /// # Panics
    /// Never; a panic of `f` is an error.
    ///
    /// # Cancellation
    /// By [`cancel_pending`](Resource::cancel_pending) or its
    /// [deadline](Self::deadline), before it has started.
    ///
    /// # In async code
    /// It blocks the thread: use [`submit`](Self::submit) and `.await`.
    ///
    /// ```
    /// let r = captor::Resource::new(4);
    /// assert_eq!(r.task().name("look").with(|n| *n), Ok(4));
    /// ```
    pub fn with<R, F>(self, f: F) -> Result<R, TaskError>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        match self.check() {
            Ok(()) if self.is_late() => self.resource.late(f).wait(),
            Ok(()) => self.resource.with_as(f, Some(&self.attributes)),
            Err(error) => Err(panics::refused(error, f)),
        }
    }

    fn is_late(&self) -> bool {
        self.attributes.is_late(self.resource.core().host().clock())
    }

    /// May a task with these attributes be submitted?
    fn check(&self) -> Result<(), SubmitError> {
        self.resource.core().check(&self.attributes)
    }
}

impl<T> fmt::Debug for TaskBuilder<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}
