//! The drain loop, and the sweep that takes out all that is queued.
//!
//! The holder takes the stack of the state word into the backlog, and runs one task after another.
//! A [`Crew`] says how long the holder goes on, and runs each task. A sweep takes out all that is
//! pending, on any thread. The holder and a sweep take the backlog in hand for each step, so each
//! task comes out of the queue once.

use crate::raw::strand::Strand;
use crate::raw::strand::backlog::InHand;
use crate::raw::strand::queue::{Link, reverse};
use crate::raw::strand::state::{Mode, State};
use core::ptr::{self, NonNull};

/// The thread that carries out a drain, as the drain sees the thread.
pub(crate) trait Crew {
    /// Checks whether a further task may start. Called only if a task is queued.
    fn admits(&mut self) -> bool;
    /// Called when nothing is queued and the strand is about to be released. Returns `true` if the
    /// crew did something, so that the drain must look again.
    fn rests(&mut self) -> bool;
    /// Called with the backlog in hand as `task` leaves the queue. A sweep finds the task if the
    /// sweep comes before this step, and otherwise does not.
    fn takes(&mut self, task: NonNull<Link>);
    /// Runs one task to its end, or until the task suspends the strand.
    fn run(&mut self, task: NonNull<Link>) -> Flow;
}

/// How a task's run ended, as the queue sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// The holder keeps the role. The task has finished, or was woken before it parked and is next
    /// again.
    Done,
    /// The task waits and keeps the strand. The caller does not have the role any more.
    Suspended,
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Nothing was left, and the strand was released.
    Idle {
        /// Whether the strand refuses new tasks, so that nothing is left to run.
        refusing: bool,
    },
    /// A task suspended the strand.
    Suspended,
    /// The crew admits no further task. The caller still holds the role, with tasks left, and must
    /// hand it off.
    Exhausted,
}

impl Strand {
    /// Puts `task` before all queued tasks, if `stays` returns `true`. To a sweep, both are one
    /// step. Must be called by the holder.
    ///
    /// # Safety
    /// `task` must be a live node in no queue. If `stays` returns `true`, `task` must stay live
    /// until [`Crew::run`] or [`Strand::sweep`] takes it out of the queue.
    pub(crate) unsafe fn put_back(&self, task: NonNull<Link>, stays: impl FnOnce() -> bool) {
        let mut backlog = self.backlog.take();
        if stays() {
            // SAFETY: `task` is a live node in no queue (contract of `put_back`).
            unsafe { backlog.push_front(task) };
        }
    }

    /// Runs `f` with the backlog in hand. To a sweep and to the holder, `f` is one step: meanwhile,
    /// no task comes out of the queue or is put back.
    pub(crate) fn with_backlog_in_hand<R>(&self, f: impl FnOnce() -> R) -> R {
        let _backlog = self.backlog.take();
        f()
    }

    /// Takes out all that is queued, oldest first. Any thread may call this.
    ///
    /// If `is_waiting` returns `true` for the task at the head, that task stays in the queue, since
    /// only the holder may drop a suspended task. `also` gets that task, if any, in the same step,
    /// as the holder sees the step: see [`Crew::takes`].
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
            // SAFETY: `waiting` came out of the backlog just now, so it is live and in no list.
            unsafe { backlog.push_front(waiting) };
        }
        also(first);
        drop(backlog);
        // SAFETY: both chains are live and belong to this thread. The younger chain came out of the
        // word, and the older chain came out of the backlog.
        unsafe {
            let younger = reverse(newest);
            Chain(append(older.0, younger))
        }
    }

    fn take_intake(&self) -> *mut Link {
        self.update(|s| (!s.head().is_null()).then(|| s.with_head(ptr::null_mut())))
            .map_or(ptr::null_mut(), |s| s.head().cast())
    }

    /// Checks whether a task is queued. Must be called by the holder: to another thread, the answer
    /// may be out of date.
    fn has_next(&self) -> bool {
        !self.backlog.is_empty() || !self.state().head().is_null()
    }

    /// Takes out the task whose turn it is. Must be called by the holder.
    #[inline]
    fn next(&self, takes: impl FnOnce(NonNull<Link>)) -> Option<NonNull<Link>> {
        let mut backlog = self.backlog_in_hand();
        let next = backlog.pop()?;
        takes(next);
        Some(next)
    }

    /// Takes the backlog in hand, and fills it from the word if a pushed task may be next. Must be
    /// called by the holder.
    #[inline]
    fn backlog_in_hand(&self) -> InHand<'_> {
        // The backlog is in hand before the stack is taken, so a sweep finds each task in the
        // backlog or in the word.
        let mut backlog = self.backlog.take();
        if backlog.wants_more() {
            // SAFETY: the chain came out of the word, so it is live and belongs to this thread.
            unsafe { backlog.fill(reverse(self.take_intake())) };
        }
        backlog
    }

    /// Returns the first answer of `f` among the next `limit` queued tasks. Must be called by the
    /// holder.
    pub(crate) fn find<R>(
        &self,
        limit: usize,
        f: impl FnMut(NonNull<Link>) -> Option<R>,
    ) -> Option<R> {
        self.backlog_in_hand().find(limit, f)
    }

    /// Releases the strand if the word's stack is empty. Must be called by the holder, with an
    /// empty backlog.
    fn release(&self) -> Result<State, ()> {
        self.update(|s| s.head().is_null().then(|| s.with_mode(Mode::Idle)))
            .map_err(drop)
    }

    /// Runs queued tasks in order, until nothing is left, a task suspends the strand, or the crew
    /// admits no further task. Must be called by the holder.
    pub(crate) fn drain(&self, crew: &mut impl Crew) -> Ended {
        // If the strand refuses tasks, a closed lane keeps submitters from entering in vain.
        if self.has_next() || self.state().is_refusing() {
            self.lane.close();
        }
        loop {
            if !self.has_next() {
                if crew.rests() {
                    continue;
                }
                // If a push comes between the look and the release, the release fails.
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
            // If a sweep came first, nothing is left here.
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
        // SAFETY: the nodes of the chain are live, and no other thread uses them. The link is read
        // before the node is given out.
        self.0 = unsafe { Link::next(first) };
        Some(first)
    }
}

/// Links `second` to the end of `first`, and returns the first node.
///
/// # Safety
/// Both chains must be live, and only the caller may use them.
unsafe fn append(first: *mut Link, second: *mut Link) -> *mut Link {
    let Some(mut last) = NonNull::new(first) else {
        return second;
    };
    // SAFETY: each node up to the end is part of a chain that is live and the caller's (contract of
    // `append`).
    unsafe {
        while let Some(next) = NonNull::new(Link::next(last)) {
            last = next;
        }
        Link::set_next(last, second);
    }
    first
}
