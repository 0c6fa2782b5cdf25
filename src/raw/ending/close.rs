//! Closes a resource, or poisons it after a panic.
//!
//! Both set `REFUSING` in the state word, under the lock of the refusal flags. The word orders each
//! push before or after that step. Then the waiters for room are turned away. Closing wakes the
//! listeners for the closing, and poisoning sweeps the queue.

use crate::error::TaskError;
use crate::raw::core::Shell;
use crate::raw::ending::cancel::is_waiting;
use crate::raw::thread::context::{self, Kind, TaskName};
use crate::raw::thread::panics;
use crate::sync::lock;

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

    /// Counts a task that panicked, and poisons the resource if the settings say so. Must be called
    /// by the holder.
    #[cold]
    pub(crate) fn note_panic(&self, name: TaskName) {
        self.cold().rare.panicked.add(1);
        self.poison_if_set(name);
    }

    /// Poisons the resource after a panic of user code, if the settings say so. Must be called by
    /// the holder.
    #[cold]
    pub(crate) fn poison_if_set(&self, name: TaskName) {
        let cold = self.cold();
        if cold.settings.poison {
            let mut refusal = lock(&cold.refusal);
            refusal.poisoned = true;
            self.strand.refuse();
        }
        context::enter(self.id(), Kind::Aside, || {
            panics::log_safely(|| {
                tracing::debug!(target: "captor", resource = self.name(), task = name, "task panicked");
            });
            if cold.settings.poison {
                self.turn_away();
                let swept = self.strand.sweep(is_waiting, |_| ());
                self.refuse_swept(swept, || TaskError::Poisoned);
            }
        });
    }
}
