//! What a task is called and how it is to be treated: what its submitter says
//! of it, and what goes with it into the queue.

use crate::raw::panics;
use crate::sync::{Counter, MODEL};
use core::time::Duration;
use std::time::Instant;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// What a task is called in the log.
pub(crate) type TaskName = Option<&'static str>;

/// What a submitter says of a task. Most say nothing at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) name: TaskName,
    /// Its priority, which the resource has.
    pub(crate) level: Option<u8>,
    /// When it is to have started.
    pub(crate) deadline: Option<Instant>,
}

impl Attributes {
    pub(crate) fn is_late(&self) -> bool {
        is_past(self.deadline)
    }
}

/// Is there a deadline, and has it passed? (loom has no clock: there, a deadline
/// passes when its alarm rings.)
fn is_past(deadline: Option<Instant>) -> bool {
    !MODEL && deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Attributes, where a submitter gave some.
pub(crate) type Given<'a> = Option<&'a Attributes>;

pub(crate) fn name(given: Given<'_>) -> TaskName {
    given.and_then(|attributes| attributes.name)
}

/// What goes with a task that is queued.
#[derive(Debug, Default)]
pub(crate) struct Tag {
    pub(crate) level: u8,
    pub(crate) meta: Option<Box<Meta>>,
}

impl Tag {
    /// Is the timer to see to its deadline?
    pub(crate) fn is_timed(&self) -> bool {
        self.meta
            .as_ref()
            .is_some_and(|meta| meta.deadline.is_some())
    }

    #[inline]
    pub(crate) fn new(given: Given<'_>, level: u8, timed: bool) -> Self {
        // One look at a static where no subscriber is installed.
        if given.is_none() && !timed && LevelFilter::current() == LevelFilter::OFF {
            return Tag { level, meta: None };
        }
        Tag::described(given, level)
    }

    #[cold]
    fn described(given: Given<'_>, level: u8) -> Self {
        let name = name(given);
        let meta = Meta {
            name,
            span: Span::current(),
            deadline: given.and_then(|attributes| attributes.deadline),
            queued: Instant::now(),
            waited: Counter::default(),
        };
        Tag {
            level,
            meta: Some(Box::new(meta)),
        }
    }
}

/// What few tasks have: a name, a span under which they were submitted, a time.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) name: TaskName,
    pub(crate) span: Span,
    /// When its task is to have started.
    pub(crate) deadline: Option<Instant>,
    /// Since when it is queued.
    queued: Instant,
    /// For how long it was, in nanoseconds.
    waited: Counter,
}

impl Meta {
    /// Its task starts, or goes on.
    pub(crate) fn starts(&self) {
        if self.waited.get() == 0 {
            let waited = self.queued.elapsed().as_nanos();
            self.waited
                .add(u64::try_from(waited).unwrap_or(u64::MAX).max(1));
        }
    }

    pub(crate) fn is_late_to_start(&self) -> bool {
        self.waited.get() == 0 && is_past(self.deadline)
    }

    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.get())
    }
}

/// Closing a span calls its subscriber.
impl Drop for Meta {
    fn drop(&mut self) {
        let span = core::mem::replace(&mut self.span, Span::none());
        panics::tell(|| drop(span));
    }
}

/// A task that runs, to those who ask what runs here.
pub(crate) trait Described {
    fn name(&self) -> TaskName;
    /// Its priority; `None`: what the resource says.
    fn level(&self) -> Option<u8>;
    /// For how long it was queued, if that was noted.
    fn queued_for(&self) -> Option<Duration>;
    /// Through its handle.
    fn was_asked_to_stop(&self) -> bool;
}

impl Described for Attributes {
    fn name(&self) -> TaskName {
        self.name
    }

    fn level(&self) -> Option<u8> {
        self.level
    }

    fn queued_for(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn was_asked_to_stop(&self) -> bool {
        // It was not queued, so it has no handle.
        false
    }
}
