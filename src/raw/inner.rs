//! The one allocation behind a resource: strand, scheduler, counters, value.
//!
//! `Core<T>` is what a [`Resource`](crate::Resource) points to; everything off
//! the fast path works on `Core<dyn Value>`, the same allocation with its type
//! forgotten, so that it is compiled once.

use crate::error::{HealError, Panic, SubmitError, TaskError};
use crate::raw::context::{self, Id};
use crate::raw::drain::{Ended, Look, Pushed, Strand, Terms};
use crate::raw::extra::{Extra, Refusal, Settings};
use crate::raw::host::{Host, Job};
use crate::raw::queue::Link;
use crate::raw::shift::Shift;
use crate::raw::state::Mode;
use crate::raw::task::{Body, Handle, Meta, Once, Queued};
use crate::raw::{linger, panics};
use crate::sync::{Arc, Counter, UnsafeCell, lock, yield_now};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use once_cell::race::OnceBox;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Any value a resource may hold, its type forgotten.
pub(crate) trait Value: Send {}
impl<T: Send> Value for T {}

/// How many queued tasks the search for a parked waiter looks at.
const WAITER_SEARCH: usize = 16;

/// Queued tasks beyond which submitters pace themselves (G10).
const HIGH_WATER: u64 = 1 << 14;

/// How often a heal looks whether the poisoned resource has come to rest.
const HEAL_TURNS: usize = 1 << 16;

/// The most yields that pacing adds to one submission.
const MAX_PACE: u64 = 16;

/// Counters of one resource. Each is written by the holder alone, but for
/// `pushed` and `peak`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Twice the tasks run by the submitter that claimed an idle resource, and
    /// one more while such a task runs.
    inline: Counter,
    /// Tasks queued.
    pushed: Counter,
    /// Tasks that came out of the queue and are through.
    finished: Counter,
    /// The most tasks outstanding at once, as far as the queue saw it.
    peak: Counter,
    /// Nanoseconds that submitters spent on others' tasks.
    pub(crate) lent: Counter,
    handoffs: Counter,
}

/// A consistent enough view of the counters: each is exact when nothing runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) outstanding: u64,
    pub(crate) max_outstanding: u64,
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) rejected: u64,
    pub(crate) handoffs: u64,
    pub(crate) lent_nanos: u64,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Core<T: ?Sized> {
    strand: Strand,
    host: Arc<Host>,
    pub(crate) counters: Counters,
    extra: OnceBox<Extra>,
    /// Touched by the holder alone.
    value: UnsafeCell<ManuallyDrop<T>>,
}

// SAFETY: the value is reached only by the strand's holder, one thread at a
// time, each after the one before it (the strand's claim acquires what its
// release released); so sharing a core sends the value, which `T: Send` allows.
// All else in it is `Sync`.
unsafe impl<T: ?Sized + Send> Sync for Core<T> {}
// SAFETY: as above; the rest of it is `Send`.
unsafe impl<T: ?Sized + Send> Send for Core<T> {}

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

/// What a task is called in the log.
pub(crate) type TaskName = Option<&'static str>;

/// A refused task's closure, and why.
pub(crate) type Refused<F> = (SubmitError, F);

impl<T: Send + 'static> Core<T> {
    pub(crate) fn new(value: T, host: Arc<Host>, settings: Settings) -> Arc<Self> {
        let extra = OnceBox::new();
        let pooled = settings.pooled;
        if !settings.is_default() {
            let _ = extra.set(Box::new(Extra {
                settings,
                ..Extra::default()
            }));
        }
        Arc::new(Core {
            strand: Strand::new(pooled),
            host,
            counters: Counters::default(),
            extra,
            value: UnsafeCell::new(ManuallyDrop::new(value)),
        })
    }

    /// Runs `f` here and now if the resource is idle; gives it back if not.
    #[inline(always)]
    pub(crate) fn try_run<R, F>(
        self: &Arc<Self>,
        f: F,
        name: TaskName,
    ) -> Result<Result<R, TaskError>, F>
    where
        F: FnOnce(&mut T) -> R,
    {
        if self.strand.try_claim() {
            Ok(self.run_claimed(f, name))
        } else {
            Err(f)
        }
    }

    /// Runs the claimer's own task and releases the strand. Holder only, with
    /// an empty queue.
    #[inline(always)]
    fn run_claimed<R>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut T) -> R,
        name: TaskName,
    ) -> Result<R, TaskError> {
        self.counters.inline.bump();
        let outcome = context::enter(self.id(), false, || {
            catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the claim makes the value ours until the release.
                self.value.with_mut(|value| f(unsafe { &mut **value }))
            }))
        });
        self.counters.inline.bump();
        match outcome {
            Ok(result) => {
                if !self.strand.try_release() {
                    captured(self);
                }
                Ok(result)
            }
            Err(payload) => {
                self.note_panic(name);
                captured(self);
                Err(TaskError::Panicked(Panic::new(payload)))
            }
        }
    }

    /// Watches a busy resource for a bounded moment, and runs `f` if it falls
    /// idle in it.
    ///
    /// This keeps submission order: idle is seen only after all that was
    /// queued has run.
    #[cold]
    pub(crate) fn linger<R, F>(
        self: &Arc<Self>,
        f: F,
        name: TaskName,
        how: Patience,
    ) -> Result<Result<R, TaskError>, Lingered<F>>
    where
        F: FnOnce(&mut T) -> R,
    {
        if self.settings().pooled || how == Patience::TooDeep {
            return Err(Lingered::Queue(f));
        }
        let mut turns = linger::Turns::new(context::depth() == 0 || how == Patience::Blocks);
        loop {
            match self.strand.look() {
                Look::Claimed => return Ok(self.run_claimed(f, name)),
                Look::Refusing => return Err(Lingered::Refused((self.why_refused(), f))),
                Look::Queue => return Err(Lingered::Queue(f)),
                Look::Busy if !turns.take() => return Err(Lingered::Queue(f)),
                Look::Busy => {}
            }
        }
    }

    /// Queues `f` with nobody to ask for its outcome.
    pub(crate) fn queue_detached<F>(
        self: &Arc<Self>,
        f: F,
        meta: Option<Box<Meta>>,
    ) -> Result<(), Refused<F>>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        let task = Queued::detached::<T, F>(f, meta);
        queue(self, task).map_err(|(error, task)| {
            // SAFETY: made as this type just above, and refused.
            let Once(f) = unsafe { task.into_closure::<Once<F>, ()>() };
            (error, f)
        })
    }

    /// Queues `f` and returns the handle to its outcome.
    pub(crate) fn queue<R, F>(
        self: &Arc<Self>,
        f: F,
        meta: Option<Box<Meta>>,
    ) -> Result<Handle<R>, Refused<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.queue_body(Once(f), meta)
            .map_err(|(error, Once(f))| (error, f))
    }

    pub(crate) fn queue_body<R, F>(
        self: &Arc<Self>,
        body: F,
        meta: Option<Box<Meta>>,
    ) -> Result<Handle<R>, Refused<F>>
    where
        F: Body<T, R> + Send + 'static,
        R: Send + 'static,
    {
        let (task, handle) = Queued::with_handle::<T, R, F>(body, meta);
        match queue(self, task) {
            Ok(()) => Ok(handle),
            Err((error, task)) => {
                core::mem::forget(handle);
                // SAFETY: made as this type just above, refused, and its
                // handle is not used again.
                Err((error, unsafe { task.into_closure::<F, R>() }))
            }
        }
    }

    /// Queues `f` from this stack frame and waits until it is through.
    pub(crate) fn queue_and_wait<R, F>(
        self: &Arc<Self>,
        f: F,
        meta: Option<Box<Meta>>,
    ) -> Result<Result<R, TaskError>, Refused<F>>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        crate::raw::task::on_stack::<T, R, F, _>(
            f,
            meta,
            // A refused one lives on the stack, and goes with it.
            |task| queue(self, task).map_err(|(error, _)| error),
            |task| {
                crate::raw::wait::wait(self, task, None);
            },
        )
    }

    /// Takes the poison off, with the value in hand. The resource stays as it
    /// is if `f` panics.
    pub(crate) fn heal<R>(self: &Arc<Self>, f: impl FnOnce(&mut T) -> R) -> Result<R, HealError> {
        let mut turns = HEAL_TURNS;
        loop {
            if !self.refusal().poisoned {
                return Err(HealError::NotPoisoned);
            }
            if self.strand.claim_refusing() {
                break;
            }
            // It accepts nothing, so whoever holds it is about to let go.
            if self.is_current() || turns == 0 {
                return Err(HealError::Busy);
            }
            turns -= 1;
            yield_now();
        }
        if !self.refusal().poisoned {
            // Healed by another between the look and the claim, and closed since.
            captured(self);
            return Err(HealError::NotPoisoned);
        }
        let outcome = context::enter(self.id(), false, || {
            catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the claim makes the value ours until the release.
                self.value.with_mut(|value| f(unsafe { &mut **value }))
            }))
        });
        if outcome.is_ok() {
            let mut refusal = lock(&self.extra().refusal);
            refusal.poisoned = false;
            if !refusal.closed {
                self.strand.reopen();
            }
        }
        captured(self);
        outcome.map_err(|payload| HealError::Panicked(Panic::new(payload)))
    }
}

/// What a caller that finds the resource busy may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// It goes on with a future.
    GoesOn,
    /// It blocks for the outcome anyway.
    Blocks,
    /// It is nested so deep that it must not run the task itself.
    TooDeep,
}

/// Lingering was in vain.
pub(crate) enum Lingered<F> {
    Queue(F),
    Refused(Refused<F>),
}

impl<T: ?Sized> Core<T> {
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

    pub(crate) fn settings(&self) -> &Settings {
        const DEFAULT: &Settings = &Settings {
            name: None,
            capture_limit: None,
            capture_time: None,
            pooled: false,
            poison: false,
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

    pub(crate) fn name(&self) -> Option<&str> {
        self.settings().name.as_deref()
    }

    pub(crate) fn is_current(&self) -> bool {
        context::is_current(self.id())
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
        let state = self.strand.state();
        state.is_refusing() && state.mode() == Mode::Idle && self.refusal().closed
    }

    /// A task was refused: counts it and says why.
    pub(crate) fn why_refused(&self) -> SubmitError {
        let extra = self.extra();
        extra.rejected.add(1);
        let refusal = *lock(&extra.refusal);
        // Poison may have been cleared since; closed is for ever.
        let error = if refusal.closed {
            SubmitError::Closed
        } else {
            SubmitError::Poisoned
        };
        tracing::debug!(target: "captor", resource = self.name(), reason = %error, "task refused");
        error
    }

    /// Refuses every task from now on. `false`: it was closed before.
    pub(crate) fn close(&self) -> bool {
        let extra = self.extra();
        let mut refusal = lock(&extra.refusal);
        if core::mem::replace(&mut refusal.closed, true) {
            return false;
        }
        let before = self.strand.refuse();
        drop(refusal);
        tracing::debug!(target: "captor", resource = self.name(), "resource closed");
        if before.mode() == Mode::Idle {
            extra.ended.notify();
        }
        true
    }

    /// Cancels what is queued and has not started.
    pub(crate) fn cancel_pending(&self) -> usize {
        self.sweep(|| TaskError::Cancelled)
    }

    fn sweep(&self, error: impl Fn() -> TaskError) -> usize {
        let mut count = 0;
        for link in self.strand.sweep() {
            // SAFETY: it came out of the queue.
            let task = unsafe { Queued::from_link(link) };
            let extra = self.extra();
            if task.claim() {
                extra.swept.add(1);
                count += 1;
                task.refuse(error());
            } else {
                // Cancelled through its handle, and counted there.
                extra.remains.sub(1);
                extra.cancelled.sub(1);
                extra.swept.add(1);
                task.leave();
            }
        }
        count
    }

    /// Cancels a queued task of this resource through its handle.
    pub(crate) fn cancel<R>(&self, task: &Handle<R>) -> bool {
        // Counted first: once it is cancelled, its remains may be met at once.
        let extra = self.extra();
        extra.cancelled.add(1);
        extra.remains.add(1);
        let cancelled = task.cancel(TaskError::Cancelled);
        if !cancelled {
            extra.remains.sub(1);
            extra.cancelled.sub(1);
        }
        cancelled
    }

    /// The remains of such a task came out of the queue.
    pub(crate) fn note_remains(&self) {
        self.extra().remains.sub(1);
        self.counters.finished.bump();
    }

    /// A task panicked. Poisons the resource, where it is set to. Holder only.
    #[cold]
    pub(crate) fn note_panic(&self, name: TaskName) {
        let extra = self.extra();
        extra.panicked.add(1);
        tracing::debug!(target: "captor", resource = self.name(), task = name, "task panicked");
        if extra.settings.poison {
            {
                let mut refusal = lock(&extra.refusal);
                refusal.poisoned = true;
                self.strand.refuse();
            }
            self.sweep(|| TaskError::Poisoned);
        }
    }

    pub(crate) fn note_finished(&self) {
        self.counters.finished.bump();
    }

    pub(crate) fn tally(&self) -> Tally {
        let c = &self.counters;
        let [panicked, rejected, cancelled, remains, swept] =
            self.extra.get().map_or([0; 5], |e| {
                [
                    e.panicked.get(),
                    e.rejected.get(),
                    e.cancelled.get(),
                    e.remains.get(),
                    e.swept.get(),
                ]
            });
        // What is through is read before what was submitted, so that no
        // difference comes out negative; what races all the same saturates.
        let finished = c.finished.get();
        let inline = c.inline.get();
        let pushed = c.pushed.get();
        let submitted = inline.div_ceil(2) + pushed;
        let through = finished.saturating_sub(cancelled.saturating_sub(remains)) + inline / 2;
        let outstanding = (pushed + inline % 2).saturating_sub(finished + swept + remains);
        Tally {
            outstanding,
            max_outstanding: c.peak.get().max(u64::from(submitted > 0)),
            submitted,
            completed: through.saturating_sub(panicked),
            panicked,
            cancelled: cancelled + swept,
            rejected,
            handoffs: c.handoffs.get(),
            lent_nanos: c.lent.get(),
        }
    }

    /// Counts a task that is about to be queued; returns how many are queued.
    fn count_push(&self) -> u64 {
        let c = &self.counters;
        let pushed = c.pushed.add(1);
        let swept = self.extra.get().map_or(0, |e| e.swept.get());
        let depth = pushed.saturating_sub(c.finished.get() + swept);
        c.peak.raise(depth + c.inline.get() % 2);
        depth
    }
}

impl Core<dyn Value> {
    /// The value, for a task that knows its type. To be used by the holder alone.
    pub(crate) fn value(&self) -> *mut () {
        self.value.with_mut(|value| value.cast())
    }
}

impl<T: ?Sized> Drop for Core<T> {
    fn drop(&mut self) {
        // Whoever has the role, or will be given it, keeps a reference; so
        // nothing is queued any more.
        debug_assert_eq!(self.strand.state().mode(), Mode::Idle);
        panics::contain("drop of a resource's value", || {
            // SAFETY: the last reference; not used again.
            self.value
                .with_mut(|value| unsafe { ManuallyDrop::drop(&mut *value) });
        });
    }
}

impl Core<dyn Value> {
    /// A job for this resource has come to run.
    pub(crate) fn work(self: &Arc<Self>) {
        if self.strand.accept_job(self.settings().pooled) {
            context::work(|nested| {
                // An executor that runs jobs inside `execute` would recurse at
                // each quantum: the inner one goes on to the end.
                let shift = if nested {
                    Shift::endless(self)
                } else {
                    Shift::worker(self)
                };
                drain(self, shift);
            });
        }
        self.host.finished.add(1);
    }

    /// The same, with nowhere to hand the rest to.
    pub(crate) fn work_to_end(self: &Arc<Self>) {
        if self.strand.accept_job(self.settings().pooled) {
            drain(self, Shift::endless(self));
        }
        self.host.finished.add(1);
    }
}

/// Queues a task, and does what follows from where it came to stand.
fn queue(owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
    let core = owner.core();
    let depth = core.count_push();
    let pooled = core.settings().pooled;
    let terms = match context::depth() {
        _ if pooled => Terms::None,
        context::MAX_DEPTH.. => Terms::None,
        0 if core.capture_limit() > 1 => Terms::Any,
        _ => Terms::Own,
    };
    let link = task.into_link();
    // SAFETY: a live task in no queue; it stays live until it is finished.
    match unsafe { core.strand.push(link, terms, pooled) } {
        Pushed::Refused => {
            core.counters.pushed.sub(1);
            // SAFETY: it was made from a task just above, and not pushed.
            return Err((core.why_refused(), unsafe { Queued::from_link(link) }));
        }
        Pushed::Queued => pace(core, depth),
        Pushed::Captured => drain(owner, Shift::submitter(owner, Some(link))),
        Pushed::Offered { dispatch } => {
            if dispatch {
                dispatch_job(owner);
            }
            pace(core, depth);
        }
    }
    Ok(())
}

/// Past the high-water mark, submitters give the holder time: the more, the
/// further past it. Never from inside a task of the same resource, which could
/// not end before.
fn pace(core: &Core<dyn Value>, depth: u64) {
    if depth < HIGH_WATER || context::holds(core.id()) {
        return;
    }
    for _ in 0..(depth / HIGH_WATER).min(MAX_PACE) {
        yield_now();
    }
}

/// The holder has run its own task and did not find the strand as it left it:
/// it goes on with others' tasks, up to its limits.
#[cold]
#[inline(never)]
fn captured(owner: &dyn Owner) {
    drain(owner, Shift::submitter(owner, None));
}

/// Works through the queue for one shift, and leaves the resource to whoever
/// is next. Holder only.
pub(crate) fn drain(owner: &dyn Owner, mut shift: Shift<'_>) {
    let ended = owner.core().strand.drain(&mut shift);
    drop(shift);
    match ended {
        Ended::Idle { refusing: false } | Ended::Suspended => {}
        Ended::Idle { refusing: true } => owner.core().extra().ended.notify(),
        Ended::Exhausted => hand_off(owner),
    }
}

/// Gives the role away: to a thread that is parked for this resource anyway,
/// or else to the pool. Holder only, with work left.
fn hand_off(owner: &dyn Owner) {
    let core = owner.core();
    let pooled = core.settings().pooled;
    core.counters.handoffs.bump();
    let waiter = if pooled {
        None
    } else {
        core.strand.find(WAITER_SEARCH, Queued::lend)
    };
    tracing::trace!(
        target: "captor",
        resource = core.name(),
        to = if waiter.is_some() { "waiter" } else { "pool" },
        "hand-off"
    );
    match waiter {
        Some(waiter) => {
            core.strand.offer_without_job();
            waiter.offered();
        }
        None => {
            if core.strand.offer(pooled) {
                dispatch_job(owner);
            }
        }
    }
}

/// Sends a job for this resource to its scheduler.
pub(crate) fn dispatch_job(owner: &dyn Owner) {
    let core = owner.share();
    let host = Arc::clone(core.host());
    host.dispatched.add(1);
    host.dispatch.dispatch(Job::new(core));
}

/// Brings a task that waited back to the head of its resource, for the pool
/// to go on with.
///
/// # Safety
/// The task suspended this resource, and only the caller may resume it.
pub(crate) unsafe fn bring_back(core: &Arc<Core<dyn Value>>, task: NonNull<Link>) {
    core.strand.unsuspend();
    // SAFETY: the task is live and in no queue while it is suspended.
    unsafe { core.strand.push_front(task) };
    if core.strand.offer(core.settings().pooled) {
        dispatch_job(core);
    }
}
