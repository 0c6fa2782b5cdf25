//! The model: predicts the outcome of every task, and when the task resolves.
//!
//! For each resource, the model knows which tasks are queued, run or wait. For all resources
//! together, the model knows the order in which jobs went to the executor. Errands are strands like
//! resources, and come after the resources of the program.

mod strand;
mod waits;

use crate::ledger::Verdict;
use crate::program::{Fate, Kind, Op, Setup, Task, Use};
use crate::steps::{AsyncTask, BELLS, Ringing};
use std::collections::{HashMap, VecDeque};
use std::slice::from_ref;
use strand::{Strand, Work};

pub(crate) struct Reference {
    strands: Vec<Strand>,
    /// The number of the program's resources.
    resources: usize,
    bells: [waits::Bell; BELLS],
    /// The tasks whose wakers are kept.
    kept: VecDeque<TaskRef>,
    /// The strands whose jobs the executor has.
    jobs: VecDeque<usize>,
    /// How many tasks run, each inside the task before.
    depth: usize,
    /// The work that follows the end of a task.
    followers: HashMap<TaskRef, Follower>,
    /// The work behind the kept completions.
    completions: Vec<Item>,
    pub(crate) deadlocks: u64,
}

/// A task: the index of its strand, and its number there.
type TaskRef = (usize, usize);

enum Follower {
    /// This task awaits the finished task.
    Awaits(TaskRef),
    /// This work runs on the strand, if the first task returned.
    Chain(usize, Work),
}

/// The work behind a completion.
#[derive(Clone, Copy)]
enum Item {
    Task(TaskRef),
    /// The first task, which may be an errand, and the second.
    Chain(TaskRef, TaskRef),
    Errand(usize),
}

/// The follower of a finished task, and whether that task returned.
type Waiter = Option<(Follower, bool)>;

/// The result of a submission.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    Refused,
    Finished,
    Queued,
    Waits,
}

impl Reference {
    pub(crate) fn new(setups: &[Setup]) -> Reference {
        Reference {
            strands: setups.iter().map(Strand::new).collect(),
            resources: setups.len(),
            bells: Default::default(),
            kept: VecDeque::new(),
            jobs: VecDeque::new(),
            depth: 0,
            followers: HashMap::new(),
            completions: Vec::new(),
            deadlocks: 0,
        }
    }

    pub(crate) fn perform(&mut self, op: &Op) {
        let r = op.resource % self.resources;
        match &op.kind {
            Kind::Submit(fate, task) | Kind::TrySubmit(fate, task) => {
                self.submit(r, from_ref(task), Some(*fate));
            }
            Kind::Execute(task) => self.submit(r, from_ref(task), None),
            Kind::With(task) => self.with(r, task),
            Kind::Batch(fate, tasks) => self.submit(r, tasks, Some(*fate)),
            Kind::Reserve(_, what) => self.reserve(r, what),
            Kind::Then(fate, first, other, next) => {
                self.then(r, first, other % self.resources, next, *fate);
            }
            Kind::Async(fate, what) => self.submit_async(r, what, *fate),
            Kind::When(fate, source, task) => self.when(r, *fate, *source, task),
            Kind::Steps(fate, tasks) => self.steps(r, *fate, tasks),
            Kind::Ring(bell, how) => self.ring(*bell, *how),
            Kind::WakeKept => {
                let kept: Vec<_> = self.kept.iter().copied().collect();
                kept.into_iter().for_each(|task_ref| self.wake(task_ref));
            }
            Kind::Fire if !self.strands[r].fired => {
                self.strands[r].fired = true;
                self.refuse_or_accept(r, Work::Trigger);
            }
            Kind::OnIdle if self.strands[r].refusal().is_none() => drop(self.accept(r, Work::Hook)),
            Kind::CancelKept(which) => self.cancel_kept(*which),
            Kind::CancelPending => self.cancel_pending(r),
            Kind::Heal if !self.strands[r].is_busy() => self.strands[r].poisoned = false,
            Kind::Close => self.close(r),
            Kind::CloseNow => {
                self.close(r);
                self.strands[r].stopped = true;
                self.cancel_pending(r);
            }
            Kind::Fire | Kind::OnIdle | Kind::Heal | Kind::DropHandle => {}
        }
    }

    fn with(&mut self, r: usize, task: &Task) {
        match &mut self.strands[r] {
            s if s.held => {
                let id = s.number(1);
                s.verdicts[id] = Verdict::WouldDeadlock;
            }
            // The program does not make the call.
            s if s.is_busy() => {}
            _ => self.submit(r, from_ref(task), Some(Fate::Wait)),
        }
    }

    fn reserve(&mut self, r: usize, what: &Use) {
        match what {
            _ if !self.strands[r].has_room() => {}
            Use::Submit(fate, task) => self.submit(r, from_ref(task), Some(*fate)),
            Use::Execute(task) => self.submit(r, from_ref(task), None),
            Use::Drop => {}
        }
    }

    /// Submits tasks. `fate` is `None` for `execute`.
    fn submit(&mut self, r: usize, tasks: &[Task], fate: Option<Fate>) {
        let first = self.strands[r].number(tasks.len());
        let work = Work::Tasks((first..).zip(tasks.iter().cloned()).collect());
        self.submit_work(r, work, fate);
    }

    fn submit_work(&mut self, r: usize, work: Work, fate: Option<Fate>) -> Placed {
        let item = work.id().map(|id| Item::Task((r, id)));
        let placed = self.refuse_or_accept(r, work);
        self.use_completion(fate, placed, item);
        placed
    }

    /// Does with a pending completion what `fate` says.
    fn use_completion(&mut self, fate: Option<Fate>, placed: Placed, item: Option<Item>) {
        let pending = matches!(placed, Placed::Queued | Placed::Waits);
        let Some(item) = item.filter(|_| pending) else {
            return;
        };
        match fate {
            None | Some(Fate::Drop) => {}
            Some(Fate::Cancel | Fate::CancelOnDrop) => self.cancel(item),
            Some(_) => self.completions.push(item),
        }
    }

    fn cancel_kept(&mut self, which: usize) {
        let len = self.completions.len();
        if let Some(index) = which.checked_rem(len) {
            self.cancel(self.completions[len - 1 - index]);
        }
    }

    fn cancel(&mut self, item: Item) {
        match item {
            Item::Task(task_ref) => self.cancel_task(task_ref),
            Item::Errand(errand) => self.cancel_task((errand, 0)),
            Item::Chain(first, second) => match self.followers.remove(&first) {
                Some(_) => {
                    self.strands[second.0].verdicts[second.1] = Verdict::Cancelled;
                    self.cancel_task(first);
                }
                None => self.cancel_task(second),
            },
        }
    }

    /// Removes a queued task, gives up a waiting task, or asks a running task to stop.
    fn cancel_task(&mut self, (r, id): TaskRef) {
        let strand = &mut self.strands[r];
        let queued = strand.queue.iter_mut().find(|w| w.id() == Some(id));
        if let Some(ours) = queued {
            let work = std::mem::replace(ours, Work::Remains);
            let waiter = self.resolve_unrun(r, &work, Verdict::Cancelled);
            self.run_follower(waiter);
        } else if strand.waiting.as_ref().is_some_and(|run| run.id == id) {
            self.give_up(r);
        } else if strand.polled.id == Some(id) {
            strand.polled.asked = true;
        }
    }

    fn submit_async(&mut self, r: usize, what: &AsyncTask, fate: Fate) {
        let id = self.strands[r].number(1);
        let work = Work::Async(id, Box::new(what.clone()));
        self.submit_work(r, work, Some(fate));
    }

    /// If the first task is queued, the second becomes its follower.
    fn then(&mut self, r: usize, first: &Task, other: usize, next: &Task, fate: Fate) {
        let id = self.strands[r].number(1);
        let work = Work::Tasks(vec![(id, first.clone())]);
        let placed = self.refuse_or_accept(r, work);
        let second = self.strands[other].number(1);
        let next = Work::Tasks(vec![(second, next.clone())]);
        if placed != Placed::Queued {
            if self.strands[r].verdicts[id] == Verdict::Returned {
                self.submit_work(other, next, Some(fate));
            }
            return;
        }
        self.followers.insert((r, id), Follower::Chain(other, next));
        let item = Item::Chain((r, id), (other, second));
        self.use_completion(Some(fate), placed, Some(item));
    }

    /// Refuses the work, runs it, or queues it.
    fn refuse_or_accept(&mut self, r: usize, work: Work) -> Placed {
        if let Some(verdict) = self.strands[r].refuses(&work) {
            self.resolve_unrun(r, &work, verdict);
            return Placed::Refused;
        }
        self.accept(r, work)
    }

    fn accept(&mut self, r: usize, work: Work) -> Placed {
        let (busy, id) = (self.strands[r].is_busy(), work.id());
        self.strands[r].queue.push_back(work);
        // Outside tasks, a submitter takes the role that is on offer.
        let takes = self.depth == 0 && std::mem::take(&mut self.strands[r].offered);
        if busy && !takes {
            return Placed::Queued;
        }
        self.strands[r].held = true;
        self.drain(r);
        let strand = &self.strands[r];
        match &strand.waiting {
            Some(run) if Some(run.id) == id => Placed::Waits,
            // A task ahead in the queue suspended.
            Some(_) if strand.queue.iter().any(|work| work.id() == id) => Placed::Queued,
            _ => Placed::Finished,
        }
    }

    /// Queues the work for a job to run.
    fn leave_to_job(&mut self, r: usize, work: Work) {
        if let Some(verdict) = self.strands[r].refuses(&work) {
            self.resolve_unrun(r, &work, verdict);
            return;
        }
        let busy = self.strands[r].is_busy();
        self.strands[r].queue.push_back(work);
        if !busy {
            self.offer(r);
        }
    }

    fn offer(&mut self, r: usize) {
        self.strands[r].offered = true;
        // A job that is no longer needed serves as well.
        if !self.jobs.contains(&r) {
            self.jobs.push_back(r);
        }
    }

    /// Runs the jobs that the executor has.
    pub(crate) fn run_jobs(&mut self) {
        while let Some(r) = self.jobs.pop_front() {
            if std::mem::take(&mut self.strands[r].offered) {
                self.strands[r].held = true;
                self.drain(r);
            }
        }
    }

    /// Runs the queue. The waiter of a task is woken before the next task runs, or before the hook
    /// is called. If no task is left, the waiter is woken after the role is given away.
    fn drain(&mut self, r: usize) {
        let mut waiter = None;
        loop {
            if let Some(run) = self.strands[r].waiting.take() {
                match self.resume(r, run) {
                    Some(next) => waiter = next,
                    None => return,
                }
                continue;
            }
            let Some(work) = self.strands[r].queue.pop_front() else {
                if self.strands[r].hooked {
                    self.run_follower(waiter.take());
                }
                self.call_hook(r);
                if self.strands[r].queue.is_empty() {
                    break;
                }
                continue;
            };
            let before = waiter.take();
            if before.is_some() {
                self.strands[r].queue.push_front(work);
                self.run_follower(before);
                continue;
            }
            match self.run(r, work) {
                Some(next) => waiter = next,
                None => return,
            }
        }
        self.strands[r].held = false;
        self.run_follower(waiter);
    }

    fn call_hook(&mut self, r: usize) {
        let strand = &mut self.strands[r];
        if std::mem::take(&mut strand.ran_since) && strand.hooked && !strand.poisoned {
            strand.calls += 1;
        }
    }

    /// Runs the work. Returns `None` if the task suspends.
    fn run(&mut self, r: usize, work: Work) -> Option<Waiter> {
        let strand = &mut self.strands[r];
        let ran_since = std::mem::replace(&mut strand.ran_since, true);
        match work {
            Work::Tasks(tasks) => return Some(self.run_tasks(r, &tasks)),
            Work::Async(id, what) => return self.start(r, id, *what),
            Work::Trigger => {
                strand.runs += 1;
                strand.fired = false;
            }
            Work::Hook => {
                // The hook is owed a call for earlier tasks only if a hook was set before.
                strand.ran_since = ran_since && strand.hooked;
                strand.hooked = true;
            }
            Work::Remains => strand.ran_since = ran_since,
        }
        Some(None)
    }

    /// Runs the tasks up to the first that panics.
    fn run_tasks(&mut self, r: usize, tasks: &[(usize, Task)]) -> Waiter {
        let mut panicked = false;
        for (id, task) in tasks {
            self.strands[r].order.push(*id as u32);
            self.perform_inside(&task.nested);
            panicked = task.panics;
            self.strands[r].verdicts[*id] = match panicked {
                true => Verdict::Panicked,
                false => Verdict::Returned,
            };
            if panicked {
                break;
            }
        }
        if panicked {
            self.poison(r);
        }
        self.finish((r, tasks[0].0))
    }

    fn perform_inside(&mut self, ops: &[Op]) {
        self.depth += 1;
        ops.iter().for_each(|op| self.perform(op));
        self.depth -= 1;
    }

    fn poison(&mut self, r: usize) {
        if self.strands[r].poison {
            self.strands[r].poisoned = true;
            self.sweep(r, Verdict::Poisoned);
        }
    }

    fn sweep(&mut self, r: usize, verdict: Verdict) {
        for work in std::mem::take(&mut self.strands[r].queue) {
            let waiter = self.resolve_unrun(r, &work, verdict);
            self.run_follower(waiter);
        }
    }

    /// Resolves work that does not run.
    fn resolve_unrun(&mut self, r: usize, work: &Work, verdict: Verdict) -> Waiter {
        let strand = &mut self.strands[r];
        match work {
            Work::Tasks(tasks) => tasks
                .iter()
                .for_each(|(id, _)| strand.verdicts[*id] = verdict),
            Work::Async(id, what) => strand.resolve_dropped(*id, what, verdict),
            Work::Trigger => strand.fired = false,
            Work::Hook | Work::Remains => {}
        }
        self.finish((r, work.id()?))
    }

    fn cancel_pending(&mut self, r: usize) {
        self.strands[r].polled.asked = true;
        self.strands[r].swept += u64::from(self.give_up(r));
        self.strands[r].swept += self.strands[r].queued();
        self.sweep(r, Verdict::Cancelled);
    }

    fn close(&mut self, r: usize) {
        if std::mem::replace(&mut self.strands[r].closed, true) {
            return;
        }
        for errand in self.resources..self.strands.len() {
            if self.strands[errand].until() == Some(r) {
                self.wake((errand, 0));
            }
        }
    }
}

/// The checks and the end of a program.
impl Reference {
    /// Opens all bells: no task waits for a bell any more, and no waker is kept.
    pub(crate) fn open(&mut self) {
        for bell in 0..BELLS {
            self.bells[bell].open = true;
            self.ring(bell, Ringing::Once);
        }
        for _ in 0..self.kept.len() {
            self.drop_kept_waker();
        }
    }

    /// Returns whether the resource is closed, has ended, and is poisoned, and how many of its
    /// tasks are outstanding.
    pub(crate) fn state(&self, r: usize) -> (bool, bool, bool, u64) {
        let s = &self.strands[r];
        let ended = s.closed && !s.is_busy();
        (s.closed, ended, s.poisoned, s.outstanding())
    }

    /// Counts the closures of the resource's tasks, and their futures.
    pub(crate) fn closures(&self, r: usize) -> i64 {
        let of_work = |work: &Work| match work {
            Work::Tasks(tasks) => tasks.len(),
            Work::Async(..) => 1,
            _ => 0,
        };
        let strand = &self.strands[r];
        let queued: usize = strand.queue.iter().map(of_work).sum();
        let chained = self
            .followers
            .values()
            .filter(|follower| matches!(follower, Follower::Chain(other, _) if *other == r));
        let errands = self.strands[self.resources..].iter();
        let errands = errands.filter(|errand| errand.is_of(r) && errand.waiting.is_some());
        // The closure of a suspended task has become a part of its future.
        let waiting = 2 * usize::from(strand.waiting.is_some());
        (queued + waiting + chained.count() + errands.count()) as i64
    }

    pub(crate) fn compare(&self, r: usize, ledger: &crate::ledger::Ledger) -> Result<(), String> {
        let strand = &self.strands[r];
        ledger.compare(&strand.verdicts, &strand.order)?;
        ledger.compare_progress(&strand.progress)?;
        ledger.compare_swept(strand.swept)?;
        ledger.compare_aside(strand.runs, strand.calls)
    }
}
