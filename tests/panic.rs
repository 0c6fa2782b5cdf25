#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Panics in tasks, drops and wakers wedge nothing (G9).

mod common;

use captor::{
    BuildError, Completion, Dispatch, HealError, PanicPolicy, Resource, Scheduler, TaskError,
};
use common::{CountingWaker, Drops, Sleepers, hold, join, outcome, panic_message, wait_until};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

/// Panics in its drop.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // Skips the panic hook, since very many bombs panic.
        resume_unwind(Box::new("bomb"));
    }
}

fn pooled<T: Send + 'static>(value: T) -> Resource<T> {
    Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(value)
        .unwrap()
}

/// Checks that the resource still runs tasks, on the caller and from the queue.
fn assert_alive(r: &Resource<u32>) {
    let before = outcome(r.submit(|n| *n)).unwrap();
    let held = hold(r);
    let queued = r.submit(|n| {
        *n += 1;
        *n
    });
    held.release();
    assert_eq!(outcome(queued), Ok(before + 1));
    wait_until("the resource is idle", || r.stats().outstanding == 0);
}

#[test]
fn inline_panic_payload_reaches_caller() {
    let r = Resource::new(0);
    let done = r.submit(|_| -> () { panic!("spilled {}", 3) });
    assert!(done.is_finished());
    assert_eq!(panic_message(done.wait()), "spilled 3");
    let payload = r
        .submit(|_| -> () { resume_unwind(Box::new(17_u64)) })
        .wait()
        .unwrap_err()
        .try_into_panic()
        .unwrap();
    assert_eq!(payload.downcast_ref::<u64>(), Some(&17));
    assert_alive(&r);
}

#[test]
fn queue_continues_after_queued_task_panics() {
    let r = Resource::new(0);
    let held = hold(&r);
    let first = r.submit(|n| *n += 1);
    let second = r.submit(|_| -> () { panic!("second") });
    let third = r.submit(|n| *n += 1);
    held.release();
    assert_eq!(outcome(first), Ok(()));
    assert_eq!(panic_message(outcome(second)), "second");
    assert_eq!(outcome(third), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(2));
    assert_alive(&r);
}

#[test]
fn queue_survives_when_every_task_panics() {
    for r in [
        Resource::new(0),
        pooled(0),
        Resource::builder().capture_limit(1).build(0).unwrap(),
    ] {
        let held = hold(&r);
        let tasks: Vec<_> = (0..100)
            .map(|n| r.submit(move |_| -> () { resume_unwind(Box::new(n.to_string())) }))
            .collect();
        held.release();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(panic_message(outcome(task)), n.to_string());
        }
        assert_eq!(r.stats().panicked, 100);
        assert_alive(&r);
    }
}

#[test]
fn worker_survives_task_panics() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let r = Resource::builder()
        .scheduler(&scheduler)
        .dispatch(Dispatch::Pool)
        .build(0)
        .unwrap();
    for _ in 0..20 {
        let task = r.submit(|_| -> () { resume_unwind(Box::new("worker")) });
        assert_eq!(panic_message(outcome(task)), "worker");
        let fired: Completion<Bomb> = r.submit(|_| Bomb);
        drop(fired);
    }
    assert_alive(&r);
    assert_eq!(scheduler.stats().threads, 1, "no worker was replaced");
}

#[test]
fn value_keeps_changes_made_before_panic() {
    let r = Resource::new(1);
    let _ = r.with(|n| {
        *n = 2;
        resume_unwind(Box::new("half done"));
    });
    assert_eq!(r.with(|n| *n), Ok(2));
    assert!(!r.is_poisoned());
}

#[test]
fn captured_values_drop_when_task_panics() {
    let drops = Drops::new();
    let r = Resource::new(0);
    let held = hold(&r);
    let (inline, queued) = (drops.counted(), drops.counted());
    let task = r.submit(move |_| {
        let _held = queued;
        resume_unwind(Box::new("queued"));
    });
    held.release();
    assert_eq!(panic_message::<()>(outcome(task)), "queued");
    let task: Completion<()> = r.submit(move |_| {
        let _held = inline;
        resume_unwind(Box::new("inline"));
    });
    assert_eq!(panic_message(task.wait()), "inline");
    assert_eq!(drops.count(), 2);
}

#[test]
fn panic_in_drop_of_capture_is_task_outcome() {
    // The panic unwinds out of the closure, so the task panicked.
    let r = Resource::new(0);
    let bomb = Bomb;
    let inline = r.submit(move |_| {
        let _bomb = &bomb;
    });
    assert_eq!(panic_message(inline.wait()), "bomb");
    let held = hold(&r);
    let bomb = Bomb;
    let queued = r.submit(move |_| {
        let _bomb = &bomb;
    });
    held.release();
    assert_eq!(panic_message(outcome(queued)), "bomb");
    assert_alive(&r);
}

#[test]
fn panic_in_drop_of_cancelled_closure_is_outcome() {
    let r = Resource::new(0);
    let held = hold(&r);
    let bombs: Vec<_> = (0..4)
        .map(|_| {
            let bomb = Bomb;
            r.submit(move |_| drop(bomb))
        })
        .collect();
    // Cancelled by its handle: the panic is the task's outcome, and does not reach the caller.
    assert!(bombs[0].cancel());
    assert!(bombs[0].is_finished());
    // Cancelled by `cancel_pending`: one bomb does not spare the remaining tasks.
    let bomb = Bomb;
    r.execute(move |_| drop(bomb)).unwrap();
    assert_eq!(r.cancel_pending(), 4);
    for task in bombs {
        assert_eq!(panic_message(outcome(task)), "bomb");
    }
    let bomb = Bomb;
    drop(r.submit(move |_| drop(bomb)).cancel_on_drop());
    held.release();
    assert_alive(&r);
}

#[test]
fn panic_in_drop_of_refused_closure_is_outcome() {
    let r = Resource::new(0);
    let held = hold(&r);
    r.close();
    let bomb = || {
        let bomb = Bomb;
        move |_: &mut u32| drop(bomb)
    };
    assert_eq!(panic_message(r.submit(bomb()).wait()), "bomb");
    assert_eq!(panic_message(r.with(bomb())), "bomb");
    assert!(r.execute(bomb()).is_err());
    let back = r.try_submit(bomb()).unwrap_err();
    std::mem::forget(back.into_inner());
    held.release();
    assert!(r.wait_closed(common::DEADLINE));
}

#[test]
fn panic_in_drop_of_unread_result_is_contained() {
    let r = Resource::new(0);
    drop(r.submit(|_| Bomb));
    // The value is dropped inside the task's own call, so this panic counts as the task's.
    r.execute(|_| drop(Bomb)).unwrap();
    let held = hold(&r);
    drop(r.submit(|_| Bomb));
    r.execute(|_| drop(Bomb)).unwrap();
    let after = r.submit(|n| *n += 1);
    held.release();
    assert_eq!(outcome(after), Ok(()));
    assert_alive(&r);
    // The completion is dropped after the task finished.
    let held = hold(&r);
    let ready = r.submit(|_| Bomb);
    held.release();
    wait_until("the task ran", || ready.is_finished());
    drop(ready);
    assert_alive(&r);
}

#[test]
fn drop_panic_is_contained_when_call_is_refused() {
    let r = Resource::new(0);
    let bomb = Bomb;
    let healed = r.clear_poison(move |_| drop(bomb));
    assert_eq!(healed, Err(HealError::NotPoisoned));
    let refused = Resource::builder().capacity(0).build(Bomb);
    assert_eq!(refused.unwrap_err(), BuildError::ZeroCapacity);
    let refused = Resource::builder().capture_limit(0).build(Bomb);
    assert_eq!(refused.unwrap_err(), BuildError::ZeroCaptureLimit);
    let refused = Resource::builder().priorities(0).build(Bomb);
    assert!(matches!(refused, Err(BuildError::Priorities { .. })));
}

#[test]
fn panic_in_drop_of_sink_closure_is_contained() {
    let r = Resource::new(0);
    let bomb = Bomb;
    let mut sink = r.sink(move |n: &mut u32, more: u32| {
        let _ = &bomb;
        *n += more;
    });
    futures::executor::block_on(futures::SinkExt::send(&mut sink, 2)).unwrap();
    drop(sink);
    assert_eq!(r.with(|n| *n), Ok(2));
    assert_eq!(r.stats().panicked, 0);
}

#[test]
fn attach_outcome_stays_when_drop_panics() {
    let r = Resource::new(0);
    let (in_stream, in_closure) = (Bomb, Bomb);
    let items = futures::StreamExt::map(futures::stream::iter(0..3), move |n| {
        let _ = &in_stream;
        n
    });
    let items = r.attach(items, move |n: &mut u32, more: u32| {
        let _ = &in_closure;
        *n += more;
    });
    assert_eq!(items.wait(), Ok(3));
    assert_eq!(r.with(|n| *n), Ok(3));
}

#[test]
fn panic_in_drop_of_panic_payload_is_contained() {
    let r = Resource::new(0);
    let explode = |_: &mut u32| -> () { resume_unwind(Box::new(Bomb)) };
    r.execute(explode).unwrap();
    drop(r.submit(explode));
    let held = hold(&r);
    r.execute(explode).unwrap();
    drop(r.submit(explode));
    let kept = r.submit(explode);
    held.release();
    let payload = outcome(kept).unwrap_err().try_into_panic().unwrap();
    assert!(payload.is::<Bomb>());
    std::mem::forget(payload);
    assert_alive(&r);
    let poisons = Resource::builder()
        .panic_policy(PanicPolicy::Poison)
        .build(0)
        .unwrap();
    poisons.execute(explode).unwrap();
    assert!(poisons.is_poisoned());
}

#[test]
fn panic_in_drop_of_value_is_contained() {
    struct Explosive(Arc<AtomicUsize>);
    impl Drop for Explosive {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            resume_unwind(Box::new("value"));
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    // The value is dropped by the last handle, by the last holder, and by a worker.
    drop(Resource::new(Explosive(drops.clone())));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    let r = Resource::new(Explosive(drops.clone()));
    let held = hold(&r);
    let queued = r.submit(|_| ());
    drop(r);
    held.release();
    assert_eq!(outcome(queued), Ok(()));
    wait_until("the value is dropped", || drops.load(Ordering::SeqCst) == 2);
    let r = pooled(Explosive(drops.clone()));
    let last = r.submit(|_| ());
    drop(r);
    assert_eq!(outcome(last), Ok(()));
    wait_until("the value is dropped", || drops.load(Ordering::SeqCst) == 3);
    // The value is dropped while the caller already unwinds.
    let r = Resource::new(Explosive(drops.clone()));
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _r = r;
        resume_unwind(Box::new("outer"));
    }));
    assert_eq!(
        caught.unwrap_err().downcast_ref::<&str>(),
        Some(&"outer"),
        "the first panic continues"
    );
    assert_eq!(drops.load(Ordering::SeqCst), 4);
}

struct BadWaker;

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("wake"));
    }
}

impl Drop for BadWaker {
    fn drop(&mut self) {
        if !thread::panicking() {
            resume_unwind(Box::new("drop of a waker"));
        }
    }
}

fn poll_with<R>(task: &mut Completion<R>, waker: &Waker) {
    let polled = Pin::new(task).poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending());
}

/// Polls with a waker whose wake panics. Its drop panics too, if the task holds the last reference.
fn poll_with_bad_waker<R>(task: &mut Completion<R>) {
    let waker = Waker::from(Arc::new(BadWaker));
    poll_with(task, &waker);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
}

#[test]
fn panic_in_waker_wake_is_contained() {
    let r = Resource::new(0);
    let held = hold(&r);
    let mut first = r.submit(|n| *n += 1);
    poll_with_bad_waker(&mut first);
    let second = r.submit(|n| *n += 1);
    let mut cancelled = r.submit(|n| *n += 1);
    poll_with_bad_waker(&mut cancelled);
    assert!(cancelled.cancel());
    let mut swept = r.submit(|n| *n += 1);
    poll_with_bad_waker(&mut swept);
    let swept_all = {
        let r = r.clone();
        // Cancels the first two tasks too, so their outcomes are checked below.
        thread::spawn(move || r.cancel_pending())
    };
    assert_eq!(join(swept_all).unwrap(), 3);
    assert_eq!(outcome(first), Err(TaskError::Cancelled));
    assert_eq!(outcome(second), Err(TaskError::Cancelled));
    assert_eq!(outcome(swept), Err(TaskError::Cancelled));
    let mut woken = r.submit(|n| *n += 1);
    poll_with_bad_waker(&mut woken);
    let after = r.submit(|n| *n += 1);
    held.release();
    assert_eq!(outcome(after), Ok(()));
    assert_eq!(outcome(woken), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(2));
    assert_alive(&r);
}

#[test]
fn panic_in_waker_drop_is_contained() {
    let r = Resource::new(0);
    let held = hold(&r);
    let mut replaced = r.submit(|n| *n += 1);
    poll_with_bad_waker(&mut replaced);
    let good = CountingWaker::new();
    poll_with(&mut replaced, &good.waker());
    let mut dropped = r.submit(|n| *n += 1);
    poll_with_bad_waker(&mut dropped);
    drop(dropped);
    held.release();
    wait_until("the new waker is woken", || good.wakes() == 1);
    assert_eq!(outcome(replaced), Ok(()));
    assert_eq!(r.with(|n| *n), Ok(2));
    assert_alive(&r);
}

#[test]
fn panic_in_waker_of_closed_future_is_contained() {
    let r = Resource::new(0);
    let held = hold(&r);
    let waker = Waker::from(Arc::new(BadWaker));
    let mut closed = r.closed();
    assert!(
        Pin::new(&mut closed)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
    let other = {
        let r = r.clone();
        thread::spawn(move || r.wait_closed(common::DEADLINE))
    };
    r.close();
    held.release();
    assert!(join(other).unwrap());
    futures::executor::block_on(closed);
}

/// Returns a waker whose clone panics.
fn unclonable() -> Waker {
    use std::task::{RawWaker, RawWakerVTable};
    fn clone(_: *const ()) -> RawWaker {
        resume_unwind(Box::new("clone"));
    }
    fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    #[allow(unsafe_code)]
    // SAFETY: the functions keep a waker's contract: no function touches the data, and all may be
    // called on any thread.
    unsafe {
        Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE))
    }
}

/// Polls with a waker whose clone panics.
fn poll_with_unclonable_waker<F: Future + Unpin>(future: &mut F) {
    let waker = unclonable();
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
        polled.is_pending()
    }));
    assert!(polled.is_err(), "a panic in clone reaches the poller");
}

#[test]
fn panic_in_waker_clone_leaves_task_pending() {
    let r = Resource::new(1);
    let held = hold(&r);
    let mut task = r.submit(|n| *n);
    poll_with_unclonable_waker(&mut task);
    let good = CountingWaker::new();
    poll_with(&mut task, &good.waker());
    held.release();
    wait_until("the waker is woken", || good.wakes() == 1);
    assert_eq!(outcome(task), Ok(1));
}

#[test]
fn panic_in_waker_clone_leaves_sleep_pending() {
    let mut sleep = Scheduler::global().sleep(Duration::from_millis(100));
    poll_with_unclonable_waker(&mut sleep);
    let good = CountingWaker::new();
    common::poll_pending(&mut sleep, &good.waker());
    wait_until("the waker is woken", || good.wakes() == 1);
}

#[test]
fn nested_panic_stays_with_inner_task() {
    let (a, b) = (Resource::new(0), Resource::new(0));
    let inner = b.clone();
    let outer = a.with(move |n| {
        let nested = inner.with(|_| -> () { resume_unwind(Box::new("inner")) });
        *n += 1;
        panic_message(nested)
    });
    assert_eq!(outer.as_deref(), Ok("inner"));
    let inner = b.clone();
    // A panic that continues through both tasks.
    let through = a.submit(move |_| match inner.with(|_| -> () { panic!("both") }) {
        Err(TaskError::Panicked(panic)) => panic.resume(),
        other => other,
    });
    assert_eq!(panic_message(through.wait()), "both");
    assert_alive(&a);
    assert_alive(&b);
    assert!(!a.is_current() && !b.is_current());
}

#[test]
fn waiter_survives_panics_of_helped_tasks() {
    let asleep = Sleepers::new();
    // The executor keeps its jobs, so that the waiter runs all tasks.
    let (send, jobs) = std::sync::mpsc::channel();
    let scheduler = Scheduler::builder()
        .capture_limit(1)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = scheduler.resource(0);
    let held = hold(&r);
    let panics: Vec<_> = (0..5)
        .map(|_| r.submit(|_| -> () { resume_unwind(Box::new("other")) }))
        .collect();
    let waiter = {
        let (r, asleep) = (r.clone(), asleep.clone());
        thread::spawn(move || {
            asleep.here();
            r.with(|n| *n + 1)
        })
    };
    asleep.wait(&r, 7);
    held.release();
    assert_eq!(join(waiter).unwrap(), Ok(1));
    for task in panics {
        assert_eq!(panic_message(outcome(task)), "other");
    }
    drop(jobs);
}

#[test]
fn panics_compare_unequal_and_plain_errors_equal() {
    let r = Resource::new(());
    let boom = || {
        r.with(|_| -> () { resume_unwind(Box::new("x")) })
            .unwrap_err()
    };
    assert_ne!(boom(), boom());
    assert_eq!(TaskError::Closed, TaskError::Closed);
    assert_ne!(TaskError::Closed, TaskError::Cancelled);
    assert_eq!(
        TaskError::Closed.try_into_panic().unwrap_err(),
        TaskError::Closed
    );
    let text = boom().to_string();
    assert!(text.contains('x'), "{text}");
    let odd = r
        .with(|_| -> () { resume_unwind(Box::new(1)) })
        .unwrap_err();
    assert!(odd.to_string().contains("not a string"), "{odd}");
    assert!(format!("{odd:?}").contains("Panicked"));
    // The error fits where boxed errors are expected.
    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(odd);
    drop(boxed);
}
