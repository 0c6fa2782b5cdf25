#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Tasks run in submission order on every path (G2). Later tasks see what earlier tasks wrote (G3).

mod common;

use captor::{Completion, Dispatch, Resource, Scheduler};
use common::{Gate, hold, join, outcome};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

type Log = Resource<Vec<u64>>;

/// Resources that differ in which threads run their tasks.
fn kinds() -> Vec<(&'static str, Log)> {
    let build = |limit: usize, time: Duration, dispatch: Dispatch| {
        Resource::builder()
            .capture_limit(limit)
            .capture_time(time)
            .dispatch(dispatch)
            .build(Vec::new())
            .unwrap()
    };
    let long = Duration::from_secs(3600);
    vec![
        ("default", Resource::new(Vec::new())),
        ("own task only", build(1, long, Dispatch::Inline)),
        ("two at most", build(2, long, Dispatch::Inline)),
        (
            "captured for ever",
            build(usize::MAX, long, Dispatch::Inline),
        ),
        ("no time", build(10, Duration::ZERO, Dispatch::Inline)),
        ("pool", build(10, long, Dispatch::Pool)),
    ]
}

fn assert_in_order(kind: &str, log: &Log, count: u64) {
    let seen = log.with(std::mem::take).unwrap();
    assert_eq!(seen.len() as u64, count, "{kind}: lost or doubled");
    let expected: Vec<u64> = (0..count).collect();
    assert_eq!(seen, expected, "{kind}: out of order");
}

#[test]
fn queued_tasks_run_in_submission_order() {
    for (kind, log) in kinds() {
        let held = hold(&log);
        for n in 0..300 {
            match n % 3 {
                0 => log.execute(move |v| v.push(n)).unwrap(),
                1 => drop(log.submit(move |v| v.push(n))),
                _ => drop(log.try_submit(move |v| v.push(n)).unwrap()),
            }
        }
        held.release();
        assert_in_order(kind, &log, 300);
    }
}

#[test]
fn single_submitter_keeps_order_across_handoffs() {
    // No task blocks the resource. Some tasks run on the caller, and others queue behind tasks that
    // a worker took over.
    for (kind, log) in kinds() {
        for n in 0..20_000 {
            log.execute(move |v| v.push(n)).unwrap();
        }
        assert_in_order(kind, &log, 20_000);
    }
}

/// Threads pass a baton, and each submits while holding the baton. Every submission therefore
/// happens before the next, on changing threads.
#[test]
fn order_holds_when_submitting_thread_changes() {
    const THREADS: u64 = 4;
    const TURNS: u64 = 500;
    for (kind, log) in kinds() {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..THREADS).map(|_| mpsc::channel::<u64>()).unzip();
        let noise = Gate::new();
        let disturb = {
            // Keeps the role changing threads, without a trace in the log.
            let (log, stop) = (log.clone(), noise.clone());
            thread::spawn(move || {
                while !stop.is_open() {
                    log.execute(|_| ()).unwrap();
                    log.with(|_| ()).unwrap();
                }
            })
        };
        let threads: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(at, baton)| {
                let next = senders[(at + 1) % THREADS as usize].clone();
                let log = log.clone();
                thread::spawn(move || {
                    for turn in baton {
                        if turn == THREADS * TURNS {
                            let _ = next.send(turn);
                            return;
                        }
                        match turn % 4 {
                            0 => log.execute(move |v| v.push(turn)).unwrap(),
                            1 => drop(log.submit(move |v| v.push(turn))),
                            2 => drop(log.try_submit(move |v| v.push(turn)).unwrap()),
                            _ => log.with(|v| v.push(turn)).unwrap(),
                        }
                        let _ = next.send(turn + 1);
                    }
                })
            })
            .collect();
        senders[0].send(0).unwrap();
        for thread in threads {
            join(thread).unwrap();
        }
        noise.open();
        join(disturb).unwrap();
        assert_in_order(kind, &log, THREADS * TURNS);
    }
}

/// Each producer's tasks run in the producer's order, whatever the other producers do.
#[test]
fn each_producer_keeps_order_during_contention() {
    const PRODUCERS: u64 = 4;
    const EACH: u64 = 3_000;
    for (kind, log) in kinds() {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|p| {
                let log = log.clone();
                thread::spawn(move || {
                    for n in 0..EACH {
                        let tag = p << 32 | n;
                        match n % 5 {
                            0 => log.with(|v| v.push(tag)).unwrap(),
                            1 => drop(log.submit(move |v| v.push(tag))),
                            _ => log.execute(move |v| v.push(tag)).unwrap(),
                        }
                    }
                })
            })
            .collect();
        for producer in producers {
            join(producer).unwrap();
        }
        let all = log.with(std::mem::take).unwrap();
        assert_eq!(all.len() as u64, PRODUCERS * EACH, "{kind}");
        for p in 0..PRODUCERS {
            let of_p: Vec<u64> = all
                .iter()
                .filter(|tag| **tag >> 32 == p)
                .map(|tag| tag & 0xffff_ffff)
                .collect();
            assert!(of_p.iter().copied().eq(0..EACH), "{kind}: producer {p}");
        }
    }
}

#[test]
fn self_submitted_task_runs_after_queued_tasks() {
    let log: Log = Resource::new(Vec::new());
    let running = Gate::new();
    let go = Gate::new();
    let inner = log.clone();
    let (task_running, task_go) = (running.clone(), go.clone());
    let holder = {
        let log = log.clone();
        thread::spawn(move || {
            log.with(move |v| {
                task_running.open();
                task_go.wait();
                inner.execute(|v| v.push(2)).unwrap();
                v.push(0);
            })
        })
    };
    running.wait();
    log.execute(|v| v.push(1)).unwrap();
    go.open();
    assert_eq!(join(holder).unwrap(), Ok(()));
    assert_in_order("inside", &log, 3);
}

#[test]
fn order_holds_when_submitter_takes_over_queue() {
    // The executor keeps the jobs, so the queue is on offer. The next submitter takes the queue
    // over, and its own task runs behind all queued tasks.
    let (send, jobs) = mpsc::channel();
    let scheduler = Scheduler::builder()
        .executor(move |job| drop(send.send(job)))
        .build()
        .unwrap();
    let log: Log = Resource::builder()
        .scheduler(&scheduler)
        .capture_limit(3)
        .capture_time(Duration::from_secs(3600))
        .build(Vec::new())
        .unwrap();
    let held = hold(&log);
    for n in 0..6 {
        log.execute(move |v| v.push(n)).unwrap();
    }
    held.release();
    let last = log.submit(|v| v.push(6));
    assert!(!last.is_finished());
    for job in jobs.try_iter() {
        job.run();
    }
    assert_eq!(outcome(last), Ok(()));
    assert_in_order("taken over", &log, 7);
}

#[test]
fn completion_makes_task_writes_visible() {
    // The task writes through a plain pointer that only the task and the waiter reach. The
    // completion alone orders the two accesses.
    let r = Resource::new(0_u64);
    for round in 0..500_u64 {
        let held = (round % 50 == 0).then(|| hold(&r));
        let mut outside = Box::new(0_u64);
        let done: Completion<Box<u64>> = r.submit(move |n| {
            *n += 1;
            *outside = *n;
            outside
        });
        drop(held);
        assert_eq!(outcome(done).map(|b| *b), Ok(round + 1));
    }
}
