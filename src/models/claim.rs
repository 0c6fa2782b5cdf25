//! Models of claims and releases of an idle resource while other threads submit.

use super::{World, in_order, model, ran_all, unit};
use crate::sync::{Arc, AtomicUsize, Ordering};

#[test]
fn tasks_never_overlap_when_two_threads_submit() {
    model(3, || {
        let w = World::without_limits();
        let other = w.spawn(|w| {
            let c = w.r.submit(w.entry(1));
            assert!(c.wait().is_ok());
        });
        let c = w.r.submit(w.entry(2));
        assert!(c.wait().is_ok());
        other.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}

#[test]
fn order_within_thread_holds_when_two_submit() {
    model(3, || {
        let w = World::without_limits();
        let other = w.spawn(|w| {
            w.r.execute(unit(w.entry(1))).unwrap();
            w.r.execute(unit(w.entry(2))).unwrap();
        });
        w.r.execute(unit(w.entry(3))).unwrap();
        w.r.execute(unit(w.entry(4))).unwrap();
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3, 4]);
        assert!(in_order(&ran, 1, 2) && in_order(&ran, 3, 4), "{ran:?}");
    });
}

/// One thread queues, and another thread claims. If a thread knows that a submission has returned,
/// its own task runs after the task of that submission.
#[test]
fn order_across_threads_holds_during_drain() {
    model(2, || {
        let w = World::without_limits();
        let returned = Arc::new(AtomicUsize::new(0));
        let holder = w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).unwrap());
        let first = w.spawn({
            let returned = Arc::clone(&returned);
            move |w| {
                w.queue(2);
                returned.store(1, Ordering::Release);
            }
        });
        let follows = returned.load(Ordering::Acquire) == 1;
        w.r.execute(unit(w.entry(3))).unwrap();
        holder.join();
        first.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3]);
        assert!(!follows || in_order(&ran, 2, 3), "{ran:?}");
    });
}

#[test]
fn tasks_never_overlap_when_three_threads_submit() {
    model(2, || {
        let w = World::without_limits();
        let others = [1, 2].map(|n| w.spawn(move |w| w.r.execute(unit(w.entry(n))).unwrap()));
        w.r.execute(unit(w.entry(3))).unwrap();
        others.into_iter().for_each(super::Spawned::join);
        ran_all(&w.finish(), &[1, 2, 3]);
    });
}

#[test]
fn borrowing_tasks_never_overlap_during_race() {
    model(2, || {
        let w = World::without_limits();
        let other = w.spawn(|w| {
            let mut seen = 0;
            let entry = w.entry(1);
            let borrows = |log: &mut super::Log| {
                drop(entry(log));
                seen = log.entries().len();
            };
            w.r.with(borrows).unwrap();
            assert!(seen > 0);
        });
        w.r.with(w.entry(2)).unwrap();
        other.join();
        ran_all(&w.finish(), &[1, 2]);
    });
}

#[test]
fn submission_is_queued_when_made_inside_task() {
    model(2, || {
        let w = World::without_limits();
        let other = w.spawn(|w| {
            let (inside, entry, next) = (w.r.clone(), w.entry(1), w.entry(2));
            w.r.execute(move |log| {
                inside.execute(unit(next)).unwrap();
                drop(entry(log));
            })
            .unwrap();
        });
        w.r.execute(unit(w.entry(3))).unwrap();
        other.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 3]);
        assert!(in_order(&ran, 1, 2), "{ran:?}");
    });
}
