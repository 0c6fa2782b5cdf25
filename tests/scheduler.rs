#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Schedulers: settings and their errors, thread names, shutdown, the global scheduler and its
//! environment variable.

mod common;

use captor::{BuildError, Dispatch, Job, Resource, Scheduler};
use common::{Gate, hold, hold_running, join, outcome, pooled, wait_until, within_deadline};
use std::process::Command;
use std::thread;
use std::time::Duration;

#[test]
fn build_fails_when_settings_out_of_range() {
    let workers = |n| Scheduler::builder().workers(n).build().unwrap_err();
    for given in [0, 1025, usize::MAX] {
        let error = workers(given);
        assert_eq!(error, BuildError::Workers { given, max: 1024 });
        assert!(error.to_string().contains(&given.to_string()), "{error}");
    }
    let name = Scheduler::builder().thread_name("a\0b").build();
    assert_eq!(name.unwrap_err(), BuildError::ThreadName);
    let limit = Scheduler::builder().capture_limit(0).build();
    assert_eq!(limit.unwrap_err(), BuildError::ZeroCaptureLimit);
}

#[test]
fn build_starts_no_thread() {
    for n in [1, 1024] {
        let stats = Scheduler::builder().workers(n).build().unwrap().stats();
        assert_eq!((stats.workers, stats.threads), (n as u64, 0));
    }
}

#[test]
fn build_fails_when_executor_has_thread_setting() {
    let run = |job: Job| job.run();
    let both = Scheduler::builder().executor(run).workers(1).build();
    let error = both.unwrap_err();
    assert_eq!(error, BuildError::ExecutorHasThreads { setting: "workers" });
    let both = Scheduler::builder().thread_name("x").executor(run).build();
    let error = both.unwrap_err();
    assert_eq!(
        error,
        BuildError::ExecutorHasThreads {
            setting: "thread_name"
        }
    );
    assert!(Scheduler::builder().executor(run).build().is_ok());
}

#[test]
fn build_fails_when_both_settings_are_wrong() {
    // Both settings are wrong. Whichever is reported, the result is an error.
    let both = Scheduler::builder()
        .workers(0)
        .executor(|job: Job| job.run())
        .build();
    assert!(both.is_err());
}

#[test]
fn worker_names_start_with_prefix() {
    for (name, prefix) in [(None, "captor-"), (Some("index"), "index-")] {
        let mut builder = Scheduler::builder().workers(2);
        if let Some(name) = name {
            builder = builder.thread_name(name);
        }
        let scheduler = builder.build().unwrap();
        let r = pooled(&scheduler, ());
        let thread = outcome(r.submit(|_| thread::current().name().map(str::to_owned)));
        let thread = thread.unwrap().expect("workers have names");
        assert!(thread.starts_with(prefix), "{thread}");
    }
}

#[test]
fn pool_starts_no_more_than_set_workers() {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    let resources: Vec<_> = (0..20).map(|_| pooled(&scheduler, 0)).collect();
    for _ in 0..50 {
        for r in &resources {
            r.execute(|n| *n += 1).unwrap();
        }
    }
    for r in &resources {
        assert_eq!(outcome(r.submit(|n| *n)), Ok(50));
    }
    assert!(scheduler.stats().threads <= 2, "{:?}", scheduler.stats());
}

#[test]
fn shutdown_succeeds_when_never_used() {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    assert!(scheduler.shutdown(Duration::ZERO));
    assert!(
        scheduler.shutdown(Duration::ZERO),
        "a second shutdown succeeds too"
    );
}

#[test]
fn shutdown_waits_for_handed_off_tasks() {
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let resources: Vec<_> = (0..10).map(|_| pooled(&scheduler, 0)).collect();
    let held = hold(&resources[0]);
    let tasks: Vec<_> = resources
        .iter()
        .flat_map(|r| (0..10).map(|_| r.submit(|n| *n += 1)))
        .collect();
    assert!(
        !scheduler.shutdown(Duration::from_millis(5)),
        "a resource is held"
    );
    held.gate().open();
    assert!(scheduler.shutdown(common::DEADLINE));
    for task in tasks {
        assert!(task.is_finished());
        assert_eq!(task.wait(), Ok(()));
    }
    held.release();
}

#[test]
fn concurrent_shutdowns_both_succeed() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(2).build().unwrap();
        let r = pooled(&scheduler, 0);
        outcome(r.submit(|n| *n += 1)).unwrap();
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| assert!(scheduler.shutdown(common::DEADLINE)));
            }
        });
    });
}

#[test]
fn shutdown_on_own_worker_does_not_wait() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        let r = pooled(&scheduler, 0);
        let (inside, gate) = (scheduler.clone(), Gate::new());
        // The shutdown closes the resource, so the second task must be queued before.
        let opened = gate.clone();
        let queued = r.submit(move |_| {
            opened.wait();
            inside.shutdown(Duration::MAX)
        });
        let behind = r.submit(|n| {
            *n += 1;
            *n
        });
        gate.open();
        assert_eq!(outcome(queued), Ok(false));
        assert_eq!(outcome(behind), Ok(1));
        assert!(scheduler.shutdown(common::DEADLINE));
    });
}

#[test]
fn shutdown_waits_on_worker_of_second_pool() {
    within_deadline(|| {
        let [one, two] = [(), ()].map(|()| Scheduler::builder().workers(1).build().unwrap());
        let r = pooled(&one, ());
        outcome(pooled(&two, ()).submit(|_| ())).unwrap();
        let other = two.clone();
        let task = r.submit(move |_| other.shutdown(Duration::MAX));
        assert_eq!(outcome(task), Ok(true));
    });
}

#[test]
fn resources_made_after_shutdown_work() {
    within_deadline(|| {
        let scheduler = Scheduler::builder()
            .workers(2)
            .capture_limit(1)
            .build()
            .unwrap();
        outcome(pooled(&scheduler, 0).submit(|n| *n += 1)).unwrap();
        assert!(scheduler.shutdown(common::DEADLINE));
        let (inline, pool) = (scheduler.resource(0), pooled(&scheduler, 1));
        let threads = scheduler.stats().threads;
        // The task runs on its own thread, not on the thread that hands it off.
        let there = pool.submit(|n| {
            *n += 1;
            (*n, thread::current().id())
        });
        let (n, id) = outcome(there).unwrap();
        assert_eq!(n, 2);
        assert_ne!(id, thread::current().id());
        assert_eq!(pool.with(|n| *n), Ok(2));
        let held = hold(&inline);
        let tasks: Vec<_> = (0..20).map(|_| inline.submit(|n| *n += 1)).collect();
        held.release();
        for task in tasks {
            assert_eq!(outcome(task), Ok(()));
        }
        assert_eq!(inline.with(|n| *n), Ok(20));
        assert_eq!(
            scheduler.stats().threads,
            threads,
            "the pool started no thread"
        );
    });
}

#[test]
fn accepted_tasks_run_during_shutdown() {
    within_deadline(|| {
        for _ in 0..40 {
            let scheduler = Scheduler::builder().workers(2).build().unwrap();
            let resources: Vec<_> = (0..3).map(|_| pooled(&scheduler, 0)).collect();
            let accepted = thread::scope(|s| {
                let submitters: Vec<_> = (resources.iter())
                    .map(|r| {
                        s.spawn(|| (0..100).filter(|_| r.execute(|n| *n += 1).is_ok()).count())
                    })
                    .collect();
                s.spawn(|| assert!(scheduler.shutdown(common::DEADLINE)));
                submitters
                    .into_iter()
                    .map(|s| s.join().unwrap())
                    .collect::<Vec<_>>()
            });
            // Each submission was refused or is counted in the value.
            for (r, accepted) in resources.into_iter().zip(accepted) {
                assert_eq!(r.into_inner().wait(), Ok(accepted));
            }
        }
    });
}

#[test]
fn threads_end_when_last_resource_drops() {
    let ended = Gate::new();
    /// Opens the gate when its thread ends.
    struct OnEnd(Gate);
    impl Drop for OnEnd {
        fn drop(&mut self) {
            self.0.open();
        }
    }
    thread_local! {
        static ON_END: std::cell::RefCell<Option<OnEnd>> = const { std::cell::RefCell::new(None) };
    }
    let scheduler = Scheduler::builder().workers(1).build().unwrap();
    let r = pooled(&scheduler, ());
    let on_end = OnEnd(ended.clone());
    outcome(r.submit(move |_| ON_END.with(|e| *e.borrow_mut() = Some(on_end)))).unwrap();
    drop(scheduler);
    assert!(!ended.is_open(), "a resource is left");
    drop(r);
    ended.wait();
}

#[test]
fn schedulers_do_not_share_workers() {
    let [one, two] = ["one", "two"].map(|name| {
        let builder = Scheduler::builder().workers(1).thread_name(name);
        builder.build().unwrap()
    });
    let (a, b) = (pooled(&one, ()), pooled(&two, ()));
    let held = hold(&a);
    // The only worker of the first scheduler is busy.
    let name = outcome(b.submit(|_| thread::current().name().map(str::to_owned)));
    assert!(name.unwrap().unwrap().starts_with("two-"));
    held.release();
}

#[test]
fn global_scheduler_is_unique_and_debuggable() {
    assert!(std::ptr::eq(Scheduler::global(), Scheduler::global()));
    let text = format!("{:?}", Scheduler::global());
    assert!(text.contains("capture_limit: 10"), "{text}");
    let text = format!("{:?}", Scheduler::builder().workers(3));
    assert!(text.contains('3'), "{text}");
}

const VARIABLE: &str = "CAPTOR_WORKERS";
const CHILD: &str = "CAPTOR_TEST_CHILD";

/// The body of the child processes that the tests below start. Does nothing in the test run itself.
#[test]
fn child_reports_global_worker_count() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let r = Resource::builder()
        .dispatch(Dispatch::Pool)
        .build(1)
        .unwrap();
    assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
    println!("workers={}", Scheduler::global().stats().workers);
}

/// Starts a process with the variable set to `value`. Returns the number of workers of its global
/// scheduler, and its log.
fn workers_with(value: Option<&std::ffi::OsStr>) -> (u64, String) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "child_reports_global_worker_count",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env_remove("RUST_LOG");
    match value {
        Some(value) => child.env(VARIABLE, value),
        None => child.env_remove(VARIABLE),
    };
    let output = child.output().unwrap();
    let (out, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{log}");
    let (_, rest) = out.split_once("workers=").expect("the child reports");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (digits.parse().unwrap(), log.into_owned())
}

#[test]
fn variable_sets_global_pool_size() {
    for (value, workers) in [("3", 3), ("1", 1), ("1024", 1024), (" 5 ", 5)] {
        let (found, log) = workers_with(Some(value.as_ref()));
        assert_eq!(found, workers, "{value:?}");
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[test]
fn default_applies_when_variable_is_invalid() {
    let (default, log) = workers_with(None);
    assert!(default >= 1);
    assert!(!log.contains(VARIABLE), "{log}");
    for value in ["abc", "-1", "1000000000", "0", "1025", "", "2.5"] {
        let (found, log) = workers_with(Some(value.as_ref()));
        assert_eq!(found, default, "{value:?}");
        let told = log.contains("ERROR") && log.contains(VARIABLE) && log.contains(value);
        assert!(told, "{value:?}: {log}");
    }
}

#[cfg(unix)]
#[test]
fn default_applies_when_variable_not_unicode() {
    use std::os::unix::ffi::OsStrExt;
    let (default, _) = workers_with(None);
    let (found, log) = workers_with(Some(std::ffi::OsStr::from_bytes(b"\xff\xfe")));
    assert_eq!(found, default);
    assert!(log.contains("ERROR") && log.contains(VARIABLE), "{log}");
}

#[test]
fn idle_worker_wakes_at_every_handoff() {
    // A lost wake-up shows as a hang: each job comes alone, to a pool at rest.
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(2).build().unwrap();
        let r = pooled(&scheduler, 0);
        for n in 1..=3_000 {
            let task = r.submit(|n| {
                *n += 1;
                *n
            });
            assert_eq!(outcome(task), Ok(n));
        }
    });
}

#[test]
fn concurrent_handoffs_are_all_picked_up() {
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let scheduler = scheduler.clone();
            thread::spawn(move || {
                for _ in 0..500 {
                    let r = pooled(&scheduler, 0);
                    r.execute(|n| *n += 1).unwrap();
                    let last = r.submit(|n| *n);
                    drop(r);
                    assert_eq!(outcome(last), Ok(1));
                }
            })
        })
        .collect();
    for producer in producers {
        join(producer).unwrap();
    }
    wait_until("all jobs are finished", || {
        let stats = scheduler.stats();
        stats.finished == stats.dispatched
    });
}

/// A worker that waits for the end of another pool makes room for a stand-in.
#[test]
fn stand_in_runs_during_shutdown_on_worker() {
    within_deadline(|| {
        let [one, two] = [(), ()].map(|()| Scheduler::builder().workers(1).build().unwrap());
        let (waits, visited, visits) = (pooled(&one, ()), pooled(&one, 0), pooled(&two, ()));
        let gate = Gate::new();
        let opened = gate.clone();
        let visit = visits.submit(move |_| {
            opened.wait();
            visited.with(|n| *n += 1)
        });
        let task = waits.submit(move |_| {
            gate.open();
            two.shutdown(Duration::MAX)
        });
        assert_eq!(outcome(task), Ok(true));
        assert_eq!(outcome(visit), Ok(Ok(())));
    });
}

/// The bounds of a submitter's share hold without workers too.
#[test]
fn capture_limit_holds_after_shutdown() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        assert!(scheduler.shutdown(common::DEADLINE));
        let r = scheduler.resource(Vec::new());
        let held = hold(&r);
        let holder = held.thread();
        for _ in 0..1_000 {
            let note = |threads: &mut Vec<_>| threads.push(thread::current().id());
            r.execute(note).unwrap();
        }
        held.release();
        let threads = r.with(|threads| threads.clone()).unwrap();
        assert_eq!(threads.len(), 1_000);
        let by_holder = threads.iter().filter(|id| **id == holder).count();
        assert!(by_holder < 10, "{by_holder}");
    });
}

/// The test of the same scene for an executor is in `executor.rs`.
#[test]
fn foreign_task_is_not_nested_after_shutdown() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        assert!(scheduler.shutdown(common::DEADLINE));
        assert_eq!(common::a_strangers_visit(&scheduler), Ok(1));
    });
}

/// captor's thread-locals may already be dropped by then.
#[test]
fn shutdown_succeeds_during_thread_local_drop() {
    struct AtExit(Scheduler);
    impl Drop for AtExit {
        fn drop(&mut self) {
            assert!(self.0.shutdown(common::DEADLINE));
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<AtExit>> = const { std::cell::RefCell::new(None) };
    }
    let thread = thread::spawn(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        LAST.set(Some(AtExit(scheduler.clone())));
        assert!(scheduler.shutdown(common::DEADLINE));
    });
    join(thread).unwrap();
}

/// The only worker hands off to its own closed pool, and blocks for the handed-off task.
#[test]
fn worker_waits_for_handoff_during_shutdown() {
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        let outer = pooled(&scheduler, ());
        let inside = scheduler.clone();
        let (gate, task) = hold_running(&outer, move |()| pooled(&inside, 7).with(|n| *n));
        assert!(!scheduler.shutdown(Duration::ZERO));
        gate.open();
        assert_eq!(outcome(task), Ok(Ok(7)));
        assert!(scheduler.shutdown(common::DEADLINE));
    });
}

#[test]
fn handoff_runs_during_thread_local_drop() {
    struct AtExit(Scheduler);
    impl Drop for AtExit {
        fn drop(&mut self) {
            assert_eq!(pooled(&self.0, 1).with(|n| *n), Ok(1));
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<AtExit>> = const { std::cell::RefCell::new(None) };
    }
    within_deadline(|| {
        let scheduler = Scheduler::builder().workers(1).build().unwrap();
        let r = pooled(&scheduler, 1);
        let worker = r.submit({
            let scheduler = scheduler.clone();
            // A thread-local of the worker, dropped when the worker ends.
            move |_| LAST.set(Some(AtExit(scheduler)))
        });
        outcome(worker).unwrap();
        assert!(scheduler.shutdown(common::DEADLINE));
        join(thread::spawn(move || LAST.set(Some(AtExit(scheduler))))).unwrap();
    });
}
