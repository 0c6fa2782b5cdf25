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

use crate::raw::context::{self, Blocking, MAX_DEPTH};
use crate::raw::inner::Job;
use crate::sync::{Arc, Condvar, Mutex, lock, thread, thread_local_const, yield_now};
use crossbeam_queue::SegQueue;
use roster::{Rest, Roster};
use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

/// The most workers a pool may have.
pub(crate) const MAX_WORKERS: usize = 1024;

/// Threads beyond that, to stand in for workers whose tasks block in a wait.
const STAND_INS: usize = 1024;

/// How threads are started; a test's own may fail.
pub(crate) type Spawn = dyn Fn(String, Box<dyn FnOnce() + Send>) -> io::Result<()> + Send + Sync;

/// A pool. Dropping it lets its threads end once the queue is empty.
pub(crate) struct Pool(Arc<Shared>);

/// A view of a pool, which does not keep it open.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Shared>);

struct Shared {
    jobs: SegQueue<Job>,
    roster: Roster,
    /// Threads that have ended, and the news that one has.
    ended: Mutex<usize>,
    news: Condvar,
    thread_name: String,
    spawn: Box<Spawn>,
}

/// Starts a thread as the system does.
pub(crate) fn spawn_thread(name: String, main: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(main).map(drop)
}

thread_local_const! {
    /// The pool that this thread works for.
    static EMPLOYER: RefCell<Option<Arc<Shared>>> = RefCell::new(None);
}

fn employer() -> Option<Arc<Shared>> {
    EMPLOYER.with(|e| e.borrow().clone())
}

impl Pool {
    /// A pool of `workers` threads, none of which is started yet.
    pub(crate) fn new(workers: usize, thread_name: String, spawn: Box<Spawn>) -> Self {
        Pool(Arc::new(Shared {
            jobs: SegQueue::new(),
            roster: Roster::new(workers, workers + STAND_INS),
            ended: Mutex::new(0),
            news: Condvar::new(),
            thread_name,
            spawn,
        }))
    }

    pub(crate) fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.0))
    }

    /// Queues a job and sees to it that a worker comes. Where none ever will
    /// (the pool was shut down, or not one thread can be started), this
    /// thread does the work.
    pub(crate) fn push(&self, job: Job) {
        let shared = &self.0;
        shared.roster.announce();
        shared.jobs.push(job);
        shared.rouse();
        while shared.roster.is_deserted() {
            let Some(job) = shared.take_job() else { break };
            if context::depth() < MAX_DEPTH {
                tracing::warn!(target: "captor", ?job, "no worker: a hand-off runs on the thread that made it");
                job.run_to_end();
            } else {
                // Not deeper into this stack. If the thread cannot be started
                // the job is dropped, and runs here after all.
                tracing::warn!(target: "captor", ?job, "no worker: a hand-off runs on a thread of its own");
                let name = format!("{}-extra", shared.thread_name);
                let _ = (shared.spawn)(name, Box::new(move || job.run_to_end()));
            }
        }
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

    /// Lets the workers finish what is queued and end; `true` once they have.
    pub(crate) fn shutdown(&self, deadline: Option<Instant>) -> bool {
        self.0.roster.close();
        if employer().is_some_and(|e| Arc::ptr_eq(&e, &self.0)) {
            // It would wait for itself.
            return false;
        }
        let mut ended = lock(&self.0.ended);
        while *ended < self.0.roster.threads() {
            ended = match deadline {
                None => wait(&self.0.news, ended),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    wait_timeout(&self.0.news, ended, left)
                }
            };
        }
        true
    }
}

type Guard<'a> = crate::sync::MutexGuard<'a, usize>;

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

impl Shared {
    fn take_job(&self) -> Option<Job> {
        let job = self.jobs.pop()?;
        self.roster.taken();
        Some(job)
    }

    fn rouse(self: &Arc<Self>) {
        self.roster.rouse(|| {
            let shared = Arc::clone(self);
            let name = format!("{}-{}", self.thread_name, self.roster.threads());
            match (self.spawn)(name, Box::new(move || shared.work())) {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(target: "captor", %error, "could not start a worker thread");
                    false
                }
            }
        });
    }

    /// A worker's life.
    fn work(self: Arc<Self>) {
        let seat = self.roster.enlist(thread::current());
        EMPLOYER.with(|e| e.replace(Some(Arc::clone(&self))));
        context::on_block(|blocking| match (employer(), blocking) {
            (Some(pool), Blocking::Starts) => {
                pool.roster.stand_down();
                pool.rouse();
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
                Some(job) => job.run(),
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
        *lock(&self.ended) += 1;
        self.news.notify_all();
    }
}
