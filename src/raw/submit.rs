//! Submission: the fast path, lingering, queueing, blocking.

use crate::error::{Panic, SubmitError, TaskError};
use crate::raw::core::Core;
use crate::raw::run::role::{captured, pass_on, queue};
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

/// A refused task's closure, and why.
pub(crate) type Refused<F> = (SubmitError, F);

/// What became of a call that found its resource busy.
pub(crate) enum Entered<R, Q> {
    /// The resource fell idle: the task ran on the caller.
    Ran(Result<R, TaskError>),
    /// The task is queued, or was queued and waited for.
    Queued(Q),
}

/// Why lingering ended without a run.
enum Lingered<F> {
    Queue(F),
    Refused(Refused<F>),
}

/// What a caller that finds the resource busy may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    /// It goes on with a future.
    GoesOn,
    /// It blocks for the outcome anyway.
    Blocks,
    /// It is nested so deep that it must not run the task itself.
    TooDeep,
}

/// How a submission goes that does not block.
fn goes_on() -> Patience {
    if context::depth() < MAX_DEPTH {
        Patience::GoesOn
    } else {
        Patience::TooDeep
    }
}

impl<T: Send + 'static> Core<T> {
    /// Runs `f` here and now if the resource is idle; gives it back if not.
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
            Claim::Made(way) => return Ok(self.run_claimed(f, given, way)),
            Claim::Failed => {}
            // What others queued comes before `f`, and is not its submitter's.
            Claim::ClaimedWithBacklog => pass_on(self),
        }
        Err(f)
    }

    /// Runs the claimer's own task and releases the strand. Holder only, with
    /// an empty queue.
    #[inline(always)]
    fn run_claimed<R>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut T) -> R,
        given: Given<'_>,
        way: Way,
    ) -> Result<R, TaskError> {
        self.inline.turn();
        // SAFETY: claimed by the caller.
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
                self.note_panic(name);
                if !self.strand.try_release(way) {
                    captured(self);
                }
                Err(TaskError::Panicked(
                    Panic::new(payload).of(self.name(), name),
                ))
            }
        }
    }

    /// Looks, and looks again as long as that is better than to yield.
    fn spin(&self, how: Patience) -> Look {
        let mut look = self.strand.look();
        let time = self.strand.task_time();
        if time.is_long() {
            let mut spins = match how {
                Patience::Blocks => time.spins(),
                Patience::GoesOn | Patience::TooDeep => Spins::NONE,
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

    /// A moment later: is it the same task that runs, or nobody's? Else others
    /// come and go, and to fight with them for it would only slow all down.
    fn is_left_alone(&self, spins: u32) -> bool {
        let before = self.inline.turns();
        linger::pause(spins);
        self.inline.turns().wrapping_sub(before) <= 3
    }

    /// Watches a busy resource for a bounded moment, and runs `f` if it falls
    /// idle in it.
    ///
    /// This keeps submission order: idle is seen only after all that was
    /// queued has run.
    #[cold]
    fn linger<R, F>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
        how: Patience,
    ) -> Result<Result<R, TaskError>, Lingered<F>>
    where
        F: FnOnce(&mut T) -> R,
    {
        let inside = context::depth() > 0;
        if self.settings().pooled
            || how == Patience::TooDeep
            // It cannot fall idle before this returns.
            || inside && context::holds(self.id())
        {
            return Err(Lingered::Queue(f));
        }
        // Inside a task it would hold that task's resource meanwhile; and one
        // that goes on has better things to do than to wait for long tasks.
        let long = self.strand.task_time().is_long();
        let goes_on = how == Patience::GoesOn;
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
                // It expires in the queue.
                Look::Claimed(way) if self.is_late(given) => {
                    if !self.strand.try_release(way) {
                        pass_on(self);
                    }
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
                // It expires in the queue.
                Look::Busy if self.is_late(given) => {
                    return Err(Lingered::Queue(f));
                }
                Look::Busy => look = self.strand.look(),
            }
        }
    }

    fn is_late(&self, given: Given<'_>) -> bool {
        given.is_some_and(|attributes| attributes.is_late(self.host().clock()))
    }

    /// Queues `f` with nobody to ask for its outcome.
    pub(crate) fn queue_detached<F>(
        self: &Arc<Self>,
        f: F,
        tag: Tag,
        entry: Admission,
    ) -> Result<(), Refused<F>>
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        let takes_room = match self.enter_queue(entry) {
            Ok(takes_room) => takes_room,
            Err(error) => return Err((error, f)),
        };
        let task = Queued::detached::<T, F>(f, tag);
        if takes_room {
            task.header().takes_room();
        }
        queue(self, task).map_err(|(error, task)| {
            // SAFETY: made as this type just above, and refused.
            let Once(f) = unsafe { task.into_closure::<Once<F>, ()>() };
            (error, f)
        })
    }

    fn enter_queue(&self, entry: Admission) -> Result<bool, SubmitError> {
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
        let takes_room = match self.enter_queue(entry) {
            Ok(takes_room) => takes_room,
            Err(error) => return Err((error, body)),
        };
        let (task, handle) = Handle::with_task::<T, F>(body, tag);
        if takes_room {
            task.header().takes_room();
        }
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

    /// The busy path of a call: lingers, and queues `f` by `queue` if that was in vain.
    #[inline(always)]
    fn enter<R, F, Q, E>(
        self: &Arc<Self>,
        f: F,
        given: Given<'_>,
        how: Patience,
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

    /// The same, for a task whose outcome nobody asks for.
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
        let entered = self.enter(f, given, Patience::Blocks, |f, tag| match deadline {
            None if !self.host().limits.pooled => self.queue_and_wait(f, tag),
            deadline => self.queue_and_wait_until(f, tag, deadline),
        });
        match entered {
            Ok(Entered::Ran(outcome) | Entered::Queued(outcome)) => outcome,
            Err((error, f)) => Err(panics::refused(error, f)),
        }
    }

    /// Queues a task that sets the hook, if need be on an idle resource: it must not
    /// run by the lane, which it closes.
    pub(crate) fn queue_hook<F>(self: &Arc<Self>, f: F) -> Result<Handle<()>, TaskError>
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        let core = Arc::clone(self);
        // SAFETY: it is queued just below, for this core, and runs out of its queue.
        let sets = move |_: &mut T| unsafe { core.set_hook(f) };
        self.queue(sets, self.tag(None), Admission::Reserved)
            .map_err(|(error, sets)| panics::refused(error, sets))
    }

    /// Queues `f` from this stack frame and waits until it is through. It needs
    /// no room: what it takes up is its caller's stack, and he blocks.
    ///
    /// # Errors
    /// It was not queued: refused, or the wait would never end.
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
            // A refused one lives on the stack, and goes with it.
            queue(self, queued).map_err(|(error, _)| error)?;
            wait::wait(self, task, None);
            Ok(())
        })
    }
}

impl<T: Send + 'static> Core<T> {
    /// The same, for one who waits until a deadline, or for as long as anything could
    /// end that. It is on the heap, since its remains may have to stay in the queue.
    ///
    /// # Errors
    /// As there.
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
                let queued = queue(self, task);
                if queued.is_ok() && !wait::wait(self, handle.waiting(), deadline) {
                    match deadline {
                        Some(_) => handle.expire(self),
                        None => self.abandon(&handle),
                    }
                    // It had started, or whoever claimed it is about to show it.
                    wait::wait(self, handle.waiting(), None);
                }
                // Nobody refers to the closure any more, or to what it borrows.
                core::mem::forget(frame);
                queued.map_err(|(error, task)| (TaskError::from(error), task))
            }
        };
        match queued {
            Ok(()) => Ok(handle.take()),
            Err((error, task)) => {
                core::mem::forget(handle);
                // SAFETY: made as this type just above, refused, and its
                // handle is not used again.
                let Once(f) = unsafe { task.into_closure::<Once<F>, R>() };
                Err((error, f))
            }
        }
    }
}

/// What a task that has to be queued brings along, where the queue is bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Nothing: there has to be room for it.
    Bounded,
    /// Room: its closure has it, and gives it back when it starts or is dropped.
    Reserved,
}
