//! Carries hand-offs to threads: to the built-in pool, or to an [`Executor`] of the user's. Both
//! stand behind the core's trait `JobSink`.

use crate::pool::Pool;
use crate::raw::core::{Job, JobSink};
use crate::raw::thread::context;
use crate::raw::thread::panics;
use crate::scheduler::Scheduler;

/// Runs hand-offs in place of captor's own pool.
///
/// Every `Fn(Job) + Send + Sync + 'static` is an executor:
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
/// For rayon, write `|job: Job| rayon::spawn(|| job.run())`. For tokio, write
/// `move |job: Job| { handle.spawn_blocking(|| job.run()); }`.
///
/// If an executor drops a job, or loses the job in a panic of `execute`, the job goes to the
/// built-in pool. So the tasks of its resource still run. If an executor keeps a job and never runs
/// it, or leaks the job, these tasks are held up.
pub trait Executor: Send + Sync + 'static {
    /// Arranges that another thread [runs](Job::run) `job` soon. The thread that hands off calls
    /// this, and is often a submitter: `execute` should not block.
    fn execute(&self, job: Job);
}

impl<F: Fn(Job) + Send + Sync + 'static> Executor for F {
    fn execute(&self, job: Job) {
        self(job);
    }
}

/// Sends hand-offs to captor's own pool.
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
        // The pool has stand-ins for blocked workers.
        false
    }
}

/// Sends hand-offs to the user's executor. `None` only while this is dropped.
pub(super) struct ByExecutor<E: Executor>(pub(super) Option<E>);

impl<E: Executor> Drop for ByExecutor<E> {
    fn drop(&mut self) {
        let executor = self.0.take();
        panics::contain("drop of an executor", || drop(executor));
    }
}

impl<E: Executor> JobSink for ByExecutor<E> {
    fn dispatch(&self, job: Job) {
        // Only the drop takes the executor out.
        if let Some(executor) = &self.0 {
            context::dispatch(|| panics::contain("executor", || executor.execute(job)));
        }
    }

    fn rescue(&self, job: Job) {
        panics::log_safely(|| {
            tracing::warn!(target: "captor", ?job, "the executor did not run a hand-off; the built-in pool takes it");
        });
        Scheduler::global().host.dispatch.dispatch(job);
    }

    fn others_wait(&self) -> bool {
        // An executor cannot be asked. So a job leaves its resource after each quantum, as if other
        // jobs waited.
        true
    }

    fn may_be_blocked(&self) -> bool {
        true
    }
}
