//! Async tasks of the model: their steps, their waits, and their wake-ups.

use super::strand::{On, Polled, Run, Strand, Work};
use super::{Follower, Item, Placed, Reference, Waiter, Who};
use crate::ledger::Verdict;
use crate::program::{Fate, Task};
use crate::steps::{AsyncTask, Ringing, Source, Step, Waking};
use std::collections::VecDeque;
use std::mem::take;

#[derive(Default)]
pub(super) struct Bell {
    rung: u64,
    pub(super) open: bool,
    listeners: VecDeque<Who>,
}

/// The result of a step.
enum Came {
    /// The step did not wait.
    Through,
    /// The task continued after the wait.
    WentOn,
    Panicked,
    Waits(On),
}

impl Reference {
    /// Starts a task. Returns `None` if the task suspends.
    pub(super) fn start(&mut self, r: usize, id: usize, what: AsyncTask) -> Option<Waiter> {
        self.strands[r].order.push(id as u32);
        self.polls(r, id);
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
            return Some(self.drops(r, &run));
        }
        self.polls(r, run.id);
        self.poll(r, run)
    }

    fn polls(&mut self, r: usize, id: usize) {
        self.strands[r].polled = Polled {
            id: Some(id),
            ..Polled::default()
        };
    }

    fn poll(&mut self, r: usize, mut run: Run) -> Option<Waiter> {
        while let Some(step) = run.what.steps.get(run.at).cloned() {
            self.depth += 1;
            let came = self.step(r, &run, &step);
            self.depth -= 1;
            match came {
                Came::Through => {}
                Came::WentOn => self.strands[r].progress[run.id] += 1,
                Came::Panicked => return Some(self.ends(r, &run, Verdict::Panicked)),
                Came::Waits(on) => {
                    run.on = Some(on);
                    let polled = take(&mut self.strands[r].polled);
                    let woken = polled.woken || matches!(on, On::Itself);
                    let deserted = !woken && self.wakers((r, run.id), on) == 0;
                    if deserted || polled.asked || self.strands[r].stopped {
                        return Some(self.drops(r, &run));
                    }
                    if !woken {
                        self.strands[r].held = false;
                        self.strands[r].waiting = Some(run);
                        return None;
                    }
                    self.polls(r, run.id);
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
        Some(self.ends(r, &run, verdict))
    }

    fn ends(&mut self, r: usize, run: &Run, verdict: Verdict) -> Waiter {
        self.strands[r].polled = Polled::default();
        self.strands[r].verdicts[run.id] = verdict;
        if verdict == Verdict::Panicked {
            self.poison(r);
        }
        self.through((r, run.id))
    }

    /// Gives the task up, and drops its future.
    fn drops(&mut self, r: usize, run: &Run) -> Waiter {
        self.strands[r].fall_async(run.id, &run.what, Verdict::Cancelled);
        if self.strands[r].verdicts[run.id] == Verdict::Panicked {
            self.poison(r);
        }
        self.through((r, run.id))
    }

    fn step(&mut self, r: usize, run: &Run, step: &Step) -> Came {
        let who = (r, run.id);
        match (step, run.on) {
            (Step::Do(op), _) => {
                self.perform(op);
                Came::Through
            }
            (Step::Panic, _) => Came::Panicked,
            (Step::Yield(how), None) => {
                if matches!(how, Waking::Kept) {
                    self.kept.push_back(who);
                }
                Came::Waits(On::Itself)
            }
            (Step::Yield(_), Some(_)) => Came::WentOn,
            (Step::Hear { bell, once }, on) => self.hear(who, *bell, *once, on),
            (Step::Await(target, task), None) => self.awaits(who, target % self.resources, task),
            (Step::Await(..), Some(On::Task(_, true))) => Came::WentOn,
            (Step::Await(..), Some(on)) => Came::Waits(on),
            (Step::Forsake, _) => Came::Waits(On::Nothing),
            // No task of a sequential program has a deadline.
            (Step::Outlast, _) => Came::Through,
        }
    }

    fn hear(&mut self, who: Who, bell: usize, once: bool, on: Option<On>) -> Came {
        let until = self.strands[who.0].until();
        let closed = until.is_some_and(|r| self.strands[r].closed);
        let bell = &mut self.bells[bell];
        let since = match on {
            Some(On::Bell(since)) => since,
            _ => bell.rung,
        };
        if bell.open || since < bell.rung {
            return Came::WentOn;
        }
        if on.is_none() || !once {
            bell.listeners.push_back(who);
        }
        match closed {
            true => Came::WentOn,
            false => Came::Waits(On::Bell(since)),
        }
    }

    /// Submits a task and awaits it.
    fn awaits(&mut self, who: Who, target: usize, task: &Task) -> Came {
        let id = self.strands[target].number(1);
        let work = Work::Tasks(vec![(id, task.clone())]);
        if self.submit_work(target, work, None) != Placed::Queued {
            return Came::WentOn;
        }
        if self.would_deadlock(who.0, target) {
            self.deadlocks += 1;
            return Came::WentOn;
        }
        self.followers.insert((target, id), Follower::Awaits(who));
        Came::Waits(On::Task(target, false))
    }

    fn would_deadlock(&self, r: usize, target: usize) -> bool {
        let next = |at: &usize| match self.strands[*at].waiting.as_ref()?.on {
            Some(On::Task(target, false)) => Some(target),
            _ => None,
        };
        std::iter::successors(Some(target), next).any(|at| at == r)
    }

    /// Counts the wakers of a task that waits for this event.
    fn wakers(&self, who: Who, on: On) -> usize {
        let listens = self.bells.iter().flat_map(|bell| &bell.listeners);
        let of_completion = matches!(on, On::Task(..));
        // The errand listens for the close of its resource.
        let of_errand = self.strands[who.0].until().is_some();
        listens.chain(&self.kept).filter(|w| **w == who).count()
            + usize::from(of_completion)
            + usize::from(of_errand)
    }

    pub(super) fn wake(&mut self, who: Who) {
        let strand = &mut self.strands[who.0];
        if strand.polled.id == Some(who.1) {
            strand.polled.woken = true;
        }
        if strand.waiting.as_ref().is_some_and(|run| run.id == who.1) && !strand.offered {
            self.offer(who.0);
        }
    }

    /// Notes that a waker of the task was dropped.
    fn drops_waker(&mut self, who: Who) {
        let waits = self.strands[who.0].waiting.as_ref();
        let on = waits.filter(|run| run.id == who.1).and_then(|run| run.on);
        if on.is_some_and(|on| self.wakers(who, on) == 0) {
            self.wake(who);
        }
    }

    pub(super) fn let_go(&mut self) {
        let who = self
            .kept
            .pop_front()
            .expect("as many wakers are kept as were counted");
        self.drops_waker(who);
    }

    pub(super) fn ring(&mut self, bell: usize, how: Ringing) {
        self.bells[bell].rung += u64::from(!matches!(how, Ringing::Astray | Ringing::Hush));
        for _ in 0..self.bells[bell].listeners.len() {
            let first = self.bells[bell].listeners.pop_front();
            let who = first.expect("no listener comes or goes during the ring");
            match how {
                Ringing::Once | Ringing::Twice | Ringing::Astray => self.wake(who),
                Ringing::Kept => {
                    self.wake(who);
                    self.kept.push_back(who);
                }
                Ringing::Hush if who.0 < self.resources => self.drops_waker(who),
                Ringing::Hush => self.bells[bell].listeners.push_back(who),
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
        let who = (r, run.id);
        self.wake(who);
        true
    }

    /// Notes that a task has finished, and returns its follower.
    pub(super) fn through(&mut self, who: Who) -> Waiter {
        let follower = self.followers.remove(&who)?;
        if let Follower::Awaits((r, id)) = follower {
            let run = self.strands[r].waiting.as_mut().filter(|run| run.id == id);
            if let Some(On::Task(_, done)) = run.and_then(|run| run.on.as_mut()) {
                *done = true;
            }
        }
        let returned = self.strands[who.0].verdicts[who.1] == Verdict::Returned;
        Some((follower, returned))
    }

    pub(super) fn go_on(&mut self, waiter: Waiter) {
        match waiter {
            Some((Follower::Awaits(who), _)) => self.wake(who),
            Some((Follower::Chain(other, work), true)) => self.leave_to_others(other, work),
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
                self.meet(Some(fate), placed, Some(Item::Chain(first, (r, id))));
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
        self.meet(Some(fate), placed, Some(Item::Errand(errand)));
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
