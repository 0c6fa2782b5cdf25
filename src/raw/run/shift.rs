//! One thread's turn at draining a resource: which tasks the thread runs, how, and for how long.
//!
//! A [`Shift`] is the [`Crew`] of a drain. Its [`Budget`] decides whether another task may start.
//! For each task, the shift gives room back, claims the task, checks the deadline, runs the task
//! with its timing, and completes or suspends the task.

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

/// How long a shift lasts. A shift that begins with a hand-off always admits its first task, so
/// each hand-off makes progress (G7).
#[derive(Clone, Copy)]
enum Budget<'a> {
    /// A captured submitter starts at most `left` more tasks, and none after the capture time.
    Captured { left: usize },
    /// A thread that blocks for `task` runs all tasks before `task` without limit. Afterwards, the
    /// thread goes on as if captured.
    Waiter { task: &'a dyn Waitable, left: usize },
    /// A worker goes on until its quantum is over and other jobs wait.
    Worker { since: Instant },
    /// The thread goes on until nothing is left.
    Endless,
}

/// The clock of a thread that lends itself to other submitters. Reading the clock costs a tenth of
/// a queued task. So the thread reads the clock only where a limit asks for the time, and around
/// its own task.
#[derive(Clone, Copy)]
struct Lending {
    since: Instant,
    /// The last reading.
    now: Instant,
    /// The time spent on the thread's own task.
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

/// The turn of a thread that has the role of a resource. The drain reports to the shift.
pub(crate) struct Shift<'a> {
    owner: &'a dyn Owner,
    core: &'a Core<dyn Value>,
    name: Option<&'a str>,
    /// The room that tasks give back when they leave the queue, if the queue is bounded.
    room: Option<&'a Room>,
    /// The stopwatch, if the resource times its tasks.
    stopwatch: Option<&'a Stopwatch>,
    budget: Budget<'a>,
    /// The thread's own task, while that task is queued. Its time does not count as lent.
    own: *const Link,
    lending: Option<Lending>,
    /// How long a capture may last.
    capture_time: Duration,
    /// When the capture ends, once it has begun. The inner `None` means never.
    until: Option<Option<Instant>>,
    ran: usize,
    /// The kind of the task that came out of the queue last.
    taken: Taken,
    /// Whether the shift has taken a task out of the queue. The remains of a task count.
    progressed: bool,
    /// The waker of the waiter for the task that ran last.
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

    /// Returns the shift of a submitter that has the role. The submitter's own task has run
    /// already, or is queued as `own`.
    ///
    /// In two cases, the submitter runs no task but its own:
    /// - inside a task of another resource (G6);
    /// - while its thread unwinds, because other submitters' tasks would take the panic for their
    ///   own.
    pub(crate) fn submitter(owner: &'a dyn Owner, own: Option<NonNull<Link>>) -> Self {
        let limit = match context::depth() {
            0 if !is_panicking() => owner.core().capture_limit(),
            _ => 1,
        };
        let left = if own.is_some() { limit } else { limit - 1 };
        let own = own.map_or(ptr::null(), |link| link.as_ptr().cast_const());
        Self::new(owner, Budget::Captured { left }, own)
    }

    /// Returns a shift that runs no task.
    pub(crate) fn none(owner: &'a dyn Owner) -> Self {
        Self::new(owner, Budget::Captured { left: 0 }, ptr::null())
    }

    /// Returns the shift of a thread that blocks for `task` and takes the role meanwhile.
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

    /// Checks whether a captured thread with `left` tasks to go may start another task.
    ///
    /// The thread starts to lend itself here. [`Shift::account`] reads the clock at the end.
    fn admits_captured(&mut self, left: usize) -> bool {
        if left == 0 {
            return false;
        }
        let now = self.lends().now;
        let until = *self
            .until
            .get_or_insert_with(|| now.checked_add(self.capture_time));
        // If a submitter's own task is still queued, its first task is never late.
        let promised = self.ran == 0 && !self.own.is_null();
        promised || until.is_none_or(|until| now < until)
    }

    /// Counts a task that is about to run. Remains of tasks do not count.
    fn count(&mut self) {
        self.ran += 1;
        if let Budget::Captured { left } | Budget::Waiter { left, .. } = &mut self.budget {
            *left = left.saturating_sub(1);
        }
    }

    /// Starts the clock of a thread that lends itself, unless the clock was started before.
    fn lends(&mut self) -> &mut Lending {
        self.lending.get_or_insert_with(Lending::starts)
    }

    /// Checks whether the thread still waits for its own task. No limit binds the thread until
    /// then.
    fn waits(&self) -> bool {
        matches!(self.budget, Budget::Waiter { task, .. } if !task.is_complete())
    }

    /// Reads the clock before a task runs, if the thread waits for this task.
    fn starts(&mut self, is_own: bool) {
        if is_own && self.waits() {
            self.lends().read();
        }
    }

    /// Reads the clock after a task ran, unless the thread still waits for a later task.
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

    /// Wakes the waiter for the task that ran last.
    ///
    /// A wake-up takes microseconds. So if no other task follows, the holder gives the role away
    /// first. If another task follows, the wake-up comes before that task, which may wait for what
    /// the woken thread does.
    pub(crate) fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            panics::wake(waiter);
        }
    }

    /// Notes how long the tasks took. The statistics use this time, and so do threads that decide
    /// how long to linger.
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
            // The wake-up comes before the next task is chosen, because it may queue a more urgent
            // task.
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
            // The waiter for the last task is woken first: the hook may wait for what the woken
            // thread does.
            context::enter(self.core.id(), Kind::Aside, || self.wake());
            self.core.call_hook(self.owner)
        }
    }

    fn takes(&mut self, task: NonNull<Link>) {
        self.core.counters.dequeued.turn();
        // SAFETY: the drain has just taken `task` out of the backlog, so the task is live. The
        // backlog is in hand (`Crew::takes`).
        self.taken = unsafe { queued::takes(task) };
    }

    fn run(&mut self, link: NonNull<Link>) -> Flow {
        self.progressed = true;
        // SAFETY: the link came from `into_link`, and the drain took it out of the queue.
        let task = unsafe { Queued::from_link(link) };
        if let Some(room) = self.room {
            // The task may wait for what the next owner of its room does. So the room is given back
            // before the task runs.
            if task.header().leaves_room() {
                context::enter(self.core.id(), Kind::Aside, || room.give_back());
            }
        }
        let is_own = ptr::eq(link.as_ptr(), self.own);
        if is_own {
            // Another task may soon have this address.
            self.own = ptr::null();
        }
        let woken = match core::mem::take(&mut self.taken) {
            Taken::GivenUp(error) => {
                self.gives_up(task, error);
                return Flow::Done;
            }
            Taken::New if !task.claim() => {
                // The remains of a task that was cancelled, or that expired.
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
        match self.run_queued(&task, is_own, woken) {
            Ran::Suspended(signal) => return self.suspends(task, &signal),
            Ran::Returned | Ran::Panicked => self.completes(task),
        }
        Flow::Done
    }
}

impl Shift<'_> {
    /// Drops a task whose deadline passed before the task started.
    fn expires(&self, task: Queued) {
        self.core.note_late_in_queue();
        context::enter(self.core.id(), Kind::Aside, || {
            task.refuse(TaskError::Expired)
        });
    }

    /// Runs a claimed task, or resumes a task that was `woken`.
    fn run_queued(&mut self, task: &Queued, is_own: bool, woken: bool) -> Ran {
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
            // SAFETY: this thread has the role, so no other thread uses the value. The task came
            // from the queue of the resource that it was made for.
            let run = || unsafe { task.run(self.core.value(), self.name) };
            match task.meta() {
                // SAFETY: this thread is the holder and has the task in hand while the task runs
                // (contract of `within`).
                Some(meta) => unsafe { meta.within(run) },
                None => run(),
            }
        });
        if let Some((stopwatch, started)) = timing {
            stopwatch.ends(self.core, header.name(), started);
        }
        if matches!(ran, Ran::Panicked) {
            // SAFETY: the role is this thread's. The task, which borrowed the value, has unwound, and
            // an asynchronous task has dropped its future.
            unsafe { self.core.note_panic(header.name()) };
        }
        self.account(is_own);
        ran
    }

    #[inline(always)]
    fn completes(&mut self, task: Queued) {
        self.core.counters.dequeued.turn();
        // Wakers and drops of outcomes are user code and run under the role.
        context::enter(self.core.id(), Kind::Aside, || {
            self.waiter = task.complete();
        });
    }

    /// Puts a task that waits back at the head of the queue and suspends the resource. The task
    /// keeps the resource until the task is woken.
    ///
    /// If the task was woken meanwhile, this thread keeps the role, and the task is next. If the
    /// task was given up, this thread drops the task's future instead.
    pub(crate) fn suspends(&mut self, task: Queued, signal: &Signal) -> Flow {
        let core = self.core;
        let number = core.running();
        if let Some(error) = self.deserted(&task, signal) {
            self.gives_up(task, error);
            return Flow::Done;
        }
        let link = task.into_link();
        let mut asked = None;
        // A canceller, a sweep or the timer thread gives a task up with the backlog in hand.
        // `put_back` calls `stays` with the backlog in hand too.
        // - The request came first: `stays` finds the request, and the task is not put back.
        // - The task was put back first: the thread that gives it up finds `SUSPENDED`.
        let stays = || {
            // SAFETY: the task is live, and this thread's own until it is put back.
            let header = unsafe { link.cast::<Header>().as_ref() };
            let with_all = || (core.was_asked_to_stop(number)).then_some(TaskError::Cancelled);
            asked = header.is_given_up().or_else(with_all);
            if asked.is_none() {
                header.suspends();
                core.counters.dequeued.interrupt();
            }
            asked.is_none()
        };
        // SAFETY: the task is in no queue, and stays live until it comes out of the queue again
        // (contract of `put_back`).
        unsafe { core.strand().put_back(link, stays) };
        if let Some(error) = asked {
            // SAFETY: `link` came from `into_link`, and the task was not put back, so it is in no
            // queue.
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

    /// Checks whether no waker is left that could wake this suspended task. If so, returns the
    /// error that the task ends with.
    fn deserted(&self, task: &Queued, signal: &Signal) -> Option<TaskError> {
        if !signal.has_no_waker() {
            return None;
        }
        let (resource, task) = (self.name, task.header().name());
        context::enter(self.core.id(), Kind::Aside, || {
            panics::log_safely(|| {
                tracing::warn!(target: "captor", resource, task, "cancelled a suspended task: no waker for it exists, so it could never resume");
            });
        });
        Some(TaskError::Cancelled)
    }

    /// Gives up a task that ran and waits: drops its future and completes the task with `error`.
    ///
    /// The future has the value until it is dropped, so only the holder may drop the future. The
    /// drop is a part of the task: if the drop panics, the task has panicked.
    #[cold]
    fn gives_up(&mut self, task: Queued, error: TaskError) {
        let late = matches!(error, TaskError::Expired);
        let drops = || task.drop_closure(error, self.name);
        match context::enter(self.core.id(), Kind::Aside, drops) {
            ClosureDrop::Dropped => self.core.note_given_up(late),
            ClosureDrop::Panicked => {
                // SAFETY: the role is this thread's, and the future, which borrowed the value, is
                // dropped.
                unsafe { self.core.note_panic(task.header().name()) }
            }
        }
        self.completes(task);
    }
}
