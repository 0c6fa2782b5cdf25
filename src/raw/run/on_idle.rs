//! The hook that a resource calls each time its queue has run empty.
//!
//! The holder calls the hook before it releases the role. The sum of the two task counters tells
//! whether any task has run since the last call. See "Slow-path-only resources" in
//! `docs/design/resources.md`.

use crate::error::TaskError;
use crate::raw::core::hook::Run;
use crate::raw::core::{Core, Owner, Value};
use crate::raw::task::tag::Attributes;
use crate::raw::thread::context::{self, Kind, Subject};
use crate::raw::thread::panics;

/// The task name of a call of the hook, as logs, panics and the watchdog show it.
const NAME: &str = "on_idle";

impl<T: Send + 'static> Core<T> {
    /// Sets `f` as the hook, in place of any hook that was set before.
    ///
    /// # Safety
    /// Must be called by a task of this resource that came out of its queue.
    pub(crate) unsafe fn set_hook(&self, mut f: impl FnMut(&mut T) + Send + 'static) {
        let hook = &self.cold().hook;
        // SAFETY: `call_hook` passes the address of this core's value, which is a `T`. The caller
        // of `call_hook` has the role, so no other thread uses the value.
        let run: Run = Box::new(move |value| f(unsafe { &mut *value.cast::<T>() }));
        // SAFETY: the caller runs a task of this resource (contract of `set_hook`), so this thread
        // has the role. Only the holder touches the cell.
        let old = hook.run.with_mut(|cell| unsafe { (*cell).replace(run) });
        // The new hook counts as called at the end of this task in two cases: there was no hook, or
        // only this task has run since the last call of the old hook. Otherwise, the old hook still
        // owed a call, and the new hook makes that call.
        if old.is_none() || hook.seen.get() + 1 == self.ran() {
            hook.saw(self.ran() + 1);
        }
        self.strand().set_slow_path_only();
        panics::contain("drop of a hook", || drop(old));
    }
}

impl Core<dyn Value> {
    /// Calls the hook if tasks have run since its last call. Returns whether the hook was called.
    ///
    /// Must be called by the holder, when nothing is queued.
    pub(crate) fn call_hook(&self, owner: &dyn Owner) -> bool {
        let hook = &self.cold().hook;
        let ran = self.ran();
        if !hook.is_set() || hook.seen.get() == ran {
            return false;
        }
        hook.saw(ran);
        // The reason of a refusal lies under a lock, so it is read only if the resource refuses.
        if self.strand().state().is_refusing() {
            let refusal = self.refusal();
            if refusal.poisoned || refusal.emptied {
                return false;
            }
        }
        let as_task = Attributes {
            name: Some(NAME),
            ..Attributes::default()
        };
        let subject = Some(&as_task as Subject<'_>);
        let timing = (self.stopwatch())
            .map(|stopwatch| (stopwatch, stopwatch.starts(owner, Some(NAME), None)));
        let called = context::enter_task(self.id(), Kind::Lent, subject, || {
            hook.run.with_mut(|cell| {
                // SAFETY: the caller is the holder (contract of `call_hook`), and only the holder
                // touches the cell.
                let run = unsafe { (*cell).as_mut() };
                run.map(|run| panics::catch(|| run(self.value())))
            })
        });
        if let Some((stopwatch, started)) = timing {
            stopwatch.ends(self, Some(NAME), started);
        }
        // The hook stays in place after a panic. The next call comes after another task.
        if let Some(Err(panic)) = called {
            let panic = panic.of(self.name(), Some(NAME));
            // The drop of the payload is user code, and runs under the role.
            context::enter(self.id(), Kind::Aside, || {
                panics::drop_outcome::<()>(Err(TaskError::Panicked(panic)));
            });
            // SAFETY: the caller is the holder (contract of `call_hook`), and the hook, which borrowed
            // the value, has unwound.
            unsafe { self.after_panic(Some(NAME)) };
        }
        true
    }
}
