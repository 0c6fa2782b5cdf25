//! What most resources never need: settings of their own, rare counters, who
//! awaits the end. Kept behind one pointer and made at the first need.

use crate::raw::core::counters::RareCounters;
use crate::raw::core::hook::Hook;
use crate::raw::core::listeners::Listeners;
use crate::raw::core::room::Room;
use crate::raw::core::stop::Stop;
use crate::raw::timing::stopwatch::Stopwatch;
use crate::sync::{Arc, Mutex};
use core::time::Duration;

/// Settings of one resource; `None` means the scheduler's.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) capture_limit: Option<usize>,
    pub(crate) capture_time: Option<Duration>,
    /// Never run on the caller.
    pub(crate) pooled: bool,
    /// A panic keeps later tasks out.
    pub(crate) poison: bool,
    /// How many tasks may be queued.
    pub(crate) capacity: Option<usize>,
    /// Levels of priority, where there is more than one.
    pub(crate) priorities: Option<Priorities>,
    /// Note how long tasks take and wait.
    pub(crate) timings: bool,
    /// Warn of tasks that take so long.
    pub(crate) slow_task: Option<Duration>,
}

/// How a resource sorts its tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Priorities {
    /// At least 2.
    pub(crate) levels: u16,
    /// Of tasks whose submitter names none.
    pub(crate) default: u8,
    /// Every so many tasks, one is another level's; 0: never.
    pub(crate) every: u32,
}

impl Settings {
    pub(crate) const DEFAULT: Settings = Settings {
        name: None,
        capture_limit: None,
        capture_time: None,
        pooled: false,
        poison: false,
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

/// Why a strand refuses. All may hold; closed then comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) closed: bool,
    pub(crate) poisoned: bool,
    /// The value was taken out, which is for ever.
    pub(crate) emptied: bool,
}

#[derive(Debug, Default)]
pub(crate) struct ColdState {
    pub(crate) settings: Settings,
    /// Changed together with the strand's refusing bit, under this lock.
    /// Submitting takes it only to say why it was refused.
    pub(crate) refusal: Mutex<Refusal>,
    /// Who awaits that it closes, or goes.
    pub(crate) closing: Listeners,
    pub(crate) ended: Listeners,
    /// Whether the task that runs was asked to stop.
    pub(crate) stop: Mutex<Stop>,
    /// How long tasks take, where that is asked for.
    pub(crate) stopwatch: Option<Box<Stopwatch>>,
    /// What is done when the queue has run empty.
    pub(crate) hook: Hook,
    /// Where the queue is bounded.
    pub(crate) room: Option<Box<Room>>,
    /// What was published of its counters.
    #[cfg(feature = "metrics")]
    pub(crate) published: crate::raw::core::published::PublishedCounters,

    pub(crate) rare: RareCounters,
}
