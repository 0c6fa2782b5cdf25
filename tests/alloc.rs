//! Allocations. A task that runs at once or blocks its caller allocates nothing. A queued task
//! allocates one block. All memory is given back.
//!
//! Only allocations of the measuring thread count. Each measurement repeats work that was done
//! once before, because the first wait of a thread makes the thread's waker.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod common;

use allocation_counter::{AllocationInfo, measure};
use captor::{PanicPolicy, Resource, SubmitError, TaskError};
use common::{DEADLINE, hold, join, wait_outstanding};
use futures::executor::block_on;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

const ROUNDS: u64 = 100;

/// Rounds on a busy resource: fewer, because each submission first yields some turns to the
/// holder, which takes its time on a loaded machine.
const QUEUED: u64 = 10;

/// Calls `f` once to warm up, then measures a second call.
fn measure_warm(mut f: impl FnMut()) -> AllocationInfo {
    f();
    measure(f)
}

#[track_caller]
fn assert_allocations(info: AllocationInfo, count: u64) {
    assert_eq!(info.count_total, count, "{info:?}");
}

#[test]
fn tasks_do_not_allocate_when_resource_is_idle() {
    let r = Resource::new([0_u64; 8]);
    let mut sum = 0;
    let info = measure_warm(|| {
        for n in 0..ROUNDS {
            r.execute(move |v| v[0] += n).unwrap();
            sum += r.with(|v| v[0]).unwrap();
            sum += r.submit(move |v| v[1] + n).wait().unwrap();
            sum += r.try_submit(move |v| v[1] + n).unwrap().wait().unwrap();
            r.task().name("named").execute(|v| v[2] += 1).unwrap();
            drop(r.submit(|v| v[3] += 1));
        }
    });
    assert_allocations(info, 0);
    assert_eq!(r.with(|v| v[3]), Ok(2 * ROUNDS));
}

#[test]
fn big_closure_does_not_allocate_when_idle() {
    let r = Resource::new(0_u64);
    let info = measure_warm(|| {
        let big = [7_u8; 4096];
        let back = r.submit(move |_| big).wait().unwrap();
        assert_eq!(back[4095], 7);
    });
    assert_allocations(info, 0);
}

#[test]
fn awaiting_ready_completion_does_not_allocate() {
    let r = Resource::new(1);
    let info = measure_warm(|| {
        for _ in 0..ROUNDS {
            assert_eq!(block_on(r.submit(|n| *n)), Ok(1));
            let cancellable = r.submit(|n| *n).cancel_on_drop();
            assert!(cancellable.is_finished() && !cancellable.cancel());
            assert_eq!(block_on(cancellable), Ok(1));
        }
    });
    assert_allocations(info, 0);
}

#[test]
fn nested_tasks_do_not_allocate_when_idle() {
    let (outer, inner) = (Resource::new(0), Resource::new(0));
    let info = measure_warm(|| {
        outer
            .with(|o| {
                inner.execute(|i| *i += 1).unwrap();
                *o += inner.submit(|i| *i).wait().unwrap();
            })
            .unwrap();
    });
    assert_allocations(info, 0);
}

#[test]
fn async_task_without_wait_allocates_once() {
    let r = Resource::new(0);
    let info = measure_warm(|| {
        for _ in 0..ROUNDS {
            let counted = r.submit_async(async |n: &mut u64| {
                *n += 1;
                *n
            });
            assert!(counted.wait().is_ok());
        }
    });
    assert_allocations(info, ROUNDS);
}

#[test]
fn queued_execute_allocates_once() {
    let r = Resource::new(0);
    let held = hold(&r);
    let info = measure_warm(|| {
        for _ in 0..QUEUED {
            r.execute(|n| *n += 1).unwrap();
        }
    });
    held.release();
    assert_allocations(info, QUEUED);
    assert_eq!(r.with(|n| *n), Ok(2 * QUEUED));
}

#[test]
fn queued_submit_with_wait_allocates_once() {
    let r = Resource::new(0);
    let queue = |completions: &mut Vec<_>| {
        for _ in 0..QUEUED {
            completions.push(r.submit(|n| {
                *n += 1;
                [*n; 16]
            }));
        }
    };
    let mut completions = Vec::with_capacity(2 * QUEUED as usize);
    let held = hold(&r);
    // A thread makes its waker once, at its first wait that parks.
    let warm = r.submit(|_| [0; 16]);
    let warm = warm.wait_timeout(std::time::Duration::from_millis(1));
    drop(warm.unwrap_err());
    queue(&mut completions);
    let info = measure(|| queue(&mut completions));
    assert_allocations(info, QUEUED);
    held.release();
    let info = measure(|| {
        for (n, completion) in completions.drain(..).enumerate() {
            let n = n as u64;
            assert!(completion.wait().unwrap()[0] > n);
        }
    });
    assert_allocations(info, 0);
}

#[test]
fn drop_and_cancel_do_not_allocate_when_queued() {
    let r = Resource::new(0);
    let held = hold(&r);
    // The first cancellation allocates the rarely used counters.
    assert!(r.submit(|_| ()).cancel());
    let info = measure_warm(|| {
        for _ in 0..QUEUED {
            drop(r.submit(|n| *n += 1));
            drop(r.submit(|n| *n -= 1).cancel_on_drop());
            assert!(r.submit(|n| *n -= 1).cancel());
        }
    });
    assert_allocations(info, 3 * QUEUED);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(2 * QUEUED));
}

#[test]
fn capacity_check_does_not_allocate_when_busy() {
    let bounded = Resource::builder().capacity(2 * QUEUED as usize);
    let r = bounded.build(0).unwrap();
    let held = hold(&r);
    let info = measure_warm(|| {
        for n in 0..QUEUED {
            if n % 2 == 0 {
                r.execute(|n| *n += 1).unwrap();
            } else {
                r.try_reserve().unwrap().execute(|n| *n += 1).unwrap();
            }
        }
    });
    assert_allocations(info, QUEUED);
    let info = measure(|| {
        for _ in 0..QUEUED {
            assert_eq!(r.execute(|n| *n += 1), Err(SubmitError::Full));
        }
    });
    assert_allocations(info, 0);
    held.release();
    assert_eq!(r.with(|n| *n), Ok(2 * QUEUED));
}

/// Blocks in `with` while the resource is held; returns the allocations of that call.
fn queued_with(r: &Resource<u64>) -> AllocationInfo {
    let held = hold(r);
    let release = thread::spawn({
        let r = r.clone();
        move || {
            wait_outstanding(&r, 2);
            held.release();
        }
    });
    let by = 3;
    let info = measure(|| assert!(r.with(|n| *n += by).is_ok()));
    if let Err(payload) = join(release) {
        resume_unwind(payload);
    }
    info
}

#[test]
fn queued_with_does_not_allocate() {
    // A wait that times out makes the thread's waker.
    assert!(!Resource::new(()).wait_closed(Duration::from_micros(1)));
    let r = Resource::new(0);
    for _ in 0..10 {
        assert_allocations(queued_with(&r), 0);
    }
    assert_eq!(r.with(|n| *n), Ok(30));
}

#[test]
fn tasks_queued_by_task_free_their_memory() {
    let info = measure_warm(|| {
        let r = Resource::builder()
            .capture_limit(1000)
            .capture_time(DEADLINE);
        let r = r.build(Vec::new()).unwrap();
        let inside = r.clone();
        r.with(|_| {
            for n in 0..5 {
                inside.execute(move |v| v.push(n)).unwrap();
                drop(inside.submit(move |v| v.push(n)));
                let named = inside.task().name("named");
                drop(named.submit(move |v| v.push(n)));
            }
        })
        .unwrap();
        assert_eq!(r.with(|v| v.len()), Ok(15));
    });
    assert!(info.count_total >= 15);
    assert_eq!((info.count_current, info.bytes_current), (0, 0), "{info:?}");
}

/// Ends tasks in every way other than by running them, on the calling thread.
fn end_tasks_in_every_way() {
    let r = Resource::builder()
        .capture_limit(1000)
        .capture_time(DEADLINE)
        .panic_policy(PanicPolicy::Poison)
        .name("every end")
        .build(String::from("value"))
        .unwrap();
    let inside = r.clone();
    let text = String::from("captured");
    let copy = text.clone();
    let (kept, late) = r
        .with(move |v| {
            let queue = || {
                let copy = copy.clone();
                inside.submit(move |v| format!("{v} {copy}"))
            };
            assert!(queue().cancel());
            drop(queue());
            drop(queue().cancel_on_drop());
            let swept = queue();
            assert_eq!(inside.cancel_pending(), 2);
            assert_eq!(swept.wait(), Err(TaskError::Cancelled));
            // The holder later meets the remains of these tasks in the queue.
            assert!(queue().cancel());
            drop(queue().cancel_on_drop());
            v.push('!');
            let kept = queue();
            let panicking = inside.submit(|_| -> () { resume_unwind(Box::new("intended")) });
            (kept, (panicking, queue()))
        })
        .unwrap();
    assert_eq!(kept.wait().unwrap(), "value! captured");
    let (panicking, poisoned) = late;
    assert!(matches!(panicking.wait(), Err(TaskError::Panicked(_))));
    assert_eq!(poisoned.wait(), Err(TaskError::Poisoned));
    r.clear_poison(|v| v.clear()).unwrap();
    r.close();
    let refused = r.try_submit(move |v| v.push_str(&text)).unwrap_err();
    drop(refused);
    assert_eq!(r.with(|v| v.clone()), Err(TaskError::Closed));
}

#[test]
fn every_end_of_a_task_frees_its_memory() {
    let info = measure_warm(end_tasks_in_every_way);
    assert!(info.count_total > 0);
    assert_eq!((info.count_current, info.bytes_current), (0, 0), "{info:?}");
}
