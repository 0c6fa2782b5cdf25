#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Deadlines: a task that does not start in time expires.

mod common;

use captor::{Dispatch, Job, Resource, Scheduler, SubmitError, TaskError, TrySubmitError};
use common::{DEADLINE, Drops, Gate, hold, join, on_drop, outcome, panic_message, wait_until};
use futures::executor::block_on;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(3600);

const EACH: [Dispatch; 2] = [Dispatch::Inline, Dispatch::Pool];

fn resource(dispatch: Dispatch) -> Resource<u32> {
    Resource::builder().dispatch(dispatch).build(0).unwrap()
}

#[test]
fn queued_task_expires_at_its_deadline() {
    for dispatch in EACH {
        let r = resource(dispatch);
        let held = hold(&r);
        let drops = Drops::new();
        let counted = drops.counted();
        let since = Instant::now();
        let late = r.task().timeout(SOON).submit(move |_| drop(counted));
        let waits = r.task().timeout(LATER).submit(|n| *n += 1);
        // While the resource is held.
        assert_eq!(outcome(late), Err(TaskError::Expired));
        assert!(since.elapsed() >= SOON, "the task expired too early");
        assert_eq!(drops.count(), 1);
        let stats = r.stats();
        assert_eq!((stats.expired, stats.outstanding), (1, 2));
        held.release();
        assert_eq!(outcome(waits), Ok(()));
        let stats = r.stats();
        assert_eq!((stats.expired, stats.completed, stats.cancelled), (1, 2, 0));
    }
}

#[test]
fn expiry_wakes_wait_await_and_wait_timeout() {
    let r = resource(Dispatch::Inline);
    let held = hold(&r);
    let late = || r.task().timeout(SOON).submit(|n| *n);
    assert_eq!(late().wait(), Err(TaskError::Expired));
    assert_eq!(block_on(late()), Err(TaskError::Expired));
    assert_eq!(
        late().wait_timeout(DEADLINE).unwrap(),
        Err(TaskError::Expired)
    );
    held.release();
}

#[test]
fn started_task_runs_on_past_its_deadline() {
    for dispatch in EACH {
        let r = resource(dispatch);
        let soon = Instant::now() + SOON;
        let task = r.task().deadline(soon).submit(move |n| {
            wait_until("the deadline is past", || Instant::now() > soon + SOON);
            *n
        });
        let result = outcome(task);
        // Expiry is right only if the thread was too late to start the task.
        if result != Err(TaskError::Expired) {
            assert_eq!(result, Ok(0));
        }
    }
}

#[test]
fn task_never_runs_when_submitted_late() {
    for held in [false, true] {
        let r = resource(Dispatch::Inline);
        let held = held.then(|| hold(&r));
        let drops = Drops::new();
        let now = Instant::now();
        let each = [(); 4].map(|()| drops.counted());
        let [one, two, three, four] = each;
        let task = || r.task().deadline(now);
        assert_eq!(task().submit(|_| drop(one)).wait(), Err(TaskError::Expired));
        assert_eq!(task().with(|_| drop(two)), Err(TaskError::Expired));
        let tried = task().try_submit(|_| drop(three));
        assert_eq!(tried.unwrap().wait(), Err(TaskError::Expired));
        assert_eq!(
            task().execute(|_| drop(four)),
            Ok(()),
            "a late task expires silently"
        );
        assert_eq!(drops.count(), 4);
        drop(held);
        let stats = r.stats();
        assert_eq!(
            (stats.expired, stats.rejected, stats.outstanding),
            (4, 0, 0)
        );
        assert_eq!(
            stats.submitted,
            stats.completed + stats.panicked + stats.cancelled + stats.expired
        );
        r.close();
        let closed = r.task().deadline(now).submit(|_| ());
        assert_eq!(closed.wait(), Err(TaskError::Closed));
    }
}

#[test]
fn with_returns_in_time_when_deadline_passes() {
    for dispatch in EACH {
        let r = resource(dispatch);
        let held = hold(&r);
        let drops = Drops::new();
        let (text, counted) = (String::from("borrowed"), drops.counted());
        let with = r.task().timeout(SOON).with(|_| {
            drop(counted);
            text.len()
        });
        // The resource is still held.
        assert_eq!(with, Err(TaskError::Expired));
        assert_eq!(
            drops.count(),
            1,
            "the closure is dropped before `with` returns"
        );
        held.release();
        assert_eq!(r.task().timeout(LATER).with(|_| text.len()), Ok(8));
        assert_eq!(r.stats().expired, 1);
    }
}

#[test]
fn with_returns_result_when_started_in_time() {
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(0)
        .unwrap();
    let held = hold(&r);
    let inside = r.clone();
    let caller = thread::spawn(move || inside.task().timeout(LATER).with(|n: &mut i32| *n + 7));
    wait_until("the task is queued", || r.stats().outstanding == 2);
    held.release();
    assert_eq!(join(caller).unwrap(), Ok(7));
}

#[test]
fn try_submit_returns_closure_when_refused() {
    let r = Resource::builder().capacity(1).build(0).unwrap();
    let held = hold(&r);
    let fills = r.task().timeout(LATER).submit(|n| *n += 1);
    let refused = r.task().timeout(LATER).try_submit(|n: &mut i32| *n + 5);
    let Err(TrySubmitError::Full(f)) = refused else {
        panic!("the queue should be full");
    };
    assert_eq!(f(&mut 1), 6);
    assert_eq!(
        r.task().timeout(LATER).execute(|_| ()),
        Err(SubmitError::Full)
    );
    r.close();
    let refused = r.task().timeout(LATER).try_submit(|n: &mut i32| *n + 5);
    assert!(matches!(refused, Err(TrySubmitError::Closed(_))));
    let with = r.task().timeout(LATER).with(|_| ());
    assert_eq!(with, Err(TaskError::Closed));
    held.release();
    assert_eq!(outcome(fills), Ok(()));
}

#[test]
fn with_in_own_task_is_refused_before_deadline() {
    let r = resource(Dispatch::Inline);
    let inside = r.clone();
    let with = r.with(move |_| inside.task().timeout(LATER).with(|_| ()));
    assert_eq!(with, Ok(Err(TaskError::WouldDeadlock)));
}

#[test]
fn room_returns_when_task_expires() {
    for dispatch in EACH {
        let r = Resource::builder().capacity(1).dispatch(dispatch).build(0);
        let r = r.unwrap();
        let held = hold(&r);
        let late = r.task().timeout(SOON).submit(|_| ());
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Full));
        // Room comes back at the deadline, not at the task's turn in the queue.
        let permit = r.reserve_timeout(DEADLINE).unwrap();
        assert_eq!(outcome(late), Err(TaskError::Expired));
        let next = permit.submit(|n| *n += 1);
        held.release();
        assert_eq!(outcome(next), Ok(()));
    }
}

/// The remains of unrun tasks in the queue do not count as tasks.
#[test]
fn expired_tasks_do_not_use_up_capture_limit() {
    let r = Resource::builder().capture_limit(3);
    let r = r.capture_time(LATER).build(Vec::new()).unwrap();
    let held = hold(&r);
    let thread = held.thread();
    let here = |log: &mut Vec<_>| log.push(thread::current().id());
    let mut gone = Vec::new();
    for n in 0..40 {
        if n % 2 == 0 {
            gone.push(r.task().timeout(SOON).submit(here));
        } else {
            assert!(r.submit(here).cancel());
        }
        if n == 20 {
            r.execute(here).unwrap();
        }
    }
    let expired = gone.into_iter().map(outcome);
    assert!(expired.eq([(); 20].map(|()| Err(TaskError::Expired))));
    r.execute(here).unwrap();
    held.release();
    assert_eq!(r.with(|log| log.clone()), Ok(vec![thread; 2]));
    let stats = r.stats();
    assert_eq!(stats.handoffs, 0, "{stats:?}");
    assert_eq!((stats.expired, stats.cancelled), (20, 20));
}

#[test]
fn sweep_does_not_recount_expired_tasks() {
    let r = resource(Dispatch::Inline);
    let held = hold(&r);
    let late = r.task().timeout(SOON).submit(|_| ());
    let waits = r.task().timeout(LATER).submit(|_| ());
    assert_eq!(outcome(late), Err(TaskError::Expired));
    assert_eq!(r.cancel_pending(), 1);
    assert_eq!(outcome(waits), Err(TaskError::Cancelled));
    let stats = r.stats();
    assert_eq!(
        (stats.expired, stats.cancelled, stats.outstanding),
        (1, 1, 1)
    );
    held.release();
    let stats = r.stats();
    assert_eq!((stats.completed, stats.outstanding), (1, 0));
}

#[test]
fn close_completes_when_queue_has_expired() {
    let r = resource(Dispatch::Inline);
    let held = hold(&r);
    let late = r.task().timeout(SOON).submit(|_| ());
    r.close();
    assert_eq!(outcome(late), Err(TaskError::Expired));
    held.release();
    assert!(r.wait_closed(DEADLINE));
}

#[test]
fn timer_keeps_no_outcome_of_finished_task() {
    let r = resource(Dispatch::Inline);
    let drops = Drops::new();
    for taken in [false, true] {
        let held = hold(&r);
        let (one, two) = (drops.counted(), drops.counted());
        let task = r.task().timeout(LATER).submit(move |_| one);
        // The outcome of this task is not wanted.
        drop(r.task().timeout(LATER).submit(move |_| two));
        held.release();
        let before = drops.count();
        if taken {
            drop(outcome(task));
        } else {
            wait_until("the task has resolved", || task.is_finished());
            drop(task);
        }
        assert_eq!(drops.count(), before + 1);
    }
    assert_eq!(drops.count(), 4);
}

#[test]
fn panic_in_drop_is_outcome_when_task_expires() {
    struct Brittle;
    impl Drop for Brittle {
        fn drop(&mut self) {
            panic!("brittle");
        }
    }
    let r = resource(Dispatch::Inline);
    let held = hold(&r);
    let brittle = Brittle;
    let late = r
        .task()
        .timeout(SOON)
        .submit(move |_| std::mem::forget(brittle));
    assert_eq!(panic_message(outcome(late)), "brittle");
    // The timer thread still works.
    let late = r.task().timeout(SOON).submit(|_| ());
    assert_eq!(outcome(late), Err(TaskError::Expired));
    held.release();
    assert_eq!(r.stats().expired, 2);
}

/// The timer thread wakes the continuation of the expired task.
#[test]
fn then_resolves_to_expired_when_first_expires() {
    let r = resource(Dispatch::Inline);
    let held = hold(&r);
    let other = resource(Dispatch::Inline);
    let then = r
        .task()
        .timeout(SOON)
        .submit(|_| ())
        .then(&other, |n, ()| *n += 1);
    assert_eq!(outcome(then), Err(TaskError::Expired));
    held.release();
}

#[test]
fn task_expires_on_every_kind_of_scheduler() {
    let executor = Scheduler::builder()
        .executor(|job: Job| drop(thread::spawn(|| job.run())))
        .build();
    for scheduler in [executor, Scheduler::builder().workers(1).build()] {
        let r = scheduler.unwrap().resource(());
        let held = hold(&r);
        let late = r.task().timeout(SOON).submit(|_| ());
        assert_eq!(outcome(late), Err(TaskError::Expired));
        held.release();
    }
}

#[test]
fn timeout_of_duration_max_never_expires() {
    let r = resource(Dispatch::Inline);
    let held = hold(&r);
    let task = r.task().timeout(Duration::MAX).submit(|n| *n);
    held.release();
    assert_eq!(outcome(task), Ok(0));
}

/// Tasks expire, run and are cancelled on several threads at once.
#[test]
fn stats_add_up_during_expiry_and_cancels() {
    let r = Resource::builder().priorities(3).capacity(50).build(0_u64);
    let r = r.unwrap();
    let stop = Gate::new();
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let (r, stop) = (r.clone(), stop.clone());
            thread::spawn(move || {
                let mut ran = 0;
                for n in 0..3_000_u64 {
                    let time = Duration::from_micros((n * 7 + thread) % 60);
                    let task = r.task().timeout(time).priority((n % 3) as u8);
                    let task = task.submit(|n| {
                        *n += 1;
                        thread::yield_now();
                    });
                    if n % 5 == 0 {
                        task.cancel();
                    }
                    match outcome(task) {
                        Ok(()) => ran += 1,
                        Err(TaskError::Expired | TaskError::Cancelled | TaskError::Full) => {}
                        Err(other) => panic!("{other}"),
                    }
                    if n % 500 == 0 {
                        r.cancel_pending();
                    }
                }
                stop.open();
                ran
            })
        })
        .collect();
    let ran: u64 = threads.into_iter().map(|t| join(t).unwrap()).sum();
    assert_eq!(r.with(|n| *n), Ok(ran));
    let stats = r.stats();
    assert_eq!(stats.completed, ran + 1);
    assert_eq!(stats.outstanding, 0);
    assert_eq!(
        stats.submitted,
        stats.completed + stats.cancelled + stats.expired
    );
    let permits: Vec<_> = (0..50).map(|_| r.try_reserve().unwrap()).collect();
    assert!(r.try_reserve().is_err());
    drop(permits);
}

/// The timer thread drops expired closures, and must not block there.
#[test]
fn drop_of_expired_closure_does_not_block_timer() {
    let (r, other) = (resource(Dispatch::Inline), resource(Dispatch::Inline));
    let held = hold(&other);
    let (inside, waits) = (r.clone(), other.clone());
    let (running, expired) = (Gate::new(), Gate::new());
    let (runs, is_expired) = (running.clone(), expired.clone());
    let holder = thread::spawn(move || {
        inside.with(move |_| {
            runs.open();
            is_expired.wait();
            outcome(waits.task().timeout(SOON).submit(|_| ()))
        })
    });
    running.wait();
    let (visited, (send, visits)) = (r.clone(), mpsc::channel());
    let visits_when_dropped = on_drop(move || {
        expired.open();
        send.send(visited.with(|n| *n)).unwrap();
    });
    let task = r.task().timeout(SOON);
    task.execute(move |_| drop(visits_when_dropped)).unwrap();
    assert_eq!(join(holder).unwrap(), Ok(Err(TaskError::Expired)));
    assert_eq!(visits.recv(), Ok(Err(TaskError::WouldDeadlock)));
    held.release();
}

#[test]
fn task_submitted_by_expiry_avoids_timer_thread() {
    let (r, log) = (resource(Dispatch::Inline), resource(Dispatch::Inline));
    let held = hold(&r);
    let (send, threads) = mpsc::channel();
    let submits_when_dropped = on_drop(move || {
        log.execute(move |_| {
            send.send(thread::current().name().map(str::to_owned))
                .unwrap()
        })
        .unwrap();
    });
    let task = r.task().timeout(SOON);
    task.execute(move |_| drop(submits_when_dropped)).unwrap();
    let name = threads.recv().unwrap().expect("a thread of captor's");
    assert!(!name.contains("timer"), "{name}");
    held.release();
}

#[test]
fn error_is_closed_when_late_and_closed() {
    let r = resource(Dispatch::Inline);
    r.close();
    let late = || r.task().deadline(Instant::now());
    assert_eq!(late().execute(|n| *n += 1), Err(SubmitError::Closed));
    let tried = late().try_submit(|n| *n += 1);
    assert!(matches!(tried, Err(TrySubmitError::Closed(_))));
    assert_eq!(late().submit(|n| *n += 1).wait(), Err(TaskError::Closed));
    assert_eq!(r.stats().rejected, 3);
}

/// A submitter first watches a busy resource for a moment, but never past its deadline.
#[test]
fn with_starts_no_task_late_when_busy() {
    let r = Resource::new(());
    let (mut ran, mut rounds) = (0, 0_u64);
    while ran < 20 && rounds < 20_000 {
        rounds += 1;
        let (other, started) = (r.clone(), Gate::new());
        let starts = started.clone();
        let holder = thread::spawn(move || {
            other.with(|()| {
                starts.open();
                let until = Instant::now() + Duration::from_micros(10 + rounds % 60);
                while Instant::now() < until {}
                Instant::now()
            })
        });
        started.wait();
        let deadline = Instant::now() + Duration::from_micros(2 + rounds % 10);
        let started = r.task().deadline(deadline).with(|()| Instant::now());
        let held_until = join(holder).unwrap().unwrap();
        if let Ok(started) = started {
            ran += 1;
            assert!(held_until <= deadline, "{:?} late", started - deadline);
        }
    }
}
