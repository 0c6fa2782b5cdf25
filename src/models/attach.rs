//! Items that become tasks: their driver, and who works them off, cancels or refuses them.

use super::suspend::submit_waiting;
use super::{
    Call, FOREVER, Log, Mailbox, Noted, Token, WaitProbe, World, model, named, poll, pooled,
};
use crate::TaskError;
use crate::compose::attach::Attachment;
use crate::compose::in_flight::LIMIT;
use crate::raw::core::cold_state::Settings;
use crate::sync::{Arc, AtomicUsize, Ordering};
use futures_core::Stream;
use futures_sink::Sink;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How many items were worked off. Nobody sees it but by the edges that tasks and their
/// completions bring.
#[derive(Clone)]
struct Through(Arc<AtomicUsize>);

impl Through {
    fn new() -> Self {
        Through(Arc::new(AtomicUsize::new(0)))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// What is done with each item. It goes with who calls it.
    fn works(&self, w: &World) -> impl FnMut(&mut Log, Item) + Send + 'static {
        let (through, token) = (self.clone(), w.token());
        move |log, Item(n, _)| {
            let _ = &token;
            log.push(n);
            through.0.store(through.get() + 1, Ordering::Relaxed);
        }
    }
}

struct Item(u8, #[allow(dead_code)] Token);

/// A stream that is asked for an item only where that may be on its way.
struct Items {
    world: super::Tally,
    taken: usize,
    count: usize,
    limit: usize,
    through: Through,
    /// Before the last one it waits for who takes its waker.
    wakers: Option<Arc<Mailbox<Waker>>>,
    _token: Token,
}

impl Items {
    fn new(w: &World, count: usize, limit: usize, through: &Through) -> Self {
        Items {
            world: w.tally().clone(),
            taken: 0,
            count,
            limit,
            through: through.clone(),
            wakers: None,
            _token: w.token(),
        }
    }
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let under_way = self.taken - self.through.get();
        assert!(under_way < self.limit, "{under_way} are on their way");
        if self.taken + 1 == self.count {
            if let Some(wakers) = self.wakers.take() {
                wakers.post(cx.waker().clone());
                return Poll::Pending;
            }
        }
        if self.taken == self.count {
            return Poll::Ready(None);
        }
        self.taken += 1;
        let item = Item(self.taken as u8, self.world.token());
        Poll::Ready(Some(item))
    }
}

fn pooled_world() -> World {
    World::new(10, Duration::ZERO, pooled())
}

fn attach(w: &World, limit: usize, count: usize) -> (Attachment, Through) {
    let through = Through::new();
    let items = Items::new(w, count, limit, &through);
    let attached = w.r.attach_limited(limit, items, through.works(w));
    (attached, through)
}

/// How it ended.
fn end(w: &World, attached: Attachment) -> Result<u64, TaskError> {
    w.work_until(|| attached.is_finished());
    attached.wait()
}

/// Has the driver polled until it waits, and runs nothing else.
fn drive(w: &World) {
    match w.calls.take() {
        Some(Call::Job(job)) => job.run(),
        other => panic!("no job: {other:?}"),
    }
}

/// Runs jobs on another thread, as long as there are some.
fn another_worker(w: &World) -> super::Spawned {
    w.spawn(|w| w.run_jobs())
}

/// One worker works an item off while the other has the driver in hand.
fn two_workers(preemptions: usize, limit: usize, items: usize) {
    model(preemptions, move || {
        let w = pooled_world();
        let (attached, through) = attach(&w, limit, items);
        let worker = another_worker(&w);
        assert_eq!(end(&w, attached), Ok(items as u64));
        assert_eq!(through.get(), items, "it is told too early");
        worker.join();
        let expected: Vec<u8> = (1..=items as u8).collect();
        assert_eq!(w.finish(), expected);
    });
}

#[test]
fn one_at_a_time_is_on_its_way() {
    two_workers(1, 1, 2);
}

#[test]
fn two_at_a_time_are_on_their_way() {
    two_workers(1, 2, 3);
}

/// Who runs the items is a submitter that was captured, and wakes the driver.
#[test]
fn a_captured_submitter_works_them_off() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = w.spawn(|w| w.r.execute(w.slow_entry(9)).unwrap());
        let (attached, through) = attach(&w, 1, 2);
        assert_eq!(end(&w, attached), Ok(2));
        assert_eq!(through.get(), 2, "it is told too early");
        other.join();
        let mut ran = w.finish();
        ran.retain(|n| *n != 9);
        assert_eq!(ran, [1, 2]);
    });
}

/// A thread waits for the end.
#[test]
fn the_end_comes_once_the_last_is_through() {
    model(2, || {
        let w = pooled_world();
        let (attached, through) = attach(&w, 2, 1);
        let waiter = w.spawn(move |_| {
            assert_eq!(attached.wait(), Ok(1));
            assert_eq!(through.get(), 1, "it is told too early");
        });
        // The item's, the closure's, the stream's.
        w.work_until_gone(3);
        waiter.join();
        assert_eq!(w.finish(), [1]);
    });
}

/// The stream has another item while the one before it ends.
#[test]
fn an_item_comes_while_another_ends() {
    model(3, || {
        let w = pooled_world();
        let through = Through::new();
        let mut items = Items::new(&w, 2, 2, &through);
        let wakers = Mailbox::new();
        items.wakers = Some(Arc::clone(&wakers));
        let attached = w.r.attach_limited(2, items, through.works(&w));
        drive(&w);
        let waker = wakers.take().expect("it waits");
        let wakes = w.spawn(move |_| waker.wake());
        assert_eq!(end(&w, attached), Ok(2));
        assert_eq!(through.get(), 2);
        wakes.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// All that was taken from the stream is worked off, and nothing is kept.
#[test]
fn it_is_detached_while_an_item_ends() {
    model(1, || {
        let w = pooled_world();
        let (attached, through) = attach(&w, 1, 2);
        let worker = another_worker(&w);
        attached.detach();
        match end(&w, attached) {
            Ok(items) => assert_eq!(items, 2),
            Err(error) => assert_eq!(error, TaskError::Cancelled),
        }
        worker.join();
        w.run_jobs();
        let through = through.get();
        assert_eq!(w.gone(), through as u64 + 2, "something is kept");
        assert_eq!(w.finish().len(), through);
    });
}

#[test]
fn it_is_detached_while_it_ends() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = w.spawn(|w| w.r.execute(w.slow_entry(9)).unwrap());
        let (attached, _) = attach(&w, 1, 1);
        attached.detach();
        let outcome = end(&w, attached);
        assert!(matches!(outcome, Ok(1) | Err(TaskError::Cancelled)));
        other.join();
        w.run_jobs();
        // The captured one's two, the item's, if there was one, and those of the stream
        // and the closure.
        assert_eq!(w.gone(), w.r.stats().completed + 3);
        w.finish();
    });
}

/// It comes to wait for a stream that nobody wakes: it is told, before or after.
#[test]
fn it_is_detached_while_it_comes_to_wait() {
    model(3, || {
        let w = pooled_world();
        let through = Through::new();
        let mut items = Items::new(&w, 1, 1, &through);
        let wakers = Mailbox::new();
        items.wakers = Some(Arc::clone(&wakers));
        let attached = w.r.attach_limited(1, items, through.works(&w));
        let worker = another_worker(&w);
        attached.detach();
        assert_eq!(end(&w, attached), Err(TaskError::Cancelled));
        worker.join();
        drop(wakers);
        assert!(w.finish().is_empty());
    });
}

/// The driver waits for room, with the stream not asked. What was accepted is worked off.
#[test]
fn it_is_closed_while_an_item_ends() {
    model(2, || {
        let w = pooled_world();
        let (attached, through) = attach(&w, 1, 2);
        drive(&w);
        let worker = another_worker(&w);
        w.r.close();
        match end(&w, attached) {
            Ok(items) => assert_eq!(items, 2),
            Err(error) => assert_eq!(error, TaskError::Closed),
        }
        worker.join();
        w.run_jobs();
        assert_eq!(w.finish().len(), through.get());
    });
}

/// Held back, it is told that its resource is closed, though no item ends.
#[test]
fn it_is_closed_while_it_is_held_back() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let to = Mailbox::new();
        let held = submit_waiting(&w, 8, 1, &to);
        let closes = w.spawn(|w| w.r.close());
        let (attached, _) = attach(&w, 1, 2);
        assert_eq!(end(&w, attached), Err(TaskError::Closed));
        closes.join();
        to.wait().wake();
        w.work_until(|| held.is_finished());
        drop(held);
        w.finish();
    });
}

#[test]
fn the_last_handle_goes_while_it_waits() {
    model(3, || {
        let w = pooled_world();
        let wakers = Mailbox::new();
        let through = Through::new();
        let mut items = Items::new(&w, 1, 1, &through);
        items.wakers = Some(Arc::clone(&wakers));
        let attached = w.r.attach_limited(1, items, through.works(&w));
        w.run_jobs();
        let wakes = {
            let waker = wakers.take().expect("it waits");
            crate::sync::thread::spawn(move || waker.wake())
        };
        let tally = w.part();
        tally.work_until(|| attached.is_finished());
        let outcome = attached.wait();
        assert!(matches!(outcome, Ok(1) | Err(TaskError::Closed)));
        wakes.join().unwrap();
        tally.run_jobs();
        assert_eq!(tally.finish().len(), usize::from(outcome.is_ok()));
    });
}

/// Items are taken back out of the queue while the driver looks after them.
#[test]
fn an_item_is_swept() {
    model(2, || {
        let w = pooled_world();
        let (attached, through) = attach(&w, 1, 2);
        drive(&w);
        let sweeper = w.spawn(|w| w.r.cancel_pending());
        let outcome = end(&w, attached);
        let swept = sweeper.join();
        assert_eq!(outcome == Err(TaskError::Cancelled), swept > 0);
        w.run_jobs();
        assert_eq!(w.finish().len(), through.get());
    });
}

/// It waits for room in the queue, too, and leaves the line where it is detached.
#[test]
fn it_is_detached_while_room_comes_back() {
    model(3, || {
        let w = World::new(
            10,
            FOREVER,
            Settings {
                capacity: Some(1),
                ..named()
            },
        );
        let permit = w.r.try_reserve().unwrap();
        let (attached, through) = attach(&w, 1, 1);
        let gives = w.spawn(move |_| drop(permit));
        attached.detach();
        let outcome = end(&w, attached);
        gives.join();
        w.run_jobs();
        assert_eq!(outcome.is_ok(), through.get() == 1);
        assert!(w.r.try_reserve().is_ok(), "room is lost");
        w.finish();
    });
}

/// Another thread has the resource, and works off what is sent meanwhile.
fn captured_by(w: &World) -> super::Spawned {
    w.spawn(|w| {
        let _ = w.r.execute(w.slow_entry(9));
    })
}

fn send<S: Sink<Item, Error = TaskError> + Unpin>(
    w: &World,
    waits: &WaitProbe,
    sink: &mut S,
    n: u8,
) -> Result<(), TaskError> {
    waits.block_on(poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)), || {
        w.run_jobs()
    })?;
    Pin::new(sink).start_send(Item(n, w.token()))
}

/// What was sent waits behind a task that is woken just then.
#[test]
fn a_sink_is_not_ready_while_too_many_are_on_their_way() {
    model(2, || {
        let w = World::new(10, FOREVER, named());
        let (to, through, waits) = (Mailbox::new(), Through::new(), WaitProbe::new());
        drop(submit_waiting(&w, 8, 1, &to));
        let mut sink = w.r.sink(through.works(&w));
        let waker = to.wait();
        let wakes = w.spawn(move |_| waker.wake());
        for n in 1..=LIMIT as u8 + 1 {
            send(&w, &waits, &mut sink, n).unwrap();
            assert!(usize::from(n) - through.get() <= LIMIT, "too many");
        }
        let closed = poll_fn(|cx| Pin::new(&mut sink).poll_close(cx));
        waits.block_on(closed, || w.run_jobs()).unwrap();
        assert_eq!(through.get(), LIMIT + 1, "it is told too early");
        drop(sink);
        wakes.join();
        assert_eq!(w.finish(), [8, 9, 1, 2, 3]);
    });
}

/// It may be ready while a captured thread works off what was sent.
#[test]
fn a_sink_is_filled_while_it_is_emptied() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = captured_by(&w);
        let (through, waits) = (Through::new(), WaitProbe::new());
        let mut sink = w.r.sink(through.works(&w));
        for n in 1..=LIMIT as u8 + 1 {
            send(&w, &waits, &mut sink, n).unwrap();
        }
        let closed = poll_fn(|cx| Pin::new(&mut sink).poll_close(cx));
        waits.block_on(closed, || w.run_jobs()).unwrap();
        assert_eq!(through.get(), LIMIT + 1, "it is told too early");
        drop(sink);
        other.join();
        w.finish();
    });
}

/// Nobody listens any more: what was sent is worked off all the same.
#[test]
fn a_sink_goes_while_it_waits() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = captured_by(&w);
        let through = Through::new();
        let waits = WaitProbe::new();
        let mut sink = w.r.sink(through.works(&w));
        send(&w, &waits, &mut sink, 1).unwrap();
        let waker = Noted::new(w.token());
        let flushed = poll(
            &mut poll_fn(|cx| Pin::new(&mut sink).poll_flush(cx)),
            &waker,
        );
        drop((sink, waker));
        other.join();
        assert!(flushed.is_pending() || through.get() == 1);
        // The waker's, the item's, the closure's, and two of the other's.
        assert_eq!(w.gone(), 5, "something is kept");
        assert_eq!(w.finish().len(), 2);
    });
}

#[test]
fn it_is_closed_while_a_sink_waits() {
    model(2, || {
        let w = World::new(10, FOREVER, named());
        let other = captured_by(&w);
        let closes = w.spawn(|w| w.r.close());
        let through = Through::new();
        let waits = WaitProbe::new();
        let mut sink = w.r.sink(through.works(&w));
        let sent: Vec<_> = (1..=2).map(|n| send(&w, &waits, &mut sink, n)).collect();
        let flushed = poll_fn(|cx| Pin::new(&mut sink).poll_flush(cx));
        let flushed = waits.block_on(flushed, || w.run_jobs());
        for outcome in sent.iter().chain([&flushed]) {
            assert!(matches!(outcome, Ok(()) | Err(TaskError::Closed)));
        }
        drop(sink);
        other.join();
        closes.join();
        w.finish();
    });
}
