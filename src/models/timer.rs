//! Models of alarms that are set while the timer thread goes to sleep or ends.

use super::model;
use crate::pool::spawn::Spawn;
use crate::pool::timer::{NEVER, Timer};
use crate::raw::timing::alarm::{Alarm, Alarms};
use crate::sync::{Arc, StaticMutex, UnsafeCell, thread};
use std::time::{Duration, Instant};

/// Unparks the thread that made the alarm. The cell is written by the thread that adds the alarm
/// and by the thread that rings it.
struct UnparkAlarm(thread::Thread, UnsafeCell<()>);

impl Alarm for UnparkAlarm {
    fn is_over(&self) -> bool {
        false
    }

    fn ring(self: Box<Self>) {
        self.1.with_mut(|_| ());
        self.0.unpark();
    }
}

pub(super) type Handle = Arc<StaticMutex<Option<thread::JoinHandle<()>>>>;

/// Returns a timer, and a slot for the handle of its thread.
pub(super) fn timer() -> (Timer, Handle) {
    let handle = Handle::default();
    let kept = Arc::clone(&handle);
    let spawn: Box<Spawn> = Box::new(move |_, main| {
        *kept.lock().unwrap() = Some(thread::spawn(main));
        Ok(())
    });
    (Timer::new("timer".into(), spawn), handle)
}

fn bell() -> Box<UnparkAlarm> {
    let touched = UnsafeCell::new(());
    touched.with_mut(|_| ());
    Box::new(UnparkAlarm(thread::current(), touched))
}

/// Returns a time that is due: the clock of a model's timer stands still, far in the future.
fn now() -> Instant {
    Instant::now()
}

/// Returns a time that is never due.
fn never() -> Instant {
    Instant::now() + Duration::from_secs(400 * 365 * 24 * 3600)
}

/// Drops the timer and joins its thread, so that no thread stays parked.
fn end(timer: Timer, handle: &Handle) {
    drop(timer);
    join(handle);
}

/// Joins the thread of a timer that was dropped.
pub(super) fn join(handle: &Handle) {
    let handle = handle.lock().unwrap().take();
    handle
        .expect("the timer thread was started")
        .join()
        .unwrap();
}

#[test]
fn alarm_rings_when_timer_thread_parks() {
    model(3, || {
        let (timer, handle) = timer();
        for _ in 0..2 {
            timer.add(now(), bell());
            thread::park();
        }
        end(timer, &handle);
    });
}

#[test]
fn due_alarm_rings_when_later_alarm_waits() {
    model(3, || {
        let (timer, handle) = timer();
        timer.add(never(), bell());
        timer.add(now(), bell());
        thread::park();
        end(timer, &handle);
    });
}

#[test]
fn both_alarms_ring_when_two_threads_add() {
    model(2, || {
        let (timer, handle) = timer();
        let timer = Arc::new(timer);
        let other = {
            let timer = Arc::clone(&timer);
            thread::spawn(move || {
                timer.add(now(), bell());
                thread::park();
            })
        };
        timer.add(now(), bell());
        thread::park();
        other.join().unwrap();
        end(
            Arc::into_inner(timer).expect("this is the last reference"),
            &handle,
        );
    });
}

/// An alarm without effect.
struct Silent;

impl Alarm for Silent {
    fn is_over(&self) -> bool {
        false
    }

    fn ring(self: Box<Self>) {}
}

/// Returns a time that is `hours` hours after the time at which the clock of a model's timer
/// starts.
fn future(hours: u64) -> Instant {
    now() + Duration::from_nanos(NEVER / 2) + Duration::from_secs(3600 * hours)
}

/// The alarm is added while the timer thread wakes for another alarm. The timer thread then sleeps
/// for longer than before.
#[test]
fn alarm_is_added_during_ring() {
    model(3, || {
        let (timer, handle) = timer();
        let (soon, later, last) = (future(1), future(2), future(3));
        timer.add(soon, Box::new(Silent));
        timer.add(last, Box::new(Silent));
        let timer = Arc::new(timer);
        let clock = {
            let timer = Arc::clone(&timer);
            thread::spawn(move || timer.pass_to(soon))
        };
        timer.add(later, bell());
        clock.join().unwrap();
        timer.pass_to(later);
        thread::park();
        end(
            Arc::into_inner(timer).expect("this is the last reference"),
            &handle,
        );
    });
}
