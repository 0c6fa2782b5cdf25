//! A task that waits and keeps the resource, and the one who resumes it.

use super::{Mailbox, Token, World, model, named, pooled, ran_all};
use crate::raw::attributes::Tag;
use crate::raw::handle::Handle;
use crate::raw::submit::Entry;
use crate::raw::suspend::{Resumer, Step, suspend};
use crate::raw::task::Steps;
use crate::sync::{Arc, AtomicUsize, Ordering};
use std::time::Duration;

/// Queues a task that notes `n`, waits `waits` times, and notes `n + 1`. Its
/// resumers go to `to`.
fn queue_waiting(w: &World, n: u8, waits: usize, to: &Arc<Mailbox<Resumer>>) -> Handle<Token> {
    let (closure, result) = (w.token(), w.token());
    let to = Arc::clone(to);
    let mut parts = Some((closure, result));
    let mut left = waits;
    let body = move |log: &mut super::Log| {
        if left == waits {
            log.push(n);
        }
        if left > 0 {
            left -= 1;
            let (suspension, resumer) = suspend();
            to.post(resumer);
            return Step::Wait(suspension);
        }
        log.push(n + 1);
        let (closure, result) = parts.take().expect("it ends once");
        drop(closure);
        Step::Done(result)
    };
    match w
        .r
        .core()
        .queue_body(Steps(body), Tag::default(), Entry::Bounded)
    {
        Ok(handle) => handle,
        Err((error, _)) => panic!("{error}"),
    }
}

/// Nothing runs between a task's two halves.
fn undivided(ran: &[u8], n: u8) {
    let at = ran.iter().position(|r| *r == n).expect("it began");
    assert_eq!(ran.get(at + 1), Some(&(n + 1)), "{ran:?}");
}

#[test]
fn resuming_races_with_parking() {
    model(3, || {
        let w = World::restless();
        let to = Mailbox::<Resumer>::new();
        let resumer = w.spawn({
            let to = Arc::clone(&to);
            move |_| to.wait().resume()
        });
        let handle = queue_waiting(&w, 1, 1, &to);
        w.work_until_gone(1);
        resumer.join();
        drop(handle);
        assert_eq!(w.finish(), [1, 2]);
    });
}

#[test]
fn what_is_submitted_meanwhile_runs_after() {
    model(2, || {
        let w = World::restless();
        let to = Mailbox::<Resumer>::new();
        let resumer = w.spawn({
            let to = Arc::clone(&to);
            move |_| to.wait().resume()
        });
        drop(queue_waiting(&w, 1, 1, &to));
        w.queue(5);
        w.r.execute(w.entry(6)).unwrap();
        w.work_until_gone(6);
        resumer.join();
        assert_eq!(w.finish(), [1, 2, 5, 6]);
    });
}

#[test]
fn another_thread_submits_meanwhile() {
    model(1, || {
        let w = World::restless();
        let to = Mailbox::<Resumer>::new();
        let resumer = w.spawn({
            let to = Arc::clone(&to);
            move |_| to.wait().resume()
        });
        let submitter = w.spawn(|w| w.r.execute(w.entry(5)).unwrap());
        drop(queue_waiting(&w, 1, 1, &to));
        w.work_until_gone(4);
        resumer.join();
        submitter.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 5]);
        undivided(&ran, 1);
    });
}

/// What the resumer did before is seen by the task when it goes on, also where
/// the task goes on by itself.
#[test]
fn the_task_sees_what_its_resumer_did() {
    model(3, || {
        let w = World::restless();
        let to = Mailbox::<Resumer>::new();
        let news = Arc::new(AtomicUsize::new(0));
        let resumer = w.spawn({
            let (to, news) = (Arc::clone(&to), Arc::clone(&news));
            move |_| {
                let resumer: Resumer = to.wait();
                news.store(1, Ordering::Relaxed);
                resumer.resume();
            }
        });
        let mut waited = false;
        let body = move |log: &mut super::Log| {
            if !std::mem::replace(&mut waited, true) {
                let (suspension, resumer) = suspend();
                to.post(resumer);
                return Step::Wait(suspension);
            }
            assert_eq!(news.load(Ordering::Relaxed), 1);
            log.push(1);
            Step::Done(())
        };
        let queued =
            w.r.core()
                .queue_body(Steps(body), Tag::default(), Entry::Bounded);
        let Ok(handle) = queued else {
            panic!("it is open")
        };
        w.work_until(|| handle.is_complete());
        assert!(handle.take().is_ok());
        resumer.join();
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn a_task_waits_again() {
    model(2, || {
        let w = World::restless();
        let to = Mailbox::<Resumer>::new();
        let resumer = w.spawn({
            let to = Arc::clone(&to);
            move |_| {
                to.wait().resume();
                to.wait().resume();
            }
        });
        drop(queue_waiting(&w, 1, 2, &to));
        w.work_until_gone(2);
        resumer.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// A thread waits for a task behind the one that is suspended.
#[test]
fn a_waiter_behind_a_suspended_task_is_served() {
    model(1, || {
        let w = World::served(named());
        let to = Mailbox::<Resumer>::new();
        let resumer = w.spawn({
            let to = Arc::clone(&to);
            move |_| to.wait().resume()
        });
        let waiter = w.spawn(|w| drop(w.r.with(w.entry(5)).unwrap()));
        drop(queue_waiting(&w, 1, 1, &to));
        w.serve(2);
        resumer.join();
        waiter.join();
        let ran = w.finish();
        ran_all(&ran, &[1, 2, 5]);
        undivided(&ran, 1);
    });
}

/// A sweep takes out what is queued behind a task that waits; and it may meet
/// the task itself, on its way back.
#[test]
fn a_sweep_races_with_resuming() {
    model(3, || {
        let w = World::new(1, Duration::ZERO, pooled());
        let to = Mailbox::<Resumer>::new();
        let handle = queue_waiting(&w, 1, 1, &to);
        // It has begun, so that there is something to resume.
        w.run_jobs();
        let resumer = w.spawn({
            let to = Arc::clone(&to);
            move |_| to.wait().resume()
        });
        w.r.execute(w.entry(5)).unwrap();
        w.r.cancel_pending();
        w.work_until(|| handle.is_complete());
        resumer.join();
        drop(handle);
        w.finish();
    });
}
