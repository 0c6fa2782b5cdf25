#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Deadlock detection (G8): a wait that could never end is refused, and no other wait is.

mod common;

use captor::{Completion, Dispatch, Job, Resource, Scheduler, TaskError};
use common::{
    Drops, Gate, Sleepers, hold, join, outcome, panic_message, wait_until, within_deadline,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

const DEADLOCK: TaskError = TaskError::WouldDeadlock;

/// Returns three resources on a scheduler with three workers. Each resource needs a worker, because
/// the barriers of the tests block workers in a way that captor does not see.
fn resources(dispatch: Dispatch) -> [Resource<u32>; 3] {
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    resources_on(&scheduler, dispatch)
}

fn resources_on(scheduler: &Scheduler, dispatch: Dispatch) -> [Resource<u32>; 3] {
    let builder = || Resource::builder().scheduler(scheduler).dispatch(dispatch);
    [0, 1, 2].map(|n| builder().build(n).unwrap())
}

#[test]
fn with_in_own_task_is_refused() {
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            let [r, ..] = resources(dispatch);
            let (inner, drops) = (r.clone(), Drops::new());
            let tag = drops.counted();
            let nested = r.with(move |_| inner.with(move |_| drop(tag)));
            assert_eq!(nested, Ok(Err(DEADLOCK)));
            assert_eq!(drops.count(), 1, "the closure is dropped unrun");
            // No task was queued by the inner `with`.
            let stats = r.stats();
            assert_eq!((stats.submitted, stats.rejected), (1, 0));
            assert_eq!(r.with(|n| *n), Ok(0));
        }
    });
}

#[test]
fn refused_with_reports_panic_in_closure_drop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("bomb"));
        }
    }
    let r = Resource::new(());
    let (inner, bomb) = (r.clone(), Bomb);
    let nested = r.with(move |_| inner.with(move |_| drop(bomb))).unwrap();
    assert_eq!(panic_message(nested), "bomb");
}

#[test]
fn refused_wait_in_own_task_leaves_task_queued() {
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            let [r, ..] = resources(dispatch);
            let inner = r.clone();
            let waited = r.with(move |_| {
                let own = inner.submit(|n| *n += 1);
                let timed = inner.submit(|n| *n += 1);
                let timed = timed.wait_timeout(Duration::MAX).expect("at once");
                (own.wait(), timed)
            });
            assert_eq!(waited, Ok((Err(DEADLOCK), Err(DEADLOCK))));
            assert_eq!(r.with(|n| *n), Ok(2), "both tasks ran afterwards");
        }
    });
}

#[test]
fn wait_in_own_task_returns_finished_outcome() {
    let r = Resource::new(0);
    let held = hold(&r);
    let first = r.submit(|n| {
        *n += 1;
        *n
    });
    let second = r.submit(move |_| first.wait());
    held.release();
    assert_eq!(outcome(second), Ok(Ok(1)));
}

#[test]
fn cycle_through_nested_tasks_is_refused() {
    // Inline tasks all run on the calling thread. Pooled tasks run on a thread each: the pool has
    // one worker, and stand-ins replace blocked threads.
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            let [a, b, c] = resources_on(&scheduler, dispatch);
            let (b2, c2, a2) = (b.clone(), c.clone(), a.clone());
            let nested = a.with(move |_| b2.with(move |_| c2.with(move |_| a2.with(|n| *n))));
            assert_eq!(nested, Ok(Ok(Ok(Err(DEADLOCK)))));
            let (b2, c2, a2) = (b.clone(), c.clone(), a.clone());
            let nested = a.with(move |_| {
                let by_b = b2.submit(move |_| {
                    let by_c = c2.submit(move |_| a2.submit(|n| *n).wait());
                    by_c.wait()
                });
                by_b.wait()
            });
            assert_eq!(nested, Ok(Ok(Ok(Err(DEADLOCK)))));
            for (n, r) in [a, b, c].iter().enumerate() {
                assert_eq!(r.with(|n| *n), Ok(n as u32), "a resource is stuck");
            }
        }
    });
}

#[test]
fn cycle_through_inline_submit_is_refused() {
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        let (b2, a2) = (b.clone(), a.clone());
        let nested = a.with(move |_| b2.submit(move |_| a2.with(|n| *n)).wait());
        assert_eq!(nested, Ok(Ok(Err(DEADLOCK))));
    });
}

/// Makes a ring: each thread holds a resource and, once all threads do, waits for the next
/// thread's resource. At least one wait is refused, and then all threads end.
fn ring(resources: &[Resource<u32>], wait: fn(&Resource<u32>) -> Result<u32, TaskError>) {
    let all = Arc::new(Barrier::new(resources.len()));
    let threads: Vec<_> = (0..resources.len())
        .map(|at| {
            let own = resources[at].clone();
            let next = resources[(at + 1) % resources.len()].clone();
            let all = all.clone();
            thread::spawn(move || {
                own.with(move |_| {
                    all.wait();
                    wait(&next)
                })
            })
        })
        .collect();
    let mut refused = 0;
    for thread in threads {
        match join(thread).unwrap().expect("the outer task fails") {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, DEADLOCK);
                refused += 1;
            }
        }
    }
    assert!(refused >= 1 && refused < resources.len(), "{refused}");
    for r in resources {
        assert!(r.with(|_| ()).is_ok());
    }
}

#[test]
fn cycle_of_with_across_threads_is_refused() {
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            for _ in 0..30 {
                let all = resources(dispatch);
                ring(&all[..2], |next| next.with(|n| *n));
                ring(&all, |next| next.with(|n| *n));
            }
        }
    });
}

#[test]
fn cycle_of_wait_across_threads_is_refused() {
    within_deadline(|| {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            for _ in 0..30 {
                let all = resources(dispatch);
                ring(&all[..2], |next| next.submit(|n| *n).wait());
                ring(&all, |next| next.submit(|n| *n).wait());
            }
        }
    });
}

#[test]
fn cycle_of_endless_wait_timeout_is_refused() {
    within_deadline(|| {
        let all = resources(Dispatch::Inline);
        ring(&all, |next| {
            next.submit(|n| *n).wait_timeout(Duration::MAX).unwrap()
        });
    });
}

#[test]
fn cycle_across_threads_is_refused_when_nested() {
    // The first thread is in A and B and waits for C. The second is in C and waits for A.
    within_deadline(|| {
        let [a, b, c] = resources(Dispatch::Inline);
        let both = Arc::new(Barrier::new(2));
        let first = {
            let (a, b, c, both) = (a.clone(), b.clone(), c.clone(), both.clone());
            thread::spawn(move || {
                a.with(move |_| {
                    b.with(move |_| {
                        both.wait();
                        c.with(|n| *n)
                    })
                })
            })
        };
        let second = thread::spawn(move || {
            c.with(move |_| {
                both.wait();
                a.with(|n| *n)
            })
        });
        let first = join(first).unwrap().unwrap().unwrap();
        let second = join(second).unwrap().unwrap();
        let refused = [first, second].iter().filter(|o| o.is_err()).count();
        assert_eq!(refused, 1);
    });
}

#[test]
fn cycle_through_wait_closed_is_refused() {
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        let both = Arc::new(Barrier::new(2));
        let first = {
            let (a, b, both) = (a.clone(), b.clone(), both.clone());
            thread::spawn(move || {
                a.with(move |_| {
                    both.wait();
                    b.close();
                    b.wait_closed(Duration::MAX)
                })
            })
        };
        let second = thread::spawn(move || {
            b.with(move |_| {
                both.wait();
                a.with(|n| *n)
            })
        });
        let first = join(first).unwrap().unwrap();
        let second = join(second).unwrap().unwrap();
        assert!(!first || second == Err(DEADLOCK));
    });
}

#[test]
fn cycle_through_cancelled_helper_is_refused() {
    // B's task waits for its task in A. Meanwhile its thread runs A's queue, and there a task that
    // waits for C. Then B's task in A is cancelled: B's wait is over, but the thread is not free.
    // So C's task must not wait for B.
    within_deadline(|| {
        let (send, jobs) = mpsc::channel::<Job>();
        let scheduler = Scheduler::builder()
            .capture_limit(1)
            .executor(move |job| drop(send.send(job)))
            .build()
            .unwrap();
        let [a, b, c] = resources_on(&scheduler, Dispatch::Inline);
        let (inside, go) = (Gate::new(), Gate::new());
        let in_c = {
            let (b, c, inside, go) = (b.clone(), c.clone(), inside.clone(), go.clone());
            thread::spawn(move || {
                c.with(move |_| {
                    inside.open();
                    go.wait();
                    b.with(|n| *n)
                })
            })
        };
        inside.wait();
        let held = hold(&a);
        let c2 = c.clone();
        let run_for_others = a.submit(move |_| c2.with(|n| *n));
        let asleep = Sleepers::new();
        let in_b = {
            let (a, b, asleep) = (a.clone(), b.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                b.with(|_| a.with(|n| *n))
            })
        };
        asleep.wait(&a, 3);
        held.release();
        // The thread of B's task now runs A's first task, and sleeps there.
        asleep.wait(&c, 2);
        assert_eq!(a.cancel_pending(), 1);
        go.open();
        assert_eq!(join(in_c).unwrap(), Ok(Err(DEADLOCK)));
        assert_eq!(outcome(run_for_others), Ok(Ok(2)));
        assert_eq!(join(in_b).unwrap(), Ok(Err(TaskError::Cancelled)));
        drop(jobs);
    });
}

#[test]
fn wait_in_drop_of_result_does_not_hang() {
    // The completion is gone. So the holder drops the result, while it still holds the resource.
    struct Waits(Resource<()>, Arc<Mutex<Option<Result<(), TaskError>>>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let outcome = self.0.with(|_| ());
            *self.1.lock().unwrap() = Some(outcome);
        }
    }
    let r = Resource::new(());
    let seen = Arc::new(Mutex::new(None));
    let held = hold(&r);
    let result = Waits(r.clone(), seen.clone());
    drop(r.submit(move |_| result));
    let gate = held.gate();
    gate.open();
    wait_until("the drop returns", || seen.lock().unwrap().is_some());
    held.release();
    assert_eq!(r.with(|_| ()), Ok(()));
}

#[test]
fn wait_in_waker_does_not_hang() {
    struct Waits(Resource<()>, Mutex<Option<Result<(), TaskError>>>);
    impl Wake for Waits {
        fn wake(self: Arc<Self>) {
            let outcome = self.0.with(|_| ());
            *self.1.lock().unwrap() = Some(outcome);
        }
    }
    let r = Resource::new(());
    let held = hold(&r);
    let mut task = r.submit(|_| ());
    let waits = Arc::new(Waits(r.clone(), Mutex::new(None)));
    let waker = Waker::from(waits.clone());
    assert!(
        Pin::new(&mut task)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    held.gate().open();
    wait_until("the waker returns", || waits.1.lock().unwrap().is_some());
    held.release();
    assert_eq!(outcome(task), Ok(()));
}

#[test]
fn cycle_through_drop_of_result_does_not_hang() {
    // The holder of A drops a result. That drop waits for B, whose task waits for A.
    struct Waits(Resource<u32>, Arc<Barrier>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.1.wait();
            let _ = self.0.with(|_| ());
        }
    }
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        let both = Arc::new(Barrier::new(2));
        let held = hold(&a);
        let result = Waits(b.clone(), both.clone());
        drop(a.submit(move |_| result));
        let other = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                b.with(move |_| {
                    both.wait();
                    a.with(|n| *n)
                })
            })
        };
        held.gate().open();
        join(other).unwrap().unwrap().ok();
        held.release();
        assert!(a.with(|_| ()).is_ok() && b.with(|_| ()).is_ok());
    });
}

// The waits in the tests below are no deadlocks.

#[test]
fn submit_in_own_task_is_allowed() {
    let r = Resource::new(0);
    let inner = r.clone();
    let nested: Completion<u32> = r
        .with(move |_| {
            inner.execute(|n| *n += 1).unwrap();
            inner.submit(|n| {
                *n += 1;
                *n
            })
        })
        .unwrap();
    assert_eq!(outcome(nested), Ok(2));
}

#[test]
fn nested_with_on_20_resources_is_allowed() {
    let all: Vec<_> = (0..20_u32).map(Resource::new).collect();
    fn sum(all: &[Resource<u32>]) -> u32 {
        match all {
            [] => 0,
            [first, rest @ ..] => first.with(|n| *n + sum(rest)).unwrap(),
        }
    }
    assert_eq!(sum(&all), 190);
}

#[test]
fn nested_with_in_same_order_is_allowed() {
    within_deadline(|| {
        let all = resources(Dispatch::Inline);
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let [a, b, c] = &all;
                    for _ in 0..1_000 {
                        let sum = a.with(|x| {
                            b.with(|y| {
                                *y += 1;
                                c.submit(|z| *z += 1).wait().unwrap();
                            })
                            .unwrap();
                            *x += 1;
                        });
                        assert_eq!(sum, Ok(()));
                    }
                });
            }
        });
        let totals = all.map(|r| r.with(|n| *n).unwrap());
        assert_eq!(totals, [4_000, 4_001, 4_002]);
    });
}

#[test]
fn chain_of_waits_across_threads_is_allowed() {
    within_deadline(|| {
        let asleep = Sleepers::new();
        let [a, b, c] = resources(Dispatch::Inline);
        let held = hold(&c);
        let second = {
            let (b, c, asleep) = (b.clone(), c.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                b.with(|_| c.with(|n| *n))
            })
        };
        asleep.wait(&c, 2);
        let first = {
            let (b, asleep) = (b.clone(), asleep.clone());
            thread::spawn(move || {
                asleep.here();
                a.with(|_| b.with(|n| *n))
            })
        };
        asleep.wait(&b, 2);
        held.release();
        assert_eq!(join(second).unwrap(), Ok(Ok(2)));
        assert_eq!(join(first).unwrap(), Ok(Ok(1)));
    });
}

#[test]
fn wait_on_resource_left_by_holder_is_allowed() {
    // The holder's own task used B inside of A. Later the holder runs further tasks of A, outside
    // of its own task, and one of these tasks waits for B.
    let [a, b, _] = resources(Dispatch::Inline);
    let (running, go) = (Gate::new(), Gate::new());
    let holder = {
        let (a, b, running, go) = (a.clone(), b.clone(), running.clone(), go.clone());
        thread::spawn(move || {
            a.with(move |_| {
                b.with(|_| ()).unwrap();
                running.open();
                go.wait();
            })
        })
    };
    running.wait();
    let b2 = b.clone();
    let captured = a.submit(move |_| b2.with(|n| *n));
    go.open();
    assert_eq!(outcome(captured), Ok(Ok(1)));
    join(holder).unwrap().unwrap();
}

#[test]
fn wait_on_resource_of_submitter_is_allowed() {
    // A's task submits to B. A second thread queues a task on B, and that task waits for A. On A's
    // thread this task could never end, so A's thread leaves it to another thread.
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        let (submitted, queued) = (Gate::new(), Gate::new());
        let outer = {
            let (a, b) = (a.clone(), b.clone());
            let (submitted, queued) = (submitted.clone(), queued.clone());
            thread::spawn(move || {
                a.with(move |_| {
                    b.submit(move |_| {
                        submitted.open();
                        queued.wait();
                    })
                    .wait()
                })
            })
        };
        submitted.wait();
        let a2 = a.clone();
        let waits = b.submit(move |_| a2.with(|n| *n));
        queued.open();
        assert_eq!(join(outer).unwrap(), Ok(Ok(())));
        assert_eq!(outcome(waits), Ok(Ok(0)));
    });
}

#[test]
fn wait_on_waiter_is_allowed_when_with_finished() {
    // B's task waits for a task of A that has run. Nothing blocks B's task any more, though its
    // thread has yet to notice. The next task of A may wait for B.
    within_deadline(|| {
        for _ in 0..60 {
            let asleep = Sleepers::new();
            let [a, b, _] = resources(Dispatch::Inline);
            let held = hold(&a);
            let first = {
                let (a, b, asleep) = (a.clone(), b.clone(), asleep.clone());
                thread::spawn(move || {
                    asleep.here();
                    b.with(|_| a.with(|n| *n))
                })
            };
            asleep.wait(&a, 2);
            let b2 = b.clone();
            let next = a.submit(move |_| b2.with(|n| *n));
            held.release();
            assert_eq!(join(first).unwrap(), Ok(Ok(0)));
            assert_eq!(outcome(next), Ok(Ok(1)));
        }
    });
}

#[test]
fn wait_on_waiter_is_allowed_when_task_finished() {
    // B's task waits for a completion of A that has resolved. The next task of A may wait for B.
    within_deadline(|| {
        for _ in 0..60 {
            let [a, b, _] = resources(Dispatch::Inline);
            let held = hold(&a);
            let task = a.submit(|n| *n);
            let (waiting, inside) = (Gate::new(), Gate::new());
            let first = {
                let (b, inside) = (b.clone(), inside.clone());
                thread::spawn(move || {
                    b.with(move |_| {
                        inside.open();
                        task.wait()
                    })
                })
            };
            inside.wait();
            waiting.open();
            let b2 = b.clone();
            let next = a.submit(move |_| b2.with(|n| *n));
            held.release();
            assert_eq!(join(first).unwrap(), Ok(Ok(0)));
            assert_eq!(outcome(next), Ok(Ok(1)));
        }
    });
}

#[test]
fn await_outside_of_tasks_is_allowed() {
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        futures::executor::block_on(async {
            for _ in 0..100 {
                let x = a.submit(|n| *n).await.unwrap();
                let y = b.submit(move |n| *n + x).await.unwrap();
                assert_eq!(y, 1);
            }
        });
    });
}

#[test]
fn refused_wait_does_not_block_later_waits() {
    // After a refusal, A and B may wait for each other in turn.
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        for _ in 0..50 {
            let (b2, a2) = (b.clone(), a.clone());
            let nested = a.with(move |_| b2.with(move |_| a2.with(|_| ())));
            assert_eq!(nested, Ok(Ok(Err(DEADLOCK))));
            assert_eq!(a.with(|_| b.with(|n| *n)), Ok(Ok(1)));
            assert_eq!(b.with(|_| a.with(|n| *n)), Ok(Ok(0)));
        }
    });
}

#[test]
fn timed_out_wait_does_not_block_later_waits() {
    within_deadline(|| {
        let [a, b, _] = resources(Dispatch::Inline);
        let held = hold(&b);
        let late = a.with(|_| {
            b.submit(|n| *n)
                .wait_timeout(Duration::from_millis(1))
                .unwrap_err()
        });
        held.release();
        // No task waits any more, so B's task may wait for A.
        assert_eq!(b.with(|_| a.with(|n| *n)), Ok(Ok(0)));
        assert_eq!(outcome(late.unwrap()), Ok(1));
    });
}
