#![cfg(not(any(captor_loom, captor_shuttle)))]
//! The hook that runs each time the queue has run empty.

mod common;

use captor::{Dispatch, PanicPolicy, Resource, ResourceBuilder, TaskError, current};
use common::{DEADLINE, Drops, hold, outcome, within_deadline};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// `0`: a task ran. `1`: the hook ran.
type Log = Vec<u32>;

const EACH: [Dispatch; 2] = [Dispatch::Inline, Dispatch::Pool];

fn hooked(builder: ResourceBuilder) -> Resource<Log> {
    let r = builder.build(Log::new()).unwrap();
    outcome(r.on_idle(|log| log.push(1))).unwrap();
    r
}

fn task(log: &mut Log) {
    log.push(0);
}

#[test]
fn hook_runs_once_after_whole_queue() {
    for dispatch in EACH {
        let r = hooked(Resource::builder().dispatch(dispatch));
        assert_eq!(
            r.with(|log| log.clone()),
            Ok(vec![]),
            "setting the hook does not call it"
        );
        let held = hold(&r);
        let tasks: Vec<_> = (0..5).map(|_| r.submit(task)).collect();
        held.release();
        tasks.into_iter().for_each(|task| outcome(task).unwrap());
        let log = r.with(|log| log.clone()).unwrap();
        // The hook ran after the first look at the log, and after the five tasks.
        assert_eq!(log, [1, 0, 0, 0, 0, 0, 1], "{dispatch:?}");
    }
}

#[test]
fn hook_runs_after_each_task_when_idle() {
    let r = hooked(Resource::builder());
    for _ in 0..3 {
        r.execute(task).unwrap();
    }
    assert_eq!(
        outcome(r.submit(|log| log.clone())),
        Ok(vec![0, 1, 0, 1, 0, 1])
    );
    // The hook runs on the calling thread, within the call.
    let here = thread::current().id();
    let seen = Resource::new(None);
    seen.on_idle(|seen| *seen = Some(thread::current().id()))
        .wait()
        .unwrap();
    seen.execute(|_| ()).unwrap();
    assert_eq!(seen.with(|seen| *seen), Ok(Some(here)));
}

#[test]
fn second_hook_replaces_first() {
    let r = Resource::new(Log::new());
    let drops = Drops::new();
    let counted = drops.counted();
    r.on_idle(move |log| {
        let _ = &counted;
        log.push(1);
    })
    .wait()
    .unwrap();
    r.execute(task).unwrap();
    r.on_idle(|log| log.push(2)).wait().unwrap();
    assert_eq!(drops.count(), 1);
    r.execute(task).unwrap();
    assert_eq!(r.with(|log| log.clone()), Ok(vec![0, 1, 0, 2]));
}

/// Setting the hook takes its turn behind queued tasks, and behind a task on the fast path.
#[test]
fn hook_is_set_in_submission_order() {
    let r = Resource::new(Log::new());
    let held = hold(&r);
    r.execute(task).unwrap();
    let set = r.on_idle(|log| log.push(1));
    r.execute(task).unwrap();
    assert!(!set.is_finished());
    held.release();
    assert_eq!(outcome(set), Ok(()));
    assert_eq!(r.with(|log| log.clone()), Ok(vec![0, 0, 1]));
}

#[test]
fn hook_runs_again_after_tasks_queued_by_hook() {
    let r = Resource::new(Log::new());
    let inside = r.downgrade();
    let mut left = 2;
    r.on_idle(move |log| {
        log.push(1);
        if left > 0 {
            left -= 1;
            inside.upgrade().unwrap().execute(task).unwrap();
        }
    })
    .wait()
    .unwrap();
    r.execute(task).unwrap();
    assert_eq!(r.with(|log| log.clone()), Ok(vec![0, 1, 0, 1, 0, 1]));
}

#[test]
fn hook_runs_before_closed_resource_ends() {
    for dispatch in EACH {
        let r = hooked(Resource::builder().dispatch(dispatch));
        let held = hold(&r);
        r.execute(task).unwrap();
        r.close();
        held.release();
        assert_eq!(r.into_inner().wait(), Ok(vec![0, 1]));
    }
}

#[test]
fn hook_runs_after_rest_is_cancelled() {
    let r = hooked(Resource::builder());
    let held = hold(&r);
    let task = r.submit(task);
    assert_eq!(r.cancel_pending(), 1);
    held.release();
    assert_eq!(outcome(task), Err(TaskError::Cancelled));
    assert_eq!(r.with(|log| log.clone()), Ok(vec![1]));
}

#[test]
fn hook_panic_poisons_only_under_poison_policy() {
    for policy in [PanicPolicy::Continue, PanicPolicy::Poison] {
        let r = Resource::builder().panic_policy(policy).build(0).unwrap();
        r.on_idle(|_| panic!("intended")).wait().unwrap();
        let held = hold(&r);
        let first = r.submit(|n| *n += 1);
        held.release();
        assert_eq!(outcome(first), Ok(()));
        let poisons = policy == PanicPolicy::Poison;
        assert_eq!(r.is_poisoned(), poisons);
        let expected = if poisons {
            Err(TaskError::Poisoned)
        } else {
            Ok(1)
        };
        assert_eq!(r.with(|n| *n), expected);
        let stats = r.stats();
        assert_eq!((stats.panicked, stats.outstanding), (0, 0));
    }
}

#[test]
fn hook_runs_again_after_its_panic() {
    let r = Resource::new(Vec::new());
    let mut calls = 0;
    r.on_idle(move |log| {
        calls += 1;
        log.push(calls);
        if calls == 1 {
            panic!("intended");
        }
    })
    .wait()
    .unwrap();
    for ran in 0..3 {
        let before = r.submit(|log| log.clone());
        assert_eq!(outcome(before), Ok((1..=ran).collect()));
    }
}

#[test]
fn hook_does_not_run_when_poisoned() {
    let r = hooked(Resource::builder().panic_policy(PanicPolicy::Poison));
    assert!(r.with(|_| panic!("intended")).is_err());
    let log = r.clear_poison(|log| log.clone()).unwrap();
    assert_eq!(log, []);
}

#[test]
fn resource_is_current_during_hook() {
    let r = Resource::builder().name("r").build(Vec::new()).unwrap();
    let inside = r.downgrade();
    r.on_idle(move |seen: &mut Vec<_>| {
        let r = inside.upgrade().unwrap();
        let name = current().unwrap().task_name();
        seen.push((r.is_current(), name, r.with(|_| ()).is_err()));
    })
    .wait()
    .unwrap();
    r.execute(|_| ()).unwrap();
    let seen = r.with(|seen| seen.clone()).unwrap();
    assert_eq!(seen, [(true, Some("on_idle"), true)]);
}

#[test]
fn hook_is_refused_when_closed_and_never_leaks() {
    let r = Resource::new(());
    let drops = Drops::new();
    let (kept, refused) = (drops.counted(), drops.counted());
    r.on_idle(move |()| {
        let _ = &kept;
    })
    .wait()
    .unwrap();
    r.close();
    let closed = r.on_idle(move |()| {
        let _ = &refused;
    });
    assert_eq!(closed.wait(), Err(TaskError::Closed));
    assert_eq!(drops.count(), 1);
    drop(r);
    assert_eq!(drops.count(), 2);
}

/// No task runs without the hook after it, whichever way the task is submitted.
#[test]
fn hook_runs_after_every_task_during_contention() {
    within_deadline(|| {
        for dispatch in EACH {
            let r = Resource::builder().dispatch(dispatch).build((0_u64, 0_u64));
            let r = r.unwrap();
            // The hook is set while the fast path is in use.
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let r = r.clone();
                    thread::spawn(move || {
                        if thread == 0 {
                            r.on_idle(|(ran, seen)| *seen = *ran).wait().unwrap();
                        }
                        for n in 0..2_000 {
                            match n % 3 {
                                0 => r.with(|(ran, _)| *ran += 1).unwrap(),
                                1 => r.submit(|(ran, _)| *ran += 1).wait().unwrap(),
                                _ => r.execute(|(ran, _)| *ran += 1).unwrap(),
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            r.close();
            assert!(r.wait_closed(DEADLINE));
            assert_eq!(r.into_inner().wait(), Ok((8_000, 8_000)));
        }
    });
}

/// Dropping a panic's payload runs user code under the role.
#[test]
fn hook_panic_payload_may_use_resource() {
    within_deadline(|| {
        let r = Resource::new(0);
        let (visited, (send, visits)) = (r.downgrade(), mpsc::channel());
        let hook = r.on_idle(move |_| {
            let (visited, send) = (visited.upgrade().unwrap(), send.clone());
            let visit = move || send.send(visited.with(|n: &mut i32| *n)).unwrap();
            std::panic::resume_unwind(Box::new(Payload(common::on_drop(visit))));
        });
        outcome(hook).unwrap();
        r.execute(|_| ()).unwrap();
        assert_eq!(visits.recv(), Ok(Err(TaskError::WouldDeadlock)));
    });
}

struct Payload<F: FnOnce()>(#[allow(dead_code)] common::OnDrop<F>);

#[test]
fn new_hook_runs_for_tasks_before_replacement() {
    let r = hooked(Resource::builder());
    let held = hold(&r);
    r.execute(task).unwrap();
    let second = r.on_idle(|log| log.push(2));
    held.release();
    outcome(second).unwrap();
    assert_eq!(r.with(|log| log.last().copied()), Ok(Some(2)));
}

#[test]
fn hook_does_not_run_when_no_task_ran() {
    let s = captor::Scheduler::builder().workers(1).build().unwrap();
    let busy = common::pooled(&s, ());
    let r = hooked(Resource::builder().scheduler(&s).dispatch(Dispatch::Pool));
    let called = outcome(r.submit(|log| log.len())).unwrap();
    let held = hold(&busy);
    let late = r.task().timeout(Duration::from_millis(1));
    let late = late.submit(|log: &mut Log| log.push(3));
    assert!(r.submit(|log: &mut Log| log.push(3)).cancel());
    assert_eq!(outcome(late), Err(TaskError::Expired));
    held.release();
    r.close();
    // `called` counts the hook calls before the submission. The hook ran once more after that task.
    let log = r.into_inner().wait().unwrap();
    assert_eq!(log.len(), called + 1, "{log:?}");
}

#[test]
fn slow_hook_counts_as_longest_task() {
    let r = Resource::builder().timings(true).build(()).unwrap();
    outcome(r.on_idle(|()| thread::sleep(Duration::from_millis(20)))).unwrap();
    r.execute(|()| ()).unwrap();
    assert!(r.stats().longest_task >= Duration::from_millis(20));
}
