//! One thread's turn at draining a resource: what it runs, how, and for how long.

use crate::error::TaskError;
use crate::raw::core::room::Room;
use crate::raw::core::{Core, Owner, Value, bring_back};
use crate::raw::strand::drain::{Crew, Flow};
use crate::raw::strand::queue::Link;
use crate::raw::task::life::{ClosureDrop, Header, Ran};
use crate::raw::task::queued::{self, Queued, Taken};
use crate::raw::task::signal::Signal;
use crate::raw::task::waiter::Waitable;
use crate::raw::thread::context::Described;
use crate::raw::thread::context::{self, Kind, Subject};
use crate::raw::thread::panics;
use crate::raw::thread::spans;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::sync::is_panicking;
use core::ptr::{self, NonNull};
use core::task::Waker;
use core::time::Duration;
use std::time::Instant;

/// How long a shift lasts. The first task is always admitted where one was
/// promised: a hand-off makes progress (G7).
#[derive(Clone, Copy)]
enum Budget<'a> {
    /// A captured submitter: so many more tasks, and none after the capture time.
    Captured { left: usize },
    /// A thread that blocks for `task` runs what stands before it anyway;
    /// after it, as if captured.
    Waiter { task: &'a dyn Waitable, left: usize },
    /// A worker: until others wait and the quantum is over.
    Worker { since: Instant },
    /// Until nothing is left.
    Endless,
}

/// The clock of a thread that lends itself. Reading it is a tenth of what a
/// queued task costs, so that is done where a limit asks for it, and around the
/// thread's own task.
#[derive(Clone, Copy)]
struct Lending {
    since: Instant,
    /// The last reading.
    now: Instant,
    /// Spent on its own task.
    own: Duration,
}

impl Lending {
    fn starts() -> Self {
        let now = Instant::now();
        Lending {
            since: now,
            now,
            own: Duration::ZERO,
        }
    }

    fn read(&mut self) -> Duration {
        let before = core::mem::replace(&mut self.now, Instant::now());
        self.now.saturating_duration_since(before)
    }
}

/// A thread at work on a resource. It is what the drain reports to.
pub(crate) struct Shift<'a> {
    owner: &'a dyn Owner,
    core: &'a Core<dyn Value>,
    name: Option<&'a str>,
    /// Where what leaves the queue gives back room.
    room: Option<&'a Room>,
    /// Where tasks are timed.
    stopwatch: Option<&'a Stopwatch>,
    budget: Budget<'a>,
    /// The thread's own task, for which it need not lend itself.
    own: *const Link,
    lending: Option<Lending>,
    /// How long it may last, as a capture; and until when, once it has begun.
    capture_time: Duration,
    until: Option<Option<Instant>>,
    ran: usize,
    /// What came out of the queue last.
    taken: Taken,
    /// It has taken something out of the queue, if only what was left of a task.
    progressed: bool,
    /// Who waits for the task that ran last.
    waiter: Option<Waker>,
    _spans: spans::Detached,
}

impl<'a> Shift<'a> {
    fn new(owner: &'a dyn Owner, budget: Budget<'a>, own: *const Link) -> Self {
        let core = owner.core();
        let (limits, cold) = (&core.host().limits, core.cold_if_any());
        Shift {
            owner,
            core,
            name: cold.and_then(|cold| cold.settings.name.as_deref()),
            room: cold.and_then(|cold| cold.room.as_deref()),
            stopwatch: cold.and_then(|cold| cold.stopwatch.as_deref()),
            budget,
            own,
            lending: None,
            capture_time: cold
                .and_then(|cold| cold.settings.capture_time)
                .unwrap_or(limits.capture_time),
            until: None,
            ran: 0,
            taken: Taken::New,
            progressed: false,
            waiter: None,
            _spans: context::enter(core.id(), Kind::Aside, spans::detach),
        }
    }

    /// A submitter that came to hold the role: after its own task ran, or with
    /// it queued as `own`. Inside a task of another resource it runs no task
    /// but its own (G6); nor while it unwinds, which others' tasks would take for
    /// a panic of theirs.
    pub(crate) fn submitter(owner: &'a dyn Owner, own: Option<NonNull<Link>>) -> Self {
        let limit = match context::depth() {
            0 if !is_panicking() => owner.core().capture_limit(),
            _ => 1,
        };
        let left = if own.is_some() { limit } else { limit - 1 };
        let own = own.map_or(ptr::null(), |link| link.as_ptr().cast_const());
        Self::new(owner, Budget::Captured { left }, own)
    }

    /// One that runs nothing.
    pub(crate) fn none(owner: &'a dyn Owner) -> Self {
        Self::new(owner, Budget::Captured { left: 0 }, ptr::null())
    }

    /// A thread that blocks for `task` and takes the role meanwhile.
    pub(crate) fn waiter(owner: &'a dyn Owner, task: &'a dyn Waitable) -> Self {
        let left = match context::depth() {
            0 => owner.core().capture_limit(),
            _ => 0,
        };
        Self::new(owner, Budget::Waiter { task, left }, task.link())
    }

    pub(crate) fn worker(owner: &'a dyn Owner) -> Self {
        let since = Instant::now();
        Self::new(owner, Budget::Worker { since }, ptr::null())
    }

    pub(crate) fn endless(owner: &'a dyn Owner) -> Self {
        Self::new(owner, Budget::Endless, ptr::null())
    }

    /// May a captured thread, with `left` tasks to go, start another?
    ///
    /// It starts lending itself here; [`Shift::account`] ends that.
    fn admits_captured(&mut self, left: usize) -> bool {
        if left == 0 {
            return false;
        }
        let now = self.lends().now;
        let until = *self
            .until
            .get_or_insert_with(|| now.checked_add(self.capture_time));
        // With its own task still queued, a submitter's first is never late.
        let promised = self.ran == 0 && !self.own.is_null();
        promised || until.is_none_or(|until| now < until)
    }

    /// A task is about to run: it counts, as remains do not.
    fn count(&mut self) {
        self.ran += 1;
        if let Budget::Captured { left } | Budget::Waiter { left, .. } = &mut self.budget {
            *left = left.saturating_sub(1);
        }
    }

    /// The thread starts to lend itself, if it did not before.
    fn lends(&mut self) -> &mut Lending {
        self.lending.get_or_insert_with(Lending::starts)
    }

    /// Is the thread bound by no limit yet, since it waits for its own task?
    fn waits(&self) -> bool {
        matches!(self.budget, Budget::Waiter { task, .. } if !task.is_complete())
    }

    /// A task is about to run.
    fn starts(&mut self, is_own: bool) {
        if is_own && self.waits() {
            self.lends().read();
        }
    }

    /// A task ran.
    fn account(&mut self, is_own: bool) {
        if self.waits() && !is_own {
            return;
        }
        if let Some(lending) = &mut self.lending {
            let time = lending.read();
            if is_own {
                lending.own += time;
            }
        }
    }

    /// Wakes who waits for the task that ran last. That takes microseconds, so
    /// where no other task follows it is done when the role is given away; but
    /// before any other task runs, since that may wait for what the woken thread
    /// does.
    pub(crate) fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            panics::wake(waiter);
        }
    }

    /// Notes how long the tasks took, for the statistics and for those who
    /// decide whether to wait for such.
    #[inline]
    pub(crate) fn learn(&mut self) {
        if self.ran == 0 {
            return;
        }
        let waits = self.waits();
        let time = match (&mut self.lending, self.budget) {
            (Some(lending), _) => {
                if waits {
                    lending.read();
                }
                let time = lending.now.saturating_duration_since(lending.since);
                let lent = time.saturating_sub(lending.own);
                self.core.counters.lend(lent);
                time
            }
            (None, Budget::Worker { since }) => since.elapsed(),
            (None, _) => return,
        };
        self.core.strand().task_time().learn(self.ran, time);
    }
}

impl Crew for Shift<'_> {
    fn admits(&mut self) -> bool {
        if self.waiter.is_some() {
            // Before the next task is chosen: a more urgent one may come of it.
            context::enter(self.core.id(), Kind::Aside, || self.wake());
        }
        match self.budget {
            Budget::Captured { left } => self.admits_captured(left),
            Budget::Waiter { .. } if self.waits() => {
                self.lends();
                true
            }
            Budget::Waiter { left, .. } => self.admits_captured(left),
            Budget::Worker { since } => {
                let host = self.core.host();
                !self.progressed
                    || !host.dispatch.others_wait()
                    || since.elapsed() < host.limits.quantum
            }
            Budget::Endless => true,
        }
    }

    fn rests(&mut self) -> bool {
        self.core.strand().is_slow_path_only() && {
            // As before any other task: who waits for the last one may do what the
            // hook waits for.
            context::enter(self.core.id(), Kind::Aside, || self.wake());
            self.core.call_hook(self.owner)
        }
    }

    fn takes(&mut self, task: NonNull<Link>) {
        self.core.counters.dequeued.turn();
        // SAFETY: live, and the backlog is in hand.
        self.taken = unsafe { queued::takes(task) };
    }

    fn run(&mut self, link: NonNull<Link>) -> Flow {
        self.progressed = true;
        // SAFETY: the drain took it out of the queue.
        let task = unsafe { Queued::from_link(link) };
        if let Some(room) = self.room {
            // Before it runs: it may wait for what the one does who gets the room.
            if task.header().leaves_room() {
                context::enter(self.core.id(), Kind::Aside, || room.give_back());
            }
        }
        let is_own = ptr::eq(link.as_ptr(), self.own);
        if is_own {
            // Its address may soon be another task's.
            self.own = ptr::null();
        }
        let woken = match core::mem::take(&mut self.taken) {
            Taken::GivenUp(error) => {
                self.gives_up(task, error);
                return Flow::Done;
            }
            Taken::New if !task.claim() => {
                // What is left of a task that was cancelled, or expired.
                self.core.note_remains();
                context::enter(self.core.id(), Kind::Aside, || task.leave());
                return Flow::Done;
            }
            taken => matches!(taken, Taken::Woken),
        };
        if task.is_late(self.core.host().clock()) {
            match woken {
                true => self.gives_up(task, TaskError::Expired),
                false => self.expires(task),
            }
            return Flow::Done;
        }
        match self.run_claimed(&task, is_own, woken) {
            Ran::Suspended(signal) => return self.suspends(task, &signal),
            Ran::Returned | Ran::Panicked => self.completes(task),
        }
        Flow::Done
    }
}

impl Shift<'_> {
    /// Its deadline passed before it started.
    fn expires(&self, task: Queued) {
        self.core.note_late_in_queue();
        context::enter(self.core.id(), Kind::Aside, || {
            task.refuse(TaskError::Expired)
        });
    }

    /// Runs a task, or, if it was `woken`, goes on with it.
    fn run_claimed(&mut self, task: &Queued, is_own: bool, woken: bool) -> Ran {
        self.count();
        if let Some(meta) = task.meta() {
            meta.starts(self.core.host().clock());
        }
        self.starts(is_own);
        let header = task.header();
        let timing = self.stopwatch.map(|stopwatch| {
            let waited = header.queued_for().filter(|_| !woken);
            let started = stopwatch.starts(self.owner, header.name(), waited);
            (stopwatch, started)
        });
        let kind = if is_own { Kind::Own } else { Kind::Lent };
        let subject = Some(header as Subject<'_>);
        let ran = context::enter_task(self.core.id(), kind, subject, || {
            // SAFETY: the role makes the value ours, and the task came
            // from the queue of the resource that it was made for.
            let run = || unsafe { task.run(self.core.value(), self.name) };
            match task.meta() {
                // SAFETY: the task is ours while it runs.
                Some(meta) => unsafe { meta.within(run) },
                None => run(),
            }
        });
        if let Some((stopwatch, started)) = timing {
            stopwatch.ends(self.core, header.name(), started);
        }
        if matches!(ran, Ran::Panicked) {
            self.core.note_panic(header.name());
        }
        self.account(is_own);
        ran
    }

    #[inline(always)]
    fn completes(&mut self, task: Queued) {
        self.core.counters.dequeued.turn();
        // Wakers and drops of outcomes are user code, and run under the role.
        context::enter(self.core.id(), Kind::Aside, || {
            self.waiter = task.complete();
        });
    }

    /// The task waits: it goes back to the head of its resource, which is its own until
    /// it is woken. If it was woken meanwhile, this thread keeps the role, and it is next.
    pub(crate) fn suspends(&mut self, task: Queued, signal: &Signal) -> Flow {
        let core = self.core;
        let number = core.running();
        if let Some(error) = self.deserted(&task, signal) {
            self.gives_up(task, error);
            return Flow::Done;
        }
        let link = task.into_link();
        let mut asked = None;
        // Whoever wants it given up does so with the backlog in hand: finds it there, or
        // has asked before.
        let stays = || {
            // SAFETY: live, and ours until it is put back.
            let header = unsafe { link.cast::<Header>().as_ref() };
            let with_all = || (core.was_asked_to_stop(number)).then_some(TaskError::Cancelled);
            asked = header.is_given_up().or_else(with_all);
            if asked.is_none() {
                header.suspends();
                core.counters.dequeued.interrupt();
            }
            asked.is_none()
        };
        // SAFETY: it came out of the queue, and is live until it leaves it again.
        unsafe { core.strand().put_back(link, stays) };
        if let Some(error) = asked {
            // SAFETY: not put back, so still ours.
            self.gives_up(unsafe { Queued::from_link(link) }, error);
            return Flow::Done;
        }
        core.strand().suspend();
        let back = self.owner.share();
        if signal.park(Box::new(move || bring_back(&back))) {
            return Flow::Suspended;
        }
        core.strand().unsuspend();
        Flow::Done
    }

    /// Does nobody have a waker of this task, which waits to be woken?
    fn deserted(&self, task: &Queued, signal: &Signal) -> Option<TaskError> {
        if !signal.is_deserted() {
            return None;
        }
        let (resource, task) = (self.name, task.header().name());
        context::enter(self.core.id(), Kind::Aside, || {
            panics::tell(|| {
                tracing::warn!(target: "captor", resource, task, "a task waits, and nobody has a waker of it: cancelled");
            });
        });
        Some(TaskError::Cancelled)
    }

    /// A task that ran, and waits, is not to go on. Its future has the value until it is
    /// dropped, so that is for the holder. That drop is a part of the task: if it panics,
    /// the task did.
    #[cold]
    fn gives_up(&mut self, task: Queued, error: TaskError) {
        let late = matches!(error, TaskError::Expired);
        let drops = || task.drop_closure(error, self.name);
        match context::enter(self.core.id(), Kind::Aside, drops) {
            ClosureDrop::Dropped => self.core.note_given_up(late),
            ClosureDrop::Panicked => self.core.note_panic(task.header().name()),
        }
        self.completes(task);
    }
}
