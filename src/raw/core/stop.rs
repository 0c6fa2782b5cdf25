//! Which task of a resource was asked to stop, and the token that tells it.

use crate::raw::core::counters::Number;
use crate::raw::task::life::Header;
use crate::sync::{Arc, AtomicUsize, Ordering};
use core::fmt;

/// Who was asked, and who wants to know.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// By all that ask whatever runs.
    pub(in crate::raw) asked: Option<Number>,
    /// Whatever runs from now on, too.
    pub(in crate::raw) for_good: bool,
    pub(in crate::raw) wants: Option<Wants>,
}

/// A task that has a token.
#[derive(Debug)]
pub(in crate::raw) struct Wants {
    pub(in crate::raw) number: Number,
    /// Where it is, if it was queued.
    pub(in crate::raw) task: Option<usize>,
    pub(in crate::raw) token: CancelToken,
}

pub(in crate::raw) fn address<T: ?Sized>(task: &T) -> usize {
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
    pub(in crate::raw) fn set(&self) {
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

impl Stop {
    /// Sets the token of this task, which has that number, if it has one. (One that has
    /// ended may have been where this one is.)
    pub(in crate::raw) fn tell(&self, task: &Header, number: Option<Number>) {
        if let Some(wants) = &self.wants {
            if wants.task == Some(address(task)) && number == Some(wants.number) {
                wants.token.set();
            }
        }
    }
}
