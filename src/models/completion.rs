//! Models of waiting for a task's outcome, by waker and by thread, while the task completes.

use super::{Mailbox, Token, World, model, pooled, unit};
use crate::sync::{Arc, AtomicUsize, Ordering, yield_now};
use crate::{Completion, TaskError};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Counts wake-ups. As with a runtime, a thread that sees the wake-up sees what came before.
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

/// Makes a resource whose tasks another thread runs.
fn pooled_world() -> World {
    World::new(1, Duration::ZERO, pooled())
}

#[test]
fn future_is_woken_when_task_completes() {
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

/// The waker that was registered last is woken. No waker is woken twice.
#[test]
fn waker_is_replaced_during_completion() {
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
fn same_waker_registers_twice_during_completion() {
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

/// The handle is dropped with a waker in place while the task completes.
#[test]
fn handle_is_dropped_during_completion() {
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

// In the models below, a thread that waits must not join another thread. loom takes a late unpark
// for the end of a join.

#[test]
fn thread_wakes_when_task_completes() {
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

/// A wait with a timeout of zero registers its waker and takes it back.
#[test]
fn wait_times_out_during_completion() {
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

/// A future polls the completion first. Then a thread waits for the completion, and the holder may
/// offer its role to that thread.
#[test]
fn blocking_wait_replaces_waker_during_drain() {
    model(2, || {
        let w = World::handing_off();
        let other = w.spawn(|w| {
            let mut c = w.r.submit(w.entry(1));
            let (_woken, waker) = Woken::new();
            match poll(&mut c, &waker) {
                Poll::Ready(outcome) => drop(outcome.unwrap()),
                Poll::Pending => drop(c.wait().unwrap()),
            }
        });
        w.r.execute(unit(w.slow_entry(2))).unwrap();
        w.queue(3);
        w.work_until_gone(6);
        other.join();
        super::ran_all(&w.finish(), &[1, 2, 3]);
    });
}

/// A thread waits for a task that another thread submitted.
#[test]
fn waiter_wakes_when_completion_changes_thread() {
    model(2, || {
        let w = World::handing_off();
        let handover = Mailbox::new();
        let waiter = w.spawn({
            let handover = Arc::clone(&handover);
            move |_| {
                let c: Completion<Token> = handover.wait();
                assert!(c.wait().is_ok());
            }
        });
        let holder = w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).unwrap());
        handover.post(w.r.submit(w.entry(2)));
        w.work_until_gone(4);
        waiter.join();
        holder.join();
        super::ran_all(&w.finish(), &[1, 2]);
    });
}
