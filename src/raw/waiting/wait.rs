//! How a thread waits for a task: it looks a few times, takes the role where
//! that is on offer, and parks.
//!
//! It is told through the same waker slot as a future is, so there is one
//! waiting core: a thread's waker unparks it.

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

/// How deep inside tasks a waiting thread still takes over another resource.
/// Deeper down it leaves that to the pool, which has stand-ins for blocked
/// workers.
const MAX_HELP_DEPTH: usize = 64;

/// After how long a parked waiter looks for an offer that nobody took; then
/// twice that, and so on.
const FIRST_PATROL: Duration = Duration::from_millis(5);
const LAST_PATROL: Duration = Duration::from_secs(1);

/// Looks after an offer while its thread is parked: who was to come for it may
/// be blocked, and wait for this very thread (an executor's only one, say, or a
/// pool's only worker in a channel).
struct Patrol<'a> {
    owner: &'a dyn Owner,
    /// After how long to look again, if at all.
    period: Option<Duration>,
    /// The thread does not take the role itself, but has the built-in pool come.
    rescues: bool,
}

impl<'a> Patrol<'a> {
    /// For a thread that `helps`, or does not.
    fn new(owner: &'a dyn Owner, helps: bool) -> Self {
        let by_executor = owner.core().host().dispatch.may_be_blocked();
        let rescues = rescues(owner.core(), helps);
        // In a model nobody is to find by chance what was not announced.
        let helps = helps && (!MODEL || by_executor || context::depth() > 0);
        Patrol {
            owner,
            period: (helps || rescues).then_some(FIRST_PATROL),
            rescues,
        }
    }

    /// Parks until unparked, until it is time to look again, or until
    /// `deadline`. `false`: that has passed, or nothing could ever end the wait.
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

/// Does a thread that waits have the built-in pool come for an offer, since it does not
/// take the role itself?
fn rescues(core: &Core<dyn Value>, helps: bool) -> bool {
    // Outside of its jobs a thread is not the executor's.
    !helps && core.host().dispatch.may_be_blocked() && context::is_working()
}

/// Parks by `park`, unless this thread is the one to do what it waits for. `false`: the
/// deadline has passed, or nothing could ever end the wait.
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

/// Parks for a period, after which it looks, and the next one is longer; until
/// `deadline` at the latest. `false`: that has passed.
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

/// Does a thread that waits take the role of this resource, where it is on
/// offer?
fn may_help(core: &Core<dyn Value>, deadline: Option<Instant>) -> bool {
    // One that has to be back in time does not take on work of unknown length; a
    // chain of waits that help each other must not use up the stack; and in a thread
    // that unwinds others' tasks would see a panic that is none of theirs.
    deadline.is_none()
        && !core.settings().pooled
        && context::depth() < MAX_HELP_DEPTH
        && !is_panicking()
}

/// The loop of a thread that waits. `works` does something in place of parking: help, or a
/// turn of looking. `park` returns `false` if the deadline has passed, or if nothing could
/// ever end the wait.
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

/// Blocks until `poll`, which is told of by the waker of its context, is ready; `None` if
/// `deadline` comes first, or nothing could end the wait. The thread does not help.
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

/// Waits until `task`, at the end of a chain, is complete; `false` if
/// `deadline` comes first.
///
/// The thread helps the resource whose turn it is, if it finds it on offer. It
/// is not told when the chain moves on, and looks for that as a patrol does: it
/// is only where all others are blocked that this matters.
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
        // Not one to be lent a role: its task may be in no queue yet.
        let Some(core) = core.filter(|_| task.register_thread(&thread_waker(), false)) else {
            return true;
        };
        let rescues = rescues(&core, may_help(&core, deadline));
        let (host, id) = (Arc::clone(core.host()), core.id());
        // Where nobody else keeps it, it is told so, and the chain ends.
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

/// Waits until `task` of `owner`'s resource is complete; `false` if `deadline`
/// comes first, or nothing could end the wait.
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
    // A role that was offered through this task must not be left lying: if
    // nobody took it, the pool is to have it.
    if (task.was_asked() || asked) && core.strand().order_job() {
        dispatch_job(owner);
    }
    complete
}
