//! Closing a resource, and poisoning one.

use crate::error::TaskError;
use crate::raw::core::Shell;
use crate::raw::ending::cancel::is_waiting;
use crate::raw::thread::context::{self, Kind, TaskName};
use crate::raw::thread::panics;
use crate::sync::lock;

impl Shell {
    /// Tasks are refused now: nobody need wait for room any more.
    fn turn_away(&self) {
        if let Some(room) = self.room() {
            room.turn_away();
        }
    }

    /// Refuses every task from now on. `false`: it was closed before.
    pub(crate) fn close(&self) -> bool {
        let cold = self.cold();
        let mut refusal = lock(&cold.refusal);
        if core::mem::replace(&mut refusal.closed, true) {
            return false;
        }
        let at_rest = self.strand.refuse();
        drop(refusal);
        panics::tell(|| {
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

    /// Closed, and nothing is queued or running: wakes who awaits that. Their wakers are
    /// user code, and no part of a task that this thread may be inside of.
    pub(crate) fn tell_end(&self) {
        context::enter(self.id(), Kind::Aside, || self.cold().ended.notify());
    }

    /// A task panicked. Poisons the resource, where it is set to. Holder only.
    #[cold]
    pub(crate) fn note_panic(&self, name: TaskName) {
        self.cold().rare.panicked.add(1);
        self.poison_if_set(name);
    }

    /// Something panicked under the role. Holder only.
    #[cold]
    pub(crate) fn poison_if_set(&self, name: TaskName) {
        let cold = self.cold();
        if cold.settings.poison {
            let mut refusal = lock(&cold.refusal);
            refusal.poisoned = true;
            self.strand.refuse();
        }
        context::enter(self.id(), Kind::Aside, || {
            panics::tell(|| {
                tracing::debug!(target: "captor", resource = self.name(), task = name, "task panicked");
            });
            if cold.settings.poison {
                self.turn_away();
                let swept = self.strand.sweep(is_waiting, |_| ());
                self.refuse_all(swept, || TaskError::Poisoned);
            }
        });
    }
}
