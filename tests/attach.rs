#![cfg(not(any(captor_loom, captor_shuttle)))]
//! Attached streams: each item becomes a task.

mod common;

use captor::{Resource, Scheduler, TaskError};
use common::{
    DEADLINE, Drops, Gate, hold, hold_running, panic_message, wait_until, within_deadline,
};
use futures::channel::mpsc;
use futures::stream;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn each_item_runs_as_task_in_order() {
    let r = Resource::new(Vec::new());
    let items = r.attach(stream::iter(0..1000), |log, n| log.push(n));
    assert_eq!(items.wait(), Ok(1000));
    assert_eq!(r.stats().completed, 1000);
    assert_eq!(r.with(|log| log.clone()), Ok((0..1000).collect::<Vec<_>>()));
}

#[test]
fn attach_resolves_when_all_items_have_run() {
    let r = Resource::new(0);
    let held = hold(&r);
    let items = r.attach(stream::iter(0..10), |n, _| *n += 1);
    assert!(!items.is_finished());
    held.release();
    assert_eq!(items.wait(), Ok(10));
    assert_eq!(r.with(|n| *n), Ok(10));
}

/// Returns a stream of `items` items, and a count of the items taken so far.
fn counted_stream(items: usize) -> (Arc<AtomicUsize>, impl futures::Stream<Item = usize> + Send) {
    let polled = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&polled);
    let stream = stream::iter((0..items).inspect(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
    }));
    (polled, stream)
}

#[test]
fn stream_is_polled_no_further_than_limit() {
    for limit in [1, 3, 64] {
        let r = Resource::new(0);
        let held = hold(&r);
        let (polled, stream) = counted_stream(100);
        let items = r.attach_limited(limit, stream, |n, _| *n += 1);
        assert_eq!(polled.load(Ordering::SeqCst), limit);
        held.release();
        assert_eq!(items.wait(), Ok(100));
    }
}

/// The items of the stream wait in line for room.
#[test]
fn stream_is_held_back_when_resource_is_full() {
    let r = Resource::builder().capacity(2).build(0).unwrap();
    let held = hold(&r);
    let (polled, stream) = counted_stream(10);
    let items = r.attach(stream, |n, _| *n += 1);
    // Two items are queued, and a third waits for room.
    assert_eq!(polled.load(Ordering::SeqCst), 3);
    held.release();
    assert_eq!(items.wait(), Ok(10));
    assert_eq!(r.stats().rejected, 0);
}

#[test]
fn stream_is_dropped_when_item_task_panics() {
    let r = Resource::new(0);
    let (send, receive) = mpsc::unbounded();
    let items = r.attach(receive, |n, item| match item {
        2 => resume_unwind(Box::new("spilled")),
        item => *n += item,
    });
    (0..3).for_each(|n| send.unbounded_send(n).unwrap());
    let error = items.wait_timeout(DEADLINE).unwrap();
    assert_eq!(panic_message(error), "spilled");
    wait_until("the stream is dropped", || send.is_closed());
    assert_eq!(r.with(|n| *n), Ok(1));
}

#[test]
fn detach_drops_stream_but_runs_taken_items() {
    let r = Resource::new(0);
    let held = hold(&r);
    let (send, receive) = mpsc::unbounded();
    let items = r.attach(receive, |n, item: u32| *n += item);
    (0..3).for_each(|_| send.unbounded_send(1).unwrap());
    wait_until("three items are queued", || r.stats().outstanding == 4);
    items.detach();
    wait_until("the stream is dropped", || send.is_closed());
    held.release();
    assert_eq!(items.wait(), Err(TaskError::Cancelled));
    assert_eq!(r.with(|n| *n), Ok(3));
}

#[test]
fn attached_stream_does_not_keep_resource_alive() {
    let (value, gone) = (Gate::new(), Gate::new());
    let opens = gone.clone();
    let r = Resource::new(common::on_drop(move || opens.open()));
    let (send, receive) = mpsc::unbounded::<u32>();
    let items = r.attach(receive, |_, _| ());
    drop((r, value));
    gone.wait();
    assert_eq!(items.wait(), Err(TaskError::Closed));
    assert!(send.is_closed());
}

#[test]
fn close_ends_attached_stream() {
    let r = Resource::new(0);
    let (send, receive) = mpsc::unbounded();
    let items = r.attach(receive, |n, item: u32| *n += item);
    send.unbounded_send(1).unwrap();
    wait_until("the item's task has run", || r.with(|n| *n) == Ok(1));
    r.close();
    assert_eq!(items.wait(), Err(TaskError::Closed));
    assert!(send.is_closed());
}

#[test]
fn wait_for_items_in_own_resource_is_refused() {
    within_deadline(|| {
        let s = Scheduler::builder().workers(2).build().unwrap();
        let r = common::pooled(&s, 0);
        let inside = r.clone();
        let (gate, task) = hold_running(&r, move |_| {
            let items = inside.attach(stream::iter(0..3), |n, _| *n += 1);
            items.wait()
        });
        gate.open();
        assert_eq!(common::outcome(task), Ok(Err(TaskError::WouldDeadlock)));
    });
}

#[test]
fn always_ready_stream_does_not_starve_callers() {
    within_deadline(|| {
        let r = Resource::new(0_u64);
        let items = r.attach(stream::repeat(1), |n, one| *n += one);
        wait_until("over 1000 items have run", || {
            r.with(|n| *n > 1000).unwrap()
        });
        items.detach();
        assert_eq!(items.wait(), Err(TaskError::Cancelled));
    });
}

#[test]
fn items_in_flight_run_when_closure_panicked() {
    let (r, drops) = (Resource::new(Vec::new()), Drops::new());
    let held = hold(&r);
    let (kept, mut calls) = (drops.counted(), 0);
    let items = r.attach_limited(8, stream::iter(0..8), move |log, n| {
        let _ = &kept;
        calls += 1;
        log.push((calls, n));
        if n == 2 {
            resume_unwind(Box::new("spilled"));
        }
    });
    wait_until("all items are queued", || r.stats().outstanding == 9);
    held.release();
    assert_eq!(panic_message(items.wait()), "spilled");
    let expected = (0..8).map(|n| (n + 1, n)).collect();
    assert_eq!(r.into_inner().wait(), Ok(expected));
    wait_until("the closure is dropped", || drops.count() == 1);
}

/// Three resources in a row, connected by bounded channels.
#[test]
fn three_stage_pipeline_keeps_items_in_order() {
    let sums = Resource::new(Vec::new());
    let (to_double, doubles) = mpsc::channel::<u32>(4);
    let (to_sum, summed) = mpsc::channel::<u32>(4);
    let feeds = Resource::new(to_double);
    let fed = feeds.submit_async(async |to: &mut mpsc::Sender<u32>| {
        use futures::SinkExt;
        for n in 0..500 {
            to.send(n).await.unwrap();
        }
        to.close_channel();
    });
    let stage = Resource::new(to_sum);
    let doubled = stage.submit_async(async move |to: &mut mpsc::Sender<u32>| {
        use futures::{SinkExt, StreamExt};
        let mut doubles = doubles;
        while let Some(n) = doubles.next().await {
            to.send(2 * n).await.unwrap();
        }
        to.close_channel();
    });
    let items = sums.attach_limited(4, summed, |all, n| all.push(n));
    assert_eq!(items.wait(), Ok(500));
    assert_eq!(
        (common::outcome(fed), common::outcome(doubled)),
        (Ok(()), Ok(()))
    );
    let all = sums.into_inner().wait().unwrap();
    assert_eq!(all, (0..500).map(|n| 2 * n).collect::<Vec<_>>());
}
