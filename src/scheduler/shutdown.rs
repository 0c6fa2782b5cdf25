//! Shutting a scheduler down: its resources, its pool, its executor.

use crate::error::{ShutdownError, Unfinished};
use crate::future::closed;
use crate::raw::core::{Core, Instead, Value};
use crate::raw::thread::{context, panics};
use crate::scheduler::Scheduler;
use crate::sync::{Arc, pause};
use std::time::{Duration, Instant};

impl Scheduler {
    /// Closes the resources of this scheduler, waits until all that they accepted
    /// is through, stops the workers and waits until they have ended: `timeout`
    /// at most. `true` if all of that was so by then. In the guide:
    /// [life cycle](crate::guide#life-cycle).
    ///
    /// It closes **all at once**. So what a task that is still queued submits to
    /// another of these resources is refused, and so is what a
    /// [`then`](crate::Completion::then) has yet to queue. Where tasks of one
    /// resource feed another, first close the one upstream and wait for its end
    /// ([`close`](Resource::close), then [`wait_closed`](Resource::wait_closed) or
    /// [`closed`](Resource::closed)), then the next; then shut down.
    ///
    /// What was left when the time was over is in the log, as a warning, and
    /// [`try_shutdown`](Self::try_shutdown) returns it. The resources stay closed
    /// and the workers stopped: what is left runs, and they end after it. Calling
    /// this again waits on.
    ///
    /// The [global](Self::global) scheduler knows its *named* resources only:
    /// the others stay open. Resources that are made after a shutdown are open and
    /// usable, on every scheduler. What is handed off from then on gets a thread of
    /// its own, each time, since there are no workers any more.
    ///
    /// Called on one of the scheduler's own workers, or in a job that its executor
    /// runs, it closes and stops, but does not wait, and returns `false`. A
    /// resource inside a task of which it is called is not waited for, and counts as
    /// left. With an executor there are no workers: this waits until the jobs are
    /// through that the executor was given. Inside a task that something handed off
    /// waits for, it waits in vain: give it a `timeout` there.
    ///
    /// # In async code
    /// It blocks the thread: call it on one that may block, tokio's
    /// `spawn_blocking` for example.
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

    /// [`shutdown`](Self::shutdown), which tells what was left.
    ///
    /// # Errors
    /// [`ShutdownError`]: which resources have tasks left, and whether threads run.
    /// Calling it again waits on for those.
    ///
    /// # In async code
    /// It blocks the thread: see [`shutdown`](Self::shutdown), which also says in
    /// what order to close resources that feed each other.
    ///
    /// ```
    /// let scheduler = captor::Scheduler::builder().workers(1).build()?;
    /// scheduler.try_shutdown(std::time::Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        // A deadline past the end of time is none.
        let deadline = self.host.after(timeout);
        // It would wait for itself.
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
        panics::tell(|| tracing::warn!(target: "captor", left = %error, "shutdown"));
        Err(error)
    }

    /// Closes all resources, and waits until they have ended. Returns those that
    /// have not.
    fn close_resources(&self, waits: bool, deadline: Option<Instant>) -> Vec<Arc<Core<dyn Value>>> {
        loop {
            let live = self.host.registry.live();
            let opened = live.iter().filter(|core| core.close()).count();
            let mut unfinished = live;
            unfinished.retain(|core| !(core.has_ended() || waits && ends(core, deadline)));
            // What they did meanwhile may have made others.
            if opened == 0 || deadline.is_some_and(|d| self.now() >= d) {
                return unfinished;
            }
        }
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        context::block(|| match &self.pool {
            Some(pool) => pool.join(deadline),
            None => self.join_executor(deadline),
        })
    }

    fn join_executor(&self, deadline: Option<Instant>) -> bool {
        // Executors do not tell when they are through.
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

/// Waits until the resource has come to its end; not if it would wait for itself.
fn ends(core: &Arc<Core<dyn Value>>, deadline: Option<Instant>) -> bool {
    let left = deadline.map_or(Duration::MAX, |d| {
        d.saturating_duration_since(core.host().now())
    });
    closed::wait(core, left)
}
