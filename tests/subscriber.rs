#![cfg(not(any(captor_loom, captor_shuttle)))]
//! A `tracing` subscriber is user code that runs while a resource is held. A subscriber that uses
//! the resource, or panics, wedges nothing.

mod common;

use captor::{Dispatch, Resource, TaskError};
use common::{hold, outcome, wait_outstanding, within_deadline};
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The reaction of the subscriber to an event of a resource.
type Reaction = Box<dyn FnMut(&str) + Send>;

static REACTION: Mutex<Option<Reaction>> = Mutex::new(None);

struct Reacts;

impl<S: tracing::Subscriber> Layer<S> for Reacts {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        // The reaction is taken out while running, since reactions may cause events.
        struct PutBack(Option<Reaction>);
        impl Drop for PutBack {
            fn drop(&mut self) {
                if self.0.is_some() {
                    *lock() = self.0.take();
                }
            }
        }
        let taken = lock().take();
        if let Some(reaction) = &mut PutBack(taken).0 {
            reaction(&message.0);
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Reaction>> {
    REACTION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` while the subscriber calls `reaction` for each event.
fn with_reaction(
    reaction: impl FnMut(&str) + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) {
    static INSTALL: Once = Once::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    INSTALL.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Reacts);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    *lock() = Some(Box::new(reaction));
    within_deadline(test);
    *lock() = None;
}

fn panics_on(wanted: &'static str) -> impl FnMut(&str) + Send {
    move |message| {
        if message.contains(wanted) {
            resume_unwind(Box::new("subscriber"));
        }
    }
}

#[test]
fn subscriber_uses_resource_during_panic_event() {
    let r = Resource::new(1);
    let (visited, (send, visits)) = (r.clone(), std::sync::mpsc::channel());
    let reaction = move |message: &str| {
        if message == "task panicked" {
            send.send(visited.with(|n| *n)).unwrap();
        }
    };
    with_reaction(reaction, move || {
        let task = r.submit(|_| resume_unwind(Box::new("spilled")));
        let _: TaskError = outcome::<()>(task).unwrap_err();
        assert_eq!(visits.recv().unwrap(), Err(TaskError::WouldDeadlock));
    });
}

#[test]
fn subscriber_uses_resource_during_handoff_event() {
    let r = Resource::builder().capture_limit(1).build(0).unwrap();
    let visited = r.clone();
    let mut once = true;
    let reaction = move |message: &str| {
        if message == "hand-off" && std::mem::take(&mut once) {
            visited.with(|n| *n += 100).unwrap();
        }
    };
    with_reaction(reaction, move || {
        let held = hold(&r);
        for _ in 0..30 {
            r.execute(|n| *n += 1).unwrap();
        }
        held.release();
        assert_eq!(outcome(r.submit(|n| *n)), Ok(130));
    });
}

#[test]
fn subscriber_panics_during_panic_event() {
    with_reaction(panics_on("panicked"), || {
        for dispatch in [Dispatch::Inline, Dispatch::Pool] {
            let r = Resource::builder().dispatch(dispatch).build(1).unwrap();
            r.execute(|_| resume_unwind(Box::new("spilled"))).unwrap();
            let task = r.submit(|_| resume_unwind(Box::new("spilled")));
            let _: TaskError = outcome::<()>(task).unwrap_err();
            assert_eq!(outcome(r.submit(|n| *n)), Ok(1));
        }
    });
}

#[test]
fn subscriber_panics_during_handoff_to_waiter() {
    with_reaction(panics_on("hand-off"), || {
        let r = Resource::builder().capture_limit(1).build(1).unwrap();
        let held = hold(&r);
        let waiter = thread::spawn({
            let r = r.clone();
            move || r.with(|n| *n)
        });
        wait_outstanding(&r, 2);
        held.release();
        assert_eq!(common::join(waiter).unwrap(), Ok(1));
    });
}

/// The draining thread is inside `with`, whose task lies on its stack.
#[test]
fn subscriber_panics_while_waiter_drains() {
    with_reaction(panics_on("panicked"), || {
        let r = Resource::builder().capture_limit(1).build(1).unwrap();
        let held = hold(&r);
        let waiter = thread::spawn({
            let r = r.clone();
            move || r.with(|_| resume_unwind(Box::new("mine")))
        });
        wait_outstanding(&r, 2);
        held.release();
        let outcome: Result<(), _> = common::join(waiter).unwrap();
        assert!(matches!(outcome, Err(TaskError::Panicked(_))));
        assert_eq!(r.with(|n| *n), Ok(1));
    });
}

#[test]
fn subscriber_panics_during_refusal_event() {
    with_reaction(panics_on("refused"), || {
        let r = Resource::new(1);
        r.close();
        assert_eq!(r.with(|n| *n), Err(TaskError::Closed));
        assert!(r.execute(|n| *n += 1).is_err());
    });
}

#[test]
fn subscriber_uses_resource_during_slow_warning() {
    let r = Resource::builder().slow_task(std::time::Duration::from_nanos(1));
    let r = r.build(1).unwrap();
    let (visited, (send, visits)) = (r.clone(), std::sync::mpsc::channel());
    let reaction = move |message: &str| {
        if message.contains("for long") {
            send.send(visited.with(|n| *n)).unwrap();
        }
    };
    with_reaction(reaction, move || {
        let inside = r.clone();
        let queues = move |_: &mut i32| {
            for _ in 0..100 {
                inside.execute(|n| *n += 1).unwrap();
            }
        };
        r.execute(queues).unwrap();
        assert_eq!(outcome(r.submit(|n| *n)), Ok(101));
        assert_eq!(visits.recv().unwrap(), Err(TaskError::WouldDeadlock));
    });
}
