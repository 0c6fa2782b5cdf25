//! Producers that submit faster than any thread can run the tasks. Memory stays bounded, because
//! submitters pace themselves. Every task runs or, if the resource has a capacity, is refused.

#![cfg(not(any(captor_loom, captor_shuttle)))]
#![allow(unsafe_code, reason = "a global allocator that counts")]

mod common;

use captor::{Dispatch, Resource, ResourceBuilder, Scheduler, SubmitError};
use common::{hold, wait_until};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

/// Counts the bytes that all threads allocate.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to `System` unchanged. Counting touches only two atomics, and
// neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        if live > PEAK.load(Relaxed) {
            PEAK.fetch_max(live, Relaxed);
        }
        // SAFETY: the caller guarantees a layout of non-zero size (contract of `alloc`), which is
        // passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `ptr` came from `alloc`, and so from `System`, with this layout (contract of
        // `dealloc`).
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PRODUCERS: usize = 64;
const LIMIT: usize = 64 << 20;

#[cfg(debug_assertions)]
const TASKS: usize = 640_000;
#[cfg(not(debug_assertions))]
const TASKS: usize = 10_000_000;

/// The tests share one allocator, so they run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs 64 producers with `tasks` tasks in all, each doing `work`. Returns the peak growth of
/// memory in bytes.
fn overload(builder: ResourceBuilder, tasks: usize, work: fn(&mut u64)) -> usize {
    let r = builder.build(0_u64).unwrap();
    let start = Barrier::new(PRODUCERS + 1);
    let mut before = 0;
    thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..tasks / PRODUCERS {
                    r.execute(work).unwrap();
                }
            });
        }
        before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        start.wait();
    });
    wait_until("all tasks have run", || r.stats().outstanding == 0);
    let growth = PEAK.load(Relaxed).saturating_sub(before);
    let stats = r.stats();
    println!(
        "peak memory growth {} KiB, {} outstanding at most, {} hand-offs",
        growth >> 10,
        stats.max_outstanding,
        stats.handoffs
    );
    assert_eq!(r.with(|n| *n), Ok(tasks as u64));
    assert_eq!(stats.completed, tasks as u64);
    // Producers that are not paced get more than half of all tasks ahead. Paced producers stay near
    // the mark of 16,384. In a debug build, the tests with a tenth of `TASKS` have too few tasks to
    // show the difference.
    if tasks > 400_000 {
        assert!(stats.max_outstanding < tasks as u64 / 4, "{stats:?}");
    }
    growth
}

fn alone() -> impl Drop {
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn memory_is_bounded_when_producers_overload() {
    let _alone = alone();
    let growth = overload(Resource::builder(), TASKS, |n| *n += 1);
    assert!(growth < LIMIT, "{growth} bytes");
}

/// Takes longer than submitting, so that nearly all tasks are queued.
fn slow(n: &mut u64) {
    for i in 0..500 {
        std::hint::black_box(i);
    }
    *n += 1;
}

#[test]
fn memory_is_bounded_when_tasks_are_slow() {
    let _alone = alone();
    let growth = overload(Resource::builder(), TASKS / 10, slow);
    assert!(growth < LIMIT, "{growth} bytes");
}

#[test]
fn memory_is_bounded_when_only_a_worker_runs() {
    let _alone = alone();
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let builder = Resource::builder()
        .scheduler(&scheduler)
        .dispatch(Dispatch::Pool);
    let growth = overload(builder, TASKS / 10, slow);
    assert!(growth < LIMIT, "{growth} bytes");
}

/// Holds however long the resource is blocked, and however many tasks arrive.
#[test]
fn memory_is_bounded_by_capacity_behind_blocker() {
    const CAPACITY: usize = 1000;
    let _alone = alone();
    let r = Resource::builder().capacity(CAPACITY).build(0).unwrap();
    let held = hold(&r);
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    for n in 0..100 * CAPACITY {
        let full = r.execute(|n| *n += 1) == Err(SubmitError::Full);
        assert_eq!(full, n >= CAPACITY);
    }
    let growth = PEAK.load(Relaxed).saturating_sub(before);
    // 48 bytes for each task, and the rest of the program.
    assert!(growth < 64 * CAPACITY + (1 << 20), "{growth} bytes");
    held.release();
    assert_eq!(r.with(|n| *n), Ok(CAPACITY));
    assert_eq!(r.stats().rejected, 99 * CAPACITY as u64);
}

/// Timers are cancelled before they fire, as timeouts are, and faster than the timer thread can
/// clear them away.
#[test]
fn memory_is_bounded_when_timers_are_cancelled() {
    const LATER: Duration = Duration::from_secs(3600);
    let _alone = alone();
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    thread::scope(|threads| {
        for _ in 0..PRODUCERS {
            threads.spawn(|| {
                let r = scheduler.resource(0_u64);
                for _ in 0..TASKS / 10 / PRODUCERS {
                    assert!(r.submit_after(LATER, |n| *n += 1).cancel());
                }
            });
        }
    });
    let growth = PEAK.load(Relaxed).saturating_sub(before);
    assert!(growth < LIMIT / 2, "{growth} bytes");
}
