//! The end of a resource: closing it, cancelling its tasks, taking its value, healing it.

use crate::error::HealError;
use crate::future::closed::{self, Closed, Closing, IntoInner};
use crate::raw::core::{Core, Value};
use crate::resource::Resource;
use crate::sync::{Arc, Weak};
use std::time::Duration;

impl<T: Send + 'static> Resource<T> {
    /// Refuses every task from now on. What was accepted before still runs.
    ///
    /// A submission that races with this is either refused or accounted for.
    /// May be called from anywhere, from inside a task too, and more than once.
    ///
    /// ```
    /// use captor::{Resource, SubmitError};
    /// let r = Resource::new(0);
    /// r.close();
    /// assert_eq!(r.execute(|n| *n += 1), Err(SubmitError::Closed));
    /// ```
    pub fn close(&self) {
        self.core().close();
    }

    /// Has [`close`](Self::close) been called?
    ///
    /// ```
    /// assert!(!captor::Resource::new(()).is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().is_closed()
    }

    /// Resolves once the resource is closed and nothing is queued or running.
    /// Does not close it, and neither does the last handle that goes: without a call of
    /// [`close`](Self::close) it never resolves.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let r = captor::Resource::new(());
    /// r.close();
    /// r.closed().await;
    /// # });
    /// ```
    pub fn closed(&self) -> Closed {
        Closed::new(Arc::clone(self.core()) as Arc<Core<dyn Value>>)
    }

    /// Blocks until the resource is closed and nothing is queued or running,
    /// for `timeout` at most. `false` if it was not so by then, and at once
    /// where it would wait for itself: inside a task of this resource, or of
    /// one that a task of it waits for.
    ///
    /// # In async code
    /// It blocks the thread: await [`closed`](Self::closed), in the runtime's
    /// timeout.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let r = captor::Resource::new(());
    /// assert!(!r.wait_closed(Duration::from_millis(1)));
    /// r.close();
    /// assert!(r.wait_closed(Duration::from_secs(1)));
    /// ```
    #[must_use = "whether it was closed in time is the answer"]
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        let core = Arc::clone(self.core()) as Arc<Core<dyn Value>>;
        closed::wait(&core, timeout)
    }

    /// Closes the resource, and gives its value back once everything that it
    /// accepted is through.
    ///
    /// The resource is closed when this returns, for all its handles, whether or
    /// not the result is awaited. The value comes out whatever the panic policy
    /// says: [`is_poisoned`](Resource::is_poisoned) tells before. Of several handles
    /// that ask for it, one gets it; the others get [`TaskError::Closed`].
    ///
    /// A task of the resource may call this, and pass the future to somebody who
    /// awaits it outside.
    ///
    /// ```
    /// use captor::{Resource, TaskError};
    ///
    /// # futures::executor::block_on(async {
    /// let total = Resource::new(0);
    /// let other = total.clone();
    /// total.execute(|t| *t += 2)?;
    /// assert_eq!(total.into_inner().await, Ok(2));
    /// assert_eq!(other.submit(|t| *t).await, Err(TaskError::Closed));
    /// # Ok::<(), captor::SubmitError>(())
    /// # }).unwrap();
    /// ```
    pub fn into_inner(self) -> IntoInner<T> {
        IntoInner::new(self.core)
    }

    /// Cancels what is queued and has not started, and an [asynchronous
    /// task](Self::submit_async) that waits; returns how many tasks that
    /// were. Their closures are dropped here, their completions resolve to
    /// [`TaskError::Cancelled`] before this returns, threads blocked in
    /// [`with`](Self::with) among them. The task that runs is asked to stop: see
    /// [`cancel_token`](crate::cancel_token). O(tasks queued).
    ///
    /// An item of [`attach`](Self::attach) or a tick of [`every`](Self::every) that is
    /// queued is cancelled too, and with it the whole attachment. What is to be queued
    /// later (`submit_after`, `submit_when`, `submit_steps`) is not touched.
    ///
    /// ```
    /// use captor::{Dispatch, Resource, TaskError};
    /// use std::sync::mpsc;
    ///
    /// let r = Resource::builder().dispatch(Dispatch::Pool).build(())?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// let (started, running) = mpsc::channel();
    /// r.execute(move |_| {
    ///     started.send(()).unwrap();
    ///     gate.recv()
    /// })?;
    /// running.recv().unwrap();
    /// let second = r.submit(|_| ());
    /// assert_eq!(r.cancel_pending(), 1);
    /// assert_eq!(second.wait(), Err(TaskError::Cancelled));
    /// # drop(go);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_pending(&self) -> usize {
        self.core().cancel_pending()
    }

    /// [Closes](Self::close) the resource and
    /// [cancels what is pending](Self::cancel_pending), so that it ends as soon as
    /// the task that runs does; returns how many tasks were cancelled. O(tasks
    /// queued).
    ///
    /// ```
    /// use captor::{Resource, SubmitError};
    /// let r = Resource::new(0);
    /// assert_eq!(r.close_now(), 0);
    /// assert_eq!(r.execute(|n| *n += 1), Err(SubmitError::Closed));
    /// ```
    pub fn close_now(&self) -> usize {
        self.core().close();
        self.core().stop_for_good();
        self.core().cancel_pending()
    }

    /// Heals a resource that a panic poisoned
    /// ([`PanicPolicy::Poison`](crate::PanicPolicy::Poison)): runs `f` on the
    /// value, to repair it, and then lets tasks in again. (A closed resource
    /// stays closed.)
    ///
    /// Runs `f` on this thread. It waits, yielding, for the task that is just
    /// ending, and for nothing else: it does not park.
    ///
    /// # Errors
    /// [`HealError::NotPoisoned`], [`HealError::Busy`] from inside a task of
    /// the resource or while another caller is still healing it, and
    /// [`HealError::Panicked`] if `f` panicked; it stays poisoned then.
    ///
    /// # Panics
    /// Never for a panic of `f`: that is an error.
    ///
    /// # In async code
    /// The thread runs `f`, and yields until the task that poisoned the resource has
    /// let go of it: fine where `f` is short.
    ///
    /// ```
    /// use captor::{PanicPolicy, Resource, TaskError};
    ///
    /// let r = Resource::builder().panic_policy(PanicPolicy::Poison).build(1)?;
    /// let _ = r.with(|n| {
    ///     *n = -1;
    ///     panic!("half done");
    /// });
    /// assert_eq!(r.with(|n| *n), Err(TaskError::Poisoned));
    /// r.clear_poison(|n| *n = 0)?;
    /// assert_eq!(r.with(|n| *n), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_poison<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, HealError> {
        self.core().heal(f)
    }

    /// Did a panic poison the resource?
    ///
    /// ```
    /// assert!(!captor::Resource::new(()).is_poisoned());
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.core().refusal().poisoned
    }

    pub(crate) fn closing(&self) -> Closing {
        Closing::new(Arc::downgrade(self.core()) as Weak<Core<dyn Value>>)
    }
}
