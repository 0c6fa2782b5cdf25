//! The record of which task of a resource was asked to stop, and the token that tells the task.
//!
//! This file has the data. `ending::stop` has the requests, and explains how they meet a task that
//! takes its token. See "Asking a task to stop" in `docs/design/tasks.md`.

use crate::raw::core::counters::Number;
use crate::raw::task::life::Header;
use crate::sync::{Arc, AtomicUsize, Ordering};
use core::fmt;

/// The task that was asked to stop, and the task that has a token.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// The number of the task that ran when the running task was last asked to stop.
    pub(in crate::raw) asked: Option<Number>,
    /// Every task that runs from now on is asked to stop too.
    pub(in crate::raw) for_good: bool,
    /// The token of the last task that asked for a token.
    pub(in crate::raw) wants: Option<Wants>,
}

/// A task that has a token.
#[derive(Debug)]
pub(in crate::raw) struct Wants {
    pub(in crate::raw) number: Number,
    /// The address of the task: its header if the task was queued, or its attributes if it has any.
    pub(in crate::raw) task: Option<usize>,
    pub(in crate::raw) token: CancelToken,
}

/// Returns the address by which a task is compared.
pub(in crate::raw) fn address<T: ?Sized>(task: &T) -> usize {
    core::ptr::from_ref(task).addr()
}

/// A token that tells a long task that it is asked to stop. [`cancel_token`](crate::cancel_token)
/// returns the token.
///
/// The token is set by the following calls, if its task runs at that moment:
///
/// - [`Completion::cancel`](crate::Completion::cancel), and dropping a completion that
///   [cancels on drop](crate::Completion::cancel_on_drop);
/// - [`cancel_pending`](crate::Resource::cancel_pending);
/// - [`close_now`](crate::Resource::close_now).
///
/// The token only tells. The task decides whether it ends earlier, and with what result.
///
/// A token may be cloned and sent to other threads that work for the task. When the task has
/// ended, the token keeps its state. A token never tells of a later task.
#[derive(Clone)]
pub struct CancelToken(Arc<AtomicUsize>);

impl Default for CancelToken {
    /// Returns a token that is never set.
    fn default() -> Self {
        CancelToken(Arc::new(AtomicUsize::new(0)))
    }
}

impl CancelToken {
    /// Sets the token.
    pub(in crate::raw) fn set(&self) {
        // Release: partners with the Acquire in `is_cancelled`.
        self.0.store(1, Ordering::Release);
    }

    /// Checks whether the task was asked to stop. Costs one load.
    ///
    /// ```
    /// assert!(!captor::cancel_token().is_cancelled()); // of no task
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // Acquire: partners with the Release in `set`. The task sees what was done before the
        // request.
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
    /// Sets the token of `task`, if the task has a token. `number` must be the number of `task`:
    /// an earlier task may have had the same address.
    pub(in crate::raw) fn tell(&self, task: &Header, number: Option<Number>) {
        if let Some(wants) = &self.wants {
            if wants.task == Some(address(task)) && number == Some(wants.number) {
                wants.token.set();
            }
        }
    }
}
