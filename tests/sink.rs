#![cfg(not(any(captor_loom, captor_shuttle)))]
//! A resource as a sink of commands, and its results as a stream.

mod common;

use captor::{Resource, TaskError};
use common::{hold, outcome, panic_message};
use futures::executor::block_on;
use futures::{SinkExt, StreamExt, TryStreamExt, poll, stream};
use std::panic::resume_unwind;

#[test]
fn sent_items_run_in_order() {
    let r = Resource::new(Vec::new());
    block_on(async {
        let mut sink = r.sink(|log: &mut Vec<u32>, n| log.push(n));
        sink.send(0).await.unwrap();
        let items = stream::iter((1..1000).map(Ok));
        items.forward(&mut sink).await.unwrap();
        sink.close().await.unwrap();
    });
    assert_eq!(r.with(|log| log.clone()), Ok((0..1000).collect()));
    assert!(!r.is_closed());
}

#[test]
fn sink_is_not_ready_when_capacity_is_used() {
    let r = Resource::builder().capacity(2).build(0).unwrap();
    let held = hold(&r);
    block_on(async {
        let mut sink = r.sink(|n: &mut u32, more| *n += more);
        sink.feed(1).await.unwrap();
        sink.feed(1).await.unwrap();
        let mut third = sink.feed(1);
        assert!(poll!(&mut third).is_pending());
        held.gate().open();
        third.await.unwrap();
        sink.flush().await.unwrap();
    });
    held.release();
    assert_eq!(r.with(|n| *n), Ok(3));
}

#[test]
fn sink_returns_errors_and_continues() {
    let r = Resource::new(0);
    block_on(async {
        let mut sink = r.sink(|n: &mut u32, more: u32| match more {
            0 => resume_unwind(Box::new("nothing")),
            more => *n += more,
        });
        assert_eq!(panic_message(sink.send(0).await), "nothing");
        assert_eq!(sink.send(3).await, Ok(()));
        r.close();
        assert_eq!(sink.send(3).await, Err(TaskError::Closed));
    });
}

#[test]
fn sink_runs_each_item_after_closure_panicked() {
    let r = Resource::new(Vec::new());
    let mut calls = 0;
    let mut sink = r.sink(move |log: &mut Vec<_>, n: u32| {
        calls += 1;
        if n == 2 {
            resume_unwind(Box::new("two"));
        }
        log.push((calls, n));
    });
    block_on(async {
        for n in 1..=4 {
            match n {
                2 => assert_eq!(panic_message(sink.send(n).await), "two"),
                n => assert_eq!(sink.send(n).await, Ok(())),
            }
        }
        let held = hold(&r);
        for n in [5, 2, 6] {
            sink.feed(n).await.unwrap();
        }
        held.release();
        assert_eq!(panic_message(sink.flush().await), "two");
        assert_eq!(sink.flush().await, Ok(()));
    });
    let log = r.with(|log| log.clone());
    assert_eq!(log, Ok(vec![(1, 1), (3, 3), (4, 4), (5, 5), (7, 6)]));
}

/// Chains two resources: the results of the first are the commands of the second.
#[test]
fn results_forward_as_stream_to_second_resource() {
    let (doubles, sums) = (Resource::new(0), Resource::new(Vec::new()));
    block_on(async {
        let results = stream::iter(0..500).map(|n| {
            doubles.submit(move |count| {
                *count += 1;
                2 * n
            })
        });
        let sink = sums.sink(|all: &mut Vec<u32>, n| all.push(n));
        results
            .buffered(8)
            .try_filter(|n| std::future::ready(n % 3 == 0))
            .forward(sink)
            .await
    })
    .unwrap();
    assert_eq!(outcome(doubles.submit(|count| *count)), Ok(500));
    let all = sums.into_inner().wait().unwrap();
    let expected: Vec<_> = (0..500).map(|n| 2 * n).filter(|n| n % 3 == 0).collect();
    assert_eq!(all, expected);
}
