#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Captured submitters: how many foreign tasks they run, and for how long (G6).

mod common;

use captor::{BuildError, Job, Resource, ResourceBuilder, Scheduler};
use common::{Gate, hold, join, wait_until};
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

type Log = Resource<Vec<ThreadId>>;

fn note(log: &Log) {
    log.execute(|v| v.push(thread::current().id())).unwrap();
}

/// Queues `queued` tasks while a submitter runs its own task. Returns how many of the queued
/// tasks that submitter ran, once all have run.
fn count_captured(log: &Log, queued: usize) -> usize {
    let held = hold(log);
    let holder = held.thread();
    for _ in 0..queued {
        note(log);
    }
    held.release();
    let ran = log.with(std::mem::take).unwrap();
    assert_eq!(ran.len(), queued);
    let by_holder = ran.iter().filter(|id| **id == holder).count();
    // The submitter runs the oldest tasks, then leaves for good.
    assert!(ran[..by_holder].iter().all(|id| *id == holder));
    by_holder
}

fn build(builder: ResourceBuilder) -> Log {
    builder.build(Vec::new()).unwrap()
}

#[test]
fn capture_limit_counts_own_task() {
    for limit in [1, 2, 3, 7] {
        let log = build(Resource::builder().capture_limit(limit).capture_time(LONG));
        assert_eq!(count_captured(&log, 20), limit - 1, "limit {limit}");
    }
}

#[test]
fn submitter_runs_whole_queue_below_limit() {
    let log = build(
        Resource::builder()
            .capture_limit(usize::MAX)
            .capture_time(LONG),
    );
    assert_eq!(count_captured(&log, 200), 200);
    assert_eq!(log.stats().handoffs, 0);
}

#[test]
fn default_capture_limit_is_ten() {
    let log = build(Resource::builder().capture_time(LONG));
    assert_eq!(count_captured(&log, 30), 9);
    let exactly = build(Resource::builder().capture_time(LONG));
    assert_eq!(count_captured(&exactly, 9), 9);
    assert_eq!(exactly.stats().handoffs, 0);
}

#[test]
fn capture_limit_of_resource_overrides_scheduler() {
    let scheduler = Scheduler::builder()
        .workers(1)
        .capture_limit(3)
        .capture_time(LONG)
        .build()
        .unwrap();
    let log: Log = scheduler.resource(Vec::new());
    assert_eq!(count_captured(&log, 20), 2);
    let own = build(Resource::builder().scheduler(&scheduler).capture_limit(5));
    assert_eq!(count_captured(&own, 20), 4);
}

#[test]
fn no_task_starts_after_capture_time() {
    let log = build(
        Resource::builder()
            .capture_limit(usize::MAX)
            .capture_time(Duration::ZERO),
    );
    assert_eq!(count_captured(&log, 20), 0);
}

#[test]
fn capture_time_of_resource_overrides_scheduler() {
    let scheduler = Scheduler::builder()
        .workers(1)
        .capture_limit(100)
        .capture_time(Duration::ZERO)
        .build()
        .unwrap();
    let log: Log = scheduler.resource(Vec::new());
    assert_eq!(count_captured(&log, 20), 0);
    let own = build(Resource::builder().scheduler(&scheduler).capture_time(LONG));
    assert_eq!(count_captured(&own, 20), 20);
}

#[test]
fn capture_ends_after_long_foreign_task() {
    // The first foreign task takes longer than the capture time. Having started in time, it runs to
    // its end. The submitter starts no further task.
    let time = Duration::from_secs(1);
    let log = build(
        Resource::builder()
            .capture_limit(usize::MAX)
            .capture_time(time),
    );
    let held = hold(&log);
    let holder = held.thread();
    log.execute(move |v| {
        let begin = Instant::now();
        v.push(thread::current().id());
        while begin.elapsed() < time {
            thread::yield_now();
        }
    })
    .unwrap();
    for _ in 0..5 {
        note(&log);
    }
    held.release();
    let ran = log.with(|v| v.clone()).unwrap();
    assert_eq!(ran.len(), 6);
    let by_holder = ran.iter().filter(|id| **id == holder).count();
    assert!(by_holder <= 1, "{by_holder}");
}

#[test]
fn own_task_does_not_use_up_capture_time() {
    let time = Duration::from_millis(200);
    let log = build(Resource::builder().capture_limit(2).capture_time(time));
    // Retried, because a loaded machine may stall for longer than the capture time.
    wait_until(
        "a foreign task runs after the submitter's own long task",
        || {
            let (running, queued) = (Gate::new(), Gate::new());
            let submitter = {
                let (log, running, queued) = (log.clone(), running.clone(), queued.clone());
                thread::spawn(move || {
                    log.execute(move |_| {
                        running.open();
                        queued.wait();
                        let begin = Instant::now();
                        while begin.elapsed() < 2 * time {
                            thread::yield_now();
                        }
                    })
                    .unwrap();
                })
            };
            let id = submitter.thread().id();
            running.wait();
            note(&log);
            queued.open();
            join(submitter).unwrap();
            log.with(std::mem::take) == Ok(vec![id])
        },
    );
}

#[test]
fn submitter_takes_over_handed_off_queue() {
    // The executor keeps its jobs, so a handed-off queue stays on offer until a submitter takes
    // the queue over.
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(3)
        .capture_time(LONG)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let log: Log = scheduler.resource(Vec::new());
    let held = hold(&log);
    for _ in 0..10 {
        note(&log);
    }
    held.release();
    let stats = log.stats();
    assert_eq!((stats.outstanding, stats.handoffs), (8, 1));
    // The submitter runs three of the eight tasks. Its own task stays at the end of the queue.
    note(&log);
    let stats = log.stats();
    assert_eq!((stats.outstanding, stats.handoffs), (6, 2));
    let me = thread::current().id();
    for job in jobs.try_iter() {
        job.run();
    }
    assert_eq!(log.stats().outstanding, 0);
    let ran = log.with(|v| v.clone()).unwrap();
    assert_eq!(ran.len(), 11);
    assert!(ran[2..].iter().all(|id| *id == me), "job and submitter");
}

#[test]
fn capture_limit_1_runs_no_foreign_task() {
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(1)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let log: Log = scheduler.resource(Vec::new());
    let held = hold(&log);
    note(&log);
    held.release();
    assert_eq!(log.stats().outstanding, 1);
    note(&log);
    assert_eq!(log.stats().outstanding, 2);
    for job in jobs.try_iter() {
        job.run();
    }
    assert_eq!(log.stats().outstanding, 0);
}

#[test]
fn submitter_returns_when_resource_feeds_itself() {
    let r = Resource::new(());
    let stop = Gate::new();
    feed(&r, &stop);
    // The submitter has returned, so the endless chain runs elsewhere.
    stop.open();
    wait_until("the chain ends", || r.stats().outstanding == 0);
    assert!(r.stats().handoffs >= 1);
}

fn feed(r: &Resource<()>, stop: &Gate) {
    let (again, until) = (r.clone(), stop.clone());
    r.execute(move |_| {
        if !until.is_open() {
            feed(&again, &until);
        }
    })
    .unwrap();
}

#[test]
fn submitter_is_captured_when_own_task_panics() {
    let log = build(Resource::builder().capture_limit(4).capture_time(LONG));
    let (running, go) = (Gate::new(), Gate::new());
    let submitter = {
        let (log, running, go) = (log.clone(), running.clone(), go.clone());
        thread::spawn(move || {
            log.with(move |_| {
                running.open();
                go.wait();
                std::panic::resume_unwind(Box::new("own"));
            })
            .unwrap_err()
        })
    };
    let id = submitter.thread().id();
    running.wait();
    for _ in 0..10 {
        note(&log);
    }
    go.open();
    join(submitter).unwrap();
    let ran = log.with(|v| v.clone()).unwrap();
    assert_eq!(ran.iter().filter(|at| **at == id).count(), 3);
}

#[test]
fn build_fails_when_capture_limit_is_zero() {
    let resource = Resource::builder().capture_limit(0).build(());
    assert_eq!(resource.unwrap_err(), BuildError::ZeroCaptureLimit);
    let scheduler = Scheduler::builder().capture_limit(0).build();
    assert_eq!(scheduler.unwrap_err(), BuildError::ZeroCaptureLimit);
}
