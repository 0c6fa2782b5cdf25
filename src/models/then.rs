//! Models of a continuation while the first task completes, is cancelled, or both.

use super::{Log, Token, World, model, named, pooled, unit};
use crate::{Completion, TaskError};
use std::time::Duration;

/// Makes a resource whose tasks another thread runs.
fn pooled_world() -> World {
    World::new(1, Duration::ZERO, pooled())
}

/// Submits task 1, and task 2 with the result of task 1.
fn pair(w: &World) -> Completion<Token> {
    let second = w.entry(2);
    w.r.submit(w.entry(1)).then(&w.r, |log: &mut Log, first| {
        drop(first);
        second(log)
    })
}

/// The completer of the first task or the caller of `then` queues the second task.
#[test]
fn first_task_completes_during_call_of_then() {
    model(3, || {
        let w = pooled_world();
        let worker = w.spawn(|w| w.work_until_gone(4));
        drop(pair(&w));
        worker.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

#[test]
fn thread_wakes_when_second_task_completes() {
    model(2, || {
        let w = pooled_world();
        let waiter = w.spawn(|w| drop(pair(&w).wait().unwrap()));
        w.work_until_gone(4);
        waiter.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// Three threads contend for the second task: the completer of the first task, the canceller, and
/// the holder.
#[test]
fn cancel_during_completion_of_first_task() {
    model(2, || {
        let w = pooled_world();
        let canceller = w.spawn(|w| {
            let end = pair(&w);
            let cancelled = end.cancel();
            match end.wait() {
                Ok(_) => assert!(!cancelled),
                Err(TaskError::Cancelled) => assert!(cancelled),
                Err(other) => panic!("{other}"),
            }
        });
        w.work_until_gone(4);
        canceller.join();
        let ran = w.finish();
        assert!(ran.is_empty() || ran == [1] || ran == [1, 2], "{ran:?}");
    });
}

/// A sweep cancels the first task, the second task, or neither. The handle cancels too.
#[test]
fn cancel_of_second_task_during_sweep() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let other = w.spawn(|w| {
            let end = pair(&w);
            end.cancel();
            let _ = end.wait();
        });
        let sweeper = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.r.execute(unit(w.slow_entry(3))).unwrap();
        w.work_until_gone(6);
        other.join();
        sweeper.join();
        w.finish();
    });
}

/// The second task runs or is refused. On a refusal, the result of the first task is dropped.
#[test]
fn close_during_completion_of_first_task() {
    model(2, || {
        let w = pooled_world();
        let closer = w.spawn(|w| w.r.close());
        let end = pair(&w);
        w.work_until(|| end.is_finished());
        match end.wait() {
            Ok(token) => drop(token),
            Err(TaskError::Closed) => {}
            Err(other) => panic!("{other}"),
        }
        closer.join();
        w.finish();
    });
}

/// The completer of the first task finds the resource closed and refuses the second task. A
/// canceller cancels the second task before, during or after that.
#[test]
fn cancel_during_refusal_of_second_task() {
    model(3, || {
        let w = pooled_world();
        let end = pair(&w);
        w.r.close();
        let canceller = w.spawn(|_| {
            let cancelled = end.cancel();
            let expected = if cancelled {
                TaskError::Cancelled
            } else {
                TaskError::Closed
            };
            assert_eq!(end.wait().unwrap_err(), expected);
        });
        w.work_until_gone(4);
        canceller.join();
        // The second task was never submitted, so a cancellation is not counted.
        let completed = w.r.stats().completed;
        let ran = w.finish();
        assert!(ran.is_empty() || ran == [1], "{ran:?}");
        assert_eq!(completed, ran.len() as u64);
    });
}
