//! The closure that a resource calls each time its queue has run empty.

use crate::raw::thread::panics;
use crate::sync::{Counter, UnsafeCell};
use core::fmt;

pub(in crate::raw) type Run = Box<dyn FnMut(*mut ()) + Send>;

/// Touched by the holder alone.
pub(crate) struct Hook {
    pub(in crate::raw) run: UnsafeCell<Option<Run>>,
    /// How much had run when it was called last.
    pub(in crate::raw) seen: Counter,
}

impl Default for Hook {
    fn default() -> Self {
        Hook {
            run: UnsafeCell::new(None),
            seen: Counter::default(),
        }
    }
}

// SAFETY: the cell is the holder's, one thread at a time, each after the one before
// it; and what is in it is `Send`.
unsafe impl Sync for Hook {}

impl Hook {
    /// Holder only.
    pub(in crate::raw) fn is_set(&self) -> bool {
        // SAFETY: the role is the caller's, and with it the cell.
        self.run.with(|cell| unsafe { (*cell).is_some() })
    }

    /// Something left the queue and did not run: that is nothing to call it for.
    /// Holder only.
    pub(in crate::raw) fn skip(&self) {
        self.seen.bump_by(2);
    }

    /// Holder only.
    pub(in crate::raw) fn saw(&self, ran: u64) {
        self.seen.bump_by(ran.wrapping_sub(self.seen.get()));
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let run = self.run.with_mut(|cell| {
            // SAFETY: nobody else can reach it any more.
            unsafe { (*cell).take() }
        });
        panics::contain("drop of a hook", || drop(run));
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(..)")
    }
}
