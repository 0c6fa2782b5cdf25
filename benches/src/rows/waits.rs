//! Tasks that wait and keep the value, and timers.

use super::contestant;
use crate::contest::{Contest, Contestant};
use crate::measure::{Lap, Tally};
use crate::rivals::runtime;
use crate::work::{Op, Topic};
use captor::Resource;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const BATCH: u64 = 10_000;

/// One caller, calls that never come to wait.
fn ready(name: &'static str, call: fn(&Resource<Topic>) -> u64) -> Contestant {
    contestant(name, true, move |time| {
        let r = Resource::<Topic>::default();
        Lap::measure(|_| {
            let (end, mut ops) = (Instant::now() + time, 0);
            while Instant::now() < end {
                for _ in 0..BATCH {
                    black_box(call(&r));
                }
                ops += BATCH;
            }
            assert_eq!(call(&r), ops + 1, "each ran exactly once");
            Tally::of(ops)
        })
    })
}

const TASKS: u64 = 16;
const CALLS: u64 = 1_000;

/// So many tokio tasks; each of their calls waits once, with the value in hand, for
/// tokio to come round.
fn woken<S, F>(name: &'static str, shared: fn() -> S, call: fn(S) -> F) -> Contestant
where
    S: Clone + Send + 'static,
    F: Future<Output = u64> + Send + 'static,
{
    contestant(name, false, move |_| {
        let shared = shared();
        Lap::measure(|_| {
            let task = |shared: S| async move {
                for _ in 0..CALLS {
                    black_box(call(shared.clone()).await);
                }
            };
            runtime().block_on(async {
                let tasks = (0..TASKS).map(|_| tokio::spawn(task(shared.clone())));
                for task in tasks.collect::<Vec<_>>() {
                    task.await.expect("it ran");
                }
                assert_eq!(call(shared.clone()).await, TASKS * CALLS + 1);
            });
            Tally::of(TASKS * CALLS)
        })
    })
}

async fn by_captor(r: Resource<Topic>) -> u64 {
    let wait = async |t: &mut Topic| {
        tokio::task::yield_now().await;
        Op::TINY.run(t)
    };
    r.submit_async(wait).await.expect("open")
}

async fn by_tokio(m: Arc<Mutex<Topic>>) -> u64 {
    let mut topic = m.lock().await;
    tokio::task::yield_now().await;
    Op::TINY.run(&mut topic)
}

const TIMERS: u64 = 20_000;

fn after(n: u64) -> Duration {
    Duration::from_micros(n * 7 % 20_000)
}

/// So many timers over 20 ms: how long until all have rung, and what that takes.
fn timers(name: &'static str, set: fn() -> u64) -> Contestant {
    contestant(name, false, move |_| {
        Lap::measure(|watch| {
            assert_eq!(set(), TIMERS);
            watch.look();
            Tally::of(TIMERS)
        })
    })
}

fn timers_by_captor() -> u64 {
    let r = Resource::new(0);
    let all: Vec<_> = (0..TIMERS)
        .map(|n| r.submit_after(after(n), |rung| *rung += 1))
        .collect();
    for one in all {
        one.wait().expect("open");
    }
    r.with(|rung| *rung).expect("open")
}

fn timers_by_tokio() -> u64 {
    let rung = Arc::new(parking_lot::Mutex::new(0));
    runtime().block_on(async {
        let all: Vec<_> = (0..TIMERS)
            .map(|n| {
                let rung = Arc::clone(&rung);
                tokio::spawn(async move {
                    tokio::time::sleep(after(n)).await;
                    *rung.lock() += 1;
                })
            })
            .collect();
        for one in all {
            one.await.expect("it ran");
        }
    });
    *rung.lock()
}

pub fn rows() -> Vec<Contest> {
    let submit = |r: &Resource<Topic>| r.submit(|t| Op::TINY.run(t)).wait().expect("open");
    let submit_async = |r: &Resource<Topic>| {
        let task = r.submit_async(async |t| Op::TINY.run(t));
        task.wait().expect("open")
    };
    vec![
        Contest {
            name: "waits/ready".into(),
            question: "What does an asynchronous task cost that never comes to wait?",
            ours: vec![ready("captor submit_async", submit_async)],
            rivals: vec![ready("captor submit", submit)],
            bars: Vec::new(),
            width: 1,
        },
        Contest {
            name: "waits/woken".into(),
            question: "Sixteen tokio tasks; each call waits once, with the value in hand.",
            ours: vec![woken("captor submit_async", Resource::default, by_captor)],
            rivals: vec![woken("tokio mutex", Arc::default, by_tokio)],
            bars: Vec::new(),
            width: 2,
        },
        Contest {
            name: "timers/20000".into(),
            question: "Twenty thousand timers within 20 ms: how many ring a second?",
            ours: vec![timers("captor submit_after", timers_by_captor)],
            rivals: vec![timers("tokio sleep", timers_by_tokio)],
            bars: Vec::new(),
            width: 2,
        },
    ]
}
