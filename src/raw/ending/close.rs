//! Closes a resource, and does what the panic policy says after a panic.
//!
//! Closing and poisoning set `REFUSING` in the state word, under the lock of the refusal flags. The word orders each
//! push before or after that step. Then the waiters for room are turned away. Closing wakes the
//! listeners for the closing, and poisoning sweeps the queue.

use crate::error::TaskError;
use crate::raw::core::cold_state::AfterPanic;
use crate::raw::core::{Core, Shell};
use crate::raw::ending::cancel::is_waiting;
use crate::raw::thread::context::{self, Kind, TaskName};
use crate::raw::thread::panics;
use crate::sync::lock;
use core::mem::ManuallyDrop;

impl Shell {
    /// Turns away the waiters for room. Must be called once the strand refuses tasks.
    fn turn_away(&self) {
        if let Some(room) = self.room() {
            room.turn_away();
        }
    }

    /// Refuses every task from now on. Returns `false` if the resource was closed before.
    pub(crate) fn close(&self) -> bool {
        let cold = self.cold();
        let mut refusal = lock(&cold.refusal);
        if core::mem::replace(&mut refusal.closed, true) {
            return false;
        }
        let at_rest = self.strand.refuse();
        drop(refusal);
        panics::log_safely(|| {
            tracing::debug!(target: "captor", resource = self.name(), "resource closed");
        });
        context::enter(self.id(), Kind::Aside, || {
            self.turn_away();
            cold.closing.notify();
        });
        if at_rest {
            self.tell_end();
        }
        true
    }

    /// Wakes the listeners for the end. Called when a resource that refuses tasks comes to rest: a
    /// listener checks whether the resource is closed too. The wakers are user code and belong to
    /// no task of this thread, so they run in a frame of their own.
    pub(crate) fn tell_end(&self) {
        context::enter(self.id(), Kind::Aside, || self.cold().ended.notify());
    }
}

impl<T: ?Sized> Core<T> {
    /// Counts a task that panicked, and does what the settings say.
    ///
    /// # Safety
    /// Must be called by the holder, with no reference to the value left.
    #[cold]
    pub(crate) unsafe fn note_panic(&self, name: TaskName) {
        self.cold().rare.panicked.add(1);
        // SAFETY: the caller is the holder and has no reference to the value (contract of
        // `note_panic`).
        unsafe { self.after_panic(name) };
    }

    /// Does what the settings say after a panic of user code.
    ///
    /// The refusal comes first, so that no task is pushed behind the sweep. No task runs on a
    /// dropped value: the sweep takes every accepted task, and every later push is refused. The
    /// value is dropped before the queued tasks resolve, so a caller that waits inside the value is
    /// told first.
    ///
    /// # Safety
    /// Must be called by the holder, with no reference to the value left.
    #[cold]
    pub(crate) unsafe fn after_panic(&self, name: TaskName) {
        let cold = self.cold();
        let policy = cold.settings.after_panic;
        match policy {
            AfterPanic::Continue => {}
            AfterPanic::Poison => {
                let mut refusal = lock(&cold.refusal);
                refusal.poisoned = true;
                self.strand.refuse();
            }
            AfterPanic::Close => {
                self.close();
            }
        }
        context::enter(self.id(), Kind::Aside, || {
            panics::log_safely(|| {
                tracing::debug!(target: "captor", resource = self.name(), task = name, "task panicked");
            });
            if policy == AfterPanic::Continue {
                return;
            }
            if policy == AfterPanic::Poison {
                // `close` turns the waiters for room away by itself.
                self.turn_away();
            }
            let swept = self.strand.sweep(is_waiting, |_| ());
            if policy == AfterPanic::Poison {
                self.refuse_swept(swept, || TaskError::Poisoned);
                return;
            }
            // SAFETY: the caller is the holder and has no reference to the value (contract of
            // `after_panic`). The sweep took all tasks, and the strand refuses tasks for good.
            unsafe { self.drop_value() };
            self.refuse_swept(swept, || TaskError::Cancelled);
        });
    }

    /// Drops the value, unless the value was taken out.
    ///
    /// # Safety
    /// Must be called by the holder of a strand that refuses tasks for good and has no task queued.
    /// No reference to the value may be left.
    unsafe fn drop_value(&self) {
        // The flag is set first: the drop is user code, and must not run twice.
        if core::mem::replace(&mut lock(&self.cold().refusal).emptied, true) {
            return;
        }
        panics::contain("drop of a resource's value", || {
            // SAFETY: the value is in place, since `emptied` was not set. The caller has the role
            // and no reference to the value, and no later task uses the value (contract of
            // `drop_value`).
            self.value
                .with_mut(|value| unsafe { ManuallyDrop::drop(&mut *value) });
        });
    }
}
