#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Bounded queues: refusals, waiting for room, and when room comes back.

mod common;

use captor::{
    BuildError, Completion, Dispatch, Job, PanicPolicy, Permit, Reserve, ReserveError, Resource,
    Scheduler, SubmitError, TaskError, TrySubmitError,
};
use common::{
    CountingWaker, DEADLINE, Drops, Gate, Held, Sleepers, hold, join, outcome, panic_message,
    wait_until, within_deadline,
};
use futures::executor::block_on;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

const EACH: [Dispatch; 2] = [Dispatch::Inline, Dispatch::Pool];

fn bounded(capacity: usize, dispatch: Dispatch) -> Resource<u64> {
    Resource::builder()
        .capacity(capacity)
        .dispatch(dispatch)
        .build(0)
        .unwrap()
}

/// Returns a busy resource whose queue is full.
fn full(capacity: usize, dispatch: Dispatch) -> (Resource<u64>, Held) {
    let r = bounded(capacity, dispatch);
    let held = hold(&r);
    for _ in 0..capacity {
        r.execute(|n| *n += 1).unwrap();
    }
    (r, held)
}

/// Asserts that there is room for exactly `n` tasks.
#[track_caller]
fn has_room(r: &Resource<u64>, n: usize) {
    let permits: Vec<_> = (0..n).map(|_| r.try_reserve().unwrap()).collect();
    assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Full);
    drop(permits);
}

/// Polls with a counting waker.
fn poll(reserve: &mut Reserve<u64>, waker: &Arc<CountingWaker>) -> Poll<Option<Permit<u64>>> {
    let waker = waker.waker();
    let polled = Pin::new(reserve).poll(&mut Context::from_waker(&waker));
    polled.map(Result::ok)
}

/// Returns a `Reserve` that waits in line for room, and the count of its wake-ups.
fn waiting(r: &Resource<u64>) -> (Reserve<u64>, Arc<CountingWaker>) {
    let (mut reserve, wakes) = (r.reserve(), CountingWaker::new());
    assert!(poll(&mut reserve, &wakes).is_pending());
    (reserve, wakes)
}

#[test]
fn every_submission_is_refused_when_full() {
    for dispatch in EACH {
        let (r, held) = full(2, dispatch);
        let drops = Drops::new();
        let (one, two) = (drops.counted(), drops.counted());
        assert_eq!(r.submit(|_| drop(one)).wait(), Err(TaskError::Full));
        assert_eq!(r.execute(|_| drop(two)), Err(SubmitError::Full));
        assert_eq!(drops.count(), 2, "refused closures are dropped");
        assert_eq!(r.task().submit(|_| ()).wait(), Err(TaskError::Full));
        assert_eq!(r.task().execute(|_| ()), Err(SubmitError::Full));
        let Err(TrySubmitError::Full(f)) = r.try_submit(|n: &mut u64| *n + 5) else {
            panic!("the queue should be full");
        };
        assert_eq!(Resource::new(1).submit(f).wait(), Ok(6));
        assert_eq!(r.stats().rejected, 5);
        held.release();
        assert_eq!(r.with(|n| *n), Ok(2), "accepted tasks run");
        has_room(&r, 2);
    }
}

#[test]
fn inline_task_needs_no_room() {
    let r = bounded(1, Dispatch::Inline);
    let permit = r.try_reserve().unwrap();
    for n in 1..=3 {
        r.execute(|n| *n += 1).unwrap();
        assert_eq!(r.submit(|n| *n).wait(), Ok(n));
        assert_eq!(r.try_submit(|n| *n).unwrap().wait(), Ok(n));
    }
    drop(permit);
    has_room(&r, 1);
}

#[test]
fn unbounded_resource_is_never_full() {
    let r = Resource::new(0_u64);
    let held = hold(&r);
    let permits: Vec<_> = (0..100).map(|_| r.try_reserve().unwrap()).collect();
    assert!(r.reserve_timeout(Duration::ZERO).is_ok());
    let tasks: Vec<_> = permits
        .into_iter()
        .map(|permit| permit.submit(|n| *n += 1))
        .collect();
    held.release();
    assert!(tasks.into_iter().all(|task| outcome(task).is_ok()));
    assert_eq!(r.with(|n| *n), Ok(100));
    r.close();
    assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Closed);
    assert_eq!(block_on(r.reserve()).unwrap_err(), ReserveError::Closed);
}

#[test]
fn build_fails_when_capacity_is_zero() {
    let error = Resource::builder().capacity(0).build(()).unwrap_err();
    assert_eq!(error, BuildError::ZeroCapacity);
    let r = bounded(usize::MAX, Dispatch::Inline);
    let held = hold(&r);
    r.execute(|n| *n += 1).unwrap();
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn with_needs_no_room_when_full() {
    for dispatch in EACH {
        let (r, held) = full(1, dispatch);
        let asleep = Sleepers::new();
        let caller = {
            let (r, asleep) = (r.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                r.with(|n| *n)
            })
        };
        asleep.wait(&r, 3);
        held.release();
        assert_eq!(join(caller).unwrap(), Ok(1));
        has_room(&r, 1);
    }
}

#[test]
fn room_returns_when_task_starts() {
    for dispatch in EACH {
        let r = bounded(1, dispatch);
        let held = hold(&r);
        let (started, go) = (Gate::new(), Gate::new());
        let first = {
            let (started, go) = (started.clone(), go.clone());
            r.submit(move |_| {
                started.open();
                go.wait();
            })
        };
        has_room(&r, 0);
        held.gate().open();
        started.wait();
        has_room(&r, 1);
        let second = r.submit(|_| ());
        has_room(&r, 0);
        go.open();
        assert_eq!((outcome(first), outcome(second)), (Ok(()), Ok(())));
        held.release();
        has_room(&r, 1);
    }
}

#[test]
fn room_returns_once_when_task_is_cancelled() {
    for dispatch in EACH {
        let r = bounded(2, dispatch);
        let held = hold(&r);
        let first = r.submit(|n| *n = 9);
        let second = r.submit(|n| *n = 9).cancel_on_drop();
        has_room(&r, 0);
        assert!(first.cancel() && !first.cancel());
        has_room(&r, 1);
        drop(second);
        has_room(&r, 2);
        // The remains of both tasks are still queued, and have no room to give back.
        held.release();
        assert_eq!(r.with(|n| *n), Ok(0));
        has_room(&r, 2);
    }
}

#[test]
fn room_returns_when_queue_is_cancelled() {
    for dispatch in EACH {
        let (r, held) = full(3, dispatch);
        assert_eq!(r.cancel_pending(), 3);
        has_room(&r, 3);
        // The sweep also meets tasks that were cancelled before.
        let permit = r.try_reserve().unwrap();
        let tasks = [permit.submit(|_| ()), r.submit(|_| ())];
        assert!(tasks[0].cancel() && tasks[1].cancel());
        assert_eq!(r.cancel_pending(), 0);
        has_room(&r, 3);
        held.release();
        has_room(&r, 3);
    }
}

#[test]
fn room_returns_after_poison_sweep_and_refusals() {
    for dispatch in EACH {
        let r = Resource::builder()
            .capacity(3)
            .dispatch(dispatch)
            .panic_policy(PanicPolicy::Poison)
            .build(0)
            .unwrap();
        let held = hold(&r);
        let bad: Completion<()> = r.submit(|_| resume_unwind(Box::new("bad")));
        let swept = [r.submit(|_| ()), r.try_reserve().unwrap().submit(|_| ())];
        let (served, _) = waiting(&r);
        let (mut reserve, wakes) = waiting(&r);
        held.release();
        assert_eq!(panic_message(outcome(bad)), "bad");
        for task in swept {
            assert_eq!(outcome(task), Err(TaskError::Poisoned));
        }
        // The first waiter gets the room of the task that panicked. The second waiter is turned
        // away before the room of a swept task reaches it.
        drop(served);
        wait_until("the second waiter is turned away", || wakes.wakes() == 1);
        assert_eq!(block_on(&mut reserve).unwrap_err(), ReserveError::Poisoned);
        assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Poisoned);
        // Refused more often than there is room.
        for _ in 0..4 {
            assert_eq!(r.execute(|_| ()), Err(SubmitError::Poisoned));
        }
        r.clear_poison(|n| *n = 0).unwrap();
        has_room(&r, 3);
        assert!(block_on(r.reserve()).is_ok());
    }
}

#[test]
fn task_of_permit_returns_room_once() {
    for dispatch in EACH {
        let r = bounded(1, dispatch);
        // On an idle resource.
        let room = r.clone();
        let idle = r.try_reserve().unwrap().submit(move |_| has_room(&room, 1));
        assert_eq!(outcome(idle), Ok(()));
        r.try_reserve().unwrap().execute(|n| *n += 1).unwrap();
        r.with(|_| ()).unwrap();
        has_room(&r, 1);
        // Queued, then run.
        let held = hold(&r);
        let task = r.try_reserve().unwrap().submit(|n| *n);
        has_room(&r, 0);
        held.release();
        assert_eq!(outcome(task), Ok(1));
        has_room(&r, 1);
        // Queued, then cancelled.
        let held = hold(&r);
        let task = r.try_reserve().unwrap().submit(|n| *n);
        assert!(task.cancel());
        has_room(&r, 1);
        r.try_reserve().unwrap().execute(|n| *n += 1).unwrap();
        assert_eq!(r.cancel_pending(), 1);
        has_room(&r, 1);
        held.release();
        has_room(&r, 1);
    }
}

#[test]
fn permit_is_accepted_when_full() {
    for dispatch in EACH {
        let r = bounded(2, dispatch);
        let held = hold(&r);
        let permit = r.try_reserve().unwrap();
        r.execute(|n| *n += 1).unwrap();
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Full));
        permit.execute(|n| *n += 10).unwrap();
        has_room(&r, 0);
        held.release();
        assert_eq!(r.with(|n| *n), Ok(11));
    }
}

#[test]
fn room_returns_when_permit_is_dropped() {
    let (r, held) = full(1, Dispatch::Inline);
    held.release();
    let permit = r.try_reserve().unwrap();
    has_room(&r, 0);
    drop(permit);
    has_room(&r, 1);
}

#[test]
fn waiters_get_room_in_arrival_order() {
    within_deadline(|| {
        let r = bounded(1, Dispatch::Inline);
        let permit = r.try_reserve().unwrap();
        let (send, permits) = mpsc::channel();
        let blocks = |n: usize| {
            let (r, send, asleep) = (r.clone(), send.clone(), Sleepers::new());
            let announced = asleep.clone();
            let thread = thread::spawn(move || {
                announced.here();
                send.send((n, r.reserve_blocking().unwrap())).unwrap();
            });
            asleep.wait_for(1);
            thread
        };
        let (mut first, first_wakes) = waiting(&r);
        let second = blocks(2);
        let (mut third, third_wakes) = waiting(&r);
        let fourth = blocks(4);

        drop(permit);
        assert_eq!((first_wakes.wakes(), third_wakes.wakes()), (1, 0));
        // The first waiter owns the room, though not polled since: no thread gets in between.
        assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Full);
        assert!(poll(&mut third, &third_wakes).is_pending());
        drop(block_on(&mut first).unwrap());
        let (n, permit) = permits.recv_timeout(DEADLINE).unwrap();
        assert_eq!((n, third_wakes.wakes()), (2, 0));
        drop(permit);
        assert_eq!(third_wakes.wakes(), 1);
        assert!(
            permits.try_recv().is_err(),
            "the fourth waiter has no room yet"
        );
        drop(block_on(&mut third).unwrap());
        let (n, permit) = permits.recv_timeout(DEADLINE).unwrap();
        assert_eq!(n, 4);
        drop(permit);
        has_room(&r, 1);
        join(second).unwrap();
        join(fourth).unwrap();
    });
}

#[test]
fn room_is_not_lost_when_waiter_gives_up() {
    let r = bounded(1, Dispatch::Inline);
    let permit = r.try_reserve().unwrap();
    // The first waiter gives up before room comes.
    let (first, first_wakes) = waiting(&r);
    let (second, second_wakes) = waiting(&r);
    let (mut third, third_wakes) = waiting(&r);
    drop(first);
    assert_eq!(Arc::strong_count(&first_wakes), 1, "the waker is gone");
    drop(permit);
    assert_eq!((first_wakes.wakes(), second_wakes.wakes()), (0, 1));
    // The second gives up after room came: the third gets the room.
    assert_eq!(third_wakes.wakes(), 0);
    drop(second);
    assert_eq!(third_wakes.wakes(), 1);
    drop(block_on(&mut third).unwrap());
    // If no waiter is next, the room is free again.
    let permit = r.try_reserve().unwrap();
    let (fourth, wakes) = waiting(&r);
    drop(permit);
    has_room(&r, 0);
    drop(fourth);
    assert_eq!(wakes.wakes(), 1);
    has_room(&r, 1);
    // A `Reserve` that was never polled holds nothing.
    drop(r.reserve());
    has_room(&r, 1);
    drop(block_on(r.reserve()).unwrap());
    has_room(&r, 1);
}

#[test]
fn reserve_wakes_last_waker_when_moved() {
    let (r, held) = full(1, Dispatch::Inline);
    let (mut reserve, before) = waiting(&r);
    let after = CountingWaker::new();
    assert!(poll(&mut reserve, &after).is_pending());
    assert_eq!(Arc::strong_count(&before), 1, "the waker is gone");
    assert_eq!(r.cancel_pending(), 1);
    assert_eq!((before.wakes(), after.wakes()), (0, 1));
    assert!(poll(&mut reserve, &after).is_ready());
    held.release();
}

#[test]
#[should_panic(expected = "polled after completion")]
fn reserve_panics_when_polled_after_ready() {
    let r = bounded(1, Dispatch::Inline);
    let (mut reserve, waker) = (r.reserve(), CountingWaker::new());
    assert!(poll(&mut reserve, &waker).is_ready());
    let _ = poll(&mut reserve, &waker);
}

#[test]
fn close_turns_away_waiters_for_room() {
    within_deadline(|| {
        for dispatch in EACH {
            let r = bounded(2, dispatch);
            let held = hold(&r);
            let permits = [(); 2].map(|()| r.try_reserve().unwrap());
            let asleep = Sleepers::new();
            let blocked = [None, Some(Duration::MAX), Some(4 * DEADLINE)].map(|timeout| {
                let (r, asleep) = (r.clone(), asleep.clone());
                thread::spawn(move || {
                    asleep.here();
                    match timeout {
                        None => r.reserve_blocking().unwrap_err(),
                        Some(timeout) => r.reserve_timeout(timeout).unwrap_err(),
                    }
                })
            });
            let (mut reserve, wakes) = waiting(&r);
            asleep.wait_for(3);
            let [first, second] = permits;
            r.close();
            for thread in blocked {
                assert_eq!(join(thread).unwrap(), ReserveError::Closed);
            }
            assert_eq!(wakes.wakes(), 1);
            assert_eq!(block_on(&mut reserve).unwrap_err(), ReserveError::Closed);
            assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Closed);
            assert_eq!(block_on(r.reserve()).unwrap_err(), ReserveError::Closed);
            // Permits are of no use after the close.
            assert_eq!(first.submit(|_| ()).wait(), Err(TaskError::Closed));
            assert_eq!(second.execute(|_| ()), Err(SubmitError::Closed));
            held.release();
            assert!(r.wait_closed(DEADLINE));
        }
    });
}

#[test]
fn waiter_served_before_close_gets_permit() {
    let r = bounded(1, Dispatch::Inline);
    let permit = r.try_reserve().unwrap();
    let (mut reserve, _) = waiting(&r);
    drop(permit);
    r.close();
    let permit = block_on(&mut reserve).unwrap();
    assert_eq!(permit.submit(|_| ()).wait(), Err(TaskError::Closed));
}

#[test]
fn error_is_closed_when_closed_and_full() {
    for dispatch in EACH {
        let (r, held) = full(1, dispatch);
        r.close();
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Closed));
        assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Closed);
        held.release();
        assert!(r.wait_closed(DEADLINE));
    }
}

#[test]
fn reserve_timeout_ends_in_time() {
    within_deadline(|| {
        let r = bounded(1, Dispatch::Inline);
        let permit = r.try_reserve().unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(2)] {
            let late = r.reserve_timeout(timeout);
            assert_eq!(late.unwrap_err(), ReserveError::Timeout);
        }
        // The waiters that timed out left the line.
        drop(permit);
        has_room(&r, 1);
        let permit = r.try_reserve().unwrap();
        let asleep = Sleepers::new();
        let waiter = {
            let (r, asleep) = (r.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                r.reserve_timeout(Duration::MAX).is_ok()
            })
        };
        asleep.wait_for(1);
        drop(permit);
        assert!(join(waiter).unwrap());
        has_room(&r, 1);
    });
}

/// Fills the queue of `r` from inside a task of `r`, and asserts that each further call fails.
fn fill_own_resource(r: &Resource<u64>, capacity: usize) {
    for _ in 0..capacity {
        r.execute(|n| *n += 1).unwrap();
    }
    assert_eq!(r.execute(|_| ()), Err(SubmitError::Full));
    assert_eq!(r.submit(|_| ()).wait(), Err(TaskError::Full));
    assert!(matches!(r.try_submit(|_| ()), Err(TrySubmitError::Full(_))));
    assert_eq!(r.try_reserve().unwrap_err(), ReserveError::Full);
    let forever = r.reserve_blocking();
    assert_eq!(forever.unwrap_err(), ReserveError::WouldDeadlock);
    let long = r.reserve_timeout(Duration::MAX);
    assert_eq!(long.unwrap_err(), ReserveError::WouldDeadlock);
}

#[test]
fn task_filling_its_own_resource_is_refused() {
    within_deadline(|| {
        for dispatch in EACH {
            let r = bounded(2, dispatch);
            let inner = r.clone();
            // The task runs at once, or alone in the queue.
            r.with(move |_| {
                // There is room, so this does not wait.
                drop(inner.reserve_blocking().unwrap());
                fill_own_resource(&inner, 2);
            })
            .unwrap();
            assert_eq!(r.with(|n| *n), Ok(2));
            // The task runs from the queue, not on the thread of its submitter.
            let held = hold(&r);
            let inner = r.clone();
            let task = r.submit(move |_| fill_own_resource(&inner, 2));
            held.release();
            assert_eq!(outcome(task), Ok(()));
            assert_eq!(r.with(|n| *n), Ok(4));
            has_room(&r, 2);
        }
    });
}

#[test]
fn cycle_through_full_resource_is_refused() {
    within_deadline(|| {
        let (a, b) = (Resource::new(()), bounded(1, Dispatch::Inline));
        let (started, asleep) = (Gate::new(), Sleepers::new());
        let other = {
            let (a, b) = (a.clone(), b.clone());
            let (started, asleep) = (started.clone(), asleep.clone());
            thread::spawn(move || {
                b.with(|_| {
                    started.open();
                    asleep.wait_for(1);
                    a.with(|_| ())
                })
            })
        };
        started.wait();
        b.execute(|n| *n += 1).unwrap();
        let reserved = a.with(|_| {
            asleep.here();
            b.reserve_blocking().map(drop)
        });
        // The thread that waits last is refused; the first waiter goes on.
        assert_eq!(join(other).unwrap(), Ok(Err(TaskError::WouldDeadlock)));
        assert_eq!(reserved, Ok(Ok(())));
        // The refusal leaves no trace.
        assert_eq!(b.with(|_| a.with(|_| ())), Ok(Ok(())));
        has_room(&b, 1);
    });
}

#[test]
fn stand_in_starts_when_worker_waits_for_room() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        let builder = || {
            let builder = Resource::builder().scheduler(&scheduler);
            builder.dispatch(Dispatch::Pool)
        };
        let x = builder().build(()).unwrap();
        let r = builder().capacity(1).build(0_u64).unwrap();
        let inner = r.clone();
        let task = x.submit(move |_| {
            // The only worker runs this task.
            inner.execute(|n| *n += 1).unwrap();
            let permit = inner.reserve_blocking().unwrap();
            permit.execute(|n| *n += 1).unwrap();
        });
        assert_eq!(outcome(task), Ok(()));
        assert_eq!(r.with(|n| *n), Ok(2));
    });
}

#[test]
fn stand_in_starts_when_executor_waits_for_room() {
    within_deadline(|| {
        let (send, receive) = mpsc::channel::<Job>();
        let scheduler = Scheduler::builder()
            .executor(move |job: Job| drop(send.send(job)))
            .build()
            .unwrap();
        let builder = || {
            let builder = Resource::builder().scheduler(&scheduler);
            builder.dispatch(Dispatch::Pool)
        };
        let x = builder().build(()).unwrap();
        let r = builder().capacity(1).build(0_u64).unwrap();
        let inner = r.clone();
        let task = x.submit(move |_| {
            inner.execute(|n| *n += 1).unwrap();
            inner.reserve_blocking().map(drop)
        });
        let only = thread::spawn(move || receive.recv().unwrap().run());
        assert_eq!(outcome(task), Ok(Ok(())));
        join(only).unwrap();
    });
}

/// A waker that visits `r` when it is called, and records the answers.
struct Visits {
    r: Resource<u64>,
    found: Mutex<Vec<(bool, Result<u64, TaskError>)>>,
}

impl Wake for Visits {
    fn wake(self: Arc<Self>) {
        let found = (self.r.is_current(), self.r.with(|n| *n));
        self.found.lock().unwrap().push(found);
    }
}

#[test]
fn waker_may_reenter_or_panic_when_room_returns() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new("a waker panics"));
        }
    }

    within_deadline(|| {
        for dispatch in EACH {
            // Room comes from a task that was queued directly, or by a permit.
            for reserved in [false, true] {
                let r = bounded(1, dispatch);
                let held = hold(&r);
                let task = if reserved {
                    r.try_reserve().unwrap().submit(|n| *n)
                } else {
                    r.submit(|n| *n)
                };
                let visits = Arc::new(Visits {
                    r: r.clone(),
                    found: Mutex::default(),
                });
                let mut reserve = r.reserve();
                let waker = Waker::from(Arc::clone(&visits));
                let mut cx = Context::from_waker(&waker);
                assert!(Pin::new(&mut reserve).poll(&mut cx).is_pending());
                held.release();
                assert_eq!(outcome(task), Ok(0));
                let found = std::mem::take(&mut *visits.found.lock().unwrap());
                assert_eq!(found, [(false, Err(TaskError::WouldDeadlock))]);
                let permit = block_on(&mut reserve).unwrap();

                let waker = Waker::from(Arc::new(Panics));
                let mut next = r.reserve();
                let polled = Pin::new(&mut next).poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                drop(permit);
                assert!(block_on(&mut next).is_ok());
                drop(next);
                has_room(&r, 1);
            }
        }
    });
}

#[test]
fn permit_and_reserve_do_not_leak_resource() {
    // A permit and a waiter hold the resource. A task submitted by the permit makes no cycle.
    let drops = Drops::new();
    let r = Resource::builder()
        .capacity(1)
        .build(drops.counted())
        .unwrap();
    let held = hold(&r);
    let permit = r.try_reserve().unwrap();
    let reserve = r.reserve();
    drop(r);
    let task = permit.submit(|_| ());
    drop(reserve);
    held.release();
    assert_eq!(outcome(task), Ok(()));
    wait_until("the value is dropped", || drops.count() == 1);
}

/// Counts queued tasks: from just after the submission until the task starts.
#[derive(Default)]
struct Level {
    now: AtomicI64,
    most: AtomicI64,
}

impl Level {
    fn rise(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn fall(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

const CAPACITY: usize = 3;
const ROUNDS: u64 = 400;

#[test]
fn queue_never_exceeds_capacity() {
    for dispatch in EACH {
        within_deadline(move || {
            let scheduler = Scheduler::builder().workers(2).build().unwrap();
            let r = Resource::builder()
                .capacity(CAPACITY)
                .capture_limit(2)
                .scheduler(&scheduler)
                .dispatch(dispatch)
                .build(0)
                .unwrap();
            let level = Arc::new(Level::default());
            let producers: Vec<_> = (0..4)
                .map(|i| {
                    let (r, level) = (r.clone(), level.clone());
                    thread::spawn(move || {
                        for round in 0..ROUNDS {
                            let falls = level.clone();
                            let task = move |n: &mut u64| {
                                falls.fall();
                                *n += 1;
                            };
                            match (round + i) % 3 {
                                0 => r.reserve_blocking().unwrap().execute(task).unwrap(),
                                1 => block_on(r.reserve()).unwrap().execute(task).unwrap(),
                                _ => {
                                    let mut task = task;
                                    while let Err(TrySubmitError::Full(f)) =
                                        r.try_submit(task).map(drop)
                                    {
                                        task = f;
                                        thread::yield_now();
                                    }
                                }
                            }
                            level.rise();
                        }
                    })
                })
                .collect();
            for producer in producers {
                join(producer).unwrap();
            }
            assert_eq!(r.with(|n| *n), Ok(4 * ROUNDS));
            assert_eq!(level.now.load(Ordering::SeqCst), 0);
            // One more than the capacity: the room of a starting task comes back just before
            // the task lowers the count.
            let most = level.most.load(Ordering::SeqCst);
            assert!(most <= CAPACITY as i64 + 1, "{most} queued");
            has_room(&r, CAPACITY);
        });
    }
}

#[test]
fn all_room_returns_however_tasks_end() {
    for dispatch in EACH {
        within_deadline(move || {
            let r = bounded(CAPACITY, dispatch);
            let ran = Arc::new(AtomicU64::new(0));
            let threads: Vec<_> = (0..4)
                .map(|i| {
                    let (r, ran) = (r.clone(), ran.clone());
                    thread::spawn(move || {
                        for round in 0..ROUNDS {
                            let ran = ran.clone();
                            let task = move |_: &mut u64| {
                                ran.fetch_add(1, Ordering::Relaxed);
                            };
                            match (round * 5 + i) % 7 {
                                0 => drop(r.submit(task).cancel_on_drop()),
                                1 => drop(r.reserve_timeout(Duration::ZERO)),
                                2 => {
                                    let mut reserve = r.reserve();
                                    let _ = poll(&mut reserve, &CountingWaker::new());
                                }
                                3 => drop(r.reserve_blocking().unwrap().submit(task)),
                                4 => drop(block_on(r.reserve()).unwrap().submit(task).cancel()),
                                5 if round % 16 == 0 => drop(r.cancel_pending()),
                                5 => drop(r.execute(task)),
                                _ => drop(r.with(task)),
                            }
                        }
                    })
                })
                .collect();
            for thread in threads {
                join(thread).unwrap();
            }
            r.with(|_| ()).unwrap();
            has_room(&r, CAPACITY);
            let stats = r.stats();
            assert_eq!(stats.outstanding, 0);
            assert_eq!(
                stats.submitted,
                stats.completed + stats.cancelled,
                "{stats:?}"
            );
            assert_eq!(stats.completed, ran.load(Ordering::Relaxed) + 1);
        });
    }
}

/// The second task is queued by the thread that calls `then`, or by the waker of the first task.
/// A second task that was queued gives its room back.
#[test]
fn then_fails_when_target_is_full() {
    within_deadline(|| {
        for ready in [true, false] {
            let (r, held) = full(1, Dispatch::Inline);
            let first = Resource::new(());
            let busy = (!ready).then(|| hold(&first));
            let end = first.submit(|_| ()).then(&r, |n, ()| *n);
            drop(busy);
            assert_eq!(outcome(end), Err(TaskError::Full));
            drop(held);

            has_room(&r, 1);
            let busy = (!ready).then(|| hold(&first));
            let end = first.submit(|_| ()).then(&r, |n, ()| *n);
            drop(busy);
            assert_eq!(outcome(end), Ok(1));
            has_room(&r, 1);
        }
    });
}

/// The drop of a waker that is not needed may panic.
#[test]
#[allow(unsafe_code)]
fn panicking_waker_drop_loses_no_room() {
    use std::task::{RawWaker, RawWakerVTable};
    static BRITTLE: RawWakerVTable = RawWakerVTable::new(
        |at| RawWaker::new(at, &BRITTLE),
        |_| (),
        |_| (),
        |_| resume_unwind(Box::new("drop of a waker")),
    );
    // SAFETY: the functions of the vtable do not use the address.
    let brittle = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &BRITTLE)) };
    let brittle = std::mem::ManuallyDrop::new(brittle);
    let mut cx = Context::from_waker(&brittle);
    let r = bounded(1, Dispatch::Inline);
    // First with room at once, then with room that came between two polls.
    let mut at_once = r.reserve();
    let Poll::Ready(Ok(permit)) = Pin::new(&mut at_once).poll(&mut cx) else {
        panic!("there is room")
    };
    let mut next = r.reserve();
    common::poll_pending(&mut next, Waker::noop());
    drop(permit);
    assert!(Pin::new(&mut next).poll(&mut cx).is_ready());
    drop(next);
    assert!(r.try_reserve().is_ok());
}
