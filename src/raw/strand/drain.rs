//! The drain loop, and the sweep that takes out all that is queued.

use crate::raw::strand::Strand;
use crate::raw::strand::backlog::InHand;
use crate::raw::strand::queue::{Link, reverse};
use crate::raw::strand::state::{Mode, State};
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

impl Strand {
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
