//! Models of a task that waits and keeps its resource. Other threads wake or cancel the task, or
//! drop its last waker.

use super::{Log, Mailbox, Token, World, model, named, pooled, ran_all, unit};
use crate::raw::submit::Admission;
use crate::raw::task::future::AsyncBody;
use crate::raw::task::handle::Handle;
use crate::raw::task::tag::Tag;
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::{Completion, TaskError};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

type Wakers = Arc<Mailbox<Waker>>;

/// Waits once for a wake-up by the thread that takes the waker from `to`.
pub(super) async fn wait(to: &Wakers) {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        to.post(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Submits a task that logs `n`, waits `waits` times, and logs `n + 1`.
pub(super) fn submit_waiting(w: &World, n: u8, waits: usize, to: &Wakers) -> Completion<Token> {
    let (closure, result) = (w.token(), w.token());
    let to = Arc::clone(to);
    w.r.submit_async(async move |log: &mut Log| {
        log.push(n);
        for _ in 0..waits {
            wait(&to).await;
        }
        log.push(n + 1);
        drop(closure);
        result
    })
}

/// Asserts that no task ran between the two halves of this task.
fn assert_undivided(ran: &[u8], n: u8) {
    let at = ran.iter().position(|r| *r == n).expect("the task began");
    assert_eq!(ran.get(at + 1), Some(&(n + 1)), "{ran:?}");
}

/// Starts a thread that takes a waker and passes the waker to `f`.
fn on_waker(w: &World, to: &Wakers, f: impl FnOnce(Waker) + Send + 'static) -> super::Spawned {
    let to = Arc::clone(to);
    w.spawn(move |_| f(to.wait()))
}

#[test]
fn task_resumes_when_woken_during_parking() {
    model(3, || {
        let w = World::handing_off();
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, Waker::wake);
        let task = submit_waiting(&w, 1, 1, &to);
        w.work_until_gone(1);
        wakes.join();
        drop(task);
        assert_eq!(w.finish(), [1, 2]);
    });
}

#[test]
fn submissions_wait_when_task_is_suspended() {
    model(2, || {
        let w = World::handing_off();
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, Waker::wake);
        drop(submit_waiting(&w, 1, 1, &to));
        w.queue(5);
        w.r.execute(unit(w.entry(6))).unwrap();
        w.work_until_gone(6);
        wakes.join();
        assert_eq!(w.finish(), [1, 2, 5, 6]);
    });
}

#[test]
fn second_thread_submits_during_suspension() {
    model(1, || {
        let w = World::handing_off();
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, Waker::wake);
        let submitter = w.spawn(|w| w.r.execute(unit(w.entry(5))).unwrap());
        drop(submit_waiting(&w, 1, 1, &to));
        w.work_until_gone(4);
        wakes.join();
        submitter.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 5]);
        assert_undivided(&ran, 1);
    });
}

/// A second thread takes the idle word while the task runs in the lane. That thread gives the word
/// back while the task moves from the lane to the word. That thread must not give away the role
/// that the task holds by then.
#[test]
fn push_during_step_from_lane_to_word() {
    model(3, || {
        let w = World::handing_off();
        let to: Wakers = Mailbox::new();
        let woken = Arc::new(AtomicUsize::new(0));
        let (is_woken, inside) = (Arc::clone(&woken), Arc::clone(&to));
        let submits = w.spawn(|w| {
            w.r.submit_async(async move |log: &mut Log| {
                log.push(1);
                wait(&inside).await;
                assert_eq!(is_woken.load(Ordering::Relaxed), 1);
                log.push(2);
            })
        });
        w.queue(5);
        let task = submits.join();
        w.work_until(|| !to.is_empty());
        w.run_jobs();
        woken.store(1, Ordering::Relaxed);
        to.wait().wake();
        w.work_until(|| task.is_finished());
        drop(task);
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 5]);
        assert_undivided(&ran, 1);
    });
}

/// The task sees what was done before its wake-up. The task may be woken while parked, or before it
/// parks.
#[test]
fn task_sees_earlier_writes_when_woken() {
    model(3, || {
        let w = World::handing_off();
        let to = Mailbox::new();
        let news = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&news);
        let wakes = on_waker(&w, &to, move |waker| {
            told.store(1, Ordering::Relaxed);
            waker.wake();
        });
        let body = AsyncBody::new(async move |log: &mut Log| {
            wait(&to).await;
            assert_eq!(news.load(Ordering::Relaxed), 1);
            log.push(1);
        });
        let queued =
            w.r.core()
                .queue_body(body, Tag::default(), Admission::Bounded);
        let Ok::<Handle<()>, _>(handle) = queued else {
            panic!("the resource refused the task")
        };
        w.work_until(|| handle.is_complete());
        assert!(handle.take().is_ok());
        wakes.join();
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn task_resumes_when_suspended_twice() {
    model(2, || {
        let w = World::handing_off();
        let to: Wakers = Mailbox::new();
        let wakes = w.spawn({
            let to = Arc::clone(&to);
            move |_| {
                to.wait().wake();
                to.wait().wake();
            }
        });
        drop(submit_waiting(&w, 1, 2, &to));
        w.work_until_gone(2);
        wakes.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// A late wake-up wakes neither the finished task nor the next task that waits.
#[test]
fn late_wake_up_is_ignored_when_wait_is_over() {
    model(2, || {
        let w = World::handing_off();
        let (to, next) = (Mailbox::new(), Mailbox::new());
        let wakes = on_waker(&w, &to, |waker| {
            waker.wake_by_ref();
            waker.wake();
        });
        let woken = Arc::new(AtomicUsize::new(0));
        let is_woken = Arc::clone(&woken);
        drop(submit_waiting(&w, 1, 1, &to));
        let to_next = Arc::clone(&next);
        let second = w.r.submit_async(async move |log: &mut Log| {
            wait(&to_next).await;
            assert_eq!(
                is_woken.load(Ordering::Relaxed),
                1,
                "the late wake-up reached the second task"
            );
            log.push(5);
        });
        w.work_until(|| !next.is_empty());
        wakes.join();
        woken.store(1, Ordering::Relaxed);
        next.wait().wake();
        w.work_until(|| second.is_finished());
        drop(second);
        assert_eq!(w.finish(), [1, 2, 5]);
    });
}

/// A thread waits for a task that is queued behind the suspended task.
#[test]
fn waiter_is_served_when_task_ahead_suspends() {
    model(1, || {
        let w = World::served(named());
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, Waker::wake);
        let waiter = w.spawn(|w| drop(w.r.with(w.entry(5)).unwrap()));
        drop(submit_waiting(&w, 1, 1, &to));
        w.serve(2);
        wakes.join();
        waiter.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 5]);
        assert_undivided(&ran, 1);
    });
}

/// The sweep finds the task suspended, on its way back, or running. A running task is asked to
/// stop.
#[test]
fn sweep_during_wake_up() {
    model(3, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to = Mailbox::new();
        let task = submit_waiting(&w, 1, 1, &to);
        let wakes = on_waker(&w, &to, Waker::wake);
        w.run_jobs();
        w.r.execute(unit(w.entry(5))).unwrap();
        w.r.cancel_pending();
        w.work_until(|| task.is_finished());
        wakes.join();
        drop(task);
        w.finish();
    });
}

/// The sweep finds the task queued, running, or about to wait.
#[test]
fn sweep_during_first_run() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to: Wakers = Mailbox::new();
        let task = submit_waiting(&w, 1, 1, &to);
        let sweeps = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.run_jobs();
        sweeps.join();
        // The sweep took the task before its run, asked the task to stop during the run, or gave up
        // the waiting task.
        w.work_until(|| task.is_finished());
        assert!(matches!(task.wait(), Err(TaskError::Cancelled)));
        drop(to);
        w.finish();
    });
}

/// The submitter runs the task and leaves it to wait, while a sweep comes. The task has begun, so
/// the sweep finds the task.
#[test]
fn sweep_cancels_task_when_submitter_began_run() {
    model(3, || {
        let w = World::handing_off();
        let to: Wakers = Mailbox::new();
        let inside = Arc::clone(&to);
        let sweeps = w.spawn(move |w| {
            let waker = inside.wait();
            w.r.cancel_pending();
            waker
        });
        let task = submit_waiting(&w, 1, 1, &to);
        let waker = sweeps.join();
        w.work_until(|| task.is_finished());
        assert!(matches!(task.wait(), Err(TaskError::Cancelled)));
        drop(waker);
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn cancel_during_wake_up() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to = Mailbox::new();
        let task = submit_waiting(&w, 1, 1, &to);
        let wakes = on_waker(&w, &to, Waker::wake);
        w.run_jobs();
        let cancelled = task.cancel();
        w.work_until(|| task.is_finished());
        match task.wait() {
            Ok(token) => {
                assert!(!cancelled);
                drop(token);
            }
            // The canceller asked the running task to stop, or gave up the waiting task.
            Err(error) => assert_eq!(error, TaskError::Cancelled),
        }
        wakes.join();
        w.r.execute(unit(w.entry(5))).unwrap();
        assert_eq!(w.finish().last(), Some(&5));
    });
}

/// The canceller comes before or while the task runs, or while the task waits.
#[test]
fn cancel_during_first_run() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to: Wakers = Mailbox::new();
        let task = submit_waiting(&w, 1, 1, &to);
        let cancels = w.spawn(move |w| {
            task.cancel();
            w.work_until(|| task.is_finished());
            assert!(matches!(task.wait(), Err(TaskError::Cancelled)));
        });
        w.run_jobs();
        cancels.join();
        drop(to);
        w.finish();
    });
}

#[test]
fn deadline_passes_during_wake_up() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to: Wakers = Mailbox::new();
        let (closure, inside) = (w.token(), Arc::clone(&to));
        let task = w.r.task().timeout(Duration::from_secs(3600));
        let task = task.submit_async(async move |log: &mut Log| {
            wait(&inside).await;
            log.push(1);
            drop(closure);
        });
        let alarm = w.bell.take().expect("an alarm is set");
        let rings = w.spawn(move |_| alarm.ring());
        w.run_jobs();
        if let Some(waker) = to.take() {
            waker.wake();
        }
        w.work_until(|| task.is_finished());
        rings.join();
        let expired = w.r.stats().expired;
        assert_eq!(task.wait().is_err(), expired == 1);
        assert_eq!(w.finish().len() as u64, 1 - expired);
    });
}

/// Without a waker, the task can never resume, so captor cancels the task. The last waker is
/// dropped before or after the task comes to wait.
#[test]
fn task_is_cancelled_when_last_waker_drops() {
    model(3, || {
        let w = World::handing_off();
        let to = Mailbox::new();
        let drops = on_waker(&w, &to, drop);
        let closure = w.token();
        let task = w.r.submit_async(async move |log: &mut Log| {
            let _closure = closure;
            poll_fn(|cx| {
                if log.entries().is_empty() {
                    log.push(1);
                    to.post(cx.waker().clone());
                }
                Poll::<()>::Pending
            })
            .await;
        });
        w.work_until(|| task.is_finished());
        drops.join();
        assert!(matches!(task.wait(), Err(TaskError::Cancelled)));
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn task_resumes_once_when_two_threads_wake() {
    model(2, || {
        let w = World::handing_off();
        let to: Wakers = Mailbox::new();
        drop(submit_waiting(&w, 1, 1, &to));
        let waker = to.wait();
        let other = waker.clone();
        let wakes = w.spawn(move |_| other.wake());
        waker.wake();
        w.work_until_gone(2);
        wakes.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// Logs its own drop: the future has the value until then.
struct Notes<'a>(&'a mut Log);

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        self.0.push(2);
    }
}

/// Submits a task that waits with a borrow of the value. The drop of the borrow uses the value.
fn submit_borrowing(w: &World, to: &Wakers) -> Completion<()> {
    let to = Arc::clone(to);
    w.r.submit_async(async move |log: &mut Log| {
        log.push(1);
        let _notes = Notes(log);
        wait(&to).await;
    })
}

/// The task is cancelled while its last waker is dropped. No other task has the value before the
/// future is dropped.
#[test]
fn future_keeps_value_when_task_is_cancelled() {
    model(2, || {
        let w = World::handing_off();
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, drop);
        let task = submit_borrowing(&w, &to);
        w.queue(5);
        task.cancel();
        w.work_until_gone(2);
        wakes.join();
        drop(task);
        assert_eq!(w.finish(), [1, 2, 5]);
    });
}

#[test]
fn future_keeps_value_during_sweep() {
    model(2, || {
        let w = World::handing_off();
        let to: Wakers = Mailbox::new();
        let task = submit_borrowing(&w, &to);
        let submits = w.spawn(|w| w.r.execute(unit(w.entry(5))).unwrap());
        w.r.cancel_pending();
        w.work_until(|| task.is_finished());
        submits.join();
        drop((to, task));
        let ran = w.finish();
        assert_eq!(ran[..2], [1, 2]);
    });
}
