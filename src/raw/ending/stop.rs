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

use crate::raw::core::{Shell, with_running};
use crate::raw::task::life::Header;
use crate::sync::{Arc, AtomicUsize, Ordering, lock};
use core::fmt;

/// The number of a task that runs, among those of its resource.
pub(crate) type Number = u64;

/// Who was asked, and who wants to know.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// By all that ask whatever runs.
    asked: Option<Number>,
    /// Whatever runs from now on, too.
    for_good: bool,
    wants: Option<Wants>,
}

/// A task that has a token.
#[derive(Debug)]
struct Wants {
    number: Number,
    /// Where it is, if it was queued.
    task: Option<usize>,
    token: CancelToken,
}

fn address<T: ?Sized>(task: &T) -> usize {
    core::ptr::from_ref(task).addr()
}

/// Tells a long task that it is to stop; from [`cancel_token`].
///
/// It is set by [`Completion::cancel`](crate::Completion::cancel) (and by dropping
/// one that [cancels on drop](crate::Completion::cancel_on_drop)), by
/// [`cancel_pending`](crate::Resource::cancel_pending) and by
/// [`close_now`](crate::Resource::close_now), if its task runs then. It only tells:
/// whether the task ends earlier, and with what result, is for the task to decide.
///
/// A token may be cloned and sent to other threads that work for the task. It
/// stays what it was when its task has ended, and never tells of a later task.
#[derive(Clone)]
pub struct CancelToken(Arc<AtomicUsize>);

impl Default for CancelToken {
    /// One that is never set.
    fn default() -> Self {
        CancelToken(Arc::new(AtomicUsize::new(0)))
    }
}

impl CancelToken {
    fn set(&self) {
        // Release: partners with the Acquire in `is_cancelled`.
        self.0.store(1, Ordering::Release);
    }

    /// Was the task asked to stop? Costs a load.
    ///
    /// ```
    /// assert!(!captor::cancel_token().is_cancelled()); // of no task
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // Acquire: what was done before the task was asked is seen by it.
        self.0.load(Ordering::Acquire) != 0
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

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
        let mut stop = lock(&shell.extra().stop);
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

impl Stop {
    /// Sets the token of this task, which has that number, if it has one. (One that has
    /// ended may have been where this one is.)
    fn tell(&self, task: &Header, number: Option<Number>) {
        if let Some(wants) = &self.wants {
            if wants.task == Some(address(task)) && number == Some(wants.number) {
                wants.token.set();
            }
        }
    }
}

impl Shell {
    /// Asks whatever runs, now and later: what was accepted and is about to start.
    pub(crate) fn stop_for_good(&self) {
        lock(&self.extra().stop).for_good = true;
    }

    /// Asks the task that runs now, if one does.
    pub(crate) fn stop_running(&self) {
        let mut stop = lock(&self.extra().stop);
        stop.asked = self.running();
        if let Some(wants) = &stop.wants {
            if stop.asked == Some(wants.number) {
                wants.token.set();
            }
        }
    }

    /// Was the task of this number asked to stop with all others?
    pub(crate) fn was_asked_to_stop(&self, number: Option<Number>) -> bool {
        let Some(extra) = self.extra_if_any() else {
            return false;
        };
        let stop = lock(&extra.stop);
        number.is_some() && (stop.for_good || stop.asked == number)
    }

    /// Asks a task that has started, if it is not through.
    pub(crate) fn stop(&self, task: &Header, why: u32) {
        let stop = lock(&self.extra().stop);
        task.ask_to_stop(why);
        stop.tell(task, self.running());
    }

    /// The task that waits is given up: whoever works for it is told. With the backlog in
    /// hand.
    pub(crate) fn tell_waiting(&self, task: &Header) {
        let Some(extra) = self.extra_if_any() else {
            return;
        };
        // It has the number of what runs next, which is itself.
        let number = self.ran() + 1;
        lock(&extra.stop).tell(task, Some(number));
    }
}
