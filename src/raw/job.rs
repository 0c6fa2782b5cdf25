//! The job that carries a hand-off to its scheduler.

use crate::raw::context::{self, MAX_DEPTH};
use crate::raw::inner::{Core, Job, Value};
use crate::raw::role::drain;
use crate::raw::shift::Shift;
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
            core.work(inline);
        }
    }

    /// Drains the resource until nothing is queued.
    pub(crate) fn run_to_end(mut self) {
        if let Some(core) = self.core.take() {
            core.work(true);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        if self.rescued {
            return core.work(true);
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

impl Core<dyn Value> {
    /// A job for this resource has come to run; one `to_the_end` has nowhere to
    /// hand the rest to.
    pub(crate) fn work(self: &Arc<Self>, to_the_end: bool) {
        if self.strand.accept_job(self.settings().pooled) {
            context::work(self.host().id(), || {
                let shift = if to_the_end {
                    Shift::endless(self)
                } else {
                    Shift::worker(self)
                };
                drain(self, shift);
            });
        }
        self.host().finished.add(1);
    }
}
