//! The way into a resource: the fast path, lingering, queueing, and blocking for the result.
//!
//! This file stands on top of `raw`, and no other layer of `raw` may name this file.
//! `ci/layering.sh` says which layers this file may name.
//!
//! If the resource is idle, the submitter runs its own task (`try_run`). If the resource is busy,
//! the submitter watches it for a bounded time and runs the task if the resource falls idle
//! (`linger`). Otherwise, the submitter queues the task. A caller of `with` then blocks for the
//! result. See "The life of a call" in `docs/design/protocol.md`, and "Lingering" in
//! `docs/design/waiting.md`.

use crate::error::{Panic, SubmitError, TaskError};
use crate::raw::core::Core;
use crate::raw::run::role::{captured, pass_on, push_task};
use crate::raw::strand::claim::{Claim, Look, Way};
use crate::raw::strand::linger::{self, Spins, Turns};
use crate::raw::task::body::{Body, Once};
use crate::raw::task::handle::{AbortOnUnwind, Handle, on_stack};
use crate::raw::task::queued::Queued;
use crate::raw::task::tag::{self, Given, Tag};
use crate::raw::thread::context::{self, MAX_DEPTH};
use crate::raw::thread::deadlock;
use crate::raw::thread::panics;
use crate::raw::waiting::wait;
use crate::sync::Arc;
use std::time::Instant;

/// The reason of a refusal, and the closure of the refused task.
pub(crate) type Refused<F> = (SubmitError, F);

/// How a call went that found its resource busy.
pub(crate) enum Entered<R, Q> {
    /// The resource fell idle, and the task ran on the caller.
    Ran(Result<R, TaskError>),
    /// The task is queued, or was queued and waited for.
    Queued(Q),
}

/// Why lingering ended without a run.
enum Lingered<F> {
    Queue(F),
    Refused(Refused<F>),
}

/// How a caller may deal with a busy resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WhenBusy {
    /// The caller goes on with a future.
    GoesOn,
    /// The caller blocks for the outcome anyway.
    Blocks,
    /// The caller is nested so deep that it must not run the task itself.
    TooDeep,
}

/// Returns the patience of a submission that does not block.
fn goes_on() -> WhenBusy {
    if context::depth() < MAX_DEPTH {
        WhenBusy::GoesOn
    } else {
        WhenBusy::TooDeep
    }
}

impl<T: Send + 'static> Core<T> {
    /// Runs `f` at once, on this thread, if the resource is idle. Otherwise, gives `f` back.
    #[inline(always)]
    pub(crate) fn try_run<R, F>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
    ) -> Result<Result<R, TaskError>, F>
    where
        F: FnOnce(&mut T) -> R,
    {
        match self.strand.try_claim() {
            // Time may have passed since the caller looked at the deadline. A late task expires in
            // the queue.
            Claim::Made(way) if self.is_late(given) => self.release_unused(way),
            Claim::Made(way) => return Ok(self.run_claimed(f, given, way)),
            Claim::Failed => {}
            // Tasks of other submitters come before `f`, and this submitter does not run them.
            Claim::ClaimedWithBacklog => pass_on(self),
        }
        Err(f)
    }

    /// Releases a claimed strand without having run a task. Must be called by the holder, with an
    /// empty queue.
    #[cold]
    #[inline(never)]
    fn release_unused(self: &Arc<Self>, way: Way) {
        if !self.strand.try_release(way) {
            pass_on(self);
        }
    }

    /// Runs the submitter's own task and releases the strand. If the release fails, the submitter
    /// is captured.
    ///
    /// Must be called by the holder, with an empty queue.
    #[inline(always)]
    fn run_claimed<R>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut T) -> R,
        given: Given<'_>,
        way: Way,
    ) -> Result<R, TaskError> {
        self.inline.turn();
        // SAFETY: the caller claimed the strand (contract of `run_claimed`), as `on_value` demands.
        let outcome = unsafe { self.on_value(f, given) };
        self.inline.turn();
        match outcome {
            Ok(result) => {
                if !self.strand.try_release(way) {
                    captured(self);
                }
                Ok(result)
            }
            Err(payload) => {
                let name = tag::name(given);
                // SAFETY: claimed by the caller, and the task, which borrowed the value, has unwound.
                unsafe { self.note_panic(name) };
                if !self.strand.try_release(way) {
                    captured(self);
                }
                Err(TaskError::Panicked(
                    Panic::new(payload).of(self.name(), name),
                ))
            }
        }
    }

    /// Looks at the strand, and looks again for as long as spinning is better than yielding.
    fn spin(&self, how: WhenBusy) -> Look {
        let mut look = self.strand.look();
        let time = self.strand.task_time();
        if time.is_long() {
            let mut spins = match how {
                WhenBusy::Blocks => time.spins(),
                WhenBusy::GoesOn | WhenBusy::TooDeep => Spins::NONE,
            };
            while look == Look::Busy && spins.take() {
                look = self.strand.look();
            }
        } else {
            for spins in linger::SPINS {
                if look != Look::Busy || !self.is_left_alone(spins) {
                    break;
                }
                look = self.strand.look();
            }
        }
        look
    }

    /// Spins, and then checks whether at most one other task has come and gone meanwhile. A task
    /// that runs inline counts two turns.
    ///
    /// If more tasks have come and gone, other threads contend for the resource. To spin would only
    /// slow all of them down.
    fn is_left_alone(&self, spins: u32) -> bool {
        let before = self.inline.turns();
        linger::pause(spins);
        self.inline.turns().wrapping_sub(before) <= 3
    }

    /// Watches a busy resource for a bounded time, and runs `f` if the resource falls idle
    /// meanwhile.
    ///
    /// This keeps submission order: the submitter sees "idle" only after all queued tasks have run.
    #[cold]
    fn linger<R, F>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
        how: WhenBusy,
    ) -> Result<Result<R, TaskError>, Lingered<F>>
    where
        F: FnOnce(&mut T) -> R,
    {
        let inside = context::depth() > 0;
        if self.settings().pooled
            || how == WhenBusy::TooDeep
            // This thread has the role, so the resource cannot fall idle before this returns.
            || inside && context::holds(self.id())
        {
            return Err(Lingered::Queue(f));
        }
        // A caller that goes on takes no turns in two cases:
        // - Inside a task: lingering would hold that task's resource.
        // - Tasks are long: the caller's own work can overlap with the tasks.
        let long = self.strand.task_time().is_long();
        let goes_on = how == WhenBusy::GoesOn;
        let mut turns = if goes_on && (inside || long) {
            Turns::none()
        } else {
            Turns::new(long)
        };
        let mut look = if goes_on && inside {
            self.strand.look()
        } else {
            self.spin(how)
        };
        loop {
            match look {
                // A late task expires in the queue.
                Look::Claimed(way) if self.is_late(given) => {
                    self.release_unused(way);
                    return Err(Lingered::Queue(f));
                }
                Look::Claimed(way) if self.strand.is_slow_path_only() => {
                    let name = tag::name(given);
                    let watched = |value: &mut T| match self.stopwatch() {
                        Some(stopwatch) => stopwatch.time(self, name, || f(value)),
                        None => f(value),
                    };
                    return Ok(self.run_claimed(watched, given, way));
                }
                Look::Claimed(way) if !linger::is_sample(self.inline.turns()) => {
                    return Ok(self.run_claimed(f, given, way));
                }
                Look::Claimed(way) => {
                    let times = self.strand.task_time();
                    let timed = |value: &mut T| {
                        let since = Instant::now();
                        let result = f(value);
                        times.learn(1, since.elapsed());
                        result
                    };
                    return Ok(self.run_claimed(timed, given, way));
                }
                Look::Refusing => return Err(Lingered::Refused((self.why_refused(), f))),
                Look::Queue => return Err(Lingered::Queue(f)),
                Look::ClaimedWithBacklog => {
                    pass_on(self);
                    return Err(Lingered::Queue(f));
                }
                Look::Busy if !turns.take() => return Err(Lingered::Queue(f)),
                // A late task expires in the queue.
                Look::Busy if self.is_late(given) => {
                    return Err(Lingered::Queue(f));
                }
                Look::Busy => look = self.strand.look(),
            }
        }
    }

    /// Checks whether the deadline has passed. Must be called after a claim and before the task
    /// runs: a look before the claim says nothing about the time of the start. A task without
    /// attributes pays nothing.
    #[inline(always)]
    fn is_late(&self, given: Given<'_>) -> bool {
        given.is_some_and(|attributes| attributes.is_late(self.host().clock()))
    }

    /// Queues `f` as a detached task, without a handle to its outcome.
    pub(crate) fn queue_detached<F>(
        self: &Arc<Self>,
        f: F,
        tag: Tag,
        entry: Admission,
    ) -> Result<(), Refused<F>>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        let takes_room = match self.take_room_for_entry(entry) {
            Ok(takes_room) => takes_room,
            Err(error) => return Err((error, f)),
        };
        let task = Queued::detached::<T, F>(f, tag);
        if takes_room {
            task.header().takes_room();
        }
        push_task(self, task).map_err(|(error, task)| {
            // SAFETY: `Queued::detached` made the task as this type just above, the push was
            // refused, and the task has no handle (contract of `into_closure`).
            let Once(f) = unsafe { task.into_closure::<Once<F>, ()>() };
            (error, f)
        })
    }

    /// Takes the room that the entry needs. Returns whether the task must give room back.
    fn take_room_for_entry(&self, entry: Admission) -> Result<bool, SubmitError> {
        match entry {
            Admission::Bounded => self.take_room(),
            Admission::Reserved => Ok(false),
        }
    }

    /// Queues `f` and returns the handle to its outcome.
    #[inline]
    pub(crate) fn queue<R, F>(
        self: &Arc<Self>,
        f: F,
        tag: Tag,
        entry: Admission,
    ) -> Result<Handle<R>, Refused<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.queue_body(Once(f), tag, entry)
            .map_err(|(error, Once(f))| (error, f))
    }

    #[inline]
    pub(crate) fn queue_body<R, F>(
        self: &Arc<Self>,
        body: F,
        tag: Tag,
        entry: Admission,
    ) -> Result<Handle<R>, Refused<F>>
    where
        F: Body<T, R> + Send + 'static,
        R: Send + 'static,
    {
        let takes_room = match self.take_room_for_entry(entry) {
            Ok(takes_room) => takes_room,
            Err(error) => return Err((error, body)),
        };
        let (task, handle) = Handle::with_task::<T, F>(body, tag);
        if takes_room {
            task.header().takes_room();
        }
        match push_task(self, task) {
            Ok(()) => Ok(handle),
            Err((error, task)) => {
                core::mem::forget(handle);
                // SAFETY: `Handle::with_task` made the task as this type just above, the push was
                // refused, and the handle is not used again (contract of `into_closure`).
                Err((error, unsafe { task.into_closure::<F, R>() }))
            }
        }
    }

    /// Lingers on a busy resource, and queues `f` by `queue` if lingering was in vain.
    #[inline(always)]
    fn enter<R, F, Q, E>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
        how: WhenBusy,
        queue: impl FnOnce(F, Tag) -> Result<Q, (E, F)>,
    ) -> Result<Entered<R, Q>, (E, F)>
    where
        F: FnOnce(&mut T) -> R,
        E: From<SubmitError>,
    {
        match self.linger(f, given, how) {
            Ok(outcome) => Ok(Entered::Ran(outcome)),
            Err(Lingered::Refused((error, f))) => Err((error.into(), f)),
            Err(Lingered::Queue(f)) => queue(f, self.tag(given)).map(Entered::Queued),
        }
    }

    /// Submits `f` to a resource that was found busy.
    #[inline(always)]
    pub(crate) fn submit_busy<R, F>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
        entry: Admission,
    ) -> Result<Entered<R, Handle<R>>, Refused<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.enter(f, given, goes_on(), |f, tag| self.queue(f, tag, entry))
    }

    /// Submits `f` as a detached task to a resource that was found busy.
    #[inline(always)]
    pub(crate) fn execute_busy<F>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
        entry: Admission,
    ) -> Result<Entered<(), ()>, Refused<F>>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        self.enter(f, given, goes_on(), |f, tag| {
            self.queue_detached(f, tag, entry)
        })
    }

    /// Runs `f` on a resource that was found busy, and blocks for its result.
    #[cold]
    pub(crate) fn with_busy<R, F>(self: &Arc<Self>, f: F, given: Given<'_>) -> Result<R, TaskError>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        if context::holds(self.id()) {
            return Err(panics::refused(TaskError::WouldDeadlock, f));
        }
        let deadline = given.and_then(|attributes| attributes.deadline);
        let entered = self.enter(f, given, WhenBusy::Blocks, |f, tag| match deadline {
            None if !self.host().limits.pooled => self.queue_and_wait(f, tag),
            deadline => self.queue_and_wait_until(f, tag, deadline),
        });
        match entered {
            Ok(Entered::Ran(outcome) | Entered::Queued(outcome)) => outcome,
            Err((error, f)) => Err(panics::refused(error, f)),
        }
    }

    /// Queues a task that sets the hook, even if the resource is idle. The task closes the lane, so
    /// it must not run in the lane.
    pub(crate) fn queue_hook<F>(self: &Arc<Self>, f: F) -> Result<Handle<()>, TaskError>
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        let core = Arc::clone(self);
        // SAFETY: the closure is queued just below, for this core, so the task comes out of this
        // core's queue (contract of `set_hook`).
        let sets = move |_: &mut T| unsafe { core.set_hook(f) };
        self.queue(sets, self.tag(None), Admission::Reserved)
            .map_err(|(error, sets)| panics::refused(error, sets))
    }

    /// Queues `f` from this stack frame and waits until the task has finished. The task needs no
    /// room: it lies on the stack of its caller, and the caller blocks.
    ///
    /// # Errors
    /// Fails if the task was not queued, because it was refused or because the wait would never
    /// end.
    fn queue_and_wait<R, F>(
        self: &Arc<Self>,
        f: F,
        tag: Tag,
    ) -> Result<Result<R, TaskError>, (TaskError, F)>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        on_stack::<T, R, F, _>(f, tag, |task, queued| {
            let _wait = deadlock::Wait::begin(self.id(), task.event())?;
            // If the push is refused, the task stays on this stack frame and is dropped with the
            // frame.
            push_task(self, queued).map_err(|(error, _)| error)?;
            wait::wait(self, task, None);
            Ok(())
        })
    }
}

impl<T: Send + 'static> Core<T> {
    /// Queues `f` and waits until the task has finished, until `deadline`, or until nothing could
    /// end the wait. The task lies on the heap, because its remains may have to stay in the queue.
    ///
    /// # Errors
    /// Fails if the task was not queued, because it was refused or because the wait would never
    /// end.
    fn queue_and_wait_until<R, F>(
        self: &Arc<Self>,
        f: F,
        tag: Tag,
        deadline: Option<Instant>,
    ) -> Result<Result<R, TaskError>, (TaskError, F)>
    where
        F: FnOnce(&mut T) -> R + Send,
        R: Send,
    {
        let (task, handle) = Handle::with_task::<T, _>(Once(f), tag);
        let event = handle.waiting().event();
        let queued = match deadlock::Wait::begin(self.id(), event) {
            Err(error) => Err((error.into(), task)),
            Ok(_wait) => {
                let frame = AbortOnUnwind;
                let queued = push_task(self, task);
                if queued.is_ok() && !wait::wait(self, handle.waiting(), deadline) {
                    match deadline {
                        Some(_) => handle.expire(self),
                        None => self.abandon(&handle),
                    }
                    // If another thread has claimed the task, its outcome is still to come.
                    wait::wait(self, handle.waiting(), None);
                }
                // From here on, no other thread refers to the closure or to what the closure
                // borrows.
                core::mem::forget(frame);
                queued.map_err(|(error, task)| (TaskError::from(error), task))
            }
        };
        match queued {
            Ok(()) => Ok(handle.take()),
            Err((error, task)) => {
                core::mem::forget(handle);
                // SAFETY: `Handle::with_task` made the task as this type just above, the task was
                // not queued, and the handle is not used again (contract of `into_closure`).
                let Once(f) = unsafe { task.into_closure::<Once<F>, R>() };
                Err((error, f))
            }
        }
    }
}

/// Whether a task that has to be queued needs room in a bounded queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// The task takes room, and is refused if there is none.
    Bounded,
    /// The task takes no room. The closure of a permit's task has reserved room, and gives it back
    /// when the task starts or is dropped. A trigger's task and the task that sets a hook need
    /// none.
    Reserved,
}
