#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Batches of closures, and completions combined by the futures crate.

mod common;

use captor::{Resource, TaskError};
use common::{Drops, hold, join, outcome, panic_message, wait_until, within_deadline};
use futures::executor::block_on;
use futures::future::{join_all, select_ok};
use std::panic::resume_unwind;
use std::sync::{Arc, Barrier};
use std::thread;

type Log = Vec<usize>;

fn pushes(of: usize, count: usize) -> impl Iterator<Item = impl FnOnce(&mut Log) -> usize> {
    (0..count).map(move |n| {
        move |log: &mut Log| {
            log.push(of);
            n
        }
    })
}

#[test]
fn batch_results_are_in_submission_order() {
    let r = Resource::new(Log::new());
    for queued in [false, true] {
        let held = queued.then(|| hold(&r));
        let results = r.submit_batch(pushes(1, 5));
        assert_eq!(results.is_finished(), !queued);
        drop(held);
        assert_eq!(outcome(results), Ok(vec![0, 1, 2, 3, 4]));
    }
    assert_eq!(r.with(|log| log.len()), Ok(10));
}

#[test]
fn batch_keeps_its_place_in_queue() {
    let r = Resource::new(Log::new());
    let held = hold(&r);
    r.execute(|log| log.push(1)).unwrap();
    let batch = r.submit_batch(pushes(2, 3));
    r.execute(|log| log.push(3)).unwrap();
    held.release();
    outcome(batch).unwrap();
    assert_eq!(r.with(|log| log.clone()), Ok(vec![1, 2, 2, 2, 3]));
}

#[test]
fn batch_runs_without_interleaving() {
    const EACH: usize = 20;
    within_deadline(|| {
        let r = Resource::new(Log::new());
        let start = Arc::new(Barrier::new(3));
        let threads = [1, 2, 3].map(|of| {
            let (r, start) = (r.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                for _ in 0..200 {
                    drop(r.submit_batch(pushes(of, EACH)));
                }
            })
        });
        for thread in threads {
            join(thread).unwrap();
        }
        wait_until("every batch has run", || r.stats().outstanding == 0);
        let log = r.with(std::mem::take).unwrap();
        assert_eq!(log.len(), 3 * 200 * EACH);
        for batch in log.chunks(EACH) {
            assert!(batch.iter().all(|of| *of == batch[0]), "{batch:?}");
        }
    });
}

#[test]
fn batch_counts_as_single_task() {
    let r = Resource::new(Log::new());
    outcome(r.submit_batch(pushes(1, 100))).unwrap();
    let stats = r.stats();
    assert_eq!((stats.submitted, stats.completed), (1, 1));
}

#[test]
fn empty_batch_resolves_to_empty_vec() {
    let r = Resource::new(Log::new());
    assert_eq!(outcome(r.submit_batch(pushes(1, 0))), Ok(vec![]));
    assert_eq!(r.stats().completed, 1);
}

#[test]
fn batch_iterator_runs_outside_of_resource() {
    let r = Resource::new(vec![7]);
    let lengths = (0..3).map(|_| {
        let len = r.with(|log| log.len()).unwrap();
        move |_: &mut Log| len
    });
    assert_eq!(outcome(r.submit_batch(lengths)), Ok(vec![1; 3]));
}

/// Panics in its drop unless defused. Each drop is counted.
struct Bomb {
    armed: bool,
    _counted: common::Counted,
}

impl Bomb {
    fn new(drops: &Drops) -> Self {
        Bomb {
            armed: true,
            _counted: drops.counted(),
        }
    }

    fn defuse(&mut self) {
        self.armed = false;
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.armed {
            resume_unwind(Box::new("a bomb"));
        }
    }
}

#[test]
fn panic_ends_batch_and_drops_each_closure() {
    // Every closure and result that is dropped on the way panics as well.
    let (r, drops) = (Resource::new(Log::new()), Drops::new());
    for queued in [false, true] {
        let held = queued.then(|| hold(&r));
        let batch = (0..6).map(|n| {
            let (results, mut closure) = (drops.clone(), Bomb::new(&drops));
            move |log: &mut Log| {
                closure.defuse();
                if n == 2 {
                    resume_unwind(Box::new("the third"));
                }
                log.push(n);
                Bomb::new(&results)
            }
        });
        let batch = r.submit_batch(batch);
        drop(held);
        assert_eq!(panic_message(outcome(batch).map(drop)), "the third");
    }
    assert_eq!(r.with(std::mem::take), Ok(vec![0, 1, 0, 1]));
    assert_eq!(drops.count(), 2 * (2 + 6), "two results, six closures");
    assert_eq!(r.stats().panicked, 2);
}

#[test]
fn cancel_drops_whole_batch_when_queued() {
    let (r, drops) = (Resource::new(Log::new()), Drops::new());
    let held = hold(&r);
    let batch = r.submit_batch((0..5).map(|n| {
        let tag = drops.counted();
        move |log: &mut Log| {
            drop(tag);
            log.push(n);
        }
    }));
    assert!(batch.cancel());
    assert_eq!(drops.count(), 5);
    assert_eq!(batch.wait(), Err(TaskError::Cancelled));
    held.release();
    assert_eq!(r.with(|log| log.len()), Ok(0));
    assert_eq!(r.stats().cancelled, 1);
}

#[test]
fn refused_batch_survives_panicking_drops() {
    let (r, drops) = (Resource::new(Log::new()), Drops::new());
    r.close();
    let batch = r.submit_batch((0..5).map(|_| {
        let bomb = Bomb::new(&drops);
        move |_: &mut Log| std::mem::forget(bomb)
    }));
    assert_eq!(outcome(batch), Err(TaskError::Closed));
    assert_eq!(drops.count(), 5);
}

#[test]
fn join_all_resolves_all_completions() {
    let rs: Vec<_> = (0..10).map(Resource::new).collect();
    let held: Vec<_> = rs.iter().map(hold).collect();
    let all = join_all(rs.iter().map(|r| r.submit(|n| *n)));
    let releaser = thread::spawn(move || drop(held));
    assert_eq!(block_on(all), (0..10).map(Ok).collect::<Vec<_>>());
    join(releaser).unwrap();
}

#[test]
fn select_ok_takes_first_success() {
    let rs: Vec<_> = (0..4).map(Resource::new).collect();
    let held: Vec<_> = rs.iter().map(hold).collect();
    let any = select_ok(rs.iter().map(|r| r.submit(|n| *n)));
    // Task 0 is cancelled, task 1 stays queued for now, task 2 succeeds.
    assert_eq!(rs[0].cancel_pending(), 1);
    let mut held = held.into_iter();
    let (first, second) = (held.next().unwrap(), held.next().unwrap());
    held.next().unwrap().release();
    let (selected, others) = block_on(any).unwrap();
    assert_eq!((selected, others.len()), (2, 2));
    drop((first, second));
    drop(held);
    assert_eq!(block_on(join_all(others)), [Ok(1), Ok(3)]);
}

#[test]
fn select_ok_fails_when_all_completions_fail() {
    let rs: Vec<_> = (0..3).map(Resource::new).collect();
    rs.iter().for_each(Resource::close);
    let any = select_ok(rs.iter().map(|r| r.submit(|n| *n)));
    assert_eq!(block_on(any).map(|_| ()), Err(TaskError::Closed));
}
