//! What a task is called and how it is to be treated: what its submitter says
//! of it, and what goes with it into the queue.

use crate::raw::thread::context::{Described, TaskName};
use crate::raw::thread::panics;
use crate::raw::thread::spans;
use crate::raw::timing::alarm::Alarms;
use crate::raw::timing::nanos;
use crate::sync::{Counter, MODEL, UnsafeCell};
use core::time::Duration;
use std::time::Instant;
use tracing::Span;
use tracing::level_filters::LevelFilter;

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
    /// By the clock of its scheduler.
    pub(crate) fn is_late(&self, clock: &dyn Alarms) -> bool {
        is_past(self.deadline, clock)
    }
}

/// Is there a deadline, and has it passed? (loom has no clock: there, a deadline
/// passes when its alarm rings.)
fn is_past(deadline: Option<Instant>, clock: &dyn Alarms) -> bool {
    !MODEL && deadline.is_some_and(|deadline| clock.now() >= deadline)
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
    pub(crate) fn new(given: Given<'_>, level: u8, timed: bool, clock: &dyn Alarms) -> Self {
        // One look at a static where no subscriber is installed.
        if given.is_none() && !timed && LevelFilter::current() == LevelFilter::OFF {
            return Tag { level, meta: None };
        }
        Tag::described(given, level, clock)
    }

    #[cold]
    fn described(given: Given<'_>, level: u8, clock: &dyn Alarms) -> Self {
        let name = name(given);
        let meta = Meta {
            name,
            span: UnsafeCell::new(Span::current()),
            deadline: given.and_then(|attributes| attributes.deadline),
            made: clock.now(),
            held_back: Counter::default(),
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
    /// Used by the holder, while the task runs.
    span: UnsafeCell<Span>,
    /// When its task is to have started.
    pub(crate) deadline: Option<Instant>,
    /// When it was made, and how long after that it was queued, in nanoseconds.
    made: Instant,
    held_back: Counter,
    /// For how long it was, in nanoseconds.
    waited: Counter,
}

// SAFETY: the span is used by the holder, and taken by who is left alone with it.
unsafe impl Sync for Meta {}

impl Meta {
    /// Runs `f` in the span under which the task was submitted.
    ///
    /// # Safety
    /// For the holder, with the task still in its hands.
    pub(crate) unsafe fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        self.span.with(|span| {
            // SAFETY: by the contract.
            let _span = spans::within(unsafe { &*span });
            f()
        })
    }

    /// Leaves the span: its task is through, but may be referred to for long.
    ///
    /// # Safety
    /// Nobody else uses the span any more.
    pub(crate) unsafe fn leave_span(&self) {
        // SAFETY: by the contract.
        let span =
            (self.span).with_mut(|span| unsafe { core::mem::replace(&mut *span, Span::none()) });
        // Closing a span calls its subscriber.
        panics::tell(|| drop(span));
    }

    fn age(&self, clock: &dyn Alarms) -> u64 {
        let age = clock.now().saturating_duration_since(self.made);
        nanos(age)
    }

    /// Its task is queued only now.
    pub(crate) fn is_queued(&self, clock: &dyn Alarms) {
        self.held_back.bump_by(self.age(clock));
    }

    /// Its task starts, or goes on.
    pub(crate) fn starts(&self, clock: &dyn Alarms) {
        if self.waited.get() == 0 {
            let waited = self.age(clock).saturating_sub(self.held_back.get());
            self.waited.bump_by(waited.max(1));
        }
    }

    /// By the clock of its scheduler.
    pub(crate) fn is_late(&self, clock: &dyn Alarms) -> bool {
        is_past(self.deadline, clock)
    }

    pub(crate) fn is_late_to_start(&self, clock: &dyn Alarms) -> bool {
        self.waited.get() == 0 && self.is_late(clock)
    }

    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.get())
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        // SAFETY: it is going.
        unsafe { self.leave_span() };
    }
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

    fn waits(&self) -> bool {
        false
    }
}
