#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Dropping the last handle: queued tasks still run, then the value is dropped, once. Weak handles.

mod common;

use captor::{Dispatch, Resource, Scheduler, WeakResource};
use common::{Counted, Drops, Gate, hold, join, outcome, pooled, wait_until, within_deadline};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Reports in its drop how many tasks had run.
struct Witness {
    ran: usize,
    seen: Arc<AtomicUsize>,
    drops: Drops,
    _counted: Counted,
}

const NOT_YET: usize = usize::MAX;

impl Witness {
    fn new() -> (Self, Arc<AtomicUsize>, Drops) {
        let seen = Arc::new(AtomicUsize::new(NOT_YET));
        let drops = Drops::new();
        let witness = Witness {
            ran: 0,
            seen: seen.clone(),
            _counted: drops.counted(),
            drops: drops.clone(),
        };
        (witness, seen, drops)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        assert_eq!(self.drops.count(), 0);
        self.seen.store(self.ran, Ordering::SeqCst);
    }
}

#[test]
fn last_handle_drops_value_at_once_when_idle() {
    let (witness, seen, drops) = Witness::new();
    let r = Resource::new(witness);
    r.with(|w| w.ran += 1).unwrap();
    let clone = r.clone();
    drop(r);
    assert_eq!(drops.count(), 0);
    drop(clone);
    assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (1, 1));
}

#[test]
fn value_is_dropped_when_never_used() {
    let (witness, seen, drops) = Witness::new();
    drop(Resource::new(witness));
    assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (0, 1));
}

#[test]
fn queued_tasks_run_before_value_is_dropped() {
    for (dispatch, limit) in [
        (Dispatch::Inline, 100),
        (Dispatch::Inline, 3),
        (Dispatch::Inline, 1),
        (Dispatch::Pool, 1),
    ] {
        let (witness, seen, drops) = Witness::new();
        let r = Resource::builder()
            .dispatch(dispatch)
            .capture_limit(limit)
            .build(witness)
            .unwrap();
        let held = hold(&r);
        let tasks: Vec<_> = (0..50).map(|_| r.submit(|w| w.ran += 1)).collect();
        for _ in 0..50 {
            r.execute(|w| w.ran += 1).unwrap();
        }
        drop(r);
        assert_eq!(seen.load(Ordering::SeqCst), NOT_YET);
        held.release();
        for task in tasks {
            assert_eq!(outcome(task), Ok(()));
        }
        wait_until("the value is dropped", || drops.count() > 0);
        assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (100, 1));
    }
}

#[test]
fn value_is_dropped_when_task_drops_last_handle() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let (witness, seen, drops) = Witness::new();
        let r = Resource::builder()
            .dispatch(dispatch)
            .build(witness)
            .unwrap();
        let held = hold(&r);
        let (last, queued) = (r.clone(), Gate::new());
        let go = queued.clone();
        r.execute(move |w| {
            go.wait();
            w.ran += 1;
            drop(last);
        })
        .unwrap();
        r.execute(|w| w.ran += 1).unwrap();
        drop(r);
        queued.open();
        held.release();
        wait_until("the value is dropped", || drops.count() > 0);
        assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (2, 1));
    }
}

#[test]
fn tasks_with_own_handle_do_not_leak_resource() {
    let (witness, seen, drops) = Witness::new();
    let r = Resource::new(witness);
    let held = hold(&r);
    for _ in 0..10 {
        let own = r.clone();
        r.execute(move |w| {
            w.ran += 1;
            let more = own.clone();
            own.execute(move |w| {
                w.ran += 1;
                drop(more);
            })
            .unwrap();
        })
        .unwrap();
    }
    drop(r);
    held.release();
    wait_until("the value is dropped", || drops.count() > 0);
    assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (20, 1));
}

#[test]
fn cancelled_tasks_do_not_keep_value_alive() {
    let (witness, seen, drops) = Witness::new();
    let r = Resource::new(witness);
    let held = hold(&r);
    let tasks: Vec<_> = (0..5).map(|_| r.submit(|w| w.ran += 1)).collect();
    drop(r);
    for task in &tasks {
        assert!(task.cancel());
    }
    held.release();
    wait_until("the value is dropped", || drops.count() > 0);
    assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (0, 1));
    drop(tasks);
}

#[test]
fn value_is_dropped_when_resource_is_closed() {
    let (witness, seen, drops) = Witness::new();
    let r = Resource::new(witness);
    let held = hold(&r);
    r.execute(|w| w.ran += 1).unwrap();
    r.close();
    drop(r);
    held.release();
    wait_until("the value is dropped", || drops.count() > 0);
    assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (1, 1));
}

#[test]
fn value_may_use_resources_in_its_drop() {
    struct Reports(Resource<Vec<&'static str>>);
    impl Drop for Reports {
        fn drop(&mut self) {
            self.0.with(|v| v.push("gone")).unwrap();
        }
    }
    let log = Resource::new(Vec::new());
    let r = Resource::new(Reports(log.clone()));
    let held = hold(&r);
    r.execute(|r| r.0.execute(|v| v.push("task")).unwrap())
        .unwrap();
    drop(r);
    held.release();
    wait_until("the value is dropped", || {
        log.with(|v| v.clone()) == Ok(vec!["task", "gone"])
    });
}

#[test]
fn cycle_of_weak_handles_does_not_leak() {
    let drops = Drops::new();
    type Node = (Option<WeakResource<NodeBox>>, Counted);
    struct NodeBox(Node);
    let a = Resource::new(NodeBox((None, drops.counted())));
    let b = Resource::new(NodeBox((Some(a.downgrade()), drops.counted())));
    let back = b.downgrade();
    a.with(move |n| n.0.0 = Some(back)).unwrap();
    let up = b
        .with(|n| n.0.0.as_ref().and_then(WeakResource::upgrade).is_some())
        .unwrap();
    assert!(up);
    drop((a, b));
    assert_eq!(drops.count(), 2);
}

#[test]
fn weak_handle_upgrades_until_last_task_ends() {
    let r = Resource::new(7);
    let weak = r.downgrade();
    let again = weak.clone();
    assert_eq!(weak.upgrade().unwrap().with(|n| *n), Ok(7));
    let held = hold(&r);
    drop(r);
    // The running task keeps the resource.
    let up = weak.upgrade().expect("a task is running");
    let queued = up.submit(|n| *n + 1);
    drop(up);
    held.release();
    assert_eq!(outcome(queued), Ok(8));
    wait_until("no task is left", || weak.upgrade().is_none());
    assert!(again.upgrade().is_none());
}

#[test]
fn value_is_dropped_once_when_upgrade_races() {
    within_deadline(|| {
        for _ in 0..150 {
            let drops = Drops::new();
            let r = Resource::new((0, drops.counted()));
            let weak = r.downgrade();
            let upgrader = thread::spawn(move || {
                while let Some(up) = weak.upgrade() {
                    up.execute(|v| v.0 += 1).unwrap();
                }
            });
            r.execute(|v| v.0 += 1).unwrap();
            drop(r);
            join(upgrader).unwrap();
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn value_is_dropped_once_during_hand_off() {
    within_deadline(|| {
        let scheduler = Scheduler::builder()
            .workers(2)
            .capture_limit(1)
            .build()
            .unwrap();
        for _ in 0..100 {
            let (witness, seen, drops) = Witness::new();
            let r = scheduler.resource(witness);
            let clone = r.clone();
            let other = thread::spawn(move || {
                for _ in 0..5 {
                    clone.execute(|w| w.ran += 1).unwrap();
                }
            });
            for _ in 0..5 {
                r.execute(|w| w.ran += 1).unwrap();
            }
            drop(r);
            join(other).unwrap();
            wait_until("the value is dropped", || drops.count() > 0);
            assert_eq!((seen.load(Ordering::SeqCst), drops.count()), (10, 1));
        }
    });
}

#[test]
fn resource_outlives_its_scheduler() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let r = pooled(&scheduler, 1);
    drop(scheduler);
    assert_eq!(r.with(|n| *n + 1), Ok(2));
    let last = r.submit(|n| *n + 2);
    drop(r);
    assert_eq!(outcome(last), Ok(3));
}
