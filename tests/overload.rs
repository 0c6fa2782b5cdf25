//! Producers that submit faster than anybody can run: memory stays bounded,
//! since submitters pace themselves, and every task runs; or, where there is a
//! capacity, is refused.

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

/// Counts the bytes that are allocated, by all threads.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` as it came; counting touches no memory
// but two atomics, and neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        if live > PEAK.load(Relaxed) {
            PEAK.fetch_max(live, Relaxed);
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: it came from `alloc`, which is `System`'s, with this layout.
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

/// The tests here share one allocator, so they run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// 64 producers, `tasks` tasks in all, each doing `work`; how far memory grew
/// at the worst.
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
    wait_until("all have run", || r.stats().outstanding == 0);
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
    // Producers that are not paced get more than half of it all ahead; paced
    // ones stay near the mark of 16,384. (In a debug build, too few tasks.)
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

/// Long tasks, so that nearly all are queued.
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

/// However long the resource is blocked, and whatever comes meanwhile.
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
    // 48 bytes each, and the rest of the program.
    assert!(growth < 64 * CAPACITY + (1 << 20), "{growth} bytes");
    held.release();
    assert_eq!(r.with(|n| *n), Ok(CAPACITY));
    assert_eq!(r.stats().rejected, 99 * CAPACITY as u64);
}

/// Timers that are taken back before they ring, as timeouts are, faster than their thread
/// can clear them away.
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
