//! The timer of a scheduler: one thread, which sleeps until the next alarm.
//!
//! An *adder* puts an alarm into an [`Inbox`], without a lock and without a wait. The *timer
//! thread* sorts the alarms into a heap and rings each alarm when its time has come.
//!
//! Before the timer thread sleeps, it writes its wake-up time and parks on the inbox. An adder that
//! pushes to the inbox of a parked thread compares the two times. If the new alarm comes first, the
//! adder wakes the thread. The adder must read the wake-up time after its push:
//!
//! - The adder reads the time that the thread wrote before it parked: the comparison is right.
//! - The adder reads a later time: the thread woke up since and took the alarm. A wake-up is
//!   needless then, and does no harm.
//!
//! Most alarms never ring, because the awaited event comes in time. So the timer thread throws away
//! the alarms that are over, if the heap has more than [`MANY`] alarms:
//!
//! - when the heap has grown to twice the number that was left the last time, plus [`MANY`], which
//!   takes O(1) for each alarm;
//! - at least every [`PURGE`].
//!
//! For the same reason, every [`MANY`]th alarm wakes the thread. While more than [`PACE_ABOVE`]
//! alarms lie unseen, each adder gives up a turn.
//!
//! The thread starts at the first alarm, and ends with the scheduler. See `docs/design/timers.md`.

use crate::pool::spawn::Spawn;
use crate::raw::thread::panics;
use crate::raw::timing::alarm::{Alarm, Alarms};
use crate::raw::timing::inbox::Inbox;
use crate::raw::timing::nanos;
use crate::sync::{Arc, AtomicU64, AtomicUsize, OnceLock, Ordering, thread, yield_now};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// How many alarms may lie in the inbox unseen, and up to how many alarms the heap keeps without a
/// purge.
const MANY: usize = 1024;

/// How often alarms that are over are thrown away if the heap has more than [`MANY`] alarms, in
/// nanoseconds.
const PURGE: u64 = 1_000_000_000;

/// How many alarms may lie unseen before adders pace themselves.
const PACE_ABOVE: isize = 16 * MANY as isize;

/// The time of an alarm when no alarm is set.
pub(crate) const NEVER: u64 = u64::MAX;

/// A timer. Dropping the timer ends its thread. Alarms that are left do not ring.
pub(crate) struct Timer(Arc<TimerShared>);

struct TimerShared {
    /// The alarms on their way to the timer thread. `None` tells the thread to end.
    inbox: Inbox<Option<Scheduled>>,
    /// The time until which the thread is parked, in nanoseconds since `epoch`.
    wakes_at: AtomicU64,
    added: AtomicUsize,
    /// How many of the added alarms the thread has taken.
    taken: AtomicUsize,
    /// 1 if the thread is running, or is being started.
    started: AtomicUsize,
    thread: OnceLock<thread::Thread>,
    epoch: Instant,
    /// The time in a model, which has no clock.
    #[cfg(any(captor_loom, captor_shuttle))]
    model_time: AtomicU64,
    name: String,
    spawn: Box<Spawn>,
}

/// An alarm, and the time at which the alarm rings.
struct Scheduled {
    at: u64,
    alarm: Box<dyn Alarm>,
}

/// An alarm in the heap. The next alarm is the greatest. Of alarms with one time, the first added
/// is the greatest.
struct HeapEntry(Reverse<(u64, u64)>, Box<dyn Alarm>);

impl PartialEq for HeapEntry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for HeapEntry {}
impl PartialOrd for HeapEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for HeapEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Timer {
    /// Makes a timer whose thread is called `name`. The thread is not started yet.
    pub(crate) fn new(name: String, spawn: Box<Spawn>) -> Self {
        Timer(Arc::new(TimerShared {
            inbox: Inbox::new(),
            wakes_at: AtomicU64::new(NEVER),
            added: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            thread: OnceLock::new(),
            epoch: Instant::now(),
            // An alarm that is not in the far future is due.
            #[cfg(any(captor_loom, captor_shuttle))]
            model_time: AtomicU64::new(NEVER / 2),
            name,
            spawn,
        }))
    }

    /// Sets the time of a model to `at`, and wakes the timer thread if it sleeps until then.
    #[cfg(all(test, any(captor_loom, captor_shuttle)))]
    pub(crate) fn pass_to(&self, at: Instant) {
        let shared = &self.0;
        let at = shared.time_of(at);
        // AcqRel, partner: the AcqRel in `now`, for the look in `sleep_until`. Of the two steps,
        // the second sees what came before the first.
        shared.model_time.swap(at, Ordering::AcqRel);
        if shared.wakes_at.load(Ordering::Relaxed) <= at {
            shared.wake();
        }
    }
}

impl Alarms for Timer {
    fn add(&self, at: Instant, alarm: Box<dyn Alarm>) {
        let shared = &self.0;
        let at = shared.time_of(at);
        let is_parked = shared.inbox.push(Some(Scheduled { at, alarm }));
        // Relaxed: the step only counts.
        let added = shared.added.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // Relaxed: the push has acquired what the thread wrote before it parked. Partner: the
        // Release in `Inbox::park`.
        let is_due = is_parked && at < shared.wakes_at.load(Ordering::Relaxed);
        if is_due || added % MANY == 0 {
            shared.wake();
        }
        shared.start();
        // Alarms that the thread has not taken are never thrown away. Relaxed: the step only
        // counts. The thread may have taken alarms that are not counted yet, so the difference may
        // be negative.
        let left = added.wrapping_sub(shared.taken.load(Ordering::Relaxed));
        if left as isize > PACE_ABOVE {
            yield_now();
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.0.inbox.push(None) {
            self.0.wake();
        }
    }
}

impl TimerShared {
    /// Returns a time in nanoseconds since the timer was made.
    fn time_of(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch))
    }

    #[cfg(not(any(captor_loom, captor_shuttle)))]
    fn now(&self) -> u64 {
        self.time_of(Instant::now())
    }

    #[cfg(any(captor_loom, captor_shuttle))]
    fn now(&self) -> u64 {
        // AcqRel, partner: the AcqRel in `pass_to`.
        self.model_time.fetch_or(0, Ordering::AcqRel)
    }

    /// Wakes the timer thread. A parked thread has made itself known in `thread` before.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Starts the timer thread, unless it was started before.
    fn start(self: &Arc<Self>) {
        // Relaxed: the step only decides which adder starts the thread. The inbox orders the rest.
        if self.started.load(Ordering::Relaxed) != 0 || self.started.swap(1, Ordering::Relaxed) != 0
        {
            return;
        }
        let shared = Arc::clone(self);
        if let Err(error) = (self.spawn)(self.name.clone(), Box::new(move || shared.run())) {
            // The next alarm tries again. Until then, tasks expire when their turn comes.
            self.started.store(0, Ordering::Relaxed);
            panics::log_safely(|| {
                tracing::error!(target: "captor", %error, "could not start the timer thread");
            });
        }
    }

    /// Runs the timer thread until its end.
    fn run(&self) {
        // The thread runs once, and no other code sets `thread`.
        let _ = self.thread.set(thread::current());
        let mut heap = Heap::new();
        loop {
            let entries = self.inbox.take();
            // Relaxed: the step only counts.
            self.taken.fetch_add(entries.len(), Ordering::Relaxed);
            if !heap.add(entries) {
                return;
            }
            let now = self.now();
            heap.ring(now);
            heap.purge_at_times(now);
            let next = heap.wakes_at();
            // Relaxed: `park` releases this store. Partner: the push in `add`.
            self.wakes_at.store(next, Ordering::Relaxed);
            if self.inbox.park() {
                self.sleep_until(next);
            }
        }
    }

    fn sleep_until(&self, at: u64) {
        #[cfg(not(any(captor_loom, captor_shuttle)))]
        if at != NEVER {
            let left = at.saturating_sub(self.now());
            return thread::park_timeout(std::time::Duration::from_nanos(left));
        }
        #[cfg(any(captor_loom, captor_shuttle))]
        if self.now() >= at {
            return;
        }
        thread::park();
    }
}

/// Alarms in the order of their times.
pub(crate) struct Heap {
    alarms: BinaryHeap<HeapEntry>,
    /// How many alarms were ever added. This number tells which of two alarms was added first.
    added: u64,
    /// How many alarms the last purge left.
    left: usize,
    /// When the next purge is due. [`NEVER`] if no purge is due.
    purges_at: u64,
}

impl Heap {
    pub(crate) fn new() -> Self {
        Heap {
            alarms: BinaryHeap::new(),
            added: 0,
            left: 0,
            purges_at: NEVER,
        }
    }

    /// Adds the alarms that came in. Returns `false` if the thread must end.
    fn add(&mut self, entries: Vec<Option<Scheduled>>) -> bool {
        for entry in entries {
            let Some(Scheduled { at, alarm }) = entry else {
                return false;
            };
            if alarm.is_over() {
                discard(alarm);
            } else {
                self.set(at, alarm);
            }
        }
        if self.alarms.len() > 2 * self.left + MANY {
            self.purge();
        }
        true
    }

    pub(crate) fn set(&mut self, at: u64, alarm: Box<dyn Alarm>) {
        self.added += 1;
        self.alarms
            .push(HeapEntry(Reverse((at, self.added)), alarm));
    }

    /// Takes out the next alarm, if it is due.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Box<dyn Alarm>> {
        let is_due = self.next() <= now;
        let next = is_due.then(|| self.alarms.pop())?;
        next.map(|HeapEntry(_, alarm)| alarm)
    }

    /// Takes out the first alarm, if it is over.
    #[cfg(feature = "testing")]
    pub(crate) fn pop_over(&mut self) -> Option<Box<dyn Alarm>> {
        let is_over = self.alarms.peek()?.1.is_over();
        let first = is_over.then(|| self.alarms.pop())?;
        first.map(|HeapEntry(_, alarm)| alarm)
    }

    /// Throws away the alarms that are over.
    fn purge(&mut self) {
        let (over, rest): (Vec<_>, Vec<_>) = (core::mem::take(&mut self.alarms).into_iter())
            .partition(|HeapEntry(_, alarm)| alarm.is_over());
        over.into_iter()
            .for_each(|HeapEntry(_, alarm)| discard(alarm));
        self.left = rest.len();
        self.alarms = rest.into();
    }

    /// Throws away the alarms that are over, at least every [`PURGE`] while there are more than
    /// [`MANY`].
    fn purge_at_times(&mut self, now: u64) {
        if self.alarms.len() <= MANY {
            self.purges_at = NEVER;
        } else if self.purges_at == NEVER {
            self.purges_at = now.saturating_add(PURGE);
        } else if self.purges_at <= now {
            self.purge();
            self.purges_at = NEVER;
            self.purge_at_times(now);
        }
    }

    /// Returns when the thread has something to do next: an alarm or a purge.
    fn wakes_at(&self) -> u64 {
        self.next().min(self.purges_at)
    }

    /// Returns when the first alarm is due.
    pub(crate) fn next(&self) -> u64 {
        self.alarms
            .peek()
            .map_or(NEVER, |HeapEntry(Reverse((at, _)), _)| *at)
    }

    /// Rings the alarms that are due.
    fn ring(&mut self, now: u64) {
        while let Some(alarm) = self.pop(now) {
            ring(alarm);
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        core::mem::take(&mut self.alarms)
            .into_iter()
            .for_each(|HeapEntry(_, alarm)| discard(alarm));
    }
}

/// Rings an alarm, and contains its panic.
pub(crate) fn ring(alarm: Box<dyn Alarm>) {
    panics::contain("alarm", || alarm.ring());
}

/// Drops an alarm. This may drop what the alarm refers to, which is user code.
pub(crate) fn discard(alarm: Box<dyn Alarm>) {
    panics::contain("drop of an alarm", || drop(alarm));
}

#[cfg(all(test, not(any(captor_loom, captor_shuttle))))]
mod tests {
    use super::*;
    use crate::pool::spawn::spawn_thread;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::mpsc;
    use std::time::Duration;

    /// An alarm that reports when it rings, or when it is dropped unrung.
    struct TestAlarm {
        name: u32,
        rings: mpsc::Sender<(u32, bool)>,
        over: Arc<AtomicBool>,
        rung: bool,
    }

    impl Alarm for TestAlarm {
        fn is_over(&self) -> bool {
            self.over.load(Ordering::SeqCst)
        }

        fn ring(mut self: Box<Self>) {
            self.rung = true;
            if self.name == PANICS {
                panic!("intended");
            }
        }
    }

    impl Drop for TestAlarm {
        fn drop(&mut self) {
            let _ = self.rings.send((self.name, self.rung));
        }
    }

    const PANICS: u32 = 99;
    const SOON: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_secs(3600);
    const DEADLINE: Duration = Duration::from_secs(30);

    struct Tower {
        timer: Timer,
        rings: mpsc::Sender<(u32, bool)>,
        heard: mpsc::Receiver<(u32, bool)>,
    }

    impl Tower {
        fn new(spawn: Box<Spawn>) -> Tower {
            let (rings, heard) = mpsc::channel();
            let timer = Timer::new("timer".into(), spawn);
            Tower {
                timer,
                rings,
                heard,
            }
        }

        fn add(&self, name: u32, at: Instant) -> Arc<AtomicBool> {
            let over = Arc::<AtomicBool>::default();
            let bell = TestAlarm {
                name,
                rings: self.rings.clone(),
                over: Arc::clone(&over),
                rung: false,
            };
            self.timer.add(at, Box::new(bell));
            over
        }

        fn hear(&self) -> (u32, bool) {
            self.heard.recv_timeout(DEADLINE).expect("an alarm rings")
        }

        /// Waits until the timer thread sleeps until `at`.
        fn is_parked_until(&self, at: Instant) {
            let at = self.timer.0.time_of(at);
            let end = Instant::now() + DEADLINE;
            while self.timer.0.wakes_at.load(Ordering::SeqCst) != at {
                assert!(
                    Instant::now() < end,
                    "the timer thread does not go to sleep"
                );
                thread::yield_now();
            }
        }
    }

    fn tower() -> Tower {
        Tower::new(Box::new(spawn_thread))
    }

    #[test]
    fn alarms_ring_by_time_then_by_addition() {
        let t = tower();
        let soon = Instant::now() + SOON;
        t.add(3, soon + SOON);
        for n in [1, 2] {
            t.add(n, soon);
        }
        t.add(0, Instant::now());
        for n in 0..4 {
            assert_eq!(t.hear(), (n, true));
        }
        assert!(Instant::now() >= soon + SOON, "none rings early");
    }

    #[test]
    fn timer_thread_wakes_when_earlier_alarm_comes() {
        let t = tower();
        let later = Instant::now() + LATER;
        t.add(1, later);
        t.is_parked_until(later);
        t.add(2, Instant::now() + SOON);
        assert_eq!(t.hear(), (2, true));
    }

    #[test]
    fn later_alarm_rings_when_alarm_panics() {
        let t = tower();
        let now = Instant::now();
        t.add(PANICS, now);
        t.add(2, now);
        assert_eq!(t.hear(), (PANICS, true));
        assert_eq!(t.hear(), (2, true));
    }

    #[test]
    fn finished_alarms_are_dropped_when_heap_grows() {
        let t = tower();
        let later = Instant::now() + LATER;
        let all: Vec<_> = (0..4 * MANY as u32).map(|n| t.add(n, later)).collect();
        for over in &all {
            over.store(true, Ordering::SeqCst);
        }
        // The alarms added here outnumber the old alarms, so the old alarms are thrown away.
        let rest: Vec<_> = (0..8 * MANY as u32).map(|n| t.add(n, later)).collect();
        for _ in &all {
            assert!(!t.hear().1);
        }
        drop(rest);
    }

    #[test]
    fn finished_alarms_are_dropped_when_time_passes() {
        let mut heap = Heap::new();
        let (rings, heard) = mpsc::channel();
        let overs: Vec<_> = (0..=MANY as u32)
            .map(|name| {
                let over = Arc::<AtomicBool>::default();
                let (rings, rung) = (rings.clone(), false);
                let bell = TestAlarm {
                    name,
                    rings,
                    over: Arc::clone(&over),
                    rung,
                };
                let alarm = Box::new(bell);
                assert!(heap.add(vec![Some(Scheduled {
                    at: NEVER - 1,
                    alarm
                })]));
                over
            })
            .collect();
        heap.purge_at_times(5);
        assert_eq!(heap.wakes_at(), 5 + PURGE);
        for over in &overs[1..] {
            over.store(true, Ordering::SeqCst);
        }
        heap.purge_at_times(4 + PURGE);
        assert!(heard.try_recv().is_err(), "not yet");
        heap.purge_at_times(5 + PURGE);
        assert_eq!(heard.try_iter().count(), MANY);
        assert_eq!((heap.alarms.len(), heap.wakes_at()), (1, NEVER - 1));
    }

    #[test]
    fn alarms_are_dropped_unrung_when_timer_drops() {
        let t = tower();
        t.add(1, Instant::now() + LATER);
        let Tower { timer, heard, .. } = t;
        drop(timer);
        assert_eq!(heard.recv_timeout(DEADLINE), Ok((1, false)));
    }

    #[test]
    fn thread_start_is_retried_when_spawn_fails() {
        let tries = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&tries);
        let spawn = move |name, main| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(std::io::Error::other("no thread"));
            }
            spawn_thread(name, main)
        };
        let t = Tower::new(Box::new(spawn));
        let now = Instant::now();
        t.add(1, now);
        assert!(t.heard.try_recv().is_err());
        t.add(2, now);
        assert_eq!((t.hear(), t.hear()), ((1, true), (2, true)));
        assert_eq!(tries.load(Ordering::SeqCst), 2, "one thread");
    }
}
