//! The watchdog: what a holder notes when a task starts and ends, and a warning about tasks
//! that take too long.

use crate::raw::core::{Core, Owner, Shell, Value};
use crate::raw::thread::context::{self, TaskName};
use crate::raw::thread::panics;
use crate::raw::timing::alarm::Alarm;
use crate::raw::timing::nanos;
use crate::raw::timing::stopwatch::{NEVER, Stopwatch};
use crate::sync::{Arc, Ordering, Weak, fence};
use core::time::Duration;

impl Stopwatch {
    fn now(&self, shell: &Shell) -> u64 {
        let now = shell.host().now();
        nanos(now.saturating_duration_since(self.epoch))
    }

    /// A task starts, which `waited` so long. Holder only.
    #[cold]
    pub(crate) fn starts(
        &self,
        owner: &dyn Owner,
        name: TaskName,
        waited: Option<Duration>,
    ) -> TimedRun {
        if let (Some(waits), Some(waited)) = (&self.waits, waited) {
            waits.record(nanos(waited));
        }
        let since = self.now(owner.core());
        let task = self.running.write(since, name);
        if let Some(slow) = self.slow {
            self.set_alarm(owner, since.saturating_add(slow));
        }
        TimedRun { since, task }
    }

    /// It is through. Holder only.
    #[cold]
    pub(crate) fn ends(&self, shell: &Shell, name: TaskName, started: TimedRun) {
        self.running.write(NEVER, None);
        let took = self.now(shell).saturating_sub(started.since);
        let longest = self.longest.get();
        if took > longest {
            self.longest.bump_by(took - longest);
        }
        if self.slow.is_some_and(|slow| took >= slow) {
            // The alarm was late.
            self.bark(shell, started.task, name, took, "a task ran for long");
        }
    }

    /// Runs `f` as a task that was not queued. Holder only.
    pub(crate) fn time<R>(&self, owner: &dyn Owner, name: TaskName, f: impl FnOnce() -> R) -> R {
        let _timing = Timing {
            stopwatch: self,
            owner,
            name,
            started: self.starts(owner, name, Some(Duration::ZERO)),
        };
        f()
    }

    /// Sets the alarm, if none is.
    fn set_alarm(&self, owner: &dyn Owner, at: u64) {
        // Between what was written of the task and the look at the alarm; partner:
        // the fence in `look_after`.
        fence(Ordering::SeqCst);
        if self.alarm.load(Ordering::Relaxed) != 0 || self.alarm.swap(1, Ordering::Relaxed) != 0 {
            return;
        }
        let Some(at) = self.epoch.checked_add(Duration::from_nanos(at)) else {
            return;
        };
        let core = owner.share();
        let alarm = Box::new(Watchdog(Arc::downgrade(&core)));
        core.host().alarms.add(at, alarm);
    }

    /// The alarm has rung: barks if the task that runs is too long at it.
    fn look_after(&self, core: &Arc<Core<dyn Value>>, slow: u64) {
        self.alarm.store(0, Ordering::Relaxed);
        // See `set_alarm`.
        fence(Ordering::SeqCst);
        let seen = self.running.read();
        if seen.since == NEVER {
            return;
        }
        let takes = self.now(core).saturating_sub(seen.since);
        if takes < slow {
            self.set_alarm(core, seen.since.saturating_add(slow));
        } else {
            self.bark(
                core,
                seen.task,
                seen.name,
                takes,
                "a task has been running for long",
            );
        }
    }

    /// Once for each task.
    fn bark(&self, shell: &Shell, task: usize, name: TaskName, takes: u64, what: &'static str) {
        // Relaxed: it only decides which of the two who may bark at it does.
        if self.barked.fetch_max(task as u64, Ordering::Relaxed) >= task as u64 {
            return;
        }
        let takes = Duration::from_nanos(takes);
        // Under the role, or on the timer's thread, which is to be back for the next alarm.
        context::enter_apart(shell.id(), || {
            panics::tell(|| {
                tracing::warn!(target: "captor", resource = shell.name(), task = name, ?takes, "{what}");
            });
        });
    }
}

/// A task that is being timed.
#[derive(Clone, Copy)]
pub(crate) struct TimedRun {
    since: u64,
    task: usize,
}

/// One that may end by a panic.
struct Timing<'a> {
    stopwatch: &'a Stopwatch,
    owner: &'a dyn Owner,
    name: TaskName,
    started: TimedRun,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.stopwatch
            .ends(self.owner.core(), self.name, self.started);
    }
}

struct Watchdog(Weak<Core<dyn Value>>);

impl Alarm for Watchdog {
    fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }

    fn ring(self: Box<Self>) {
        if let Some(core) = self.0.upgrade() {
            if let Some((stopwatch, slow)) = core.stopwatch().and_then(|w| Some((w, w.slow?))) {
                stopwatch.look_after(&core, slow);
            }
        }
    }
}
