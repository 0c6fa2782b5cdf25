//! The workloads: a counter and eight words behind it, as a broker's topic
//! would have at its least.

use crate::contest::{Contest, Contestant, Lap};
use captor::Resource;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Topic {
    count: u64,
    words: [u64; 8],
}

impl Topic {
    /// The tiny task.
    #[inline]
    fn touch(&mut self) -> u64 {
        self.count += 1;
        let i = self.count as usize % 8;
        self.words[i] = self.words[i].wrapping_add(self.count);
        self.count
    }
}

/// One way to have `touch` called and its result returned.
trait Guarded: Send + Sync + 'static {
    fn touch(&self) -> u64;
    /// The same without waiting for it.
    fn detach(&self) {
        self.touch();
    }
}

impl Guarded for std::sync::Mutex<Topic> {
    #[inline]
    fn touch(&self) -> u64 {
        self.lock().unwrap().touch()
    }
}

impl Guarded for parking_lot::Mutex<Topic> {
    #[inline]
    fn touch(&self) -> u64 {
        self.lock().touch()
    }
}

struct With(Resource<Topic>);
impl Guarded for With {
    #[inline]
    fn touch(&self) -> u64 {
        self.0.with(|t| t.touch()).unwrap()
    }
    #[inline]
    fn detach(&self) {
        self.0.execute(|t| t.touch()).unwrap();
    }
}

struct Submit(Resource<Topic>);
impl Guarded for Submit {
    #[inline]
    fn touch(&self) -> u64 {
        self.0.submit(|t| t.touch()).wait().unwrap()
    }
}

fn with() -> Arc<With> {
    Arc::new(With(Resource::default()))
}

fn submit() -> Arc<Submit> {
    Arc::new(Submit(Resource::default()))
}

/// One thread, nobody else: calls in batches until the time is over.
fn alone(g: &impl Guarded, time: Duration) -> Lap {
    Lap::measure(|| {
        let end = Instant::now() + time;
        let mut ops = 0;
        while Instant::now() < end {
            for _ in 0..10_000 {
                black_box(g.touch());
            }
            ops += 10_000;
        }
        (ops, Duration::ZERO)
    })
}

/// Threads that each call and take the result, as fast as they can.
fn crowd(g: &Arc<impl Guarded>, threads: usize, time: Duration, detached: bool) -> Lap {
    let call = |g: &Arc<_>| {
        if detached {
            Guarded::detach(&**g);
        } else {
            black_box(Guarded::touch(&**g));
        }
    };
    let before = g.touch();
    let (start, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let mut calls = 0;
    std::thread::scope(|s| {
        let each: Vec<_> = (0..threads)
            .map(|_| {
                s.spawn(|| {
                    start.wait();
                    let (mut ops, mut longest) = (0, Duration::ZERO);
                    while !stop.load(Ordering::Relaxed) {
                        // One in 64 is timed, so that the clock does not count.
                        let timed = Instant::now();
                        call(g);
                        longest = longest.max(timed.elapsed());
                        for _ in 1..64 {
                            call(g);
                        }
                        ops += 64;
                    }
                    (ops, longest)
                })
            })
            .collect();
        Lap::measure(|| {
            start.wait();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            let mut worst = Duration::ZERO;
            for thread in each {
                let (ops, longest) = thread.join().unwrap();
                calls += ops;
                worst = worst.max(longest);
            }
            // Detached ones count once they have run.
            let ran = g.touch() - before - 1;
            assert_eq!(ran, calls, "every call ran exactly once");
            (calls, worst)
        })
    })
}

fn contestant<G: Guarded>(
    name: &'static str,
    make: fn() -> Arc<G>,
    lap: impl Fn(&Arc<G>, Duration) -> Lap + 'static,
) -> Contestant {
    let g = make();
    (name, Box::new(move |time| lap(&g, time)))
}

fn std_mutex() -> Arc<std::sync::Mutex<Topic>> {
    Arc::default()
}

fn parking_lot_mutex() -> Arc<parking_lot::Mutex<Topic>> {
    Arc::default()
}

pub fn idle() -> Contest {
    Contest {
        name: "idle".into(),
        contestants: vec![
            contestant("captor submit", submit, |g, t| alone(&**g, t)),
            contestant("captor with", with, |g, t| alone(&**g, t)),
            contestant("parking_lot", parking_lot_mutex, |g, t| alone(&**g, t)),
            contestant("std", std_mutex, |g, t| alone(&**g, t)),
        ],
    }
}

pub fn closed_loop(threads: usize) -> Contest {
    Contest {
        name: format!("closed/{threads}"),
        contestants: vec![
            contestant("captor with", with, move |g, t| crowd(g, threads, t, false)),
            contestant("captor submit", submit, move |g, t| {
                crowd(g, threads, t, false)
            }),
            contestant("parking_lot", parking_lot_mutex, move |g, t| {
                crowd(g, threads, t, false)
            }),
            contestant("std", std_mutex, move |g, t| crowd(g, threads, t, false)),
        ],
    }
}

pub fn detached(threads: usize) -> Contest {
    Contest {
        name: format!("execute/{threads}"),
        contestants: vec![
            contestant("captor execute", with, move |g, t| {
                crowd(g, threads, t, true)
            }),
            contestant("parking_lot", parking_lot_mutex, move |g, t| {
                crowd(g, threads, t, true)
            }),
            contestant("std", std_mutex, move |g, t| crowd(g, threads, t, true)),
        ],
    }
}
