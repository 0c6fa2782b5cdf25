#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Shutting a scheduler down closes its resources. A scheduler lists its named resources.

mod common;

use captor::{Dispatch, Job, Resource, Scheduler, SubmitError, TaskError};
use common::{
    DEADLINE, Gate, hold, hold_running, join, outcome, pooled, wait_until, within_deadline,
};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(10);

fn scheduler() -> Scheduler {
    Scheduler::builder().workers(2).build().unwrap()
}

fn named<T: Send + 'static>(scheduler: &Scheduler, name: &str, value: T) -> Resource<T> {
    let builder = Resource::builder().name(name).scheduler(scheduler);
    builder.build(value).unwrap()
}

fn names(scheduler: &Scheduler) -> Vec<String> {
    let all = scheduler.resources().into_iter();
    all.map(|report| report.name.to_string()).collect()
}

#[test]
fn named_resources_are_listed_with_statistics() {
    let s = scheduler();
    let (b, a) = (named(&s, "b", ()), named(&s, "a", ()));
    let (_unnamed, _elsewhere) = (s.resource(()), named(&scheduler(), "elsewhere", ()));
    b.with(|_| ()).unwrap();
    assert_eq!(names(&s), ["a", "b"]);
    let all = s.resources();
    assert_eq!((all[0].stats, all[1].stats), (a.stats(), b.stats()));
    let again = named(&s, "b", ());
    assert_eq!(names(&s), ["a", "b", "b"], "names need not be unique");
    drop((a, b));
    assert_eq!(names(&s), ["b"]);
    drop(again);
    assert!(names(&s).is_empty());
}

#[test]
fn resource_is_listed_until_last_task_ends() {
    let s = scheduler();
    let r = named(&s, "r", ());
    let held = hold(&r);
    drop(r);
    assert_eq!(names(&s), ["r"]);
    held.release();
    wait_until("the resource is no longer listed", || names(&s).is_empty());
}

/// The drop of a value is user code, and so is the drop of everything the value owns.
#[test]
fn scheduler_is_usable_during_value_drop() {
    struct Looks(Scheduler, #[allow(dead_code)] Option<Resource<()>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let inner = named(&self.0, "made in a drop", ());
            assert!(names(&self.0).contains(&"made in a drop".to_owned()));
            drop(inner);
        }
    }
    within_deadline(|| {
        let s = scheduler();
        let inner = named(&s, "inner", ());
        let outer = named(&s, "outer", Looks(s.clone(), Some(inner)));
        drop(outer);
        assert!(names(&s).is_empty());
    });
}

#[test]
fn listing_is_safe_during_resource_churn() {
    within_deadline(|| {
        let s = scheduler();
        let stop = Gate::new();
        let lists = {
            let (s, stop) = (s.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.is_open() {
                    for report in s.resources() {
                        assert_eq!(&*report.name, "short-lived");
                    }
                }
            })
        };
        // The thread that lists resources may hold the last reference to one.
        for _ in 0..2_000 {
            let inner = named(&s, "short-lived", 1);
            let r = named(&s, "short-lived", inner);
            r.with(|inner| inner.with(|n| *n += 1)).unwrap().unwrap();
        }
        stop.open();
        join(lists).unwrap();
        assert!(names(&s).is_empty());
    });
}

#[test]
fn shutdown_closes_drains_and_joins() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let s = scheduler();
        let r = Resource::builder().scheduler(&s).dispatch(dispatch);
        let r = r.build(0).unwrap();
        let held = hold(&r);
        let queued: Vec<_> = (0..50).map(|_| r.submit(|n| *n += 1)).collect();
        let (inside, gate) = (r.clone(), held.gate());
        let releases = thread::spawn(move || {
            wait_until("the resource is closed", || inside.is_closed());
            gate.open();
        });
        assert_eq!(s.try_shutdown(DEADLINE), Ok(()));
        for task in queued {
            assert!(task.is_finished());
            assert_eq!(outcome(task), Ok(()));
        }
        assert_eq!(r.execute(|_| ()), Err(SubmitError::Closed));
        join(releases).unwrap();
        held.release();
        assert!(s.shutdown(Duration::ZERO), "a second shutdown succeeds too");
    }
}

#[test]
fn shutdown_timeout_lists_busy_resources() {
    let s = scheduler();
    let (a, b) = (named(&s, "a", ()), s.resource(()));
    let idle = named(&s, "idle", ());
    let (held, also) = (hold(&a), hold(&b));
    let waits = a.submit(|_| ());
    let error = s.try_shutdown(SOON).unwrap_err();
    let mut left: Vec<_> = (error.resources.iter())
        .map(|left| (left.name.as_deref(), left.outstanding))
        .collect();
    left.sort();
    assert_eq!(left, [(None, 1), (Some("a"), 2)]);
    assert!(!error.threads, "no thread was started");
    let text = error.to_string();
    assert!(text.contains(r#""a" (2)"#) && text.contains("an unnamed resource (1)"));
    assert!(idle.is_closed() && a.is_closed() && b.is_closed());
    held.release();
    also.release();
    assert_eq!(outcome(waits), Ok(()), "the task was accepted");
    assert_eq!(s.try_shutdown(DEADLINE), Ok(()));
}

#[test]
fn shutdown_waits_for_already_closed_resource() {
    let s = scheduler();
    let r = s.resource(());
    let held = hold(&r);
    r.close();
    let error = s.try_shutdown(SOON).unwrap_err();
    assert_eq!(error.resources.len(), 1);
    held.release();
    assert!(s.shutdown(DEADLINE));
}

/// A shutdown inside a task cannot wait for the end of that task's resource.
#[test]
fn shutdown_inside_task_reports_own_resource() {
    within_deadline(|| {
        let s = scheduler();
        let (r, other) = (named(&s, "r", ()), s.resource(()));
        let inside = s.clone();
        let error = r.with(move |_| inside.try_shutdown(DEADLINE).unwrap_err());
        let error = error.unwrap();
        assert_eq!(error.resources.len(), 1, "{error}");
        assert_eq!(error.resources[0].name.as_deref(), Some("r"));
        assert!(other.is_closed());
        assert!(s.shutdown(DEADLINE));
    });
}

#[test]
fn shutdown_on_worker_closes_without_waiting() {
    within_deadline(|| {
        let s = scheduler();
        let (r, other) = (pooled(&s, ()), pooled(&s, ()));
        let inside = s.clone();
        let shutdown = outcome(r.submit(move |_| inside.shutdown(Duration::MAX)));
        assert_eq!(shutdown, Ok(false));
        assert!(r.is_closed() && other.is_closed());
        assert!(s.shutdown(DEADLINE));
    });
}

#[test]
fn shutdown_times_out_until_executor_runs_job() {
    let (send, jobs) = mpsc::channel::<Job>();
    let s = Scheduler::builder()
        .executor(move |job: Job| drop(send.send(job)))
        .build()
        .unwrap();
    let r = pooled(&s, 1);
    let task = r.submit(|n| *n + 1);
    let error = s.try_shutdown(SOON).unwrap_err();
    assert_eq!((error.resources.len(), error.threads), (1, true));
    jobs.recv().unwrap().run();
    assert_eq!(outcome(task), Ok(2));
    assert!(s.shutdown(DEADLINE));
}

/// A resource made by a task during the shutdown is closed too.
#[test]
fn resource_made_during_shutdown_is_closed() {
    within_deadline(|| {
        let s = scheduler();
        let r = s.resource(Vec::new());
        let held = hold(&r);
        let inside = s.clone();
        r.execute(move |made: &mut Vec<Resource<()>>| made.push(inside.resource(())))
            .unwrap();
        let (closing, gate) = (r.clone(), held.gate());
        let releases = thread::spawn(move || {
            wait_until("the resource is closed", || closing.is_closed());
            gate.open();
        });
        assert!(s.shutdown(DEADLINE));
        join(releases).unwrap();
        let made = r.into_inner().wait().unwrap();
        assert!(made[0].is_closed());
        drop(held);
    });
}

#[test]
fn concurrent_shutdowns_run_accepted_tasks() {
    within_deadline(|| {
        for _ in 0..30 {
            let s = scheduler();
            let r = pooled(&s, 0);
            let accepted = thread::scope(|scope| {
                let submits = scope.spawn(|| {
                    let mut n = 0;
                    while r.execute(|n| *n += 1).is_ok() {
                        n += 1;
                    }
                    n
                });
                for _ in 0..2 {
                    scope.spawn(|| assert!(s.shutdown(DEADLINE)));
                }
                submits.join().unwrap()
            });
            assert_eq!(r.into_inner().wait(), Ok(accepted));
        }
    });
}

#[test]
fn shutdown_resolves_closed_futures() {
    let s = scheduler();
    let r = s.resource(());
    let closed = r.closed();
    assert!(s.shutdown(DEADLINE));
    futures::executor::block_on(closed);
    assert_eq!(r.submit(|_| ()).wait(), Err(TaskError::Closed));
}

/// A worker holds the last reference, and drops the value.
#[test]
fn shutdown_in_value_drop_does_not_wait() {
    within_deadline(|| {
        let s = scheduler();
        let (send, answers) = mpsc::channel();
        let inside = s.clone();
        let shuts_down = common::on_drop(move || {
            send.send(inside.shutdown(Duration::MAX)).unwrap();
        });
        let r = pooled(&s, Some(shuts_down));
        // No thread waits for this task: a waiter might hold the last reference to the resource.
        let (running, gate) = (Gate::new(), Gate::new());
        let (runs, opened) = (running.clone(), gate.clone());
        r.execute(move |_| {
            runs.open();
            opened.wait();
        })
        .unwrap();
        running.wait();
        drop(r);
        gate.open();
        assert_eq!(
            answers.recv(),
            Ok(false),
            "a shutdown on a worker does not wait"
        );
        assert!(s.shutdown(DEADLINE));
    });
}

/// The task waits on a channel, which captor knows nothing of.
#[test]
fn handoff_runs_after_shutdown_as_worker_blocks() {
    within_deadline(|| {
        let s = scheduler();
        let r = pooled(&s, ());
        let inside = s.clone();
        let (gate, task) = hold_running(&r, move |()| {
            let later = pooled(&inside, 7);
            let (send, receive) = mpsc::channel();
            later.execute(move |n| send.send(*n).unwrap()).unwrap();
            receive.recv_timeout(DEADLINE)
        });
        assert!(!s.shutdown(SOON));
        gate.open();
        assert_eq!(outcome(task), Ok(Ok(7)));
    });
}
