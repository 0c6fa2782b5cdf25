//! Room in a bounded queue: a semaphore that serves waiters in the order in which they came, and
//! that can turn them away.
//!
//! One word holds how much room is free, and whether a waiter waits for room. One step on the word
//! decides whether a thread gets room, must wait, or must serve a waiter with the room that it
//! gives back. If no waiter waits, taking room and giving it back are this step and nothing else.
//! The line of waiters is under a lock. A thread takes the lock to wait, to give room back while a
//! waiter waits, to turn the waiters away, or to check on a waiter. No other step takes the lock.
//!
//! | word | waiters | taking room | giving room back | never |
//! |---|---|---|---|---|
//! | *n* > 0 free | none | *n* − 1 | *n* + 1 | with a waiter in the line |
//! | none free | none | refused, or first in the line | 1 free | with a waiter in the line |
//! | none free, `WAITERS` | at least one | refused, or last in the line | to the first waiter | with room free |
//!
//! The table holds while the lock is free: `WAITERS` is set if and only if a waiter is in the line.
//! While `WAITERS` is set, nothing is free, since room that is given back passes to the first
//! waiter. So no thread gets past a waiter. This hand-over is that of `parking_lot`'s fair unlock,
//! and of tokio's semaphore. `docs/design/room-and-priorities.md` walks through the races.

use crate::raw::thread::panics;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};
use core::task::{Poll, Waker};
use std::collections::{BTreeMap, BTreeSet};

/// A waiter is in the line.
///
/// A waiter sets this bit with the lock held, by the step that finds nothing free. The thread that
/// takes the last waiter out of the line clears the bit, with the lock held: the waiter itself, a
/// thread that serves the waiter, or a thread that turns the line away. The bit cannot be set while
/// room is free.
const WAITERS: usize = 1;
/// Room for one task. The bits above [`WAITERS`] count the room that is free.
const ONE: usize = 1 << 1;
/// The largest capacity that the word can count: more tasks than memory has room for.
const MAX: usize = usize::MAX >> 1;

/// The semaphore of one bounded queue.
#[derive(Debug)]
pub(crate) struct Room {
    word: AtomicUsize,
    line: Mutex<Line>,
}

/// The waiters, and the waiters that were served and have not noticed yet.
#[derive(Debug, Default)]
struct Line {
    /// In the order in which the waiters came.
    waiting: BTreeMap<Ticket, Waker>,
    /// Tickets that were served, and that have neither been polled nor given up since.
    served: BTreeSet<Ticket>,
    last: Ticket,
}

/// A waiter's place in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The resource refuses tasks, so no room is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnedAway;

/// A waker that may turn out not to be needed. Its drop is user code. A panic of the drop must cost
/// no waiter its place or its room.
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
    /// Makes room for `capacity` tasks.
    pub(crate) fn new(capacity: usize) -> Self {
        Room {
            word: AtomicUsize::new(capacity.min(MAX) * ONE),
            line: Mutex::default(),
        }
    }

    /// Takes room for one task, if room is free.
    pub(crate) fn try_take(&self) -> bool {
        // Acquire: partners with the Release of `give_back` and `serve`, as with any semaphore.
        // The thread that takes room sees what was done before that room was given back.
        self.word
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |w| w.checked_sub(ONE))
            .is_ok()
    }

    /// Takes room for one task, or a place in the line. Takes neither if `refuses`.
    ///
    /// `refuses` is called under the lock. A thread that turns the line away makes the resource
    /// refuse before it takes the lock. Waiter against closer:
    ///
    /// - The waiter takes the lock first: the closer finds the waiter in the line, and turns it
    ///   away.
    /// - The closer takes the lock first: `refuses` returns `true`.
    pub(crate) fn take_or_wait(
        &self,
        waker: &Waker,
        refuses: impl FnOnce() -> bool,
    ) -> Result<Option<Ticket>, TurnedAway> {
        // A waker is user code and never runs under the lock. So the waker is cloned before the
        // lock is taken. If the waker is not needed, it is dropped after the lock is released.
        let waker = Spare(Some(waker.clone()));
        let mut line = lock(&self.line);
        if refuses() {
            return Err(TurnedAway);
        }
        // Waiter against a releaser that gives room back at this moment:
        // - The releaser's step on the word comes first: the waiter takes that room.
        // - The waiter's step comes first: the releaser finds the flag. Once the lock is free, the
        //   releaser finds the waiter in the line.
        // Acquire: partners with the Release of `give_back` and `serve`.
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

    /// Returns the state of a place in the line: served, turned away, or still waiting. Once the
    /// result is ready, the ticket must not be used again.
    pub(crate) fn poll(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), TurnedAway>> {
        // The clone is made before the lock is taken. The waker that is not kept, the clone or the
        // old waker, is dropped after the lock is released.
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

    /// Gives up a place in the line. If the place was served in the meantime, the room passes to
    /// the next waiter.
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

    /// Checks whether this place is still in the line.
    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        lock(&self.line).waiting.contains_key(&ticket)
    }

    /// Gives back room for one task. If a waiter is in the line, the first waiter gets the room.
    pub(crate) fn give_back(&self) {
        // Release: partners with the Acquire of `try_take` and `take_or_wait`. Steps of other
        // threads in between are read-modify-writes, so they continue the release sequence.
        let given = self
            .word
            .fetch_update(Ordering::Release, Ordering::Relaxed, |w| {
                (w & WAITERS == 0).then(|| w + ONE)
            });
        if given.is_err() {
            self.serve_next();
        }
    }

    /// Serves the first waiter, and wakes it after the lock is released.
    #[cold]
    fn serve_next(&self) {
        let next = self.serve(&mut lock(&self.line));
        next.into_iter().for_each(panics::wake);
    }

    /// Gives room to the first waiter in the line. Returns its waker, which the caller must wake
    /// after the lock is released. If the line is empty, the room is free again.
    fn serve(&self, line: &mut Line) -> Option<Waker> {
        let Some((first, waker)) = line.waiting.pop_first() else {
            self.word.fetch_add(ONE, Ordering::Release);
            return None;
        };
        line.served.insert(first);
        self.lower_flag(line);
        Some(waker)
    }

    /// Turns away all waiters. The caller must have made the resource refuse tasks, so that no
    /// waiter joins the line afterwards.
    pub(crate) fn turn_away(&self) {
        let waiting = {
            let line = &mut *lock(&self.line);
            let waiting = core::mem::take(&mut line.waiting);
            self.lower_flag(line);
            waiting
        };
        waiting.into_values().for_each(panics::wake);
    }

    /// Clears the flag if the line is empty. Must be called with the lock held.
    fn lower_flag(&self, line: &Line) {
        if line.waiting.is_empty() {
            // Relaxed: the flag publishes nothing. A thread that sees the change takes or gives
            // room by an ordered step of its own, and the lock orders the line.
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

    /// If the flag stayed set, each thread that gives room back would take the lock from then on.
    #[test]
    fn flag_is_cleared_when_last_waiter_leaves() {
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
    fn room_is_capped_when_capacity_is_usize_max() {
        let room = Room::new(usize::MAX);
        assert!(room.try_take());
        room.give_back();
        assert_eq!(word(&room), MAX * ONE);
    }
}
