//! A task that waits and keeps the resource, and those who wake it, cancel it, or
//! let go of the last waker.

use super::{Log, Mailbox, Token, World, model, named, pooled, ran_all};
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

/// Waits to be woken, once, by whoever takes the waker from `to`.
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

/// A task that notes `n`, waits `waits` times, and notes `n + 1`.
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

/// Nothing runs between a task's two halves.
fn undivided(ran: &[u8], n: u8) {
    let at = ran.iter().position(|r| *r == n).expect("it began");
    assert_eq!(ran.get(at + 1), Some(&(n + 1)), "{ran:?}");
}

/// A thread that takes a waker, and does this with it.
fn on_waker(w: &World, to: &Wakers, f: impl FnOnce(Waker) + Send + 'static) -> super::Spawned {
    let to = Arc::clone(to);
    w.spawn(move |_| f(to.wait()))
}

#[test]
fn waking_races_with_parking() {
    model(3, || {
        let w = World::restless();
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
fn what_is_submitted_meanwhile_runs_after() {
    model(2, || {
        let w = World::restless();
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, Waker::wake);
        drop(submit_waiting(&w, 1, 1, &to));
        w.queue(5);
        w.r.execute(w.entry(6)).unwrap();
        w.work_until_gone(6);
        wakes.join();
        assert_eq!(w.finish(), [1, 2, 5, 6]);
    });
}

#[test]
fn another_thread_submits_meanwhile() {
    model(1, || {
        let w = World::restless();
        let to = Mailbox::new();
        let wakes = on_waker(&w, &to, Waker::wake);
        let submitter = w.spawn(|w| w.r.execute(w.entry(5)).unwrap());
        drop(submit_waiting(&w, 1, 1, &to));
        w.work_until_gone(4);
        wakes.join();
        submitter.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 5]);
        undivided(&ran, 1);
    });
}

/// Another takes the idle word while the task runs in the lane, and gives it back while
/// the task comes to keep the role for longer than the lane is for. It does not give away
/// what is the task's by then.
#[test]
fn another_thread_queues_while_it_leaves_the_lane() {
    model(3, || {
        let w = World::restless();
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
        undivided(&ran, 1);
    });
}

/// What was done before it was woken is seen by the task when it goes on, also where
/// it goes on by itself.
#[test]
fn the_task_sees_what_was_done_before_it_was_woken() {
    model(3, || {
        let w = World::restless();
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
            panic!("it is open")
        };
        w.work_until(|| handle.is_complete());
        assert!(handle.take().is_ok());
        wakes.join();
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn a_task_waits_again() {
    model(2, || {
        let w = World::restless();
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

/// Who is too late wakes nobody: neither the task again, nor the next that waits.
#[test]
fn a_waker_outlives_its_wait() {
    model(2, || {
        let w = World::restless();
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
                "it was not for this one"
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

/// A thread waits for a task behind the one that is suspended.
#[test]
fn a_waiter_behind_a_suspended_task_is_served() {
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
        undivided(&ran, 1);
    });
}

/// A sweep meets the task where it waits, on its way back, or asks it to stop.
#[test]
fn a_sweep_races_with_waking() {
    model(3, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to = Mailbox::new();
        let task = submit_waiting(&w, 1, 1, &to);
        let wakes = on_waker(&w, &to, Waker::wake);
        w.run_jobs();
        w.r.execute(w.entry(5)).unwrap();
        w.r.cancel_pending();
        w.work_until(|| task.is_finished());
        wakes.join();
        drop(task);
        w.finish();
    });
}

/// And while it runs, and comes to wait.
#[test]
fn a_sweep_races_with_its_first_run() {
    model(2, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to: Wakers = Mailbox::new();
        let task = submit_waiting(&w, 1, 1, &to);
        let sweeps = w.spawn(|w| {
            w.r.cancel_pending();
        });
        w.run_jobs();
        sweeps.join();
        // It was swept before it ran, asked while it did, or swept where it waits.
        w.work_until(|| task.is_finished());
        assert!(matches!(task.wait(), Err(TaskError::Cancelled)));
        drop(to);
        w.finish();
    });
}

/// And while its submitter, who ran it, leaves it to wait: it has begun, so it is met.
#[test]
fn a_sweep_meets_one_that_was_begun_by_its_submitter() {
    model(3, || {
        let w = World::restless();
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
fn cancelling_races_with_waking() {
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
            // It was asked while it ran, or given up where it waits.
            Err(error) => assert_eq!(error, TaskError::Cancelled),
        }
        wakes.join();
        w.r.execute(w.entry(5)).unwrap();
        assert_eq!(w.finish().last(), Some(&5));
    });
}

/// The one who cancels comes while it runs, and it never comes to wait then.
#[test]
fn cancelling_races_with_its_first_run() {
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
fn a_deadline_races_with_waking() {
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

/// With the last waker goes the last hope: the task is given up, whether the waker
/// goes before it waits or after.
#[test]
fn the_last_waker_is_dropped() {
    model(3, || {
        let w = World::restless();
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
fn two_wake_at_once() {
    model(2, || {
        let w = World::restless();
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

/// Notes in the log that it is dropped: the value is its future's until then.
struct Notes<'a>(&'a mut Log);

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        self.0.push(2);
    }
}

/// A task that waits with a borrow in hand, whose drop uses it.
fn submit_borrowing(w: &World, to: &Wakers) -> Completion<()> {
    let to = Arc::clone(to);
    w.r.submit_async(async move |log: &mut Log| {
        log.push(1);
        let _notes = Notes(log);
        wait(&to).await;
    })
}

/// Cancelled while it is woken: nobody else has the value before its future is gone.
#[test]
fn the_value_is_its_futures_until_that_is_gone() {
    model(2, || {
        let w = World::restless();
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
fn the_value_is_its_futures_also_in_a_sweep() {
    model(2, || {
        let w = World::restless();
        let to: Wakers = Mailbox::new();
        let task = submit_borrowing(&w, &to);
        let submits = w.spawn(|w| w.r.execute(w.entry(5)).unwrap());
        w.r.cancel_pending();
        w.work_until(|| task.is_finished());
        submits.join();
        drop((to, task));
        let ran = w.finish();
        assert_eq!(ran[..2], [1, 2]);
    });
}
