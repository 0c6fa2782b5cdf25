//! What a resource knows of its scheduler, and the job that carries a
//! hand-off to it.

use crate::raw::context::{self, MAX_DEPTH};
use crate::raw::inner::{Core, Value};
use crate::sync::{Arc, Counter};
use core::fmt;
use core::time::Duration;

/// Settings that a scheduler gives to its resources.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) capture_limit: usize,
    pub(crate) capture_time: Duration,
    pub(crate) quantum: Duration,
}

/// Where jobs go.
pub(crate) trait Dispatch: Send + Sync {
    /// Has the job run, on another thread where there is one.
    fn dispatch(&self, job: Job);
    /// Has a job run that an executor dropped. Must not give it to that
    /// executor again.
    fn rescue(&self, job: Job);
    /// Do other jobs wait for a thread?
    fn others_wait(&self) -> bool;
}

/// The inside of a scheduler, as its resources see it.
pub(crate) struct Host {
    pub(crate) limits: Limits,
    pub(crate) dispatch: Box<dyn Dispatch>,
    pub(crate) dispatched: Counter,
    pub(crate) finished: Counter,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A resource with tasks queued, handed off to be drained by another thread.
///
/// An [`Executor`](crate::Executor) is given one at each hand-off and has it
/// [`run`](Job::run) on a thread of its choice. Running a job that is no
/// longer needed (somebody else drained the resource meanwhile) does nothing.
///
/// A job that is dropped without being run is not lost: the built-in pool
/// takes it, or, where that has no threads, the dropping thread drains the
/// resource.
///
/// ```
/// use captor::{Dispatch, Job, Resource, Scheduler};
/// use std::sync::mpsc;
///
/// let (send, receive) = mpsc::channel::<Job>();
/// let scheduler = Scheduler::builder()
///     .executor(move |job: Job| drop(send.send(job)))
///     .build()?;
/// let r = Resource::builder()
///     .scheduler(&scheduler)
///     .dispatch(Dispatch::Pool)
///     .build(1)?;
///
/// let sum = r.submit(|n| *n + 1);
/// assert!(!sum.is_finished());
/// receive.recv().unwrap().run();
/// assert_eq!(sum.wait(), Ok(2));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[must_use = "a dropped job goes to the built-in pool; call `run` to have it run here"]
pub struct Job {
    core: Option<Arc<Core<dyn Value>>>,
    rescued: bool,
}

impl Job {
    pub(crate) fn new(core: Arc<Core<dyn Value>>) -> Self {
        Job {
            core: Some(core),
            rescued: false,
        }
    }

    /// Drains the resource: until nothing is queued, or, where other jobs
    /// wait, until its [`quantum`](crate::SchedulerBuilder::quantum) is over,
    /// when the rest is handed off again.
    pub fn run(mut self) {
        if context::depth() > 2 * MAX_DEPTH {
            // Run by an executor inside `execute`, inside tasks inside tasks:
            // dropping it sends it to another thread.
            return;
        }
        if let Some(core) = self.core.take() {
            core.work();
        }
    }

    /// Drains the resource until nothing is queued.
    pub(crate) fn run_to_end(mut self) {
        if let Some(core) = self.core.take() {
            core.work_to_end();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        if self.rescued {
            return core.work_to_end();
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
