//! The first run of an asynchronous task, on its submitter and without a queue.
//!
//! A task that never waits therefore costs little more than any other task. If the task waits, the
//! submitter moves the role from the lane to the word and suspends the resource. From then on, the
//! task counts as a queued task. `docs/design/lane.md` argues the move from the lane to the word
//! (step B0).

use crate::error::{Panic, TaskError};
use crate::raw::core::Core;
use crate::raw::run::role::{captured, drain, pass_on};
use crate::raw::run::shift::Shift;
use crate::raw::strand::claim::{Claim, Way};
use crate::raw::strand::drain::Flow;
use crate::raw::task::body::{Body, Task, boxed};
use crate::raw::task::handle::Handle;
use crate::raw::task::life::Header;
use crate::raw::task::queued::Queued;
use crate::raw::task::signal::{Polled, Signal};
use crate::raw::task::tag::{Given, Tag};
use crate::raw::thread::context::Described;
use crate::raw::thread::context::{self, Kind, MAX_DEPTH, Subject};
use crate::sync::Arc;
use core::any::Any;
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a first run ended.
pub(crate) enum FirstRun<R> {
    Finished(Result<R, TaskError>),
    /// The task waited in its first run, and went on like a queued task.
    Waits(Handle<R>),
}

impl<T: Send + 'static> Core<T> {
    /// Runs an asynchronous task at once, on this thread, if the resource is idle. Otherwise, gives
    /// `body` back.
    ///
    /// Three kinds of tasks are given back even if the resource is idle:
    /// - A task with a deadline. A task that waits must be given up at its deadline, and only a
    ///   queued task has an alarm that does so.
    /// - A task of a resource that is pooled or slow-path-only. Only the drain times tasks and calls
    ///   the hook.
    /// - A task of a thread that is nested too deep.
    pub(crate) fn try_start<R, F>(
        self: &Arc<Self>,
        body: F,
        given: Given<'_>,
    ) -> Result<FirstRun<R>, F>
    where
        F: Body<T, R> + Send + 'static,
        R: Send + 'static,
    {
        let has_deadline = given.is_some_and(|attributes| attributes.deadline.is_some());
        if has_deadline || self.settings().pooled || context::depth() >= MAX_DEPTH {
            return Err(body);
        }
        // `tag` calls a subscriber, which is user code, so the call comes before the claim.
        let tag = self.tag(given);
        match self.strand().try_claim() {
            Claim::Made(way) => Ok(self.start_claimed(body, tag, way)),
            Claim::Failed => Err(body),
            Claim::ClaimedWithBacklog => {
                pass_on(self);
                Err(body)
            }
        }
    }

    /// Runs the task for the first time. Must be called by the holder, with an empty queue.
    fn start_claimed<R, F>(self: &Arc<Self>, body: F, tag: Tag, way: Way) -> FirstRun<R>
    where
        F: Body<T, R> + Send,
        R: Send,
    {
        let task = Unqueued::new::<T>(body, tag);
        let header = task.header();
        if let Some(meta) = header.meta() {
            meta.starts(self.host().clock());
        }
        self.inline.turn();
        let ran = context::enter_task(self.id(), Kind::Own, Some(header as Subject<'_>), || {
            // SAFETY: the caller claimed the strand (contract of `start_claimed`), so no other
            // thread uses the value. The task was made for this resource, and runs once.
            unsafe { task.run(self.value().cast::<T>()) }
        });
        let outcome = match ran {
            Ok(Polled::Wait(signal)) => {
                let (task, handle) = task.into_waiting();
                self.strand().move_to_word(way);
                self.wait_on(task, &signal);
                return FirstRun::Waits(handle);
            }
            Ok(Polled::Done(result)) => Ok(result),
            Err(payload) => {
                // SAFETY: claimed by the caller. The task dropped its future, which borrowed the value,
                // as it unwound.
                unsafe { self.note_panic(header.name()) };
                let panic = Panic::new(payload).of(self.name(), header.name());
                Err(TaskError::Panicked(panic))
            }
        };
        self.inline.turn();
        // Freeing the task closes its span, and that runs user code.
        // SAFETY: the task ran to its end, so its closure is gone. A signal does not refer to its
        // task.
        context::enter(self.id(), Kind::Aside, || unsafe { task.free() });
        if !self.strand().try_release(way) {
            captured(self);
        }
        FirstRun::Finished(outcome)
    }

    /// Suspends the resource for a task that waits. From then on, the task counts as a queued task.
    #[cold]
    fn wait_on(self: &Arc<Self>, task: Queued, signal: &Signal) {
        // A sweep asks the running task to stop with the backlog in hand. This step has the backlog
        // in hand too, so the sweep always finds that a task runs.
        self.strand().with_backlog_in_hand(|| {
            self.counters.dequeued.turn();
            self.inline.interrupt();
        });
        let depth = self.count_push();
        self.counters.pushed(&depth);
        let mut shift = Shift::submitter(self, None);
        match shift.suspends(task, signal) {
            Flow::Done => drain(self, shift),
            // The drop enters the thread's spans again, and that runs user code.
            Flow::Suspended => context::enter(self.id(), Kind::Aside, || drop(shift)),
        }
    }
}

/// A task on the heap that only its maker refers to.
struct Unqueued<F, R>(NonNull<Task<F, R>>);

impl<F, R> Unqueued<F, R> {
    fn new<T>(body: F, tag: Tag) -> Self
    where
        F: Body<T, R>,
    {
        let task = boxed::<T, R, F>(body, true, tag);
        // SAFETY: `boxed` made the task just above, so the task is live.
        unsafe { task.as_ref() }.claim_unseen();
        Unqueued(task.cast())
    }

    fn header(&self) -> &Header {
        // SAFETY: the task is live, since `self` owns it, and begins with its header. The reference
        // covers only the header.
        unsafe { self.0.cast::<Header>().as_ref() }
    }

    /// Runs the task. If the task waits, its closure stays in place. Otherwise, its closure is
    /// gone.
    ///
    /// # Safety
    /// Must be called at most once. `value` must be the value that the task was made for, and no
    /// other thread may use the value meanwhile.
    unsafe fn run<T>(&self, value: *mut T) -> Result<Polled<R>, Box<dyn Any + Send>>
    where
        F: Body<T, R>,
    {
        // SAFETY: the task is live, since `self` owns it.
        let stage = unsafe { self.0.as_ref() }.stage.with_mut(|stage| stage);
        // SAFETY: the task runs once (contract of `run`), so the stage still holds the closure.
        // Only `self` refers to the closure, and only the caller uses `value` (contract of `run`).
        catch_unwind(AssertUnwindSafe(|| unsafe {
            F::call(&raw mut (*stage).closure, value)
        }))
    }

    /// Turns the task into a task like any other that was queued and claimed.
    fn into_waiting(self) -> (Queued, Handle<R>) {
        let header = self.0.cast();
        (Queued::from_header(header), Handle::from_header(header))
    }

    /// # Safety
    /// The closure of the task must be gone.
    unsafe fn free(self) {
        // SAFETY: `boxed` made the task by `Box`, and only `self` refers to it. The stage has no
        // drop, and the closure in it is gone (contract of `free`).
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
