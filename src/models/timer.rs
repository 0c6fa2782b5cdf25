//! Alarms that come while the timer's thread goes to sleep, or ends.

use super::model;
use crate::pool::spawn::Spawn;
use crate::pool::timer::{NEVER, Timer};
use crate::raw::timing::alarm::{Alarm, Alarms};
use crate::sync::{Arc, StaticMutex, UnsafeCell, thread};
use std::time::{Duration, Instant};

/// Unparks who waits for it. Written by who adds it and by who lets it ring.
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

/// A timer, and its thread once it has one.
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

/// Models have no clock: this is due.
fn now() -> Instant {
    Instant::now()
}

/// And this never is.
fn never() -> Instant {
    Instant::now() + Duration::from_secs(400 * 365 * 24 * 3600)
}

/// Every thread ends: nobody is parked for ever.
fn end(timer: Timer, handle: &Handle) {
    drop(timer);
    join(handle);
}

/// The thread of a timer that is gone ends.
pub(super) fn join(handle: &Handle) {
    let handle = handle.lock().unwrap().take();
    handle.expect("it was started").join().unwrap();
}

#[test]
fn an_alarm_rings_whatever_the_thread_is_about() {
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
fn one_that_is_due_rings_behind_one_that_is_not() {
    model(3, || {
        let (timer, handle) = timer();
        timer.add(never(), bell());
        timer.add(now(), bell());
        thread::park();
        end(timer, &handle);
    });
}

#[test]
fn two_add_at_once() {
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
        end(Arc::into_inner(timer).expect("the last"), &handle);
    });
}

/// Of no interest.
struct Silent;

impl Alarm for Silent {
    fn is_over(&self) -> bool {
        false
    }

    fn ring(self: Box<Self>) {}
}

/// Farther than what a model's timer takes for now, so many hours.
fn future(hours: u64) -> Instant {
    now() + Duration::from_nanos(NEVER / 2) + Duration::from_secs(3600 * hours)
}

/// One is added while the thread wakes up for another and goes to sleep again, for longer
/// than before.
#[test]
fn one_is_added_while_another_rings() {
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
        end(Arc::into_inner(timer).expect("the last"), &handle);
    });
}
