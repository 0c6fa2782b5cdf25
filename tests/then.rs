#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Continuations: a task of one resource that follows a task of another.

mod common;

use captor::{Completion, Job, Resource, Scheduler, TaskError};
use common::{
    CountingWaker, Drops, Gate, hold, hold_running, join, outcome, panic_message, poll_pending,
    pooled, wait_until, waker_that, within_deadline,
};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

/// Too long for any stack, if each link took a frame.
const LENGTH: usize = if cfg!(miri) { 100 } else { 100_000 };

fn assert_balanced<T: Send + 'static>(r: &Resource<T>) {
    wait_until("the resource is idle", || r.stats().outstanding == 0);
    let stats = r.stats();
    assert_eq!(
        stats.submitted,
        stats.completed + stats.panicked + stats.cancelled,
        "{stats:?}"
    );
}

#[test]
fn then_after_inline_task_runs_immediately() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let end = a.submit(|n| *n).then(&b, |sum, n| {
        *sum += n;
        *sum
    });
    assert!(end.is_finished());
    assert_eq!(end.wait(), Ok(11));
}

#[test]
fn second_runs_when_queued_first_finishes() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let end = a.submit(|n| *n).then(&b, |sum, n| {
        *sum += n;
        *sum
    });
    assert!(!end.is_finished());
    assert_eq!(b.stats().submitted, 0, "the second is not submitted yet");
    assert_eq!(b.with(|sum| *sum), Ok(10));
    held.release();
    assert_eq!(outcome(end), Ok(11));
    assert_balanced(&a);
    assert_balanced(&b);
    assert_eq!(b.stats().submitted, 2);
}

#[test]
fn then_on_finished_completion_runs_immediately() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let first = a.submit(|n| *n);
    held.release();
    wait_until("the task ran", || first.is_finished());
    assert!(first.then(&b, |_, _| ()).is_finished());
}

#[test]
fn then_runs_on_same_resource() {
    let a = Resource::new(1);
    let held = hold(&a);
    let end = a.submit(|n| *n).then(&a, |n, was| {
        *n += was;
        *n
    });
    held.release();
    assert_eq!(outcome(end), Ok(2));
}

#[test]
fn chain_wakes_awaiting_future() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let mut end = a.submit(|n| *n).then(&b, |sum, n| *sum + n);
    let count = CountingWaker::new();
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut end).poll(&mut cx).is_pending());
    held.release();
    wait_until("the waker is woken", || count.wakes() == 1);
    assert_eq!(Pin::new(&mut end).poll(&mut cx), Poll::Ready(Ok(11)));
}

#[test]
fn chain_resolves_after_wait_timeout() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let end = a.submit(|n| *n).then(&b, |sum, n| *sum + n);
    let end = end.wait_timeout(Duration::from_millis(5)).unwrap_err();
    held.release();
    assert_eq!(outcome(end), Ok(11));
}

#[test]
fn chain_resolves_for_blocked_waiter() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let end = a.submit(|n| *n).then(&b, |sum, n| *sum + n);
    let waiter = thread::spawn(move || end.wait());
    held.release();
    assert_eq!(join(waiter).unwrap(), Ok(11));
}

#[test]
fn waiter_runs_each_link_when_executor_is_stuck() {
    // Hand-offs go to an executor that runs no job.
    within_deadline(|| {
        let (send, jobs) = mpsc::channel::<Job>();
        let scheduler = Scheduler::builder()
            .executor(move |job: Job| drop(send.send(job)))
            .capture_limit(1)
            .build()
            .unwrap();
        let (a, b, c) = (
            scheduler.resource(1),
            scheduler.resource(10),
            scheduler.resource(100),
        );
        let held = hold(&a);
        let end = a
            .submit(|n| *n)
            .then(&b, |n, sum| *n + sum)
            .then(&c, |n, sum| *n + sum);
        held.release();
        assert_eq!(end.wait(), Ok(111));
        drop((a, b, c));
        jobs.try_iter().for_each(Job::run);
    });
}

#[test]
fn second_may_wait_for_first_resource() {
    // The second task waits for the first resource. Under the role of the first resource, that wait
    // would be refused. The second task also must not delay the queue behind the first.
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let (back, gate) = (a.clone(), Gate::new());
    let behind = gate.clone();
    let end = a.submit(|n| *n).then(&b, move |_, _| {
        gate.wait();
        back.with(|n| *n)
    });
    a.execute(move |_| behind.open()).unwrap();
    held.release();
    assert_eq!(outcome(end), Ok(Ok(1)));
}

#[test]
fn panic_of_first_is_chain_outcome() {
    let (a, b, drops) = (Resource::new(1), Resource::new(10), Drops::new());
    for queued in [false, true] {
        let held = queued.then(|| hold(&a));
        let tag = drops.counted();
        let end = a
            .submit(|_| resume_unwind(Box::new("spilled")))
            .then(&b, move |_, ()| drop(tag));
        drop(held);
        assert_eq!(panic_message(outcome(end)), "spilled");
        assert_eq!(drops.count(), 1 + usize::from(queued));
    }
    assert_eq!(
        b.stats(),
        Resource::new(10).stats(),
        "no task reached the second resource"
    );
}

#[test]
fn cancel_of_first_is_chain_outcome() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let end = a.submit(|n| *n).then(&b, |_, _| ());
    assert_eq!(a.cancel_pending(), 1);
    assert_eq!(end.wait(), Err(TaskError::Cancelled));
    held.release();
    assert_eq!(b.stats(), Resource::new(10).stats());
    assert_balanced(&a);
}

#[test]
fn refusal_of_first_is_chain_outcome() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    a.close();
    let end = a.submit(|n| *n).then(&b, |_, _| ());
    assert_eq!(end.wait(), Err(TaskError::Closed));
}

#[test]
fn chain_fails_when_second_resource_is_closed() {
    let (a, b, drops) = (Resource::new(1), Resource::new(10), Drops::new());
    let held = hold(&a);
    let (result, tag) = (drops.counted(), drops.counted());
    let end = a.submit(move |_| result).then(&b, move |_, result| {
        drop(result);
        drop(tag);
    });
    b.close();
    assert!(!end.is_finished());
    held.release();
    assert_eq!(outcome(end), Err(TaskError::Closed));
    assert_eq!(drops.count(), 2);
    assert_eq!(b.stats().rejected, 1);
    assert_eq!(b.stats().submitted, 0);
    assert!(b.wait_closed(common::DEADLINE));
}

#[test]
fn chain_keeps_second_resource_alive() {
    let (a, b, drops) = (
        Resource::new(1),
        Resource::new(Drops::new().counted()),
        Drops::new(),
    );
    let held = hold(&a);
    let tag = drops.counted();
    b.with(|value| *value = tag).unwrap();
    let end = a.submit(|n| *n).then(&b, |_, n| n);
    drop(b);
    assert_eq!(drops.count(), 0);
    held.release();
    assert_eq!(outcome(end), Ok(1));
    wait_until("the value is dropped", || drops.count() == 1);
}

#[test]
fn cancel_before_first_starts_drops_both() {
    let (a, b, drops) = (Resource::new(1), Resource::new(10), Drops::new());
    let held = hold(&a);
    let (first, second) = (drops.counted(), drops.counted());
    let mut end = a
        .submit(move |n| {
            drop(first);
            *n = 7;
        })
        .then(&b, move |_, ()| drop(second));
    let count = CountingWaker::new();
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut end).poll(&mut cx).is_pending());
    assert!(end.cancel());
    assert_eq!(drops.count(), 2, "both closures are dropped");
    assert_eq!(count.wakes(), 1);
    assert!(!end.cancel(), "the chain is finished");
    assert_eq!(end.wait(), Err(TaskError::Cancelled));
    assert_eq!(b.stats(), Resource::new(10).stats());
    held.release();
    assert_eq!(a.with(|n| *n), Ok(1));
    assert_eq!(a.stats().cancelled, 1);
    assert_balanced(&a);
}

#[test]
fn cancel_during_first_drops_second() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let (a, b, drops) = (pooled(&scheduler, 1), Resource::new(10), Drops::new());
    let result = drops.counted();
    let (gate, first) = hold_running(&a, move |n| {
        *n = 7;
        result
    });
    let end = first.then(&b, |_, _| ());
    assert!(end.cancel());
    assert_eq!(end.wait(), Err(TaskError::Cancelled));
    gate.open();
    assert_eq!(a.with(|n| *n), Ok(7));
    wait_until("the result is dropped", || drops.count() == 1);
    assert_eq!(b.stats(), Resource::new(10).stats());
    assert_balanced(&a);
}

#[test]
fn cancel_of_queued_second_drops_result() {
    let (a, b, drops) = (Resource::new(1), Resource::new(10), Drops::new());
    let (held_a, held_b) = (hold(&a), hold(&b));
    let result = drops.counted();
    let end = a.submit(|_| result).then(&b, |_, _| ());
    held_a.release();
    wait_until("the second is queued", || b.stats().submitted == 2);
    assert_eq!(b.stats().outstanding, 2);
    assert!(end.cancel());
    assert_eq!(drops.count(), 1, "the result is dropped with the closure");
    assert_eq!(b.stats().outstanding, 1);
    assert_eq!(end.wait(), Err(TaskError::Cancelled));
    held_b.release();
    assert_balanced(&b);
    assert_eq!(b.stats().cancelled, 1);
}

#[test]
fn cancel_pending_cancels_queued_second() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held_b = hold(&b);
    let early = {
        let held_a = hold(&a);
        let end = a.submit(|n| *n).then(&b, |_, n| n);
        assert_eq!(b.cancel_pending(), 0, "the second is not queued yet");
        held_a.release();
        end
    };
    wait_until("the second is queued", || b.stats().submitted == 2);
    assert_eq!(b.cancel_pending(), 1);
    assert_eq!(early.wait(), Err(TaskError::Cancelled));
    held_b.release();
    assert_balanced(&b);
}

#[test]
fn cancel_fails_when_chain_finished() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let end = a.submit(|n| *n).then(&b, |_, n| n);
    held.release();
    wait_until("the chain is finished", || end.is_finished());
    assert!(!end.cancel());
    assert_eq!(end.wait(), Ok(1));
}

#[test]
fn chain_runs_after_completion_is_dropped() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    drop(a.submit(|n| *n).then(&b, |sum, n| *sum += n));
    held.release();
    wait_until("the task ran", || b.with(|sum| *sum) == Ok(11));
}

#[test]
fn cancel_on_drop_cancels_whole_chain() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    for asked_first in [false, true] {
        let held = hold(&a);
        let mut first = a.submit(|n| *n = 7);
        if asked_first {
            first = first.cancel_on_drop();
        }
        let mut end = first.then(&b, |sum, ()| *sum = 7);
        if !asked_first {
            end = end.cancel_on_drop();
        }
        drop(end);
        held.release();
        assert_eq!(a.with(|n| *n), Ok(1));
    }
    assert_eq!(b.with(|sum| *sum), Ok(10));
    assert_eq!(a.stats().cancelled, 2);
}

#[test]
fn panic_of_second_is_chain_outcome() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let end = a
        .submit(|n| *n)
        .then(&b, |_, _| -> () { resume_unwind(Box::new("second")) });
    held.release();
    assert_eq!(panic_message(outcome(end)), "second");
    assert_eq!(b.stats().panicked, 1);
    assert_eq!(b.with(|sum| *sum), Ok(10));
}

/// Panics in its drop.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new(self.0));
    }
}

#[test]
fn panic_in_drop_of_second_is_outcome() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    let bomb = Bomb("closure");
    let end = a.submit(|n| *n).then(&b, move |_, _| {
        let _ = &bomb;
    });
    assert_eq!(a.cancel_pending(), 1);
    assert_eq!(panic_message(outcome(end)), "closure");
    held.release();
}

#[test]
fn panic_in_drop_of_passed_result_is_contained() {
    let (a, b) = (Resource::new(1), Resource::new(10));
    let held = hold(&a);
    // The drop of the closure panics too.
    let bomb = Bomb("closure");
    let end = a.submit(|_| Bomb("result")).then(&b, move |_, result| {
        std::mem::forget(result);
        let _ = &bomb;
    });
    b.close();
    held.release();
    assert_eq!(panic_message(outcome(end)), "closure");
    assert_eq!(a.with(|n| *n), Ok(1));
}

#[test]
fn chain_drops_all_parts_however_ended() {
    for way in 0..5 {
        let (drops, held_b);
        {
            drops = Drops::new();
            let (a, b) = (
                Resource::new(drops.counted()),
                Resource::new(drops.counted()),
            );
            let (closure, result, next) = (drops.counted(), drops.counted(), drops.counted());
            let held = hold(&a);
            held_b = (way == 4).then(|| hold(&b));
            let end = a
                .submit(move |_| {
                    drop(closure);
                    result
                })
                .then(&b, move |_, result| drop((result, next)));
            match way {
                0 => drop(end),
                1 => drop(end.cancel_on_drop()),
                2 => assert_eq!(a.cancel_pending(), 1),
                3 => b.close(),
                _ => {}
            }
            held.release();
        }
        drop(held_b);
        wait_until("all parts are dropped", || drops.count() == 5);
    }
}

/// Builds a chain over two resources in turn, which waits for its first task.
fn long_chain(a: &Resource<usize>, b: &Resource<usize>) -> Completion<usize> {
    let mut end = a.submit(|n| {
        *n += 1;
        1
    });
    for n in 1..LENGTH {
        let next = if n % 2 == 0 { a } else { b };
        end = end.then(next, |n, sum| {
            *n += 1;
            sum + 1
        });
    }
    end
}

/// Runs `f` on a thread with a small stack.
fn on_a_small_stack<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let small = thread::Builder::new().stack_size(256 * 1024);
    join(small.spawn(f).unwrap()).unwrap()
}

#[test]
fn long_chain_runs_on_small_stack() {
    on_a_small_stack(|| {
        let (a, b) = (Resource::new(0), Resource::new(0));
        let held = hold(&a);
        let end = long_chain(&a, &b);
        held.release();
        assert_eq!(outcome(end), Ok(LENGTH));
        assert_eq!(a.with(|n| *n).unwrap() + b.with(|n| *n).unwrap(), LENGTH);
    });
}

#[test]
fn long_chain_runs_after_shutdown() {
    on_a_small_stack(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        assert!(scheduler.shutdown(common::DEADLINE));
        let (a, b) = (scheduler.resource(0), scheduler.resource(0));
        let mut end = Completion::then(a.submit(|_| 0), &b, |_, n| n);
        let held = hold(&a);
        for _ in 0..200 {
            end = a.submit(|_| 0).then(&b, |_, n| n);
        }
        held.release();
        assert_eq!(outcome(end), Ok(0));
    });
}

#[test]
fn cancel_pending_of_long_chain_fits_stack() {
    // The chain fails on the thread that sweeps.
    on_a_small_stack(|| {
        let (a, b) = (Resource::new(0), Resource::new(0));
        let held = hold(&a);
        let end = long_chain(&a, &b);
        assert_eq!(a.cancel_pending(), 1);
        assert_eq!(end.wait(), Err(TaskError::Cancelled));
        held.release();
        assert_eq!(b.stats().submitted, 0);
    });
}

#[test]
fn cancel_of_long_chain_fits_small_stack() {
    on_a_small_stack(|| {
        let (a, b) = (Resource::new(0), Resource::new(0));
        let held = hold(&a);
        let end = long_chain(&a, &b);
        assert!(end.cancel());
        assert_eq!(end.wait(), Err(TaskError::Cancelled));
        held.release();
        assert_eq!(a.with(|n| *n), Ok(0));
        assert_eq!(b.stats().submitted, 0);
        assert_eq!(a.stats().cancelled, 1);
    });
}

#[test]
fn dropped_long_chain_runs_on_small_stack() {
    on_a_small_stack(|| {
        let (a, b) = (Resource::new(0), Resource::new(0));
        let held = hold(&a);
        drop(long_chain(&a, &b));
        held.release();
        wait_until("the whole chain ran", || {
            a.with(|n| *n).unwrap() + b.with(|n| *n).unwrap() == LENGTH
        });
    });
}

#[test]
fn chain_cancelled_in_drop_of_chain_resolves() {
    // The drop of the closure sweeps the inner chain and waits for its end.
    within_deadline(|| {
        let (a, b, c) = (Resource::new(0), Resource::new(0), Resource::new(0));
        let (held_a, held_c) = (hold(&a), hold(&c));
        let inner = c.submit(|_| ()).then(&b, |_, ()| ()).then(&b, |_, ()| ());
        struct OnDrop<F: FnOnce()>(Option<F>);
        impl<F: FnOnce()> Drop for OnDrop<F> {
            fn drop(&mut self) {
                self.0.take().unwrap()();
            }
        }
        let (found, sweep) = (Arc::new(AtomicUsize::new(0)), c.clone());
        let seen = Arc::clone(&found);
        let on_drop = OnDrop(Some(move || {
            sweep.cancel_pending();
            assert_eq!(inner.wait(), Err(TaskError::Cancelled));
            seen.fetch_add(1, Ordering::SeqCst);
        }));
        let outer = a
            .submit(|_| ())
            .then(&b, |_, ()| ())
            .then(&b, move |_, ()| {
                let _ = &on_drop;
            });
        assert_eq!(a.cancel_pending(), 1);
        assert_eq!(outer.wait(), Err(TaskError::Cancelled));
        assert_eq!(found.load(Ordering::SeqCst), 1);
        held_a.release();
        held_c.release();
    });
}

#[test]
fn wait_for_chain_inside_its_task_would_deadlock() {
    within_deadline(|| {
        let (a, b) = (Resource::new(0), Resource::new(0));
        let (first, second) = (a.clone(), b.clone());
        let inside_first = a.with(move |_| first.submit(|_| ()).then(&second, |_, ()| ()).wait());
        assert_eq!(inside_first, Ok(Err(TaskError::WouldDeadlock)));
        let held = hold(&a);
        let (first, second) = (a.clone(), b.clone());
        let inside_second = b.with(move |_| first.submit(|_| ()).then(&second, |_, ()| ()).wait());
        assert_eq!(inside_second, Ok(Err(TaskError::WouldDeadlock)));
        held.release();
        wait_until("both chains ran", || b.stats().completed == 3);
    });
}

#[test]
fn cycle_through_chain_would_deadlock() {
    // A task of `a` waits for a chain over `c` and `b`, while `c` is held. A task of `b` then waits
    // for `a`. The wait fails with `WouldDeadlock`, although the chain has not reached `b` yet.
    within_deadline(|| {
        let (a, b, c) = (Resource::new(0), Resource::new(0), Resource::new(0));
        let held = hold(&c);
        let sleeper = common::Sleepers::new();
        let waiter = thread::spawn({
            let (a, b, c, sleeper) = (a.clone(), b.clone(), c.clone(), sleeper.clone());
            move || {
                a.with(move |_| {
                    sleeper.here();
                    c.submit(|_| ()).then(&b, |_, ()| ()).wait()
                })
            }
        });
        sleeper.wait(&c, 2);
        let circle = b.with(|_| a.with(|_| ()));
        assert_eq!(circle, Ok(Err(TaskError::WouldDeadlock)));
        held.release();
        assert_eq!(join(waiter).unwrap(), Ok(Ok(())));
    });
}

/// Whatever a user's waker does is done when the waker returns, on whichever thread.
#[test]
fn waker_may_cancel_chain_during_cancel() {
    let (r, other) = (Resource::new(()), Resource::new(()));
    let held = hold(&r);
    let mut first = r.submit(|()| ()).then(&other, |(), ()| ());
    let second = r.submit(|()| ()).then(&other, |(), ()| ());
    let (send, seen) = mpsc::channel();
    let waker = waker_that(move || {
        let cancelled = second.cancel();
        send.send((cancelled, second.is_finished(), outcome(second)))
            .unwrap();
    });
    poll_pending(&mut first, &waker);
    assert!(first.cancel());
    let seen = seen.recv().unwrap();
    assert_eq!(seen, (true, true, Err(TaskError::Cancelled)));
    held.release();
}

/// The result may arrive when the chain was cancelled. The result is then dropped immediately, and
/// its panic is contained.
#[test]
fn cancel_during_result_passing_drops_result() {
    common::within_deadline(|| {
        let other = Resource::new(());
        for round in 0..3_000 {
            let r = Resource::builder().dispatch(captor::Dispatch::Pool);
            let r = r.build(()).unwrap();
            let (gate, drops) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
            let (opened, dropped) = (gate.clone(), Arc::clone(&drops));
            let end = r
                .submit(move |()| {
                    opened.wait();
                    common::on_drop(move || {
                        dropped.fetch_add(1, Ordering::SeqCst);
                        resume_unwind(Box::new("drop of a result"));
                    })
                })
                .then(&other, |(), result| result.defuse());
            gate.open();
            (0..round % 400).for_each(|_| std::hint::spin_loop());
            end.cancel();
            common::wait_until("the chain is finished", || end.is_finished());
            other.with(|()| ()).unwrap();
            drop(end);
        }
    });
}
