//! The end of a resource: closing it, cancelling its tasks, taking its value, and healing it.
//!
//! Each call passes to the core (`raw::ending`, `raw::run::reclaim`), or returns a future of
//! `future::closed`. The guide's chapter on the life cycle compares the calls.

use crate::error::HealError;
use crate::future::closed::{self, Closed, Closing, IntoInner};
use crate::raw::core::{Core, Value};
use crate::resource::Resource;
use crate::sync::{Arc, Weak};
use std::time::Duration;

/// # Life cycle
impl<T: Send + 'static> Resource<T> {
    /// Closes the resource: later submissions are refused, and accepted tasks still run.
    ///
    /// A submission that races with `close` is either refused, or accepted before the close. The
    /// end of the resource waits for each accepted task. `close` may be called from anywhere, also
    /// inside a task, and more than once. In the guide: [life cycle](crate::guide::life_cycle).
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

    /// Checks whether the resource is closed.
    ///
    /// ```
    /// assert!(!captor::Resource::new(()).is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().is_closed()
    }

    /// Returns a future that resolves once the resource is closed and no task is queued or running.
    ///
    /// This does not close the resource, and neither does dropping the last handle. If nobody calls
    /// [`close`](Self::close), the future never resolves.
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

    /// Blocks until the resource is closed and no task is queued or running, for at most `timeout`.
    ///
    /// Returns `false` if the resource has not ended by then. Returns `false` at once if the wait
    /// could never end: the caller is inside a task of this resource, or the wait would close a
    /// circle of waits across resources.
    ///
    /// # In async code
    /// `wait_closed` blocks the thread. Await [`closed`](Self::closed), in the runtime's timeout.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let r = captor::Resource::new(());
    /// assert!(!r.wait_closed(Duration::from_millis(1)));
    /// r.close();
    /// assert!(r.wait_closed(Duration::from_secs(1)));
    /// ```
    #[must_use = "the result says whether the resource ended in time"]
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        let core = Arc::clone(self.core()) as Arc<Core<dyn Value>>;
        closed::wait(&core, timeout)
    }

    /// Closes the resource, and returns a future of its value.
    ///
    /// When this call returns, the resource is closed for all its handles, even if the future is
    /// never awaited. The future resolves when all accepted tasks have finished. Under every panic
    /// policy, the future gives the value back. To find out whether a panic poisoned the resource,
    /// call [`is_poisoned`](Resource::is_poisoned) first. If several handles ask for the value, one
    /// handle gets the value. The others get [`TaskError::Closed`](crate::TaskError::Closed).
    ///
    /// A task of the resource may call this, and pass the future to code outside of the task, which
    /// awaits the future there.
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

    /// Cancels the tasks that are queued, and an [asynchronous task](Self::submit_async) that
    /// waits; returns how many tasks were cancelled.
    ///
    /// Before this call returns, the closures of queued tasks are dropped on this thread, and their
    /// completions resolve to [`TaskError::Cancelled`](crate::TaskError::Cancelled). Threads that
    /// block in [`with`](Self::with) get this error too. An asynchronous task that waits resolves a
    /// little later, when a worker has dropped its future. The running task is asked to stop: see
    /// [`cancel_token`](crate::cancel_token). The cost is O(tasks queued).
    ///
    /// If an item of [`attach`](Self::attach) or a tick of [`every`](Self::every) is queued, that
    /// task is cancelled too, and with it the whole attachment. Tasks that `submit_after`,
    /// `submit_when` and `submit_steps` have not queued yet are not cancelled.
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
    ///     let _ = gate.recv();
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

    /// [Closes](Self::close) the resource and [cancels its tasks](Self::cancel_pending); returns
    /// how many tasks were cancelled.
    ///
    /// The resource ends as soon as the running task has finished. The running task is asked to
    /// stop. The cost is O(tasks queued).
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

    /// Heals a poisoned resource: runs `f` on the value, to repair the value, and then accepts
    /// tasks again.
    ///
    /// A resource is poisoned by a panic under [`PanicPolicy::Poison`](crate::PanicPolicy::Poison).
    /// A closed resource stays closed.
    ///
    /// `f` runs on this thread. Before that, the thread yields until the task that panicked has
    /// released the resource. The thread waits for nothing else, and never parks.
    ///
    /// # Errors
    /// - [`HealError::NotPoisoned`] if the resource is not poisoned.
    /// - [`HealError::Busy`] inside a task of the resource, or while another caller is still
    ///   healing the resource.
    /// - [`HealError::Panicked`] if `f` panicked. The resource stays poisoned.
    ///
    /// # Panics
    /// Never. A panic of `f` is an error.
    ///
    /// # In async code
    /// The thread runs `f`, and yields until the task that poisoned the resource has released the
    /// resource. If `f` is short, this is fine in async code.
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

    /// Checks whether a panic poisoned the resource.
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
