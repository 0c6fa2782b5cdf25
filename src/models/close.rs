//! Models of closing a resource while other threads submit.

use super::{FOREVER, Spawned, Token, World, model, named};
use crate::raw::submit::Admission;
use crate::raw::task::tag::Tag;
use crate::{Completion, TaskError, TrySubmitError};
use std::time::Duration;

/// Submits a task. If the resource refuses the task, the closure comes back, and this function
/// returns `None`. Otherwise the task runs.
fn try_submit(w: &World, n: u8) -> Option<Completion<Token>> {
    match w.r.try_submit(w.entry(n)) {
        Ok(completion) => Some(completion),
        Err(TrySubmitError::Closed(closure)) => {
            drop(closure);
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn submission_runs_or_is_refused_during_close() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = w.spawn(|w| {
            let first = try_submit(&w, 1);
            let second = try_submit(&w, 2);
            assert!(first.is_some() || second.is_none());
            for c in [first, second].into_iter().flatten() {
                assert!(c.wait().is_ok());
            }
        });
        let before = try_submit(&w, 3).expect("the resource is open");
        w.r.close();
        assert!(w.r.is_closed());
        assert!(try_submit(&w, 4).is_none());
        assert!(before.wait().is_ok());
        other.join();
        let ran = w.finish();
        assert!(ran.contains(&3) && !ran.contains(&4), "{ran:?}");
    });
}

/// A thread waits for the end of the resource. When that wait returns, all accepted tasks have run.
#[test]
fn accepted_tasks_have_run_when_resource_ends() {
    model(2, || {
        let w = World::new(10, FOREVER, named());
        let others = [1, 2].map(|n| {
            w.spawn(move |w| {
                let entry = w.entry(n);
                let _ = w.r.core().queue_detached(
                    |log| drop(entry(log)),
                    Tag::default(),
                    Admission::Bounded,
                );
            })
        });
        w.r.close();
        assert!(w.r.wait_closed(FOREVER));
        let ran = w.r.stats().completed;
        others.into_iter().for_each(Spawned::join);
        assert_eq!(w.finish().len() as u64, ran);
    });
}

/// The end comes from the close of an idle resource or from the last task. The end comes before,
/// during or after the look of the waiter.
#[test]
fn waiter_wakes_when_closed_resource_ends() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let waiter = w.spawn(|w| assert!(w.r.wait_closed(FOREVER)));
        w.queue(1);
        w.r.close();
        waiter.join();
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn handed_off_tasks_run_during_close() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, named());
        let other = w.spawn(|w| {
            let accepted = [1, 2].map(|n| try_submit(&w, n));
            for c in accepted.into_iter().flatten() {
                assert!(c.wait().is_ok());
            }
        });
        let closer = w.spawn(|w| w.r.close());
        let own = try_submit(&w, 3);
        let accepted = own.is_some();
        if let Some(own) = own {
            w.work_until(|| own.is_finished());
        }
        // Runs the queued tasks of the second thread.
        w.work_until_gone(6);
        other.join();
        closer.join();
        assert_eq!(w.finish().contains(&3), accepted);
    });
}

#[test]
fn end_is_told_when_two_threads_close() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = w.spawn(|w| {
            w.r.close();
            assert!(w.r.wait_closed(FOREVER));
        });
        w.r.close();
        assert!(w.r.wait_closed(FOREVER));
        assert_eq!(w.r.with(|_| ()), Err(TaskError::Closed));
        other.join();
        w.finish();
    });
}

/// Two threads call `into_inner`, perhaps while a task still runs. Exactly one of the two calls
/// returns the value.
#[test]
fn value_is_taken_once_when_into_inner_races() {
    model(2, || {
        let w = World::new(10, FOREVER, named());
        let tally = w.tally().clone();
        let other = w.spawn(|w| {
            let entry = w.entry(1);
            let _ = w.r.core().queue_detached(
                |log| drop(entry(log)),
                Tag::default(),
                Admission::Bounded,
            );
            w.take_value()
        });
        let mine = w.take_value();
        let others = other.join();
        assert!(mine != others, "{mine} {others}");
        let ran = tally.finish();
        assert!(ran.is_empty() || ran == [1], "{ran:?}");
    });
}
