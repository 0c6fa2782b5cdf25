//! Taking the role of running a resource's tasks, using the role, and giving the role away.
//!
//! [`queue`] pushes a task. If the push finds the role free, the submitter takes the role.
//! [`drain`] runs queued tasks for one [`Shift`]. If tasks are left then, the role goes on offer,
//! to a parked waiter or to the pool. "Hand-off to a waiter" in `docs/design/waiting.md` walks
//! through the races.

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

/// How many of the next queued tasks a hand-off searches for a parked waiter.
const WAITER_SEARCH: usize = 16;

/// How many tasks are queued before submitters pace themselves (G10).
const HIGH_WATER: u64 = 1 << 14;

/// The most yields that pacing adds to one submission.
const MAX_PACE: u64 = 16;

/// Queues a task. If the push gives the submitter the role, the submitter drains. If the push puts
/// the role on offer, the submitter dispatches a job.
pub(crate) fn push_task(owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
    let core = owner.core();
    let settings = core.settings();
    let terms = match context::depth() {
        _ if settings.pooled => Terms::None,
        0 if core.capture_limit() > 1 && !is_panicking() => Terms::Any,
        // With priorities, a more urgent task may come before the submitter's own task.
        0..context::MAX_DEPTH if settings.priorities.is_none() => Terms::Own,
        _ => Terms::None,
    };
    push_on(terms, owner, task)
}

/// Queues a task and leaves the task to other threads. For a caller that is not the submitter and
/// must get on with another resource.
pub(crate) fn push_for_others(
    owner: &dyn Owner,
    task: Queued,
) -> Result<(), (SubmitError, Queued)> {
    push_on(Terms::None, owner, task)
}

fn push_on(terms: Terms, owner: &dyn Owner, task: Queued) -> Result<(), (SubmitError, Queued)> {
    let core = owner.core();
    let depth = core.count_push();
    let pooled = core.settings().pooled;
    let inside = context::runs_task_of(core.id());
    let deadline = task.header().deadline_for_timer();
    let link = task.into_link();
    // SAFETY: the task is live and in no queue. The task stays live until it has come out of the
    // queue and is finished (contract of `push`).
    let pushed = unsafe { core.strand().push(link, terms, pooled, inside) };
    if pushed == Pushed::Refused {
        core.counters.undo_push();
        // SAFETY: `link` came from `into_link` just above, and the refused push left the task in no
        // queue.
        let task = unsafe { Queued::from_link(link) };
        core.leave_room(task.header());
        return Err((core.why_refused(), task));
    }
    core.counters.pushed(&depth);
    if let Some(at) = deadline {
        // SAFETY: the task is of this resource and has `TIMED` set, since it has a deadline for the
        // timer. The task was not pushed before, so its submitter still owns the timer's reference.
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

/// Yields to the holder if the queue is at the high-water mark: once for every [`HIGH_WATER`]
/// queued tasks, and at most [`MAX_PACE`] times.
///
/// Under the role of this resource, the submitter does not yield: a yield there would only hold up
/// the holder.
fn pace(core: &Core<dyn Value>, depth: u64) {
    if depth < HIGH_WATER || context::holds(core.id()) {
        return;
    }
    for _ in 0..(depth / HIGH_WATER).min(MAX_PACE) {
        yield_now();
    }
}

/// Runs other submitters' tasks, up to the capture limits. Must be called by a holder that has run
/// its own task and could not release the strand.
#[cold]
#[inline(never)]
pub(crate) fn captured(owner: &dyn Owner) {
    drain(owner, Shift::submitter(owner, None));
}

/// Passes the role on to the next holder. Must be called by a holder that may run no task now.
#[cold]
pub(crate) fn pass_on(owner: &dyn Owner) {
    drain(owner, Shift::none(owner));
}

/// Runs queued tasks for one shift, and then releases the role or hands it off. Must be called by
/// the holder.
pub(crate) fn drain(owner: &dyn Owner, mut shift: Shift<'_>) {
    let core = owner.core();
    let ended = core.strand().drain(&mut shift);
    shift.learn();
    // This wakes the waiter for the last task and enters the thread's spans again. Both are user
    // code.
    // - The strand was released: other threads need not wait for the wake-up.
    // - The role is still to be handed off: `Shift::admits` has woken the waiter already. The next
    //   holder may have to wait for what the woken thread does.
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

/// Offers the role to a thread that is parked for this resource anyway, or else to the pool. Must
/// be called by the holder, with work left.
fn hand_off(owner: &dyn Owner) {
    let core = owner.core();
    let pooled = core.settings().pooled;
    core.counters.hand_off(|| &core.cold().rare);
    let waiter = if pooled {
        None
    } else {
        core.strand().find(WAITER_SEARCH, Lent::lend)
    };
    // No user code may run from here until the role is on offer. Otherwise, a waiter could be left
    // parked, with its waker taken out.
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
    panics::log_safely(
        || tracing::trace!(target: "captor", resource = core.name(), to, "hand-off"),
    );
}
