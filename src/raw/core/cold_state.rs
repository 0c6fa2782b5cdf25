//! The state that most resources never need: settings of their own, rare counters, listeners,
//! the stop requests, the stopwatch, the hook and the room.
//!
//! [`ColdState`] lies behind one pointer, and is made when it is first needed. So a resource
//! with default settings is one small allocation.

use crate::raw::core::counters::RareCounters;
use crate::raw::core::hook::Hook;
use crate::raw::core::listeners::Listeners;
use crate::raw::core::room::Room;
use crate::raw::core::stop::Stop;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::sync::{Arc, Mutex};
use core::time::Duration;

/// The settings of one resource. `None` means the scheduler's setting, or no setting.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) capture_limit: Option<usize>,
    pub(crate) capture_time: Option<Duration>,
    /// The resource never runs tasks on its callers.
    pub(crate) pooled: bool,
    /// The effect of a panic on the resource.
    pub(crate) after_panic: AfterPanic,
    /// The number of tasks that may be queued.
    pub(crate) capacity: Option<usize>,
    /// The levels of priority, if there is more than one level.
    pub(crate) priorities: Option<Priorities>,
    /// The resource notes how long tasks take and wait.
    pub(crate) timings: bool,
    /// The resource warns of tasks that take this long.
    pub(crate) slow_task: Option<Duration>,
}

/// The effect of a panic on the resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AfterPanic {
    /// The next task runs.
    Continue,
    /// The resource refuses tasks until a heal, and keeps the value.
    Poison,
    /// The resource closes, and drops the value.
    Close,
}

/// How a resource sorts its tasks by priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Priorities {
    /// The number of levels, at least 2.
    pub(crate) levels: u16,
    /// The level of tasks whose submitter names no level.
    pub(crate) default: u8,
    /// One task in so many comes from another level than the most urgent. 0 means never.
    pub(crate) every: u32,
}

impl Settings {
    pub(crate) const DEFAULT: Settings = Settings {
        name: None,
        capture_limit: None,
        capture_time: None,
        pooled: false,
        after_panic: AfterPanic::Continue,
        capacity: None,
        priorities: None,
        timings: false,
        slow_task: None,
    };

    pub(crate) fn is_watched(&self) -> bool {
        self.timings || self.slow_task.is_some()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::DEFAULT
    }
}

/// The reasons why a strand refuses tasks. Several may hold; `closed` is then reported first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) closed: bool,
    pub(crate) poisoned: bool,
    /// The value was taken out. This is for ever.
    pub(crate) emptied: bool,
}

/// The fields that a resource keeps apart from its hot fields.
#[derive(Debug, Default)]
pub(crate) struct ColdState {
    pub(crate) settings: Settings,
    /// A thread changes this together with the strand's `REFUSING` bit, under this lock. A
    /// submitter takes the lock only to say why its task was refused.
    pub(crate) refusal: Mutex<Refusal>,
    /// Listeners for the closing of the resource, or for its drop.
    pub(crate) closing: Listeners,
    /// Listeners for the end: the resource is closed, and nothing is queued or running.
    pub(crate) ended: Listeners,
    /// The requests to stop, and the token of a running task.
    pub(crate) stop: Mutex<Stop>,
    /// The times of tasks, if the settings ask for them.
    pub(crate) stopwatch: Option<Box<Stopwatch>>,
    /// The closure that is called each time the queue has run empty.
    pub(crate) hook: Hook,
    /// The room in the queue, if the queue is bounded.
    pub(crate) room: Option<Box<Room>>,
    /// How far the counters were published.
    #[cfg(feature = "metrics")]
    pub(crate) published: crate::raw::core::published::PublishedCounters,

    pub(crate) rare: RareCounters,
}
