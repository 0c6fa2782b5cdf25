//! Asks a running task to stop.
//!
//! A task is asked through its handle, or together with all other tasks of its resource. The task
//! learns of the request when it looks, and may never look. So a request must leave nothing behind
//! that has to be cleaned up after the task. The tasks of a resource are numbered (see
//! [`Shell::running`]), and the record is the number of the task that was asked last. A task that
//! wants to know takes a token, which is kept with the task's number.
//!
//! One lock guards the record and the token. A thread takes the lock to ask a task to stop, to take
//! the token of its task, or to check the record as a task comes to wait. So if a task takes its
//! token while another thread asks the task to stop, the second of the two finds what the first has
//! left. See "Asking a task to stop" in `docs/design/tasks.md`.

use crate::raw::core::counters::Number;
use crate::raw::core::stop::{CancelToken, Wants, address};
use crate::raw::core::{Shell, with_running};
use crate::raw::task::life::Header;
use crate::sync::lock;

/// Returns the token of the task that runs on this thread. A long task looks at the token now and
/// then, to learn whether the task is asked to stop.
///
/// Inside nested tasks, this is the token of the innermost task. Outside of tasks, the token is
/// never set. Each call in a task takes a lock for a moment, and the first call makes an
/// allocation. So call this once, outside of the loop.
///
/// ```
/// // Stop a task that counts for ever.
/// use captor::{Dispatch, Resource, cancel_token};
/// use std::sync::mpsc;
///
/// let r = Resource::builder().dispatch(Dispatch::Pool).build(0_u64)?;
/// let (started, running) = mpsc::channel();
/// let long = r.submit(move |n| {
///     let token = cancel_token();
///     started.send(()).unwrap();
///     while !token.is_cancelled() {
///         *n += 1;
///     }
/// });
/// running.recv().unwrap();
/// assert!(!long.cancel(), "it has started, so it is only asked");
/// assert_eq!(long.wait(), Ok(()));
/// # Ok::<(), captor::BuildError>(())
/// ```
#[must_use = "a token has no effect unless the task calls `is_cancelled`"]
pub fn cancel_token() -> CancelToken {
    with_running(|shell, task| {
        let mut stop = lock(&shell.cold().stop);
        // The caller is the running task, so the number is there.
        let number = shell.running().unwrap_or_default();
        if let Some(wants) = stop.wants.as_ref().filter(|w| w.number == number) {
            return wants.token.clone();
        }
        let token = CancelToken::default();
        if stop.for_good
            || stop.asked == Some(number)
            || task.is_some_and(|task| task.was_asked_to_stop())
        {
            token.set();
        }
        stop.wants = Some(Wants {
            number,
            task: task.map(address),
            token: token.clone(),
        });
        token
    })
    .unwrap_or_default()
}

impl Shell {
    /// Asks the running task and all later tasks to stop. A later task was accepted and is about to
    /// start. This does not set a token that the running task already has: `stop_running` does.
    pub(crate) fn stop_for_good(&self) {
        lock(&self.cold().stop).for_good = true;
    }

    /// Asks the task that runs now to stop, if a task runs.
    pub(crate) fn stop_running(&self) {
        let mut stop = lock(&self.cold().stop);
        stop.asked = self.running();
        if let Some(wants) = &stop.wants {
            if stop.asked == Some(wants.number) {
                wants.token.set();
            }
        }
    }

    /// Checks whether the task with this number was asked to stop together with all others.
    pub(crate) fn was_asked_to_stop(&self, number: Option<Number>) -> bool {
        let Some(cold) = self.cold_if_any() else {
            return false;
        };
        let stop = lock(&cold.stop);
        number.is_some() && (stop.for_good || stop.asked == number)
    }

    /// Asks a task that has started to stop. This has no effect if the task has finished.
    pub(crate) fn stop(&self, task: &Header, why: u32) {
        let stop = lock(&self.cold().stop);
        task.ask_to_stop(why);
        stop.tell(task, self.running());
    }

    /// Sets the token of a task that waits and is given up, for the threads that work for the task.
    /// Must be called with the backlog in hand.
    pub(crate) fn tell_waiting(&self, task: &Header) {
        let Some(cold) = self.cold_if_any() else {
            return;
        };
        // The next task to run is the task that waits, so that is the task's number.
        let number = self.ran() + 1;
        lock(&cold.stop).tell(task, Some(number));
    }
}
