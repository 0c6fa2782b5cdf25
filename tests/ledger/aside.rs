//! The closures that a resource runs beside its tasks: its trigger and its `on_idle` hook.

use super::{HEALED, Ledger, stamp};
use captor::{SubmitError, TaskError};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

#[derive(Default)]
pub(super) struct Aside {
    /// The calls of `fire` that were accepted, and the refused calls.
    pub(super) fires: AtomicU64,
    pub(super) fires_refused: AtomicU64,
    /// A stamp before the last accepted call of `fire`.
    last_fire: AtomicU64,
    /// How often the trigger's closure ran, and a stamp in the last run.
    pub(super) runs: AtomicU64,
    pub(super) last_run: AtomicU64,
    /// The calls of `on_idle`, and the calls that set a hook.
    pub(super) hooks: AtomicU64,
    pub(super) hooks_set: AtomicU64,
    /// A stamp after a hook was last set. 0 if no hook was set.
    hooked_at: AtomicU64,
    /// How often the hook was called, and how many tasks and trigger runs came after its last call.
    pub(super) idle_calls: AtomicU64,
    pub(super) ran_since: AtomicU64,
}

impl Ledger {
    /// Fires the trigger.
    pub(crate) fn firing(&self, fire: impl FnOnce() -> Result<(), SubmitError>) {
        let begin = stamp();
        match fire() {
            Ok(()) => {
                self.aside.fires.fetch_add(1, SeqCst);
                self.aside.last_fire.fetch_max(begin, SeqCst);
            }
            Err(error) => {
                self.aside.fires_refused.fetch_add(1, SeqCst);
                if error == SubmitError::Full {
                    self.fault("a trigger was refused for want of room, and needs none".to_owned());
                }
            }
        }
    }

    /// Records a call of `on_idle`.
    pub(crate) fn hooking(&self) {
        self.aside.hooks.fetch_add(1, SeqCst);
    }

    /// Records the outcome of a call of `on_idle`.
    pub(crate) fn hooked(&self, outcome: Result<(), TaskError>) {
        match outcome {
            Ok(()) => {
                self.aside.hooks_set.fetch_add(1, SeqCst);
                self.aside.hooked_at.fetch_max(stamp(), SeqCst);
            }
            Err(TaskError::Closed | TaskError::Poisoned | TaskError::Cancelled) => {}
            Err(other) => self.fault(format!("on_idle was refused: {other:?}")),
        }
    }

    /// Checks the trigger: a run began after the last accepted call of `fire`, unless a sweep took
    /// the trigger's task out. There were no more runs than accepted calls.
    pub(super) fn audit_trigger(&self, panicked: u64, faults: &mut Vec<String>) {
        let Aside {
            fires,
            last_fire,
            runs,
            last_run,
            ..
        } = &self.aside;
        if runs.load(SeqCst) > fires.load(SeqCst) {
            faults.push(format!("a trigger ran {runs:?} times, fired {fires:?}"));
        }
        let swept = self.swept.load(SeqCst) || self.poison && panicked > 0;
        if !swept && last_fire.load(SeqCst) > last_run.load(SeqCst) {
            faults.push("no run of the trigger after the last fire".to_owned());
        }
    }

    /// Checks the hook: if a hook was set before the last task was submitted, the hook was called
    /// after that task. The hook was called at most once for each submission.
    pub(super) fn audit_hook(&self, log: &[u32], submitted: Option<u64>, faults: &mut Vec<String>) {
        let calls = self.aside.idle_calls.load(SeqCst);
        if submitted.is_some_and(|submitted| calls > submitted) {
            faults.push(format!("the hook was called {calls} times"));
        }
        let hooked_at = self.aside.hooked_at.load(SeqCst);
        let Some(&last) = log.iter().rfind(|id| **id != HEALED) else {
            return;
        };
        let was_set = hooked_at != 0 && hooked_at < self.slot(last).begin.load(SeqCst);
        // A poisoned resource does not call its hook.
        if was_set && !self.poison && self.aside.ran_since.load(SeqCst) > 0 {
            faults.push("the hook was not called at the end".to_owned());
        }
    }

    /// Checks that there were exactly `runs` runs of the trigger and `calls` calls of the hook.
    pub(crate) fn compare_aside(&self, runs: u64, calls: u64) -> Result<(), String> {
        let ours = [&self.aside.runs, &self.aside.idle_calls].map(|n| n.load(SeqCst));
        match ours == [runs, calls] {
            true => Ok(()),
            false => Err(format!("runs, calls: {ours:?}, not {:?}", [runs, calls])),
        }
    }
}
