//! The first run of an asynchronous task on its submitter: one that never waits costs
//! little more than any other.

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

/// What a first run came to.
pub(crate) enum FirstRun<R> {
    Finished(Result<R, TaskError>),
    /// It waits, or is queued to go on.
    Waits(Handle<R>),
}

impl<T: Send + 'static> Core<T> {
    /// Runs a task that may wait here and now, if the resource is idle; gives it back
    /// if not, and where something has to be done around it that the drain does.
    pub(crate) fn try_start<R, F>(
        self: &Arc<Self>,
        body: F,
        given: Given<'_>,
    ) -> Result<FirstRun<R>, F>
    where
        F: Body<T, R> + Send + 'static,
        R: Send + 'static,
    {
        let is_timed = given.is_some_and(|attributes| attributes.deadline.is_some());
        if is_timed || self.settings().pooled || context::depth() >= MAX_DEPTH {
            return Err(body);
        }
        // User code, a subscriber: before the role is ours.
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

    /// Holder only, with an empty queue.
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
            // SAFETY: claimed by the caller, and a task of this resource.
            unsafe { task.run(self.value().cast::<T>()) }
        });
        let outcome = match ran {
            Ok(Polled::Wait(signal)) => {
                let (task, handle) = task.into_waiting();
                self.strand().by_word(way);
                self.wait_on(task, &signal);
                return FirstRun::Waits(handle);
            }
            Ok(Polled::Done(result)) => Ok(result),
            Err(payload) => {
                self.note_panic(header.name());
                let panic = Panic::new(payload).of(self.name(), header.name());
                Err(TaskError::Panicked(panic))
            }
        };
        self.inline.turn();
        // Its span is closed, by user code.
        // SAFETY: it ran to its end; a signal does not refer to it.
        context::enter(self.id(), Kind::Aside, || unsafe { task.free() });
        if !self.strand().try_release(way) {
            captured(self);
        }
        FirstRun::Finished(outcome)
    }

    /// The task waits. From now on it counts as one that was queued.
    #[cold]
    fn wait_on(self: &Arc<Self>, task: Queued, signal: &Signal) {
        // Somebody who asks what runs to stop finds that something does.
        self.strand().in_one_step(|| {
            self.counters.dequeued.turn();
            self.inline.interrupt();
        });
        let depth = self.count_push();
        self.counters.pushed(&depth);
        let mut shift = Shift::submitter(self, None);
        match shift.suspends(task, signal) {
            Flow::Done => drain(self, shift),
            // Its spans are entered again, by user code.
            Flow::Suspended => context::enter(self.id(), Kind::Aside, || drop(shift)),
        }
    }
}

/// A task on the heap that nobody knows of but its maker.
struct Unqueued<F, R>(NonNull<Task<F, R>>);

impl<F, R> Unqueued<F, R> {
    fn new<T>(body: F, tag: Tag) -> Self
    where
        F: Body<T, R>,
    {
        let task = boxed::<T, R, F>(body, true, tag);
        // SAFETY: made just above.
        unsafe { task.as_ref() }.claim_unseen();
        Unqueued(task.cast())
    }

    fn header(&self) -> &Header {
        // SAFETY: live, and begins with its header; only that is referred to.
        unsafe { self.0.cast::<Header>().as_ref() }
    }

    /// Runs it. If it waits it stays as it is; else its closure is gone.
    ///
    /// # Safety
    /// It is run once. `value` is what it was made for, and the caller's alone.
    unsafe fn run<T>(&self, value: *mut T) -> Result<Polled<R>, Box<dyn Any + Send>>
    where
        F: Body<T, R>,
    {
        // SAFETY: live.
        let stage = unsafe { self.0.as_ref() }.stage.with_mut(|stage| stage);
        // SAFETY: the stage holds the closure, which is ours; the rest by the contract.
        catch_unwind(AssertUnwindSafe(|| unsafe {
            F::call(&raw mut (*stage).closure, value)
        }))
    }

    /// From now on it is like any other that was claimed and queued.
    fn into_waiting(self) -> (Queued, Handle<R>) {
        let header = self.0.cast();
        (Queued::from_header(header), Handle::from_header(header))
    }

    /// # Safety
    /// Its closure is gone.
    unsafe fn free(self) {
        // SAFETY: made by `Box`, and nobody else refers to it. Its stage is not dropped.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
