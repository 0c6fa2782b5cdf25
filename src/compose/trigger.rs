//! [`Trigger`]: a task that runs once however often it was asked for.
//!
//! One word decides. Its lower bits say whether the closure is wanted and
//! whether a task is queued that will see to it; the rest counts the *rounds*,
//! one of which ends whenever such a task runs or is dropped.
//!
//! ```text
//! fire    F1  want it                      in a round with a task queued: that was all
//!         F2  queue a task                 refused: its drop is R1
//!         F3  say so, if the round is still the one of F1
//! task    R1  end the round; run the closure if it is wanted
//! ```
//!
//! Who joins a round is not promised too much: F3 comes after the queue has
//! accepted the task, and whatever becomes of that task, it ends the round. Two
//! that fire before either has come to F3 queue a task each; the second finds
//! that nobody wants the closure any more. Between R1 and F3 of another round
//! nothing can be confused, since rounds are counted.
//!
//! A task that is dropped unrun ends the round too, but leaves it open whether
//! the closure is wanted: another may be between its F1 and F2, and that one's
//! task is to run it.

use crate::error::SubmitError;
use crate::raw::submit::Admission;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::resource::weak::WeakResource;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};
use std::fmt;

/// The closure is to run.
const WANTED: usize = 1;
/// A task is queued that will run it.
const QUEUED: usize = 1 << 1;
/// One round.
const ROUND: usize = 1 << 2;

/// A closure that a resource is to run *some time after* something happened,
/// and once is enough: a delivery after acknowledgements, a flush after writes.
/// From [`Resource::trigger`].
///
/// However often it is [fired](Self::fire) before its task runs, the closure
/// runs once, and sees what was written before each of those calls. Fired while
/// it runs, it runs once more, afterwards.
///
/// Cheap to clone, and without type parameters, so it is easily stored. It does
/// not keep the resource alive: it may lie in the resource's own value. (The
/// closure may; capture a [`WeakResource`] there.)
///
/// # Panics of the closure
///
/// They are reported as those of [`execute`](Resource::execute), and the trigger
/// works as before, unless the resource is
/// [poisoned](crate::PanicPolicy::Poison) by them.
///
/// # Cancellation
///
/// [`cancel_pending`](Resource::cancel_pending) takes a queued task of the
/// trigger out like any other. What it was fired for until then is forgotten
/// with it; the next time it is fired it queues again.
///
/// # Example
///
/// ```
/// use captor::Resource;
///
/// #[derive(Default)]
/// struct Topic {
///     acknowledged: Vec<u32>,
///     deliveries: u32,
/// }
///
/// let topic = Resource::new(Topic::default());
/// let deliver = topic.trigger(|t| t.deliveries += 1);
/// let acknowledged = deliver.clone();
/// topic.with(|t| {
///     for id in 0..100 {
///         t.acknowledged.push(id);
///         acknowledged.fire().unwrap(); // queued once, after this task
///     }
/// })?;
/// assert_eq!(topic.with(|t| t.deliveries), Ok(1));
/// # Ok::<(), captor::TaskError>(())
/// ```
#[derive(Clone)]
pub struct Trigger {
    inner: Arc<dyn Fire>,
}

impl<T: Send + 'static> Resource<T> {
    /// A task to be run once however often it was asked for; nothing is
    /// submitted before it is [fired](Trigger::fire). One allocation. In the guide:
    /// [coalescing](crate::guide#coalescing).
    ///
    /// Its task has the resource's default priority, no deadline and no name, and needs
    /// no room in a [capacity](crate::ResourceBuilder::capacity).
    ///
    /// ```
    /// let r = captor::Resource::new(0);
    /// let bump = r.trigger(|n| *n += 1);
    /// bump.fire()?;
    /// assert_eq!(r.with(|n| *n), Ok(1));
    /// # Ok::<(), captor::SubmitError>(())
    /// ```
    pub fn trigger<F>(&self, f: F) -> Trigger
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        Trigger {
            inner: Arc::new(Inner {
                state: AtomicUsize::new(0),
                resource: self.downgrade(),
                f: Mutex::new(Some(f)),
            }),
        }
    }
}

impl Trigger {
    /// Asks for a run that begins after this call.
    ///
    /// Where a task of this trigger is queued that has not started, that one
    /// will do: nothing is allocated, and it takes one atomic step. Otherwise
    /// this is [`execute`](Resource::execute): on an idle resource the closure
    /// runs here and now; inside a task of the resource it is queued. Never
    /// waits for another thread.
    ///
    /// # Errors
    /// [`SubmitError::Closed`], also if the resource is gone, and
    /// [`SubmitError::Poisoned`]: nothing is queued then, so fire again once it is
    /// healed. Never [`SubmitError::Full`]: a trigger's task needs no room in a
    /// [capacity](crate::ResourceBuilder::capacity). What was queued before still runs.
    ///
    /// # Panics
    /// Never; see [`Trigger`] for those of the closure.
    ///
    /// ```
    /// use captor::{Resource, SubmitError};
    ///
    /// let r = Resource::new(0);
    /// let bump = r.trigger(|n| *n += 1);
    /// bump.fire()?;
    /// drop(r);
    /// assert_eq!(bump.fire(), Err(SubmitError::Closed));
    /// # Ok::<(), SubmitError>(())
    /// ```
    pub fn fire(&self) -> Result<(), SubmitError> {
        // F1. Release: partners with the acquire half of R1. If this reads
        // `QUEUED`, the end of that round is a later read-modify-write of the
        // same word, so it acquires what was written before this call, joined
        // or not. Nothing is read here that others wrote: F2 has edges of its
        // own.
        let before = self.inner.state().fetch_or(WANTED, Ordering::Release);
        if before & QUEUED != 0 {
            return Ok(());
        }
        Arc::clone(&self.inner).queue(before / ROUND)
    }
}

/// What a trigger does, whatever its resource's type.
trait Fire: Send + Sync {
    fn state(&self) -> &AtomicUsize;
    /// Queues a task for the round.
    fn queue(self: Arc<Self>, round: usize) -> Result<(), SubmitError>;
}

struct Inner<T, F> {
    state: AtomicUsize,
    resource: WeakResource<T>,
    /// Locked by tasks of one resource, so never contended. `None` once dropped.
    f: Mutex<Option<F>>,
}

impl<T, F> Fire for Inner<T, F>
where
    T: Send + 'static,
    F: FnMut(&mut T) + Send + 'static,
{
    fn state(&self) -> &AtomicUsize {
        &self.state
    }

    fn queue(self: Arc<Self>, round: usize) -> Result<(), SubmitError> {
        let resource = self.resource.upgrade().ok_or(SubmitError::Closed)?;
        let turn = Turn {
            inner: Arc::clone(&self),
            through: false,
        };
        // However often it is fired, a thread or two queue it: so it needs no room.
        resource.execute_as(move |value| turn.run(value), None, Admission::Reserved)?;
        // F3. Relaxed: it tells of nothing but this word, whose order is what
        // counts. The round may be over.
        let _ = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |s| {
                (s / ROUND == round).then_some(s | QUEUED)
            });
        Ok(())
    }
}

impl<T, F> Inner<T, F> {
    /// R1: ends the round. Is the closure wanted? From now on it is not, if
    /// `runs`.
    fn end_round(&self, runs: bool) -> bool {
        let kept = if runs { 0 } else { WANTED };
        let next = |s: usize| Some((s / ROUND * ROUND).wrapping_add(ROUND) | (s & kept));
        // Acquire: partners with the Release of every F1 of this round, which
        // only read-modify-writes have followed.
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, next)
            .is_ok_and(|s| s & WANTED != 0)
    }
}

/// A queued task of a trigger.
struct Turn<T, F> {
    inner: Arc<Inner<T, F>>,
    through: bool,
}

impl<T, F: FnMut(&mut T)> Turn<T, F> {
    fn run(mut self, value: &mut T) {
        self.through = true;
        // Before the closure: who fires while it runs wants it to run again.
        if self.inner.end_round(true) {
            if let Some(f) = &mut *lock(&self.inner.f) {
                f(value);
            }
        }
    }
}

/// Refused or cancelled: who fires next is to queue again.
impl<T, F> Drop for Turn<T, F> {
    fn drop(&mut self) {
        if !self.through {
            self.inner.end_round(false);
        }
    }
}

/// The closure's drop is user code, wherever the last trigger goes.
impl<T, F> Drop for Inner<T, F> {
    fn drop(&mut self) {
        let f = lock(&self.f).take();
        panics::contain("drop of a trigger's closure", || drop(f));
    }
}

// As for a resource: a panic of the closure is contained.
impl std::panic::UnwindSafe for Trigger {}
impl std::panic::RefUnwindSafe for Trigger {}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state().load(Ordering::Relaxed);
        f.debug_struct("Trigger")
            .field("queued", &(state & QUEUED != 0))
            .finish_non_exhaustive()
    }
}
