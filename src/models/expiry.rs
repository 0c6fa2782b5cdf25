//! A deadline that passes while the task is about to run, or to be cancelled.
//!
//! The alarm rings on a thread of its own: a task's memory is used by up to three
//! at once.

use super::{Spawned, World, model, named, pooled, ran_all};
use crate::TaskError;
use crate::raw::timing::alarm::Alarm;
use std::time::Duration;

/// Lets the alarm ring, on a thread of its own.
fn ring(w: &World) -> Option<Spawned> {
    let alarm = w.bell.take()?;
    Some(w.spawn(move |_| alarm.ring()))
}

/// Drops it, as a timer does with those that are over.
fn drop_alarm(w: &World) -> Option<Spawned> {
    let alarm = w.bell.take()?;
    Some(w.spawn(move |_| drop::<Box<dyn Alarm>>(alarm)))
}

fn timed() -> World {
    World::new(10, Duration::ZERO, pooled())
}

#[test]
fn a_task_runs_or_expires() {
    model(3, || {
        let w = timed();
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

/// Of the three that refer to it, each may be the last.
#[test]
fn it_expires_while_its_handle_goes() {
    model(3, || {
        let w = timed();
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
fn one_that_ran_goes_while_the_timer_lets_go() {
    model(3, || {
        let w = timed();
        let task = w.queue_timed(1);
        let bell = drop_alarm(&w).expect("an alarm is set");
        let waiter = w.spawn(move |_| drop(task));
        w.work_until_gone(2);
        waiter.join();
        bell.join();
        ran_all(&w.finish(), &[1]);
    });
}

/// Its outcome does not stay with the timer.
#[test]
fn the_outcome_goes_with_the_last_who_could_take_it() {
    model(3, || {
        let w = timed();
        let task = w.queue_timed(1);
        let alarm = w.bell.take();
        let waiter = w.spawn(move |_| drop(task));
        w.work_until_gone(1);
        waiter.join();
        // The closure's token and the result's, before the alarm goes.
        w.work_until_gone(2);
        drop(alarm);
        ran_all(&w.finish(), &[1]);
    });
}

#[test]
fn it_expires_is_cancelled_or_swept() {
    model(2, || {
        let w = timed();
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

/// The submitter runs it itself while it sets the alarm.
#[test]
fn a_captured_submitters_own_task_expires_or_runs() {
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
