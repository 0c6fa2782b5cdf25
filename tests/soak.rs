//! All operations at once, for any length of time: many threads on many resources, with panics,
//! cancellations, closing, nesting, and executors that misbehave. At the end every task must be
//! accounted for.
//!
//! `CAPTOR_SOAK_SECS` sets the time (default 10 s), `CAPTOR_SOAK_THREADS` the number of threads
//! (default 64), `CAPTOR_SOAK_SEED` the seed. A thread that makes no progress for a minute is a
//! hang. The run then prints all that is known and aborts.

#![cfg(not(any(captor_loom, captor_shuttle)))]

mod ledger;

use captor::{
    Completion, Dispatch, HealError, Job, PanicPolicy, Resource, Scheduler, TaskError,
    TrySubmitError,
};
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::task::noop_waker;
use ledger::{Ledger, Receipt, Rng, Ticket, Totals, Value, Verdict};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};

const RESOURCES: usize = 100;
const CAPACITY: usize = 2048;
const MAX_NESTING: usize = 3;
const STALL: Duration = Duration::from_secs(60);

/// A resource and the ledger of its tasks.
struct Live {
    resource: Resource<Value>,
    ledger: Arc<Ledger>,
    /// The number of its priority levels.
    levels: u8,
    /// Its tasks may have to wait for a thread of an executor that has few threads. Tasks do not
    /// block for such a resource, since in the end no thread would be left.
    starvable: bool,
}

struct World {
    slots: Vec<Mutex<Arc<Live>>>,
    retired: Mutex<Vec<Arc<Live>>>,
    mail: Mutex<Vec<Kept>>,
    /// Each scheduler, and whether it has few threads.
    schedulers: Vec<(Scheduler, bool)>,
    beats: Vec<AtomicU64>,
    totals: Mutex<(Totals, u64)>,
    handoffs: AtomicU64,
    stop: AtomicBool,
}

/// A completion to be used later.
struct Kept {
    live: Arc<Live>,
    id: u32,
    completion: Completion<Receipt>,
}

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

fn schedulers() -> Vec<(Scheduler, bool)> {
    let pool = |n| Scheduler::builder().workers(n).build().unwrap();
    let spawning = Scheduler::builder()
        .executor(|job: Job| drop(thread::spawn(|| job.run())))
        .build();
    let dropping = Scheduler::builder().executor(|job: Job| drop(job)).build();
    let on_the_spot = Scheduler::builder().executor(|job: Job| job.run()).build();
    let rayon = Scheduler::builder()
        .executor(|job: Job| rayon::spawn(|| job.run()))
        .build();
    let (send, receive) = channel::<Job>();
    thread::spawn(move || receive.into_iter().for_each(Job::run));
    let single = Scheduler::builder()
        .quantum(Duration::ZERO)
        .executor(move |job: Job| drop(send.send(job)))
        .build();
    let fickle = AtomicUsize::new(0);
    let panicking = Scheduler::builder()
        .executor(move |job: Job| {
            if fickle.fetch_add(1, SeqCst) % 3 == 0 {
                ledger::intended_panic();
            }
            thread::spawn(|| job.run());
        })
        .build();
    vec![
        (Scheduler::global().clone(), false),
        (pool(1), false),
        (pool(2), false),
        (spawning.unwrap(), false),
        (dropping.unwrap(), false),
        (on_the_spot.unwrap(), false),
        (rayon.unwrap(), true),
        (single.unwrap(), true),
        (panicking.unwrap(), false),
    ]
}

impl World {
    fn new(threads: usize, rng: &mut Rng) -> Arc<World> {
        let schedulers = schedulers();
        let slots = (0..RESOURCES)
            .map(|_| Mutex::new(Self::fresh(&schedulers, rng)))
            .collect();
        Arc::new(World {
            slots,
            retired: Mutex::default(),
            mail: Mutex::default(),
            schedulers,
            beats: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            totals: Mutex::default(),
            handoffs: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn fresh(schedulers: &[(Scheduler, bool)], rng: &mut Rng) -> Arc<Live> {
        let poison = rng.once_in(4);
        let ledger = Ledger::new(CAPACITY, poison);
        let (scheduler, few) = &schedulers[rng.below(schedulers.len() as u64) as usize];
        let mut builder = Resource::builder().scheduler(scheduler);
        if poison {
            builder = builder.panic_policy(PanicPolicy::Poison);
        }
        if rng.once_in(4) {
            builder = builder.dispatch(Dispatch::Pool);
        }
        if rng.once_in(2) {
            builder = builder.capture_limit(1 + rng.below(12) as usize);
        }
        if rng.once_in(8) {
            builder = builder.capture_time(Duration::from_micros(rng.below(50)));
        }
        let levels = 1 + rng.below(3) as u8;
        builder = builder.priorities(levels.into());
        if rng.once_in(4) {
            builder = builder.timings(true);
        }
        if rng.once_in(8) {
            builder = builder.slow_task(Duration::from_millis(1));
        }
        Arc::new(Live {
            levels,
            resource: builder.build(Value::new(&ledger)).unwrap(),
            ledger,
            starvable: *few,
        })
    }

    /// Picks a resource. A few resources are picked far more often.
    fn pick(&self, rng: &mut Rng) -> Arc<Live> {
        let range = if rng.once_in(2) { 5 } else { RESOURCES as u64 };
        self.slots[rng.below(range) as usize]
            .lock()
            .unwrap()
            .clone()
    }

    /// Closes a resource, and puts a new resource in its place.
    fn replace(&self, live: &Arc<Live>, rng: &mut Rng) {
        live.ledger.closing(|| live.resource.close());
        for slot in &self.slots {
            let mut slot = slot.lock().unwrap();
            if Arc::ptr_eq(&slot, live) {
                let old = std::mem::replace(&mut *slot, Self::fresh(&self.schedulers, rng));
                drop(slot);
                self.retired.lock().unwrap().push(old);
                return;
            }
        }
    }

    /// Audits a closed resource that no thread uses any more. Returns `false` if there is none.
    fn collect(&self) -> bool {
        let mut retired = self.retired.lock().unwrap();
        let Some(at) = retired.iter().position(|r| Arc::strong_count(r) == 1) else {
            return false;
        };
        let live = Arc::into_inner(retired.swap_remove(at)).expect("the only reference");
        drop(retired);
        self.audit(live);
        true
    }

    fn audit(&self, live: Live) {
        let Live {
            resource, ledger, ..
        } = live;
        let ended = resource.wait_closed(STALL);
        let stats = resource.stats();
        assert!(ended, "the resource never ended: {resource:?} {stats:#?}");
        drop(resource);
        let deadline = Instant::now() + STALL;
        while !ledger.value_is_gone() {
            assert!(Instant::now() < deadline, "the value was never dropped");
            thread::yield_now();
        }
        match ledger.audit(Some(&stats)) {
            Ok(totals) => {
                let mut sums = self.totals.lock().unwrap();
                sums.0.add(&totals);
                sums.1 += 1;
                self.handoffs.fetch_add(stats.handoffs, SeqCst);
            }
            Err(faults) => {
                eprintln!("{faults}");
                std::process::abort();
            }
        }
    }
}

/// The body of a task: mostly empty, sometimes another operation.
fn body(world: &Arc<World>, rng: &mut Rng, nesting: usize) {
    if rng.once_in(64) {
        thread::sleep(Duration::from_micros(rng.below(50)));
    }
    if nesting < MAX_NESTING && rng.once_in(4) {
        let live = world.pick(rng);
        operate(world, &live, rng, nesting + 1, &mut Vec::new());
    }
}

type Work = Box<dyn FnOnce(&mut Value) -> Receipt + Send>;

/// Makes a task's closure. The closure is boxed, so that all closures have one type, and wrapped in
/// a plain closure for each call.
fn task(world: &Arc<World>, mut ticket: Ticket, rng: &mut Rng, nesting: usize) -> Work {
    let panics = rng.once_in(16);
    if rng.once_in(32) {
        ticket.make_brittle();
    }
    let mut rng = Rng::new(rng.next());
    let world = Arc::clone(world);
    Box::new(move |value| ticket.run(value, panics, || body(&world, &mut rng, nesting)))
}

/// Performs a random operation on `live`.
fn operate(
    world: &Arc<World>,
    live: &Arc<Live>,
    rng: &mut Rng,
    nesting: usize,
    kept: &mut Vec<Kept>,
) {
    match rng.below(400) {
        0..4 => live.ledger.took_out(live.resource.cancel_pending()),
        4 => world.replace(live, rng),
        5..10 => heal(live, rng),
        10..14 => drop(block_timeout(live, rng)),
        14 => drop(format!("{live:?} {:?}", live.resource.stats())),
        _ => {
            if live.ledger.is_full() {
                return world.replace(live, rng);
            }
            let Some(ticket) = live.ledger.begin() else {
                return;
            };
            submit(world, live, ticket, rng, nesting, kept);
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.resource.fmt(f)
    }
}

/// Calls `wait_closed`, which mostly times out.
fn block_timeout(live: &Arc<Live>, rng: &mut Rng) -> bool {
    let ended = live
        .resource
        .wait_closed(Duration::from_micros(rng.below(200)));
    if ended && !live.resource.is_closed() {
        live.ledger.fault("ended, but not closed".to_owned());
    }
    ended
}

fn heal(live: &Arc<Live>, rng: &mut Rng) {
    let panics = rng.once_in(4);
    let healed = live.resource.clear_poison(|value| {
        if panics {
            ledger::intended_panic();
        }
        value.healed();
    });
    if let Err(HealError::Panicked(payload)) = healed {
        if !ledger::intended(payload.into_payload()) {
            live.ledger
                .fault("healing panicked, not as intended".to_owned());
        }
    }
}

fn submit(
    world: &Arc<World>,
    live: &Arc<Live>,
    ticket: Ticket,
    rng: &mut Rng,
    nesting: usize,
    kept: &mut Vec<Kept>,
) {
    let (id, ledger) = (ticket.id, &live.ledger);
    let level = rng.below(live.levels.into()) as u8;
    ledger.set_level(id, level);
    let mut builder = live.resource.task().priority(level);
    if rng.once_in(8) {
        builder = builder.timeout(Duration::from_micros(rng.below(200)));
    }
    // A task on a pool with few threads must not block for another task.
    let may_block = nesting == 0 || !live.starvable;
    match rng.below(10) {
        0..2 if may_block => {
            let panics = rng.once_in(16);
            let mut inner = Rng::new(rng.next());
            let outcome =
                builder.with(|v| ticket.run(v, panics, || body(world, &mut inner, nesting)));
            ledger.submitted(id);
            ledger.outcome(id, outcome);
        }
        0..5 => {
            let work = task(world, ticket, rng, nesting);
            let brittle = rng.once_in(32);
            let done = if brittle {
                // The result panics when it is dropped, inside the task.
                builder.execute(move |v| drop(work(v).brittle_in_execute()))
            } else {
                builder.name("soak").execute(move |v| drop(work(v)))
            };
            ledger.submitted(id);
            if let Err(error) = done {
                ledger.refused(id, error);
            }
        }
        5 => {
            let work = task(world, ticket, rng, nesting);
            let tried = builder.try_submit(move |v: &mut Value| work(v));
            ledger.submitted(id);
            match tried {
                Ok(completion) => {
                    let live = Arc::clone(live);
                    let one = Kept {
                        live,
                        id,
                        completion,
                    };
                    dispose(world, one, rng, nesting, kept);
                }
                Err(refused) => {
                    let verdict = match refused {
                        TrySubmitError::Poisoned(_) => Verdict::Poisoned,
                        _ => Verdict::Closed,
                    };
                    ledger.settled(id, verdict);
                    // A brittle closure panics when it is dropped here.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(refused)));
                }
            }
        }
        _ => {
            let work = task(world, ticket, rng, nesting);
            let completion = builder.submit(move |v| work(v));
            ledger.submitted(id);
            let live = Arc::clone(live);
            let one = Kept {
                live,
                id,
                completion,
            };
            dispose(world, one, rng, nesting, kept);
        }
    }
}

/// Uses a completion in a random way.
fn dispose(world: &Arc<World>, one: Kept, rng: &mut Rng, nesting: usize, kept: &mut Vec<Kept>) {
    let Kept {
        live,
        id,
        mut completion,
    } = one;
    let ledger = &live.ledger;
    let may_block = nesting == 0 || !live.starvable;
    match rng.below(12) {
        0 => drop(completion),
        1 => {
            ledger.unwanted();
            drop(completion.cancel_on_drop());
        }
        2 => {
            // Polled once, leaving a waker behind.
            let waker = noop_waker();
            if let std::task::Poll::Ready(outcome) =
                Pin::new(&mut completion).poll(&mut Context::from_waker(&waker))
            {
                ledger.outcome(id, outcome);
            } else if rng.once_in(2) {
                ledger.unwanted();
                drop(completion.cancel_on_drop());
            }
        }
        3 | 4 => {
            let cancelled = completion.cancel();
            if cancelled {
                ledger.took_out(1);
            }
            if may_block {
                wait(completion, ledger, id, cancelled);
            } else if completion.is_finished() {
                ledger.outcome(id, completion.wait());
            }
        }
        5 if nesting == 0 => ledger.outcome(id, block_on(completion)),
        6 if nesting == 0 => {
            // Polled twice: first beside a future that is ready, then alone.
            let ready = pin!(async {});
            match block_on(select(completion, ready)) {
                Either::Left((outcome, _)) => ledger.outcome(id, outcome),
                Either::Right(((), completion)) => wait(completion, ledger, id, false),
            }
        }
        7 | 8 if may_block => {
            match completion.wait_timeout(Duration::from_micros(rng.below(100))) {
                Ok(Err(TaskError::WouldDeadlock)) => {}
                Ok(outcome) => ledger.outcome(id, outcome),
                Err(completion) if rng.once_in(2) => wait(completion, ledger, id, false),
                Err(completion) => drop(completion),
            }
        }
        9 if may_block => wait(completion, ledger, id, false),
        10 => world.mail.lock().unwrap().push(Kept {
            live,
            id,
            completion,
        }),
        _ => kept.push(Kept {
            live,
            id,
            completion,
        }),
    }
}

fn wait(completion: Completion<Receipt>, ledger: &Arc<Ledger>, id: u32, cancelled: bool) {
    match completion.wait() {
        // The task stays queued, and no waiter learns its outcome.
        Err(TaskError::WouldDeadlock) => {}
        Ok(_) if cancelled => ledger.fault(format!("task {id} was cancelled and returned")),
        outcome => ledger.outcome(id, outcome),
    }
}

fn run_thread(world: &Arc<World>, index: usize, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut kept = Vec::new();
    while !world.stop.load(SeqCst) {
        world.beats[index].fetch_add(1, SeqCst);
        match rng.below(100) {
            0 => drop(world.collect()),
            1..4 => {
                let one = world.mail.lock().unwrap().pop();
                if let Some(one) = one {
                    dispose(world, one, &mut rng, 0, &mut kept);
                }
            }
            4..10 if !kept.is_empty() => {
                let one = kept.swap_remove(rng.below(kept.len() as u64) as usize);
                dispose(world, one, &mut rng, 0, &mut kept);
            }
            _ => {
                let live = world.pick(&mut rng);
                operate(world, &live, &mut rng, 0, &mut kept);
            }
        }
        if kept.len() > 64 {
            kept.drain(..32);
        }
    }
    world.beats[index].store(u64::MAX, SeqCst);
}

/// Prints all that is known and aborts if a thread makes no progress.
fn watch(world: &Arc<World>) {
    let mut seen: Vec<(u64, Instant)> = vec![(0, Instant::now()); world.beats.len()];
    loop {
        thread::sleep(Duration::from_secs(1));
        let mut alive = false;
        for (i, beat) in world.beats.iter().enumerate() {
            let now = beat.load(SeqCst);
            if now == u64::MAX {
                continue;
            }
            alive = true;
            if now != seen[i].0 {
                seen[i] = (now, Instant::now());
            } else if seen[i].1.elapsed() > STALL {
                eprintln!("thread {i} stands still after {now} operations");
                dump(world);
                std::process::abort();
            }
        }
        if !alive {
            return;
        }
    }
}

fn dump(world: &World) {
    for (i, slot) in world.slots.iter().enumerate() {
        if let Ok(live) = slot.try_lock() {
            eprintln!("{i}: {:?} {:?}", live.resource, live.resource.stats());
        }
    }
    if let Ok(retired) = world.retired.try_lock() {
        for live in retired.iter() {
            eprintln!("retired: {live:?} {:?}", live.resource.stats());
        }
    }
    for (scheduler, _) in &world.schedulers {
        eprintln!("{:?}", scheduler.stats());
    }
}

#[test]
#[ignore = "takes as long as CAPTOR_SOAK_SECS says (default 10)"]
fn every_task_is_accounted_for() {
    ledger::silence_intended_panics();
    let seconds = variable("CAPTOR_SOAK_SECS", 10);
    let threads = variable("CAPTOR_SOAK_THREADS", 64) as usize;
    let seed = variable("CAPTOR_SOAK_SEED", std::process::id().into());
    println!("seed {seed}, {threads} threads, {seconds} s");
    let mut rng = Rng::new(seed);
    let world = World::new(threads, &mut rng);
    let watchdog = thread::spawn({
        let world = Arc::clone(&world);
        move || watch(&world)
    });
    let workers: Vec<_> = (0..threads)
        .map(|index| {
            let (world, seed) = (Arc::clone(&world), rng.next());
            thread::spawn(move || run_thread(&world, index, seed))
        })
        .collect();
    thread::sleep(Duration::from_secs(seconds));
    world.stop.store(true, SeqCst);
    for worker in workers {
        worker.join().unwrap();
    }
    watchdog.join().unwrap();
    finish(&world, &mut rng);
}

fn finish(world: &Arc<World>, rng: &mut Rng) {
    // Tasks that are still queued may submit to a resource's replacement. Repeat until no such task
    // is left.
    let deadline = Instant::now() + STALL;
    loop {
        world.mail.lock().unwrap().clear();
        let all: Vec<_> = world
            .slots
            .iter()
            .map(|s| s.lock().unwrap().clone())
            .collect();
        let busy = all.iter().any(|l| l.resource.stats().outstanding > 0);
        drop(all);
        while world.collect() {}
        if !busy && world.retired.lock().unwrap().is_empty() {
            break;
        }
        if Instant::now() > deadline {
            dump(world);
            panic!("resources are still in use");
        }
        thread::sleep(Duration::from_millis(1));
    }
    for slot in &world.slots {
        let live = slot.lock().unwrap().clone();
        world.replace(&live, rng);
        drop(live);
        while world.collect() {}
    }
    assert!(world.retired.lock().unwrap().is_empty());
    let (totals, resources) = *world.totals.lock().unwrap();
    let handoffs = world.handoffs.load(SeqCst);
    println!("{resources} resources, {handoffs} hand-offs\n{totals:#?}");
    for (scheduler, _) in &world.schedulers {
        println!("{:?}", scheduler.stats());
    }
    assert!(totals.tasks > 0);
    // The shutdown also lets leak checkers see that the threads have ended.
    for (scheduler, _) in &world.schedulers {
        assert!(scheduler.shutdown(STALL), "{:?}", scheduler.stats());
    }
}
