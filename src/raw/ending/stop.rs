//! Asking a running task to stop.
//!
//! A task is asked through its handle, or with all others of its resource, and
//! finds out when it looks. It may never look, so asking leaves nothing behind
//! that would have to be cleaned up after it: tasks of a resource are numbered
//! (see [`Shell::running`]), and what is kept is the number of the task that was
//! asked last. A task that wants to know is given a token, which is kept with
//! its number too.
//!
//! All of it is under one lock, which only those take who ask or look for the
//! first time. So of a task that takes its token and another that asks it to
//! stop, the second to come finds what the first left.

use crate::raw::core::counters::Number;
use crate::raw::core::stop::{CancelToken, Wants, address};
use crate::raw::core::{Shell, with_running};
use crate::raw::task::life::Header;
use crate::sync::lock;

/// The token of the task that is running on this thread, which a long task asks
/// now and then whether it is to stop. Outside of tasks, one that is never set.
///
/// Of tasks inside tasks it is the innermost one's. The first call in a task takes a
/// lock for a moment and makes an allocation: call it once, outside of the loop.
///
/// ```
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
#[must_use = "a token does nothing unless it is asked"]
pub fn cancel_token() -> CancelToken {
    with_running(|shell, task| {
        let mut stop = lock(&shell.cold().stop);
        // This is the task itself, so there is one.
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
    /// Asks whatever runs, now and later: what was accepted and is about to start.
    pub(crate) fn stop_for_good(&self) {
        lock(&self.cold().stop).for_good = true;
    }

    /// Asks the task that runs now, if one does.
    pub(crate) fn stop_running(&self) {
        let mut stop = lock(&self.cold().stop);
        stop.asked = self.running();
        if let Some(wants) = &stop.wants {
            if stop.asked == Some(wants.number) {
                wants.token.set();
            }
        }
    }

    /// Was the task of this number asked to stop with all others?
    pub(crate) fn was_asked_to_stop(&self, number: Option<Number>) -> bool {
        let Some(cold) = self.cold_if_any() else {
            return false;
        };
        let stop = lock(&cold.stop);
        number.is_some() && (stop.for_good || stop.asked == number)
    }

    /// Asks a task that has started, if it is not through.
    pub(crate) fn stop(&self, task: &Header, why: u32) {
        let stop = lock(&self.cold().stop);
        task.ask_to_stop(why);
        stop.tell(task, self.running());
    }

    /// The task that waits is given up: whoever works for it is told. With the backlog in
    /// hand.
    pub(crate) fn tell_waiting(&self, task: &Header) {
        let Some(cold) = self.cold_if_any() else {
            return;
        };
        // It has the number of what runs next, which is itself.
        let number = self.ran() + 1;
        lock(&cold.stop).tell(task, Some(number));
    }
}
