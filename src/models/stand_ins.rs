//! What stands for a scheduler's threads in a model: jobs and alarms wait until a
//! model thread runs them, or lets them ring.

use crate::Job;
use crate::raw::expiry::{Alarm, Alarms};
use crate::raw::inner::Dispatch;
use crate::sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering, StaticMutex, lock, yield_now};
use std::collections::VecDeque;
use std::sync::PoisonError;

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

impl Dispatch for Jobs {
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
pub(crate) struct Bell(StaticMutex<Vec<Box<dyn Alarm>>>);

impl Bell {
    /// The alarm that was set last.
    pub(crate) fn take(&self) -> Option<Box<dyn Alarm>> {
        self.0.lock().unwrap().pop()
    }
}

impl Alarms for Arc<Bell> {
    fn add(&self, _: std::time::Instant, alarm: Box<dyn Alarm>) {
        self.0.lock().unwrap().push(alarm);
    }
}
