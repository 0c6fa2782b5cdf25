//! The workload: a small broker's resources, and threads that publish to them.

use captor::{Dispatch, Resource, Scheduler};
use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The highest number of producers.
pub(crate) const MAX_PRODUCERS: usize = 16;

/// The longest task, in microseconds.
pub(crate) const MAX_TASK: u64 = 5_000;

/// The settings that the keys change.
#[derive(Debug)]
pub(crate) struct Knobs {
    pub(crate) producers: AtomicUsize,
    /// How long a task takes, in microseconds.
    pub(crate) task: AtomicU64,
    pub(crate) bursts: AtomicBool,
    pub(crate) paused: AtomicBool,
    ends: AtomicBool,
}

/// The threads that publish.
pub(crate) struct Load {
    pub(crate) knobs: Arc<Knobs>,
    threads: Vec<JoinHandle<()>>,
}

type Topic = Resource<u64>;

fn topics(scheduler: &Scheduler) -> Result<Vec<Topic>, captor::BuildError> {
    let topic = |name: &str| {
        Resource::builder()
            .scheduler(scheduler)
            .name(name)
            .timings(true)
            .slow_task(Duration::from_millis(500))
    };
    Ok(vec![
        topic("orders").priorities(3).capacity(10_000).build(0)?,
        topic("payments").capacity(200).build(0)?,
        topic("sessions").build(0)?,
        topic("acks").build(0)?,
        topic("audit")
            .dispatch(Dispatch::Pool)
            .capacity(2_000)
            .build(0)?,
        topic("search")
            .dispatch(Dispatch::Pool)
            .capacity(2_000)
            .build(0)?,
        topic("billing").capture_limit(1).build(0)?,
        topic("retained").build(0)?,
    ])
}

impl Load {
    /// Makes the resources of this scheduler, and starts the threads that use them.
    pub(crate) fn start(scheduler: &Scheduler) -> Result<Load, Box<dyn std::error::Error>> {
        let topics = topics(scheduler)?;
        let knobs = Arc::new(Knobs {
            producers: AtomicUsize::new(3),
            task: AtomicU64::new(20),
            bursts: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let threads = (0..MAX_PRODUCERS)
            .map(|id| {
                let (topics, knobs) = (topics.clone(), Arc::clone(&knobs));
                let builder = thread::Builder::new().name(format!("producer-{id}"));
                builder.spawn(move || produce(id, &topics, &knobs))
            })
            .collect::<Result<_, _>>()?;
        Ok(Load { knobs, threads })
    }

    /// Stops the producers.
    pub(crate) fn stop(self) {
        self.knobs.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn produce(id: usize, topics: &[Topic], knobs: &Knobs) {
    let mut rng = rand::rng();
    let since = Instant::now();
    while !knobs.ends.load(Ordering::Relaxed) {
        let quiet = knobs.bursts.load(Ordering::Relaxed) && since.elapsed().as_secs() % 4 < 3;
        let idle = id >= knobs.producers.load(Ordering::Relaxed);
        if idle || quiet || knobs.paused.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        for _ in 0..32 {
            // The first topics are the busiest.
            let at = rng
                .random_range(0..topics.len())
                .min(rng.random_range(0..topics.len()));
            publish(&topics[at], knobs.task.load(Ordering::Relaxed), &mut rng);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Submits one task. Refusals and expiries are not errors here: the dashboard shows them.
fn publish(topic: &Topic, micros: u64, rng: &mut impl Rng) {
    let work = move |n: &mut u64| {
        *n += 1;
        let until = Instant::now() + Duration::from_micros(micros);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    };
    let _ = match rng.random_range(0..10) {
        0 => topic
            .task()
            .name("impatient")
            .timeout(Duration::from_millis(5))
            .execute(work),
        1 if topic.name() == Some("orders") => topic.task().priority(0).execute(work),
        _ => topic.execute(work),
    };
}
