//! The closure that a resource calls each time its queue has run empty (`on_idle`).
//!
//! This file keeps the closure and the count of what the closure has seen. `run::on_idle` sets and
//! calls the closure, under the role. See "Slow-path-only resources" in `docs/design/resources.md`.

use crate::raw::thread::panics;
use crate::sync::{Counter, UnsafeCell};
use core::fmt;

pub(in crate::raw) type Run = Box<dyn FnMut(*mut ()) + Send>;

/// The hook of a resource. Only the holder may use it.
pub(crate) struct Hook {
    pub(in crate::raw) run: UnsafeCell<Option<Run>>,
    /// How many task starts and ends the last call of the hook has seen.
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

// SAFETY: only the holder reaches the cell (contract of `Hook`). Holders follow one another, and
// each claim acquires what the release before released. The closure in the cell is `Send`.
unsafe impl Sync for Hook {}

impl Hook {
    /// Checks whether a hook is set. Must be called by the holder.
    pub(in crate::raw) fn is_set(&self) -> bool {
        // SAFETY: the caller is the holder (contract of `is_set`), so the cell is the caller's.
        self.run.with(|cell| unsafe { (*cell).is_some() })
    }

    /// Records that a task left the queue and did not run, so that the hook is not called for that
    /// task. Must be called by the holder.
    pub(in crate::raw) fn skip(&self) {
        self.seen.bump_by(2);
    }

    /// Records that the hook has seen `ran`, the resource's count of task starts and ends. Must be
    /// called by the holder.
    pub(in crate::raw) fn saw(&self, ran: u64) {
        self.seen.bump_by(ran.wrapping_sub(self.seen.get()));
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let run = self.run.with_mut(|cell| {
            // SAFETY: `drop` has the hook by `&mut`, so no other thread can reach the cell.
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
