#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Hand-offs to an executor, sound or broken: no task is stranded.

mod common;

use captor::{Dispatch, Executor, Job, Resource, Scheduler};
use common::{Gate, hold, join, outcome, pooled, wait_until, within_deadline};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

fn scheduler_over(executor: impl Executor) -> Scheduler {
    Scheduler::builder()
        .executor(executor)
        .capture_limit(2)
        .quantum(Duration::from_millis(1))
        .build()
        .unwrap()
}

/// Asserts that every task runs: queued behind a holder, pooled, self-feeding, submitted from
/// several threads, and submitted from inside tasks.
fn exercise(scheduler: &Scheduler) {
    let inline = scheduler.resource(0_u64);
    let held = hold(&inline);
    let tasks: Vec<_> = (0..100).map(|_| inline.submit(|n| *n += 1)).collect();
    held.release();
    for task in tasks {
        assert_eq!(outcome(task), Ok(()));
    }
    let pooled = Resource::builder()
        .scheduler(scheduler)
        .dispatch(Dispatch::Pool)
        .build(0_u64)
        .unwrap();
    let total = thread::scope(|s| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                s.spawn(|| {
                    for n in 0..200 {
                        inline.execute(|n| *n += 1).unwrap();
                        pooled.execute(|n| *n += 1).unwrap();
                        if n % 10 == 0 {
                            let other = pooled.clone();
                            inline
                                .execute(move |_| other.execute(|n| *n += 1).unwrap())
                                .unwrap();
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        wait_until("every inline task has resolved", || {
            inline.stats().outstanding == 0
        });
        outcome(pooled.submit(|n| *n)).unwrap()
    });
    assert_eq!(total, 660);
    assert_eq!(outcome(inline.submit(|n| *n)), Ok(700));
    let end = Gate::new();
    feed(&pooled, 2_000, &end);
    end.wait();
    assert_eq!(outcome(pooled.submit(|n| *n)), Ok(2_660));
}

fn feed(r: &Resource<u64>, left: u32, end: &Gate) {
    if left == 0 {
        return end.open();
    }
    let (again, end) = (r.clone(), end.clone());
    r.execute(move |n| {
        *n += 1;
        feed(&again, left - 1, &end);
    })
    .unwrap();
}

#[test]
fn tasks_run_when_executor_spawns_threads() {
    within_deadline(|| {
        exercise(&scheduler_over(|job: Job| {
            drop(thread::spawn(|| job.run()))
        }))
    });
}

#[test]
fn tasks_run_when_executor_is_custom_type() {
    struct OneThread(Mutex<mpsc::Sender<Job>>);
    impl Executor for OneThread {
        fn execute(&self, job: Job) {
            self.0.lock().unwrap().send(job).unwrap();
        }
    }
    within_deadline(|| {
        let (send, jobs) = mpsc::channel::<Job>();
        let runner = thread::spawn(move || jobs.into_iter().for_each(Job::run));
        exercise(&scheduler_over(OneThread(Mutex::new(send))));
        join(runner).unwrap();
    });
}

#[test]
fn tasks_run_when_executor_runs_jobs_inline() {
    within_deadline(|| exercise(&scheduler_over(|job: Job| job.run())));
}

#[test]
fn tasks_run_when_executor_drops_jobs() {
    within_deadline(|| exercise(&scheduler_over(|job: Job| drop(job))));
}

#[test]
fn tasks_run_when_executor_drops_some_jobs() {
    within_deadline(|| {
        let count = AtomicUsize::new(0);
        exercise(&scheduler_over(move |job: Job| {
            if count.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
                drop(thread::spawn(|| job.run()));
            }
        }));
    });
}

#[test]
fn tasks_run_when_executor_drops_jobs_later() {
    within_deadline(|| {
        let (send, jobs) = mpsc::channel::<Job>();
        let dropper = thread::spawn(move || jobs.into_iter().for_each(drop));
        exercise(&scheduler_over(move |job| drop(send.send(job))));
        join(dropper).unwrap();
    });
}

#[test]
fn tasks_run_when_executor_queue_is_gone() {
    within_deadline(|| {
        let (send, jobs) = mpsc::channel::<Job>();
        drop(jobs);
        exercise(&scheduler_over(move |job| drop(send.send(job))));
    });
}

#[test]
fn task_runs_when_executor_queue_drops_its_job() {
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = scheduler_over(move |job| drop(send.send(job)));
    let r = pooled(&scheduler, 0);
    let task = r.submit(|n| {
        *n += 1;
        *n
    });
    assert!(!task.is_finished());
    drop(jobs);
    assert_eq!(outcome(task), Ok(1));
}

#[test]
fn tasks_run_when_executor_panics() {
    within_deadline(|| {
        exercise(&scheduler_over(|_job: Job| {
            resume_unwind(Box::new("refused"))
        }));
        exercise(&scheduler_over(|job: Job| {
            job.run();
            resume_unwind(Box::new("after the fact"));
        }));
    });
}

#[test]
fn tasks_run_on_rayon() {
    within_deadline(|| {
        exercise(&scheduler_over(|job: Job| rayon::spawn(|| job.run())));
    });
}

#[test]
fn tasks_run_on_tokio_blocking_pool() {
    within_deadline(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let scheduler = scheduler_over(move |job: Job| {
            handle.spawn_blocking(|| job.run());
        });
        exercise(&scheduler);
        // Once the runtime is gone, its handle drops every job.
        runtime.shutdown_timeout(common::DEADLINE);
        exercise(&scheduler);
    });
}

#[test]
fn tasks_run_in_tokio_tasks() {
    within_deadline(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        exercise(&scheduler_over(move |job: Job| {
            handle.spawn(async move { job.run() });
        }));
    });
}

#[test]
fn late_job_does_nothing_after_takeover() {
    // A waiter took the queue over before. The job is run all the same.
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = scheduler_over(move |job| drop(send.send(job)));
    let r = scheduler.resource(0);
    let held = hold(&r);
    for _ in 0..5 {
        r.execute(|n| *n += 1).unwrap();
    }
    held.release();
    assert_eq!(r.with(|n| *n), Ok(5));
    let late: Vec<_> = jobs.try_iter().collect();
    assert!(!late.is_empty());
    for job in late {
        job.run();
    }
    assert_eq!(r.stats().completed, 7);
    assert_eq!(scheduler.stats().dispatched, scheduler.stats().finished);
}

#[test]
fn late_job_does_not_disturb_holder() {
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = scheduler_over(move |job| drop(send.send(job)));
    let r = scheduler.resource(0);
    let held = hold(&r);
    for _ in 0..2 {
        r.execute(|n| *n += 1).unwrap();
    }
    held.release();
    assert_eq!(r.with(|n| *n), Ok(2));
    let held = hold(&r);
    let queued = r.submit(|n| *n += 1);
    for job in jobs.try_iter() {
        job.run();
    }
    assert!(!queued.is_finished(), "the resource is still held");
    held.release();
    assert_eq!(outcome(queued), Ok(()));
}

#[test]
fn job_debug_names_its_resource() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    let scheduler = scheduler_over(move |job: Job| {
        seen.lock().unwrap().push(format!("{job:?}"));
        job.run();
    });
    let r = Resource::builder()
        .scheduler(&scheduler)
        .dispatch(Dispatch::Pool)
        .name("topics")
        .build(())
        .unwrap();
    outcome(r.submit(|_| ())).unwrap();
    let names = names.lock().unwrap();
    assert!(names[0].contains("topics"), "{names:?}");
}

#[test]
fn shutdown_waits_for_dispatched_jobs() {
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = scheduler_over(move |job| drop(send.send(job)));
    assert!(scheduler.shutdown(Duration::ZERO), "no job was dispatched");
    let r = pooled(&scheduler, 0);
    let task = r.submit(|n| *n);
    assert!(!scheduler.shutdown(Duration::from_millis(5)));
    jobs.recv().unwrap().run();
    assert!(scheduler.shutdown(common::DEADLINE));
    assert_eq!(outcome(task), Ok(0));
}

/// Returns a scheduler over an executor with a single thread.
fn single_thread_scheduler() -> Scheduler {
    let (send, jobs) = mpsc::channel::<Job>();
    thread::spawn(move || jobs.into_iter().for_each(Job::run));
    scheduler_over(move |job: Job| drop(send.send(job)))
}

#[test]
fn pooled_task_runs_when_sole_thread_waits() {
    within_deadline(|| {
        let scheduler = single_thread_scheduler();
        let (outer, inner) = (pooled(&scheduler, ()), pooled(&scheduler, 7));
        let other = inner.clone();
        let by_with = outer.submit(move |_| other.with(|n| *n));
        assert_eq!(outcome(by_with), Ok(Ok(7)));
        let by_wait = outer.submit(move |_| inner.submit(|n| *n).wait());
        assert_eq!(outcome(by_wait), Ok(Ok(7)));
    });
}

#[test]
fn wait_closed_returns_when_sole_thread_waits() {
    within_deadline(|| {
        let scheduler = single_thread_scheduler();
        let outer = pooled(&scheduler, ());
        for inner in [pooled(&scheduler, 0), scheduler.resource(0)] {
            let ended = outer.submit(move |_| {
                // The capture limit is two, so the rest of the tasks is handed off.
                let again = inner.clone();
                let feed = move |_: &mut i32| (0..3).try_for_each(|_| again.execute(|n| *n += 1));
                inner.execute(move |n| feed(n).unwrap()).unwrap();
                inner.execute(|n| *n += 1).unwrap();
                inner.close();
                inner.wait_closed(Duration::MAX)
            });
            // If the close comes before the feeding, the feeding task panics.
            assert_eq!(outcome(ended), Ok(true));
        }
    });
}

#[test]
fn shutdown_does_not_wait_in_own_job() {
    within_deadline(|| {
        let scheduler = single_thread_scheduler();
        let inside = scheduler.clone();
        let task = pooled(&scheduler, ()).submit(move |_| inside.shutdown(Duration::MAX));
        assert_eq!(outcome(task), Ok(false));
        assert!(scheduler.shutdown(common::DEADLINE));
    });
}

/// A task lets its thread run a job of a resource that feeds itself.
#[test]
fn stolen_job_ends_after_its_quantum() {
    within_deadline(|| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let threads = threads.unwrap();
        let scheduler = scheduler_over(move |job: Job| threads.spawn(|| job.run()));
        let (outer, inner) = (pooled(&scheduler, ()), pooled(&scheduler, true));
        fn feed(r: &Resource<bool>) {
            let again = r.clone();
            r.execute(move |go| {
                if *go {
                    feed(&again)
                }
            })
            .unwrap();
        }
        let task = outer.submit(move |_| {
            feed(&inner);
            rayon::yield_now();
            inner.execute(|go| *go = false)
        });
        assert_eq!(outcome(task), Ok(Ok(())));
    });
}

/// A thread inside a task of `one` hands off `two` to an executor that runs the job at once. In
/// that job, a foreign task visits `one`.
#[test]
fn inline_job_does_not_run_in_handing_off_task() {
    within_deadline(|| {
        let scheduler = scheduler_over(Job::run);
        assert_eq!(common::a_strangers_visit(&scheduler), Ok(1));
    });
}

#[test]
fn panic_in_executor_drop_is_contained() {
    struct Unruly;
    impl Executor for Unruly {
        fn execute(&self, job: Job) {
            drop(job); // to a worker of the built-in pool
        }
    }
    impl Drop for Unruly {
        fn drop(&mut self) {
            resume_unwind(Box::new("executor dropped"));
        }
    }
    within_deadline(|| {
        let workers = Scheduler::global().stats().workers;
        for _ in 0..=workers {
            let gate = Gate::new();
            let (last, opened) = (pooled(&scheduler_over(Unruly), ()), gate.clone());
            let task = last.submit(move |_| opened.wait());
            drop(last);
            gate.open();
            assert_eq!(outcome(task), Ok(()));
        }
        // The executor is dropped on this thread.
        drop(scheduler_over(Unruly).resource(1));
        let r = Resource::builder().dispatch(Dispatch::Pool).build(1);
        assert_eq!(outcome(r.unwrap().submit(|n| *n)), Ok(1));
    });
}

/// The executor runs the hand-off at once, on the thread that ran the waiter's task. The next task
/// waits for a message that the waiter's waker sends.
#[test]
fn waiter_is_woken_before_hand_off_runs() {
    struct Forward(mpsc::Sender<()>);
    impl Wake for Forward {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }

    within_deadline(|| {
        let scheduler = scheduler_over(Job::run);
        let r = scheduler.resource(());
        let held = hold(&r);
        let (woken, news) = mpsc::channel();
        let mut first = r.submit(|()| ());
        let next = r.submit(move |()| news.recv().unwrap());
        let waker = Waker::from(Arc::new(Forward(woken)));
        let polled = Pin::new(&mut first).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(held);
        assert_eq!(outcome(next), Ok(()));
    });
}
