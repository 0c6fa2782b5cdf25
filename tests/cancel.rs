#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Cancelling a task or a whole queue, from outside and inside of tasks, and while the holder runs
//! the queue.

mod common;

use captor::{Dispatch, Resource, TaskError};
use common::{
    CountingWaker, Drops, Gate, Sleepers, hold, hold_running, join, outcome, pooled, wait_until,
    within_deadline,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::thread;

#[test]
fn cancel_drops_closure_at_once_when_queued() {
    let drops = Drops::new();
    let r = Resource::new(0);
    let held = hold(&r);
    let tag = drops.counted();
    let second = r.submit(move |n| {
        let _tag = tag;
        *n = 7;
    });
    assert!(second.cancel());
    assert_eq!(drops.count(), 1);
    assert!(second.is_finished());
    assert!(!second.cancel(), "the task is cancelled already");
    assert_eq!(second.wait(), Err(TaskError::Cancelled));
    held.release();
    assert_eq!(r.with(|n| *n), Ok(0));
    assert_eq!(drops.count(), 1);
}

#[test]
fn cancel_leaves_remaining_tasks_queued() {
    let r = Resource::new(Vec::new());
    let held = hold(&r);
    let tasks: Vec<_> = (0..5).map(|n| r.submit(move |v| v.push(n))).collect();
    assert!(tasks[0].cancel());
    assert!(tasks[2].cancel());
    assert!(tasks[4].cancel());
    held.release();
    let outcomes: Vec<_> = tasks.into_iter().map(outcome).collect();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = if n % 2 == 0 {
            Err(TaskError::Cancelled)
        } else {
            Ok(())
        };
        assert_eq!(outcome, expected, "{n}");
    }
    assert_eq!(r.with(|v| v.clone()), Ok(vec![1, 3]));
}

#[test]
fn cancel_does_not_stop_running_task() {
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(0)
        .unwrap();
    let (gate, task) = hold_running(&r, |n| {
        *n += 1;
        *n
    });
    assert!(!task.cancel());
    gate.open();
    assert_eq!(outcome(task), Ok(1));
}

#[test]
fn cancel_keeps_outcome_when_finished() {
    let r = Resource::new(1);
    let inline = r.submit(|n| *n);
    assert!(!inline.cancel());
    assert_eq!(inline.wait(), Ok(1));
    let held = hold(&r);
    let queued = r.submit(|n| *n + 1);
    held.release();
    wait_until("the task has run", || queued.is_finished());
    assert!(!queued.cancel());
    assert_eq!(queued.wait(), Ok(2));
}

#[test]
fn cancel_keeps_outcome_when_resource_is_gone() {
    let r = Resource::new(1);
    let held = hold(&r);
    let queued = r.submit(|n| *n);
    drop(r);
    held.release();
    wait_until("the task has run", || queued.is_finished());
    assert!(!queued.cancel());
    assert_eq!(queued.wait(), Ok(1));
}

#[test]
fn cancel_wakes_polled_completion_once() {
    let r = Resource::new(());
    let held = hold(&r);
    let mut task = r.submit(|_| ());
    let count = CountingWaker::new();
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
    assert!(task.cancel());
    assert_eq!(count.wakes(), 1);
    assert_eq!(
        Pin::new(&mut task).poll(&mut cx),
        Poll::Ready(Err(TaskError::Cancelled))
    );
    held.release();
    assert_eq!(count.wakes(), 1);
}

#[test]
fn cancel_pending_wakes_blocked_thread() {
    // A thread waits for the completion; `cancel_pending` cancels the task.
    let r = Resource::new(());
    let held = hold(&r);
    let task = r.submit(|_| ());
    let waiter = thread::spawn(move || task.wait());
    assert_eq!(r.cancel_pending(), 1);
    assert_eq!(join(waiter).unwrap(), Err(TaskError::Cancelled));
    held.release();
}

#[test]
fn cancel_on_drop_cancels_queued_task() {
    let drops = Drops::new();
    let r = Resource::new(0);
    let held = hold(&r);
    let tag = drops.counted();
    let task = r
        .submit(move |n| {
            let _tag = tag;
            *n += 1;
        })
        .cancel_on_drop();
    assert_eq!(drops.count(), 0);
    drop(task);
    assert_eq!(drops.count(), 1);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(0));
    assert_eq!(r.stats().cancelled, 1);
}

#[test]
fn cancel_on_drop_spares_running_and_finished() {
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(0)
        .unwrap();
    let (gate, started) = hold_running(&r, |n| *n += 1);
    drop(started.cancel_on_drop());
    gate.open();
    assert_eq!(r.with(|n| *n), Ok(1));
    let inline = Resource::new(0);
    drop(inline.submit(|n| *n += 1).cancel_on_drop());
    assert_eq!(inline.with(|n| *n), Ok(1));
    assert_eq!(r.stats().cancelled + inline.stats().cancelled, 0);
}

#[test]
fn cancel_on_drop_does_nothing_after_wait() {
    let r = Resource::new(0);
    let held = hold(&r);
    let task = r.submit(|n| *n += 1).cancel_on_drop();
    held.release();
    assert_eq!(outcome(task), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn cancel_on_drop_holds_after_timed_out_wait() {
    let r = Resource::new(0);
    let held = hold(&r);
    let task = r.submit(|n| *n += 1).cancel_on_drop();
    let late = task.wait_timeout(std::time::Duration::from_millis(1));
    drop(late.expect_err("the task is queued behind the held task"));
    held.release();
    assert_eq!(r.with(|n| *n), Ok(0));
}

#[test]
fn cancel_pending_spares_running_task() {
    let drops = Drops::new();
    let r = Resource::new(0);
    let held = hold(&r);
    let tags: Vec<_> = (0..10).map(|_| drops.counted()).collect();
    let submitted: Vec<_> = tags
        .into_iter()
        .map(|tag| {
            r.submit(move |n| {
                let _tag = tag;
                *n += 1;
            })
        })
        .collect();
    let tag = drops.counted();
    r.execute(move |n| {
        let _tag = tag;
        *n += 1;
    })
    .unwrap();
    assert!(submitted[3].cancel());
    assert_eq!(r.cancel_pending(), 10, "task 3 was cancelled before");
    assert_eq!(drops.count(), 11);
    for task in submitted {
        assert!(task.is_finished());
        assert_eq!(task.wait(), Err(TaskError::Cancelled));
    }
    assert_eq!(r.cancel_pending(), 0);
    held.release();
    let stats = r.stats();
    assert_eq!((stats.cancelled, stats.completed), (11, 1));
    assert_eq!(r.with(|n| *n), Ok(0));
}

#[test]
fn cancel_pending_works_when_idle_or_closed() {
    let r = Resource::new(());
    assert_eq!(r.cancel_pending(), 0);
    let held = hold(&r);
    let queued = r.submit(|_| ());
    r.close();
    assert_eq!(r.cancel_pending(), 1);
    assert_eq!(outcome(queued), Err(TaskError::Cancelled));
    held.release();
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn cancel_pending_spares_calling_task() {
    let r = Resource::new(0);
    let (running, go) = (Gate::new(), Gate::new());
    let canceller = {
        let (outer, inner) = (r.clone(), r.clone());
        let (running, go) = (running.clone(), go.clone());
        thread::spawn(move || {
            outer.with(move |n| {
                running.open();
                go.wait();
                let mine = inner.submit(|n| *n += 1);
                let cancelled = inner.cancel_pending();
                *n += 1;
                (cancelled, mine.wait())
            })
        })
    };
    running.wait();
    let queued = r.submit(|n| *n += 1);
    go.open();
    let inside = join(canceller).unwrap();
    assert_eq!(inside, Ok((2, Err(TaskError::Cancelled))));
    assert_eq!(outcome(queued), Err(TaskError::Cancelled));
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn cancel_pending_wakes_threads_blocked_in_with() {
    let asleep = Sleepers::new();
    let r = Resource::new(0);
    let held = hold(&r);
    thread::scope(|s| {
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| {
                    asleep.here();
                    r.with(|n| *n += 1)
                })
            })
            .collect();
        asleep.wait(&r, 5);
        assert_eq!(r.cancel_pending(), 4);
        // The waiters return while the resource is still held.
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(TaskError::Cancelled));
        }
    });
    held.release();
    assert_eq!(r.with(|n| *n), Ok(0));
}

#[test]
fn cancel_pending_empties_handed_off_queue() {
    // Every task that the job would run is cancelled before the job runs.
    let (send, jobs) = std::sync::mpsc::channel();
    let scheduler = captor::Scheduler::builder()
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = pooled(&scheduler, 0);
    let task = r.submit(|n| *n += 1);
    assert_eq!(r.cancel_pending(), 1);
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    let next = r.submit(|n| *n += 1);
    for job in jobs.try_iter() {
        job.run();
    }
    assert_eq!(outcome(next), Ok(()));
    r.close();
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn closure_may_submit_in_drop_when_cancelled() {
    struct Resubmits(Resource<u32>);
    impl Drop for Resubmits {
        fn drop(&mut self) {
            self.0.execute(|n| *n += 100).unwrap();
        }
    }
    for pending in [false, true] {
        let r = Resource::new(0);
        let held = hold(&r);
        let again = Resubmits(r.clone());
        let task = r.submit(move |_| drop(again));
        if pending {
            assert_eq!(r.cancel_pending(), 1);
        } else {
            assert!(task.cancel());
        }
        held.release();
        assert_eq!(r.with(|n| *n), Ok(100));
    }
}

#[test]
fn task_never_both_runs_and_is_cancelled() {
    // Each task runs or is cancelled, never both. The canceller and the outcomes agree.
    within_deadline(|| {
        let r = Resource::new(());
        for _ in 0..100 {
            let held = hold(&r);
            let ran = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let ran = ran.clone();
                    r.submit(move |_| ran.fetch_add(1, Ordering::SeqCst))
                })
                .collect();
            let both = Arc::new(Barrier::new(2));
            let canceller = {
                let both = both.clone();
                thread::spawn(move || {
                    both.wait();
                    // From the end of the queue, towards the holder.
                    let cancelled = tasks.iter().rev().filter(|t| t.cancel()).count();
                    (cancelled, tasks)
                })
            };
            let gate = held.gate();
            both.wait();
            gate.open();
            let (cancelled, tasks) = join(canceller).unwrap();
            let resolved = tasks.into_iter().map(outcome);
            let refused = resolved.filter(|o| *o == Err(TaskError::Cancelled)).count();
            assert_eq!(refused, cancelled);
            held.release();
            wait_until("every task has resolved", || r.stats().outstanding == 0);
            assert_eq!(ran.load(Ordering::SeqCst), 20 - cancelled);
        }
    });
}

#[test]
fn cancel_pending_count_is_exact_during_submits() {
    within_deadline(|| {
        let r = Resource::builder().capture_limit(2).build(0_u64).unwrap();
        let stop = Gate::new();
        let swept = thread::scope(|s| {
            let canceller = s.spawn(|| {
                let mut swept = 0;
                while !stop.is_open() {
                    swept += r.cancel_pending() as u64;
                }
                swept + r.cancel_pending() as u64
            });
            let submitters: Vec<_> = (0..3)
                .map(|_| {
                    s.spawn(|| {
                        for _ in 0..5_000 {
                            r.execute(|n| *n += 1).unwrap();
                        }
                    })
                })
                .collect();
            for submitter in submitters {
                submitter.join().unwrap();
            }
            stop.open();
            canceller.join().unwrap()
        });
        wait_until("every task has resolved", || r.stats().outstanding == 0);
        assert_eq!(r.with(|n| *n), Ok(15_000 - swept));
        assert_eq!(r.stats().cancelled, swept);
    });
}

#[test]
fn single_cancel_wins_when_two_threads_race() {
    let r = Resource::new(());
    for _ in 0..100 {
        let held = hold(&r);
        let task = r.submit(|_| ());
        let both = Barrier::new(2);
        let yes = thread::scope(|s| {
            let cancel = || {
                both.wait();
                task.cancel()
            };
            let threads = [s.spawn(cancel), s.spawn(cancel)];
            threads.map(|t| t.join().unwrap())
        });
        assert!(yes[0] != yes[1], "exactly one cancels");
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
        held.release();
    }
}

/// A task that the holder has taken and not started is still pending. `cancel_pending` cancels
/// such a task at once, while the task before it blocks.
#[test]
fn cancel_pending_reaches_tasks_taken_by_holder() {
    let r = Resource::new(0);
    let held = hold(&r);
    let (running, gate) = (common::Gate::new(), common::Gate::new());
    let (started, exit) = (running.clone(), gate.clone());
    let blocks = r.submit(move |_| {
        started.open();
        exit.wait();
    });
    let taken = [r.submit(|n| *n += 1), r.submit(|n| *n += 1)];
    held.gate().open();
    // The holder took all three tasks in one step.
    running.wait();
    let pushed = r.submit(|n| *n += 1);
    assert_eq!(r.cancel_pending(), 3);
    for task in taken {
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
    }
    assert_eq!(outcome(pushed), Err(TaskError::Cancelled));
    assert!(!blocks.is_finished());
    gate.open();
    held.release();
    assert_eq!(outcome(blocks), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(0));
}
