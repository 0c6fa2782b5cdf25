#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Every field of the statistics. The statistics are exact while no task is queued or running.

mod common;

use captor::{Dispatch, Job, PanicPolicy, Resource, ResourceStats, Scheduler, SchedulerStats};
use common::{Sleepers, hold, join, outcome, pooled, wait_until, within_deadline};
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

/// Yields until `time` has passed.
fn spend(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        thread::yield_now();
    }
}

fn assert_balanced(stats: &ResourceStats) {
    assert_eq!(stats.outstanding, 0, "{stats:?}");
    assert_eq!(
        stats.submitted,
        stats.completed + stats.panicked + stats.cancelled + stats.expired,
        "{stats:?}"
    );
}

#[test]
fn stats_are_zero_when_new() {
    assert_eq!(Resource::new(()).stats(), ResourceStats::default());
}

#[test]
fn submitted_and_completed_count_every_call() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(()).unwrap();
        r.with(|_| ()).unwrap();
        r.execute(|_| ()).unwrap();
        outcome(r.submit(|_| ())).unwrap();
        outcome(r.try_submit(|_| ()).unwrap()).unwrap();
        let held = hold(&r);
        let queued = r.submit(|_| ());
        assert_eq!(r.stats().submitted, 6);
        assert_eq!(r.stats().completed, 4);
        held.release();
        outcome(queued).unwrap();
        wait_until("the resource is idle", || r.stats().outstanding == 0);
        let stats = r.stats();
        assert_eq!((stats.submitted, stats.completed), (6, 6));
        assert_balanced(&stats);
    }
}

#[test]
fn outstanding_counts_queued_and_running() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(()).unwrap();
        let held = hold(&r);
        assert_eq!(r.stats().outstanding, 1);
        let tasks: Vec<_> = (0..4).map(|_| r.submit(|_| ())).collect();
        assert_eq!(r.stats().outstanding, 5);
        assert!(tasks[0].cancel());
        assert_eq!(r.stats().outstanding, 4);
        assert_eq!(r.cancel_pending(), 3);
        assert_eq!(r.stats().outstanding, 1);
        held.release();
        wait_until("the resource is idle", || r.stats().outstanding == 0);
        assert_balanced(&r.stats());
    }
}

#[test]
fn outstanding_counts_running_task_from_inside() {
    let r = Resource::new(());
    let inside = r.clone();
    let stats = r.with(move |_| {
        inside.execute(|_| ()).unwrap();
        inside.stats()
    });
    assert_eq!(stats.unwrap().outstanding, 2);
    assert_balanced(&r.stats());
}

#[test]
fn max_outstanding_keeps_the_peak() {
    let r = Resource::new(());
    r.with(|_| ()).unwrap();
    assert_eq!(r.stats().max_outstanding, 1);
    for round in [4, 2] {
        let held = hold(&r);
        for _ in 0..round {
            r.execute(|_| ()).unwrap();
        }
        held.release();
        wait_until("the resource is idle", || r.stats().outstanding == 0);
        assert_eq!(r.stats().max_outstanding, 5);
    }
}

#[test]
fn max_outstanding_leaves_out_cancelled_tasks() {
    for sweep in [false, true] {
        let r = Resource::new(());
        let held = hold(&r);
        for _ in 0..3 {
            let task = r.submit(|_| ());
            if sweep {
                assert_eq!(r.cancel_pending(), 1);
            } else {
                assert!(task.cancel());
            }
        }
        // One task runs and one is queued: never more than two at once.
        assert_eq!(r.stats().max_outstanding, 2, "swept: {sweep}");
        held.release();
    }
}

#[test]
fn max_outstanding_leaves_out_refused_tasks() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(()).unwrap();
        let held = hold(&r);
        r.close();
        for _ in 0..3 {
            r.execute(|_| ()).unwrap_err();
        }
        assert_eq!(r.stats().max_outstanding, 1, "{dispatch:?}");
        assert_eq!(r.stats().outstanding, 1);
        held.release();
    }
}

#[test]
fn panicked_counts_inline_and_queued_tasks() {
    let r = Resource::new(());
    r.execute(|_| -> () { resume_unwind(Box::new("inline")) })
        .unwrap();
    let held = hold(&r);
    let queued: captor::Completion<()> = r.submit(|_| resume_unwind(Box::new("queued")));
    held.release();
    outcome(queued).unwrap_err();
    wait_until("the resource is idle", || r.stats().outstanding == 0);
    let stats = r.stats();
    assert_eq!((stats.panicked, stats.completed), (2, 1));
    assert_balanced(&stats);
}

#[test]
fn cancelled_counts_every_way_to_cancel() {
    let r = Resource::builder()
        .panic_policy(PanicPolicy::Poison)
        .build(())
        .unwrap();
    let held = hold(&r);
    assert!(r.submit(|_| ()).cancel());
    drop(r.submit(|_| ()).cancel_on_drop());
    let pending = r.submit(|_| ());
    assert_eq!(r.cancel_pending(), 1);
    assert_eq!(r.stats().cancelled, 3);
    r.execute(|_| -> () { resume_unwind(Box::new("poison")) })
        .unwrap();
    let poisoned = r.submit(|_| ());
    held.release();
    outcome(pending).unwrap_err();
    outcome(poisoned).unwrap_err();
    wait_until("the resource is idle", || r.stats().outstanding == 0);
    let stats = r.stats();
    assert_eq!(stats.cancelled, 4);
    assert_eq!(
        (stats.completed, stats.panicked, stats.submitted),
        (1, 1, 6)
    );
    assert_balanced(&stats);
}

#[test]
fn late_cancel_is_not_counted() {
    let r = Resource::new(());
    let held = hold(&r);
    let task = r.submit(|_| ());
    held.release();
    wait_until("the task ran", || task.is_finished());
    assert!(!task.cancel());
    assert_eq!(r.stats().cancelled, 0);
    assert_balanced(&r.stats());
}

#[test]
fn expired_is_zero_without_deadlines() {
    let r = Resource::new(());
    r.with(|_| ()).unwrap();
    assert_eq!(r.stats().expired, 0);
}

#[test]
fn rejected_counts_every_refused_call() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = Resource::builder().dispatch(dispatch).build(()).unwrap();
        r.close();
        r.submit(|_| ()).wait().unwrap_err();
        r.execute(|_| ()).unwrap_err();
        r.try_submit(|_| ()).unwrap_err();
        r.with(|_| ()).unwrap_err();
        let stats = r.stats();
        assert_eq!((stats.rejected, stats.submitted), (4, 0));
        assert_balanced(&stats);
    }
}

#[test]
fn handoffs_count_only_beyond_capture_limit() {
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(2)
        .capture_time(LONG)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = scheduler.resource(());
    r.with(|_| ()).unwrap();
    assert_eq!(r.stats().handoffs, 0);
    let held = hold(&r);
    r.execute(|_| ()).unwrap();
    held.release();
    assert_eq!(r.stats().handoffs, 0, "the queue was within the limit");
    let held = hold(&r);
    for _ in 0..3 {
        r.execute(|_| ()).unwrap();
    }
    held.release();
    assert_eq!(r.stats().handoffs, 1);
    assert_eq!(jobs.try_iter().map(Job::run).count(), 1);
    assert_eq!(r.stats().handoffs, 1, "the job ran the rest");
    assert_balanced(&r.stats());
}

#[test]
fn lent_is_time_spent_on_foreign_tasks() {
    let time = Duration::from_millis(20);
    let r = Resource::builder()
        .capture_limit(100)
        .capture_time(LONG)
        .build(())
        .unwrap();
    // The submitter's own task does not count as lent time, even if long.
    r.with(|_| spend(time)).unwrap();
    assert_eq!(r.stats().lent, Duration::ZERO);
    let held = hold(&r);
    for _ in 0..3 {
        r.execute(move |_| spend(time)).unwrap();
    }
    held.release();
    let lent = r.stats().lent;
    assert!(lent >= 3 * time, "{lent:?}");
}

#[test]
fn lent_leaves_out_own_task_after_takeover() {
    // The submitter takes over a queue that was handed off, runs a queued task, then its own,
    // which is long.
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(2)
        .capture_time(LONG)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = scheduler.resource(());
    let held = hold(&r);
    r.execute(|_| ()).unwrap();
    r.execute(|_| ()).unwrap();
    held.release();
    assert_eq!(r.stats().outstanding, 1);
    let before = r.stats().lent;
    let begin = Instant::now();
    let long = Duration::from_millis(300);
    outcome(r.submit(move |_| spend(long))).unwrap();
    let all = begin.elapsed();
    let lent = r.stats().lent - before;
    assert!(lent + long <= all, "lent {lent:?} of {all:?}");
    drop(jobs);
}

#[test]
fn lent_counts_tasks_run_by_blocked_waiter() {
    let asleep = Sleepers::new();
    // The executor keeps its jobs, so the waiter must run the queued task.
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(1)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let time = Duration::from_millis(20);
    let r = scheduler.resource(());
    let held = hold(&r);
    r.execute(move |_| spend(time)).unwrap();
    let waiter = {
        let (r, asleep) = (r.clone(), asleep.clone());
        thread::spawn(move || {
            asleep.here();
            r.with(|_| ())
        })
    };
    asleep.wait(&r, 3);
    held.release();
    join(waiter).unwrap().unwrap();
    let lent = r.stats().lent;
    assert!(lent >= time, "{lent:?}");
    drop(jobs);
}

#[test]
fn lent_is_zero_when_workers_run_all_tasks() {
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(())
        .unwrap();
    let held = hold(&r);
    for _ in 0..3 {
        r.execute(|_| spend(Duration::from_millis(2))).unwrap();
    }
    held.release();
    wait_until("the resource is idle", || r.stats().outstanding == 0);
    assert_eq!(r.stats().lent, Duration::ZERO);
}

#[test]
fn stats_balance_after_mixed_load() {
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            let r = Resource::builder()
                .dispatch(dispatch)
                .capture_limit(3)
                .build(0_u64)
                .unwrap();
            let (mut cancelled, mut panicked) = (0, 0);
            thread::scope(|s| {
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        s.spawn(|| {
                            let mut counts = (0_u64, 0_u64);
                            for n in 0..2_000_u64 {
                                match n % 5 {
                                    0 => r.with(|n| *n += 1).unwrap(),
                                    1 => r.execute(|n| *n += 1).unwrap(),
                                    2 => drop(r.submit(|n| *n += 1)),
                                    3 => counts.0 += u64::from(r.submit(|n| *n += 1).cancel()),
                                    _ => {
                                        r.execute(|_| -> () { resume_unwind(Box::new("x")) })
                                            .unwrap();
                                        counts.1 += 1;
                                    }
                                }
                            }
                            counts
                        })
                    })
                    .collect();
                for thread in threads {
                    let counts = thread.join().unwrap();
                    cancelled += counts.0;
                    panicked += counts.1;
                }
            });
            wait_until("the resource is idle", || r.stats().outstanding == 0);
            let stats = r.stats();
            assert_eq!(stats.submitted, 6_000);
            assert_eq!((stats.cancelled, stats.panicked), (cancelled, panicked));
            assert!(stats.max_outstanding >= 1 && stats.max_outstanding <= 6_000);
            assert_balanced(&stats);
            assert_eq!(r.with(|n| *n), Ok(stats.completed));
        }
    });
}

#[test]
fn finished_never_exceeds_submitted_during_load() {
    let r = Resource::new(());
    let done = common::Gate::new();
    let producer = {
        let (r, done) = (r.clone(), done.clone());
        thread::spawn(move || {
            for n in 0..20_000 {
                if n % 7 == 0 {
                    drop(r.submit(|_| ()).cancel_on_drop());
                } else {
                    r.execute(|_| ()).unwrap();
                }
            }
            done.open();
        })
    };
    while !done.is_open() {
        let stats = r.stats();
        let through = stats.completed + stats.cancelled;
        // The counters may be a few apart, as documented, but never off by a wrapped counter.
        assert!(through <= stats.submitted + 64, "{stats:?}");
        assert!(stats.outstanding <= 20_000, "{stats:?}");
    }
    join(producer).unwrap();
}

#[test]
fn scheduler_stats_follow_workers_and_jobs() {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    let fresh = scheduler.stats();
    assert_eq!((fresh.workers, fresh.threads, fresh.idle), (2, 0, 0));
    assert_eq!((fresh.dispatched, fresh.finished), (0, 0));
    let r = pooled(&scheduler, ());
    for n in 1..=5 {
        outcome(r.submit(|_| ())).unwrap();
        wait_until("the worker finished the job", || {
            scheduler.stats().finished == n
        });
        assert_eq!(scheduler.stats().dispatched, n);
    }
    wait_until("all workers are idle", || {
        let stats = scheduler.stats();
        stats.idle == stats.threads
    });
    let stats = scheduler.stats();
    assert!((1..=2).contains(&stats.threads), "{stats:?}");
    let held = hold(&r);
    wait_until("one worker is busy", || {
        let stats = scheduler.stats();
        stats.idle + 1 == stats.threads
    });
    assert_eq!(scheduler.stats().dispatched, 6);
    assert_eq!(scheduler.stats().finished, 5);
    held.release();
}

#[test]
fn scheduler_stats_show_no_threads_with_executor() {
    let scheduler = Scheduler::builder()
        .executor(|job: Job| job.run())
        .build()
        .unwrap();
    let r = pooled(&scheduler, ());
    r.execute(|_| ()).unwrap();
    let SchedulerStats {
        workers,
        threads,
        idle,
        dispatched,
        finished,
        ..
    } = scheduler.stats();
    assert_eq!((workers, threads, idle), (0, 0, 0));
    assert_eq!((dispatched, finished), (1, 1));
}
