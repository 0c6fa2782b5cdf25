//! How a thread waits for a task: the thread looks a few times, takes the role if the role is on
//! offer, and parks.
//!
//! The thread is told of the outcome through the same waker slot as a future is. The waker of a
//! thread unparks the thread. `docs/design/waiting.md` walks through the races at the slot.

use crate::raw::core::{Core, Host, Instead, Owner, Value, dispatch_job, rescue_job};
use crate::raw::run::role::drain;
use crate::raw::run::shift::Shift;
use crate::raw::strand::linger::Turns;
use crate::raw::task::waiter::Waitable;
use crate::raw::thread::context::{self, Id};
use crate::raw::thread::park::{park_until, thread_waker};
use crate::raw::waiting::chain::{self, Continuation};
use crate::sync::{Arc, MODEL, is_panicking, yield_now};
use core::cell::Cell;
use core::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The number of nested tasks from which on a waiting thread no longer takes the role of a
/// resource. The thread then leaves the role to the pool, which has stand-ins for blocked workers.
const MAX_HELP_DEPTH: usize = 64;

/// After how long a parked waiter first looks for an offer that no thread took. Each later period
/// is twice as long as the period before.
const FIRST_PATROL: Duration = Duration::from_millis(5);
/// The longest period between two looks of a parked waiter.
const LAST_PATROL: Duration = Duration::from_secs(1);

/// Looks for an offer now and then while its thread is parked.
///
/// The thread that should take the offer may be blocked, and may wait for this very thread.
/// Examples are an executor's only thread, and the pool's only worker in a channel.
struct Patrol<'a> {
    owner: &'a dyn Owner,
    /// After how long to look again, if at all.
    period: Option<Duration>,
    /// Whether the thread calls the built-in pool, because it may not take the role itself.
    rescues: bool,
}

impl<'a> Patrol<'a> {
    /// Returns the patrol of a thread that `helps`, that is, may take the role, or of a thread that
    /// does not.
    fn new(owner: &'a dyn Owner, helps: bool) -> Self {
        let by_executor = owner.core().host().dispatch.may_be_blocked();
        let rescues = rescues(owner.core(), helps);
        // In a model, a lost wake-up has to show. So a thread patrols only inside a task or under
        // an executor.
        let helps = helps && (!MODEL || by_executor || context::depth() > 0);
        Patrol {
            owner,
            period: (helps || rescues).then_some(FIRST_PATROL),
            rescues,
        }
    }

    /// Parks until the thread is unparked, until the next look is due, or until `deadline`.
    ///
    /// Returns `false` if the deadline has passed, or if nothing could ever end the wait.
    fn park(&mut self, deadline: Option<Instant>) -> bool {
        let core = self.owner.core();
        park_or_work(core.host(), core.id(), deadline, || {
            match &mut self.period {
                None => park_until(deadline),
                Some(period) => park_for(period, deadline, || {
                    if self.rescues && core.strand().is_offered() {
                        rescue_job(self.owner);
                    }
                }),
            }
        })
    }
}

/// Checks whether a waiting thread calls the built-in pool for an offer, since the thread does not
/// take the role itself.
fn rescues(core: &Core<dyn Value>, helps: bool) -> bool {
    // Only a thread that works on a job belongs to the executor.
    !helps && core.host().dispatch.may_be_blocked() && context::is_working()
}

/// Parks by `park`, unless this thread must do the work that it waits for.
///
/// Returns `false` if the deadline has passed, or if nothing could ever end the wait.
fn park_or_work(
    host: &Host,
    target: Id,
    deadline: Option<Instant>,
    park: impl FnOnce() -> bool,
) -> bool {
    match host.dispatch.instead_of_parking(target, deadline) {
        Instead::Park => park(),
        instead => instead == Instead::Worked,
    }
}

/// Parks for a period, but until `deadline` at the latest. If the period is over, calls `look` and
/// doubles the period.
///
/// Returns `false` if the deadline has passed.
fn park_for(period: &mut Duration, deadline: Option<Instant>, look: impl FnOnce()) -> bool {
    let looks_at = Instant::now().checked_add(*period);
    let until = match (looks_at, deadline) {
        (Some(looks_at), Some(deadline)) => Some(looks_at.min(deadline)),
        (looks_at, deadline) => looks_at.or(deadline),
    };
    park_until(until);
    let now = Instant::now();
    if looks_at.is_some_and(|looks_at| now >= looks_at) {
        *period = (*period * 2).min(LAST_PATROL);
        look();
    }
    deadline.is_none_or(|deadline| now < deadline)
}

/// Checks whether a waiting thread may take the role of this resource if the role is on offer.
fn may_help(core: &Core<dyn Value>, deadline: Option<Instant>) -> bool {
    // A thread does not help in these cases:
    // - The thread has a deadline: work that it takes on is of unknown length.
    // - The resource never runs on its callers.
    // - The thread is nested too deep: a chain of waits that help each other must not use up the
    //   stack.
    // - The thread unwinds: other submitters' tasks would take the panic for their own.
    deadline.is_none()
        && !core.settings().pooled
        && context::depth() < MAX_HELP_DEPTH
        && !is_panicking()
}

/// Loops until the awaited event has come, or until `park` returns `false`. Returns whether the
/// event has come.
///
/// `works` does something in place of parking: the thread helps, or looks once more. `park` returns
/// `false` if the deadline has passed, or if nothing could ever end the wait.
fn wait_until(
    mut has_come: impl FnMut() -> bool,
    mut works: impl FnMut() -> bool,
    mut park: impl FnMut() -> bool,
) -> bool {
    loop {
        if has_come() {
            return true;
        }
        if !works() && !park() {
            return has_come();
        }
    }
}

/// Blocks until `poll` is ready. The waker of the context that `poll` is given wakes this thread.
///
/// Returns `None` if `deadline` comes first, or if nothing could end the wait. The thread does not
/// help.
pub(crate) fn block_on<R>(
    owner: &dyn Owner,
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Option<R> {
    let waker = thread_waker();
    let mut cx = Context::from_waker(&waker);
    let mut patrol = Patrol::new(owner, false);
    let mut ready = None;
    let has_come = || match poll(&mut cx) {
        Poll::Ready(result) => {
            ready = Some(result);
            true
        }
        Poll::Pending => false,
    };
    wait_until(has_come, || false, || patrol.park(deadline));
    ready
}

/// Waits until `task`, at the end of a chain, is complete. Returns `false` if `deadline` comes
/// first, or if nothing could end the wait.
///
/// The thread helps the resource whose turn it is, if the role of that resource is on offer. No
/// waker tells the thread that the chain moves on, so the thread looks for that as a patrol does.
/// This matters only if all other threads are blocked.
pub(crate) fn wait_for_chain(
    link: &Arc<dyn Continuation>,
    task: &dyn Waitable,
    deadline: Option<Instant>,
) -> bool {
    let mut period = FIRST_PATROL;
    let mut turns = Turns::new(false);
    // The resource whose turn it is, between the look and the park.
    let current = Cell::new(None);
    let works = || {
        if turns.take() {
            return true;
        }
        let Some(core) = chain::stage(link) else {
            yield_now();
            return true;
        };
        if may_help(&core, deadline) && core.strand().take_offer() {
            drain(&core, Shift::waiter(&core, task));
            return true;
        }
        current.set(Some(core));
        false
    };
    let park = || {
        let core: Option<Arc<Core<dyn Value>>> = current.take();
        // The waiter registers as a thread that cannot be lent a role: its task may be in no queue
        // yet.
        let Some(core) = core.filter(|_| task.register_thread(&thread_waker(), false)) else {
            return true;
        };
        let rescues = rescues(&core, may_help(&core, deadline));
        let (host, id) = (Arc::clone(core.host()), core.id());
        // If no other reference keeps the resource, the drop tells its listeners so, and the chain
        // ends.
        drop(core);
        let look = || {
            let core = chain::stage(link);
            if let Some(core) = core.filter(|core| rescues && core.strand().is_offered()) {
                rescue_job(&core);
            }
        };
        park_or_work(&host, id, deadline, || {
            park_for(&mut period, deadline, look)
        })
    };
    let complete = wait_until(|| task.is_complete(), works, park);
    task.withdraw();
    task.settle();
    complete
}

/// Waits until `task` of `owner`'s resource is complete. Returns `false` if `deadline` comes first,
/// or if nothing could end the wait.
pub(crate) fn wait(owner: &dyn Owner, task: &dyn Waitable, deadline: Option<Instant>) -> bool {
    let core = owner.core();
    let helps = may_help(core, deadline);
    let mut patrol = Patrol::new(owner, helps);
    let mut turns = Turns::new(core.strand().task_time().is_long());
    let mut asked = false;
    let works = || {
        if helps && core.strand().take_offer() {
            drain(owner, Shift::waiter(owner, task));
            return true;
        }
        turns.take()
    };
    let park = || {
        let parked = !task.register_thread(&thread_waker(), helps) || patrol.park(deadline);
        asked |= task.was_asked();
        parked
    };
    let complete = wait_until(|| task.is_complete(), works, park);
    task.withdraw();
    task.settle();
    // The holder may have offered its role through this task, without a job. If no thread has taken
    // that offer, this thread orders a job, so that the pool takes the role.
    if (task.was_asked() || asked) && core.strand().order_job() {
        dispatch_job(owner);
    }
    complete
}
