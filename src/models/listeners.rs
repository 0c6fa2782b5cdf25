//! Models of futures that await the close, the end or the drop of a resource while that event
//! happens.

use super::{CountedWaker, Crossing, World, block_on, model, named, poll, poll_with, unit};
use crate::future::closed::{Closed, Closing};
use crate::raw::core::{Core, Value};
use crate::sync::{Arc, StaticMutex, thread};
use std::future::Future;
use std::task::{Wake, Waker};
use std::time::Duration;

fn world() -> World {
    World::new(10, Duration::ZERO, named())
}

/// A future that is ready if the resource is closed and idle. [`Closing`] is ready once the
/// resource is closed.
trait Listens: Future<Output = ()> + Unpin + Send + 'static {
    fn to(w: &World) -> Self;
}

impl Listens for Closed {
    fn to(w: &World) -> Self {
        w.r.closed()
    }
}

impl Listens for Closing {
    fn to(w: &World) -> Self {
        w.r.closing()
    }
}

fn wakes_listener<L: Listens>(w: &World) {
    let listener = L::to(w);
    let listens = thread::spawn(move || block_on(listener));
    w.r.close();
    listens.join().unwrap();
}

#[test]
fn closing_listener_wakes_when_resource_closes() {
    model(4, || {
        let w = world();
        wakes_listener::<Closing>(&w);
        w.finish();
    });
}

#[test]
fn end_listener_wakes_when_resource_ends() {
    model(4, || {
        let w = world();
        wakes_listener::<Closed>(&w);
        w.finish();
    });
}

/// The thread that arrives first makes the list of listeners.
#[test]
fn first_listener_registers_during_close() {
    model(4, || {
        let w = World::without_limits();
        wakes_listener::<Closing>(&w);
        w.finish();
    });
    model(4, || {
        let w = World::without_limits();
        wakes_listener::<Closed>(&w);
        w.finish();
    });
}

/// A task runs, and the end comes after that task.
#[test]
fn listener_wakes_when_last_task_ends() {
    model(3, || {
        let w = world();
        let listener = w.r.closed();
        let runs = w.spawn(|w| w.r.execute(unit(w.slow_entry(1))).unwrap_or_default());
        let listens = thread::spawn(move || block_on(listener));
        w.r.close();
        runs.join();
        listens.join().unwrap();
        w.finish();
    });
}

/// The main thread drops the last handle, but the listener may hold a reference for a moment and
/// drop the last one.
#[test]
fn listener_wakes_when_last_handle_drops() {
    model(4, || {
        let w = world();
        let listener = w.r.closing();
        let crossing = Crossing::new();
        let crosses = Arc::clone(&crossing);
        let listens = thread::spawn(move || {
            crosses.pass();
            block_on(listener);
        });
        crossing.pass();
        let tally = w.drop_handle();
        listens.join().unwrap();
        assert!(tally.finish().is_empty());
    });
}

/// The listener is polled again with a second waker, which replaces the first waker.
fn changes_waker<L: Listens>() {
    model(4, || {
        let w = world();
        let mut listener = L::to(&w);
        let first = CountedWaker::new(w.token());
        assert!(poll(&mut listener, &first).is_pending());
        let second = CountedWaker::new(w.token());
        assert!(poll(&mut listener, &second).is_pending());
        drop(first);
        // The first waker is dropped at once, before the resource is closed or dropped.
        assert_eq!(w.gone(), 1, "a waker was kept");
        let closes = w.spawn(|w| w.r.close());
        block_on(&mut listener);
        closes.join();
        drop((second, listener));
        assert_eq!(w.gone(), 2, "a waker was kept");
        w.finish();
    });
}

#[test]
fn last_waker_is_woken_when_listener_moves() {
    changes_waker::<Closing>();
    changes_waker::<Closed>();
}

/// The listener is dropped, whether or not it was woken. Its waker is dropped too.
fn drops_during_close<L: Listens>() {
    model(4, || {
        let w = world();
        let waker = CountedWaker::new(w.token());
        let mut listener = L::to(&w);
        let listens = w.spawn(move |w| {
            let was_ready = poll(&mut listener, &waker).is_ready();
            drop(listener);
            // The listener is ready only if the resource is closed.
            assert!(!was_ready || w.r.is_closed());
        });
        w.r.close();
        listens.join();
        assert_eq!(w.gone(), 1, "a waker was kept");
        w.finish();
    });
}

#[test]
fn listener_drops_during_close() {
    drops_during_close::<Closing>();
    drops_during_close::<Closed>();
}

/// The first listener is dropped. The second listener is woken all the same.
fn first_of_two_drops<L: Listens>() {
    model(3, || {
        let w = world();
        let waker = CountedWaker::new(w.token());
        let (mut goes, stays) = (L::to(&w), L::to(&w));
        let goes = thread::spawn(move || {
            let _ = poll(&mut goes, &waker);
        });
        let stays = thread::spawn(move || block_on(stays));
        w.r.close();
        goes.join().unwrap();
        stays.join().unwrap();
        w.finish();
    });
}

#[test]
fn second_listener_wakes_when_first_drops() {
    first_of_two_drops::<Closing>();
    first_of_two_drops::<Closed>();
}

/// The listener is dropped while the drop of the last handle wakes the remaining listeners.
#[test]
fn listener_drops_during_drop_of_last_handle() {
    model(4, || {
        let w = world();
        let waker = CountedWaker::new(w.token());
        let mut listener = w.r.closing();
        assert!(poll(&mut listener, &waker).is_pending());
        let crossing = Crossing::new();
        let crosses = Arc::clone(&crossing);
        let goes = thread::spawn(move || {
            crosses.pass();
            drop((listener, waker));
        });
        crossing.pass();
        let tally = w.drop_handle();
        goes.join().unwrap();
        tally.finish();
    });
}

/// Polls the listener inside its waker, on the thread that wakes it, and drops the listener there.
struct PollsWhenWoken<L> {
    listener: StaticMutex<Option<L>>,
    core: Arc<Core<dyn Value>>,
}

impl<L: Listens> Wake for PollsWhenWoken<L> {
    fn wake(self: Arc<Self>) {
        assert!(self.core.is_closed());
        let mut listener = self
            .listener
            .lock()
            .unwrap()
            .take()
            .expect("the listener is woken once");
        assert!(poll_with(&mut listener, Waker::noop()).is_ready());
    }
}

fn polls_when_woken<L: Listens>() {
    model(4, || {
        let w = world();
        let looks = Arc::new(PollsWhenWoken {
            listener: StaticMutex::new(None),
            core: Arc::clone(w.r.core()) as _,
        });
        let mut listener = L::to(&w);
        assert!(poll_with(&mut listener, &Waker::from(Arc::clone(&looks))).is_pending());
        *looks.listener.lock().unwrap() = Some(listener);
        let closes = w.spawn(|w| w.r.close());
        w.r.close();
        closes.join();
        assert!(
            looks.listener.lock().unwrap().is_none(),
            "the listener was not woken"
        );
        drop(looks);
        w.finish();
    });
}

#[test]
fn listener_is_ready_when_polled_in_waker() {
    polls_when_woken::<Closing>();
    polls_when_woken::<Closed>();
}
