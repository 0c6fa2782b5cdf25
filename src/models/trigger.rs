//! Firing a trigger while its task is queued, runs, is cancelled or refused.

use super::{Log, World, model, named, pooled};
use crate::Trigger;
use crate::sync::{Arc, AtomicUsize, Ordering};
use std::time::Duration;

/// What was written before it was fired.
#[derive(Clone)]
struct Written(Arc<[AtomicUsize; 2]>);

/// Notes, each time it runs, what each of two threads had written by then.
fn noting(w: &World) -> (Trigger, Written) {
    let written = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let read = Arc::clone(&written);
    let trigger = w.r.trigger(move |log: &mut Log| {
        let seen = read.each_ref().map(|w| w.load(Ordering::Relaxed));
        log.push((seen[0] + 2 * seen[1]) as u8);
    });
    (trigger, Written(written))
}

impl Written {
    fn write(&self, n: usize) {
        self.0[n].store(1, Ordering::Relaxed);
    }
}

/// The last run sees what both wrote, also if it was queued by one of them.
#[test]
fn two_fire_behind_a_task() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, named());
        let (trigger, written) = noting(&w);
        let other = w.spawn({
            let (trigger, written) = (trigger.clone(), written.clone());
            move |_| {
                written.write(1);
                trigger.fire().unwrap();
            }
        });
        w.r.execute({
            let (trigger, written) = (trigger.clone(), written.clone());
            move |_: &mut Log| {
                written.write(0);
                trigger.fire().unwrap();
            }
        })
        .unwrap();
        other.join();
        drop(trigger);
        let ran = w.finish();
        assert_eq!(ran.last(), Some(&3), "{ran:?}");
        assert!(ran.len() <= 2, "{ran:?}");
    });
}

/// Both may queue a task, neither having seen the other's; one run serves both.
#[test]
fn two_fire_before_it_runs() {
    model(3, || {
        let w = World::new(10, Duration::ZERO, pooled());
        let (trigger, written) = noting(&w);
        let other = w.spawn({
            let (trigger, written) = (trigger.clone(), written.clone());
            move |_| {
                written.write(1);
                trigger.fire().unwrap();
            }
        });
        written.write(0);
        trigger.fire().unwrap();
        other.join();
        drop(trigger);
        assert_eq!(w.finish(), [3]);
    });
}

/// A sweep leaves nothing behind that keeps it from being queued again.
#[test]
fn it_is_fired_while_it_is_cancelled() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let (trigger, written) = noting(&w);
        let sweeper = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.r.execute({
            let trigger = trigger.clone();
            move |_: &mut Log| trigger.fire().unwrap()
        })
        .unwrap();
        sweeper.join();
        written.write(0);
        written.write(1);
        trigger.fire().unwrap();
        drop(trigger);
        let ran = w.finish();
        assert_eq!(ran.last(), Some(&3), "{ran:?}");
    });
}

/// A call that succeeds is followed by a run, also if it joined another that
/// raced with the close.
#[test]
fn two_fire_while_it_is_closed() {
    model(2, || {
        let w = World::new(10, Duration::ZERO, named());
        let (trigger, written) = noting(&w);
        let other = w.spawn({
            let (trigger, written) = (trigger.clone(), written.clone());
            move |_| {
                written.write(1);
                trigger.fire().is_ok()
            }
        });
        let closer = w.spawn(|w| w.r.close());
        written.write(0);
        let fired = trigger.fire().is_ok();
        let other_fired = other.join();
        closer.join();
        drop(trigger);
        let ran = w.finish();
        let seen = ran.iter().fold(0, |all, seen| all | seen);
        assert!(!fired || seen & 1 != 0, "{ran:?}");
        assert!(!other_fired || seen & 2 != 0, "{ran:?}");
    });
}
