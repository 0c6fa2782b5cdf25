//! The worker pool: threads that drain the resources handed off to them.
//!
//! This layer must not touch resources or values: the pool sees only jobs and alarms. The scheduler
//! stands above the pool. `ci/layering.sh` says which layers this layer may name.
//!
//! Jobs wait in one FIFO queue that all workers share. So no idle worker sleeps while a job waits,
//! and a resource that is put back after its quantum goes to the tail. Hand-offs are rare next to
//! tasks: at most one for every `capture_limit` tasks. That is why one queue is enough. See "The
//! pool" in `docs/design/protocol.md`.
//!
//! - [`roster`]: which workers sleep, which worker is woken, and when a thread is started.
//! - [`timer`]: the thread that rings the alarms of a scheduler.
//! - [`spawn`]: how threads are started.

pub(crate) mod roster;
pub(crate) mod spawn;
pub(crate) mod timer;

use crate::pool::spawn::Spawn;
use crate::raw::core::Job;
use crate::raw::thread::context::{self, Blocking};
use crate::raw::thread::panics;
use crate::sync::{Arc, Condvar, Mutex, lock, thread, thread_local_const, yield_now};
use crossbeam_queue::SegQueue;
use roster::{Rest, Roster};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The most workers a pool may have.
pub(crate) const MAX_WORKERS: usize = 1024;

/// How many more threads a pool may start, to stand in for workers whose tasks block in a wait.
const STAND_INS: usize = 1024;

/// A pool. After the pool is dropped, its threads end once the queue is empty.
pub(crate) struct Pool(Arc<PoolShared>);

/// A view of a pool, which does not keep it open.
#[derive(Clone)]
pub(crate) struct Observer(Arc<PoolShared>);

struct PoolShared {
    jobs: SegQueue<Job>,
    roster: Roster,
    departures: Mutex<Departures>,
    /// Signalled when `departures` has changed.
    news: Condvar,
    thread_name: String,
    spawn: Box<Spawn>,
}

/// The counts that a shutdown waits for.
#[derive(Default)]
struct Departures {
    /// Workers that have ended.
    workers: usize,
    /// Threads that were started for a single job and have not ended.
    extras: usize,
}

thread_local_const! {
    /// The pool that this thread works for.
    static EMPLOYER: RefCell<Option<Arc<PoolShared>>> = RefCell::new(None);
}

fn employer() -> Option<Arc<PoolShared>> {
    // A hand-off may come from the drop of a thread-local.
    let employer = EMPLOYER.try_with(|e| e.borrow().clone());
    employer.ok().flatten()
}

impl Pool {
    /// Makes a pool of `workers` threads. No thread is started yet.
    pub(crate) fn new(workers: usize, thread_name: String, spawn: Box<Spawn>) -> Self {
        Pool(Arc::new(PoolShared {
            jobs: SegQueue::new(),
            roster: Roster::new(workers, workers + STAND_INS),
            departures: Mutex::default(),
            news: Condvar::new(),
            thread_name,
            spawn,
        }))
    }

    pub(crate) fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.0))
    }

    /// Queues a job, and wakes or starts a worker for the job.
    ///
    /// If the pool was shut down, or if not one thread can be started, no worker ever comes. The
    /// job then gets a thread of its own. If that thread cannot be started either, the job is
    /// dropped, and the [drop](Job) runs the job on this thread.
    pub(crate) fn push(&self, job: Job) {
        let shared = &self.0;
        shared.roster.announce();
        shared.jobs.push(job);
        shared.rouse();
        if !shared.roster.is_closed() && employer().is_some_and(|e| Arc::ptr_eq(&e, shared)) {
            // This thread is a worker of the open pool, and looks for jobs again before it ends or
            // blocks. In a closed pool there may be no other worker, and this worker's task may
            // wait for the job.
            return;
        }
        shared.serve_deserted();
    }

    pub(crate) fn others_wait(&self) -> bool {
        self.0.roster.has_pending()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.roster.close();
    }
}

impl Observer {
    pub(crate) fn workers(&self) -> usize {
        self.0.roster.workers()
    }

    pub(crate) fn threads(&self) -> usize {
        self.0.roster.threads()
    }

    pub(crate) fn idle(&self) -> usize {
        self.0.roster.idle()
    }

    /// Closes the pool: the workers finish the queued jobs and end.
    pub(crate) fn close(&self) {
        self.0.roster.close();
    }

    /// Waits until the workers have ended. Returns `false` if the deadline comes first.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        let mut gone = lock(&self.0.departures);
        while gone.workers < self.0.roster.threads() || gone.extras > 0 {
            gone = match deadline {
                None => wait(&self.0.news, gone),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    wait_timeout(&self.0.news, gone, left)
                }
            };
        }
        true
    }
}

type Guard<'a> = crate::sync::MutexGuard<'a, Departures>;

fn wait<'a>(news: &Condvar, guard: Guard<'a>) -> Guard<'a> {
    news.wait(guard)
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn wait_timeout<'a>(news: &Condvar, guard: Guard<'a>, left: Duration) -> Guard<'a> {
    match news.wait_timeout(guard, left) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

impl PoolShared {
    fn take_job(&self) -> Option<Job> {
        let job = self.jobs.pop()?;
        self.roster.taken();
        Some(job)
    }

    fn rouse(self: &Arc<Self>) {
        let mut failed = false;
        self.roster.rouse(|| {
            if self.roster.is_closed() {
                // The pool was closed after this thread was admitted. Such a race has two cases,
                // since `admit` counts the thread before this look, and a shutdown closes the pool
                // before `join` counts threads.
                // - This look comes after the close: the thread is not started.
                // - This look comes before the close: `join` counts the thread and waits for it.
                failed = true;
                return false;
            }
            let shared = Arc::clone(self);
            let name = format!("{}-{}", self.thread_name, self.roster.threads());
            match (self.spawn)(name, Box::new(move || shared.work())) {
                Ok(()) => true,
                Err(error) => {
                    panics::log_safely(|| {
                        tracing::error!(target: "captor", %error, "could not start a worker thread");
                    });
                    failed = true;
                    false
                }
            }
        });
        if failed {
            // A thread in `join` may have counted the thread that was not started. So that thread
            // must look again.
            self.depart(|_| ());
        }
    }

    /// Starts a thread for each job, if no worker will ever come.
    fn serve_deserted(self: &Arc<Self>) {
        while self.roster.has_no_waker() {
            let Some(job) = self.take_job() else { break };
            self.start_extra(job);
        }
    }

    /// Logs an error if jobs wait and all threads that the pool may have are blocked. This state
    /// ends only if a blocked thread goes on without those jobs.
    fn report_if_stuck(&self) {
        if self.roster.has_pending() && self.roster.is_blocked() {
            let threads = self.roster.threads();
            panics::log_safely(|| {
                tracing::error!(target: "captor", threads, "every worker is blocked in a wait, and no other thread can stand in");
            });
        }
    }

    /// Changes the count of departures by `note`, and tells the threads in `join`.
    fn depart(&self, note: impl FnOnce(&mut Departures)) {
        note(&mut lock(&self.departures));
        self.news.notify_all();
    }

    /// Starts a thread that runs one job, because no worker will come.
    fn start_extra(self: &Arc<Self>, job: Job) {
        panics::log_safely(|| {
            tracing::warn!(target: "captor", ?job, "no worker will come: a hand-off gets a thread of its own");
        });
        /// Counts the thread, from before its start to its end.
        struct ExtraThread(Arc<PoolShared>);
        impl Drop for ExtraThread {
            fn drop(&mut self) {
                self.0.depart(|gone| gone.extras -= 1);
            }
        }
        lock(&self.departures).extras += 1;
        let extra = ExtraThread(Arc::clone(self));
        let main = move || {
            let _extra = extra;
            panics::contain("job", || job.run_to_end());
        };
        let name = format!("{}-extra", self.thread_name);
        // If the thread cannot be started, the job is dropped, and the drop runs the job on this
        // thread.
        let _ = (self.spawn)(name, Box::new(main));
    }

    /// Runs a worker, from its first look for a job to its end.
    ///
    /// `work` in `src/models/pool.rs` is a copy of this loop, so a change here needs the same change
    /// there. The copy leaves out `has_surplus` and the hook that is called when a task blocks.
    fn work(self: Arc<Self>) {
        let seat = self.roster.enlist(thread::current());
        EMPLOYER.with(|e| e.replace(Some(Arc::clone(&self))));
        context::on_block(|blocking| match (employer(), blocking) {
            (Some(pool), Blocking::Starts) => {
                pool.roster.stand_down();
                pool.rouse();
                pool.serve_deserted();
                pool.report_if_stuck();
            }
            (Some(pool), Blocking::Ends) => pool.roster.stand_up(),
            (None, _) => {}
        });
        loop {
            let job = if self.roster.has_surplus() {
                None
            } else {
                self.take_job()
            };
            match job {
                // No code in a job is known to unwind. A worker that ended by a panic would keep
                // its place, and no shutdown would see its end.
                Some(job) => panics::contain("job", || job.run()),
                // A job was announced and is about to come.
                None if self.roster.is_wanted() => yield_now(),
                None => {
                    if self.roster.rest(seat, thread::park) == Rest::End {
                        break;
                    }
                }
            }
        }
        EMPLOYER.with(|e| e.replace(None));
        self.depart(|gone| gone.workers += 1);
    }
}
