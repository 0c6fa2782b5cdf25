//! Where jobs go: to the built-in pool, or to an executor that the user plugs in.

use crate::pool::Pool;
use crate::raw::core::{Job, JobSink};
use crate::raw::thread::context;
use crate::raw::thread::panics;
use crate::scheduler::Scheduler;

/// Runs hand-offs somewhere else than on captor's own pool.
///
/// Every `Fn(Job) + Send + Sync + 'static` is one:
///
/// ```
/// use captor::{Job, Scheduler};
///
/// let scheduler = Scheduler::builder()
///     .executor(|job: Job| drop(std::thread::spawn(|| job.run())))
///     .build()?;
/// assert_eq!(scheduler.resource(1).with(|n| *n), Ok(1));
/// # Ok::<(), captor::BuildError>(())
/// ```
///
/// With rayon it is `|job: Job| rayon::spawn(|| job.run())`, with tokio
/// `move |job: Job| { handle.spawn_blocking(|| job.run()); }`.
///
/// A job that is refused (dropped, or lost in a panic of `execute`) goes to
/// the built-in pool, so its resource's tasks run all the same. One that is
/// kept and never run, or leaked, holds them up.
pub trait Executor: Send + Sync + 'static {
    /// Has `job` [run](Job::run) soon, on another thread. Called on the
    /// thread that hands off, often a submitter's: it should not block.
    fn execute(&self, job: Job);
}

impl<F: Fn(Job) + Send + Sync + 'static> Executor for F {
    fn execute(&self, job: Job) {
        self(job);
    }
}

/// Hand-offs go to captor's own pool.
pub(super) struct ByPool(pub(super) Pool);

impl JobSink for ByPool {
    fn dispatch(&self, job: Job) {
        self.0.push(job);
    }

    fn rescue(&self, job: Job) {
        job.run_to_end();
    }

    fn others_wait(&self) -> bool {
        self.0.others_wait()
    }

    fn may_be_blocked(&self) -> bool {
        // It has stand-ins.
        false
    }
}

/// Hand-offs go to the user's executor.
pub(super) struct ByExecutor<E: Executor>(pub(super) Option<E>);

impl<E: Executor> Drop for ByExecutor<E> {
    fn drop(&mut self) {
        let executor = self.0.take();
        panics::contain("drop of an executor", || drop(executor));
    }
}

impl<E: Executor> JobSink for ByExecutor<E> {
    fn dispatch(&self, job: Job) {
        // It is there until it is dropped.
        if let Some(executor) = &self.0 {
            context::dispatch(|| panics::contain("executor", || executor.execute(job)));
        }
    }

    fn rescue(&self, job: Job) {
        panics::tell(|| {
            tracing::warn!(target: "captor", ?job, "the executor did not run a hand-off; the built-in pool takes it");
        });
        Scheduler::global().host.dispatch.dispatch(job);
    }

    fn others_wait(&self) -> bool {
        // It cannot be asked, so it is given its turn after each quantum.
        true
    }

    fn may_be_blocked(&self) -> bool {
        true
    }
}
