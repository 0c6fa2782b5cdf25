//! [`ResourceBuilder`]: the settings of a resource, checked in `build`.

use crate::error::{BuildError, PriorityRange};
use crate::raw::core::Core;
use crate::raw::core::cold_state::{AfterPanic, Priorities, Settings};
use crate::raw::strand::levels::MAX_LEVELS;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::resource::settings::{Ageing, Dispatch, PanicPolicy};
use crate::scheduler::Scheduler;
use crate::sync::Arc;
use std::time::Duration;

/// Settings of a [`Resource`]; from [`Resource::builder`].
///
/// A resource with a name or another setting than the default takes a second allocation. The guide
/// lists [all settings](crate::guide::settings).
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
    /// Returns a builder for a resource with other settings than the default.
    ///
    /// [`build`](ResourceBuilder::build) takes the value, and so decides the type. Call this
    /// function as `Resource::builder()`, without a type.
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

    /// Sets the name for the log, which also decides whether a shutdown of the global scheduler
    /// closes the resource.
    ///
    /// A shutdown of the [global scheduler](Scheduler::global) closes named resources only. A
    /// scheduler from [`Scheduler::builder`] closes all its resources. More in the guide: [life
    /// cycle](crate::guide::life_cycle#the-global-scheduler-closes-named-resources-only).
    ///
    /// Only a named resource is listed in [`Scheduler::resources`], and only a named resource has
    /// its statistics published with the feature `metrics`. Default: no name. Names need not be
    /// unique.
    ///
    /// ```
    /// let r = captor::Resource::builder().name("topics").build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into());
        self
    }

    /// Sets how many tasks a submitter may run before it hands off, its own task included.
    ///
    /// At least 1. Default: the scheduler's limit, which is 10 unless set.
    ///
    /// ```
    /// let r = captor::Resource::builder().capture_limit(1).build(())?; // the own task only
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn capture_limit(mut self, tasks: usize) -> Self {
        self.settings.capture_limit = Some(tasks);
        self
    }

    /// Sets how long after its own task a submitter may start tasks of other submitters.
    ///
    /// Default: the scheduler's time, which is 1 ms unless set.
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

    /// Sets how many tasks may be queued: submitted and not yet started.
    ///
    /// At least 1. Default: any number. In the guide: [bounds and
    /// back-pressure](crate::guide::back_pressure).
    ///
    /// If the queue is full, [`submit`](Resource::submit), [`try_submit`](Resource::try_submit) and
    /// [`execute`](Resource::execute) refuse the task as `Full`, at once.
    /// [`reserve`](Resource::reserve), [`reserve_blocking`](Resource::reserve_blocking) and
    /// [`reserve_timeout`](Resource::reserve_timeout) wait for room. Room comes back when a task
    /// starts, and when a task is cancelled or expires.
    ///
    /// These tasks need no room:
    ///
    /// - a task that runs at once, on an idle resource
    /// - the task of [`with`](Resource::with): the task lies on its caller's stack, and the caller
    ///   submits nothing else in the meantime
    /// - the task of a [trigger](Resource::trigger): however often the trigger is fired, few of its
    ///   tasks are queued
    /// - the task that installs a hook with [`on_idle`](Resource::on_idle).
    ///
    /// If a task is cancelled through its [`Completion`](crate::Completion), its closure is dropped
    /// at once. The task's memory stays in the queue until its turn comes.
    ///
    /// If a task submits to its own resource and the queue is full, the submission is refused like
    /// any other. The task continues: no thread waits.
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

    /// Sets how many levels of priority tasks have, from 1 to 256.
    ///
    /// Level 0 is the most urgent. Default: 1. In the guide:
    /// [priorities](crate::guide::order_and_priorities#priorities).
    ///
    /// Levels decide between queued tasks. The most urgent task starts next. Within a level, the
    /// task that was submitted first starts first.
    /// [`TaskBuilder::priority`](crate::TaskBuilder::priority) sets a task's level, and
    /// [`ageing`](Self::ageing) gives less urgent tasks their turn. A task that finds the resource
    /// idle runs at once, whatever its level. A running task is never interrupted.
    ///
    /// Submitting costs the same as without levels. Taking the next task costs O(1). Each level
    /// costs the resource 16 bytes.
    ///
    /// ```
    /// use captor::{Dispatch, Resource};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().priorities(3).dispatch(Dispatch::Pool).build(Vec::new())?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// r.execute(move |_| drop(gate.recv()))?;
    /// r.task().priority(2).execute(|log| log.push("clean up"))?;
    /// r.execute(|log| log.push("publish"))?; // level 1, the default
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

    /// Sets the priority of tasks that are submitted without a priority.
    ///
    /// Default: the middle level, which is levels / 2. With an even number of levels, this is the
    /// less urgent of the two middle levels.
    ///
    /// ```
    /// let r = captor::Resource::builder().priorities(8).default_priority(7).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn default_priority(mut self, level: u8) -> Self {
        self.default_priority = Some(level);
        self
    }

    /// Sets how less urgent tasks get their turn.
    ///
    /// Default: [`Ageing::Every`]`(16)`.
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

    /// Sets whether to record how long tasks run and wait.
    ///
    /// The records are the [longest task](crate::ResourceStats::longest_task) and a [histogram of
    /// waits](Resource::queue_waits). Default: no.
    ///
    /// This costs three readings of the clock for each task, a second allocation for each queued
    /// task, and 2 KiB for the resource. The resource never takes the fastest path.
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

    /// Warns, through `tracing`, while a task still runs after this time.
    ///
    /// The warning has the names of the resource and of the task, and comes once for each task.
    /// Default: no warning.
    ///
    /// The scheduler's timer thread gives the warning. This costs two readings of the clock for
    /// each task. The resource never takes the fastest path.
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

    /// Sets where tasks may run.
    ///
    /// Default: [`Dispatch::Inline`].
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

    /// Sets what a panic does to the resource.
    ///
    /// Default: [`PanicPolicy::Continue`].
    ///
    /// ```
    /// use captor::{PanicPolicy, Resource};
    /// let r = Resource::builder().panic_policy(PanicPolicy::Poison).build(())?;
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.settings.after_panic = match policy {
            PanicPolicy::Continue => AfterPanic::Continue,
            PanicPolicy::Poison => AfterPanic::Poison,
            PanicPolicy::Close => AfterPanic::Close,
        };
        self
    }

    /// Sets the scheduler that runs the resource's hand-offs.
    ///
    /// Default: [`Scheduler::global`].
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

    /// Builds the resource around `value`.
    ///
    /// # Errors
    /// The error names the setting that is out of its range: [`BuildError::ZeroCaptureLimit`],
    /// [`BuildError::ZeroCapacity`], [`BuildError::Priorities`], [`BuildError::DefaultPriority`] or
    /// [`BuildError::Ageing`]. The value is then dropped.
    ///
    /// ```
    /// let r = captor::Resource::builder().build(7)?;
    /// assert_eq!(r.with(|n| *n), Ok(7));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn build<T: Send + 'static>(mut self, value: T) -> Result<Resource<T>, BuildError> {
        match self.checked() {
            Ok(priorities) => self.settings.priorities = priorities,
            Err(error) => {
                panics::contain("drop of a refused value", || drop(value));
                return Err(error);
            }
        }
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

    /// Checks the settings. Returns how tasks are sorted, if there is more than one level.
    fn checked(&self) -> Result<Option<Priorities>, BuildError> {
        if self.settings.capture_limit == Some(0) {
            return Err(BuildError::ZeroCaptureLimit);
        }
        if self.settings.capacity == Some(0) {
            return Err(BuildError::ZeroCapacity);
        }
        self.sorting()
    }

    /// Returns how tasks are sorted, if there is more than one level.
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
