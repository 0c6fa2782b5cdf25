//! The world of a simulation: the list of jobs, the random order and the virtual clock. The
//! simulated scheduler uses the world in place of a pool and a timer thread.

use crate::pool::timer::{Heap, NEVER, discard, ring};
use crate::raw::core::Job;
use crate::raw::core::{Instead, JobSink};
use crate::raw::thread::context::{self, Id};
use crate::raw::thread::panics;
use crate::raw::timing::alarm::{Alarm, Alarms};
use crate::raw::timing::nanos;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, lock, thread};
use std::time::{Duration, Instant};

/// Jobs, order and clock of one simulation.
pub(super) struct World {
    /// The only thread that runs jobs. This thread runs a job where it would otherwise park.
    thread: thread::ThreadId,
    epoch: Instant,
    /// The virtual time since `epoch`, in nanoseconds.
    elapsed: AtomicU64,
    state: Mutex<WorldState>,
}

/// The state under the lock of a world. No user code runs under this lock.
struct WorldState {
    /// The simulation was dropped, and no more jobs run.
    ended: bool,
    random: Random,
    jobs: Vec<Job>,
    alarms: Heap,
    steps: u64,
    limit: u64,
}

impl World {
    /// Makes a world whose jobs run on the calling thread.
    pub(super) fn new(seed: u64, limit: u64) -> Self {
        World {
            thread: thread::current().id(),
            epoch: Instant::now(),
            elapsed: AtomicU64::new(0),
            state: Mutex::new(WorldState {
                ended: false,
                random: Random(seed),
                jobs: Vec::new(),
                alarms: Heap::new(),
                steps: 0,
                limit,
            }),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    fn nanos(&self) -> u64 {
        // Relaxed: threads that compare their times have synchronised by other means.
        self.elapsed.load(Ordering::Relaxed)
    }

    /// Returns a random number below `n`.
    pub(super) fn choose(&self, n: usize) -> usize {
        lock(&self.state).random.below(n)
    }

    pub(super) fn set_limit(&self, limit: u64) {
        lock(&self.state).limit = limit;
    }

    /// Checks whether the step limit is reached.
    pub(super) fn is_spent(&self) -> bool {
        let state = lock(&self.state);
        state.steps >= state.limit
    }

    /// Returns the number of jobs to choose from.
    pub(super) fn runnable(&self) -> usize {
        lock(&self.state).jobs.len()
    }

    /// Runs one job, and so one task. Prefers a job of the resource `first`. Returns `false` if
    /// there is no job.
    pub(super) fn step(&self, first: Option<Id>) -> bool {
        let job = lock(&self.state).draw(first);
        job.map(Job::run_nested).is_some()
    }

    /// Returns the time of the next alarm, and throws away alarms before it that are over.
    pub(super) fn next_alarm(&self) -> Option<Duration> {
        loop {
            let mut state = lock(&self.state);
            let Some(over) = state.alarms.pop_over() else {
                let at = state.alarms.next();
                return (at != NEVER).then(|| Duration::from_nanos(at));
            };
            drop(state);
            discard(over);
        }
    }

    /// Sets the clock to `time`, and rings all alarms that are due by then. The clock never goes
    /// back.
    pub(super) fn pass_to(&self, time: Duration) {
        let nanos = nanos(time);
        self.elapsed.fetch_max(nanos, Ordering::Relaxed);
        while let Some(alarm) = self.due() {
            ring(alarm);
        }
    }

    fn due(&self) -> Option<Box<dyn Alarm>> {
        let alarm = lock(&self.state).alarms.pop(self.nanos())?;
        Some(alarm)
    }

    /// Does one step of the simulation for a thread that waits until `deadline`: runs one job, or
    /// lets time pass to the next alarm or to the deadline. Prefers a job of the resource `first`.
    pub(super) fn wait(&self, first: Option<Id>, deadline: Option<Instant>) -> Instead {
        if self.is_spent() {
            panics::log_safely(
                || tracing::error!(target: "captor", "a simulation has reached its step limit; the wait is given up"),
            );
            return Instead::InVain;
        }
        if self.step(first) {
            return Instead::Worked;
        }
        let deadline = deadline.map(|at| at.saturating_duration_since(self.epoch));
        let next = self.next_alarm();
        let Some(next) = next.into_iter().chain(deadline).min() else {
            return Instead::InVain;
        };
        self.pass_to(next);
        if deadline.is_some_and(|deadline| self.elapsed() >= deadline) {
            return Instead::InVain;
        }
        Instead::Worked
    }

    /// Drops all jobs and alarms. Later jobs and alarms are dropped when they are added.
    pub(super) fn end(&self) {
        loop {
            let mut state = lock(&self.state);
            state.ended = true;
            let jobs = std::mem::take(&mut state.jobs);
            let alarms = std::mem::replace(&mut state.alarms, Heap::new());
            drop(state);
            let is_end = jobs.is_empty() && alarms.next() == NEVER;
            jobs.into_iter().for_each(Job::abandon);
            drop(alarms);
            if is_end {
                return;
            }
        }
    }
}

impl WorldState {
    /// Takes out a job of the resource `first` or, failing that, a random job. Counts a step.
    fn draw(&mut self, first: Option<Id>) -> Option<Job> {
        if self.jobs.is_empty() {
            return None;
        }
        self.steps += 1;
        let preferred = first.and_then(|id| self.jobs.iter().position(|job| job.is_for(id)));
        let at = preferred.unwrap_or_else(|| self.random.below(self.jobs.len()));
        Some(self.jobs.swap_remove(at))
    }
}

/// The world as the simulated scheduler sees it: the sink of its jobs, and its timer.
pub(super) struct WorldHandle(pub(super) Arc<World>);

impl JobSink for WorldHandle {
    fn dispatch(&self, job: Job) {
        let mut state = lock(&self.0.state);
        if state.ended {
            drop(state);
            job.abandon();
        } else {
            state.jobs.push(job);
        }
    }

    fn rescue(&self, job: Job) {
        self.dispatch(job);
    }

    fn others_wait(&self) -> bool {
        // Each job ends after one task, so that the next task is chosen anew.
        true
    }

    fn may_be_blocked(&self) -> bool {
        false
    }

    fn instead_of_parking(&self, target: Id, deadline: Option<Instant>) -> Instead {
        if thread::current().id() != self.0.thread {
            return Instead::Park;
        }
        // A job that runs on top of a task finds that task's resource held. If such a job waited
        // for that resource, the wait would be refused. So inside a task, the awaited resource is
        // preferred: its tasks have to run in any case.
        let first = (context::depth() > 0).then_some(target);
        self.0.wait(first, deadline)
    }
}

impl Alarms for WorldHandle {
    fn now(&self) -> Instant {
        let now = self.0.epoch.checked_add(self.0.elapsed());
        now.expect("the virtual time does not fit into an `Instant`")
    }

    fn add(&self, at: Instant, alarm: Box<dyn Alarm>) {
        let at = nanos(at.saturating_duration_since(self.0.epoch));
        let mut state = lock(&self.0.state);
        if state.ended {
            drop(state);
            return discard(alarm);
        }
        state.alarms.set(at, alarm);
    }
}

/// Sebastiano Vigna's SplitMix64: a small generator, whose sequence never changes between releases.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`: the upper half of a product in place of a remainder (D. Lemire,
    /// 2019). Tests do not notice its small bias.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}
