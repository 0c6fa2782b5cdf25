#![cfg(not(any(captor_loom, captor_shuttle)))]
//! `current`, the description of the running task: no task sees the description of another.

mod common;

use captor::{Current, Dispatch, Resource, ResourceBuilder, Scheduler, ThreadKind, current};
use common::{Gate, hold, outcome, panic_message};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

fn named(name: &str) -> ResourceBuilder {
    Resource::builder().name(name)
}

fn names(now: Option<Current>) -> (Option<String>, Option<&'static str>) {
    let now = now.expect("inside a task");
    (now.resource_name().map(str::to_owned), now.task_name())
}

#[test]
fn current_describes_inline_task() {
    let r = named("a").priorities(4).build(()).unwrap();
    let now = r.task().name("x").priority(3).with(|_| current());
    let now = now.unwrap().unwrap();
    assert_eq!(
        (now.resource_name(), now.task_name()),
        (Some("a"), Some("x"))
    );
    assert_eq!((now.priority(), now.thread()), (3, ThreadKind::Caller));
    assert_eq!(now.queued_for(), Some(Duration::ZERO));
    // Without attributes.
    let now = r.with(|_| current()).unwrap().unwrap();
    assert_eq!((now.task_name(), now.priority()), (None, 2));
    assert!(current().is_none());
}

#[test]
fn current_describes_queued_task() {
    for dispatch in [Dispatch::Inline, Dispatch::Pool] {
        let r = named("a").dispatch(dispatch).priorities(4).build(());
        let r = r.unwrap();
        let held = hold(&r);
        let queued = r.task().name("x").priority(1).submit(|_| current());
        let plain = r.submit(|_| current());
        thread::sleep(Duration::from_millis(2));
        held.release();
        let now = outcome(queued).unwrap().unwrap();
        assert_eq!(
            (now.resource_name(), now.task_name()),
            (Some("a"), Some("x"))
        );
        assert_eq!(now.priority(), 1);
        assert!(now.queued_for() >= Some(Duration::from_millis(2)));
        let kind = match dispatch {
            Dispatch::Inline => ThreadKind::Caller,
            Dispatch::Pool => ThreadKind::Worker,
        };
        assert_eq!(now.thread(), kind);
        let now = outcome(plain).unwrap().unwrap();
        assert_eq!((now.task_name(), now.priority()), (None, 2));
        assert_eq!(
            now.queued_for(),
            None,
            "the queueing time of a plain task is not recorded"
        );
    }
}

#[test]
fn current_describes_innermost_task_when_nested() {
    let (a, b) = (named("a").build(()).unwrap(), named("b").build(()).unwrap());
    let inner = b.clone();
    let (within, after) = a
        .task()
        .name("outer")
        .with(|_| {
            let within = inner.task().name("inner").with(|_| current()).unwrap();
            (within, current())
        })
        .unwrap();
    assert_eq!(names(within), (Some("b".into()), Some("inner")));
    assert_eq!(names(after), (Some("a".into()), Some("outer")));
}

/// Two resources have the same name. `assert_current` tells the instances apart.
#[test]
fn assert_current_tells_equal_names_apart() {
    let (one, two) = (
        named("same").build(()).unwrap(),
        named("same").build(()).unwrap(),
    );
    let (inside, other) = (one.clone(), two.clone());
    assert_eq!(one.with(move |_| inside.assert_current()), Ok(()));
    let message = panic_message(one.with(move |_| other.assert_current()));
    assert_eq!(
        message,
        r#"this code must run in a task of the resource "same", but runs in a task of another resource, "same""#
    );
    let outside = std::panic::catch_unwind(|| two.assert_current()).unwrap_err();
    let outside = outside.downcast_ref::<String>().unwrap();
    assert!(outside.ends_with("but runs in no task"), "{outside}");
}

/// Drops and wakers run while the thread holds the resource, but are no part of the task.
#[test]
fn current_is_none_when_result_is_dropped() {
    struct Looks(Gate);
    impl Drop for Looks {
        fn drop(&mut self) {
            if current().is_none() {
                self.0.open();
            }
        }
    }
    let r = Resource::new(());
    let held = hold(&r);
    let outside = Gate::new();
    let looks = Looks(outside.clone());
    // The holder drops the outcome, because the completion is gone.
    drop(r.submit(move |_| looks));
    held.release();
    outside.wait();
}

/// A captured submitter runs foreign tasks after its own. Each task sees its own description.
#[test]
fn captured_tasks_see_their_own_description() {
    let r = named("a").priorities(3).build(Vec::new()).unwrap();
    let held = hold(&r);
    let log = |seen: &mut Vec<_>| {
        let now = current().unwrap();
        seen.push((now.task_name(), now.priority()));
    };
    r.task().name("first").priority(0).execute(log).unwrap();
    drop(
        r.task()
            .name("panics")
            .priority(0)
            .submit(|_| panic!("intended")),
    );
    r.execute(log).unwrap();
    r.task().name("last").priority(2).execute(log).unwrap();
    held.release();
    let last = r.task().priority(2);
    let seen = last.with(|seen| seen.clone()).unwrap();
    assert_eq!(seen, [(Some("first"), 0), (None, 1), (Some("last"), 2)]);
    assert!(current().is_none());
}

/// A drop submits tasks while its thread unwinds. These tasks run like any task, and a panic of
/// such a task is its outcome.
#[test]
fn tasks_run_normally_when_submitter_unwinds() {
    struct Submits(Resource<Mutex<u32>>);
    impl Drop for Submits {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let panics = self.0.submit(|_| panic!("inner"));
            assert_eq!(panic_message(panics.wait()), "inner");
            self.0.execute(|n| *n.get_mut().unwrap() += 1).unwrap();
        }
    }
    let r = Resource::new(Mutex::new(0));
    let submits = Submits(r.clone());
    let thread = thread::spawn(move || {
        let _submits = submits;
        panic!("outer");
    });
    assert!(thread.join().is_err());
    let n = r.with(|n| (n.is_poisoned(), *n.get_mut().unwrap()));
    assert_eq!(n, Ok((false, 1)));
}

#[test]
fn executor_thread_is_worker_during_job() {
    let scheduler = Scheduler::builder()
        .executor(|job: captor::Job| drop(thread::spawn(|| job.run())))
        .build()
        .unwrap();
    let r = Resource::builder().scheduler(&scheduler);
    let r = r.dispatch(Dispatch::Pool).build(()).unwrap();
    let kind = |r: &Resource<()>| r.with(|_| current().unwrap().thread());
    assert_eq!(kind(&r), Ok(ThreadKind::Worker));
    assert_eq!(kind(&scheduler.resource(())), Ok(ThreadKind::Caller));
}

/// A drop submits a task while its thread unwinds. Only that task runs on the unwinding thread.
#[test]
fn unwinding_thread_runs_no_foreign_task() {
    let r = Resource::new(());
    let (running, gate) = (Gate::new(), Gate::new());
    let (inside, runs, opened) = (r.clone(), running.clone(), gate.clone());
    let submits_when_dropped = common::on_drop(move || {
        let own = inside.submit(move |()| {
            runs.open();
            opened.wait();
            thread::panicking()
        });
        assert_eq!(outcome(own), Ok(true));
    });
    let thread = thread::spawn(move || {
        let _submits = submits_when_dropped;
        std::panic::resume_unwind(Box::new("outer"));
    });
    running.wait();
    let others: Vec<_> = (0..5).map(|_| r.submit(|()| thread::panicking())).collect();
    gate.open();
    for other in others {
        assert_eq!(outcome(other), Ok(false));
    }
    assert!(common::join(thread).is_err());
}

#[test]
fn closed_waker_runs_outside_of_closing_task() {
    let (outer, r) = (named("outer").build(()).unwrap(), Resource::new(()));
    let (send, seen) = std::sync::mpsc::channel();
    let mut closed = r.closed();
    let waker = common::waker_that(move || send.send(current().is_none()).unwrap());
    common::poll_pending(&mut closed, &waker);
    let inside = r.clone();
    outer.with(move |()| inside.close()).unwrap();
    assert_eq!(seen.recv(), Ok(true));
}
