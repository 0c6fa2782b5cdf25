#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Submitting to an idle resource, to a busy resource, from inside a task, and to a resource that
//! refuses.

mod common;

use captor::{Resource, SubmitError, TaskError, TrySubmitError, WeakResource};
use common::{Drops, Gate, hold, outcome, within_deadline};
use std::thread;

#[test]
fn submit_runs_on_caller_when_idle() {
    let r = Resource::new(20);
    let done = r.submit(|n| {
        *n += 1;
        (*n, thread::current().id())
    });
    assert!(done.is_finished());
    assert_eq!(done.wait(), Ok((21, thread::current().id())));
}

#[test]
fn submit_returns_before_task_runs_when_busy() {
    let r = Resource::new(0);
    let held = hold(&r);
    let done = r.submit(|n| {
        *n += 1;
        thread::current().id()
    });
    assert!(!done.is_finished());
    held.release();
    let ran_on = outcome(done).unwrap();
    assert_ne!(ran_on, thread::current().id());
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn submit_never_waits_for_running_task() {
    // The submitter holds a lock that the running task waits for. If `submit`, `execute` or
    // `try_submit` waited for that task, the test would hang.
    within_deadline(|| {
        let lock = std::sync::Arc::new(std::sync::Mutex::new(()));
        let r = Resource::new(0);
        let guard = lock.lock().unwrap();
        let started = Gate::new();
        let (task_lock, task_started, task_r) = (lock.clone(), started.clone(), r.clone());
        let holder = thread::spawn(move || {
            task_r.with(move |_| {
                task_started.open();
                drop(task_lock.lock().unwrap());
            })
        });
        started.wait();
        let submitted = r.submit(|n| *n += 1);
        r.execute(|n| *n += 1).unwrap();
        let tried = r.try_submit(|n| *n += 1).unwrap();
        drop(guard);
        assert_eq!(outcome(submitted), Ok(()));
        assert_eq!(outcome(tried), Ok(()));
        assert_eq!(r.with(|n| *n), Ok(3));
        assert_eq!(holder.join().unwrap(), Ok(()));
    });
}

#[test]
fn submit_inside_own_task_runs_afterwards() {
    let r = Resource::new(Vec::new());
    let inner = r.clone();
    let later = r
        .submit(move |v| {
            let later = inner.submit(|v| v.push("second"));
            assert!(!later.is_finished());
            v.push("first");
            later
        })
        .wait()
        .unwrap();
    assert_eq!(outcome(later), Ok(()));
    assert_eq!(
        r.with(|v| v.clone()).as_deref(),
        Ok(["first", "second"].as_slice())
    );
}

#[test]
fn nested_submit_runs_immediately_when_idle() {
    let (a, b) = (Resource::new(1), Resource::new(2));
    let nested = a.with(move |x| {
        let nested = b.submit(|y| (*y, thread::current().id()));
        assert!(nested.is_finished());
        nested.wait().map(|(y, at)| (*x + y, at))
    });
    assert_eq!(nested, Ok(Ok((3, thread::current().id()))));
}

#[test]
fn queued_closure_is_dropped_once() {
    let drops = Drops::new();
    let r = Resource::new(());
    let held = hold(&r);
    let tag = drops.counted();
    let done = r.submit(move |_| drop(tag));
    assert_eq!(drops.count(), 0);
    held.release();
    assert_eq!(outcome(done), Ok(()));
    assert_eq!(drops.count(), 1);
}

#[test]
fn task_runs_after_completion_is_dropped() {
    let r = Resource::new(0);
    let held = hold(&r);
    drop(r.submit(|n| *n += 1));
    held.release();
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn refused_submit_drops_closure_and_resolves() {
    let drops = Drops::new();
    let r = Resource::new(());
    r.close();
    let tag = drops.counted();
    let refused = r.submit(move |_| drop(tag));
    assert!(refused.is_finished());
    assert_eq!(drops.count(), 1);
    assert_eq!(refused.wait(), Err(TaskError::Closed));
}

#[test]
fn refusal_is_immediate_when_busy() {
    let r = Resource::new(());
    let held = hold(&r);
    r.close();
    let refused = r.submit(|_| ());
    assert!(refused.is_finished());
    assert_eq!(refused.wait(), Err(TaskError::Closed));
    held.release();
}

#[test]
fn refused_try_submit_returns_closure() {
    let drops = Drops::new();
    let (closed, open) = (Resource::new(5), Resource::new(6));
    let held = hold(&closed);
    closed.close();
    let tag = drops.counted();
    // Refused while the last task still runs, and after its end.
    let back = closed
        .try_submit(move |n: &mut i32| {
            drop(tag);
            *n
        })
        .unwrap_err();
    assert!(matches!(back, TrySubmitError::Closed(_)));
    held.release();
    let back = closed.try_submit(back.into_inner()).unwrap_err();
    assert_eq!(drops.count(), 0);
    assert_eq!(open.submit(back.into_inner()).wait(), Ok(6));
    assert_eq!(drops.count(), 1);
}

#[test]
fn try_submit_queues_only_when_busy() {
    let r = Resource::new(1);
    assert_eq!(r.try_submit(|n| *n).unwrap().wait(), Ok(1));
    let held = hold(&r);
    let queued = r.try_submit(|n| *n + 1).unwrap();
    assert!(!queued.is_finished());
    held.release();
    assert_eq!(outcome(queued), Ok(2));
}

#[test]
fn named_tasks_run_in_order() {
    let r = Resource::new(Vec::new());
    r.task().name("inline").execute(|v| v.push(1)).unwrap();
    let held = hold(&r);
    let queued = r.task().name("queued").submit(|v| v.push(2));
    r.task().name("detached").execute(|v| v.push(3)).unwrap();
    held.release();
    assert_eq!(outcome(queued), Ok(()));
    assert_eq!(r.with(|v| v.clone()), Ok(vec![1, 2, 3]));
    r.close();
    assert_eq!(r.task().execute(|_| ()), Err(SubmitError::Closed));
    assert_eq!(r.task().submit(|_| ()).wait(), Err(TaskError::Closed));
}

#[test]
fn clones_share_the_value() {
    let r = Resource::from(1);
    let clone = r.clone();
    clone.execute(|n| *n += 1).unwrap();
    assert_eq!(r.with(|n| *n), Ok(2));
    assert_eq!(Resource::<String>::default().with(|s| s.len()), Ok(0));
}

#[test]
fn is_current_only_on_thread_inside_task() {
    let r = Resource::new(());
    let other = Resource::new(());
    let (inside, elsewhere) = (r.clone(), r.clone());
    let nested = other.clone();
    let seen = r
        .with(move |_| {
            // Two clones of the handle: one asks here, the other on a second thread.
            let here = inside.is_current();
            let there = thread::scope(|s| s.spawn(|| elsewhere.is_current()).join().unwrap());
            let within_other = nested.with(|_| (inside.is_current(), nested.is_current()));
            (here, there, nested.is_current(), within_other)
        })
        .unwrap();
    assert_eq!(seen, (true, false, false, Ok((true, true))));
    assert!(!r.is_current() && !other.is_current());
}

#[test]
fn is_current_inside_queued_task() {
    let r = Resource::new(());
    let held = hold(&r);
    let inside = r.clone();
    let queued = r.submit(move |_| inside.is_current());
    held.release();
    assert_eq!(outcome(queued), Ok(true));
}

#[test]
fn debug_shows_name_and_state() {
    let r = Resource::builder().name("topics").build(1).unwrap();
    assert_eq!(r.name(), Some("topics"));
    let text = format!("{r:?}");
    assert!(
        text.contains("topics") && text.contains("closed: false"),
        "{text}"
    );
    let weak: WeakResource<i32> = r.downgrade();
    assert!(format!("{weak:?}").contains("WeakResource"));
    assert!(format!("{:?}", r.task().name("refill")).contains("refill"));
    let held = hold(&r);
    let queued = r.submit(|_| ());
    assert!(format!("{queued:?}").contains("pending"), "{queued:?}");
    held.release();
    assert_eq!(outcome(queued), Ok(()));
    let failed = r.submit(|_| std::panic::resume_unwind(Box::new("x")));
    assert!(format!("{failed:?}").contains("failed"));
}
