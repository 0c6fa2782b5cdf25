//! Models of a deadline that passes while a task is about to run or to be cancelled.
//!
//! The alarm rings on a thread of its own. So up to three threads use the memory of a task at the
//! same time.

use super::{Spawned, World, long_model, model, named, pooled, ran_all};
use crate::TaskError;
use crate::raw::timing::alarm::Alarm;
use std::time::Duration;

/// Rings the alarm on a new thread.
fn ring(w: &World) -> Option<Spawned> {
    let alarm = w.bell.take()?;
    Some(w.spawn(move |_| alarm.ring()))
}

/// Drops the alarm on a new thread, as a timer drops an alarm that is over.
fn drop_alarm(w: &World) -> Option<Spawned> {
    let alarm = w.bell.take()?;
    Some(w.spawn(move |_| drop::<Box<dyn Alarm>>(alarm)))
}

fn pooled_world() -> World {
    World::new(10, Duration::ZERO, pooled())
}

#[test]
fn task_runs_or_expires_when_alarm_rings() {
    model(3, || {
        let w = pooled_world();
        let task = w.queue_timed(1);
        let bell = ring(&w).expect("an alarm is set");
        w.work_until(|| task.is_finished());
        let outcome = task.wait();
        bell.join();
        let expired = w.r.stats().expired;
        match outcome {
            Ok(token) => {
                drop(token);
                assert_eq!(expired, 0);
            }
            Err(TaskError::Expired) => assert_eq!(expired, 1),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(w.finish().len() as u64, 1 - expired);
    });
}

/// The queue, the handle and the timer refer to the task. Each may be the last to let go.
#[test]
fn task_expires_during_drop_of_handle() {
    model(3, || {
        let w = pooled_world();
        let task = w.queue_timed(1);
        let bell = ring(&w).expect("an alarm is set");
        drop(task);
        w.work_until_gone(2);
        bell.join();
        let expired = w.r.stats().expired;
        assert_eq!(w.finish().len() as u64, 1 - expired);
    });
}

#[test]
fn alarm_is_dropped_during_drop_of_handle() {
    long_model(3, || {
        let w = pooled_world();
        let task = w.queue_timed(1);
        let bell = drop_alarm(&w).expect("an alarm is set");
        let waiter = w.spawn(move |_| drop(task));
        w.work_until_gone(2);
        waiter.join();
        bell.join();
        ran_all(&w.finish(), &[1]);
    });
}

/// The timer keeps the alarm, but not the outcome.
#[test]
fn outcome_is_dropped_when_alarm_is_kept() {
    model(3, || {
        let w = pooled_world();
        let task = w.queue_timed(1);
        let alarm = w.bell.take();
        let waiter = w.spawn(move |_| drop(task));
        w.work_until_gone(1);
        waiter.join();
        // The tokens of the closure and of the result are dropped before the alarm.
        w.work_until_gone(2);
        drop(alarm);
        ran_all(&w.finish(), &[1]);
    });
}

#[test]
fn cancel_and_sweep_during_expiry() {
    model(2, || {
        let w = pooled_world();
        let task = w.queue_timed(1);
        let bell = ring(&w).expect("an alarm is set");
        let sweeper = w.spawn(|w| w.r.cancel_pending());
        let cancelled = task.cancel();
        let outcome = task.wait().unwrap_err();
        bell.join();
        let swept = sweeper.join();
        let stats = w.r.stats();
        match outcome {
            TaskError::Expired => assert_eq!((stats.expired, swept, cancelled), (1, 0, false)),
            TaskError::Cancelled => assert_eq!(u64::from(cancelled) + swept as u64, 1),
            other => panic!("{other}"),
        }
        assert!(w.finish().is_empty());
    });
}

/// The submitter runs its own task, or the captured second submitter runs that task. The alarm
/// rings once the task is queued.
#[test]
fn own_task_runs_or_expires_when_captured() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| w.queue(1));
        let task = w.queue_timed(2);
        let bell = ring(&w);
        other.join();
        w.work_until(|| task.is_finished());
        let outcome = task.wait();
        bell.into_iter().for_each(Spawned::join);
        assert!(matches!(outcome, Ok(_) | Err(TaskError::Expired)));
        drop(outcome);
        assert!(w.finish().contains(&1));
    });
}
