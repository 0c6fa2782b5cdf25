//! The watchdog: the holder notes when a task starts and ends, and slow tasks lead to a warning.
//!
//! The watchdog is an alarm of the scheduler's timer, and a resource has at most one. Of a task
//! that starts and an alarm that rings, at least one sees the other, so no task runs unwatched.
//! This is Dekker's argument: see `set_alarm`, and "The watchdog" in `docs/design/resources.md`.

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

    /// Records that a task starts after `waited` in the queue. Must be called by the holder.
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

    /// Records that the task has ended. Must be called by the holder.
    #[cold]
    pub(crate) fn ends(&self, shell: &Shell, name: TaskName, started: TimedRun) {
        self.running.write(NEVER, None);
        let took = self.now(shell).saturating_sub(started.since);
        let longest = self.longest.get();
        if took > longest {
            self.longest.bump_by(took - longest);
        }
        if self.slow.is_some_and(|slow| took >= slow) {
            // The alarm may be late. If it has warned already, `warn_slow` does nothing.
            self.warn_slow(shell, started.task, name, took, "a task ran for long");
        }
    }

    /// Runs and times `f` as a task that was not queued. Must be called by the holder.
    pub(crate) fn time<R>(&self, owner: &dyn Owner, name: TaskName, f: impl FnOnce() -> R) -> R {
        let _timing = Timing {
            stopwatch: self,
            owner,
            name,
            started: self.starts(owner, name, Some(Duration::ZERO)),
        };
        f()
    }

    /// Sets the alarm, unless it is set already.
    fn set_alarm(&self, owner: &dyn Owner, at: u64) {
        // A task that starts races with an alarm that rings. The holder has written that the task
        // runs, and then looks at the flag. The timer thread clears the flag, and then looks at the
        // running task.
        // - The holder sees the flag cleared: the holder sets the alarm.
        // - The timer thread sees the task: the timer thread sets the alarm or warns.
        // - The two fences exclude that neither sees the other. Partner: the fence in `look_after`.
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

    /// Looks at the running task after the alarm has rung. If the task has taken too long, this
    /// logs the warning. Otherwise, this sets the alarm again.
    fn look_after(&self, core: &Arc<Core<dyn Value>>, slow: u64) {
        self.alarm.store(0, Ordering::Relaxed);
        // Partner: the fence in `set_alarm`, which has the cases.
        fence(Ordering::SeqCst);
        let seen = self.running.read();
        if seen.since == NEVER {
            return;
        }
        let takes = self.now(core).saturating_sub(seen.since);
        if takes < slow {
            self.set_alarm(core, seen.since.saturating_add(slow));
        } else {
            self.warn_slow(
                core,
                seen.task,
                seen.name,
                takes,
                "a task has been running for long",
            );
        }
    }

    /// Logs the warning, once for each task.
    fn warn_slow(
        &self,
        shell: &Shell,
        task: usize,
        name: TaskName,
        takes: u64,
        what: &'static str,
    ) {
        // Relaxed: this step only decides whether the holder or the timer thread logs the warning.
        if self.last_warned.fetch_max(task as u64, Ordering::Relaxed) >= task as u64 {
            return;
        }
        let takes = Duration::from_nanos(takes);
        // The subscriber is user code. It runs under the role, or on the timer thread, which must
        // be back for the next alarm.
        context::enter_without_tasks(shell.id(), || {
            panics::log_safely(|| {
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

/// Records the end of a task on drop, so also when the task panics.
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
