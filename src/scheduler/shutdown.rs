//! Shuts a scheduler down: closes its resources, waits for their ends, then stops the workers or
//! waits for the executor's jobs. `docs/design/resources.md` describes the registry behind it.

use crate::error::{ShutdownError, Unfinished};
use crate::future::closed;
use crate::raw::core::{Core, Instead, Value};
use crate::raw::thread::{context, panics};
use crate::scheduler::Scheduler;
use crate::sync::{Arc, pause};
use std::time::{Duration, Instant};

impl Scheduler {
    /// Shuts the scheduler down. The shutdown closes the scheduler's resources and waits until all
    /// accepted tasks have finished. Then the shutdown stops the workers and waits until they have
    /// ended. All waits together last at most `timeout`. Returns `true` if everything has ended by
    /// then. In the guide: [life cycle](crate::guide::life_cycle).
    ///
    /// **A shutdown closes all resources at once.** If a task that is still queued submits to
    /// another of these resources, the submission is refused. The second task of a
    /// [`then`](crate::Completion::then) is refused too, unless the first task has finished. If
    /// tasks of one resource feed another resource, end the resources in the direction of the flow:
    ///
    /// 1. Close the upstream resource, by [`close`](crate::Resource::close).
    /// 2. Wait for its end, by [`wait_closed`](crate::Resource::wait_closed) or
    ///    [`closed`](crate::Resource::closed).
    /// 3. Close the next resource and wait for its end. After the last resource, shut down.
    ///
    /// **When the timeout is over**, captor logs a warning that lists the resources with tasks
    /// left. [`try_shutdown`](Self::try_shutdown) returns this list as an error. The resources stay
    /// closed and the workers stopped: the remaining tasks run, and the workers end after them.
    /// Call this again to wait longer.
    ///
    /// **The [global](Self::global) scheduler** closes its *named* resources only. Its unnamed
    /// resources stay open.
    ///
    /// **After a shutdown**, new resources are open and work, on every scheduler. The scheduler has
    /// no workers any more, so each hand-off gets a thread of its own.
    ///
    /// **On one of the scheduler's own workers**, or in a job that its executor runs, the shutdown
    /// closes the resources and stops the workers, but does not wait. The call returns `false`.
    ///
    /// **Inside a task**, the shutdown does not wait for that task's resource, which counts as
    /// left. If work that was handed off waits for the task, the shutdown waits in vain: give a
    /// `timeout` there.
    ///
    /// **With an executor**, there are no workers. The shutdown waits until the jobs that the
    /// executor was given have finished.
    ///
    /// # In async code
    /// A shutdown blocks the thread. Call it on a thread that may block, for example inside tokio's
    /// `spawn_blocking`.
    ///
    /// ```
    /// use captor::{Scheduler, SubmitError};
    ///
    /// let scheduler = Scheduler::builder().workers(1).build()?;
    /// let r = scheduler.resource(0);
    /// let last = r.submit(|n| *n += 1);
    /// assert!(scheduler.shutdown(std::time::Duration::from_secs(5)));
    /// assert!(last.is_finished());
    /// assert_eq!(r.execute(|n| *n += 1), Err(SubmitError::Closed));
    /// # Ok::<(), captor::BuildError>(())
    /// ```
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.try_shutdown(timeout).is_ok()
    }

    /// Shuts the scheduler down, as [`shutdown`](Self::shutdown) does, and returns what is left.
    /// [`shutdown`](Self::shutdown) also says in what order to close resources that feed each
    /// other.
    ///
    /// # Errors
    /// Returns a [`ShutdownError`] that lists the resources with tasks left, and says whether
    /// threads still run. Call this again to wait longer.
    ///
    /// # In async code
    /// A shutdown blocks the thread. Call it on a thread that may block, for example inside tokio's
    /// `spawn_blocking`.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().workers(1).build()?;
    /// scheduler.try_shutdown(std::time::Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        // A deadline that an `Instant` cannot hold counts as no deadline.
        let deadline = self.host.after(timeout);
        // A worker of this scheduler would wait for itself.
        let waits = !context::works_for(self.host.id());
        let unfinished = self.close_resources(waits, deadline);
        if let Some(pool) = &self.pool {
            pool.close();
        }
        let threads = !(waits && self.join(deadline));
        let resources: Vec<_> = unfinished
            .iter()
            .filter(|core| !core.has_ended())
            .map(|core| Unfinished {
                name: core.settings().name.clone(),
                outstanding: core.stats().outstanding,
            })
            .collect();
        if resources.is_empty() && !threads {
            return Ok(());
        }
        let error = ShutdownError { resources, threads };
        panics::log_safely(
            || tracing::warn!(target: "captor", left = %error, "a shutdown left tasks or threads"),
        );
        Err(error)
    }

    /// Closes all resources and, if `waits`, waits until they have ended. Returns the resources
    /// that have not ended.
    fn close_resources(&self, waits: bool, deadline: Option<Instant>) -> Vec<Arc<Core<dyn Value>>> {
        loop {
            let live = self.host.registry.live();
            let opened = live.iter().filter(|core| core.close()).count();
            let mut unfinished = live;
            unfinished.retain(|core| !(core.has_ended() || waits && ends(core, deadline)));
            // Tasks that still ran may have made more resources, so this looks again until it finds
            // none that was open.
            if opened == 0 || deadline.is_some_and(|d| self.now() >= d) {
                return unfinished;
            }
        }
    }

    /// Waits until the workers or the executor's jobs have ended. Returns `false` if the deadline
    /// comes first.
    fn join(&self, deadline: Option<Instant>) -> bool {
        context::block(|| match &self.pool {
            Some(pool) => pool.join(deadline),
            None => self.join_executor(deadline),
        })
    }

    fn join_executor(&self, deadline: Option<Instant>) -> bool {
        // An executor gives no signal when its jobs have finished, so this polls the counters.
        while self.host.finished.get() < self.host.dispatched.get() {
            if deadline.is_some_and(|d| self.now() >= d) {
                return false;
            }
            match (self.host.dispatch).instead_of_parking(self.host.id(), deadline) {
                Instead::Park => pause(Duration::from_millis(1)),
                Instead::Worked => {}
                Instead::InVain => return false,
            }
        }
        true
    }
}

/// Waits until the resource has ended. Returns `false` if the deadline comes first, or at once if
/// the end would have to wait for this thread.
fn ends(core: &Arc<Core<dyn Value>>, deadline: Option<Instant>) -> bool {
    let left = deadline.map_or(Duration::MAX, |d| {
        d.saturating_duration_since(core.host().now())
    });
    closed::wait(core, left)
}
