//! The job that carries a hand-off to a scheduler.
//!
//! A job that runs takes the role, if the role is still on offer, and drains the resource for one
//! shift. If an executor drops a job, the job goes to the built-in pool. If that pool has no
//! thread, the dropping thread does the work. See "Hand-off to the pool" in
//! `docs/design/protocol.md`.

use crate::raw::core::{Core, Job, Value};
use crate::raw::run::role::drain;
use crate::raw::run::shift::Shift;
#[cfg(feature = "testing")]
use crate::raw::thread::context::Id;
use crate::raw::thread::context::{self, MAX_DEPTH};
use crate::sync::Arc;
use core::fmt;

impl Job {
    /// Drains the resource until nothing is queued.
    ///
    /// If other jobs wait, the drain ends with the scheduler's
    /// [`quantum`](crate::SchedulerBuilder::quantum). The rest of the queue is then handed off
    /// again.
    pub fn run(mut self) {
        // In two cases the job must not run here. Its drop sends it to another thread.
        // - An executor runs the job inside `execute`, inside a task: the queued tasks may wait for
        //   that very task.
        // - The job runs inside too many nested tasks.
        let inline = context::is_dispatching();
        if context::depth() > if inline { 0 } else { 2 * MAX_DEPTH } {
            return;
        }
        if let Some(core) = self.core.take() {
            // A job that an executor runs inside `execute` drains to the end: a hand-off after each
            // quantum would recurse.
            work(core, inline);
        }
    }

    /// Drains the resource until nothing is queued.
    pub(crate) fn run_to_end(mut self) {
        if let Some(core) = self.core.take() {
            work(core, true);
        }
    }
}

/// For the simulated scheduler, whose only thread is the thread that waits.
#[cfg(feature = "testing")]
impl Job {
    /// Checks whether the job is for `resource`.
    pub(crate) fn is_for(&self, resource: Id) -> bool {
        self.core.as_ref().is_some_and(|core| core.id() == resource)
    }

    /// Runs the job like [`Job::run`], at any depth of nested tasks.
    pub(crate) fn run_nested(mut self) {
        if let Some(core) = self.core.take() {
            work(core, false);
        }
    }

    /// Closes the resource and cancels all queued tasks.
    pub(crate) fn abandon(mut self) {
        if let Some(core) = self.core.take() {
            core.close();
            core.cancel_pending();
            work(core, true);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        if self.rescued {
            return work(core, true);
        }
        let host = Arc::clone(core.host());
        let job = Job {
            core: Some(core),
            rescued: true,
        };
        host.dispatch.rescue(job);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Job");
        if let Some(core) = &self.core {
            s.field("resource", &core.name());
        }
        s.finish_non_exhaustive()
    }
}

/// Does the work of a job. With `to_the_end`, the rest of the queue cannot be handed off, so the
/// drain has no limit.
///
/// The job may hold the last reference to the core. Then the drop of the value is a part of the
/// job.
fn work(core: Arc<Core<dyn Value>>, to_the_end: bool) {
    let host = Arc::clone(core.host());
    context::work(host.id(), || {
        if core.strand().accept_job(core.settings().pooled) {
            let shift = if to_the_end {
                Shift::endless(&core)
            } else {
                Shift::worker(&core)
            };
            drain(&core, shift);
        }
        drop(core);
    });
    host.finished.add(1);
}
