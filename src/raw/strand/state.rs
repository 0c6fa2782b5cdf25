//! The state word: which thread may run a resource's tasks, and what is queued.
//!
//! One pointer-sized word decides everything that must be decided at once: claiming an idle
//! resource, queueing behind a busy resource, refusing on a closed resource. The upper bits are the
//! newest queued task, the *head* of a Treiber stack that is linked from newest to oldest. The
//! lower four bits are a mode and two flags, so a task is aligned to 16 bytes.
//! `docs/design/protocol.md` draws the transitions.
//!
//! | bits | name | set by | cleared by | never together with |
//! |---|---|---|---|---|
//! | 0-1 | [`Mode`] | see [`Mode`] | – | – |
//! | 2 | `JOB` | an offer, or a waiter that leaves it | the job's start | – |
//! | 3 | `REFUSING` | a close, or a poisoning panic | a heal | a push |
//! | 4.. | head | a push | the holder or a sweep | `Idle`, except by the lane |
//!
//! **The head**: a submitter sets the head to its task when it pushes. The holder or a sweep clears
//! the head when it takes the whole stack. While `REFUSING` is set, no submitter can set the head.
//! Only the lane makes a head possible in the mode `Idle`: an entrant is in the lane, or has just
//! left. The entrant looks after the queued tasks, or the claimant that found the lane taken does.
//!
//! This module is pure: it imports only `core::fmt`, and touches no memory.

use core::fmt;

/// The bits of the [`Mode`].
const MODE: usize = 0b0011;
/// A job for this resource is with the pool.
///
/// The thread that puts the role on offer sets this bit in the same step, unless the offer is meant
/// for a waiter. A waiter that leaves such an offer behind sets this bit later. Only a step that
/// leaves the role on offer can set this bit. The start of the job clears this bit, whether or not
/// the role is still on offer. If a resource never runs tasks on its callers, this bit is set from
/// birth and never cleared, so that the idle fast path fails.
const JOB: usize = 0b0100;
/// The resource is closed or poisoned, and every push fails.
///
/// The thread that closes the resource sets this bit. After a poisoning panic, the holder sets this
/// bit. The holder that heals the resource clears this bit. Once the resource is closed, this bit
/// cannot be cleared.
const REFUSING: usize = 0b1000;
/// All bits below the head.
const TAGS: usize = 0b1111;

/// The alignment of a queued task, which leaves the tag bits of its address free.
pub(crate) const ALIGN: usize = TAGS + 1;

/// Which thread or task holds the resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// No thread holds the role, and nothing is queued: the next submitter may claim the resource.
    ///
    /// The holder sets this mode when its backlog and the word's stack are both empty. Only the
    /// lane makes exceptions. While a task runs in the lane, the word stays `Idle`, and tasks may
    /// be queued on it. A claimant that finds the lane taken sets `Idle` again, with all that has
    /// been queued.
    Idle = 0,
    /// One thread, the holder, runs tasks.
    ///
    /// A thread that claims the resource sets this mode over `Idle`. A pool job, a waiting thread
    /// or a submitter sets this mode over `Offered`. The thread that resumes a suspended task sets
    /// this mode over `Suspended`. No thread can set `Held` over `Held`.
    Held = 1,
    /// The role is on offer: tasks are queued, no thread runs them, and the first thread that comes
    /// takes the role. That thread is a pool job, a waiting thread or a submitter.
    ///
    /// The holder sets this mode at a hand-off. The waker of a suspended task sets this mode when
    /// it brings the resource back. A submitter sets this mode if it queues on an idle resource and
    /// may not run the task itself. No other thread may set this mode. A sweep may empty the queue
    /// meanwhile.
    Offered = 2,
    /// A task that waits keeps the resource, and no thread runs tasks.
    ///
    /// The holder sets this mode after it has put that task back at the head of the backlog. Only
    /// the thread that resumes the task may leave this mode: the thread that woke the task, or the
    /// holder if parking failed. This mode cannot be set without a task that waits.
    Suspended = 3,
}

/// A value of the state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(*mut ());

impl State {
    /// Idle and open, with nothing queued and no job: the only value that the fast path claims.
    pub(crate) const IDLE: State = State(core::ptr::null_mut());
    /// The value that the fast path sets over [`State::IDLE`], and back to `IDLE`.
    pub(crate) const HELD: State = State(core::ptr::without_provenance_mut(Mode::Held as usize));
    /// Idle, for a resource that never runs tasks on its callers.
    pub(crate) const IDLE_POOLED: State = State(core::ptr::without_provenance_mut(JOB));

    #[inline]
    pub(crate) fn from_raw(raw: *mut ()) -> State {
        State(raw)
    }

    #[inline]
    pub(crate) fn into_raw(self) -> *mut () {
        self.0
    }

    #[inline]
    pub(crate) fn mode(self) -> Mode {
        match self.0.addr() & MODE {
            0 => Mode::Idle,
            1 => Mode::Held,
            2 => Mode::Offered,
            _ => Mode::Suspended,
        }
    }

    /// Returns the newest queued task, or null if nothing is queued.
    #[inline]
    pub(crate) fn head(self) -> *mut () {
        self.0.map_addr(|a| a & !TAGS)
    }

    #[inline]
    pub(crate) fn has_job(self) -> bool {
        self.0.addr() & JOB != 0
    }

    #[inline]
    pub(crate) fn is_refusing(self) -> bool {
        self.0.addr() & REFUSING != 0
    }

    #[inline]
    pub(crate) fn with_mode(self, mode: Mode) -> State {
        State(self.0.map_addr(|a| (a & !MODE) | mode as usize))
    }

    #[inline]
    pub(crate) fn with_job(self, job: bool) -> State {
        State(self.0.map_addr(|a| if job { a | JOB } else { a & !JOB }))
    }

    #[inline]
    pub(crate) fn with_refusing(self, refusing: bool) -> State {
        State(self.0.map_addr(|a| {
            if refusing {
                a | REFUSING
            } else {
                a & !REFUSING
            }
        }))
    }

    /// Returns these tags over another head, whose address must be a multiple of [`ALIGN`].
    #[inline]
    pub(crate) fn with_head(self, head: *mut ()) -> State {
        debug_assert_eq!(head.addr() & TAGS, 0);
        let tags = self.0.addr() & TAGS;
        State(head.map_addr(|a| a | tags))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.mode())?;
        if self.has_job() {
            write!(f, "|JOB")?;
        }
        if self.is_refusing() {
            write!(f, "|REFUSING")?;
        }
        if !self.head().is_null() {
            write!(f, "|{:p}", self.head())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Mode; 4] = [Mode::Idle, Mode::Held, Mode::Offered, Mode::Suspended];

    #[test]
    fn fields_keep_values_when_single_field_changes() {
        let mut node = [0u128; 4];
        for head in [core::ptr::null_mut(), (&raw mut node[1]).cast::<()>()] {
            for mode in MODES {
                for job in [false, true] {
                    for refusing in [false, true] {
                        let s = State::IDLE
                            .with_refusing(refusing)
                            .with_head(head)
                            .with_job(job)
                            .with_mode(mode);
                        assert_eq!(s.mode(), mode);
                        assert_eq!(s.head(), head);
                        assert_eq!(s.has_job(), job);
                        assert_eq!(s.is_refusing(), refusing);
                        assert_eq!(State::from_raw(s.into_raw()), s);
                        // A field that is set twice leaves the other fields as they are.
                        assert_eq!(s.with_mode(Mode::Held).with_mode(mode), s);
                        assert_eq!(s.with_job(!job).with_job(job), s);
                        assert_eq!(s.with_refusing(!refusing).with_refusing(refusing), s);
                        assert_eq!(s.with_head(core::ptr::null_mut()).with_head(head), s);
                    }
                }
            }
        }
    }

    #[test]
    fn constants_match_fast_path() {
        assert_eq!(State::IDLE.mode(), Mode::Idle);
        assert_eq!(State::HELD, State::IDLE.with_mode(Mode::Held));
        assert_eq!(State::IDLE_POOLED, State::IDLE.with_job(true));
        assert!(!State::HELD.is_refusing() && !State::HELD.has_job());
    }

    #[test]
    fn debug_decodes_every_field() {
        assert_eq!(format!("{:?}", State::IDLE), "Idle");
        let mut node = 0u128;
        let s = State::HELD
            .with_job(true)
            .with_refusing(true)
            .with_head((&raw mut node).cast());
        let text = format!("{s:?}");
        assert!(text.starts_with("Held|JOB|REFUSING|0x"), "{text}");
    }
}
