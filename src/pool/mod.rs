//! The worker pool: threads that drain the resources handed off to them.
//!
//! Jobs wait in one FIFO queue that all workers share, so no idle worker
//! sleeps while one waits, and a resource put back after its quantum goes to
//! the tail. Hand-offs are rare next to tasks (one in `capture_limit` at
//! most), which is why one queue is enough. [`roster`] decides who sleeps, who
//! is woken and when a thread is started.
//!
//! The pool sees jobs; never resources or values.

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

/// Threads beyond that, to stand in for workers whose tasks block in a wait.
const STAND_INS: usize = 1024;

/// A pool. Dropping it lets its threads end once the queue is empty.
pub(crate) struct Pool(Arc<PoolShared>);

/// A view of a pool, which does not keep it open.
#[derive(Clone)]
pub(crate) struct Observer(Arc<PoolShared>);

struct PoolShared {
    jobs: SegQueue<Job>,
    roster: Roster,
    departures: Mutex<Departures>,
    /// That one of them ended.
    news: Condvar,
    thread_name: String,
    spawn: Box<Spawn>,
}

/// What a shutdown waits for.
#[derive(Default)]
struct Departures {
    /// Workers that have ended.
    workers: usize,
    /// Threads started for a single job that have not.
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
    /// A pool of `workers` threads, none of which is started yet.
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

    /// Queues a job and sees to it that a worker comes. Where none ever will
    /// (the pool was shut down, or not one thread can be started), the job gets
    /// a thread of its own; where that cannot be had either, it is dropped, and
    /// [so](Job) is run here.
    pub(crate) fn push(&self, job: Job) {
        let shared = &self.0;
        shared.roster.announce();
        shared.jobs.push(job);
        shared.rouse();
        if !shared.roster.is_closed() && employer().is_some_and(|e| Arc::ptr_eq(&e, shared)) {
            // This thread looks again before it ends, or blocks. (Once it is closed,
            // there may be no other to come meanwhile, and its task may wait for this.)
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

    /// Lets the workers finish what is queued and end.
    pub(crate) fn close(&self) {
        self.0.roster.close();
    }

    /// Waits until the workers have ended; `false` if the deadline comes first.
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
                // Closed since it was admitted: of this look and the one of who waits
                // for the threads to end, one comes after the other's step.
                failed = true;
                return false;
            }
            let shared = Arc::clone(self);
            let name = format!("{}-{}", self.thread_name, self.roster.threads());
            match (self.spawn)(name, Box::new(move || shared.work())) {
                Ok(()) => true,
                Err(error) => {
                    panics::tell(|| {
                        tracing::error!(target: "captor", %error, "could not start a worker thread");
                    });
                    failed = true;
                    false
                }
            }
        });
        if failed {
            // Who waits for the threads to end counted that one.
            self.depart(|_| ());
        }
    }

    /// Where no worker will come, each job gets a thread of its own.
    fn serve_deserted(self: &Arc<Self>) {
        while self.roster.is_deserted() {
            let Some(job) = self.take_job() else { break };
            self.start_extra(job);
        }
    }

    /// All threads that there may be are blocked, and jobs wait: that ends only
    /// if one of them goes on without those jobs.
    fn report_if_stuck(&self) {
        if self.roster.has_pending() && self.roster.is_blocked() {
            let threads = self.roster.threads();
            panics::tell(|| {
                tracing::error!(target: "captor", threads, "every worker is blocked in a wait, and there is no other to stand in");
            });
        }
    }

    /// Notes that a thread is gone.
    fn depart(&self, note: impl FnOnce(&mut Departures)) {
        note(&mut lock(&self.departures));
        self.news.notify_all();
    }

    /// Has a job run where there are no workers.
    fn start_extra(self: &Arc<Self>, job: Job) {
        panics::tell(|| {
            tracing::warn!(target: "captor", ?job, "no worker: a hand-off gets a thread of its own");
        });
        /// Counts the thread, as long as it lives or is about to.
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
        // Where it cannot be had, dropping the job has it run here.
        let _ = (self.spawn)(name, Box::new(main));
    }

    /// A worker's life.
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
                // Nothing in there unwinds that we know of; a worker that died of
                // it would be missed by everybody.
                Some(job) => panics::contain("job", || job.run()),
                // Announced, and about to come.
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
