//! The closure that a resource runs each time its queue runs empty.

use crate::future::completion::Completion;
use crate::resource::Resource;
use crate::sync::{Arc, Weak};

/// # When the queue runs empty
impl<T: Send + 'static> Resource<T> {
    /// Installs `f` as a hook that is called each time the queue has run empty.
    ///
    /// The hook can flush, commit or notify once for all tasks that ran since its last call. In the
    /// guide: [when the queue has run
    /// empty](crate::guide::coalescing#when-the-queue-has-run-empty).
    ///
    /// The hook is called like a task: with the value, by the thread that ran the last task, before
    /// any other thread can run a task. Inside the hook, [`current`](crate::current) returns
    /// `on_idle` as the task's name. Tasks that are submitted meanwhile run after the hook, and
    /// then the hook is called again. On a closed resource, the hook is called after the last task,
    /// before the resource counts as ended. On a poisoned resource, the hook is not called.
    ///
    /// The hook is in place once all tasks that were submitted earlier have finished. The
    /// completion resolves at that time. If [`cancel_pending`](Self::cancel_pending) cancelled the
    /// installation, the completion resolves to `Cancelled`. Installing the hook does not call `f`:
    /// a task must run first. A task that is cancelled or expires does not count.
    ///
    /// Setting a second hook replaces the first. If tasks have run since the first hook's last
    /// call, the second hook is called for those tasks.
    ///
    /// A resource with a hook never takes the fastest path: a task that finds the resource idle
    /// costs some hundred nanoseconds more, and the call of the hook. Keep `f` short: on an idle
    /// resource, the submitter waits for the hook.
    ///
    /// # Errors
    /// Errors arrive through the completion, as for [`submit`](Self::submit). The hook needs no
    /// room, so the error is never [`TaskError::Full`](crate::TaskError::Full).
    ///
    /// # Panics
    /// A panic of `f` is reported through `tracing`, like the panic of a task that nobody waits
    /// for. With [`PanicPolicy::Poison`](crate::PanicPolicy::Poison), the panic poisons the
    /// resource. The statistics do not count the panic as a task's.
    ///
    /// The panic ends only that call of `f`. `f` keeps what it captured, and stays in place as the
    /// hook. The call that panicked is not repeated: the next call comes after another task.
    ///
    /// ```
    /// use captor::Resource;
    ///
    /// #[derive(Default)]
    /// struct Log { lines: Vec<u32>, flushed: usize, flushes: u32 }
    ///
    /// let log = Resource::new(Log::default());
    /// log.on_idle(|log| {
    ///     assert_eq!(captor::current().unwrap().task_name(), Some("on_idle"));
    ///     log.flushed = log.lines.len();
    ///     log.flushes += 1;
    /// }).wait()?;
    /// let inside = log.clone();
    /// log.execute(move |_| {
    ///     for n in 0..5 {
    ///         inside.execute(move |log| log.lines.push(n)).unwrap(); // queued
    ///     }
    /// })?;
    /// let seen = log.with(|log| (log.flushed, log.flushes))?;
    /// assert_eq!(seen, (5, 1));
    /// # Ok::<(), captor::TaskError>(())
    /// ```
    pub fn on_idle<F>(&self, f: F) -> Completion<()>
    where
        F: FnMut(&mut T) + Send + 'static,
    {
        match self.core.queue_hook(f) {
            Ok(task) => Completion::queued(task, Arc::downgrade(&self.core) as Weak<_>),
            Err(error) => Completion::ready(Err(error)),
        }
    }
}
