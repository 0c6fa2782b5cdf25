//! The one allocation behind a resource, and what it knows of its scheduler.
//!
//! [`Core<T>`] is what a [`Resource`](crate::Resource) points to; everything off
//! the fast path works on `Core<dyn Value>`, the same allocation with its type
//! forgotten, so that it is compiled once.

pub(crate) mod counters;
pub(crate) mod extra;
#[cfg(feature = "metrics")]
pub(crate) mod published;
pub(crate) mod registry;
pub(crate) mod room;

use crate::error::{PriorityRange, SubmitError, TaskError};
use crate::raw::core::counters::{Counters, Depth, Runs};
use crate::raw::core::extra::{Extra, Refusal, Settings};
use crate::raw::core::registry::Registry;
use crate::raw::core::room::Room;
use crate::raw::ending::expiry::Alarms;
use crate::raw::ending::stop::Number;
use crate::raw::strand::drain::{Chain, Strand};
use crate::raw::strand::levels::Order;
use crate::raw::strand::queue::Link;
use crate::raw::task::handle::Handle;
use crate::raw::task::life::{self, Header, Queued, STOP};
use crate::raw::task::signal::Signal;
use crate::raw::task::tag::{Attributes, Described, Given, Tag, TaskName};
use crate::raw::thread::context::{self, Id, Kind, Subject};
use crate::raw::thread::panics;
use crate::raw::timing::stopwatch::Watch;
use crate::stats::ResourceStats;
use crate::sync::{Arc, Counter, UnsafeCell, lock};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;
use core::task::Waker;
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

/// Is it a task that waits, for the one who sweeps?
fn is_waiting(link: NonNull<Link>) -> bool {
    // SAFETY: live in the backlog, which is in hand.
    unsafe { life::is_waiting(link) }
}

/// Where jobs go.
pub(crate) trait Dispatch: Send + Sync {
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
    pub(crate) dispatch: Box<dyn Dispatch>,
    pub(crate) alarms: Box<dyn Alarms>,
    pub(crate) registry: Registry,
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
    extra: OnceBox<Extra>,
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
        let extra = OnceBox::new();
        let order = settings.priorities.map(|p| Order {
            levels: p.levels,
            every: p.every,
            level_of: life::level_of,
            is_over: life::is_over,
        });
        let strand = Strand::new(
            settings.pooled,
            host.limits.lane,
            settings.is_watched(),
            order,
        );
        if !settings.is_default() {
            let _ = extra.set(Box::new(Extra {
                room: settings.capacity.map(|n| Box::new(Room::new(n))),
                watch: settings.is_watched().then(|| {
                    Box::new(Watch::new(settings.slow_task, settings.timings, host.now()))
                }),
                settings,
                ..Extra::default()
            }));
        }
        Self::made_of(value, host, extra, strand)
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
    fn made_of(value: T, host: Arc<Host>, extra: OnceBox<Extra>, strand: Strand) -> Arc<Self> {
        Arc::new(Core {
            shell: Shell {
                host,
                extra,
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

    pub(crate) fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }

    pub(crate) fn extra_if_any(&self) -> Option<&Extra> {
        self.extra.get()
    }

    pub(crate) fn settings(&self) -> &Settings {
        const DEFAULT: &Settings = &Settings {
            name: None,
            capture_limit: None,
            capture_time: None,
            pooled: false,
            poison: false,
            capacity: None,
            priorities: None,
            timings: false,
            slow_task: None,
        };
        self.extra.get().map_or(DEFAULT, |extra| &extra.settings)
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
        self.extra.get()?.settings.name.as_deref()
    }

    /// A task's deadline passed before it could be queued: it counts all the
    /// same.
    pub(crate) fn note_late(&self) {
        let extra = self.extra();
        // It is as if it were pushed, expired, and cleared away.
        extra.expired.add(1);
        extra.cleared.add(1);
        self.counters.note_unqueued();
    }

    /// May a task with these attributes be submitted here?
    pub(crate) fn check(&self, attributes: &Attributes) -> Result<(), SubmitError> {
        let levels = self.settings().priorities.map_or(1, |p| p.levels);
        match attributes.level {
            Some(level) if u16::from(level) >= levels => {
                // There is a level above, so this is not the last number.
                let range = PriorityRange::up_to((levels - 1) as u8);
                Err(self.note_refused(SubmitError::NoSuchPriority(range)))
            }
            _ => Ok(()),
        }
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
            &self.host,
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
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.extra.get()?.watch.as_deref()
    }

    pub(crate) fn is_current(&self) -> bool {
        context::is_current(self.id())
    }

    /// The room in its queue, where that is bounded.
    pub(crate) fn room(&self) -> Option<&Room> {
        self.extra.get()?.room.as_deref()
    }

    /// A task came out of the queue to be run, was cancelled in it, or was not
    /// let into it: gives its room back, if it takes up any. For whoever claimed
    /// it, or would have queued it.
    pub(crate) fn leave_room(&self, task: &Header) {
        if let Some(room) = self.room() {
            if task.leaves_room() {
                room.give_back();
            }
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        self.extra
            .get()
            .map_or(Refusal::default(), |extra| *lock(&extra.refusal))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.strand.state().is_refusing() && self.refusal().closed
    }

    /// Closed, and nothing is queued or running.
    pub(crate) fn has_ended(&self) -> bool {
        // Closed is for ever, so nothing comes after a rest that is seen later.
        self.strand.state().is_refusing() && self.refusal().closed && self.strand.is_at_rest()
    }

    /// A task was refused: counts it and says why.
    pub(crate) fn why_refused(&self) -> SubmitError {
        // Poison may have been cleared since; closed is for ever.
        self.note_refused(if self.refusal().closed {
            SubmitError::Closed
        } else {
            SubmitError::Poisoned
        })
    }

    fn note_refused(&self, error: SubmitError) -> SubmitError {
        self.extra().rejected.add(1);
        panics::tell(|| {
            tracing::debug!(target: "captor", resource = self.name(), reason = %error, "task refused");
        });
        error
    }

    /// Takes room for a task that is about to be queued; says whether there is
    /// any to give back.
    pub(crate) fn take_room(&self) -> Result<bool, SubmitError> {
        match self.room() {
            None => Ok(false),
            Some(room) if room.try_take() => Ok(true),
            // What is closed and full is closed.
            Some(_) if self.strand.state().is_refusing() => Err(self.why_refused()),
            Some(_) => Err(self.note_refused(SubmitError::Full)),
        }
    }

    /// Takes room for a task that was made before it is known whether there is any.
    pub(crate) fn take_room_for(&self, task: &Queued) -> Result<(), SubmitError> {
        if self.take_room()? {
            // If it was cancelled meanwhile, its remains take up the room.
            task.header().takes_room();
        }
        Ok(())
    }

    /// Tasks are refused now: nobody need wait for room any more.
    fn turn_away(&self) {
        if let Some(room) = self.room() {
            room.turn_away();
        }
    }

    /// Refuses every task from now on. `false`: it was closed before.
    pub(crate) fn close(&self) -> bool {
        let extra = self.extra();
        let mut refusal = lock(&extra.refusal);
        if core::mem::replace(&mut refusal.closed, true) {
            return false;
        }
        let at_rest = self.strand.refuse();
        drop(refusal);
        panics::tell(|| {
            tracing::debug!(target: "captor", resource = self.name(), "resource closed");
        });
        context::enter(self.id(), Kind::Aside, || {
            self.turn_away();
            extra.closing.notify();
        });
        if at_rest {
            self.tell_end();
        }
        true
    }

    /// Closed, and nothing is queued or running: wakes who awaits that. Their wakers are
    /// user code, and no part of a task that this thread may be inside of.
    pub(crate) fn tell_end(&self) {
        context::enter(self.id(), Kind::Aside, || self.extra().ended.notify());
    }

    /// Cancels what is queued and has not started, and asks what has to stop.
    ///
    /// What was swept is in this thread's hands until its turn comes, so a
    /// closure whose drop waits for one of those is told that it would never
    /// end: hence the frame.
    pub(crate) fn cancel_pending(&self) -> usize {
        context::enter(self.id(), Kind::Aside, || {
            let mut waiting = None;
            // In one step: each task is swept, or runs and is asked, or waits and is given up.
            let swept = self.strand.sweep(is_waiting, |first| {
                self.stop_running();
                // SAFETY: live in the backlog, which is in hand.
                let first = first.map(|first| unsafe { first.cast::<Header>().as_ref() });
                waiting = first.and_then(|task| self.gives_up(task, STOP));
            });
            let given_up = usize::from(waiting.is_some());
            if let Some(signal) = waiting {
                signal.wake();
            }
            self.refuse_all(swept, || TaskError::Cancelled) + given_up
        })
    }

    /// If the task waits, it is to be given up, by whoever has the role next: only he may
    /// drop its future, which has the value. Returns by what he is to be woken. With the
    /// backlog in hand.
    fn gives_up(&self, task: &Header, why: u32) -> Option<Arc<Signal>> {
        let signal = task.gives_up(why)?;
        self.tell_waiting(task);
        Some(signal)
    }

    /// The same, from anywhere. `false`: it was given up before; or it does not wait, and
    /// if it runs, is given up when it comes to.
    pub(in crate::raw) fn give_up(&self, task: &Header, why: u32) -> bool {
        let signal = self.strand.in_one_step(|| {
            if !task.is_suspended() {
                self.stop(task, why);
            }
            self.gives_up(task, why)
        });
        if let Some(signal) = &signal {
            signal.wake();
        }
        signal.is_some()
    }

    fn refuse_all(&self, swept: Chain, error: impl Fn() -> TaskError) -> usize {
        let mut count = 0;
        for link in swept {
            // SAFETY: it came out of the queue.
            let task = unsafe { Queued::from_link(link) };
            let extra = self.extra();
            self.leave_room(task.header());
            if task.claim() {
                extra.swept.add(1);
                count += 1;
                task.refuse(error());
            } else {
                // Cancelled through its handle, or expired, and counted there.
                extra.cleared.add(1);
                extra.remains.sub(1);
                task.leave();
            }
        }
        count
    }

    /// Cancels a queued task of this resource through its handle, or asks it to
    /// stop if it has started.
    pub(crate) fn cancel<R>(&self, task: &Handle<R>) -> bool {
        let note = |task: &Header| self.note_unrun(task, |extra| &extra.cancelled);
        if task.cancel(TaskError::Cancelled, note) {
            return true;
        }
        if task.header().waits() {
            return self.give_up(task.header(), STOP);
        }
        self.stop(task.header(), STOP);
        false
    }

    /// Nothing could have a queued task of this resource run, and who waits for it
    /// leaves.
    pub(crate) fn abandon<R>(&self, task: &Handle<R>) {
        let note = |task: &Header| self.note_unrun(task, |extra| &extra.cancelled);
        task.cancel(TaskError::WouldDeadlock, note);
    }

    /// A queued task was claimed in the queue, and will not run. (The queue may
    /// have met its remains already, which then are one less than none.)
    pub(in crate::raw) fn note_unrun(&self, task: &Header, why: fn(&Extra) -> &Counter) {
        let extra = self.extra();
        why(extra).add(1);
        extra.remains.add(1);
        self.leave_room(task);
    }

    /// Refuses a task that did not come to be queued; returns who waits for it.
    pub(crate) fn refuse_unqueued(&self, task: Queued, error: TaskError) -> Option<Waker> {
        self.leave_room(task.header());
        if task.claim() {
            return task.fail(error);
        }
        // Cancelled through its handle, and counted as if it were queued.
        let extra = self.extra();
        extra.remains.sub(1);
        extra.cancelled.sub(1);
        task.leave();
        None
    }

    /// A task came out of the queue too late. Holder only.
    pub(crate) fn note_late_in_queue(&self) {
        self.extra().expired.add(1);
        self.note_passed();
    }

    /// A task ran, but not to its end, and is not run any more. Holder only.
    pub(crate) fn note_given_up(&self, late: bool) {
        let extra = self.extra();
        match late {
            true => extra.expired.add(1),
            false => extra.cancelled.add(1),
        };
    }

    /// The remains of a cancelled or expired task came out of the queue. Holder only.
    pub(crate) fn note_remains(&self) {
        self.extra().remains.sub(1);
        self.note_passed();
    }

    /// What was taken out of the queue does not run.
    fn note_passed(&self) {
        self.extra().hook.skip();
        self.counters.dequeued.turn();
    }

    /// A task panicked. Poisons the resource, where it is set to. Holder only.
    #[cold]
    pub(crate) fn note_panic(&self, name: TaskName) {
        self.extra().panicked.add(1);
        self.poison_if_set(name);
    }

    /// Something panicked under the role. Holder only.
    #[cold]
    pub(crate) fn poison_if_set(&self, name: TaskName) {
        let extra = self.extra();
        if extra.settings.poison {
            let mut refusal = lock(&extra.refusal);
            refusal.poisoned = true;
            self.strand.refuse();
        }
        context::enter(self.id(), Kind::Aside, || {
            panics::tell(|| {
                tracing::debug!(target: "captor", resource = self.name(), task = name, "task panicked");
            });
            if extra.settings.poison {
                self.turn_away();
                let swept = self.strand.sweep(is_waiting, |_| ());
                self.refuse_all(swept, || TaskError::Poisoned);
            }
        });
    }

    pub(crate) fn stats(&self) -> ResourceStats {
        self.counters.stats(&self.inline, self.extra.get())
    }

    /// Counts a task that is about to be queued.
    pub(crate) fn count_push(&self) -> Depth {
        self.counters.push(&self.inline, self.extra.get())
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
        if let Some(extra) = self.extra.get() {
            extra.closing.notify();
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
