//! What was published of a resource's and a scheduler's counters (feature `metrics`).

use crate::sync::{Arc, AtomicU64, Ordering};

/// How many counters of a resource are published.
pub(crate) const COUNTERS: usize = 8;

/// How far a counter was published.
#[derive(Debug, Default)]
pub(crate) struct Mark(AtomicU64);

impl Mark {
    /// How much of `now` is new. Of those who ask at once, and with whatever count,
    /// each is told another part.
    pub(crate) fn news(&self, now: u64) -> u64 {
        now.saturating_sub(self.0.fetch_max(now, Ordering::Relaxed))
    }
}

/// How far a resource's counters were published, one mark for each.
#[derive(Debug, Default)]
pub(crate) struct PublishedCounters(pub(crate) [Mark; COUNTERS]);

/// Under which name a scheduler is published, and how far.
#[derive(Debug)]
pub(crate) struct PublishedScheduler {
    pub(crate) name: Arc<str>,
    pub(crate) dispatched: Mark,
}

impl PublishedScheduler {
    pub(crate) fn new(name: &str) -> Self {
        PublishedScheduler {
            name: name.into(),
            dispatched: Mark::default(),
        }
    }
}
