//! A task that follows another, while that one completes, is cancelled or both.

use super::{Log, Token, World, model, named, pooled};
use crate::{Completion, TaskError};
use std::time::Duration;

/// Another thread runs what is submitted to it.
fn pooled_world() -> World {
    World::new(1, Duration::ZERO, pooled())
}

/// 1, and then 2 with the result of 1.
fn pair(w: &World) -> Completion<Token> {
    let second = w.entry(2);
    w.r.submit(w.entry(1)).then(&w.r, |log: &mut Log, first| {
        drop(first);
        second(log)
    })
}

/// The second is queued by the first's completer, or by the caller.
#[test]
fn the_first_completes_while_the_second_is_joined_to_it() {
    model(3, || {
        let w = pooled_world();
        let worker = w.spawn(|w| w.work_until_gone(4));
        drop(pair(&w));
        worker.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

#[test]
fn a_thread_waits_for_the_second() {
    model(2, || {
        let w = pooled_world();
        let waiter = w.spawn(|w| drop(pair(&w).wait().unwrap()));
        w.work_until_gone(4);
        waiter.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// The second belongs to one of three: who completes the first, who cancels,
/// who runs it.
#[test]
fn it_is_cancelled_while_the_first_completes() {
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

/// A sweep cancels the first, the second, or neither; the handle cancels too.
#[test]
fn it_is_cancelled_while_all_is_swept() {
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
        w.r.execute(w.slow_entry(3)).unwrap();
        w.work_until_gone(6);
        other.join();
        sweeper.join();
        w.finish();
    });
}

/// It runs or is refused, and the first's result goes with it.
#[test]
fn it_is_closed_while_the_first_completes() {
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

/// The first's completer finds the resource closed, and refuses the second,
/// which is cancelled through its handle before, after, or meanwhile.
#[test]
fn it_is_cancelled_while_it_is_refused() {
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
        // The second was never submitted, so it was not cancelled either.
        let completed = w.r.stats().completed;
        let ran = w.finish();
        assert!(ran.is_empty() || ran == [1], "{ran:?}");
        assert_eq!(completed, ran.len() as u64);
    });
}
