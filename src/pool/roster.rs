//! Who works, who sleeps, who is woken.
//!
//! Three counters and a bitmap, all sequentially consistent, decide:
//!
//! - `pending`: jobs announced and not yet taken;
//! - `running`: threads that look for jobs or work on one (not asleep, not
//!   blocked in a wait). It stays at or below `workers`, but for moments after
//!   a blocked one came back;
//! - `idle`: a bit for each thread that sleeps, or is about to. Who clears it
//!   wakes the thread and has given it a place in `running` before.
//!
//! No wake-up is lost. A pusher announces and then looks for a free place; a
//! worker that finds nothing gives up its place and then looks for announced
//! jobs. In the single order of these four steps, either the pusher's look
//! comes after the place was given up, and it wakes or starts a thread; or the
//! worker's look comes after the announcement, and it does not sleep. Where
//! all places are taken nobody needs to be woken: each of those threads looks
//! for jobs before it sleeps. (Dekker's argument; the shape is that of an
//! eventcount.)

use crate::sync::{AtomicUsize, OnceLock, Ordering, sequential, thread::Thread};

const BITS: usize = usize::BITS as usize;

/// The order of every step here; see the module's argument, which needs a
/// single order over several words.
const SC: Ordering = Ordering::SeqCst;

/// What a thread that slept does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// Looks for jobs; it has a place in `running`.
    Work,
    /// Ends: the pool is closed and the queue empty.
    End,
}

pub(crate) struct Roster {
    workers: usize,
    pending: AtomicUsize,
    running: AtomicUsize,
    /// Threads admitted so far; at most as many as there are seats.
    threads: AtomicUsize,
    /// Threads that took a seat so far.
    seated: AtomicUsize,
    closed: AtomicUsize,
    idle: Box<[AtomicUsize]>,
    seats: Box<[OnceLock<Thread>]>,
}

impl Roster {
    pub(crate) fn new(workers: usize, seats: usize) -> Self {
        Roster {
            workers,
            pending: sequential(0),
            running: sequential(0),
            threads: sequential(0),
            seated: sequential(0),
            closed: sequential(0),
            idle: (0..seats.div_ceil(BITS)).map(|_| sequential(0)).collect(),
            seats: (0..seats).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.load(SC)
    }

    pub(crate) fn idle(&self) -> usize {
        let count = |word: &AtomicUsize| word.load(SC).count_ones() as usize;
        self.idle.iter().map(count).sum()
    }

    /// For the models: places that are taken.
    #[cfg(all(test, captor_loom))]
    pub(crate) fn running(&self) -> usize {
        self.running.load(SC)
    }

    pub(crate) fn announce(&self) {
        self.pending.fetch_add(1, SC);
    }

    pub(crate) fn taken(&self) {
        self.pending.fetch_sub(1, SC);
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.pending.load(SC) > 0
    }

    pub(crate) fn has_surplus(&self) -> bool {
        self.running.load(SC) > self.workers
    }

    /// Is there a job for this thread, or is one about to come?
    pub(crate) fn is_wanted(&self) -> bool {
        self.has_pending() && !self.has_surplus()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SC) != 0
    }

    /// No thread looks for jobs, and no more can be started.
    pub(crate) fn is_blocked(&self) -> bool {
        self.running.load(SC) == 0 && self.threads() >= self.seats.len()
    }

    /// Nobody will come for what is queued.
    pub(crate) fn is_deserted(&self) -> bool {
        self.is_closed() || self.threads() == 0
    }

    /// Takes a place in `running`, if one is free.
    fn take_place(&self) -> bool {
        let mut running = self.running.load(SC);
        while running < self.workers {
            match self.running.compare_exchange(running, running + 1, SC, SC) {
                Ok(_) => return true,
                Err(now) => running = now,
            }
        }
        false
    }

    /// Sees to it that somebody comes for an announced job: wakes a thread, or
    /// has one started by `spawn` (which says whether it could).
    pub(crate) fn rouse(&self, mut spawn: impl FnMut() -> bool) {
        while self.has_pending() && self.take_place() {
            if let Some(seat) = self.take_idle() {
                self.unpark(seat);
                return;
            }
            if self.admit() {
                if spawn() {
                    return;
                }
                self.threads.fetch_sub(1, SC);
            }
            // Nobody to give the place to. A thread that lay down meanwhile
            // may have found it taken, so look again once it is free.
            self.running.fetch_sub(1, SC);
            if self.idle() == 0 {
                return;
            }
        }
    }

    fn admit(&self) -> bool {
        !self.is_closed()
            && self
                .threads
                .fetch_update(SC, SC, |n| (n < self.seats.len()).then_some(n + 1))
                .is_ok()
    }

    /// A new thread, whose place `rouse` has taken, takes a seat.
    pub(crate) fn enlist(&self, thread: Thread) -> usize {
        let seat = self.seated.fetch_add(1, SC);
        let _ = self.seats[seat].set(thread);
        seat
    }

    /// Gives up the place and sleeps by `park`, until there is something to do.
    pub(crate) fn rest(&self, seat: usize, park: impl Fn()) -> Rest {
        let (word, bit) = (&self.idle[seat / BITS], 1 << (seat % BITS));
        word.fetch_or(bit, SC);
        self.running.fetch_sub(1, SC);
        loop {
            let pending = self.has_pending();
            if pending && self.take_place() {
                if word.fetch_and(!bit, SC) & bit == 0 {
                    // Woken at the same time: one place is enough.
                    self.running.fetch_sub(1, SC);
                }
                return Rest::Work;
            }
            if !pending && self.is_closed() {
                if word.fetch_and(!bit, SC) & bit == 0 {
                    return Rest::Work;
                }
                self.unpark_all();
                return Rest::End;
            }
            park();
            if word.load(SC) & bit == 0 {
                return Rest::Work;
            }
        }
    }

    /// This worker's task blocks: its place is free for another.
    pub(crate) fn stand_down(&self) {
        self.running.fetch_sub(1, SC);
    }

    /// It goes on.
    pub(crate) fn stand_up(&self) {
        self.running.fetch_add(1, SC);
    }

    /// No more threads; those there are end once nothing is pending.
    pub(crate) fn close(&self) {
        self.closed.store(1, SC);
        self.unpark_all();
    }

    fn take_idle(&self) -> Option<usize> {
        for (i, word) in self.idle.iter().enumerate() {
            let mut bits = word.load(SC);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits = word.fetch_and(!bit, SC);
                if bits & bit != 0 {
                    return Some(i * BITS + bit.trailing_zeros() as usize);
                }
            }
        }
        None
    }

    fn unpark(&self, seat: usize) {
        if let Some(thread) = self.seats[seat].get() {
            thread.unpark();
        }
    }

    /// Has every thread that sleeps look again. One whose bit is not seen here
    /// sets it later, and looks itself after that.
    fn unpark_all(&self) {
        for (i, word) in self.idle.iter().enumerate() {
            let mut bits = word.load(SC);
            while bits != 0 {
                self.unpark(i * BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(all(test, not(any(captor_loom, captor_shuttle))))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    /// Two threads at work, in seats 0 and 1.
    fn two_at_work() -> Roster {
        let roster = Roster::new(2, 2);
        for seat in 0..2 {
            assert!(roster.take_place());
            assert_eq!(roster.enlist(thread::current()), seat);
        }
        assert!(!roster.take_place(), "there are two places");
        roster
    }

    /// Says that it sleeps, and sleeps until it is told to get up.
    fn sleep(barrier: &Barrier) {
        barrier.wait();
        barrier.wait();
    }

    #[test]
    fn who_finds_a_job_on_the_way_to_sleep_goes_on_and_leaves_the_others_asleep() {
        let (roster, asleep) = (two_at_work(), Barrier::new(2));
        thread::scope(|s| {
            let sleeper = s.spawn(|| roster.rest(0, || sleep(&asleep)));
            asleep.wait();
            roster.announce();
            let rest = roster.rest(1, || panic!("there is a job"));
            assert_eq!(rest, Rest::Work);
            assert_eq!(roster.idle[0].load(SC), 1, "seat 0 sleeps, seat 1 does not");
            assert_eq!(roster.running.load(SC), 1);
            roster.taken();
            roster.close();
            asleep.wait();
            assert_eq!(sleeper.join().unwrap(), Rest::End);
        });
        assert_eq!((roster.idle(), roster.running.load(SC)), (0, 1));
    }

    #[test]
    fn the_end_of_one_does_not_wake_another_as_if_for_work() {
        let (roster, asleep) = (two_at_work(), Barrier::new(2));
        thread::scope(|s| {
            let sleeper = s.spawn(|| roster.rest(0, || sleep(&asleep)));
            asleep.wait();
            roster.close();
            assert_eq!(roster.rest(1, || panic!("it is closed")), Rest::End);
            assert_eq!(roster.idle[0].load(SC), 1);
            asleep.wait();
            assert_eq!(sleeper.join().unwrap(), Rest::End);
        });
        assert_eq!((roster.idle(), roster.running.load(SC)), (0, 0));
    }

    #[test]
    fn a_thread_too_many_is_a_surplus() {
        let roster = two_at_work();
        assert!(!roster.has_surplus());
        roster.stand_down();
        assert!(roster.take_place());
        roster.stand_up();
        assert!(roster.has_surplus());
        roster.announce();
        assert!(!roster.is_wanted(), "one of the three is to rest");
    }
}
