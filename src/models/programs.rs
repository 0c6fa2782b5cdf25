//! Larger programs under shuttle, with three to five threads, several resources, and the real
//! workers of the pool. shuttle finds lost wake-ups, wrong counts and hangs, which it reports as
//! deadlocks. loom checks the orderings.

use super::{FOREVER, World, draw};
use crate::raw::core::cold_state::{AfterPanic, Settings};
use crate::sync::{Arc, thread, yield_now};
use crate::{Dispatch, Resource, Scheduler, TaskError};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

fn scheduler(workers: usize, capture_limit: usize) -> Scheduler {
    Scheduler::builder()
        .workers(workers)
        .capture_limit(capture_limit)
        .capture_time(FOREVER)
        .quantum(Duration::ZERO)
        .build()
        .unwrap()
}

fn spawn_all<R: Send + 'static>(
    n: usize,
    f: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let f = Arc::new(f);
    let threads: Vec<_> = (0..n)
        .map(|i| {
            let f = Arc::clone(&f);
            thread::spawn(move || f(i))
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

/// Shuts the scheduler down, and checks the counters and values.
fn end(scheduler: &Scheduler, resources: &[Resource<u64>], expected: u64) {
    assert!(scheduler.shutdown(FOREVER));
    let mut sum = 0;
    for r in resources {
        let stats = r.stats();
        assert_eq!((stats.outstanding, stats.panicked), (0, 0), "{stats:?}");
        sum += r.clone().into_inner().wait().unwrap();
    }
    assert_eq!(sum, expected);
    let stats = scheduler.stats();
    assert_eq!(stats.dispatched, stats.finished, "{stats:?}");
}

#[test]
fn tasks_run_when_all_submit_calls_race() {
    draw(|| {
        let s = scheduler(1, 2);
        let r = s.resource(0);
        let shared = r.clone();
        spawn_all(4, move |i| match i {
            0 => shared.submit(|n| *n += 1).wait().unwrap(),
            1 => shared.with(|n| *n += 1).unwrap(),
            2 => shared.execute(|n| *n += 1).unwrap(),
            _ => shuttle::future::block_on(shared.submit(|n| *n += 1)).unwrap(),
        });
        end(&s, &[r], 4);
    });
}

/// The capture limit is one, so each hand-off looks for a waiting thread.
#[test]
fn tasks_run_when_five_threads_block_in_with() {
    draw(|| {
        let s = scheduler(1, 1);
        let r = s.resource(0);
        let shared = r.clone();
        spawn_all(5, move |_| {
            for _ in 0..2 {
                shared
                    .with(|n| {
                        yield_now();
                        *n += 1;
                    })
                    .unwrap();
            }
        });
        end(&s, &[r], 10);
    });
}

#[test]
fn tasks_run_when_resources_share_worker() {
    draw(|| {
        let s = scheduler(1, 1);
        let resources: Vec<Resource<u64>> = (0..3)
            .map(|_| {
                let pooled = Resource::builder().dispatch(Dispatch::Pool);
                pooled.scheduler(&s).build(0).unwrap()
            })
            .collect();
        let shared = resources.clone();
        spawn_all(3, move |i| {
            for r in &shared[i..] {
                r.execute(|n| *n += 1).unwrap();
            }
            shared[i].with(|n| *n += 1).unwrap();
        });
        end(&s, &resources, 9);
    });
}

#[test]
fn tasks_run_when_two_workers_get_hand_offs() {
    draw(|| {
        let s = scheduler(2, 1);
        let resources: Vec<Resource<u64>> = (0..2).map(|_| s.resource(0)).collect();
        let shared = resources.clone();
        spawn_all(4, move |i| {
            for r in &shared {
                r.execute(|n| {
                    yield_now();
                    *n += 1;
                })
                .unwrap();
            }
            shared[i % 2].submit(|n| *n += 1).wait().unwrap();
        });
        end(&s, &resources, 12);
    });
}

/// Workers block in waits of captor's, and stand-ins run the jobs.
#[test]
fn tasks_run_when_workers_block_in_with() {
    draw(|| {
        let s = scheduler(1, 1);
        let pooled = || Resource::builder().dispatch(Dispatch::Pool).scheduler(&s);
        let (outer, inner) = (pooled().build(0).unwrap(), pooled().build(0).unwrap());
        let (a, b) = (outer.clone(), inner.clone());
        spawn_all(3, move |_| {
            let b = b.clone();
            a.with(move |n| {
                b.with(|m| *m += 1).unwrap();
                *n += 1;
            })
            .unwrap();
        });
        end(&s, &[outer, inner], 6);
    });
}

/// A submission that comes too late fails with `Closed`. The end comes after all accepted tasks.
#[test]
fn accepted_tasks_run_during_close() {
    draw(|| {
        let s = scheduler(1, 1);
        let r = s.resource(0);
        let shared = r.clone();
        let accepted: u64 = spawn_all(4, move |i| {
            if i == 0 {
                shared.close();
                assert!(shared.wait_closed(FOREVER));
                return 0;
            }
            match shared.submit(|n| *n += 1).wait() {
                Ok(()) => 1,
                Err(TaskError::Closed) => 0,
                Err(other) => panic!("{other}"),
            }
        })
        .into_iter()
        .sum();
        assert!(s.shutdown(FOREVER));
        let stats = r.stats();
        assert_eq!(
            (stats.completed, stats.outstanding),
            (accepted, 0),
            "{stats:?}"
        );
    });
}

#[test]
fn tasks_run_or_are_cancelled_during_sweep() {
    draw(|| {
        let s = scheduler(1, 1);
        let r = s.resource(0);
        let shared = r.clone();
        let ran: u64 = spawn_all(4, move |i| {
            if i == 0 {
                shared.cancel_pending();
                return 0;
            }
            let c = shared.submit(|n| {
                yield_now();
                *n += 1;
            });
            if i == 1 {
                c.cancel();
            }
            match c.wait() {
                Ok(()) => 1,
                Err(TaskError::Cancelled) => 0,
                Err(other) => panic!("{other}"),
            }
        })
        .into_iter()
        .sum();
        end(&s, &[r], ran);
    });
}

/// The shutdown closes, drains and ends while tasks arrive. Accepted tasks run.
#[test]
fn accepted_tasks_run_during_shutdown() {
    draw(|| {
        let s = scheduler(2, 1);
        let r = s.resource(0);
        let (shared, stopped) = (r.clone(), s.clone());
        let accepted = spawn_all(4, move |i| {
            if i == 0 {
                assert!(stopped.shutdown(FOREVER));
                return 0;
            }
            let executed = shared.execute(|n| *n += 1).is_ok();
            let ran = shared.with(|n| *n += 1).is_ok();
            u64::from(executed) + u64::from(ran)
        });
        end(&s, &[r], accepted.into_iter().sum());
    });
}

/// A resource holds the last handle of the scheduler, and a task holds the last handle of the
/// resource.
#[test]
fn all_handles_drop_during_tasks() {
    draw(|| {
        let s = scheduler(1, 1);
        let r = s.resource(0_u64);
        drop(s);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let r = r.clone();
                thread::spawn(move || {
                    let inside = r.clone();
                    r.execute(move |n| {
                        yield_now();
                        *n += 1;
                        drop(inside);
                    })
                    .unwrap();
                })
            })
            .collect();
        drop(r);
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// Two tasks of one resource wait. A new thread wakes each task while other threads submit.
#[test]
fn suspended_tasks_resume_during_submissions() {
    draw(|| {
        let w = World::handing_off();
        let others: Vec<_> = (0..2)
            .map(|i| {
                w.spawn(move |w| {
                    let token = w.token();
                    drop(w.r.submit_async(async move |log: &mut super::Log| {
                        log.push(10 * i);
                        let mut waited = false;
                        poll_fn(|cx| {
                            if std::mem::replace(&mut waited, true) {
                                return Poll::Ready(());
                            }
                            let waker = cx.waker().clone();
                            thread::spawn(move || waker.wake());
                            Poll::Pending
                        })
                        .await;
                        log.push(10 * i + 1);
                        drop(token);
                    }));
                    w.queue(10 * i + 2);
                })
            })
            .collect();
        w.work_until_gone(6);
        others.into_iter().for_each(super::Spawned::join);
        let ran = w.finish();
        super::ran_all(&ran, &[0, 1, 2, 10, 11, 12]);
        for first in [0, 10] {
            let at = ran.iter().position(|n| *n == first).unwrap();
            assert_eq!(ran[at + 1], first + 1, "{ran:?}");
            assert!(super::in_order(&ran, first + 1, first + 2));
        }
    });
}

/// A panic poisons the resource. After the heal, the resource accepts tasks again.
#[test]
fn heal_succeeds_when_task_has_panicked() {
    draw(|| {
        let settings = Settings {
            after_panic: AfterPanic::Poison,
            ..Settings::default()
        };
        let w = World::new(1, Duration::ZERO, settings);
        let others: Vec<_> = (1..4)
            .map(|i| {
                w.spawn(move |w| {
                    let outcome = if i == 1 {
                        w.r.submit(w.panicking_entry(i))
                    } else {
                        w.r.submit(w.entry(i))
                    };
                    w.work_until(|| outcome.is_finished());
                })
            })
            .collect();
        others.into_iter().for_each(super::Spawned::join);
        // A job may be left whose tasks were swept.
        w.run_jobs();
        assert!(w.r.clear_poison(|log| log.push(0)).is_ok());
        assert!(w.finish().contains(&1));
    });
}
