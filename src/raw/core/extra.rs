//! What most resources never need: settings of their own, rare counters, who
//! awaits the end. Kept behind one pointer and made at the first need.

use crate::raw::core::room::Room;
use crate::raw::ending::stop::Stop;
use crate::raw::run::on_idle::Hook;
use crate::raw::thread::panics;
use crate::raw::timing::stopwatch::Watch;
use crate::sync::{Arc, Counter, Mutex, lock, thread_local_const};
use core::cell::{Cell, RefCell};
use core::task::Waker;
use core::time::Duration;
use std::collections::BTreeMap;

/// Settings of one resource; `None` means the scheduler's.
#[derive(Debug, Default)]
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Priorities {
    /// At least 2.
    pub(crate) levels: u16,
    /// Of tasks whose submitter names none.
    pub(crate) default: u8,
    /// Every so many tasks, one is another level's; 0: never.
    pub(crate) every: u32,
}

impl Settings {
    pub(crate) fn is_watched(&self) -> bool {
        self.timings || self.slow_task.is_some()
    }

    pub(crate) fn is_default(&self) -> bool {
        let Settings {
            name,
            capture_limit,
            capture_time,
            pooled,
            poison,
            capacity,
            priorities,
            timings,
            slow_task,
        } = self;
        name.is_none()
            && capture_limit.is_none()
            && capture_time.is_none()
            && !pooled
            && !poison
            && capacity.is_none()
            && priorities.is_none()
            && !timings
            && slow_task.is_none()
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
pub(crate) struct Extra {
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
    pub(crate) watch: Option<Box<Watch>>,
    /// What is done when the queue has run empty.
    pub(crate) hook: Hook,
    /// Where the queue is bounded.
    pub(crate) room: Option<Box<Room>>,
    /// What was published of its counters.
    #[cfg(feature = "metrics")]
    pub(crate) published: crate::raw::core::published::OfResource,

    /// Hand-offs, past what the resource itself counts.
    pub(crate) handoffs: Counter,
    pub(crate) panicked: Counter,
    pub(crate) rejected: Counter,
    /// Cancelled through their handle.
    pub(crate) cancelled: Counter,
    /// Not started in time.
    pub(crate) expired: Counter,
    /// Of those two, the ones whose remains are still queued.
    pub(crate) remains: Counter,
    /// Of those two, the ones whose remains were taken out among many.
    pub(crate) cleared: Counter,
    /// Cancelled and taken out of the queue, many at once.
    pub(crate) swept: Counter,
}

/// Wakers of those who await an event that happens once.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    /// In the order in which they came.
    wakers: BTreeMap<Key, Waker>,
    last: Key,
}

/// What a listener's waker is kept under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Listeners {
    /// Sets the waker that is kept under `key`, which a new listener is given.
    /// O(log n).
    pub(crate) fn listen(&self, key: &mut Option<Key>, waker: &Waker) {
        let waker = waker.clone();
        let old = {
            let List { wakers, last } = &mut *lock(&self.0);
            let key = *key.get_or_insert_with(|| {
                last.0 += 1;
                *last
            });
            wakers.insert(key, waker)
        };
        // Wakers are user code, and never run under the lock.
        panics::contain("drop of a waker", || drop(old));
    }

    pub(crate) fn forget(&self, key: Key) {
        let old = lock(&self.0).wakers.remove(&key);
        panics::contain("drop of a waker", || drop(old));
    }

    pub(crate) fn notify(&self) {
        let wakers = core::mem::take(&mut lock(&self.0).wakers);
        if !wakers.is_empty() {
            tell(wakers.into_values());
        }
    }
}

/// How many notifications may be nested: the end of a resource may let a task fall, with
/// which the last handle of another goes, and so on.
const MAX_NESTED: usize = 16;

thread_local_const! {
    /// How many notifications this thread is inside of.
    static NESTED: Cell<usize> = Cell::new(0);
    /// Who is left to the one further out: beyond that, the stack does not grow.
    static LEFT: RefCell<Vec<Waker>> = RefCell::new(Vec::new());
}

fn tell(wakers: impl Iterator<Item = Waker>) {
    let nested = NESTED.with(Cell::get);
    let mut wakers = Some(wakers);
    if nested == MAX_NESTED {
        let leave = |left: &RefCell<Vec<Waker>>| {
            left.borrow_mut()
                .extend(wakers.take().into_iter().flatten())
        };
        // Where the thread's locals are gone, it goes deeper.
        let _ = LEFT.try_with(leave);
    }
    let Some(wakers) = wakers else { return };
    NESTED.with(|n| n.set((nested + 1).min(MAX_NESTED)));
    wakers.for_each(panics::wake);
    if nested + 1 == MAX_NESTED {
        let next = || LEFT.try_with(|left| left.borrow_mut().pop()).ok().flatten();
        while let Some(waker) = next() {
            panics::wake(waker);
        }
    }
    NESTED.with(|n| n.set(nested));
}
