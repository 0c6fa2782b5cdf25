//! Async tasks of the model: their steps, their waits, and their wake-ups.

use super::strand::{Polled, Run, Strand, WaitsFor, Work};
use super::{Follower, Item, Placed, Reference, TaskRef, Waiter};
use crate::ledger::Verdict;
use crate::program::{Fate, Task};
use crate::steps::{AsyncTask, Ringing, Source, Step, Waking};
use std::collections::VecDeque;
use std::mem::take;

#[derive(Default)]
pub(super) struct Bell {
    rung: u64,
    pub(super) open: bool,
    listeners: VecDeque<TaskRef>,
}

/// The result of a step.
enum StepEnd {
    /// The step did not wait.
    DidNotWait,
    /// The task continued after the wait.
    Resumed,
    Panicked,
    Waits(WaitsFor),
}

impl Reference {
    /// Starts a task. Returns `None` if the task suspends.
    pub(super) fn start(&mut self, r: usize, id: usize, what: AsyncTask) -> Option<Waiter> {
        self.strands[r].order.push(id as u32);
        self.begin_poll(r, id);
        let nested = what.task.nested.clone();
        self.perform_inside(&nested);
        let run = Run {
            id,
            what,
            at: 0,
            on: None,
            given_up: false,
        };
        self.poll(r, run)
    }

    pub(super) fn resume(&mut self, r: usize, run: Run) -> Option<Waiter> {
        if run.given_up {
            return Some(self.give_up_run(r, &run));
        }
        self.begin_poll(r, run.id);
        self.poll(r, run)
    }

    fn begin_poll(&mut self, r: usize, id: usize) {
        self.strands[r].polled = Polled {
            id: Some(id),
            ..Polled::default()
        };
    }

    fn poll(&mut self, r: usize, mut run: Run) -> Option<Waiter> {
        while let Some(step) = run.what.steps.get(run.at).cloned() {
            self.depth += 1;
            let end = self.step(r, &run, &step);
            self.depth -= 1;
            match end {
                StepEnd::DidNotWait => {}
                StepEnd::Resumed => self.strands[r].progress[run.id] += 1,
                StepEnd::Panicked => return Some(self.finish_run(r, &run, Verdict::Panicked)),
                StepEnd::Waits(on) => {
                    run.on = Some(on);
                    let polled = take(&mut self.strands[r].polled);
                    let woken = polled.woken || matches!(on, WaitsFor::Itself);
                    let deserted = !woken && self.wakers((r, run.id), on) == 0;
                    if deserted || polled.asked || self.strands[r].stopped {
                        return Some(self.give_up_run(r, &run));
                    }
                    if !woken {
                        self.strands[r].held = false;
                        self.strands[r].waiting = Some(run);
                        return None;
                    }
                    self.begin_poll(r, run.id);
                    continue;
                }
            }
            run.on = None;
            run.at += 1;
        }
        let verdict = match run.what.task.panics || run.what.spills {
            true => Verdict::Panicked,
            false => Verdict::Returned,
        };
        Some(self.finish_run(r, &run, verdict))
    }

    fn finish_run(&mut self, r: usize, run: &Run, verdict: Verdict) -> Waiter {
        self.strands[r].polled = Polled::default();
        self.strands[r].verdicts[run.id] = verdict;
        if verdict == Verdict::Panicked {
            self.poison(r);
        }
        self.finish((r, run.id))
    }

    /// Gives the task up, and drops its future.
    fn give_up_run(&mut self, r: usize, run: &Run) -> Waiter {
        self.strands[r].resolve_dropped(run.id, &run.what, Verdict::Cancelled);
        if self.strands[r].verdicts[run.id] == Verdict::Panicked {
            self.poison(r);
        }
        self.finish((r, run.id))
    }

    fn step(&mut self, r: usize, run: &Run, step: &Step) -> StepEnd {
        let task_ref = (r, run.id);
        match (step, run.on) {
            (Step::Do(op), _) => {
                self.perform(op);
                StepEnd::DidNotWait
            }
            (Step::Panic, _) => StepEnd::Panicked,
            (Step::Yield(how), None) => {
                if matches!(how, Waking::Kept) {
                    self.kept.push_back(task_ref);
                }
                StepEnd::Waits(WaitsFor::Itself)
            }
            (Step::Yield(_), Some(_)) => StepEnd::Resumed,
            (Step::Hear { bell, once }, on) => self.hear(task_ref, *bell, *once, on),
            (Step::Await(target, task), None) => {
                self.awaits(task_ref, target % self.resources, task)
            }
            (Step::Await(..), Some(WaitsFor::Task(_, true))) => StepEnd::Resumed,
            (Step::Await(..), Some(on)) => StepEnd::Waits(on),
            (Step::SuspendForEver, _) => StepEnd::Waits(WaitsFor::Nothing),
            // No task of a sequential program has a deadline.
            (Step::Outlast, _) => StepEnd::DidNotWait,
        }
    }

    fn hear(
        &mut self,
        task_ref: TaskRef,
        bell: usize,
        once: bool,
        on: Option<WaitsFor>,
    ) -> StepEnd {
        let until = self.strands[task_ref.0].until();
        let closed = until.is_some_and(|r| self.strands[r].closed);
        let bell = &mut self.bells[bell];
        let since = match on {
            Some(WaitsFor::Bell(since)) => since,
            _ => bell.rung,
        };
        if bell.open || since < bell.rung {
            return StepEnd::Resumed;
        }
        if on.is_none() || !once {
            bell.listeners.push_back(task_ref);
        }
        match closed {
            true => StepEnd::Resumed,
            false => StepEnd::Waits(WaitsFor::Bell(since)),
        }
    }

    /// Submits a task and awaits its outcome.
    fn awaits(&mut self, task_ref: TaskRef, target: usize, task: &Task) -> StepEnd {
        let id = self.strands[target].number(1);
        let work = Work::Tasks(vec![(id, task.clone())]);
        if self.submit_work(target, work, None) != Placed::Queued {
            return StepEnd::Resumed;
        }
        if self.would_deadlock(task_ref.0, target) {
            self.deadlocks += 1;
            return StepEnd::Resumed;
        }
        self.followers
            .insert((target, id), Follower::Awaits(task_ref));
        StepEnd::Waits(WaitsFor::Task(target, false))
    }

    fn would_deadlock(&self, r: usize, target: usize) -> bool {
        let next = |at: &usize| match self.strands[*at].waiting.as_ref()?.on {
            Some(WaitsFor::Task(target, false)) => Some(target),
            _ => None,
        };
        std::iter::successors(Some(target), next).any(|at| at == r)
    }

    /// Counts the wakers of a task that waits for this event.
    fn wakers(&self, task_ref: TaskRef, on: WaitsFor) -> usize {
        let listens = self.bells.iter().flat_map(|bell| &bell.listeners);
        let of_completion = matches!(on, WaitsFor::Task(..));
        // The errand listens for the close of its resource.
        let of_errand = self.strands[task_ref.0].until().is_some();
        listens
            .chain(&self.kept)
            .filter(|w| **w == task_ref)
            .count()
            + usize::from(of_completion)
            + usize::from(of_errand)
    }

    pub(super) fn wake(&mut self, task_ref: TaskRef) {
        let strand = &mut self.strands[task_ref.0];
        if strand.polled.id == Some(task_ref.1) {
            strand.polled.woken = true;
        }
        if strand
            .waiting
            .as_ref()
            .is_some_and(|run| run.id == task_ref.1)
            && !strand.offered
        {
            self.offer(task_ref.0);
        }
    }

    /// Notes that a waker of the task was dropped.
    fn note_waker_drop(&mut self, task_ref: TaskRef) {
        let waits = self.strands[task_ref.0].waiting.as_ref();
        let on = waits
            .filter(|run| run.id == task_ref.1)
            .and_then(|run| run.on);
        if on.is_some_and(|on| self.wakers(task_ref, on) == 0) {
            self.wake(task_ref);
        }
    }

    pub(super) fn drop_kept_waker(&mut self) {
        let task_ref = self
            .kept
            .pop_front()
            .expect("as many wakers are kept as were counted");
        self.note_waker_drop(task_ref);
    }

    pub(super) fn ring(&mut self, bell: usize, how: Ringing) {
        self.bells[bell].rung += u64::from(!matches!(how, Ringing::Astray | Ringing::Hush));
        for _ in 0..self.bells[bell].listeners.len() {
            let first = self.bells[bell].listeners.pop_front();
            let task_ref = first.expect("no listener comes or goes during the ring");
            match how {
                Ringing::Once | Ringing::Twice | Ringing::Astray => self.wake(task_ref),
                Ringing::Kept => {
                    self.wake(task_ref);
                    self.kept.push_back(task_ref);
                }
                Ringing::Hush if task_ref.0 < self.resources => self.note_waker_drop(task_ref),
                Ringing::Hush => self.bells[bell].listeners.push_back(task_ref),
            }
        }
    }

    /// Marks the suspended task as given up, unless it already is. The thread that runs the next
    /// job drops its future.
    pub(super) fn give_up(&mut self, r: usize) -> bool {
        let waiting = self.strands[r].waiting.as_mut();
        let Some(run) = waiting.filter(|run| !run.given_up) else {
            return false;
        };
        run.given_up = true;
        let task_ref = (r, run.id);
        self.wake(task_ref);
        true
    }

    /// Notes that a task has finished, and returns its follower.
    pub(super) fn finish(&mut self, task_ref: TaskRef) -> Waiter {
        let follower = self.followers.remove(&task_ref)?;
        if let Follower::Awaits((r, id)) = follower {
            let run = self.strands[r].waiting.as_mut().filter(|run| run.id == id);
            if let Some(WaitsFor::Task(_, done)) = run.and_then(|run| run.on.as_mut()) {
                *done = true;
            }
        }
        let returned = self.strands[task_ref.0].verdicts[task_ref.1] == Verdict::Returned;
        Some((follower, returned))
    }

    pub(super) fn run_follower(&mut self, waiter: Waiter) {
        match waiter {
            Some((Follower::Awaits(task_ref), _)) => self.wake(task_ref),
            Some((Follower::Chain(other, work), true)) => self.leave_to_job(other, work),
            Some((Follower::Chain(..), false)) | None => {}
        }
    }
}

/// Errands.
impl Reference {
    pub(super) fn when(&mut self, r: usize, fate: Fate, source: Source, task: &Task) {
        let id = self.strands[r].number(1);
        if let Some(verdict) = self.strands[r].refusal() {
            self.strands[r].verdicts[id] = verdict;
            return;
        }
        let work = Work::Tasks(vec![(id, task.clone())]);
        let steps = match source {
            Source::Ready => vec![],
            Source::Hears(bell) => vec![Step::Hear { bell, once: false }],
            Source::Panics => vec![Step::Panic],
        };
        let (errand, placed) = self.errand(r, true, steps);
        match self.strands[errand].verdicts[0] {
            _ if placed == Placed::Waits => {
                let first = (errand, 0);
                self.followers.insert(first, Follower::Chain(r, work));
                self.use_completion(Some(fate), placed, Some(Item::Chain(first, (r, id))));
            }
            Verdict::Returned => drop(self.submit_work(r, work, Some(fate))),
            verdict => self.strands[r].verdicts[id] = verdict,
        }
    }

    pub(super) fn steps(&mut self, r: usize, fate: Fate, tasks: &[Task]) {
        if self.strands[r].refusal().is_some() {
            return;
        }
        let steps = tasks.iter().map(|task| Step::Await(r, task.clone()));
        let (errand, placed) = self.errand(r, false, steps.collect());
        self.use_completion(Some(fate), placed, Some(Item::Errand(errand)));
    }

    fn errand(&mut self, of: usize, ends: bool, steps: Vec<Step>) -> (usize, Placed) {
        let errand = self.strands.len();
        self.strands.push(Strand::errand(of, ends));
        self.strands[errand].number(1);
        let what = AsyncTask {
            task: Task::default(),
            steps,
            spills: false,
            asks: false,
        };
        (errand, self.accept(errand, Work::Async(0, Box::new(what))))
    }
}
