//! Tasks that wait while they keep the value, and timers.

use super::contestant;
use crate::contest::{Contest, Contestant};
use crate::measure::{Lap, Tally};
use crate::rivals::runtime;
use crate::work::{Op, Topic};
use captor::{Job, Resource, Scheduler};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, oneshot};

const BATCH: u64 = 10_000;

/// One caller, whose calls never wait.
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

/// One tokio task that locks tokio's mutex for calls that never wait.
fn ready_by_tokio(name: &'static str) -> Contestant {
    contestant(name, true, move |time| {
        let shared = Arc::new(Mutex::new(Topic::default()));
        Lap::measure(|_| {
            let calls = async move {
                let (end, mut ops) = (Instant::now() + time, 0);
                while Instant::now() < end {
                    for _ in 0..BATCH {
                        let mut topic = shared.lock().await;
                        black_box(async { Op::TINY.run(&mut topic) }.await);
                    }
                    ops += BATCH;
                }
                ops
            };
            Tally::of(runtime().block_on(async { tokio::spawn(calls).await.expect("it ran") }))
        })
    })
}

const TASKS: u64 = 16;
const CALLS: u64 = 1_000;

/// [`TASKS`] tokio tasks. Each of their calls waits once, with the value in hand.
fn waiting<S, F>(name: &'static str, shared: fn() -> S, call: fn(S) -> F) -> Contestant
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
                let last = tokio::spawn(call(shared)).await.expect("it ran");
                assert_eq!(last, TASKS * CALLS + 1);
            });
            Tally::of(TASKS * CALLS)
        })
    })
}

/// Makes a resource whose hand-offs run on tokio's threads.
fn on_tokio() -> Resource<Topic> {
    let by_tokio = |job: Job| drop(runtime().spawn(async { job.run() }));
    let scheduler = Scheduler::builder().executor(by_tokio).build();
    scheduler
        .expect("nothing is wrong")
        .resource(Topic::default())
}

/// Waits until tokio polls the task again.
async fn round() {
    tokio::task::yield_now().await;
}

/// Waits for the answer of another thread.
async fn answer() {
    static SERVER: OnceLock<mpsc::Sender<oneshot::Sender<()>>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let (requests, received) = mpsc::channel::<oneshot::Sender<()>>();
        std::thread::spawn(move || {
            for to in received {
                // A caller that gave up does not wait for the answer.
                let _ = to.send(());
            }
        });
        requests
    });
    let (to, answer) = oneshot::channel();
    server.send(to).expect("it serves for ever");
    answer.await.expect("it answers");
}

async fn by_captor<F>(r: Resource<Topic>, wait: fn() -> F) -> u64
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = async move |t: &mut Topic| {
        wait().await;
        Op::TINY.run(t)
    };
    r.submit_async(task).await.expect("open")
}

async fn by_tokio<F: Future<Output = ()>>(m: Arc<Mutex<Topic>>, wait: fn() -> F) -> u64 {
    let mut topic = m.lock().await;
    wait().await;
    Op::TINY.run(&mut topic)
}

const TIMERS: u64 = 20_000;

fn after(n: u64) -> Duration {
    Duration::from_micros(n * 7 % 20_000)
}

/// [`TIMERS`] timers within 20 ms: measures the time until all have rung, and the cost.
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

const LATER: Duration = Duration::from_secs(3600);

/// One task that sets timers and takes them back before they ring, as timeouts do.
fn timeouts<S: Future<Output = ()> + 'static>(name: &'static str, sleep: fn() -> S) -> Contestant {
    contestant(name, true, move |time| {
        Lap::measure(|_| {
            let (end, mut ops) = (Instant::now() + time, 0);
            runtime().block_on(async {
                while Instant::now() < end {
                    for _ in 0..BATCH / 10 {
                        assert!(futures::poll!(pin!(sleep())).is_pending());
                    }
                    ops += BATCH / 10;
                }
            });
            Tally::of(ops)
        })
    })
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
            rivals: vec![
                ready("captor submit", submit),
                ready_by_tokio("tokio mutex"),
            ],
            bars: Vec::new(),
            width: 1,
        },
        Contest {
            name: "waits/round".into(),
            question: "Sixteen tokio tasks; each call waits for tokio to come round, with the value in hand.",
            ours: vec![
                waiting("captor submit_async", Resource::default, |r| {
                    by_captor(r, round)
                }),
                waiting("captor on tokio's threads", on_tokio, |r| {
                    by_captor(r, round)
                }),
            ],
            rivals: vec![waiting("tokio mutex", Arc::default, |m| by_tokio(m, round))],
            bars: Vec::new(),
            width: 2,
        },
        Contest {
            name: "waits/answer".into(),
            question: "The same, but each call waits for another thread's answer.",
            ours: vec![
                waiting("captor submit_async", Resource::default, |r| {
                    by_captor(r, answer)
                }),
                waiting("captor on tokio's threads", on_tokio, |r| {
                    by_captor(r, answer)
                }),
            ],
            rivals: vec![waiting("tokio mutex", Arc::default, |m| {
                by_tokio(m, answer)
            })],
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
        Contest {
            name: "timers/taken back".into(),
            question: "A timer of an hour, set and taken back, one after the other.",
            ours: vec![timeouts("captor sleep", || {
                Scheduler::global().sleep(LATER)
            })],
            rivals: vec![timeouts("tokio sleep", || tokio::time::sleep(LATER))],
            bars: Vec::new(),
            width: 1,
        },
    ]
}
