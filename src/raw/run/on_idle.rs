//! What a resource does each time its queue has run empty.

use crate::error::TaskError;
use crate::raw::core::hook::Run;
use crate::raw::core::{Core, Owner, Value};
use crate::raw::task::tag::Attributes;
use crate::raw::thread::context::{self, Kind, Subject};
use crate::raw::thread::panics;

/// What it is called in the log.
const NAME: &str = "on_idle";

impl<T: Send + 'static> Core<T> {
    /// From now on `f` is called each time the queue has run empty, in place of
    /// what was.
    ///
    /// # Safety
    /// Called by a task of this resource that came out of its queue.
    pub(crate) unsafe fn set_hook(&self, mut f: impl FnMut(&mut T) + Send + 'static) {
        let hook = &self.cold().hook;
        // SAFETY: it is called with this core's value, by who has the role.
        let run: Run = Box::new(move |value| f(unsafe { &mut *value.cast::<T>() }));
        // SAFETY: the caller has the role, and so the cell.
        let old = hook.run.with_mut(|cell| unsafe { (*cell).replace(run) });
        // As if it had been called when this task is through; unless tasks ran that
        // the one before was to be called for.
        if old.is_none() || hook.seen.get() + 1 == self.ran() {
            hook.saw(self.ran() + 1);
        }
        self.strand().set_slow_path_only();
        panics::contain("drop of a hook", || drop(old));
    }
}

impl Core<dyn Value> {
    /// Nothing is queued: calls the hook, unless nothing ran since it was called
    /// last. Was it called? Holder only.
    pub(crate) fn call_hook(&self, owner: &dyn Owner) -> bool {
        let hook = &self.cold().hook;
        let ran = self.ran();
        if !hook.is_set() || hook.seen.get() == ran {
            return false;
        }
        hook.saw(ran);
        // The reason is under a lock, and looked at where there is one.
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
                // SAFETY: the role is ours, and with it the cell.
                let run = unsafe { (*cell).as_mut() };
                run.map(|run| panics::catch(|| run(self.value())))
            })
        });
        if let Some((stopwatch, started)) = timing {
            stopwatch.ends(self, Some(NAME), started);
        }
        if let Some(Err(panic)) = called {
            let panic = panic.of(self.name(), Some(NAME));
            // Its payload's drop is user code, under the role.
            context::enter(self.id(), Kind::Aside, || {
                panics::drop_outcome::<()>(Err(TaskError::Panicked(panic)));
            });
            self.poison_if_set(Some(NAME));
        }
        true
    }
}
