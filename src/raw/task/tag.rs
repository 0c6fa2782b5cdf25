//! A task's name, priority, deadline, span and times: the attributes that a submitter states, and
//! the part that goes into the queue with the task.

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

/// The attributes that a submitter states for a task. Most submitters state none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) name: TaskName,
    /// The task's priority, which exists on the resource.
    pub(crate) level: Option<u8>,
    /// The time by which the task must have started. An asynchronous task that waits at that time,
    /// or comes to wait later, is given up: its deadline bounds the whole task.
    pub(crate) deadline: Option<Instant>,
}

impl Attributes {
    /// Checks whether the deadline has passed, by the clock of the scheduler.
    pub(crate) fn is_late(&self, clock: &dyn Alarms) -> bool {
        is_past(self.deadline, clock)
    }
}

/// Checks whether there is a deadline that has passed. loom has no clock: in a model, a deadline
/// passes when its alarm rings.
fn is_past(deadline: Option<Instant>, clock: &dyn Alarms) -> bool {
    !MODEL && deadline.is_some_and(|deadline| clock.now() >= deadline)
}

/// The attributes, if the submitter stated some.
pub(crate) type Given<'a> = Option<&'a Attributes>;

pub(crate) fn name(given: Given<'_>) -> TaskName {
    given.and_then(|attributes| attributes.name)
}

/// The part of the attributes that goes into the queue with a task.
#[derive(Debug, Default)]
pub(crate) struct Tag {
    pub(crate) level: u8,
    pub(crate) meta: Option<Box<Meta>>,
}

impl Tag {
    /// Checks whether the timer must watch over a deadline of the task.
    pub(crate) fn has_deadline(&self) -> bool {
        self.meta
            .as_ref()
            .is_some_and(|meta| meta.deadline.is_some())
    }

    #[inline]
    pub(crate) fn new(given: Given<'_>, level: u8, timed: bool, clock: &dyn Alarms) -> Self {
        // If no subscriber is installed, this costs one look at a static.
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

/// The part of a task that few tasks have: a name, the span of the submission, times.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) name: TaskName,
    /// Used by the holder, while the task runs.
    span: UnsafeCell<Span>,
    /// See [`Attributes::deadline`].
    pub(crate) deadline: Option<Instant>,
    /// The time at which the task was made.
    made: Instant,
    /// The time from then until the task was queued, in nanoseconds.
    held_back: Counter,
    /// The time that the task was queued, in nanoseconds. Zero until the task starts.
    waited: Counter,
}

// SAFETY: the holder uses the span while the task runs. Afterwards, the last of queue and handle
// takes the span out, or the last owner drops it. The timer never looks at the span.
unsafe impl Sync for Meta {}

impl Meta {
    /// Runs `f` in the span of the submission.
    ///
    /// # Safety
    /// Must be called by the holder, while the holder still has the task.
    pub(crate) unsafe fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        self.span.with(|span| {
            // SAFETY: the caller is the holder and has the task, so no other thread uses the span
            // (contract of this function).
            let _span = spans::within(unsafe { &*span });
            f()
        })
    }

    /// Leaves the span. The task has finished, but its memory may be kept for long.
    ///
    /// # Safety
    /// No other thread may use the span any more.
    pub(crate) unsafe fn leave_span(&self) {
        // SAFETY: no other thread uses the span (contract of this function).
        let span =
            (self.span).with_mut(|span| unsafe { core::mem::replace(&mut *span, Span::none()) });
        // Closing a span calls the subscriber.
        panics::log_safely(|| drop(span));
    }

    fn age(&self, clock: &dyn Alarms) -> u64 {
        let age = clock.now().saturating_duration_since(self.made);
        nanos(age)
    }

    /// Notes that the task is queued only now, after it was made.
    pub(crate) fn is_queued(&self, clock: &dyn Alarms) {
        self.held_back.bump_by(self.age(clock));
    }

    /// Notes that the task starts. Has no effect if the task goes on.
    pub(crate) fn starts(&self, clock: &dyn Alarms) {
        if self.waited.get() == 0 {
            let waited = self.age(clock).saturating_sub(self.held_back.get());
            self.waited.bump_by(waited.max(1));
        }
    }

    /// Checks whether the deadline has passed, by the clock of the scheduler.
    pub(crate) fn is_late(&self, clock: &dyn Alarms) -> bool {
        is_past(self.deadline, clock)
    }

    /// Checks whether the deadline has passed and the task has not started.
    pub(crate) fn is_late_to_start(&self, clock: &dyn Alarms) -> bool {
        self.waited.get() == 0 && self.is_late(clock)
    }

    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.get())
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        // SAFETY: the drop has the only reference to the span.
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
        // The task was not queued, so it has no handle.
        false
    }

    fn waits(&self) -> bool {
        false
    }
}
