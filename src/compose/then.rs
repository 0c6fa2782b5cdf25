//! [`Completion::then`]: a task that is queued when another is through.
//!
//! Both tasks are there from the start. A [`Follow`] joins them: it is the
//! waker of the first, and holds the second, not queued, beside the first's
//! completion. When it is woken it puts the first's result where the second's
//! closure takes it from, and queues it; or the second falls with the first.
//!
//! Whoever takes [`FollowState::WaitingTask`] out of the stage decides what becomes of
//! the second task; that is one of three:
//!
//! - the first completes: its waker runs once, after its outcome is in place;
//! - it had completed when the waker was to be put in place: then none is, and
//!   the caller of `then` goes on in its stead;
//! - it is cancelled through the completion of the second.
//!
//! The waker may run before the caller of `then` has put `WaitingTask` there; it
//! leaves `Woken` in that case, and the caller goes on. The mutex is held for a
//! move in and out, and no user code runs under it.
//!
//! A waker runs under the role of the first resource. A task of the second that
//! ran there would hold up the first's queue and be refused a wait for it, so it
//! is queued for others to run; and chains of any length do not nest.
//!
//! What comes first need not be a task: anything that an [`Antecedent`] can be.

use crate::error::{SubmitError, TaskError};
use crate::future::completion::Completion;
use crate::raw::core::{Core, Owner, Value};
use crate::raw::run::role::{queue, queue_for_others};
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
    /// Queues `f` on another resource once this task is through, with its
    /// result. No thread and no runtime waits meanwhile. In the guide:
    /// [continuations](crate::guide#continuations).
    ///
    /// Where the outcome is there already this is [`other.submit`]: on an idle
    /// resource `f` runs here and now. Otherwise the thread that completes this
    /// task queues it, for others to run; so its place in `other`'s order is
    /// that of a task which is submitted then. Two allocations. `other` is kept
    /// alive until then. It may be the same resource. The task has `other`'s default
    /// priority, no deadline and no name.
    ///
    /// # Errors
    /// If there is no result, `f` is dropped and the error is the outcome, a
    /// panic's payload included. If `other` refuses the task, for want of room or
    /// because it was closed meanwhile ([a shutdown](crate::Scheduler::shutdown)
    /// closes all at once), that is the outcome, and the result is dropped with `f`;
    /// a panic of `f` is.
    ///
    /// # Panics
    /// If the outcome was taken by polling before.
    ///
    /// # Cancellation
    /// [`cancel`](Self::cancel) of the completion that is returned flows
    /// upstream: if `f` is not queued yet it never will be, and this task is
    /// cancelled too if it has not started, since nobody is left to ask for it.
    /// (If it runs, it runs to its end.) If `f` is queued, it is cancelled like
    /// any task. [`cancel_on_drop`](Self::cancel_on_drop) passes on to what is
    /// returned. Without it, dropping that leaves everything running.
    ///
    /// # Waiting
    /// Inside a task, [`wait`](Self::wait) for the end of a chain needs each
    /// resource of it that is yet to do its part: it is refused with
    /// [`TaskError::WouldDeadlock`] if one of them waits for that task.
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

/// What a task follows on. (The word is that of .NET's continuations.)
pub(crate) trait Antecedent: Upstream + Send + 'static {
    type Output: Send + 'static;

    /// Has `waker` woken once it is through, and not before. `false`: it is.
    fn register(&mut self, waker: &Waker) -> bool;
    /// What came of it. Only once it is through.
    fn into_outcome(self) -> Result<Self::Output, TaskError>;
    /// Where it is, if it is a task that is not through.
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

/// Joins what is not through, as far as is known, with the task that comes next, on the
/// resource of `core`.
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

struct Follow<A: Antecedent, U> {
    stage: Mutex<FollowState<A, U>>,
    other: Weak<Core<U>>,
}

enum FollowState<A: Antecedent, U> {
    /// The caller of `then` is at work.
    Joining,
    /// It is, and what comes first is through.
    Woken,
    /// For what comes first.
    WaitingTask(WaitingTask<A, U>),
    /// The second task is queued, or about to be, with this.
    Passed(A::Output),
    /// Its closure was dropped unrun.
    Dropped,
    /// Nothing is left to do.
    Over,
}

struct WaitingTask<A, U> {
    first: A,
    task: Queued,
    other: Other<U>,
}

/// The resource of the second task.
pub(crate) enum Other<U> {
    /// Kept alive until that is queued.
    Kept(Arc<Core<U>>),
    /// If it is gone by then, the task falls as one that a closed resource refused.
    Weak(Weak<Core<U>>),
}

impl<U> Other<U> {
    /// If it is still there.
    fn core(self) -> Option<Arc<Core<U>>> {
        match self {
            Other::Kept(core) => Some(core),
            Other::Weak(core) => core.upgrade(),
        }
    }
}

/// Who queues the second task, or lets it fall.
#[derive(Clone, Copy)]
enum By {
    /// The caller of `then`, a submitter like others.
    Caller,
    /// The first task's waker.
    Waker,
}

impl By {
    fn queue(self, owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
        match self {
            By::Caller => queue(owner, task),
            By::Waker => queue_for_others(owner, task),
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

    /// Takes out what waits; leaves all other stages but `Joining` as they are.
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
    /// The first task's waker is in place.
    fn wait(&self, waiting: WaitingTask<A, U>) {
        let mut stage = lock(&self.stage);
        if let FollowState::Joining = *stage {
            *stage = FollowState::WaitingTask(waiting);
            return;
        }
        drop(stage);
        self.submit(waiting, By::Caller);
    }

    /// The first task is through: now for the second.
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

    /// Puts the result where the second task's closure takes it from. If that was
    /// cancelled and dropped meanwhile, nobody will.
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

/// Where the second task's closure finds the first's result. It goes with the
/// closure.
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
        // Beside the drop of the user's closure, and not to add to a panic of that.
        panics::contain("drop of a result", || drop(unused));
    }
}
