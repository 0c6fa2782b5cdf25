//! Waiting for a task's outcome, by waker and by thread, while it completes.

use super::{Mailbox, Token, World, model, pooled};
use crate::sync::{Arc, AtomicUsize, Ordering, yield_now};
use crate::{Completion, TaskError};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// How often a waker was woken. Who sees that sees what came before it, which
/// is what a runtime brings about.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Woken {
    fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        (Arc::clone(&woken), Waker::from(woken))
    }

    fn wait(&self) {
        while self.0.load(Ordering::Acquire) == 0 {
            yield_now();
        }
    }
}

fn poll(c: &mut Completion<Token>, waker: &Waker) -> Poll<Result<Token, TaskError>> {
    Pin::new(c).poll(&mut Context::from_waker(waker))
}

/// Another thread runs what is submitted to it.
fn pooled_world() -> World {
    World::new(1, Duration::ZERO, pooled())
}

#[test]
fn a_future_is_woken_or_ready() {
    model(3, || {
        let w = pooled_world();
        let worker = w.spawn(|w| w.work_until_gone(1));
        let mut c = w.r.submit(w.entry(1));
        let (woken, waker) = Woken::new();
        if poll(&mut c, &waker).is_pending() {
            woken.wait();
            assert!(matches!(poll(&mut c, &waker), Poll::Ready(Ok(_))));
        }
        worker.join();
        assert_eq!(w.finish(), [1]);
    });
}

/// The one that was given last is woken, and none twice.
#[test]
fn a_waker_is_replaced_while_the_task_completes() {
    model(3, || {
        let w = pooled_world();
        let worker = w.spawn(|w| w.work_until_gone(1));
        let mut c = w.r.submit(w.entry(1));
        let (first, waker) = Woken::new();
        let (second, replacement) = Woken::new();
        if poll(&mut c, &waker).is_pending() && poll(&mut c, &replacement).is_pending() {
            second.wait();
            assert!(matches!(poll(&mut c, &replacement), Poll::Ready(Ok(_))));
        }
        worker.join();
        for woken in [first, second] {
            assert!(woken.0.load(Ordering::Relaxed) <= 1);
        }
        assert_eq!(w.finish(), [1]);
    });
}

#[test]
fn the_same_waker_is_given_twice() {
    model(3, || {
        let w = pooled_world();
        let worker = w.spawn(|w| w.work_until_gone(1));
        let mut c = w.r.submit(w.entry(1));
        let (woken, waker) = Woken::new();
        if poll(&mut c, &waker).is_pending() && poll(&mut c, &waker).is_pending() {
            woken.wait();
            assert!(matches!(poll(&mut c, &waker), Poll::Ready(Ok(_))));
        }
        worker.join();
        assert_eq!(w.finish(), [1]);
    });
}

/// The handle goes, with a waker in place, while the task completes.
#[test]
fn a_completion_is_dropped_while_the_task_completes() {
    model(3, || {
        let w = pooled_world();
        let worker = w.spawn(|w| w.work_until_gone(2));
        let mut c = w.r.submit(w.entry(1));
        let (_woken, waker) = Woken::new();
        let _ = poll(&mut c, &waker);
        drop(c);
        worker.join();
        assert_eq!(w.finish(), [1]);
    });
}

// The thread that waits is one that nobody joins with a wake-up still on its
// way: loom takes an unpark for the end of a join.

#[test]
fn a_thread_waits_for_a_task_that_completes() {
    model(3, || {
        let w = pooled_world();
        let waiter = w.spawn(|w| {
            drop(w.r.with(w.entry(1)).unwrap());
            drop(w.r.submit(w.entry(2)).wait().unwrap());
        });
        w.work_until_gone(4);
        waiter.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// A wait that is over at once registers and takes its waker back.
#[test]
fn a_thread_gives_up_while_the_task_completes() {
    model(3, || {
        let w = pooled_world();
        let waiter = w.spawn(
            |w| match w.r.submit(w.entry(1)).wait_timeout(Duration::ZERO) {
                Ok(outcome) => drop(outcome.unwrap()),
                Err(c) => drop(c.wait().unwrap()),
            },
        );
        w.work_until_gone(2);
        waiter.join();
        assert_eq!(w.finish(), [1]);
    });
}

/// Polled by a future, then waited for by a thread that may be lent the role.
#[test]
fn a_thread_takes_over_from_a_waker() {
    model(2, || {
        let w = World::restless();
        let other = w.spawn(|w| {
            let mut c = w.r.submit(w.entry(1));
            let (_woken, waker) = Woken::new();
            match poll(&mut c, &waker) {
                Poll::Ready(outcome) => drop(outcome.unwrap()),
                Poll::Pending => drop(c.wait().unwrap()),
            }
        });
        w.r.execute(w.slow_entry(2)).unwrap();
        w.queue(3);
        w.work_until_gone(6);
        other.join();
        super::ran_all(&w.finish(), &[1, 2, 3]);
    });
}

/// One thread waits for a task that another submitted.
#[test]
fn a_completion_moves_to_another_thread() {
    model(2, || {
        let w = World::restless();
        let handover = Mailbox::new();
        let waiter = w.spawn({
            let handover = Arc::clone(&handover);
            move |_| {
                let c: Completion<Token> = handover.wait();
                assert!(c.wait().is_ok());
            }
        });
        let holder = w.spawn(|w| w.r.execute(w.slow_entry(1)).unwrap());
        handover.post(w.r.submit(w.entry(2)));
        w.work_until_gone(4);
        waiter.join();
        holder.join();
        super::ran_all(&w.finish(), &[1, 2]);
    });
}
