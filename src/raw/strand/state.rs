//! The state word: who may run a resource's tasks, and what is queued.
//!
//! One pointer-sized word decides everything that must be decided at once:
//! claiming an idle resource, queueing behind a busy one, refusing on a closed
//! one. Its upper bits are the newest queued task (a Treiber stack, linked
//! newest to oldest); its lower four bits are a mode and two flags, which is
//! why a task is aligned to 16 bytes.
//!
//! | bits | name | set | never together with |
//! |---|---|---|---|
//! | 0-1 | [`Mode`] | see there | – |
//! | 2 | `JOB` | before a job for this resource goes to the pool; cleared when that job starts or is dropped. Always set on a resource that never runs on its caller, so that the idle fast path fails there | – |
//! | 3 | `REFUSING` | when the resource is closed or poisoned; cleared when it is healed | a push |
//! | 4.. | head | by a push; cleared when the queue is taken | `Idle` |
//!
//! This module is pure: it imports nothing and touches no memory.

use core::fmt;

const MODE: usize = 0b0011;
const JOB: usize = 0b0100;
const REFUSING: usize = 0b1000;
const TAGS: usize = 0b1111;

/// Alignment that a queued task must have for its address to leave the tag bits free.
pub(crate) const ALIGN: usize = TAGS + 1;

/// Who holds the resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Nobody; nothing is queued. The next submitter may claim it.
    Idle = 0,
    /// One thread runs its tasks: the holder.
    Held = 1,
    /// Handed off: tasks are queued, no thread runs them yet, and whoever
    /// comes first takes over: the pool, a waiting thread, a submitter.
    Offered = 2,
    /// A task that waits keeps the resource, and no thread does. Only the
    /// one who resumes that task may move on from here.
    Suspended = 3,
}

/// A value of the state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(*mut ());

impl State {
    /// Idle, open, nothing queued, no job: the one value that the fast path claims.
    pub(crate) const IDLE: State = State(core::ptr::null_mut());
    /// What the fast path turns [`State::IDLE`] into, and back.
    pub(crate) const HELD: State = State(core::ptr::without_provenance_mut(Mode::Held as usize));
    /// Idle for a resource that never runs on its caller.
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

    /// The newest queued task, null if there is none.
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

    /// The same tags over another head, whose address must be a multiple of [`ALIGN`].
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
    fn every_field_is_independent_of_the_others() {
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
                        // Setting one field again leaves the others alone.
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
    fn constants_are_what_the_fast_path_expects() {
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
