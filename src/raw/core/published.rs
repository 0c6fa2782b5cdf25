//! How far the counters of a resource and of a scheduler were published (feature `metrics`).
//!
//! A metrics recorder counts increments. So each counter has a [`Mark`], the value that was
//! published last, and each publication adds the difference.

use crate::sync::{Arc, AtomicU64, Ordering};

/// The number of counters that are published for a resource.
pub(crate) const COUNTERS: usize = 8;

/// How far a counter was published.
#[derive(Debug, Default)]
pub(crate) struct Mark(AtomicU64);

impl Mark {
    /// Returns how much of `now` is new, and records `now` as published. Several threads may call
    /// this at the same time, with different counts: each is told a different part.
    pub(crate) fn news(&self, now: u64) -> u64 {
        now.saturating_sub(self.0.fetch_max(now, Ordering::Relaxed))
    }
}

/// How far a resource's counters were published, one mark for each.
#[derive(Debug, Default)]
pub(crate) struct PublishedCounters(pub(crate) [Mark; COUNTERS]);

/// The name under which a scheduler is published, and how far.
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
