//! The builders: settings of a resource, attributes of a task.

use crate::error::{BuildError, PriorityRange};
use crate::raw::core::Core;
use crate::raw::core::cold_state::{Priorities, Settings};
use crate::raw::strand::levels::MAX_LEVELS;
use crate::resource::Resource;
use crate::resource::settings::{Ageing, Dispatch, PanicPolicy};
use crate::scheduler::Scheduler;
use crate::sync::Arc;
use std::time::Duration;

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
