//! [`Trigger`]: a closure that runs once, however often the trigger is fired before that run.
//!
//! One word decides. Two bits say whether the closure is *wanted* and whether a task is *queued*
//! that will run the closure. The rest of the word counts *rounds*. A round ends when a task of the
//! trigger runs or is dropped unrun. `docs/design/composed.md` has the argument.
//!
//! | step | by | action | ordering |
//! |---|---|---|---|
//! | F1 | the caller of `fire` | sets *wanted*, and returns if *queued* is set | Release, for R1 |
//! | F2 | the caller of `fire` | submits a task; if refused, its drop is R1 | – |
//! | F3 | the caller of `fire` | sets *queued*, if the round is still that of F1 | Relaxed |
//! | R1 | the task, or its drop | ends the round | Acquire, for F1 |
//!
//! A task that runs does R1 first, and then calls the closure if *wanted* was set. The cases:
//!
//! - **A caller that joins a round gets its run.** F3 comes after the queue has accepted the task.
//!   Whether the task runs or is dropped, it ends the round.
//! - **Two callers fire before either has reached F3:** both queue a task. The second task finds
//!   that the closure is not wanted.
//! - **R1 comes between F1 and F3:** F3 finds another round and does nothing.
//! - **A task is dropped unrun:** R1 ends the round and leaves *wanted* as it is. A second caller
//!   may stand between F1 and F2, and that caller's task must run the closure.

use crate::error::SubmitError;
use crate::raw::submit::Admission;
use crate::raw::thread::panics;
use crate::resource::Resource;
use crate::resource::weak::WeakResource;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};
use std::fmt;

/// The closure must run. Each call of `fire` sets this bit at F1. A task that runs clears the bit
/// at R1, before it calls the closure. A task that is dropped unrun cannot clear the bit.
const WANTED: usize = 1;

/// A task is queued that will end this round. The caller of `fire` that queued the task sets this
/// bit at F3, after the queue has accepted the task. R1 clears the bit. The bit cannot be set for a
/// round that is over.
const QUEUED: usize = 1 << 1;

/// The number of the round, in units of this value. R1 adds one round. The number wraps around.
const ROUND: usize = 1 << 2;

/// A closure that a resource must run *some time after* an event, where one run is enough for many
/// events: a delivery after acknowledgements, a flush after writes. From [`Resource::trigger`].
///
/// However often the trigger is [fired](Self::fire) before its task runs, the closure runs once.
/// The run sees everything that was written before each of these calls. If the trigger is fired
/// while the closure runs, the closure runs once more afterwards.
///
/// A trigger is cheap to clone and has no type parameters, so it is easily stored. A trigger does
/// not keep the resource alive, so the resource's own value may hold the trigger. The closure keeps
/// alive whatever it captures: to use the resource in the closure, capture a [`WeakResource`].
///
/// # Panics of the closure
///
/// A panic is reported like a panic in [`execute`](Resource::execute). The panic ends only that call
/// of the closure. The closure keeps what it captured, and the next call of `fire` runs the closure
/// again, unless the panic [poisons](crate::PanicPolicy::Poison) the resource. The run that panicked
/// is not repeated.
///
/// # Cancellation
///
/// [`cancel_pending`](Resource::cancel_pending) cancels a queued task of the trigger like any task.
/// The calls of `fire` that this task would have served are forgotten. The next call of `fire`
/// queues a task again.
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
///         acknowledged.fire().unwrap(); // the first call queues a task, to run after this task
///     }
/// })?;
/// assert_eq!(topic.with(|t| t.deliveries), Ok(1));
/// # Ok::<(), captor::TaskError>(())
/// ```
#[derive(Clone)]
pub struct Trigger {
    inner: Arc<dyn Fire>,
}

/// # Coalescing
impl<T: Send + 'static> Resource<T> {
    /// Makes a trigger, which runs `f` once for all calls of [`fire`](Trigger::fire) before that
    /// run. Nothing is submitted before the trigger is fired. This costs one allocation. In the
    /// guide: [coalescing](crate::guide::coalescing).
    ///
    /// The trigger's task has the resource's default priority, no deadline and no name. The task
    /// needs no room in a [capacity](crate::ResourceBuilder::capacity). Under a load without a
    /// pause, the task runs in its turn.
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
    /// Asks for a run of the closure that begins after this call.
    ///
    /// If a task of this trigger is queued and has not started, the call joins that task. Joining
    /// allocates nothing and takes one atomic step. Otherwise the call submits a task as
    /// [`execute`](Resource::execute) does. On an idle resource, the closure runs before this call
    /// returns. Inside a task of the resource, the trigger's task is queued. `fire` never waits for
    /// another thread.
    ///
    /// # Errors
    /// Returns [`SubmitError::Closed`] if the resource is closed or gone, and
    /// [`SubmitError::Poisoned`] if the resource is poisoned. Nothing is queued then, so fire again
    /// after the resource is healed. A task that was queued before the close still runs.
    ///
    /// Never returns [`SubmitError::Full`], since a trigger's task needs no room in a
    /// [capacity](crate::ResourceBuilder::capacity).
    ///
    /// # Panics
    /// Never. [`Trigger`] says what happens to a panic of the closure.
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
        // F1. Release: partners with the Acquire of R1. If this step reads `QUEUED`, the R1 of that
        // round is a later read-modify-write of the same word. So R1 acquires what was written
        // before this call, whether the call joins or not. No Acquire: this step reads nothing that
        // other threads wrote, and F2 has edges of its own.
        let before = self.inner.state().fetch_or(WANTED, Ordering::Release);
        if before & QUEUED != 0 {
            return Ok(());
        }
        Arc::clone(&self.inner).queue(before / ROUND)
    }
}

/// The part of a trigger that a [`Trigger`] calls, for a value and a closure of any type.
trait Fire: Send + Sync {
    fn state(&self) -> &AtomicUsize;
    /// Does F2 and F3: queues a task, and sets `QUEUED` if `round` is not over.
    fn queue(self: Arc<Self>, round: usize) -> Result<(), SubmitError>;
}

struct Inner<T, F> {
    state: AtomicUsize,
    resource: WeakResource<T>,
    /// Only tasks of one resource lock the closure, so the lock is never contended. `None` when the
    /// closure is dropped.
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
        // The task needs no room. More than one task of this trigger is queued only if several
        // threads stand between F1 and F3 at the same time, so these tasks cannot fill a queue.
        resource.execute_as(move |value| turn.run(value), None, Admission::Reserved)?;
        // F3. Relaxed: only the place of this step in the order of the word matters. The round may
        // be over: then this step does nothing.
        let _ = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |s| {
                (s / ROUND == round).then_some(s | QUEUED)
            });
        Ok(())
    }
}

impl<T, F> Inner<T, F> {
    /// Does R1: ends the round, and returns whether the closure is wanted. If `runs`, clears
    /// `WANTED`.
    fn end_round(&self, runs: bool) -> bool {
        let kept = if runs { 0 } else { WANTED };
        let next = |s: usize| Some((s / ROUND * ROUND).wrapping_add(ROUND) | (s & kept));
        // Acquire: partners with the Release of every F1 of this round. Only read-modify-writes
        // have followed these steps, so R1 continues the release sequence of each F1.
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
        // R1 comes before the call of the closure: a thread that fires while the closure runs asks
        // for another run.
        if self.inner.end_round(true) {
            if let Some(f) = &mut *lock(&self.inner.f) {
                f(value);
            }
        }
    }
}

/// If the task is refused or cancelled, its drop does R1. The next call of `fire` queues a task
/// again.
impl<T, F> Drop for Turn<T, F> {
    fn drop(&mut self) {
        if !self.through {
            self.inner.end_round(false);
        }
    }
}

/// The closure's drop is user code, and runs on the thread that drops the last trigger.
impl<T, F> Drop for Inner<T, F> {
    fn drop(&mut self) {
        let f = lock(&self.f).take();
        panics::contain("drop of a trigger's closure", || drop(f));
    }
}

// A panic of the closure is contained, so no panic can leave a trigger in a broken state.
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
