#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Async tasks, which keep their resource while they wait.

// Some tasks poll a completion and then return the completion.
#![allow(clippy::async_yields_async)]

mod common;

use captor::{Dispatch, PanicPolicy, Resource, Scheduler, TaskError, cancel_token, current};
use common::{
    DEADLINE, Drops, Gate, hold, hold_running, outcome, panic_message, wait_until, within_deadline,
};
use futures::channel::{mpsc, oneshot};
use futures::future::{join_all, poll_fn};
use futures::{SinkExt, StreamExt};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(2);

/// Suspends until the waker left in `to` is used.
async fn wait(to: &Mutex<Vec<Waker>>) {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        to.lock().unwrap().push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Wakes itself, and so ends its turn but keeps its resource.
async fn wake_self() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Returns a resource with its own workers, which no other test keeps busy.
fn pooled<T: Send + 'static>(value: T) -> Resource<T> {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    common::pooled(&scheduler, value)
}

async fn bump(n: &mut u32) -> u32 {
    *n += 1;
    *n
}

#[test]
fn task_without_await_finishes_immediately() {
    let r = Resource::new(1);
    let task = r.submit_async(bump);
    assert!(task.is_finished());
    assert_eq!(task.wait(), Ok(2));
    assert_eq!(r.submit_async(async |n| *n * 10).wait(), Ok(20));
}

#[test]
fn suspended_task_keeps_resource_and_no_thread() {
    let r = Resource::new(Vec::new());
    let (send, receive) = oneshot::channel::<u32>();
    let task = r.submit_async(async move |log: &mut Vec<u32>| {
        log.push(1);
        let n = receive.await.unwrap();
        log.push(n);
        log.len()
    });
    let later = r.submit(|log| log.push(7));
    assert!(!task.is_finished() && !later.is_finished());
    assert_eq!(r.stats().outstanding, 2);
    send.send(2).unwrap();
    assert_eq!(outcome(task), Ok(2));
    assert_eq!(outcome(later), Ok(()));
    assert_eq!(r.with(|log| log.clone()), Ok(vec![1, 2, 7]));
    assert_eq!(r.stats().outstanding, 0);
}

#[test]
fn cancel_drops_suspended_task() {
    let r = Resource::new(0);
    let (send, receive) = oneshot::channel::<()>();
    let task = r.submit_async(async move |n: &mut u32| {
        *n = 1;
        let _ = receive.await;
        *n = 2;
    });
    assert!(task.cancel());
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    assert!(send.is_canceled());
    assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
    let stats = r.stats();
    assert_eq!(
        (stats.outstanding, stats.cancelled, stats.completed),
        (0, 1, 1)
    );
}

#[test]
fn cancel_pending_drops_suspended_task() {
    let r = Resource::new(0);
    let (send, receive) = oneshot::channel::<()>();
    let task = r.submit_async(async move |_: &mut u32| receive.await.is_ok());
    let behind = r.submit(|n| *n += 1);
    assert_eq!(r.cancel_pending(), 2);
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    assert!(send.is_canceled());
    assert_eq!(outcome(behind), Err(TaskError::Cancelled));
    assert_eq!(outcome(r.submit(|n| *n)), Ok(0));
}

#[test]
fn suspended_task_expires_at_deadline() {
    let r = Resource::new(0);
    let (send, receive) = oneshot::channel::<()>();
    let task = r.task().timeout(Duration::from_millis(10));
    let task = task.submit_async(async move |_: &mut u32| receive.await.is_ok());
    assert_eq!(outcome(task), Err(TaskError::Expired));
    assert!(send.is_canceled());
    assert_eq!(outcome(r.submit(|n| *n)), Ok(0));
}

#[test]
fn task_is_cancelled_when_no_waker_is_left() {
    let r = Resource::new(0);
    let task = r.submit_async(async |_: &mut u32| std::future::pending::<()>().await);
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    let (send, receive) = oneshot::channel::<()>();
    let task = r.submit_async(async move |n: &mut u32| {
        let _ = receive.await;
        *n = 3;
        std::future::pending::<()>().await
    });
    drop(send);
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    assert_eq!(outcome(r.submit(|n| *n)), Ok(3));
}

#[test]
fn thousand_self_waking_tasks_all_finish() {
    for r in [pooled(0), Resource::new(0)] {
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                r.submit_async(async |n: &mut u32| {
                    wake_self().await;
                    wake_self().await;
                    *n += 1;
                })
            })
            .collect();
        tasks
            .into_iter()
            .for_each(|task| assert_eq!(outcome(task), Ok(())));
        assert_eq!(r.with(|n| *n), Ok(1000));
    }
}

/// No task runs while the first is suspended, whatever its priority.
#[test]
fn urgent_task_waits_for_suspended_task() {
    let r = Resource::builder().priorities(2).build(Vec::new()).unwrap();
    let (send, receive) = oneshot::channel::<()>();
    let first = r.task().priority(1);
    let first = first.submit_async(async move |log: &mut Vec<u32>| {
        log.push(1);
        receive.await.unwrap();
        log.push(2);
    });
    let urgent = r.task().priority(0).submit(|log| log.push(3));
    thread::scope(|s| {
        s.spawn(|| r.with(|log| log.push(4)).unwrap());
        wait_until("the call of `with` is queued", || {
            r.stats().outstanding == 3
        });
        send.send(()).unwrap();
    });
    assert_eq!((outcome(first), outcome(urgent)), (Ok(()), Ok(())));
    let log = r.into_inner().wait().unwrap();
    assert_eq!(log[..3], [1, 2, 3]);
    assert_eq!(log.len(), 4);
}

#[test]
fn stale_wakers_are_harmless() {
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let r = Resource::new(0);
    for n in 1..=10 {
        let inside = Arc::clone(&wakers);
        let task = r.submit_async(async move |n: &mut u32| {
            wait(&inside).await;
            *n += 1;
            *n
        });
        // Uses all wakers, including the wakers of tasks that have finished.
        let all = wakers.lock().unwrap().clone();
        all.iter().for_each(Waker::wake_by_ref);
        assert_eq!(outcome(task), Ok(n));
    }
    drop(r);
    wakers.lock().unwrap().drain(..).for_each(Waker::wake);
}

#[test]
fn stray_wake_polls_suspended_task_once() {
    let r = Resource::new(0);
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let (inside, polls) = (Arc::clone(&wakers), Arc::new(Mutex::new(0)));
    let (send, receive) = oneshot::channel::<()>();
    let counts = Arc::clone(&polls);
    let task = r.submit_async(async move |n: &mut u32| {
        let mut receive = receive;
        poll_fn(|cx| {
            *counts.lock().unwrap() += 1;
            inside.lock().unwrap().push(cx.waker().clone());
            std::pin::Pin::new(&mut receive).poll(cx)
        })
        .await
        .unwrap();
        *n += 1;
    });
    for polled in 2..5 {
        let waker = wakers.lock().unwrap().pop().unwrap();
        waker.wake();
        wait_until("the task is polled", || *polls.lock().unwrap() == polled);
    }
    assert!(!task.is_finished());
    send.send(()).unwrap();
    assert_eq!(outcome(task), Ok(()));
}

/// Several threads clone the lent waker at once, before the task has a waker of its own.
#[test]
fn lent_waker_is_cloned_by_several_threads() {
    const THREADS: usize = 4;
    let r = Resource::new(0);
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&wakers);
    let task = r.submit_async(async move |polls: &mut u32| {
        poll_fn(|cx| {
            *polls += 1;
            if *polls == 2 {
                let same = |waker: &Waker| waker.will_wake(cx.waker());
                assert!(kept.lock().unwrap().iter().all(same));
                return Poll::Ready(());
            }
            let (begin, waker) = (Barrier::new(THREADS), cx.waker());
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        begin.wait();
                        let clone = waker.clone();
                        kept.lock().unwrap().push(clone);
                    });
                }
            });
            Poll::Pending
        })
        .await;
    });
    let one = wakers.lock().unwrap()[0].clone();
    one.wake();
    assert_eq!(outcome(task), Ok(()));
    assert_eq!(r.with(|polls| *polls), Ok(2));
}

#[test]
fn panic_in_poll_is_task_outcome() {
    for r in [Resource::new(1), pooled(1)] {
        let (drops, wakers) = (Drops::new(), Arc::new(Mutex::new(Vec::new())));
        let (counted, inside) = (drops.counted(), Arc::clone(&wakers));
        let at_once = r.submit_async(async |_: &mut u32| resume_unwind(Box::new("at once")));
        assert_eq!(panic_message::<()>(outcome(at_once)), "at once");
        let later = r.submit_async(async move |_: &mut u32| {
            let _counted = counted;
            wait(&inside).await;
            resume_unwind(Box::new("later"))
        });
        wait_until("the task waits", || !wakers.lock().unwrap().is_empty());
        wakers.lock().unwrap().drain(..).for_each(Waker::wake);
        assert_eq!(panic_message::<()>(outcome(later)), "later");
        assert_eq!(drops.count(), 1);
        assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
        assert_eq!(r.stats().panicked, 2);
    }
}

#[test]
fn panic_in_future_drop_is_task_outcome() {
    let brittle = || common::on_drop(|| resume_unwind(Box::new("drop")));
    let r = Resource::new(1);
    let kept = brittle();
    let task = r.submit_async(async move |n: &mut u32| {
        let _kept = &kept;
        *n
    });
    assert_eq!(panic_message(outcome(task)), "drop");
    let (_send, receive) = oneshot::channel::<()>();
    let kept = brittle();
    let task = r.submit_async(async move |_: &mut u32| {
        let _kept = &kept;
        let _ = receive.await;
    });
    assert!(task.cancel());
    assert_eq!(panic_message(outcome(task)), "drop");
    assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
    let stats = r.stats();
    assert_eq!((stats.panicked, stats.cancelled), (2, 0));
}

#[test]
fn panic_in_drop_of_cancelled_future_poisons() {
    let r = Resource::builder()
        .name("r")
        .panic_policy(PanicPolicy::Poison)
        .build(1)
        .unwrap();
    let (_send, receive) = oneshot::channel::<()>();
    let kept = common::on_drop(|| resume_unwind(Box::new("drop")));
    let task = r.task().name("t").submit_async(async move |_: &mut u32| {
        let _kept = &kept;
        let _ = receive.await;
    });
    let behind = r.submit(|n| *n);
    assert!(task.cancel());
    let Err(TaskError::Panicked(panic)) = outcome(task) else {
        panic!("the drop of the future panics")
    };
    assert_eq!(
        (panic.message(), panic.resource(), panic.task()),
        ("drop", Some("r"), Some("t"))
    );
    assert!(matches!(outcome(behind), Err(TaskError::Poisoned)));
    assert_eq!(r.stats().panicked, 1);
}

#[test]
fn panic_after_await_poisons() {
    let r = Resource::builder()
        .panic_policy(PanicPolicy::Poison)
        .build(1)
        .unwrap();
    let task = r.submit_async(async |_: &mut u32| {
        wake_self().await;
        resume_unwind(Box::new("spilled"))
    });
    let behind = r.submit(|n| *n);
    assert_eq!(panic_message::<()>(outcome(task)), "spilled");
    assert!(matches!(outcome(behind), Err(TaskError::Poisoned)));
    assert_eq!(r.clear_poison(|n| *n), Ok(1));
}

#[test]
fn cancel_during_poll_drops_task_at_next_await() {
    let r = pooled(0);
    let (running, gate) = (Gate::new(), Gate::new());
    let (runs, opened) = (running.clone(), gate.clone());
    let (drops, (send, receive)) = (Drops::new(), oneshot::channel::<()>());
    let counted = drops.counted();
    let task = r.submit_async(async move |n: &mut u32| {
        let _counted = counted;
        let token = cancel_token();
        runs.open();
        opened.wait();
        assert!(token.is_cancelled());
        *n = 1;
        let _ = receive.await;
        *n = 2;
    });
    running.wait();
    assert!(!task.cancel(), "the task runs");
    gate.open();
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    assert!(send.is_canceled());
    assert_eq!((drops.count(), outcome(r.submit(|n| *n))), (1, Ok(1)));
}

#[test]
fn cancel_pending_reaches_task_during_poll() {
    let r = pooled(0);
    let (running, gate) = (Gate::new(), Gate::new());
    let (runs, opened) = (running.clone(), gate.clone());
    let (_send, receive) = oneshot::channel::<()>();
    let task = r.submit_async(async move |_: &mut u32| {
        runs.open();
        opened.wait();
        let _ = receive.await;
    });
    running.wait();
    assert_eq!(r.cancel_pending(), 0);
    gate.open();
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
}

#[test]
fn deadline_during_poll_expires_task_at_await() {
    let r = pooled(0);
    let (gate, (_send, receive)) = (Gate::new(), oneshot::channel::<()>());
    let opened = gate.clone();
    let task = r.task().timeout(Duration::from_millis(20));
    let task = task.submit_async(async move |_: &mut u32| {
        let token = cancel_token();
        wait_until("the token is set", || token.is_cancelled());
        opened.wait();
        let _ = receive.await;
    });
    gate.open();
    assert_eq!(outcome(task), Err(TaskError::Expired));
    let stats = r.stats();
    assert_eq!((stats.expired, stats.outstanding), (1, 0));
}

#[test]
fn close_waits_for_suspended_task() {
    let r = Resource::new(0);
    let (send, receive) = oneshot::channel::<()>();
    let task = r.submit_async(async move |n: &mut u32| {
        receive.await.unwrap();
        *n = 7;
    });
    r.close();
    assert!(!r.wait_closed(Duration::from_millis(5)));
    send.send(()).unwrap();
    assert!(r.wait_closed(DEADLINE));
    assert_eq!(outcome(task), Ok(()));
    assert_eq!(r.into_inner().wait(), Ok(7));
}

#[test]
fn value_lives_until_suspended_task_ends() {
    let (drops, (send, receive)) = (Drops::new(), oneshot::channel::<()>());
    let r = Resource::new(Some(drops.counted()));
    let task = r.submit_async(async move |value: &mut Option<common::Counted>| {
        receive.await.unwrap();
        value.is_some()
    });
    drop(r);
    assert_eq!(drops.count(), 0);
    send.send(()).unwrap();
    assert_eq!(outcome(task), Ok(true));
    wait_until("the value is dropped", || drops.count() == 1);
}

#[test]
fn suspended_task_frees_capacity_and_keeps_name() {
    let builder = Resource::builder().name("r").capacity(1);
    let r = builder.dispatch(Dispatch::Pool).build(()).unwrap();
    let (send, receive) = oneshot::channel::<()>();
    let task = r
        .task()
        .name("waits")
        .submit_async(async move |(): &mut ()| {
            receive.await.unwrap();
            let now = current().unwrap();
            (now.resource_name().map(str::to_owned), now.task_name())
        });
    wait_until("the task has started", || r.try_reserve().is_ok());
    let full = (r.submit(|()| ()), r.submit_async(async |(): &mut ()| ()));
    assert_eq!(outcome(full.1), Err(TaskError::Full));
    send.send(()).unwrap();
    assert_eq!(outcome(task), Ok((Some("r".to_owned()), Some("waits"))));
    assert_eq!(outcome(full.0), Ok(()));
}

/// A task that wakes itself does not hold its submitter for ever.
#[test]
fn self_waking_task_is_handed_off() {
    within_deadline(|| {
        let r = Resource::new(());
        let stop = Gate::new();
        let stopped = stop.clone();
        let task = r.submit_async(async move |(): &mut ()| {
            while !stopped.is_open() {
                wake_self().await;
            }
        });
        // This line is reached only if the submitter was released.
        assert!(!task.is_finished());
        stop.open();
        assert_eq!(outcome(task), Ok(()));
    });
}

/// The future has the value until it is dropped, so no task may run earlier.
#[test]
fn next_task_waits_until_future_is_dropped() {
    struct Writes<'a>(&'a mut Box<u32>);
    impl Drop for Writes<'_> {
        fn drop(&mut self) {
            // Long enough for the next task to start, if it could.
            thread::sleep(Duration::from_millis(20));
            **self.0 += 1;
        }
    }
    type Cancel = fn(&Resource<Box<u32>>, &captor::Completion<()>);
    let cancels: [Cancel; 3] = [
        |_, task| assert!(task.cancel()),
        |r, _| assert_eq!(r.cancel_pending(), 1),
        |_, _| (),
    ];
    for (n, cancel) in cancels.into_iter().enumerate() {
        let r = Resource::new(Box::new(1_u32));
        let (_send, receive) = oneshot::channel::<()>();
        // The last task is left to its deadline.
        let timeout = if n == 2 {
            Duration::from_millis(20)
        } else {
            DEADLINE
        };
        let task = r.task().timeout(timeout);
        let task = task.submit_async(async move |value: &mut Box<u32>| {
            let _writes = Writes(value);
            let _ = receive.await;
        });
        cancel(&r, &task);
        let next = r.submit(|value| std::mem::replace(value, Box::new(9)));
        assert_eq!(outcome(next), Ok(Box::new(2)), "{n}");
        assert!(outcome(task).is_err());
        assert_eq!(r.with(|value| **value), Ok(9));
    }
}

/// The drop of a future may use the resource, as a task may.
#[test]
fn with_in_drop_of_future_would_deadlock() {
    within_deadline(|| {
        let (r, (send, seen)) = (Resource::new(1), std::sync::mpsc::channel());
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let (inside, own) = (Arc::clone(&wakers), r.clone());
        let task = r.submit_async(async move |_: &mut u32| {
            let _visits = common::on_drop(move || send.send(own.with(|n| *n)).unwrap());
            wait(&inside).await;
        });
        assert!(task.cancel());
        assert_eq!(seen.recv(), Ok(Err(TaskError::WouldDeadlock)));
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
    });
}

#[test]
fn cancel_sets_token_of_suspended_task_only() {
    for by_sweep in [false, true] {
        let r = Resource::new(0);
        let (send, tokens) = std::sync::mpsc::channel();
        let (_keep, receive) = oneshot::channel::<()>();
        let task = r.submit_async(async move |_: &mut u32| {
            send.send(cancel_token()).unwrap();
            let _ = receive.await;
        });
        let token = tokens.recv().unwrap();
        assert!(!token.is_cancelled());
        match by_sweep {
            true => assert_eq!(r.cancel_pending(), 1),
            false => assert!(task.cancel()),
        }
        assert!(token.is_cancelled());
        assert_eq!(outcome(task), Err(TaskError::Cancelled));
        let next = r.submit(|_| cancel_token().is_cancelled());
        assert_eq!(outcome(next), Ok(false));
    }
}

/// If a task that started on its submitter suspends, the count of inline tasks steps back. Two
/// other threads submit to the resource meanwhile.
#[test]
fn tasks_suspend_and_resume_during_contention() {
    within_deadline(|| {
        let r = Resource::new(0_u64);
        let stop = Gate::new();
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    while !stop.is_open() {
                        r.execute(|n| *n += 1).unwrap();
                    }
                });
            }
            for _ in 0..300 {
                let task = r.submit_async(async |n: &mut u64| {
                    *n += 1;
                    wake_self().await;
                });
                assert_eq!(outcome(task), Ok(()));
            }
            stop.open();
        });
    });
}

#[test]
fn suspended_task_counts_once_in_stats() {
    let r = Resource::builder().timings(true).build(0).unwrap();
    let plain = Resource::new(0);
    for r in [&r, &plain] {
        let task = r.submit_async(async |_: &mut u32| {
            for _ in 0..5 {
                wake_self().await;
            }
        });
        assert_eq!(outcome(task), Ok(()));
        let stats = r.stats();
        assert_eq!(
            (stats.submitted, stats.completed, stats.max_outstanding),
            (1, 1, 1)
        );
    }
    assert_eq!(r.queue_waits().unwrap().count(), 1);
}

// Waits that would never end.

#[test]
fn await_of_own_resource_would_deadlock() {
    let r = Resource::new(0);
    let inside = r.clone();
    let task = r.submit_async(async move |n: &mut u32| {
        *n += 1;
        let own = inside.submit(|n| *n + 10);
        own.await
    });
    assert_eq!(outcome(task), Ok(Err(TaskError::WouldDeadlock)));
    assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
}

#[test]
fn await_of_second_resource_resolves() {
    let (r, other) = (Resource::new(0), pooled(5));
    let inside = other.clone();
    let task = r.submit_async(async move |n: &mut u32| {
        let all = join_all((0..3).map(|_| inside.submit(|n| *n))).await;
        *n = all.into_iter().map(Result::unwrap).sum();
    });
    assert_eq!(outcome(task), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(15));
}

#[test]
fn cycle_of_awaits_would_deadlock() {
    within_deadline(|| {
        let (a, b) = (pooled(()), pooled(()));
        let (other, go) = (b.clone(), Gate::new());
        let goes = go.clone();
        let first = a.submit_async(async move |(): &mut ()| {
            goes.wait();
            other.submit(|()| ()).await
        });
        let (other, gone) = (a.clone(), go.clone());
        let second = b.submit_async(async move |(): &mut ()| {
            gone.open();
            other.submit(|()| ()).await
        });
        let outcomes = [outcome(first), outcome(second)].map(Result::unwrap);
        let refused = |o: &&Result<(), TaskError>| **o == Err(TaskError::WouldDeadlock);
        assert_eq!(outcomes.iter().filter(refused).count(), 1, "{outcomes:?}");
    });
}

/// A task of `b` blocks for `a`. A task of `a` awaits a task queued behind the first.
#[test]
fn cycle_of_wait_and_await_would_deadlock() {
    within_deadline(|| {
        let (a, b) = (pooled(0), pooled(0));
        let (awaits, gate) = (Gate::new(), Gate::new());
        let (visited, opened) = (a.clone(), gate.clone());
        let blocks = b.submit(move |_| {
            opened.wait();
            visited.with(|n| *n)
        });
        let (other, awaiting) = (b.clone(), awaits.clone());
        let first = a.submit_async(async move |_: &mut u32| {
            let mut behind = other.submit(|n| *n);
            assert!(futures::poll!(&mut behind).is_pending());
            awaiting.open();
            behind.await
        });
        awaits.wait();
        gate.open();
        assert_eq!(outcome(blocks), Ok(Err(TaskError::WouldDeadlock)));
        assert_eq!(outcome(first), Ok(Ok(0)));
    });
}

#[test]
fn await_of_room_in_own_resource_would_deadlock() {
    let r = Resource::builder().capacity(1).build(0).unwrap();
    let inside = r.clone();
    let task = r.submit_async(async move |_: &mut u32| {
        let queued = inside.submit(|n| *n += 1);
        let refused = inside.reserve().await.map(drop);
        drop(queued);
        refused
    });
    assert_eq!(outcome(task), Ok(Err(captor::ReserveError::WouldDeadlock)));
    assert_eq!(r.with(|n| *n), Ok(1));
    assert!(r.try_reserve().is_ok());
}

/// A refused `reserve` takes no place in the line, and is not woken for one.
#[test]
fn refused_reserve_leaves_room_to_next_caller() {
    let r = Resource::builder().capacity(1).build(0).unwrap();
    let inside = r.clone();
    let (goes_on, go_on) = oneshot::channel::<()>();
    let task = r.submit_async(async move |_: &mut u32| {
        let permit = inside.try_reserve().unwrap();
        let mut reserve = inside.reserve();
        let refused = (&mut reserve).await.map(drop);
        drop(permit);
        let _ = go_on.await;
        drop(reserve);
        refused
    });
    assert!(r.try_reserve().is_ok());
    drop(goes_on);
    assert_eq!(outcome(task), Ok(Err(captor::ReserveError::WouldDeadlock)));
}

#[test]
fn into_inner_of_own_resource_would_deadlock() {
    let r = Resource::new(5);
    let inside = r.clone();
    let task = r.submit_async(async move |_: &mut u32| inside.into_inner().await);
    assert_eq!(outcome(task), Ok(Err(TaskError::WouldDeadlock)));
    assert_eq!(r.into_inner().wait(), Ok(5));
}

#[test]
fn task_awaiting_own_close_is_cancelled() {
    let r = Resource::new(5);
    let inside = r.clone();
    let task = r.submit_async(async move |_: &mut u32| inside.closed().await);
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    // Selected with a sleep, `closed` is only the future that does not resolve first.
    let inside = r.clone();
    let task = r.submit_async(async move |n: &mut u32| {
        let (_, n) = futures::join!(wake_self(), async { *n });
        let (closed, sleep) = (inside.closed(), Scheduler::global().sleep(SOON));
        futures::future::select(closed, sleep).await;
        n
    });
    assert_eq!(outcome(task), Ok(5));
}

/// A cycle is broken elsewhere. The future of the end still resolves.
#[test]
fn closed_resolves_after_cycle_is_broken() {
    within_deadline(|| {
        let (a, b) = (pooled(1), pooled(2));
        let ((begins, begun), (breaks, broken)) = (oneshot::channel(), oneshot::channel::<()>());
        let running = Gate::new();
        let (to_b, runs) = (b.clone(), running.clone());
        let in_a = a.submit_async(async move |_: &mut u32| {
            runs.open();
            begun.await.unwrap();
            let mut closed = to_b.closed();
            let sleep = Scheduler::global().sleep(2 * DEADLINE);
            assert!(futures::poll!(&mut closed).is_pending());
            to_b.close();
            breaks.send(()).unwrap();
            futures::future::select(closed, sleep).await;
        });
        running.wait();
        let to_a = a.clone();
        let in_b = b.submit_async(async move |_: &mut u32| {
            let task = to_a.submit(|n| *n);
            let mut either = futures::future::select(task, broken);
            assert!(futures::poll!(&mut either).is_pending());
            begins.send(()).unwrap();
            either.await;
        });
        assert_eq!(outcome(in_a), Ok(()));
        assert_eq!(outcome(in_b), Ok(()));
    });
}

#[test]
fn cycle_through_into_inner_would_deadlock() {
    within_deadline(|| {
        let (a, b) = (pooled(1), pooled(2));
        let (asks, asked) = oneshot::channel::<()>();
        let to_a = a.clone();
        let in_b = b.submit_async(async move |_: &mut u32| {
            asked.await.unwrap();
            to_a.submit(|n| *n).await
        });
        let to_b = b.clone();
        let in_a = a.submit_async(async move |_: &mut u32| {
            let mut end = to_b.into_inner();
            assert!(futures::poll!(&mut end).is_pending());
            asks.send(()).unwrap();
            end.await
        });
        // The task in `b` closed the cycle.
        assert_eq!(outcome(in_b), Ok(Err(TaskError::WouldDeadlock)));
        assert_eq!(outcome(in_a), Ok(Ok(2)));
    });
}

/// The completion is polled in the task, and then moved to a waiting thread.
#[test]
fn completion_moved_out_of_task_causes_no_cycle() {
    within_deadline(|| {
        let (a, b) = (Resource::new(1), Resource::new(2));
        let held = hold(&b);
        let inside = b.clone();
        let task = a.submit_async(async move |_: &mut u32| {
            let mut there = inside.submit(|n| *n);
            let polled = futures::poll!(&mut there);
            assert!(polled.is_pending());
            there
        });
        let there = outcome(task).unwrap();
        let inside = a.clone();
        // A task of `b` waits for `a`, which waits for nothing.
        let visit = b.submit(move |_| inside.with(|n| *n));
        held.release();
        assert_eq!(outcome(visit), Ok(Ok(1)));
        assert_eq!(outcome(there), Ok(2));
    });
}

/// The completion was polled in a task that has finished, and is not polled again until later.
#[test]
fn await_left_by_finished_task_causes_no_cycle() {
    within_deadline(|| {
        let (a, b) = (Resource::new(1), pooled(2));
        let (gate, inside) = (Gate::new(), a.clone());
        let opened = gate.clone();
        let visit = b.submit(move |_| {
            opened.wait();
            inside.with(|n| *n)
        });
        let other = b.clone();
        let task = a.submit_async(async move |_: &mut u32| {
            let mut behind = other.submit(|n| *n);
            assert!(futures::poll!(&mut behind).is_pending());
            behind
        });
        let behind = outcome(task).unwrap();
        let held = hold(&a);
        gate.open();
        // The task waits for `a`, or was refused that wait.
        wait_until("the task waits or has failed", || {
            visit.is_finished() || a.stats().outstanding == 2
        });
        held.release();
        assert_eq!(outcome(visit), Ok(Ok(1)));
        assert_eq!(outcome(behind), Ok(2));
    });
}

/// A completion that the drop of a future polls is awaited by no task: neither by the task of that
/// future, nor by the task that ran it.
#[test]
fn poll_in_drop_of_future_causes_no_cycle() {
    type Kept = Arc<Mutex<Option<captor::Completion<u32>>>>;
    struct Polls(Resource<u32>, Kept);
    impl Future for Polls {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
    impl Drop for Polls {
        fn drop(&mut self) {
            let mut task = self.0.submit(|n| *n);
            common::poll_pending(&mut task, Waker::noop());
            *self.1.lock().unwrap() = Some(task);
        }
    }
    within_deadline(|| {
        let (a, b, c) = (Resource::new(1), Resource::new(2), Resource::new(3));
        let held = hold(&c);
        let inside = b.clone();
        let asks = c.submit(move |_| inside.with(|n| *n));
        let kept = Kept::default();
        let (in_a, polls) = (b.clone(), Polls(c.clone(), Arc::clone(&kept)));
        let (_send, receive) = oneshot::channel::<()>();
        let _waits = a.submit_async(async move |_: &mut u32| {
            in_a.submit_async(move |_: &mut u32| polls).await.unwrap();
            let _ = receive.await;
        });
        assert!(kept.lock().unwrap().is_some());
        let held_too = hold(&b);
        held.gate().open();
        // Most likely the task in `c` waits by now.
        thread::sleep(10 * SOON);
        drop(held_too);
        assert_eq!(outcome(asks), Ok(Ok(2)));
    });
}

/// The completion is polled in one task, and later polled and awaited by another. Only the second
/// task counts as the waiter.
#[test]
fn last_poller_counts_as_waiter_in_cycle() {
    within_deadline(|| {
        let (a, s) = (pooled(0), pooled(0));
        let (polled, visited) = (Gate::new(), a.clone());
        let (gate, blocks) = hold_running(&s, move |_| visited.with(|n| *n));
        let inside = s.clone();
        let first = a.submit_async(async move |_: &mut u32| {
            let mut there = inside.submit(|n| *n);
            assert!(futures::poll!(&mut there).is_pending());
            there
        });
        let mut there = outcome(first).unwrap();
        let polls = polled.clone();
        let second = a.submit_async(async move |_: &mut u32| {
            assert!(futures::poll!(&mut there).is_pending());
            polls.open();
            there.await
        });
        polled.wait();
        gate.open();
        assert_eq!(outcome(blocks), Ok(Err(TaskError::WouldDeadlock)));
        assert_eq!(outcome(second), Ok(Ok(0)));
    });
}

#[test]
fn two_tasks_talk_by_channel_on_single_worker() {
    within_deadline(|| {
        let s = Scheduler::builder().workers(1).build().unwrap();
        let (a, b) = (common::pooled(&s, 0), common::pooled(&s, 0));
        let (mut to_b, mut from_a) = mpsc::channel::<u32>(0);
        let (mut to_a, mut from_b) = mpsc::channel::<u32>(0);
        let pings = a.submit_async(async move |sum: &mut u32| {
            for n in 0..200 {
                to_b.send(n).await.unwrap();
                *sum += from_b.next().await.unwrap();
            }
            *sum
        });
        let pongs = b.submit_async(async move |count: &mut u32| {
            while let Some(n) = from_a.next().await {
                *count += 1;
                to_a.send(n).await.unwrap();
            }
            *count
        });
        assert_eq!((outcome(pings), outcome(pongs)), (Ok(199 * 100), Ok(200)));
        assert!(s.shutdown(DEADLINE));
    });
}

/// The decision that comes first holds. The worker that is to drop the future is busy meanwhile.
#[test]
fn cancel_wins_when_deadline_passes_later() {
    let s = Scheduler::builder().workers(1).build().unwrap();
    let (r, busy) = (s.resource(0), common::pooled(&s, ()));
    let (_send, receive) = oneshot::channel::<()>();
    let task = r.task().timeout(Duration::from_millis(1500));
    let task = task.submit_async(async move |_: &mut u32| receive.await.is_ok());
    let (gate, occupying) = hold_running(&busy, |()| ());
    assert!(task.cancel());
    assert!(!task.cancel(), "the task was cancelled before");
    assert_eq!(r.cancel_pending(), 0, "the task is not counted twice");
    thread::sleep(Duration::from_millis(1700));
    gate.open();
    assert_eq!(outcome(occupying), Ok(()));
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    let stats = r.stats();
    assert_eq!((stats.cancelled, stats.expired), (1, 0));
}

/// The future is polled in one task, and awaited by another.
#[test]
fn last_poller_of_reserve_counts_as_waiter() {
    let b = Resource::builder().capacity(1).build(()).unwrap();
    let permit = b.try_reserve().unwrap();
    let (other, x) = (b.clone(), Resource::new(()));
    let first = x.submit_async(async move |(): &mut ()| {
        let mut reserve = other.reserve();
        assert!(futures::poll!(&mut reserve).is_pending());
        reserve
    });
    let reserve = outcome(first).unwrap();
    let task = b.submit_async(async move |(): &mut ()| {
        let _permit = permit;
        reserve.await.map(drop)
    });
    assert_eq!(outcome(task), Ok(Err(captor::ReserveError::WouldDeadlock)));
}
