//! The job that carries a hand-off to its scheduler.

use crate::raw::core::{Core, Job, Value};
use crate::raw::run::role::drain;
use crate::raw::run::shift::Shift;
#[cfg(feature = "testing")]
use crate::raw::thread::context::Id;
use crate::raw::thread::context::{self, MAX_DEPTH};
use crate::sync::Arc;
use core::fmt;

impl Job {
    /// Drains the resource: until nothing is queued, or, where other jobs
    /// wait, until its [`quantum`](crate::SchedulerBuilder::quantum) is over,
    /// when the rest is handed off again.
    pub fn run(mut self) {
        // Run by an executor inside `execute`, inside a task: what is queued
        // may wait for that very task. Or run inside tasks inside tasks.
        // Dropping the job sends it to another thread.
        let inline = context::is_dispatching();
        if context::depth() > if inline { 0 } else { 2 * MAX_DEPTH } {
            return;
        }
        if let Some(core) = self.core.take() {
            // An executor that runs jobs inside `execute` would recurse at each
            // quantum: that one goes on to the end.
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

/// For a scheduler that has one thread, the one that waits.
#[cfg(feature = "testing")]
impl Job {
    /// Is it one of this resource?
    pub(crate) fn is_for(&self, resource: Id) -> bool {
        self.core.as_ref().is_some_and(|core| core.id() == resource)
    }

    /// Like [`Job::run`], however deep inside of tasks.
    pub(crate) fn run_nested(mut self) {
        if let Some(core) = self.core.take() {
            work(core, false);
        }
    }

    /// Closes the resource, and cancels what is queued.
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

/// A job for this resource has come to run; one `to_the_end` has nowhere to hand the
/// rest to. It may hold the last reference: then the value's drop is a part of the job.
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
