//! [`Completion::then`]: a task that is queued when another task has finished. The argument is in
//! `docs/design/composed.md`.
//!
//! Both tasks exist from the start. A [`Follow`] joins them: it is the waker of the first task, and
//! keeps the second task, not queued, beside the first task's completion. When the first task wakes
//! the `Follow`, the `Follow` passes the result on and queues the second task. If the first task
//! has no result, the second task *falls*: it resolves to the error without being queued.
//!
//! The stage of a `Follow` is a [`FollowState`] under a mutex. The thread that takes
//! [`FollowState::WaitingTask`] out of the stage decides what happens to the second task. The
//! thread is one of three:
//!
//! - the first task's waker, which runs once, after the first task's outcome is in place;
//! - a canceller, through the second task's completion;
//! - the caller of `then`, if the first task finished before the caller could put `WaitingTask` in
//!   place.
//!
//! The third case has two forms:
//!
//! - The first task has finished when the caller registers the waker. No waker is put in place, and
//!   the caller continues in its stead.
//! - The waker runs before the caller has put `WaitingTask` in place. The waker leaves `Woken`
//!   behind, and the caller continues.
//!
//! The mutex is held only to move a stage in or out. No user code runs under the mutex.
//!
//! A waker runs under the role of the first resource. A second task that ran there would hold up
//! the first resource's queue, and would be refused a wait for that resource. So the waker queues
//! the second task for other threads. Chains of any length therefore do not nest.
//!
//! The first link need not be a task: [`Antecedent`] is the trait of everything that a task can
//! follow.

use crate::error::{SubmitError, TaskError};
use crate::future::completion::Completion;
use crate::raw::core::{Core, Owner, Value};
use crate::raw::run::role::{push_for_others, push_task};
use crate::raw::task::body::Once;
use crate::raw::task::handle::Handle;
use crate::raw::task::queued::Queued;
use crate::raw::thread::panics;
use crate::raw::waiting::chain::{Continuation, Fallen, Origin, Upstream, fall, fall_with_others};
use crate::resource::Resource;
use crate::sync::{Arc, Mutex, Weak, lock};
use std::mem::replace;
use std::task::{Wake, Waker};

impl<R: Send + 'static> Completion<R> {
    /// Queues `f` on another resource when this task has finished, with its result. No thread and
    /// no runtime waits meanwhile. In the guide: [batches, joins,
    /// continuations](crate::guide::batches_and_continuations).
    ///
    /// If this task has finished already, the call continues as [`other.submit`]: on an idle
    /// resource, `f` runs before this call returns. Otherwise the thread that completes this task
    /// queues `f`, for other threads to run. So `f` has its place in `other`'s order as if it were
    /// submitted at that moment, and `other` is kept alive until then. This costs two allocations.
    /// `other` may be the resource of this task. The task of `f` has `other`'s default priority, no
    /// deadline and no name.
    ///
    /// # Errors
    /// Errors arrive through the completion that is returned.
    ///
    /// - If this task has no result, `f` is dropped and this task's error is the outcome, with the
    ///   payload of a panic.
    /// - If `other` refuses the task of `f`, the refusal is the outcome, and the result is dropped
    ///   with `f`. `other` refuses the task if there is no room, or if `other` was closed
    ///   meanwhile. [A shutdown](crate::Scheduler::shutdown) closes all resources at once.
    /// - If `f` panics, the panic is the outcome.
    ///
    /// # Panics
    /// Panics if the outcome was taken by polling before.
    ///
    /// # Cancellation
    /// [`cancel`](Self::cancel) of the returned completion flows upstream. If `f` is not queued
    /// yet, `f` is never queued. This task is then cancelled too if it has not started, since no
    /// caller is left to ask for its result. A task that already runs continues to its end. If `f`
    /// is queued, `f` is cancelled like any task.
    ///
    /// If this completion has [`cancel_on_drop`](Self::cancel_on_drop), the returned completion has
    /// it too. Without it, dropping the returned completion leaves everything running.
    ///
    /// # Waiting
    /// Inside a task, a [`wait`](Self::wait) for the end of a chain needs each resource of the
    /// chain that has yet to do its part. If one of these resources waits for the task, the wait is
    /// refused with [`TaskError::WouldDeadlock`].
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// let stock = Resource::new(3);
    /// let orders = Resource::new(Vec::new());
    /// let booked = stock
    ///     .submit(|apples| {
    ///         *apples -= 1;
    ///         *apples
    ///     })
    ///     .then(&orders, |orders, left| {
    ///         orders.push(format!("one apple, {left} left"));
    ///         orders.len()
    ///     });
    /// assert_eq!(booked.wait(), Ok(1));
    /// ```
    ///
    /// An error flows through, and nothing is queued:
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    ///
    /// let (closed, other) = (Resource::new(()), Resource::new(0));
    /// closed.close();
    /// let end = closed.submit(|_| 1).then(&other, |sum, n| *sum += n);
    /// assert_eq!(end.wait(), Err(TaskError::Closed));
    /// assert_eq!(other.stats().submitted, 0);
    /// ```
    ///
    /// [`other.submit`]: Resource::submit
    pub fn then<U, S, F>(mut self, other: &Resource<U>, f: F) -> Completion<S>
    where
        U: Send + 'static,
        S: Send + 'static,
        F: FnOnce(&mut U, R) -> S + Send + 'static,
    {
        let cancels = self.take_cancel_on_drop();
        self.forget_awaiter();
        let end = if self.is_finished() {
            match self.into_outcome() {
                Ok(result) => other.submit(move |value| f(value, result)),
                Err(error) => Completion::ready(Err(panics::refused(error, f))),
            }
        } else {
            follow(self, Other::Kept(Arc::clone(other.core())), other.core(), f)
        };
        if cancels { end.cancel_on_drop() } else { end }
    }
}

/// An event that a task follows. The word is taken from .NET's continuations.
pub(crate) trait Antecedent: Upstream + Send + 'static {
    type Output: Send + 'static;

    /// Registers `waker`, to be woken once, when the event has come. Returns `false` if the event
    /// has come already: the waker is not woken then.
    fn register(&mut self, waker: &Waker) -> bool;
    /// Returns the outcome. Must be called only after the event has come.
    fn into_outcome(self) -> Result<Self::Output, TaskError>;
    /// Returns where the task is, if the event is the end of a task that has not finished.
    fn origin(&self) -> Option<Origin>;
}

impl<R: Send + 'static> Antecedent for Completion<R> {
    type Output = R;

    fn register(&mut self, waker: &Waker) -> bool {
        Completion::register(self, waker)
    }

    fn into_outcome(self) -> Result<R, TaskError> {
        Completion::into_outcome(self)
    }

    fn origin(&self) -> Option<Origin> {
        Completion::origin(self)
    }
}

/// Makes a task of `f` on the resource of `core`, which is queued when `first` has come. `first`
/// may come while this runs.
pub(crate) fn follow<A, U, S, F>(
    mut first: A,
    other: Other<U>,
    core: &Arc<Core<U>>,
    f: F,
) -> Completion<S>
where
    A: Antecedent,
    U: Send + 'static,
    S: Send + 'static,
    F: FnOnce(&mut U, A::Output) -> S + Send + 'static,
{
    let follow = Arc::new(Follow {
        stage: Mutex::new(FollowState::Joining),
        other: Arc::downgrade(core),
    });
    let result = ResultSlot(Arc::clone(&follow));
    let body = Once(move |value: &mut U| f(value, result.take()));
    let (task, handle) = Handle::with_task::<U, _>(body, core.tag(None));
    let pending = first.register(&Waker::from(Arc::clone(&follow)));
    let waiting = WaitingTask { first, task, other };
    if pending {
        follow.wait(waiting);
    } else {
        follow.submit(waiting, By::Caller);
    }
    Completion::linked(handle, follow)
}

/// Joins a first event, usually the end of a task, with a second task. The waker of the first.
struct Follow<A: Antecedent, U> {
    stage: Mutex<FollowState<A, U>>,
    other: Weak<Core<U>>,
}

/// The stage of a [`Follow`].
enum FollowState<A: Antecedent, U> {
    /// The caller of `then` has not put `WaitingTask` in place yet. The stage from birth.
    Joining,
    /// The waker has run over `Joining`. The caller of `then` continues in its stead.
    Woken,
    /// The second task waits for the first. The caller of `then` sets this stage over `Joining`.
    WaitingTask(WaitingTask<A, U>),
    /// The result of the first task. The second task is queued, or about to be queued. Set by the
    /// thread that queues the second task.
    Passed(A::Output),
    /// The second task's closure was dropped unrun. Set by that drop.
    Dropped,
    /// The second task has fallen, was cancelled, or has taken the result.
    Over,
}

/// A second task that waits for a first event.
struct WaitingTask<A, U> {
    first: A,
    task: Queued,
    other: Other<U>,
}

/// The resource of the second task.
pub(crate) enum Other<U> {
    /// The resource is kept alive until the second task is queued.
    Kept(Arc<Core<U>>),
    /// The resource is not kept alive. If the resource is gone when the first event comes, the
    /// second task falls with `Closed`.
    Weak(Weak<Core<U>>),
}

impl<U> Other<U> {
    /// Returns the resource if it still exists.
    fn core(self) -> Option<Arc<Core<U>>> {
        match self {
            Other::Kept(core) => Some(core),
            Other::Weak(core) => core.upgrade(),
        }
    }
}

/// The actor that queues the second task, or lets it fall.
#[derive(Clone, Copy)]
enum By {
    /// The caller of `then`, which is a submitter like any other. A canceller also lets tasks fall
    /// in this way.
    Caller,
    /// The first task's waker.
    Waker,
}

impl By {
    fn queue(self, owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
        match self {
            By::Caller => push_task(owner, task),
            By::Waker => push_for_others(owner, task),
        }
    }

    fn fall(self, fallen: Fallen) {
        match self {
            By::Caller => fall(fallen),
            By::Waker => fall_with_others(fallen),
        }
    }
}

impl<A: Antecedent, U> Follow<A, U> {
    fn set(&self, stage: FollowState<A, U>) -> FollowState<A, U> {
        replace(&mut *lock(&self.stage), stage)
    }

    /// Takes `WaitingTask` out of the stage and leaves `Over`. Over `Joining`, leaves `Woken`. Any
    /// other stage stays.
    fn take_waiting(&self) -> Option<WaitingTask<A, U>> {
        let mut stage = lock(&self.stage);
        match replace(&mut *stage, FollowState::Over) {
            FollowState::WaitingTask(waiting) => return Some(waiting),
            FollowState::Joining => *stage = FollowState::Woken,
            other => *stage = other,
        }
        None
    }
}

impl<A: Antecedent, U: Send + 'static> Follow<A, U> {
    /// Puts `WaitingTask` in place, now that the first task's waker is registered. If the waker has
    /// run in the meantime, queues the second task.
    fn wait(&self, waiting: WaitingTask<A, U>) {
        let mut stage = lock(&self.stage);
        if let FollowState::Joining = *stage {
            *stage = FollowState::WaitingTask(waiting);
            return;
        }
        drop(stage);
        self.submit(waiting, By::Caller);
    }

    /// Queues the second task, or lets it fall. Must be called by the thread that took `waiting`
    /// out of the stage, after the first event has come.
    fn submit(&self, waiting: WaitingTask<A, U>, by: By) {
        let WaitingTask { first, task, other } = waiting;
        let other = other.core();
        let refused = match (first.into_outcome(), &other) {
            (Ok(result), Some(other)) => {
                self.pass(result);
                if let Some(meta) = task.meta() {
                    meta.is_queued(other.host().clock());
                }
                let queued = match other.take_room_for(&task) {
                    Ok(()) => by.queue(other, task),
                    Err(error) => Err((error, task)),
                };
                match queued {
                    Ok(()) => return,
                    Err((error, task)) => (error.into(), task),
                }
            }
            (Ok(unused), None) => {
                self.set(FollowState::Over);
                panics::contain("drop of a result", || drop(unused));
                (TaskError::Closed, task)
            }
            (Err(error), _) => {
                self.set(FollowState::Over);
                (error, task)
            }
        };
        let (error, task) = refused;
        let core = other.map(|core| core as Arc<Core<dyn Value>>);
        by.fall(Fallen { core, task, error });
    }

    /// Puts the result where the second task's closure takes it from. If a canceller has claimed
    /// the second task and dropped its closure, the result is dropped.
    fn pass(&self, result: A::Output) {
        let mut stage = lock(&self.stage);
        if let FollowState::Dropped = *stage {
            drop(stage);
            panics::contain("drop of a result", || drop(result));
        } else {
            *stage = FollowState::Passed(result);
        }
    }
}

impl<A: Antecedent, U: Send + 'static> Wake for Follow<A, U> {
    fn wake(self: Arc<Self>) {
        if let Some(waiting) = self.take_waiting() {
            self.submit(waiting, By::Waker);
        }
    }
}

impl<A: Antecedent, U: Send + 'static> Continuation for Follow<A, U> {
    fn cancel(&self) -> Option<Box<dyn Upstream>> {
        let WaitingTask { first, task, other } = self.take_waiting()?;
        let core = other.core().map(|core| core as Arc<Core<dyn Value>>);
        let error = TaskError::Cancelled;
        fall(Fallen { core, task, error });
        Some(Box::new(first))
    }

    fn resource(&self) -> Weak<Core<dyn Value>> {
        Weak::clone(&self.other) as Weak<Core<dyn Value>>
    }

    fn waits(&self) -> bool {
        matches!(*lock(&self.stage), FollowState::WaitingTask(_))
    }

    fn origin(&self) -> Option<Origin> {
        match &*lock(&self.stage) {
            FollowState::WaitingTask(waiting) => waiting.first.origin(),
            _ => None,
        }
    }
}

/// The place from which the second task's closure takes the first result. Dropped with the closure.
struct ResultSlot<A: Antecedent, U>(Arc<Follow<A, U>>);

impl<A: Antecedent, U> ResultSlot<A, U> {
    fn take(self) -> A::Output {
        match self.0.set(FollowState::Over) {
            FollowState::Passed(result) => result,
            _ => unreachable!("the task was queued without the result"),
        }
    }
}

impl<A: Antecedent, U> Drop for ResultSlot<A, U> {
    fn drop(&mut self) {
        let unused = self.0.set(FollowState::Dropped);
        // Contained: if the drop of the user's closure panics, a second panic would abort.
        panics::contain("drop of a result", || drop(unused));
    }
}
