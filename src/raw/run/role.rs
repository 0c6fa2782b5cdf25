//! Taking the role of running a resource's tasks, using it, giving it away.

use crate::error::SubmitError;
use crate::raw::core::{Core, Owner, Value, dispatch_job};
use crate::raw::ending::expiry::set_alarm;
use crate::raw::run::shift::Shift;
use crate::raw::strand::drain::Ended;
use crate::raw::strand::push::{Pushed, Terms};
use crate::raw::task::queued::Queued;
use crate::raw::task::waiter::Lent;
use crate::raw::thread::context::{self, Kind};
use crate::raw::thread::panics;
use crate::sync::{is_panicking, yield_now};

/// How many queued tasks the search for a parked waiter looks at.
const WAITER_SEARCH: usize = 16;

/// Queued tasks beyond which submitters pace themselves (G10).
const HIGH_WATER: u64 = 1 << 14;

/// The most yields that pacing adds to one submission.
const MAX_PACE: u64 = 16;

/// Queues a task, and does what follows from where it came to stand.
pub(crate) fn queue(owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
    let core = owner.core();
    let settings = core.settings();
    let terms = match context::depth() {
        _ if settings.pooled => Terms::None,
        0 if core.capture_limit() > 1 && !is_panicking() => Terms::Any,
        // A more urgent one may come before its own.
        0..context::MAX_DEPTH if settings.priorities.is_none() => Terms::Own,
        _ => Terms::None,
    };
    queue_on(terms, owner, task)
}

/// Queues a task and leaves it to others: the caller is no submitter, but has
/// to get on with another resource.
pub(crate) fn queue_for_others(
    owner: &dyn Owner,
    task: Queued,
) -> Result<(), (SubmitError, Queued)> {
    queue_on(Terms::None, owner, task)
}

fn queue_on(terms: Terms, owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
    let core = owner.core();
    let depth = core.count_push();
    let pooled = core.settings().pooled;
    let inside = context::runs_task_of(core.id());
    let deadline = task.header().deadline_for_timer();
    let link = task.into_link();
    // SAFETY: a live task in no queue; it stays live until it is finished.
    let pushed = unsafe { core.strand().push(link, terms, pooled, inside) };
    if pushed == Pushed::Refused {
        core.counters.undo_push();
        // SAFETY: it was made from a task just above, and not pushed.
        let task = unsafe { Queued::from_link(link) };
        core.leave_room(task.header());
        return Err((core.why_refused(), task));
    }
    core.counters.pushed(&depth);
    if let Some(at) = deadline {
        // SAFETY: a task of this resource, and timed; it was not pushed before, so
        // the timer's reference is still its submitter's.
        unsafe { set_alarm(owner, link.cast(), at) };
    }
    match pushed {
        Pushed::Queued | Pushed::Refused => pace(core, depth.queued),
        Pushed::Captured => drain(owner, Shift::submitter(owner, Some(link))),
        Pushed::Offered { dispatch } => {
            if dispatch {
                dispatch_job(owner);
            }
            pace(core, depth.queued);
        }
    }
    Ok(())
}

/// Past the high-water mark, submitters give the holder time: the more, the
/// further past it. Never from inside a task of the same resource, which could
/// not end before.
fn pace(core: &Core<dyn Value>, depth: u64) {
    if depth < HIGH_WATER || context::holds(core.id()) {
        return;
    }
    for _ in 0..(depth / HIGH_WATER).min(MAX_PACE) {
        yield_now();
    }
}

/// The holder has run its own task and did not find the strand as it left it:
/// it goes on with others' tasks, up to its limits.
#[cold]
#[inline(never)]
pub(crate) fn captured(owner: &dyn Owner) {
    drain(owner, Shift::submitter(owner, None));
}

/// The role came to a thread that is not to run anything now: it goes on to the
/// next.
#[cold]
pub(crate) fn pass_on(owner: &dyn Owner) {
    drain(owner, Shift::none(owner));
}

/// Works through the queue for one shift, and leaves the resource to whoever
/// is next. Holder only.
pub(crate) fn drain(owner: &dyn Owner, mut shift: Shift<'_>) {
    let core = owner.core();
    let ended = core.strand().drain(&mut shift);
    shift.learn();
    // It wakes who waits for its last task, now that the role is given away
    // (before it is, where there is somebody to be handed it, who may have to
    // wait for what the woken thread does), and goes back into its spans.
    // Both is user code.
    context::enter(core.id(), Kind::Aside, || {
        shift.wake();
        drop(shift);
    });
    match ended {
        Ended::Idle { refusing: false } | Ended::Suspended => {}
        Ended::Idle { refusing: true } => core.tell_end(),
        Ended::Exhausted => hand_off(owner),
    }
}

/// Gives the role away: to a thread that is parked for this resource anyway,
/// or else to the pool. Holder only, with work left.
fn hand_off(owner: &dyn Owner) {
    let core = owner.core();
    let pooled = core.settings().pooled;
    core.counters.hand_off(|| &core.cold().rare);
    let waiter = if pooled {
        None
    } else {
        core.strand().find(WAITER_SEARCH, Lent::lend)
    };
    // No user code runs from here until the role is given away, or a waiter
    // would be left with its waker taken.
    let to = match waiter {
        Some(waiter) => {
            core.strand().offer_without_job();
            waiter.offered();
            "waiter"
        }
        None => {
            if core.strand().offer(pooled) {
                dispatch_job(owner);
            }
            "pool"
        }
    };
    panics::tell(|| tracing::trace!(target: "captor", resource = core.name(), to, "hand-off"));
}
