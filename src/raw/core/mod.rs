//! The one allocation behind a resource, and what it knows of its scheduler.
//!
//! [`Core<T>`] is what a [`Resource`](crate::Resource) points to; everything off
//! the fast path works on `Core<dyn Value>`, the same allocation with its type
//! forgotten, so that it is compiled once.

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

/// Any value a resource may hold, its type forgotten.
pub(crate) trait Value: Send {}
impl<T: Send> Value for T {}

/// Settings that a scheduler gives to its resources.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) capture_limit: usize,
    pub(crate) capture_time: Duration,
    pub(crate) quantum: Duration,
    /// Whether resources have a [lane](crate::raw::strand::lane).
    pub(crate) lane: bool,
    /// Whether they never run on their callers, whatever they say themselves.
    pub(crate) pooled: bool,
}

/// Where jobs go.
pub(crate) trait JobSink: Send + Sync {
    /// Has the job run, on another thread where there is one.
    fn dispatch(&self, job: Job);
    /// Has a job run that an executor dropped. Must not give it to that
    /// executor again.
    fn rescue(&self, job: Job);
    /// Do other jobs wait for a thread?
    fn others_wait(&self) -> bool;
    /// Could all threads that run jobs be blocked in waits of ours?
    fn may_be_blocked(&self) -> bool;
    /// Does something in place of a thread that would park, for a task of `_target` and
    /// until `_deadline`, where that thread is the one to do all there is to do.
    fn instead_of_parking(&self, _target: Id, _deadline: Option<Instant>) -> Instead {
        Instead::Park
    }
}

/// What became of a thread that would park.
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Instead {
    /// It parks, as threads do.
    Park,
    /// Something was done: it is to look again.
    Worked,
    /// Its deadline has passed, or nothing is left that could wake it.
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

    /// The time that deadlines and alarms go by.
    pub(crate) fn now(&self) -> Instant {
        self.alarms.now()
    }

    /// The clock that `now` reads.
    pub(crate) fn clock(&self) -> &dyn Alarms {
        &*self.alarms
    }

    /// So long from now. `None`: past the end of time, and so never.
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
/// In this order: what submitters that queue write (`Arc`'s counts before it all,
/// the first of the counters) is as far as can be from what the holder writes
/// for each task, and that is next to the value.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shell {
    host: Arc<Host>,
    cold: OnceBox<ColdState>,
    pub(crate) counters: Counters,
    pub(in crate::raw) strand: Strand,
    pub(in crate::raw) inline: Runs,
}

// The shell first: where a core is, there is its shell.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Core<T: ?Sized> {
    shell: Shell,
    /// Touched by the holder alone.
    pub(in crate::raw) value: UnsafeCell<ManuallyDrop<T>>,
}

impl<T: ?Sized> Deref for Core<T> {
    type Target = Shell;

    #[inline(always)]
    fn deref(&self) -> &Shell {
        &self.shell
    }
}

// SAFETY: the value is reached only by the strand's holder, one thread at a
// time, each after the one before it (the strand's claim acquires what its
// release released); so sharing a core sends the value, which `T: Send` allows.
// All else in it is `Sync`.
unsafe impl<T: ?Sized + Send> Sync for Core<T> {}
// SAFETY: as above; the rest of it is `Send`.
unsafe impl<T: ?Sized + Send> Send for Core<T> {}

impl<T: Send + 'static> Core<T> {
    /// With default settings.
    pub(crate) fn new(value: T, host: Arc<Host>) -> Arc<Self> {
        if host.limits.pooled {
            return Self::with_settings(value, host, Settings::default());
        }
        let strand = Strand::new(false, host.limits.lane, false, None);
        let core = Self::made_of(value, host, OnceBox::new(), strand);
        core.list();
        core
    }

    /// For an errand of another resource: it runs where that one does, and no shutdown
    /// closes it.
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

    /// Lets the scheduler know of it, where it is to.
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

/// What runs on this thread, and the resource that it is a task of.
pub(crate) fn with_running<R>(f: impl FnOnce(&Shell, Option<Subject<'_>>) -> R) -> Option<R> {
    context::with_task(|id, task| {
        // SAFETY: the address of a core, whose task this thread is inside of; so
        // it is live, and begins with its shell.
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

    /// How many tasks a submitter may come to run here, its own included.
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

    /// What goes with a task of this resource into the queue.
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

    /// The number of the task that runs now, if one does.
    ///
    /// To other threads it may be out of date, but never that of a task that
    /// starts after the call: of the two counters, none goes down below what it
    /// was while a task of the other kind ran.
    pub(crate) fn running(&self) -> Option<Number> {
        let number = self.ran();
        (number % 2 == 1).then_some(number)
    }

    /// Another number for each time that nothing runs any more, after something
    /// did. Holder only.
    pub(in crate::raw) fn ran(&self) -> u64 {
        self.inline.turns() + self.counters.dequeued.turns()
    }

    /// Who times its tasks, where that is asked for.
    #[inline]
    pub(crate) fn stopwatch(&self) -> Option<&Stopwatch> {
        self.cold.get()?.stopwatch.as_deref()
    }

    pub(crate) fn is_current(&self) -> bool {
        context::is_current(self.id())
    }

    /// The room in its queue, where that is bounded.
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

    /// Closed, and nothing is queued or running.
    pub(crate) fn has_ended(&self) -> bool {
        // Closed is for ever, so nothing comes after a rest that is seen later.
        self.strand.state().is_refusing() && self.refusal().closed && self.strand.is_at_rest()
    }
}

/// A resource with tasks queued, handed off to be drained by another thread.
///
/// An [`Executor`](crate::Executor) is given one at each hand-off and has it
/// [`run`](Job::run) on a thread of its choice. Running a job that is no
/// longer needed (somebody else drained the resource meanwhile) does nothing.
///
/// A job that is dropped without being run is not lost: the built-in pool
/// takes it, or, where that has no threads, the dropping thread drains the
/// resource.
///
/// ```
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
#[must_use = "a dropped job goes to the built-in pool; call `run` to have it run here"]
pub struct Job {
    pub(in crate::raw) core: Option<Arc<Core<dyn Value>>>,
    /// An executor dropped it once.
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

/// Who keeps the core alive, and can have another reference made for a job.
/// (A `&Arc<Core<T>>` cannot be turned into a `&Arc<Core<dyn Value>>`.)
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

/// Sends a job for this resource to its scheduler.
pub(crate) fn dispatch_job(owner: &dyn Owner) {
    let core = owner.share();
    let host = Arc::clone(core.host());
    host.dispatched.add(1);
    host.dispatch.dispatch(Job::new(core));
}

/// Sends one to the built-in pool: nobody may be left to run the one that the
/// executor has.
pub(crate) fn rescue_job(owner: &dyn Owner) {
    let core = owner.share();
    core.host().dispatched.add(1);
    drop(Job::new(core));
}

/// Brings a suspended resource back, for the pool to go on with. For the one who woke
/// the task that suspended it.
pub(crate) fn bring_back(core: &Arc<Core<dyn Value>>) {
    core.strand().unsuspend();
    if core.strand().offer(core.settings().pooled) {
        dispatch_job(core);
    }
}

impl<T> Core<T> {
    /// Runs `f` on the value, as a task of this resource. Holder only.
    ///
    /// # Safety
    /// The caller holds the strand.
    #[inline(always)]
    pub(crate) unsafe fn on_value<R>(
        &self,
        f: impl FnOnce(&mut T) -> R,
        given: Given<'_>,
    ) -> Result<R, Box<dyn Any + Send>> {
        let subject = given.map(|attributes| attributes as Subject<'_>);
        context::enter_task(self.id(), Kind::Own, subject, || {
            catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the holder's alone, by the contract.
                self.value.with_mut(|value| f(unsafe { &mut **value }))
            }))
        })
    }
}

impl<T: ?Sized> Core<T> {
    /// The value, for a task that knows its type. To be used by the holder alone.
    pub(crate) fn value(&self) -> *mut () {
        self.value.with_mut(|value| value.cast())
    }
}

impl<T: ?Sized> Drop for Core<T> {
    fn drop(&mut self) {
        // Whoever has the role, or will be given it, keeps a reference; so
        // nothing is queued any more.
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
            // SAFETY: the last reference; not used again, and not taken out.
            self.value
                .with_mut(|value| unsafe { ManuallyDrop::drop(&mut *value) });
        });
    }
}
