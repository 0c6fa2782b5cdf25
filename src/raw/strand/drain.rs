//! The drain state machine: every transition of the state word, and the loop
//! that runs a queue.
//!
//! A [`Strand`] is the state word, the backlog and the [`Lane`]: what a resource
//! needs to run tasks one at a time. It never sees the value, threads or time;
//! what it needs from them it asks of a [`Crew`]. `docs/design.md` draws the
//! transitions and argues each guarantee from them.
//!
//! # Orderings
//!
//! Steps on the word are read-modify-writes, so each continues the release
//! sequences of those before it: whoever takes the role sees what every earlier
//! holder wrote (G3), and whoever takes the queue sees every node pushed to it.
//! They are sequentially consistent, as entering the lane is, for the one
//! question that two words decide: is somebody in the lane?

use crate::raw::strand::backlog::{Backlog, InHand};
use crate::raw::strand::lane::{Entry, Lane};
use crate::raw::strand::levels::Order;
use crate::raw::strand::linger::TaskTime;
use crate::raw::strand::queue::{Link, reverse};
use crate::raw::strand::state::{Mode, State};
use crate::sync::{AtomicPtr, Ordering, yield_now};
use core::ptr::{self, NonNull};

/// What a drain asks of the thread that carries it out.
pub(crate) trait Crew {
    /// May another task start? Asked with work at hand.
    fn admits(&mut self) -> bool;
    /// Nothing is queued, and the strand is about to be released. `true`: it did
    /// something meanwhile, so look again.
    fn rests(&mut self) -> bool;
    /// A task leaves the queue. A sweep comes before it and finds the task, or after.
    fn takes(&mut self, task: NonNull<Link>);
    /// Runs one task to its end, or to where it suspends the strand.
    fn run(&mut self, task: NonNull<Link>) -> Flow;
}

/// How a task's run ended, for the queue it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// The task is through; the role is still ours.
    Done,
    /// The task waits and keeps the strand; the role is no longer ours.
    Suspended,
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Nothing was left, and the strand was released.
    Idle {
        /// It refuses new tasks, so this was the last one.
        refusing: bool,
    },
    /// A task suspended the strand.
    Suspended,
    /// The crew admits no more. The caller still holds the role, with work
    /// left, and has to hand it off.
    Exhausted,
}

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// Queued behind a holder or an offer that stands.
    Queued,
    /// Queued, and the role is now the caller's.
    Captured,
    /// Queued on an idle strand, which is now on offer.
    Offered {
        /// The caller has to dispatch a job.
        dispatch: bool,
    },
    /// Not queued: the strand refuses.
    Refused,
}

/// What a push does to the word, besides queueing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing: others have the role, or have to see to it.
    Queue,
    /// Takes an idle strand, if nobody is in the lane.
    Claim,
    /// Takes the role that is on offer.
    Take,
    /// Leaves the task to who is in the lane.
    Leave,
    /// Puts the role of an idle strand on offer.
    Offer,
}

/// Which roles a submitter takes on when it finds them free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Terms {
    /// An idle strand, and one on offer, with all that is queued there.
    Any,
    /// An idle strand only: the submitter runs no task but its own. (Not where
    /// tasks are sorted: a more urgent one may come before it.)
    Own,
    /// None: the task is left to the pool.
    None,
}

/// How a submitter came to run a task, and is to let go of the strand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Lane,
    Word,
}

/// What became of a try to claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It was idle and is now the caller's.
    Made(Way),
    /// It was not idle.
    Failed,
    /// It was not idle, and the role is the caller's, with what others queued:
    /// they took the caller for one who runs a task.
    Burdened,
}

/// What a look at the strand without a task in hand found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// It was idle and is now the caller's.
    Claimed(Way),
    /// See [`Claim::Burdened`].
    Burdened,
    /// Its holder is at work: it may soon be idle.
    Busy,
    /// No holder is at work on it now, or the queue's order says: queue.
    Queue,
    /// It refuses.
    Refusing,
}

/// The state word, the backlog and the lane.
// In this order: see `Core`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Strand {
    backlog: Backlog,
    word: AtomicPtr<()>,
    lane: Lane,
    task_time: TaskTime,
}

/// Whether the resource never runs on its callers. It is a setting of the
/// resource, kept where settings are, and passed to the steps that differ.
pub(crate) type Pooled = bool;

impl Strand {
    /// An idle strand. A `pooled` one never takes the fast path. One without a
    /// `lane` takes it by the word. One with an order runs what is queued in
    /// that.
    #[inline]
    pub(crate) fn new(pooled: Pooled, lane: bool, attended: bool, order: Option<Order>) -> Self {
        let idle = if pooled {
            State::IDLE_POOLED
        } else {
            State::IDLE
        };
        let word = AtomicPtr::new(idle.into_raw());
        // loom would let sequentially consistent loads miss a step but for this.
        #[cfg(captor_loom)]
        word.store(idle.into_raw(), Ordering::SeqCst);
        Strand {
            word,
            backlog: Backlog::new(order),
            lane: Lane::new(lane && !pooled, attended),
            task_time: TaskTime::default(),
        }
    }

    /// What is kept beside the strand for those who come to it.
    pub(crate) fn task_time(&self) -> &TaskTime {
        &self.task_time
    }

    pub(crate) fn state(&self) -> State {
        // Acquire: partners with every Release on the word; a caller that
        // finds the strand ended sees what its last task wrote.
        State::from_raw(self.word.load(Ordering::Acquire))
    }

    /// "No" may be out of date.
    #[inline]
    pub(crate) fn is_attended(&self) -> bool {
        self.lane.is_attended()
    }

    /// Is the role on offer?
    pub(crate) fn is_offered(&self) -> bool {
        self.state().mode() == Mode::Offered
    }

    /// Does nobody hold it, and is nothing queued? If a strand that refuses is
    /// not at rest, there is somebody who will be heard of when it is.
    pub(crate) fn is_at_rest(&self) -> bool {
        // SeqCst: see `Lane::enter`. Who entered the lane in vain may have left
        // it unheard, so that is made sure of.
        let s = State::from_raw(self.word.load(Ordering::SeqCst));
        s.mode() == Mode::Idle && s.head().is_null() && !self.lane.is_taken_for_sure()
    }

    /// Makes all that holders did visible, which `Arc` does before it drops
    /// what it holds. loom knows nothing of that `Arc`.
    #[cfg(captor_loom)]
    pub(crate) fn see_all(&self) {
        let _ = self.update(Some);
        self.lane.see_all();
    }

    /// Applies `f` in one step, or nothing where it returns `None`; returns
    /// the state before.
    fn update(&self, mut f: impl FnMut(State) -> Option<State>) -> Result<State, State> {
        let mut now = self.state();
        loop {
            let Some(next) = f(now) else { return Err(now) };
            match self.word.compare_exchange_weak(
                now.into_raw(),
                next.into_raw(),
                Ordering::SeqCst,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(now),
                Err(raw) => now = State::from_raw(raw),
            }
        }
    }

    /// The fast path's claim: idle, open, no job pending.
    ///
    /// Races with another claim (one wins, the other queues), a push (loses
    /// to the claim or finds it made), a close (before: refused; after: the
    /// task was accepted). By the word, all are decided there. By the lane, it
    /// is taken first and the word looked at second, and whoever moves the word
    /// looks at the lane second: of two that race, at least one sees the other.
    #[inline(always)]
    pub(crate) fn try_claim(&self) -> Claim {
        match self.lane.enter() {
            // SeqCst: see `Lane::enter`. Acquire: partners with those who
            // released by the word.
            Entry::Entered if self.word.load(Ordering::SeqCst) == State::IDLE.into_raw() => {
                Claim::Made(Way::Lane)
            }
            Entry::Entered => self.back_off(),
            Entry::Taken | Entry::Attended => Claim::Failed,
            Entry::Closed => self.claim_by_word(),
        }
    }

    /// A look that orders nothing.
    #[inline(always)]
    fn is_idle(&self) -> bool {
        self.word.load(Ordering::Relaxed) == State::IDLE.into_raw()
    }

    pub(crate) fn claim_by_word(&self) -> Claim {
        let claimed = self.word.compare_exchange(
            State::IDLE.into_raw(),
            State::HELD.into_raw(),
            // SeqCst: see `Lane::enter`. Its acquire half partners with the
            // Release of `try_release` and the release half of `release`,
            // whose task this one follows.
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        match claimed {
            Ok(_) => self.contest(),
            Err(_) => Claim::Failed,
        }
    }

    /// Entered the lane, and the word was not idle any more.
    #[cold]
    fn back_off(&self) -> Claim {
        self.lane.leave();
        if !self.is_idle() && self.tend() {
            Claim::Burdened
        } else {
            Claim::Failed
        }
    }

    /// The fast path's release: nothing was queued, nothing was asked for.
    ///
    /// Holder only, with an empty backlog. Fails where a push, a close or a
    /// job came between; then the role is the caller's, by the word, and it
    /// goes on to [`Strand::drain`].
    #[inline(always)]
    pub(crate) fn try_release(&self, way: Way) -> bool {
        match way {
            Way::Lane => {
                self.lane.leave();
                self.is_idle() || !self.tend()
            }
            Way::Word => {
                // Its release half partners with the acquire half of the next
                // claim. SeqCst: like every step on the word.
                self.lane.count_down()
                    && self
                        .word
                        .compare_exchange(
                            State::HELD.into_raw(),
                            State::IDLE.into_raw(),
                            Ordering::SeqCst,
                            Ordering::Relaxed,
                        )
                        .is_ok()
            }
        }
    }

    /// The holder is to keep the role for longer than the lane is for: from now on it has
    /// it by the word. (B0 in `docs/design.md`, The lane.)
    #[cold]
    pub(crate) fn by_word(&self, way: Way) {
        if way == Way::Word {
            return;
        }
        // Whoever else takes the idle word finds the lane taken, and gives it back at
        // once; what they queued comes with it.
        let take = |s: State| (s.mode() == Mode::Idle).then(|| s.with_mode(Mode::Held));
        while self.update(take).is_err() {
            yield_now();
        }
        self.lane.leave();
    }

    /// The word was idle, and says now that the role is the caller's. Is it so,
    /// or is somebody in the lane?
    ///
    /// Asked by whoever takes an idle word, and by nobody else: while it is not
    /// idle, whoever enters the lane leaves at once.
    #[inline]
    fn contest(&self) -> Claim {
        if !self.lane.is_taken() {
            Claim::Made(Way::Word)
        } else if self.concede() {
            // Others came meanwhile, and it may have been closed and at its end.
            Claim::Burdened
        } else {
            Claim::Failed
        }
    }

    /// Gives the role back: whoever is in the lane has it, with what is queued.
    /// (The backlog is empty, since the word was idle.) `true` if they left
    /// meanwhile, and there is something to do, for which the role is the
    /// caller's again.
    #[cold]
    fn concede(&self) -> bool {
        let _ = self.update(|s| Some(s.with_mode(Mode::Idle)));
        !self.lane.is_taken_for_sure() && self.tend()
    }

    /// Takes the role if there is something to do that was left to those in
    /// the lane: tasks queued on an idle strand, or the end of one that refuses.
    ///
    /// Called by each who leaves the lane and finds the word changed, and by
    /// each who changed it and found the lane left.
    #[cold]
    fn tend(&self) -> bool {
        self.update(|s| {
            let left = s.mode() == Mode::Idle && (!s.head().is_null() || s.is_refusing());
            left.then(|| s.with_mode(Mode::Held))
        })
        .is_ok()
            && self.contest() != Claim::Failed
    }

    /// Looks once, and claims the strand if it is idle (a stale job does not
    /// matter here).
    pub(crate) fn look(&self) -> Look {
        let s = self.state();
        let claim = match s.mode() {
            Mode::Idle if s.has_job() || self.lane.is_attended() => self.claim_anyway(),
            // To enter the lane in vain has consequences.
            Mode::Idle if s == State::IDLE => self.try_claim(),
            _ => Claim::Failed,
        };
        match (claim, s.mode()) {
            (Claim::Made(way), _) => Look::Claimed(way),
            (Claim::Burdened, _) => Look::Burdened,
            (Claim::Failed, _) if s.is_refusing() => Look::Refusing,
            (Claim::Failed, Mode::Idle | Mode::Held) => Look::Busy,
            (Claim::Failed, Mode::Offered | Mode::Suspended) => Look::Queue,
        }
    }

    /// With a job pending, or attended.
    fn claim_anyway(&self) -> Claim {
        let claimed = self.update(|s| {
            let idle = s.mode() == Mode::Idle && s.head().is_null() && !s.is_refusing();
            idle.then(|| s.with_mode(Mode::Held))
        });
        match claimed {
            Ok(_) => self.contest(),
            Err(_) => Claim::Failed,
        }
    }

    /// Queues `task` as the newest, unless the strand refuses. `inside`: by a
    /// task of this strand.
    ///
    /// The claim, the push and the refusal are one step on one word. That is
    /// what keeps submission order: "idle" is seen only after all that was
    /// queued has run (G2), and a task is either refused or accounted for (G4).
    ///
    /// # Safety
    /// `task` is a live node in no queue; if it is accepted it stays live
    /// until it comes out of [`Crew::run`] or [`Strand::sweep`].
    pub(crate) unsafe fn push(
        &self,
        task: NonNull<Link>,
        terms: Terms,
        pooled: Pooled,
        inside: bool,
    ) -> Pushed {
        let mut step = Step::Queue;
        let pushed = self.update(|s| {
            if s.is_refusing() {
                return None;
            }
            step = self.step_of_push(s, terms, pooled);
            let next = match step {
                Step::Queue | Step::Leave => s,
                Step::Take | Step::Claim => s.with_mode(Mode::Held),
                Step::Offer => s.with_mode(Mode::Offered),
            };
            // SAFETY: not yet pushed, so the node is still the caller's alone.
            unsafe { Link::set_next(task, s.head().cast()) };
            Some(next.with_head(task.as_ptr().cast()))
        });
        if pushed.is_err() {
            return Pushed::Refused;
        }
        let captured = match step {
            Step::Queue => false,
            Step::Offer => return Pushed::Offered { dispatch: true },
            Step::Take => return Pushed::Captured,
            // Its own task is the first.
            Step::Claim if terms == Terms::Own && !self.lane.is_taken() => {
                return Pushed::Captured;
            }
            Step::Claim => self.contest() != Claim::Failed,
            // Who is inside is in the lane itself, and looks when it leaves.
            Step::Leave if inside => false,
            Step::Leave => !self.lane.is_taken_for_sure() && self.tend(),
        };
        match terms {
            _ if !captured => Pushed::Queued,
            Terms::Any => Pushed::Captured,
            // Others' tasks may be there, before its own.
            Terms::Own | Terms::None => Pushed::Offered {
                dispatch: self.offer(pooled),
            },
        }
    }

    fn step_of_push(&self, s: State, terms: Terms, pooled: Pooled) -> Step {
        match s.mode() {
            Mode::Idle if !s.head().is_null() => Step::Queue,
            // It has no lane.
            Mode::Idle if pooled => Step::Offer,
            Mode::Idle if self.lane.is_taken() => Step::Leave,
            Mode::Idle => Step::Claim,
            Mode::Offered if terms == Terms::Any => Step::Take,
            _ => Step::Queue,
        }
    }

    /// Takes the role if it is on offer.
    pub(crate) fn take_offer(&self) -> bool {
        self.update(|s| (s.mode() == Mode::Offered).then(|| s.with_mode(Mode::Held)))
            .is_ok()
    }

    /// A job for this strand starts, or was dropped: it is no longer pending.
    /// Takes the role if it is still on offer.
    pub(crate) fn accept_job(&self, pooled: Pooled) -> bool {
        let before = self.update(|s| {
            let s = if pooled { s } else { s.with_job(false) };
            Some(match s.mode() {
                Mode::Offered => s.with_mode(Mode::Held),
                _ => s,
            })
        });
        before.is_ok_and(|s| s.mode() == Mode::Offered)
    }

    /// Puts the role on offer. Holder only. Returns whether the caller has to
    /// dispatch a job (a pending one serves as well).
    pub(crate) fn offer(&self, pooled: Pooled) -> bool {
        self.update(|s| Some(s.with_mode(Mode::Offered).with_job(true)))
            .is_ok_and(|s| pooled || !s.has_job())
    }

    /// Puts the role on offer with no job: the caller has somebody who will
    /// look for it. Holder only.
    pub(crate) fn offer_without_job(&self) {
        let _ = self.update(|s| Some(s.with_mode(Mode::Offered)));
    }

    /// The role is on offer and nobody is sure to come: orders a job.
    /// Returns whether the caller has to dispatch it.
    pub(crate) fn order_job(&self) -> bool {
        self.update(|s| (s.mode() == Mode::Offered && !s.has_job()).then(|| s.with_job(true)))
            .is_ok()
    }

    /// Gives the role to a task that waits. Holder only.
    pub(crate) fn suspend(&self) {
        let _ = self.update(|s| Some(s.with_mode(Mode::Suspended)));
    }

    /// Takes the role back for a task that no longer waits. Only for the one
    /// who may resume that task.
    pub(crate) fn unsuspend(&self) {
        let _ = self.update(|s| {
            debug_assert_eq!(s.mode(), Mode::Suspended);
            Some(s.with_mode(Mode::Held))
        });
    }

    /// From now on the strand is attended: nobody takes the fast path, or releases
    /// it without asking the crew. Holder only, by the word.
    pub(crate) fn attend(&self) {
        self.lane.attend();
    }

    /// Puts `task` before all that is queued, if `stays` says so: one step, as a sweep
    /// sees it. Holder only.
    ///
    /// # Safety
    /// As for [`Strand::push`].
    pub(crate) unsafe fn put_back(&self, task: NonNull<Link>, stays: impl FnOnce() -> bool) {
        let mut backlog = self.backlog.take();
        if stays() {
            // SAFETY: by the contract.
            unsafe { backlog.push_front(task) };
        }
    }

    /// From now on every push is refused. `true`: nobody was at work, nothing
    /// was queued; else whoever is at work comes to the end later.
    pub(crate) fn refuse(&self) -> bool {
        let before = self.update(|s| Some(s.with_refusing(true)));
        before.is_ok_and(|s| s.mode() == Mode::Idle && s.head().is_null())
            && !self.lane.is_taken_for_sure()
    }

    /// Takes a strand that refuses and is idle.
    pub(crate) fn claim_refusing(&self) -> bool {
        // The one whose task made it refuse may still be in the lane; or
        // another, if it was healed and refuses again.
        !self.lane.is_taken()
            && self
                .update(|s| {
                    (s.mode() == Mode::Idle && s.is_refusing()).then(|| s.with_mode(Mode::Held))
                })
                .is_ok()
            && self.contest() != Claim::Failed
    }

    /// Accepts again. Holder only.
    pub(crate) fn reopen(&self) {
        let _ = self.update(|s| Some(s.with_refusing(false)));
    }

    /// What `f` does is one step, as a sweep and the holder see it: no task comes out of
    /// the queue meanwhile, or is put back.
    pub(crate) fn in_one_step<R>(&self, f: impl FnOnce() -> R) -> R {
        let _backlog = self.backlog.take();
        f()
    }

    /// Takes out all that is queued, oldest first, but a task at its head that
    /// `is_waiting`, which is the holder's; `also` is told of that one in the same step, as
    /// the holder sees it (see [`Crew::takes`]). Anyone may.
    pub(crate) fn sweep(
        &self,
        is_waiting: impl FnOnce(NonNull<Link>) -> bool,
        also: impl FnOnce(Option<NonNull<Link>>),
    ) -> Chain {
        let mut backlog = self.backlog.take();
        let newest = self.take_intake();
        let mut older = Chain(backlog.take_all());
        let first = NonNull::new(older.0).filter(|first| is_waiting(*first));
        if let Some(waiting) = first {
            older.next();
            // SAFETY: it came out just now.
            unsafe { backlog.push_front(waiting) };
        }
        also(first);
        drop(backlog);
        // SAFETY: both chains are ours: the one came out of the word, the
        // other out of the backlog.
        unsafe {
            let younger = reverse(newest);
            Chain(append(older.0, younger))
        }
    }

    fn take_intake(&self) -> *mut Link {
        self.update(|s| (!s.head().is_null()).then(|| s.with_head(ptr::null_mut())))
            .map_or(ptr::null_mut(), |s| s.head().cast())
    }

    /// Is anything queued? Holder only: to others it may be out of date.
    fn has_next(&self) -> bool {
        !self.backlog.is_empty() || !self.state().head().is_null()
    }

    /// The queued task whose turn it is. Holder only.
    #[inline]
    fn next(&self, takes: impl FnOnce(NonNull<Link>)) -> Option<NonNull<Link>> {
        let mut backlog = self.backlog_in_hand();
        let next = backlog.pop()?;
        takes(next);
        Some(next)
    }

    /// The backlog, with what was pushed in it if that may be next. Holder only.
    #[inline]
    fn backlog_in_hand(&self) -> InHand<'_> {
        // The backlog is in hand before the intake is taken, so that a sweep
        // finds each task in one of the two.
        let mut backlog = self.backlog.take();
        if backlog.wants_more() {
            // SAFETY: the chain came out of the word, so it is ours.
            unsafe { backlog.fill(reverse(self.take_intake())) };
        }
        backlog
    }

    /// The first of the `limit` queued tasks that are next for which `f` has an
    /// answer. Holder only.
    pub(crate) fn find<R>(
        &self,
        limit: usize,
        f: impl FnMut(NonNull<Link>) -> Option<R>,
    ) -> Option<R> {
        self.backlog_in_hand().find(limit, f)
    }

    /// Lets go of the strand if nothing is queued. Holder only.
    fn release(&self) -> Result<State, ()> {
        self.update(|s| s.head().is_null().then(|| s.with_mode(Mode::Idle)))
            .map_err(drop)
    }

    /// Runs what is queued, in order, until nothing is left or the crew
    /// has done its share. Holder only.
    pub(crate) fn drain(&self, crew: &mut impl Crew) -> Ended {
        // Where tasks are refused, nobody is to enter the lane in vain.
        if self.has_next() || self.state().is_refusing() {
            self.lane.close();
        }
        loop {
            if !self.has_next() {
                if crew.rests() {
                    continue;
                }
                // A push between the two looks makes the release fail.
                match self.release() {
                    Ok(before) => {
                        return Ended::Idle {
                            refusing: before.is_refusing(),
                        };
                    }
                    Err(()) => continue,
                }
            }
            if !crew.admits() {
                return Ended::Exhausted;
            }
            // `None`: a sweep came between.
            if let Some(task) = self.next(|task| crew.takes(task)) {
                if crew.run(task) == Flow::Suspended {
                    return Ended::Suspended;
                }
            }
        }
    }
}

/// Tasks that came out of a queue, oldest first.
#[derive(Debug)]
pub(crate) struct Chain(*mut Link);

impl Iterator for Chain {
    type Item = NonNull<Link>;

    fn next(&mut self) -> Option<NonNull<Link>> {
        let first = NonNull::new(self.0)?;
        // SAFETY: the chain's nodes are live and nobody else's; the link is
        // read before the node is given out.
        self.0 = unsafe { Link::next(first) };
        Some(first)
    }
}

/// # Safety
/// Both chains are live and the caller's alone.
unsafe fn append(first: *mut Link, second: *mut Link) -> *mut Link {
    let Some(mut last) = NonNull::new(first) else {
        return second;
    };
    // SAFETY: every node up to the end is part of the caller's chain.
    unsafe {
        while let Some(next) = NonNull::new(Link::next(last)) {
            last = next;
        }
        Link::set_next(last, second);
    }
    first
}
