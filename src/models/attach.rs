//! Models of attachments and sinks, whose items become tasks. Other threads run, cancel or refuse
//! those tasks while the driver waits for them.

use super::suspend::submit_waiting;
use super::{
    Call, CountedWaker, FOREVER, Log, Mailbox, Token, WaitProbe, World, model, named, poll, pooled,
    unit,
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

/// Counts the items that have run. The steps are relaxed, so a thread sees the count only by the
/// edges that tasks and their completions bring.
#[derive(Clone)]
struct Processed(Arc<AtomicUsize>);

impl Processed {
    fn new() -> Self {
        Processed(Arc::new(AtomicUsize::new(0)))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the closure that runs for each item. The closure owns a token.
    fn closure(&self, w: &World) -> impl FnMut(&mut Log, Item) + Send + 'static {
        let (processed, token) = (self.clone(), w.token());
        move |log, Item(n, _)| {
            let _ = &token;
            log.push(n);
            processed.0.store(processed.get() + 1, Ordering::Relaxed);
        }
    }
}

struct Item(u8, #[allow(dead_code)] Token);

/// A stream that asserts that it is polled only while one more item may be in flight.
struct Items {
    world: super::Tally,
    taken: usize,
    count: usize,
    limit: usize,
    processed: Processed,
    /// If set, the stream posts its waker here and is pending once, before its last item.
    wakers: Option<Arc<Mailbox<Waker>>>,
    _token: Token,
}

impl Items {
    fn new(w: &World, count: usize, limit: usize, processed: &Processed) -> Self {
        Items {
            world: w.tally().clone(),
            taken: 0,
            count,
            limit,
            processed: processed.clone(),
            wakers: None,
            _token: w.token(),
        }
    }
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let under_way = self.taken - self.processed.get();
        assert!(under_way < self.limit, "{under_way} items are in flight");
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

fn attach(w: &World, limit: usize, count: usize) -> (Attachment, Processed) {
    let processed = Processed::new();
    let items = Items::new(w, count, limit, &processed);
    let attached = w.r.attach_limited(limit, items, processed.closure(w));
    (attached, processed)
}

/// Runs jobs until the attachment has ended, and returns its outcome.
fn end(w: &World, attached: Attachment) -> Result<u64, TaskError> {
    w.work_until(|| attached.is_finished());
    attached.wait()
}

/// Runs the driver's job until the driver waits, and no other job.
fn drive(w: &World) {
    match w.calls.take() {
        Some(Call::Job(job)) => job.run(),
        other => panic!("no job is queued: {other:?}"),
    }
}

/// Runs the queued jobs on another thread.
fn another_worker(w: &World) -> super::Spawned {
    w.spawn(|w| w.run_jobs())
}

/// One worker runs an item while the other worker polls the driver.
fn two_workers(preemptions: usize, limit: usize, items: usize) {
    model(preemptions, move || {
        let w = pooled_world();
        let (attached, processed) = attach(&w, limit, items);
        let worker = another_worker(&w);
        assert_eq!(end(&w, attached), Ok(items as u64));
        assert_eq!(processed.get(), items, "resolved before the last item ran");
        worker.join();
        let expected: Vec<u8> = (1..=items as u8).collect();
        assert_eq!(w.finish(), expected);
    });
}

#[test]
fn in_flight_limit_holds_when_limit_is_1() {
    two_workers(1, 1, 2);
}

#[test]
fn in_flight_limit_holds_when_limit_is_2() {
    two_workers(1, 2, 3);
}

/// A captured submitter runs the items and wakes the driver.
#[test]
fn items_run_when_submitter_is_captured() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = w.spawn(|w| w.r.execute(unit(w.slow_entry(9))).unwrap());
        let (attached, processed) = attach(&w, 1, 2);
        assert_eq!(end(&w, attached), Ok(2));
        assert_eq!(processed.get(), 2, "resolved before the last item ran");
        other.join();
        let mut ran = w.finish();
        ran.retain(|n| *n != 9);
        assert_eq!(ran, [1, 2]);
    });
}

/// A thread blocks until the attachment ends.
#[test]
fn attach_resolves_when_last_item_has_run() {
    model(2, || {
        let w = pooled_world();
        let (attached, processed) = attach(&w, 2, 1);
        let waiter = w.spawn(move |_| {
            assert_eq!(attached.wait(), Ok(1));
            assert_eq!(processed.get(), 1, "resolved before the last item ran");
        });
        // The tokens of the item, the closure and the stream.
        w.work_until_gone(3);
        waiter.join();
        assert_eq!(w.finish(), [1]);
    });
}

/// The stream yields a second item while the task of the first item ends.
#[test]
fn stream_wakes_driver_during_end_of_item() {
    model(3, || {
        let w = pooled_world();
        let processed = Processed::new();
        let mut items = Items::new(&w, 2, 2, &processed);
        let wakers = Mailbox::new();
        items.wakers = Some(Arc::clone(&wakers));
        let attached = w.r.attach_limited(2, items, processed.closure(&w));
        drive(&w);
        let waker = wakers.take().expect("the stream is pending");
        let wakes = w.spawn(move |_| waker.wake());
        assert_eq!(end(&w, attached), Ok(2));
        assert_eq!(processed.get(), 2);
        wakes.join();
        assert_eq!(w.finish(), [1, 2]);
    });
}

/// All items that were taken from the stream run, and no token is kept.
#[test]
fn detach_during_end_of_item() {
    model(1, || {
        let w = pooled_world();
        let (attached, processed) = attach(&w, 1, 2);
        let worker = another_worker(&w);
        attached.detach();
        match end(&w, attached) {
            Ok(items) => assert_eq!(items, 2),
            Err(error) => assert_eq!(error, TaskError::Cancelled),
        }
        worker.join();
        w.run_jobs();
        let processed = processed.get();
        assert_eq!(w.gone(), processed as u64 + 2, "a token was kept");
        assert_eq!(w.finish().len(), processed);
    });
}

#[test]
fn detach_during_end_of_attachment() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = w.spawn(|w| w.r.execute(unit(w.slow_entry(9))).unwrap());
        let (attached, _) = attach(&w, 1, 1);
        attached.detach();
        let outcome = end(&w, attached);
        assert!(matches!(outcome, Ok(1) | Err(TaskError::Cancelled)));
        other.join();
        w.run_jobs();
        // Two tokens of task 9, one of the item if the item ran, and one each of the stream and the
        // closure.
        assert_eq!(w.gone(), w.r.stats().completed + 3);
        w.finish();
    });
}

/// The driver comes to wait for a stream that no thread wakes. The detach reaches the driver before
/// or after that.
#[test]
fn detach_during_wait_for_stream() {
    model(3, || {
        let w = pooled_world();
        let processed = Processed::new();
        let mut items = Items::new(&w, 1, 1, &processed);
        let wakers = Mailbox::new();
        items.wakers = Some(Arc::clone(&wakers));
        let attached = w.r.attach_limited(1, items, processed.closure(&w));
        let worker = another_worker(&w);
        attached.detach();
        assert_eq!(end(&w, attached), Err(TaskError::Cancelled));
        worker.join();
        drop(wakers);
        assert!(w.finish().is_empty());
    });
}

/// The driver waits for the item in flight and does not poll the stream. The accepted item runs.
#[test]
fn close_during_end_of_item() {
    model(2, || {
        let w = pooled_world();
        let (attached, processed) = attach(&w, 1, 2);
        drive(&w);
        let worker = another_worker(&w);
        w.r.close();
        match end(&w, attached) {
            Ok(items) => assert_eq!(items, 2),
            Err(error) => assert_eq!(error, TaskError::Closed),
        }
        worker.join();
        w.run_jobs();
        assert_eq!(w.finish().len(), processed.get());
    });
}

/// A driver that is held back learns that its resource is closed, although no item ends.
#[test]
fn close_ends_attachment_when_held_back() {
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
fn last_handle_drops_during_wait_for_stream() {
    model(3, || {
        let w = pooled_world();
        let wakers = Mailbox::new();
        let processed = Processed::new();
        let mut items = Items::new(&w, 1, 1, &processed);
        items.wakers = Some(Arc::clone(&wakers));
        let attached = w.r.attach_limited(1, items, processed.closure(&w));
        w.run_jobs();
        let wakes = {
            let waker = wakers.take().expect("the stream is pending");
            crate::sync::thread::spawn(move || waker.wake())
        };
        let tally = w.drop_handle();
        tally.work_until(|| attached.is_finished());
        let outcome = attached.wait();
        assert!(matches!(outcome, Ok(1) | Err(TaskError::Closed)));
        wakes.join().unwrap();
        tally.run_jobs();
        assert_eq!(tally.finish().len(), usize::from(outcome.is_ok()));
    });
}

/// A sweep takes the item out of the queue while the driver waits for it.
#[test]
fn attach_is_cancelled_when_item_is_swept() {
    model(2, || {
        let w = pooled_world();
        let (attached, processed) = attach(&w, 1, 2);
        drive(&w);
        let sweeper = w.spawn(|w| w.r.cancel_pending());
        let outcome = end(&w, attached);
        let swept = sweeper.join();
        assert_eq!(outcome == Err(TaskError::Cancelled), swept > 0);
        w.run_jobs();
        assert_eq!(w.finish().len(), processed.get());
    });
}

/// The driver may also wait for room in the queue. A detached driver leaves the line.
#[test]
fn detach_during_return_of_room() {
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
        let (attached, processed) = attach(&w, 1, 1);
        let gives = w.spawn(move |_| drop(permit));
        attached.detach();
        let outcome = end(&w, attached);
        gives.join();
        w.run_jobs();
        assert_eq!(outcome.is_ok(), processed.get() == 1);
        assert!(w.r.try_reserve().is_ok(), "room was lost");
        w.finish();
    });
}

/// Another thread holds the resource and runs the items that are sent meanwhile.
fn captured_by(w: &World) -> super::Spawned {
    w.spawn(|w| {
        let _ = w.r.execute(unit(w.slow_entry(9)));
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

/// The items that were sent wait behind a suspended task. A second thread wakes that task
/// meanwhile.
#[test]
fn sink_is_not_ready_when_limit_is_in_flight() {
    model(2, || {
        let w = World::new(10, FOREVER, named());
        let (to, processed, waits) = (Mailbox::new(), Processed::new(), WaitProbe::new());
        drop(submit_waiting(&w, 8, 1, &to));
        let mut sink = w.r.sink(processed.closure(&w));
        let waker = to.wait();
        let wakes = w.spawn(move |_| waker.wake());
        for n in 1..=LIMIT as u8 + 1 {
            send(&w, &waits, &mut sink, n).unwrap();
            assert!(
                usize::from(n) - processed.get() <= LIMIT,
                "too many items are in flight"
            );
        }
        let closed = poll_fn(|cx| Pin::new(&mut sink).poll_close(cx));
        waits.block_on(closed, || w.run_jobs()).unwrap();
        assert_eq!(
            processed.get(),
            LIMIT + 1,
            "resolved before the last item ran"
        );
        drop(sink);
        wakes.join();
        assert_eq!(w.finish(), [8, 9, 1, 2, 3]);
    });
}

/// The sink may be ready while a captured thread runs the items that were sent.
#[test]
fn send_to_sink_during_run_of_sent_items() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = captured_by(&w);
        let (processed, waits) = (Processed::new(), WaitProbe::new());
        let mut sink = w.r.sink(processed.closure(&w));
        for n in 1..=LIMIT as u8 + 1 {
            send(&w, &waits, &mut sink, n).unwrap();
        }
        let closed = poll_fn(|cx| Pin::new(&mut sink).poll_close(cx));
        waits.block_on(closed, || w.run_jobs()).unwrap();
        assert_eq!(
            processed.get(),
            LIMIT + 1,
            "resolved before the last item ran"
        );
        drop(sink);
        other.join();
        w.finish();
    });
}

/// The sink and its waker are dropped. The item that was sent runs all the same.
#[test]
fn sent_items_run_when_sink_is_dropped() {
    model(3, || {
        let w = World::new(10, FOREVER, named());
        let other = captured_by(&w);
        let processed = Processed::new();
        let waits = WaitProbe::new();
        let mut sink = w.r.sink(processed.closure(&w));
        send(&w, &waits, &mut sink, 1).unwrap();
        let waker = CountedWaker::new(w.token());
        let flushed = poll(
            &mut poll_fn(|cx| Pin::new(&mut sink).poll_flush(cx)),
            &waker,
        );
        drop((sink, waker));
        other.join();
        assert!(flushed.is_pending() || processed.get() == 1);
        // The tokens of the waker, the item and the closure, and two of task 9.
        assert_eq!(w.gone(), 5, "a token was kept");
        assert_eq!(w.finish().len(), 2);
    });
}

#[test]
fn close_during_wait_of_sink() {
    model(2, || {
        let w = World::new(10, FOREVER, named());
        let other = captured_by(&w);
        let closes = w.spawn(|w| w.r.close());
        let processed = Processed::new();
        let waits = WaitProbe::new();
        let mut sink = w.r.sink(processed.closure(&w));
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
