#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Submitting to other resources from inside tasks: the depth is bounded, and a nested submitter
//! runs only its own task (G6).

mod common;

use captor::{Job, Resource, Scheduler};
use common::{Gate, Sleepers, hold, join, outcome, pooled, wait_until, within_deadline};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// How a link of the chain submits to the next link.
#[derive(Clone, Copy)]
enum How {
    Execute,
    Submit,
    TrySubmit,
}

struct Chain {
    links: Vec<Resource<u32>>,
    how: How,
    deepest: AtomicUsize,
    ran: AtomicUsize,
    end: Gate,
}

impl Chain {
    fn run(self: Arc<Self>, at: usize) {
        let depth = DEPTH.get() + 1;
        DEPTH.set(depth);
        self.deepest.fetch_max(depth, Ordering::SeqCst);
        self.ran.fetch_add(1, Ordering::SeqCst);
        match self.links.get(at) {
            None => self.end.open(),
            Some(link) => {
                let chain = Arc::clone(&self);
                let task = move |n: &mut u32| {
                    *n += 1;
                    chain.run(at + 1);
                };
                match self.how {
                    How::Execute => link.execute(task).unwrap(),
                    How::Submit => drop(link.submit(task)),
                    How::TrySubmit => drop(link.try_submit(task).unwrap()),
                }
            }
        }
        DEPTH.set(depth - 1);
    }
}

/// Runs a chain of resources to its end; each task submits to the next resource from inside.
/// Returns how deep the tasks were nested.
fn chain(scheduler: &Scheduler, length: usize, how: How) -> usize {
    let links: Vec<_> = (0..length).map(|_| scheduler.resource(0)).collect();
    let chain = Arc::new(Chain {
        links,
        how,
        deepest: AtomicUsize::new(0),
        ran: AtomicUsize::new(0),
        end: Gate::new(),
    });
    // A small stack, so that deep nesting overflows.
    let start = Arc::clone(&chain);
    let starter = thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(move || start.run(0))
        .unwrap();
    join(starter).unwrap();
    chain.end.wait();
    for link in &chain.links {
        assert_eq!(link.with(|n| *n), Ok(1));
    }
    assert_eq!(chain.ran.load(Ordering::SeqCst), length + 1);
    chain.deepest.load(Ordering::SeqCst)
}

#[test]
fn nesting_depth_is_bounded_in_long_chain() {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    for how in [How::Execute, How::Submit, How::TrySubmit] {
        let deepest = chain(&scheduler, 10_000, how);
        assert!(deepest <= 16, "{deepest}");
    }
}

#[test]
fn nesting_depth_is_bounded_after_shutdown() {
    // The pool is shut down. A hand-off runs on the submitter or on another thread, but the depth
    // stays bounded.
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    assert!(scheduler.shutdown(common::DEADLINE));
    let deepest = chain(&scheduler, 3_000, How::Execute);
    assert!(deepest <= 64, "{deepest}");
}

#[test]
fn nesting_depth_is_bounded_with_inline_executor() {
    let scheduler = Scheduler::builder()
        .executor(|job: Job| job.run())
        .build()
        .unwrap();
    let deepest = chain(&scheduler, 3_000, How::Execute);
    assert!(deepest <= 64, "{deepest}");
}

#[test]
fn pooled_chain_does_not_nest() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let links: Vec<_> = (0..2_000).map(|_| pooled(&scheduler, 0)).collect();
    let chain = Arc::new(Chain {
        links,
        how: How::Execute,
        deepest: AtomicUsize::new(0),
        ran: AtomicUsize::new(0),
        end: Gate::new(),
    });
    Arc::clone(&chain).run(0);
    chain.end.wait();
    // The tasks do not nest: each runs on a worker, outside the task before.
    assert_eq!(chain.deepest.load(Ordering::SeqCst), 1);
}

#[test]
fn single_task_submits_to_ten_thousand_resources() {
    let hub = Resource::new(());
    let spokes: Vec<_> = (0..10_000).map(Resource::new).collect();
    let targets = spokes.clone();
    hub.with(move |_| {
        for spoke in &targets {
            spoke.execute(|n| *n += 1).unwrap();
        }
    })
    .unwrap();
    for (n, spoke) in spokes.iter().enumerate() {
        assert_eq!(spoke.with(|v| *v), Ok(n as i32 + 1));
    }
}

#[test]
fn two_resources_submit_in_turn_without_overflow() {
    // A's task submits to B, whose task submits to A, and so on.
    let (a, b) = (Resource::new(0_u32), Resource::new(0_u32));
    let end = Gate::new();
    fn volley(to: &Resource<u32>, from: &Resource<u32>, left: u32, end: &Gate) {
        if left == 0 {
            return end.open();
        }
        let (to2, from2, end) = (to.clone(), from.clone(), end.clone());
        to.execute(move |n| {
            *n += 1;
            volley(&from2, &to2, left - 1, &end);
        })
        .unwrap();
    }
    volley(&a, &b, 10_000, &end);
    end.wait();
    assert_eq!(a.with(|n| *n), Ok(5_000));
    assert_eq!(b.with(|n| *n), Ok(5_000));
}

#[test]
fn nested_submitter_runs_only_own_task() {
    // B's queue fills while A's task runs its own task on B. The queue is left to a worker,
    // although B's capture limit would let the submitter run it.
    let a = Resource::new(());
    let b: Resource<Vec<ThreadId>> = Resource::builder()
        .capture_limit(100)
        .capture_time(LONG)
        .build(Vec::new())
        .unwrap();
    let (running, go) = (Gate::new(), Gate::new());
    let outer = {
        let (b, running, go) = (b.clone(), running.clone(), go.clone());
        thread::spawn(move || {
            a.with(move |_| {
                b.execute(move |_| {
                    running.open();
                    go.wait();
                })
                .unwrap();
            })
        })
    };
    let id = outer.thread().id();
    running.wait();
    for _ in 0..10 {
        b.execute(|v| v.push(thread::current().id())).unwrap();
    }
    go.open();
    join(outer).unwrap().unwrap();
    let ran_on = b.with(|v| v.clone()).unwrap();
    assert_eq!(ran_on.len(), 10);
    assert!(!ran_on.contains(&id));
}

#[test]
fn nested_submitter_leaves_offered_queue() {
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(2)
        .capture_time(LONG)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let b = scheduler.resource(0);
    let held = hold(&b);
    for _ in 0..5 {
        b.execute(|n| *n += 1).unwrap();
    }
    held.release();
    let before = b.stats();
    assert_eq!(before.outstanding, 4);
    // Outside a task, the submitter would run two of these tasks.
    let inner = b.clone();
    let mine = Resource::new(())
        .with(move |_| inner.submit(|n| *n))
        .unwrap();
    assert_eq!(b.stats().outstanding, 5);
    for job in jobs.try_iter() {
        job.run();
    }
    assert_eq!(outcome(mine), Ok(5));
}

#[test]
fn nested_with_runs_queue_up_to_own_task() {
    let asleep = Sleepers::new();
    // The nested caller blocks for its own task anyway, so it runs the tasks ahead of that task.
    // After its own task, the caller returns to the enclosing task.
    let (send, jobs) = mpsc::channel::<Job>();
    let scheduler = Scheduler::builder()
        .capture_limit(5)
        .capture_time(LONG)
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let b: Resource<Vec<ThreadId>> = scheduler.resource(Vec::new());
    let held = hold(&b);
    // The holder runs four of these tasks.
    for _ in 0..6 {
        b.execute(|v| v.push(thread::current().id())).unwrap();
    }
    let outer = {
        let (b, asleep) = (b.clone(), asleep.clone());
        thread::spawn(move || {
            asleep.here();
            Resource::new(()).with(|_| b.with(|v| v.push(thread::current().id())))
        })
    };
    let id = outer.thread().id();
    asleep.wait(&b, 8);
    for _ in 0..3 {
        b.execute(|v| v.push(thread::current().id())).unwrap();
    }
    held.release();
    join(outer).unwrap().unwrap().unwrap();
    assert_eq!(b.stats().outstanding, 3);
    for job in jobs.try_iter() {
        job.run();
    }
    let ran_on = b.with(|v| v.clone()).unwrap();
    assert_eq!(ran_on.len(), 10);
    assert_eq!(ran_on[4..7], [id; 3]);
    assert!(!ran_on[7..].contains(&id));
}

#[test]
fn order_holds_beyond_nesting_limit() {
    // Beyond the depth limit, a task is queued instead of run inline. A later task must not
    // overtake the queued task by running inline.
    within_deadline(|| {
        let last = Resource::new(Vec::new());
        fn descend(left: u32, last: &Resource<Vec<u32>>) {
            if left == 0 {
                for n in 0..3 {
                    last.execute(move |v| v.push(n)).unwrap();
                }
                return;
            }
            let next = last.clone();
            Resource::new(())
                .with(|_| descend(left - 1, &next))
                .unwrap();
        }
        descend(20, &last);
        last.execute(|v| v.push(3)).unwrap();
        wait_until("all tasks have run", || last.with(|v| v.len()) == Ok(4));
        assert_eq!(last.with(|v| v.clone()), Ok(vec![0, 1, 2, 3]));
    });
}
