//! Room in a bounded queue: a semaphore that serves those who wait in the order
//! they came, and that can turn them away.
//!
//! One word holds how much room is free and whether anybody waits for some;
//! whether somebody gets room, has to wait, or is to be served by the one who
//! gives room back is decided by one step on it. Taking room and giving it back
//! where nobody waits is that step and nothing else. The list of those who wait
//! is under a lock, which only they take, and who gives back room while they
//! wait.
//!
//! | word | who wait |
//! |---|---|
//! | *n* free | nobody |
//! | none free | nobody |
//! | none free, `WAITERS` | at least one |
//!
//! While the lock is free, the flag is set if and only if the list has somebody
//! in it; and while it is set nothing is free, since room that is given back
//! goes to the first of them. So nobody gets past who waits. (The hand-over of
//! `parking_lot`'s fair unlock, and of tokio's semaphore.)

use crate::raw::thread::panics;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};
use core::task::{Poll, Waker};
use std::collections::{BTreeMap, BTreeSet};

/// Somebody waits.
const WAITERS: usize = 1;
/// Room for one task.
const ONE: usize = 1 << 1;
/// More than memory has room for.
const MAX: usize = usize::MAX >> 1;

#[derive(Debug)]
pub(crate) struct Room {
    word: AtomicUsize,
    line: Mutex<Line>,
}

/// Who waits, and who no longer has to.
#[derive(Debug, Default)]
struct Line {
    /// In the order they came.
    waiting: BTreeMap<Ticket, Waker>,
    /// Served, and not heard of since.
    served: BTreeSet<Ticket>,
    last: Ticket,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// No room is given out any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnedAway;

/// A waker that may turn out not to be needed. Its drop is user code, and is not to
/// cost anybody a place or room.
struct Spare(Option<Waker>);

impl Spare {
    fn into_inner(mut self) -> Option<Waker> {
        self.0.take()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            panics::contain("drop of a waker", || drop(waker));
        }
    }
}

impl Room {
    /// For so many tasks.
    pub(crate) fn new(capacity: usize) -> Self {
        Room {
            word: AtomicUsize::new(capacity.min(MAX) * ONE),
            line: Mutex::default(),
        }
    }

    /// Takes room for one task, if there is some.
    pub(crate) fn try_take(&self) -> bool {
        // Acquire: partners with the Release of `give_back`, so that it is as
        // with any semaphore: what was done before room was given back is seen
        // by who gets it.
        self.word
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |w| w.checked_sub(ONE))
            .is_ok()
    }

    /// Takes room for one task, or a place in the line; neither if `refuses`.
    ///
    /// `refuses` is asked under the lock: who turns all away sees to it that it
    /// says so before taking the lock. So either we see that, or we are in the
    /// line by then and turned away with the others.
    pub(crate) fn take_or_wait(
        &self,
        waker: &Waker,
        refuses: impl FnOnce() -> bool,
    ) -> Result<Option<Ticket>, TurnedAway> {
        // Wakers are user code, and never run under the lock: so it is cloned
        // before, and, where it is not needed, dropped after.
        let waker = Spare(Some(waker.clone()));
        let mut line = lock(&self.line);
        if refuses() {
            return Err(TurnedAway);
        }
        // Against who gives room back now: if their step on the word comes
        // first, we take what they gave; if ours does, they find the flag, and
        // us in the line once the lock is free. Acquire: as in `try_take`.
        let before = self
            .word
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |w| {
                Some(w.checked_sub(ONE).unwrap_or(WAITERS))
            })
            .unwrap_or_else(|w| w);
        if before >= ONE {
            return Ok(None);
        }
        line.last.0 += 1;
        let ticket = line.last;
        line.waiting.extend(waker.into_inner().map(|w| (ticket, w)));
        Ok(Some(ticket))
    }

    /// What has become of a place in the line? Once it is ready, the ticket is
    /// worth nothing.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), TurnedAway>> {
        // As above; dropped after the lock is free, whichever of the two it is.
        let mut waker = Spare(Some(waker.clone()));
        let line = &mut *lock(&self.line);
        if line.served.remove(&ticket) {
            return Poll::Ready(Ok(()));
        }
        let Some(place) = line.waiting.get_mut(&ticket) else {
            return Poll::Ready(Err(TurnedAway));
        };
        if let Some(waker) = &mut waker.0 {
            core::mem::swap(place, waker);
        }
        Poll::Pending
    }

    /// Gives up a place in the line, and passes on the room that it may have
    /// been given meanwhile.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let (own, next) = {
            let line = &mut *lock(&self.line);
            if line.served.remove(&ticket) {
                (None, self.serve(line))
            } else {
                let own = line.waiting.remove(&ticket);
                self.lower_flag(line);
                (own, None)
            }
        };
        panics::contain("drop of a waker", || drop(own));
        next.into_iter().for_each(panics::wake);
    }

    /// Is this place still in the line?
    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        lock(&self.line).waiting.contains_key(&ticket)
    }

    /// Gives back room for one task: to the first in the line, if there is one.
    pub(crate) fn give_back(&self) {
        // Release: partners with the Acquire of who takes it. Steps by others
        // between the two are read-modify-writes, and carry it on.
        let given = self
            .word
            .fetch_update(Ordering::Release, Ordering::Relaxed, |w| {
                (w & WAITERS == 0).then(|| w + ONE)
            });
        if given.is_err() {
            self.serve_next();
        }
    }

    #[cold]
    fn serve_next(&self) {
        let next = self.serve(&mut lock(&self.line));
        next.into_iter().for_each(panics::wake);
    }

    /// Gives room to the first in the line, who is to be woken once the lock is
    /// free again, or to all if there is nobody.
    fn serve(&self, line: &mut Line) -> Option<Waker> {
        let Some((first, waker)) = line.waiting.pop_first() else {
            self.word.fetch_add(ONE, Ordering::Release);
            return None;
        };
        line.served.insert(first);
        self.lower_flag(line);
        Some(waker)
    }

    /// Turns away who waits. The caller has seen to it that no others come.
    pub(crate) fn turn_away(&self) {
        let waiting = {
            let line = &mut *lock(&self.line);
            let waiting = core::mem::take(&mut line.waiting);
            self.lower_flag(line);
            waiting
        };
        waiting.into_values().for_each(panics::wake);
    }

    /// Somebody has left the line. The caller has the lock.
    fn lower_flag(&self, line: &Line) {
        if line.waiting.is_empty() {
            // Relaxed: who sees it takes or gives by a step of their own, and
            // what this one leaves out the lock has in it.
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(any(captor_loom, captor_shuttle))))]
mod tests {
    use super::*;

    fn word(room: &Room) -> usize {
        room.word.load(Ordering::Relaxed)
    }

    fn wait(room: &Room) -> Ticket {
        let ticket = room.take_or_wait(Waker::noop(), || false).unwrap();
        ticket.expect("nothing is free")
    }

    /// Else who gives back would take the lock from then on.
    #[test]
    fn the_flag_goes_with_the_last_who_waits() {
        let room = Room::new(1);
        assert!(room.try_take());
        assert_eq!(word(&room), 0);
        let (first, second) = (wait(&room), wait(&room));
        room.leave(first);
        assert_eq!(word(&room), WAITERS);
        room.leave(second);
        assert_eq!(word(&room), 0);
        let served = wait(&room);
        room.give_back();
        assert_eq!(word(&room), 0);
        wait(&room);
        room.turn_away();
        assert_eq!(word(&room), 0);
        room.leave(served);
        assert_eq!(word(&room), ONE);
    }

    #[test]
    fn more_than_memory_has_room_for() {
        let room = Room::new(usize::MAX);
        assert!(room.try_take());
        room.give_back();
        assert_eq!(word(&room), MAX * ONE);
    }
}
