//! What stands for a scheduler's threads in a model: jobs and alarms wait until a
//! model thread runs them, or lets them ring.

use super::Token;
use crate::Job;
use crate::raw::core::JobSink;
use crate::raw::timing::alarm::{Alarm, Alarms};
use crate::sync::{
    Arc, AtomicUsize, Condvar, Counter, Mutex, OnceLock, Ordering, StaticMutex, lock, yield_now,
};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::PoisonError;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A queue between model threads. What the checker sees of it is a counter,
/// which makes it a point to switch threads at.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    items: StaticMutex<VecDeque<T>>,
    posted: AtomicUsize,
    post: Ordering,
    take: Ordering,
    /// Who blocks for an item, where somebody does.
    news: Option<(Mutex<()>, Condvar)>,
}

impl<T> Mailbox<T> {
    /// Does its reader block?
    pub(super) fn blocks(&self) -> bool {
        self.news.is_some()
    }

    /// What was done before an item was posted is seen by who takes it, as
    /// with any channel.
    pub(crate) fn new() -> Arc<Self> {
        Self::with_orderings(Ordering::Release, Ordering::Acquire)
    }

    /// Brings no such edge.
    pub(crate) fn edgeless() -> Arc<Self> {
        Self::with_orderings(Ordering::Relaxed, Ordering::Relaxed)
    }

    /// Its reader blocks. With three threads that is needed: loom follows two
    /// threads that spin, each while the other does, for ever.
    pub(crate) fn blocking() -> Arc<Self> {
        let mut mailbox = Self::new();
        Arc::get_mut(&mut mailbox).expect("just made").news =
            Some((Mutex::new(()), Condvar::new()));
        mailbox
    }

    fn with_orderings(post: Ordering, take: Ordering) -> Arc<Self> {
        Arc::new(Mailbox {
            items: StaticMutex::new(VecDeque::new()),
            posted: AtomicUsize::new(0),
            post,
            take,
            news: None,
        })
    }

    pub(crate) fn post(&self, item: T) {
        self.items.lock().unwrap().push_back(item);
        self.posted.fetch_add(1, self.post);
        if let Some((gate, news)) = &self.news {
            drop(lock(gate));
            news.notify_one();
        }
    }

    /// "Yes" may be out of date.
    pub(crate) fn is_empty(&self) -> bool {
        self.posted.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn take(&self) -> Option<T> {
        if self.posted.load(self.take) == 0 {
            return None;
        }
        let item = self.items.lock().unwrap().pop_front()?;
        self.posted.fetch_sub(1, Ordering::Relaxed);
        Some(item)
    }

    /// Waits for an item.
    pub(crate) fn wait(&self) -> T {
        if let Some((gate, news)) = &self.news {
            let mut closed = lock(gate);
            loop {
                if let Some(item) = self.take() {
                    return item;
                }
                closed = news.wait(closed).unwrap_or_else(PoisonError::into_inner);
            }
        }
        loop {
            match self.take() {
                Some(item) => return item,
                None => yield_now(),
            }
        }
    }
}

/// What comes to the model thread that stands for the pool.
#[derive(Debug)]
pub(crate) enum Call {
    Job(Job),
    /// A thread of the model has ended.
    Ended,
}

/// Jobs wait here until a model thread runs them.
pub(super) struct Jobs(pub(super) Arc<Mailbox<Call>>);

impl JobSink for Jobs {
    fn dispatch(&self, job: Job) {
        self.0.post(Call::Job(job));
    }

    fn rescue(&self, job: Job) {
        self.0.post(Call::Job(job));
    }

    fn others_wait(&self) -> bool {
        true
    }

    fn may_be_blocked(&self) -> bool {
        false
    }
}

/// Alarms wait here until a model thread lets them ring, or drops them.
#[derive(Default)]
pub(crate) struct ManualTimer {
    alarms: StaticMutex<Vec<(Instant, Box<dyn Alarm>)>>,
    clock: OnceLock<Clock>,
}

/// A clock that a model thread turns. It brings no edge: who is woken because it is
/// time must not need one.
struct Clock {
    epoch: Instant,
    hours: AtomicUsize,
    /// For the checker, who sees by it that setting alarms and ringing them conflict.
    turns: AtomicUsize,
}

impl Clock {
    fn at(&self, hours: usize) -> Instant {
        self.epoch + HOUR * u32::try_from(hours).expect("a model is short")
    }
}

/// Longer than any model runs: without a [`Clock`] it has not passed, unless an alarm
/// says so.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

impl ManualTimer {
    /// The alarm that was set last.
    pub(crate) fn take(&self) -> Option<Box<dyn Alarm>> {
        self.alarms.lock().unwrap().pop().map(|(_, alarm)| alarm)
    }

    /// From now on, time passes by [`ManualTimer::pass`] alone.
    pub(crate) fn stop_the_clock(&self) {
        let clock = Clock {
            epoch: Instant::now(),
            hours: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        };
        assert!(self.clock.set(clock).is_ok(), "it stands still");
    }

    /// When the clock was stopped.
    pub(crate) fn started(&self) -> Instant {
        self.clock.get().expect("it was stopped").epoch
    }

    /// It is so many hours later than at the start. By one thread.
    pub(crate) fn pass(&self, hours: usize) {
        let clock = self.clock.get().expect("it was stopped");
        clock.hours.store(hours, Ordering::Relaxed);
    }

    /// Does as a timer does: what is due rings.
    pub(crate) fn ring(&self) {
        let now = self.now();
        self.turn();
        let alarms = std::mem::take(&mut *self.alarms.lock().unwrap());
        let (due, rest): (Vec<_>, Vec<_>) = alarms.into_iter().partition(|(at, _)| *at <= now);
        self.alarms.lock().unwrap().extend(rest);
        due.into_iter().for_each(|(_, alarm)| alarm.ring());
    }

    fn turn(&self) {
        if let Some(clock) = self.clock.get() {
            clock.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn now(&self) -> Instant {
        match self.clock.get() {
            Some(clock) => clock.at(clock.hours.load(Ordering::Relaxed)),
            None => Instant::now(),
        }
    }
}

impl Alarms for Arc<ManualTimer> {
    fn now(&self) -> Instant {
        ManualTimer::now(self)
    }

    fn add(&self, at: Instant, alarm: Box<dyn Alarm>) {
        self.turn();
        self.alarms.lock().unwrap().push((at, alarm));
    }
}

/// A waker that counts, and that is counted itself: it has to go.
pub(crate) struct Noted {
    woken: Counter,
    _token: Token,
}

impl Noted {
    pub(crate) fn new(token: Token) -> Arc<Self> {
        Arc::new(Noted {
            woken: Counter::new(),
            _token: token,
        })
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.get() > 0
    }
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.woken.add(1);
    }
}

/// Polls with this waker.
pub(crate) fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// The same, once, with one that is counted.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F, waker: &Arc<Noted>) -> Poll<F::Output> {
    poll_with(future, &Waker::from(Arc::clone(waker)))
}

/// A thread that waits for futures.
///
/// It spins: loom forgets that a thread was unparked which waits for a lock just then.
/// One waker for all that a thread waits for: a new one may have the address of one that
/// was dropped by another thread, and it is only by the allocator's edge, which loom does
/// not see, that the two are told apart.
pub(crate) struct WaitProbe(Arc<Told>);

/// Counts how often it was told. Waiting for that is nothing for the checker to branch on.
struct Told {
    times: Counter,
    edge: AtomicUsize,
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.edge.fetch_add(0, Ordering::Release);
        self.times.add(1);
    }
}

/// More than it takes until all other threads have ended.
const TURNS: usize = 1000;

impl WaitProbe {
    pub(crate) fn new() -> Self {
        WaitProbe(Arc::new(Told {
            times: Counter::new(),
            edge: AtomicUsize::new(0),
        }))
    }

    /// Polls until it is ready, again only if it was woken, and works meanwhile.
    pub(crate) fn block_on<F: Future>(&self, future: F, work: impl Fn()) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self.0));
        loop {
            let before = self.0.times.get();
            // What was done before it was told is seen, as with any executor.
            self.0.edge.fetch_add(0, Ordering::Acquire);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            let mut turns = 0..TURNS;
            while self.0.times.get() == before {
                assert!(turns.next().is_some(), "a wake-up is lost");
                work();
                yield_now();
            }
        }
    }
}

/// Polls until it is ready.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    WaitProbe::new().block_on(future, || ())
}

/// A step that two threads take, so that loom tries both orders of what they do next,
/// where it does not see that to conflict: who lets go of an `Arc` last, say.
pub(crate) struct Crossing(AtomicUsize);

impl Crossing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Crossing(AtomicUsize::new(0)))
    }

    pub(crate) fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
