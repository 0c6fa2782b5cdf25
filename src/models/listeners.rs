//! Those who await that a resource closes, goes, or ends, while it does.

use super::{Crossing, Noted, World, block_on, model, named, poll, poll_with};
use crate::future::closed::{Closed, Closing};
use crate::raw::core::{Core, Value};
use crate::sync::{Arc, StaticMutex, thread};
use std::future::Future;
use std::task::{Wake, Waker};
use std::time::Duration;

fn world() -> World {
    World::new(10, Duration::ZERO, named())
}

/// A future that is ready once the resource is closed, and idle.
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

fn closing_reaches<L: Listens>(w: &World) {
    let listener = L::to(w);
    let listens = thread::spawn(move || block_on(listener));
    w.r.close();
    listens.join().unwrap();
}

#[test]
fn closing_reaches_who_listens_for_it() {
    model(4, || {
        let w = world();
        closing_reaches::<Closing>(&w);
        w.finish();
    });
}

#[test]
fn the_end_reaches_who_listens_for_it() {
    model(4, || {
        let w = world();
        closing_reaches::<Closed>(&w);
        w.finish();
    });
}

/// What they are listed in is made by who comes first.
#[test]
fn the_first_who_listens_and_who_closes() {
    model(4, || {
        let w = World::calm();
        closing_reaches::<Closing>(&w);
        w.finish();
    });
    model(4, || {
        let w = World::calm();
        closing_reaches::<Closed>(&w);
        w.finish();
    });
}

/// Under way is a task, after which the end comes.
#[test]
fn the_last_task_ends_while_one_listens() {
    model(3, || {
        let w = world();
        let listener = w.r.closed();
        let runs = w.spawn(|w| w.r.execute(w.slow_entry(1)).unwrap_or_default());
        let listens = thread::spawn(move || block_on(listener));
        w.r.close();
        runs.join();
        listens.join().unwrap();
        w.finish();
    });
}

/// The last handle goes, maybe that of the listener itself, for a moment.
#[test]
fn the_last_handle_goes_while_one_listens() {
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
        let tally = w.part();
        listens.join().unwrap();
        assert!(tally.finish().is_empty());
    });
}

/// It polls again with another waker: that is the one that counts.
fn another_waker<L: Listens>() {
    model(4, || {
        let w = world();
        let mut listener = L::to(&w);
        let first = Noted::new(w.token());
        assert!(poll(&mut listener, &first).is_pending());
        let second = Noted::new(w.token());
        assert!(poll(&mut listener, &second).is_pending());
        drop(first);
        // Not only once it is closed, or gone.
        assert_eq!(w.gone(), 1, "a waker is kept");
        let closes = w.spawn(|w| w.r.close());
        block_on(&mut listener);
        closes.join();
        drop((second, listener));
        assert_eq!(w.gone(), 2, "a waker is kept");
        w.finish();
    });
}

#[test]
fn who_listens_moves_to_another_task() {
    another_waker::<Closing>();
    another_waker::<Closed>();
}

/// It goes, and its waker with it, whether or not it was told.
fn goes<L: Listens>() {
    model(4, || {
        let w = world();
        let waker = Noted::new(w.token());
        let mut listener = L::to(&w);
        let listens = w.spawn(move |w| {
            let was_ready = poll(&mut listener, &waker).is_ready();
            drop(listener);
            // It may only be told while it listens, or be about to be told.
            assert!(!was_ready || w.r.is_closed());
        });
        w.r.close();
        listens.join();
        assert_eq!(w.gone(), 1, "a waker is kept");
        w.finish();
    });
}

#[test]
fn who_listens_goes_while_it_closes() {
    goes::<Closing>();
    goes::<Closed>();
}

/// One of two goes: the other is told all the same.
fn one_of_two_goes<L: Listens>() {
    model(3, || {
        let w = world();
        let waker = Noted::new(w.token());
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
fn one_who_listens_goes_and_another_stays() {
    one_of_two_goes::<Closing>();
    one_of_two_goes::<Closed>();
}

/// It goes while the last handle does, which tells those who are left.
#[test]
fn who_listens_goes_while_the_last_handle_does() {
    model(4, || {
        let w = world();
        let waker = Noted::new(w.token());
        let mut listener = w.r.closing();
        assert!(poll(&mut listener, &waker).is_pending());
        let crossing = Crossing::new();
        let crosses = Arc::clone(&crossing);
        let goes = thread::spawn(move || {
            crosses.pass();
            drop((listener, waker));
        });
        crossing.pass();
        let tally = w.part();
        goes.join().unwrap();
        tally.finish();
    });
}

/// Looks as soon as it is told, on the thread that tells it, and goes there.
struct Looks<L> {
    listener: StaticMutex<Option<L>>,
    core: Arc<Core<dyn Value>>,
}

impl<L: Listens> Wake for Looks<L> {
    fn wake(self: Arc<Self>) {
        assert!(self.core.is_closed());
        let mut listener = self.listener.lock().unwrap().take().expect("told once");
        assert!(poll_with(&mut listener, Waker::noop()).is_ready());
    }
}

fn looks_at_once<L: Listens>() {
    model(4, || {
        let w = world();
        let looks = Arc::new(Looks {
            listener: StaticMutex::new(None),
            core: Arc::clone(w.r.core()) as _,
        });
        let mut listener = L::to(&w);
        assert!(poll_with(&mut listener, &Waker::from(Arc::clone(&looks))).is_pending());
        *looks.listener.lock().unwrap() = Some(listener);
        let closes = w.spawn(|w| w.r.close());
        w.r.close();
        closes.join();
        assert!(looks.listener.lock().unwrap().is_none(), "it was not told");
        drop(looks);
        w.finish();
    });
}

#[test]
fn who_is_told_looks_at_once() {
    looks_at_once::<Closing>();
    looks_at_once::<Closed>();
}
