//! Closing while others submit.

use super::{FOREVER, Spawned, Token, World, model, named};
use crate::raw::submit::Admission;
use crate::raw::task::tag::Tag;
use crate::{Completion, TaskError, TrySubmitError};
use std::time::Duration;

/// A submission is refused, and its closure comes back, or it is accepted, and
/// then its task runs.
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
fn a_submission_is_refused_or_runs() {
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
        let before = try_submit(&w, 3).expect("it is open");
        w.r.close();
        assert!(w.r.is_closed());
        assert!(try_submit(&w, 4).is_none());
        assert!(before.wait().is_ok());
        other.join();
        let ran = w.finish();
        assert!(ran.contains(&3) && !ran.contains(&4), "{ran:?}");
    });
}

/// Once it has ended, all that was accepted has run, and the one who waited
/// for the end sees it.
#[test]
fn the_end_comes_after_all_that_was_accepted() {
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

/// It comes from a close of what is idle, or from the last task, before the
/// other looks, or while it does, or after.
#[test]
fn the_end_reaches_who_waits_for_it() {
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
fn closing_does_not_lose_what_is_handed_off() {
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
        // Those of the other thread that are still to run.
        w.work_until_gone(6);
        other.join();
        closer.join();
        assert_eq!(w.finish().contains(&3), accepted);
    });
}

#[test]
fn two_close_at_once() {
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

/// While a task still runs, and is waited for; the value is the one's alone.
#[test]
fn one_of_two_gets_the_value() {
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
            w.part_with_value()
        });
        let mine = w.part_with_value();
        let others = other.join();
        assert!(mine != others, "{mine} {others}");
        let ran = tally.finish();
        assert!(ran.is_empty() || ran == [1], "{ran:?}");
    });
}
