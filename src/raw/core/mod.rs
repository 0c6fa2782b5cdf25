//! The allocation behind a resource, and the accounts that the resource keeps of its tasks.
//!
//! [`Core<T>`] is what a [`Resource`](crate::Resource) points to: the [`Shell`] and the value. The
//! shell is everything but the value: the strand, the scheduler, the counters and the rarely
//! needed state. Code off the fast path works on `Core<dyn Value>`, the same allocation without
//! its type, so that this code is compiled once.
//!
//! The value may be touched by the holder only. The shell may be used by any thread. This layer
//! must not run a queued task. The layers above, `ending`, `run`, `waiting` and `submit`, add their
//! own methods to `Core` and `Shell`. `ci/layering.sh` says which layers this layer may name. See
//! `docs/design/resources.md` and `docs/design/room-and-priorities.md`.
//!
//! - `accounts`: the events that change the counters
//! - `admission`: whether a task is accepted, and why not
//! - [`cold_state`]: the state that most resources never need
//! - [`counters`]: the counters, and the statistics that they give
//! - [`hook`]: the closure that is called each time the queue has run empty
//! - [`listeners`]: wakers for the closing and the end of a resource
//! - `published`: how far the counters were published (feature `metrics`)
//! - [`registry`]: the resources of a scheduler
//! - [`room`]: the semaphore of a bounded queue
//! - [`stop`]: the requests to stop, and [`CancelToken`](stop::CancelToken)

mod accounts;
mod admission;
pub(crate) mod cold_state;
pub(crate) mod counters;
pub(crate) mod hook;
pub(crate) mod listeners;
#[cfg(feature = "metrics")]
pub(crate) mod published;
pub(crate) mod registry;
pub(crate) mod room;
pub(crate) mod stop;

use crate::raw::core::cold_state::{ColdState, Refusal, Settings};
use crate::raw::core::counters::Number;
use crate::raw::core::counters::{Counters, Runs};
use crate::raw::core::registry::Registry;
use crate::raw::core::room::Room;
use crate::raw::strand::Strand;
use crate::raw::strand::levels::Order;
use crate::raw::task::queued;
use crate::raw::task::tag::{Given, Tag};
use crate::raw::thread::context::{self, Id, Kind, Subject};
use crate::raw::thread::panics;
use crate::raw::timing::alarm::Alarms;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::sync::{Arc, Counter, UnsafeCell, lock};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::time::Duration;
use once_cell::race::OnceBox;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Any value that a resource may hold, without its type.
pub(crate) trait Value: Send {}
impl<T: Send> Value for T {}

/// The settings that a scheduler gives to its resources.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) capture_limit: usize,
    pub(crate) capture_time: Duration,
    pub(crate) quantum: Duration,
    /// Whether resources have a [lane](crate::raw::strand::lane).
    pub(crate) lane: bool,
    /// Whether resources never run tasks on their callers, whatever their own settings say.
    pub(crate) pooled: bool,
}

/// The receiver of a scheduler's jobs: the built-in pool, or an executor.
pub(crate) trait JobSink: Send + Sync {
    /// Runs the job, on another thread if there is one.
    fn dispatch(&self, job: Job);
    /// Runs a job that an executor has dropped. Must not give the job to that executor again.
    fn rescue(&self, job: Job);
    /// Checks whether other jobs wait for a thread.
    fn others_wait(&self) -> bool;
    /// Checks whether all threads that run jobs could be blocked in waits of captor.
    fn may_be_blocked(&self) -> bool;
    /// Acts in place of parking a thread that waits for a task of `_target` until `_deadline`. A
    /// simulation does its next step here, because the waiting thread is its only thread.
    fn instead_of_parking(&self, _target: Id, _deadline: Option<Instant>) -> Instead {
        Instead::Park
    }
}

/// The result of [`JobSink::instead_of_parking`].
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Instead {
    /// Nothing: the thread must park.
    Park,
    /// A step was done: the thread must look again.
    Worked,
    /// Nothing can be done: the deadline has passed, or nothing is left that could wake the thread.
    InVain,
}

/// The inside of a scheduler, as its resources see it.
pub(crate) struct Host {
    pub(crate) limits: Limits,
    pub(crate) dispatch: Box<dyn JobSink>,
    pub(crate) alarms: Box<dyn Alarms>,
    pub(crate) registry: Registry<Core<dyn Value>>,
    pub(crate) dispatched: Counter,
    pub(crate) finished: Counter,
}

impl Host {
    pub(crate) fn id(&self) -> Id {
        core::ptr::from_ref(self).cast()
    }

    /// Returns the time that deadlines and alarms go by.
    pub(crate) fn now(&self) -> Instant {
        self.alarms.now()
    }

    /// Returns the clock that `now` reads.
    pub(crate) fn clock(&self) -> &dyn Alarms {
        &*self.alarms
    }

    /// Returns the time `time` from now. `None` means that this time cannot be represented, and so
    /// never comes.
    pub(crate) fn after(&self, time: Duration) -> Option<Instant> {
        self.now().checked_add(time)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// All of a core but its value.
///
/// The order of the fields keeps two kinds of writes apart. Submitters that queue write `Arc`'s
/// counts, which come first in the allocation, and the first of the counters. The holder writes
/// other fields for each task. These lie as far away as possible, next to the value.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shell {
    host: Arc<Host>,
    cold: OnceBox<ColdState>,
    pub(crate) counters: Counters,
    pub(in crate::raw) strand: Strand,
    pub(in crate::raw) inline: Runs,
}

// The shell is the first field, so that the address of a core is also the address of its shell.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Core<T: ?Sized> {
    shell: Shell,
    /// Only the holder may use the value.
    pub(in crate::raw) value: UnsafeCell<ManuallyDrop<T>>,
}

impl<T: ?Sized> Deref for Core<T> {
    type Target = Shell;

    #[inline(always)]
    fn deref(&self) -> &Shell {
        &self.shell
    }
}

// SAFETY: only the strand's holder reaches the value. Holders follow one another, and the claim of
// the strand acquires what the release before it released. So sharing a core only sends the value
// between threads, which `T: Send` allows. All other fields are `Sync`.
unsafe impl<T: ?Sized + Send> Sync for Core<T> {}
// SAFETY: moving a core moves the value, which `T: Send` allows. All other fields are `Send`.
unsafe impl<T: ?Sized + Send> Send for Core<T> {}

impl<T: Send + 'static> Core<T> {
    /// Makes a core with default settings.
    pub(crate) fn new(value: T, host: Arc<Host>) -> Arc<Self> {
        if host.limits.pooled {
            return Self::with_settings(value, host, Settings::default());
        }
        let strand = Strand::new(false, host.limits.lane, false, None);
        let core = Self::made_of(value, host, OnceBox::new(), strand);
        core.list();
        core
    }

    /// Makes the core of an errand of the resource `other`. The errand runs where tasks of `other`
    /// run. The registry does not list the errand, so no shutdown closes it.
    pub(crate) fn for_errand(value: T, other: &Shell) -> Arc<Self> {
        let host = Arc::clone(&other.host);
        if other.settings().pooled {
            let settings = Settings {
                pooled: true,
                ..Settings::default()
            };
            return Self::made_with(value, host, settings);
        }
        let strand = Strand::new(false, host.limits.lane, false, None);
        Self::made_of(value, host, OnceBox::new(), strand)
    }

    pub(crate) fn with_settings(value: T, host: Arc<Host>, settings: Settings) -> Arc<Self> {
        let core = Self::made_with(value, host, settings);
        core.list();
        core
    }

    fn made_with(value: T, host: Arc<Host>, mut settings: Settings) -> Arc<Self> {
        settings.pooled |= host.limits.pooled;
        let cold = OnceBox::new();
        let order = settings.priorities.map(|p| Order {
            levels: p.levels,
            every: p.every,
            level_of: queued::level_of,
            is_over: queued::is_over,
        });
        let strand = Strand::new(
            settings.pooled,
            host.limits.lane,
            settings.is_watched(),
            order,
        );
        if settings != Settings::DEFAULT {
            let _ = cold.set(Box::new(ColdState {
                room: settings.capacity.map(|n| Box::new(Room::new(n))),
                stopwatch: settings.is_watched().then(|| {
                    Box::new(Stopwatch::new(
                        settings.slow_task,
                        settings.timings,
                        host.now(),
                    ))
                }),
                settings,
                ..ColdState::default()
            }));
        }
        Self::made_of(value, host, cold, strand)
    }

    /// Adds the core to the scheduler's registry, if the registry lists resources of its name.
    #[inline]
    fn list(self: &Arc<Self>) {
        let registry = &self.host.registry;
        if registry.is_for(self.name()) {
            registry.add(&(Arc::clone(self) as Arc<Core<dyn Value>>));
        }
    }

    #[inline]
    fn made_of(value: T, host: Arc<Host>, cold: OnceBox<ColdState>, strand: Strand) -> Arc<Self> {
        Arc::new(Core {
            shell: Shell {
                host,
                cold,
                counters: Counters::default(),
                inline: Runs::default(),
                strand,
            },
            value: UnsafeCell::new(ManuallyDrop::new(value)),
        })
    }
}

/// Calls `f` with the resource whose task runs on this thread, and that task.
pub(crate) fn with_running<R>(f: impl FnOnce(&Shell, Option<Subject<'_>>) -> R) -> Option<R> {
    context::with_task(|id, task| {
        // SAFETY: `with_task` passes the id of a frame of a task, and such a frame has the address
        // of a core. The core is live while its task runs, and begins with its shell (`repr(C)`).
        f(unsafe { &*id.cast::<Shell>() }, task)
    })
}

impl Shell {
    #[inline(always)]
    pub(crate) fn id(&self) -> Id {
        core::ptr::from_ref(self).cast()
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(crate) fn strand(&self) -> &Strand {
        &self.strand
    }

    pub(crate) fn cold(&self) -> &ColdState {
        self.cold.get_or_init(Box::default)
    }

    pub(crate) fn cold_if_any(&self) -> Option<&ColdState> {
        self.cold.get()
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.cold
            .get()
            .map_or(&Settings::DEFAULT, |cold| &cold.settings)
    }

    /// Returns how many tasks a submitter may run here, its own included.
    pub(crate) fn capture_limit(&self) -> usize {
        let settings = self.settings();
        if settings.pooled {
            return 1;
        }
        settings
            .capture_limit
            .unwrap_or(self.host.limits.capture_limit)
    }

    #[inline]
    pub(crate) fn name(&self) -> Option<&str> {
        self.cold.get()?.settings.name.as_deref()
    }

    /// Makes the tag that goes into the queue with a task of this resource.
    #[inline]
    pub(crate) fn tag(&self, given: Given<'_>) -> Tag {
        let settings = self.settings();
        let default = || settings.priorities.map_or(0, |p| p.default);
        let level = given.and_then(|attributes| attributes.level);
        Tag::new(
            given,
            level.unwrap_or_else(default),
            settings.timings,
            self.host.clock(),
        )
    }

    /// Returns the number of the task that runs now, if a task runs.
    ///
    /// On any thread but the holder, the number may be out of date. But it is never the number of
    /// a task that starts after the call: neither counter falls below its value while a task of
    /// the other kind ran.
    pub(crate) fn running(&self) -> Option<Number> {
        let number = self.ran();
        (number % 2 == 1).then_some(number)
    }

    /// Returns the count of task starts and ends. The count is odd while a task runs, and is then
    /// that task's number. A task that waits takes its start back, and so keeps its number when it
    /// goes on. Off the holder, the count may be out of date.
    pub(in crate::raw) fn ran(&self) -> u64 {
        self.inline.turns() + self.counters.dequeued.turns()
    }

    /// Returns the stopwatch of the tasks, if the settings ask for one.
    #[inline]
    pub(crate) fn stopwatch(&self) -> Option<&Stopwatch> {
        self.cold.get()?.stopwatch.as_deref()
    }

    pub(crate) fn is_current(&self) -> bool {
        context::is_current(self.id())
    }

    /// Returns the room in the queue, if the queue is bounded.
    pub(crate) fn room(&self) -> Option<&Room> {
        self.cold.get()?.room.as_deref()
    }

    pub(crate) fn refusal(&self) -> Refusal {
        self.cold
            .get()
            .map_or(Refusal::default(), |cold| *lock(&cold.refusal))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.strand.state().is_refusing() && self.refusal().closed
    }

    /// Checks whether the resource is closed, with nothing queued or running.
    pub(crate) fn has_ended(&self) -> bool {
        // Closing is for ever: if the strand is seen at rest after that, no task can follow.
        self.strand.state().is_refusing() && self.refusal().closed && self.strand.is_at_rest()
    }
}

/// A hand-off: a resource with queued tasks, for another thread to drain.
///
/// An [`Executor`](crate::Executor) receives a job at each hand-off, and calls
/// [`run`](Job::run) on a thread of its choice. If another thread has drained the resource in the
/// meantime, the job is no longer needed, and running it does nothing.
///
/// A job that is dropped without being run is not lost: the built-in pool takes the job. If that
/// pool has no threads, the dropping thread drains the resource.
///
/// ```
/// // Collect the jobs in a channel, and run them on this thread.
/// use captor::{Dispatch, Job, Resource, Scheduler};
/// use std::sync::mpsc;
///
/// let (send, receive) = mpsc::channel::<Job>();
/// let scheduler = Scheduler::builder()
///     .executor(move |job: Job| drop(send.send(job)))
///     .build()?;
/// let r = Resource::builder()
///     .scheduler(&scheduler)
///     .dispatch(Dispatch::Pool)
///     .build(1)?;
///
/// let sum = r.submit(|n| *n + 1);
/// assert!(!sum.is_finished());
/// receive.recv().unwrap().run();
/// assert_eq!(sum.wait(), Ok(2));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[must_use = "a dropped job moves to the built-in pool; call `run` to run it on this thread"]
pub struct Job {
    pub(in crate::raw) core: Option<Arc<Core<dyn Value>>>,
    /// An executor has dropped this job once.
    pub(in crate::raw) rescued: bool,
}

impl Job {
    fn new(core: Arc<Core<dyn Value>>) -> Self {
        Job {
            core: Some(core),
            rescued: false,
        }
    }
}

/// A reference that keeps a core alive, and from which a job can get a reference of its own.
///
/// The trait is needed because a `&Arc<Core<T>>` cannot be turned into a `&Arc<Core<dyn Value>>`.
pub(crate) trait Owner {
    fn core(&self) -> &Core<dyn Value>;
    fn share(&self) -> Arc<Core<dyn Value>>;
}

impl<T: Send + 'static> Owner for Arc<Core<T>> {
    fn core(&self) -> &Core<dyn Value> {
        &**self
    }
    fn share(&self) -> Arc<Core<dyn Value>> {
        Arc::clone(self) as Arc<Core<dyn Value>>
    }
}

impl Owner for Arc<Core<dyn Value>> {
    fn core(&self) -> &Core<dyn Value> {
        self
    }
    fn share(&self) -> Arc<Core<dyn Value>> {
        Arc::clone(self)
    }
}

/// Sends a job for this resource to the scheduler's job sink.
pub(crate) fn dispatch_job(owner: &dyn Owner) {
    let core = owner.share();
    let host = Arc::clone(core.host());
    host.dispatched.add(1);
    host.dispatch.dispatch(Job::new(core));
}

/// Sends a job for this resource to the built-in pool. This is for the case that no thread may be
/// left to run the job that the executor has.
pub(crate) fn rescue_job(owner: &dyn Owner) {
    let core = owner.share();
    core.host().dispatched.add(1);
    drop(Job::new(core));
}

/// Puts the role of a suspended resource on offer, and dispatches a job if the offer needs a job.
/// Must be called by the thread that woke the task that suspended the resource.
pub(crate) fn bring_back(core: &Arc<Core<dyn Value>>) {
    core.strand().unsuspend();
    if core.strand().offer(core.settings().pooled) {
        dispatch_job(core);
    }
}

impl<T> Core<T> {
    /// Runs `f` on the value, as a task of this resource.
    ///
    /// # Safety
    /// The caller must hold the strand.
    #[inline(always)]
    pub(crate) unsafe fn on_value<R>(
        &self,
        f: impl FnOnce(&mut T) -> R,
        given: Given<'_>,
    ) -> Result<R, Box<dyn Any + Send>> {
        let subject = given.map(|attributes| attributes as Subject<'_>);
        context::enter_task(self.id(), Kind::Own, subject, || {
            catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the caller holds the strand (contract of `on_value`), so no other
                // reference to the value exists.
                self.value.with_mut(|value| f(unsafe { &mut **value }))
            }))
        })
    }
}

impl<T: ?Sized> Core<T> {
    /// Returns the address of the value, for a task that knows its type. Must be used by the holder
    /// only.
    pub(crate) fn value(&self) -> *mut () {
        self.value.with_mut(|value| value.cast())
    }
}

impl<T: ?Sized> Drop for Core<T> {
    fn drop(&mut self) {
        // The holder borrows a reference. Each thread, job or signal that may get the role owns a
        // reference. So nothing is queued when the last reference is dropped.
        debug_assert!(self.strand.is_at_rest());
        #[cfg(captor_loom)]
        self.strand.see_all();
        let registry = &self.host.registry;
        if registry.is_for(self.name()) {
            registry.remove(self.id());
        }
        if let Some(cold) = self.cold.get() {
            cold.closing.notify();
        }
        if self.refusal().emptied {
            return;
        }
        panics::contain("drop of a resource's value", || {
            // SAFETY: this is the last reference, so no other thread uses the value. The value was
            // not taken out (`emptied` was checked above), and is not used again.
            self.value
                .with_mut(|value| unsafe { ManuallyDrop::drop(&mut *value) });
        });
    }
}
