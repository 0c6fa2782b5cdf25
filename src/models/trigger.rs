//! Models of firing a trigger while its task is queued, runs, is cancelled or is refused.

use super::{Log, World, model, named, pooled};
use crate::Trigger;
use crate::sync::{Arc, AtomicUsize, Ordering};
use std::time::Duration;

/// Flags that each thread sets before it fires.
#[derive(Clone)]
struct Written(Arc<[AtomicUsize; 2]>);

/// Returns a trigger that logs, at each run, which of two threads have written.
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

/// The last run sees the writes of both threads, even if one thread queued the task for both.
#[test]
fn last_run_sees_writes_when_two_threads_fire() {
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

/// Both threads may queue a task before either sees the task of the other thread. One run serves
/// both.
#[test]
fn closure_runs_once_when_two_threads_fire() {
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

/// After a sweep, the trigger can be queued again.
#[test]
fn trigger_fires_during_sweep() {
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

/// If a call succeeds, a run follows. This holds too if the call joined a call that raced with the
/// close.
#[test]
fn successful_fire_runs_closure_during_close() {
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
