//! Those who wait for a time, while it comes: by the timer's hand, or by a look at the
//! clock.

use super::suspend::wait;
use super::timer::{self, timer};
use super::{
    Crossing, HOUR, Log, Mailbox, Noted, Token, World, block_on, host, model, named, poll,
    poll_with, pooled,
};
use crate::raw::timing::alarm::Alarm;
use crate::scheduler::sleep::Sleep;
use crate::sync::{Arc, thread};
use crate::{Completion, TaskError};
use std::future::{pending, poll_fn};
use std::task::{Poll, Waker};
use std::time::Duration;

fn world() -> World {
    World::new(10, Duration::ZERO, named())
}

/// Ends in an hour, which passes when its alarm rings.
fn sleep(w: &World) -> Sleep {
    let host = w.r.core().host();
    Sleep::until(Arc::clone(host), host.after(HOUR))
}

/// Lets an alarm ring, on a thread of its own. (Whether it is over is asked before.)
fn ring(alarm: Option<Box<dyn Alarm>>) -> thread::JoinHandle<()> {
    let alarm = alarm.expect("an alarm is set");
    thread::spawn(move || alarm.ring())
}

/// Who asks last is who is woken, and no waker is kept.
#[test]
fn it_rings_while_another_task_asks() {
    model(4, || {
        let w = world();
        let mut sleep = sleep(&w);
        let first = Noted::new(w.token());
        assert!(poll(&mut sleep, &first).is_pending());
        let rings = ring(w.bell.take());
        block_on(&mut sleep);
        rings.join().unwrap();
        drop(first);
        assert_eq!(w.gone(), 1, "a waker is kept");
        // And it stays so.
        assert!(poll_with(&mut sleep, Waker::noop()).is_ready());
        drop(sleep);
        w.finish();
    });
}

/// Whoever goes last takes nothing along that another still has.
#[test]
fn its_alarm_goes_while_who_sleeps_goes() {
    model(4, || {
        let w = world();
        let mut sleep = sleep(&w);
        let waker = Noted::new(w.token());
        assert!(poll(&mut sleep, &waker).is_pending());
        let alarm = w.bell.take();
        let crossing = Crossing::new();
        let crosses = Arc::clone(&crossing);
        let goes = thread::spawn(move || {
            crosses.pass();
            drop(alarm);
        });
        crossing.pass();
        drop((sleep, waker));
        assert_eq!(w.gone(), 1, "a waker is kept");
        goes.join().unwrap();
        w.finish();
    });
}

#[test]
fn it_rings_while_who_sleeps_goes() {
    model(4, || {
        let w = world();
        let mut sleep = sleep(&w);
        let waker = Noted::new(w.token());
        assert!(poll(&mut sleep, &waker).is_pending());
        let rings = ring(w.bell.take());
        drop(sleep);
        rings.join().unwrap();
        drop(waker);
        assert_eq!(w.gone(), 1, "a waker is kept");
        w.finish();
    });
}

/// The time that it is set to anew is the one that counts.
#[test]
fn it_rings_while_it_is_set_anew() {
    model(3, || {
        let w = world();
        let host = Arc::clone(w.r.core().host());
        let mut sleep = sleep(&w);
        let first = Noted::new(w.token());
        assert!(poll(&mut sleep, &first).is_pending());
        let early = ring(w.bell.take());
        sleep.reset(host.after(2 * HOUR));
        assert!(poll(&mut sleep, &first).is_pending(), "it is too early");
        let late = ring(w.bell.take());
        block_on(&mut sleep);
        assert!(w.bell.take().is_none());
        early.join().unwrap();
        late.join().unwrap();
        drop((sleep, first, host));
        w.finish();
    });
}

/// By the scheduler's own timer, whatever its thread is about.
#[test]
fn the_timer_wakes_who_sleeps() {
    model(3, || {
        let (timer, handle) = timer();
        let host = host(Mailbox::new(), Box::new(timer), (1, Duration::ZERO));
        let mut sleep = Sleep::until(Arc::clone(&host), host.after(HOUR));
        block_on(&mut sleep);
        drop((sleep, host));
        timer::join(&handle);
    });
}

/// One that is dropped, or set anew, is no reason for the timer to stay awake, and none
/// to miss the other.
#[test]
fn the_timer_wakes_who_is_left() {
    model(3, || {
        let (timer, handle) = timer();
        let host = host(Mailbox::new(), Box::new(timer), (1, Duration::ZERO));
        let sleep = || Sleep::until(Arc::clone(&host), host.after(HOUR));
        let (mut goes, mut stays) = (sleep(), sleep());
        let _ = poll_with(&mut goes, Waker::noop());
        let _ = poll_with(&mut stays, Waker::noop());
        drop(goes);
        block_on(&mut stays);
        drop((stays, host));
        timer::join(&handle);
    });
}

/// Another thread turns the clock, and does what a timer does.
fn time_passes(w: &World) -> thread::JoinHandle<()> {
    w.bell.stop_the_clock();
    let bell = Arc::clone(&w.bell);
    thread::spawn(move || {
        bell.pass(1);
        bell.ring();
    })
}

/// Who comes to sleep meanwhile sees that it is time, or is woken.
#[test]
fn the_time_comes_while_one_goes_to_sleep() {
    model(4, || {
        let w = world();
        let passes = time_passes(&w);
        let mut sleep = Sleep::until(
            Arc::clone(w.r.core().host()),
            w.bell.started().checked_add(HOUR),
        );
        let waker = Noted::new(w.token());
        let polled = poll(&mut sleep, &waker);
        passes.join().unwrap();
        // What was set too late is due all the same.
        w.bell.ring();
        assert!(polled.is_ready() || waker.is_woken());
        assert!(poll(&mut sleep, &waker).is_ready());
        drop((sleep, waker));
        w.finish();
    });
}

/// Queued in an hour: the errand that waits for it is there, and its alarm.
fn later(w: &World) -> (Completion<Token>, thread::JoinHandle<()>) {
    let task = w.r.submit_after(HOUR, w.entry(1));
    (task, ring(w.bell.take()))
}

/// The two tokens of [`later`] are gone, and it ran, or did not.
fn account(w: World, outcome: Result<Token, TaskError>, refusal: &TaskError) {
    let expected: &[u8] = match &outcome {
        Ok(_) => &[1],
        Err(error) => {
            assert_eq!(error, refusal);
            &[]
        }
    };
    drop(outcome);
    assert_eq!(w.gone(), 2);
    assert_eq!(w.finish(), expected);
}

fn finished(w: &World, task: Completion<Token>) -> Result<Token, TaskError> {
    w.work_until(|| task.is_finished());
    task.wait()
}

#[test]
fn a_later_task_is_cancelled_while_its_time_comes() {
    model(3, || {
        let w = world();
        let (task, rings) = later(&w);
        let cancelled = task.cancel();
        let outcome = finished(&w, task);
        assert_eq!(outcome.is_err(), cancelled);
        rings.join().unwrap();
        account(w, outcome, &TaskError::Cancelled);
    });
}

/// By one thread, while another has the errand in hand.
#[test]
fn a_later_task_is_cancelled_while_it_is_queued() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let task = w.r.submit_after(HOUR, w.entry(1));
        // By the errand's job, which sets the alarm.
        w.run_jobs();
        let rings = ring(w.bell.take());
        let works = w.spawn(|w| w.run_jobs());
        let cancelled = task.cancel();
        works.join();
        let outcome = finished(&w, task);
        assert_eq!(outcome.is_err(), cancelled);
        rings.join().unwrap();
        account(w, outcome, &TaskError::Cancelled);
    });
}

#[test]
fn the_completion_of_a_later_task_goes_while_its_time_comes() {
    model(3, || {
        let w = world();
        let (task, rings) = later(&w);
        drop(task);
        w.work_until_gone(2);
        rings.join().unwrap();
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn it_is_closed_while_the_time_of_a_later_task_comes() {
    model(3, || {
        let w = world();
        let (task, rings) = later(&w);
        let works = w.spawn(|w| w.run_jobs());
        w.r.close();
        works.join();
        let outcome = finished(&w, task);
        rings.join().unwrap();
        account(w, outcome, &TaskError::Closed);
    });
}

/// While its errand goes to sleep, on another thread. Its time does not come.
#[test]
fn closing_reaches_a_later_task() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let task = w.r.submit_after(HOUR, w.entry(1));
        let works = w.spawn(|w| w.run_jobs());
        w.r.close();
        works.join();
        let outcome = finished(&w, task);
        assert!(outcome.is_err());
        // The errand lets go of its alarm.
        account(w, outcome, &TaskError::Closed);
    });
}

/// It does not keep its resource, and is told when that goes.
#[test]
fn the_last_handle_goes_while_the_time_of_a_later_task_comes() {
    model(3, || {
        let w = world();
        let (task, rings) = later(&w);
        let tally = w.part();
        tally.work_until(|| task.is_finished());
        let outcome = task.wait();
        rings.join().unwrap();
        tally.run_jobs();
        let ran = outcome.is_ok();
        assert!(ran || matches!(outcome, Err(TaskError::Closed)));
        drop(outcome);
        assert_eq!(tally.finish().len(), usize::from(ran));
    });
}

/// The clock is turned while it is submitted, and its errand goes to sleep.
#[test]
fn the_time_of_a_later_task_comes_while_it_is_submitted() {
    model(3, || {
        let w = world();
        let passes = time_passes(&w);
        drop(w.r.submit_after(HOUR, w.entry(1)));
        passes.join().unwrap();
        // It may be an hour later only now.
        w.bell.pass(2);
        w.bell.ring();
        w.work_until_gone(2);
        assert_eq!(w.finish(), [1]);
    });
}

/// Sleeps, is woken by another, lets go of its sleep, and waits for nothing any more.
fn lets_go(w: &World, to: &Arc<Mailbox<Waker>>) -> Completion<()> {
    let (mut sleep, to) = (sleep(w), Arc::clone(to));
    w.r.submit_async(async move |log: &mut Log| {
        let _ = poll_fn(|cx| Poll::Ready(poll_with(&mut sleep, cx.waker()))).await;
        wait(&to).await;
        log.push(1);
        drop(sleep);
        pending::<()>().await;
    })
}

/// Nobody is left who could wake it, though its alarm is still set, or just rings.
fn is_given_up(rings: bool) {
    model(3, move || {
        let (w, to) = (world(), Mailbox::new());
        let task = lets_go(&w, &to);
        let waker = to.wait();
        let (ringing, kept) = match (w.bell.take(), rings) {
            (alarm, true) => (alarm, None),
            (alarm, false) => (None, alarm),
        };
        let other = thread::spawn(move || {
            waker.wake();
            ringing.into_iter().for_each(|alarm| alarm.ring());
        });
        w.work_until(|| task.is_finished());
        other.join().unwrap();
        drop(kept);
        assert!(matches!(task.wait(), Err(TaskError::Cancelled)));
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn a_task_that_lets_go_of_its_sleep_is_given_up() {
    is_given_up(false);
    is_given_up(true);
}
