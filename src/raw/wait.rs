//! How a thread waits for a task: it looks a few times, takes the role where
//! that is on offer, and parks.
//!
//! It is told through the same waker slot as a future is, so there is one
//! waiting core: a thread's waker unparks it.

use crate::raw::context;
use crate::raw::handle::Awaited;
use crate::raw::inner::{Owner, dispatch_job};
use crate::raw::linger::Turns;
use crate::raw::role::drain;
use crate::raw::shift::Shift;
use crate::sync::{Arc, thread, thread_local};
use core::task::Waker;
use std::task::Wake;
use std::time::{Duration, Instant};

/// How deep inside tasks a waiting thread still takes over another resource.
/// Deeper down it leaves that to the pool, which has stand-ins for blocked
/// workers.
const MAX_HELP_DEPTH: usize = 64;

/// How often a waiter looks for an offer where there may be nobody else to
/// take it: an executor's only thread, say, that waits for what was handed off
/// to that executor.
const PATROL: Duration = Duration::from_millis(5);

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

fn new_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// A waker that unparks this thread.
pub(crate) fn thread_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = new_waker();
    }
    // While the thread's locals are being dropped there is no cached one.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| new_waker())
}

/// Blocks until unparked or, at the latest, until `deadline`. `false`: it has passed.
pub(crate) fn park_until(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        context::block(thread::park);
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    #[cfg(not(captor_loom))]
    context::block(|| thread::park_timeout(left));
    // loom has no clock.
    #[cfg(captor_loom)]
    thread::park();
    true
}

/// Waits until `task` of `owner`'s resource is complete; `false` if `deadline`
/// comes first.
pub(crate) fn wait(owner: &dyn Owner, task: &dyn Awaited, deadline: Option<Instant>) -> bool {
    let core = owner.core();
    // One that has to be back in time does not take on work of unknown length,
    // and a chain of waits that help each other must not use up the stack.
    let helps = deadline.is_none() && !core.settings().pooled && context::depth() < MAX_HELP_DEPTH;
    // Where the thread that a hand-off waits for may be this one, it looks
    // again from time to time.
    let patrols = helps && (context::depth() > 0 || core.host().dispatch.may_be_blocked());
    let mut turns = Turns::new(true);
    let mut asked = false;
    let complete = loop {
        if task.is_complete() {
            break true;
        }
        if helps && core.strand().take_offer() {
            drain(owner, Shift::waiter(owner, task));
            continue;
        }
        if turns.take() {
            continue;
        }
        if task.register_thread(&thread_waker(), helps) {
            if patrols {
                park_until(Instant::now().checked_add(PATROL));
            } else if !park_until(deadline) {
                break task.is_complete();
            }
        }
        asked |= task.was_asked();
    };
    task.withdraw();
    task.settle();
    // A role that was offered through this task must not be left lying: if
    // nobody took it, the pool is to have it.
    if (task.was_asked() || asked) && core.strand().order_job() {
        dispatch_job(owner);
    }
    complete
}
