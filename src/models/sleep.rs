//! Models of sleeps and delayed tasks whose time comes: the timer wakes them, or they look at the
//! clock.

use super::suspend::wait;
use super::timer::{self, timer};
use super::{
    CountedWaker, Crossing, HOUR, Log, Mailbox, Token, World, block_on, host, model, named, poll,
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

/// Returns a sleep of an hour, which passes when its alarm rings.
fn sleep(w: &World) -> Sleep {
    let host = w.r.core().host();
    Sleep::until(Arc::clone(host), host.after(HOUR))
}

/// Rings the alarm on a new thread. The timer checks whether an alarm is over before it rings the
/// alarm, and that check is left out here.
fn ring(alarm: Option<Box<dyn Alarm>>) -> thread::JoinHandle<()> {
    let alarm = alarm.expect("an alarm is set");
    thread::spawn(move || alarm.ring())
}

/// The task that polled last is woken, and no waker is kept.
#[test]
fn alarm_rings_during_change_of_waker() {
    model(4, || {
        let w = world();
        let mut sleep = sleep(&w);
        let first = CountedWaker::new(w.token());
        assert!(poll(&mut sleep, &first).is_pending());
        let rings = ring(w.bell.take());
        block_on(&mut sleep);
        rings.join().unwrap();
        drop(first);
        assert_eq!(w.gone(), 1, "a waker was kept");
        // The sleep stays ready.
        assert!(poll_with(&mut sleep, Waker::noop()).is_ready());
        drop(sleep);
        w.finish();
    });
}

/// The drop of the sleep drops the waker, whether the alarm is dropped before or after that.
#[test]
fn alarm_is_dropped_during_drop_of_sleep() {
    model(4, || {
        let w = world();
        let mut sleep = sleep(&w);
        let waker = CountedWaker::new(w.token());
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
        assert_eq!(w.gone(), 1, "a waker was kept");
        goes.join().unwrap();
        w.finish();
    });
}

#[test]
fn alarm_rings_during_drop_of_sleep() {
    model(4, || {
        let w = world();
        let mut sleep = sleep(&w);
        let waker = CountedWaker::new(w.token());
        assert!(poll(&mut sleep, &waker).is_pending());
        let rings = ring(w.bell.take());
        drop(sleep);
        rings.join().unwrap();
        drop(waker);
        assert_eq!(w.gone(), 1, "a waker was kept");
        w.finish();
    });
}

/// After a reset, only the new time counts.
#[test]
fn alarm_rings_during_reset_of_sleep() {
    model(3, || {
        let w = world();
        let host = Arc::clone(w.r.core().host());
        let mut sleep = sleep(&w);
        let first = CountedWaker::new(w.token());
        assert!(poll(&mut sleep, &first).is_pending());
        let early = ring(w.bell.take());
        sleep.reset(host.after(2 * HOUR));
        assert!(
            poll(&mut sleep, &first).is_pending(),
            "the sleep ended too early"
        );
        let late = ring(w.bell.take());
        block_on(&mut sleep);
        assert!(w.bell.take().is_none());
        early.join().unwrap();
        late.join().unwrap();
        drop((sleep, first, host));
        w.finish();
    });
}

/// The scheduler's own timer rings the alarm, whatever the timer thread is doing.
#[test]
fn sleep_ends_when_timer_thread_rings() {
    model(3, || {
        let (timer, handle) = timer();
        let host = host(Mailbox::new(), Box::new(timer), (1, Duration::ZERO));
        let mut sleep = Sleep::until(Arc::clone(&host), host.after(HOUR));
        block_on(&mut sleep);
        drop((sleep, host));
        timer::join(&handle);
    });
}

/// A dropped sleep neither keeps the timer thread awake nor makes it miss the second sleep.
#[test]
fn second_sleep_ends_when_first_is_dropped() {
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

/// Turns the clock on another thread, and rings the alarms that are due.
fn time_passes(w: &World) -> thread::JoinHandle<()> {
    w.bell.stop_the_clock();
    let bell = Arc::clone(&w.bell);
    thread::spawn(move || {
        bell.pass(1);
        bell.ring();
    })
}

/// The sleep is polled meanwhile. Either the sleep sees that the time has come, or its waker is
/// woken.
#[test]
fn time_comes_during_first_poll_of_sleep() {
    model(4, || {
        let w = world();
        let passes = time_passes(&w);
        let mut sleep = Sleep::until(
            Arc::clone(w.r.core().host()),
            w.bell.started().checked_add(HOUR),
        );
        let waker = CountedWaker::new(w.token());
        let polled = poll(&mut sleep, &waker);
        passes.join().unwrap();
        // An alarm that was set too late is due all the same.
        w.bell.ring();
        assert!(polled.is_ready() || waker.is_woken());
        assert!(poll(&mut sleep, &waker).is_ready());
        drop((sleep, waker));
        w.finish();
    });
}

/// Submits a task that is delayed by an hour, and rings its alarm on another thread.
fn submit_delayed(w: &World) -> (Completion<Token>, thread::JoinHandle<()>) {
    let task = w.r.submit_after(HOUR, w.entry(1));
    (task, ring(w.bell.take()))
}

/// Checks that both tokens of a delayed task were dropped, and that the task ran or failed with
/// `refusal`.
fn check_outcome(w: World, outcome: Result<Token, TaskError>, refusal: &TaskError) {
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
fn delayed_task_is_cancelled_during_ring() {
    model(3, || {
        let w = world();
        let (task, rings) = submit_delayed(&w);
        let cancelled = task.cancel();
        let outcome = finished(&w, task);
        assert_eq!(outcome.is_err(), cancelled);
        rings.join().unwrap();
        check_outcome(w, outcome, &TaskError::Cancelled);
    });
}

/// One thread cancels the task, a second thread rings its alarm, and a third thread runs its job.
#[test]
fn delayed_task_is_cancelled_during_queueing() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let task = w.r.submit_after(HOUR, w.entry(1));
        // No job is queued yet, because `submit_after` sets the alarm itself.
        w.run_jobs();
        let rings = ring(w.bell.take());
        let works = w.spawn(|w| w.run_jobs());
        let cancelled = task.cancel();
        works.join();
        let outcome = finished(&w, task);
        assert_eq!(outcome.is_err(), cancelled);
        rings.join().unwrap();
        check_outcome(w, outcome, &TaskError::Cancelled);
    });
}

#[test]
fn delayed_task_runs_when_completion_drops() {
    model(3, || {
        let w = world();
        let (task, rings) = submit_delayed(&w);
        drop(task);
        w.work_until_gone(2);
        rings.join().unwrap();
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn close_during_ring_of_delayed_task() {
    model(3, || {
        let w = world();
        let (task, rings) = submit_delayed(&w);
        let works = w.spawn(|w| w.run_jobs());
        w.r.close();
        works.join();
        let outcome = finished(&w, task);
        rings.join().unwrap();
        check_outcome(w, outcome, &TaskError::Closed);
    });
}

/// The close fails the delayed task before its time comes.
#[test]
fn delayed_task_fails_when_resource_closes() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let task = w.r.submit_after(HOUR, w.entry(1));
        let works = w.spawn(|w| w.run_jobs());
        w.r.close();
        works.join();
        let outcome = finished(&w, task);
        assert!(outcome.is_err());
        // The timer still has the alarm, but no token is kept.
        check_outcome(w, outcome, &TaskError::Closed);
    });
}

/// A delayed task does not keep its resource alive, and fails if the resource is dropped first.
#[test]
fn last_handle_drops_during_ring_of_delayed_task() {
    model(3, || {
        let w = world();
        let (task, rings) = submit_delayed(&w);
        let tally = w.drop_handle();
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

/// The clock is turned while the task is submitted and its sleep is polled.
#[test]
fn time_comes_during_submission_of_delayed_task() {
    model(3, || {
        let w = world();
        let passes = time_passes(&w);
        drop(w.r.submit_after(HOUR, w.entry(1)));
        passes.join().unwrap();
        // If the clock was turned before the submission, the delay ends at hour two.
        w.bell.pass(2);
        w.bell.ring();
        w.work_until_gone(2);
        assert_eq!(w.finish(), [1]);
    });
}

/// Submits a task that starts a sleep, is woken by another thread, drops the sleep, and then waits
/// for ever.
fn submit_sleep_dropper(w: &World, to: &Arc<Mailbox<Waker>>) -> Completion<()> {
    let (mut sleep, to) = (sleep(w), Arc::clone(to));
    w.r.submit_async(async move |log: &mut Log| {
        let _ = poll_fn(|cx| Poll::Ready(poll_with(&mut sleep, cx.waker()))).await;
        wait(&to).await;
        log.push(1);
        drop(sleep);
        pending::<()>().await;
    })
}

/// No thread is left that could wake the task, although its alarm is still set or just rings.
fn gives_up_task(rings: bool) {
    model(3, move || {
        let (w, to) = (world(), Mailbox::new());
        let task = submit_sleep_dropper(&w, &to);
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
fn task_is_given_up_when_sleep_is_dropped() {
    gives_up_task(false);
    gives_up_task(true);
}
