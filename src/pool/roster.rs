//! The roster of a pool: which workers work, which workers sleep, and which worker is woken.
//!
//! Each thread has a *seat* from its start to its end. A thread that looks for jobs or works on a
//! job has one of the *places*, of which there are as many as `workers`. A *pusher* is a thread
//! that gives a job to the pool. These words decide, and every step on them is sequentially
//! consistent:
//!
//! - `pending`: the jobs that are announced and not yet taken.
//! - `running`: the places that are taken. A thread that sleeps or is blocked in a wait has no
//!   place. `running` stays at or below `workers`, except for moments after a blocked thread came
//!   back.
//! - `idle`: a bit for each seat whose thread sleeps or is about to sleep. A pusher that clears
//!   the bit of a thread wakes that thread, and has taken a place for that thread before.
//! - `threads`: the threads that were admitted. Each needs a seat.
//! - `closed`: whether the pool is shut down.
//!
//! # No wake-up is lost
//!
//! | step | by | action |
//! |---|---|---|
//! | P1 | the pusher | announces a job |
//! | P2 | the pusher | looks for a free place |
//! | W1 | a worker that found no job | gives up its place |
//! | W2 | that worker | looks for announced jobs |
//!
//! The four steps have a single order:
//!
//! - P2 comes after W1: the pusher finds a free place, and wakes or starts a thread.
//! - P2 comes before W1: P1 then comes before W2, so the worker sees the job and does not sleep.
//!
//! If all places are taken, no thread needs to be woken: each thread with a place looks for jobs
//! before it sleeps. This is Dekker's argument, in the shape of an eventcount.

use crate::sync::{AtomicUsize, OnceLock, Ordering, sequential, thread::Thread};

const BITS: usize = usize::BITS as usize;

/// The order of every step on the roster. The argument that no wake-up is lost needs a single order
/// over several words.
const SC: Ordering = Ordering::SeqCst;

/// The next step of a thread that slept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// The thread looks for jobs. It has a place.
    Work,
    /// The thread ends, because the pool is closed and no job is pending.
    End,
}

pub(crate) struct Roster {
    workers: usize,
    pending: AtomicUsize,
    running: AtomicUsize,
    /// How many threads are admitted. This is at most the number of seats.
    threads: AtomicUsize,
    /// How many threads have taken a seat.
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

    /// Returns how many places are taken, for the models.
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

    /// Checks whether a job is there for this thread, or is about to come.
    pub(crate) fn is_wanted(&self) -> bool {
        self.has_pending() && !self.has_surplus()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SC) != 0
    }

    /// Checks whether no thread looks for jobs or works, and no more threads can be started.
    pub(crate) fn is_blocked(&self) -> bool {
        self.running.load(SC) == 0 && self.threads() >= self.seats.len()
    }

    /// Checks whether no worker is sure to come for the queued jobs: the pool is closed, or has no
    /// thread.
    pub(crate) fn has_no_waker(&self) -> bool {
        self.is_closed() || self.threads() == 0
    }

    /// Takes a place, if a place is free.
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

    /// Finds a thread for an announced job: wakes a thread, or starts a thread by `spawn`. `spawn`
    /// returns whether the thread was started.
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
            // No thread can have the place. A thread that went to sleep meanwhile may have found
            // the place taken. So the pusher frees the place and looks again.
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

    /// Gives a seat to a new thread. `rouse` has taken the place of this thread before.
    pub(crate) fn enlist(&self, thread: Thread) -> usize {
        let seat = self.seated.fetch_add(1, SC);
        let _ = self.seats[seat].set(thread);
        seat
    }

    /// Gives up the thread's place and sleeps by `park`, until there is something to do.
    pub(crate) fn rest(&self, seat: usize, park: impl Fn()) -> Rest {
        let (word, bit) = (&self.idle[seat / BITS], 1 << (seat % BITS));
        word.fetch_or(bit, SC);
        self.running.fetch_sub(1, SC);
        loop {
            let pending = self.has_pending();
            if pending && self.take_place() {
                if word.fetch_and(!bit, SC) & bit == 0 {
                    // A pusher woke this thread at the same time, and took a second place for this
                    // thread. One place is enough.
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

    /// Gives up the place of a worker whose task blocks, so that another thread can work.
    pub(crate) fn stand_down(&self) {
        self.running.fetch_sub(1, SC);
    }

    /// Takes a place for a worker whose task goes on, even if no place is free.
    pub(crate) fn stand_up(&self) {
        self.running.fetch_add(1, SC);
    }

    /// Closes the pool: no more threads are admitted, and the threads end once no job is pending.
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

    /// Unparks every thread that sleeps, so that each looks again. If this does not see the bit of
    /// a thread, that thread sets its bit later, and looks after that.
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

    /// A roster with two threads at work, in seats 0 and 1.
    fn two_at_work() -> Roster {
        let roster = Roster::new(2, 2);
        for seat in 0..2 {
            assert!(roster.take_place());
            assert_eq!(roster.enlist(thread::current()), seat);
        }
        assert!(!roster.take_place(), "there are two places");
        roster
    }

    /// Tells the test that this thread sleeps, and sleeps until the test wakes it.
    fn sleep(barrier: &Barrier) {
        barrier.wait();
        barrier.wait();
    }

    #[test]
    fn sleeper_stays_asleep_when_worker_finds_job() {
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
    fn sleeper_stays_asleep_when_worker_ends() {
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
    fn thread_is_surplus_when_place_was_taken() {
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
