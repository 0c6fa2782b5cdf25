#![cfg(not(any(captor_loom, captor_shuttle)))]
//! captor beside foreign runtimes: captor's futures awaited there, their futures awaited in
//! captor's tasks, and captor's jobs run by them.

mod common;

use captor::{Dispatch, Executor, Job, Resource, Scheduler, TaskError};
use common::{outcome, within_deadline};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{StreamExt, stream};
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(2);

/// Awaits each kind of future once.
async fn await_each_kind() -> Result<(), TaskError> {
    let r = Resource::builder().capacity(8).build(0_u32).unwrap();
    assert_eq!(r.submit(|n| *n).await, Ok(0));

    // A task that suspends, a task behind it, and a task that a future starts.
    let (send, receive) = oneshot::channel();
    let (resolve, resolved) = oneshot::channel();
    let waits = r.submit_async(async move |n: &mut u32| {
        *n += receive.await.unwrap_or(0);
        *n
    });
    let behind = r.submit(|n| *n + 1);
    let started = r.submit_when(resolved, |n, more: Result<u32, _>| *n + more.unwrap_or(0));
    send.send(3).expect("the task waits for the channel");
    assert_eq!((waits.await?, behind.await?), (3, 4));
    resolve.send(10).expect("the task waits for the channel");
    assert_eq!(started.await, Ok(13));

    // Tasks of steps, of a time, and with reserved room.
    assert_eq!(r.submit_after(SOON, |n| *n).await, Ok(3));
    let inner = r.clone();
    let steps = r.submit_steps(move |_| async move { inner.submit(|n| *n).await });
    assert_eq!(steps.await, Ok(Ok(3)));
    assert_eq!(r.reserve().await?.submit(|n| *n).await, Ok(3));
    Scheduler::global().sleep(SOON).await;

    // An attached stream, a stream of results into a sink, and the end.
    r.attach(stream::iter(1..=4), |n, more| *n += more).await?;
    let log = Resource::new(Vec::new());
    stream::iter(0..3)
        .map(|_| r.submit(|n| *n))
        .buffered(2)
        .forward(log.sink(|log: &mut Vec<u32>, n| log.push(n)))
        .await?;
    r.close();
    r.closed().await;
    assert_eq!(log.into_inner().await, Ok(vec![13; 3]));
    Ok(())
}

/// Runs the future that `spawn` makes 50 times, side by side.
async fn crowd<F: Future<Output = Result<(), TaskError>>>(spawn: impl Fn() -> F) {
    let all = futures::future::join_all((0..50).map(|_| spawn()));
    assert!(all.await.into_iter().all(|done| done == Ok(())));
}

#[test]
fn awaits_resolve_on_plain_thread() {
    within_deadline(|| block_on(crowd(await_each_kind)));
}

#[test]
fn awaits_resolve_on_smol() {
    within_deadline(|| {
        smol::block_on(async {
            crowd(await_each_kind).await;
            crowd(|| smol::spawn(await_each_kind())).await;
        });
    });
}

#[test]
fn awaits_resolve_on_smol_local_executor() {
    within_deadline(|| {
        let local = smol::LocalExecutor::new();
        block_on(local.run(crowd(|| local.spawn(await_each_kind()))));
    });
}

#[tokio::test]
async fn awaits_resolve_on_tokio_current_thread() {
    crowd(|| async { tokio::spawn(await_each_kind()).await.unwrap() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn awaits_resolve_on_tokio_multi_thread() {
    crowd(|| async { tokio::spawn(await_each_kind()).await.unwrap() }).await;
}

#[test]
fn awaits_resolve_on_captor_workers() {
    within_deadline(|| {
        let errands = Resource::new(());
        let done = errands.submit_steps(|_| crowd(await_each_kind));
        assert_eq!(outcome(done), Ok(()));
    });
}

// Futures of foreign runtimes, awaited inside a task without a thread of those runtimes.

#[test]
fn task_awaits_smol_timer_channel_and_socket() {
    within_deadline(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let (send, receive) = smol::channel::bounded(1);
        let r = Resource::new(0_usize);
        let echoes = r.submit_async(async move |received: &mut usize| {
            smol::Timer::after(SOON).await;
            let mut server = smol::Async::new(server)?;
            let mut bytes = [0; 16];
            *received = server.read(&mut bytes).await?;
            let _ = send.send(bytes[..*received].to_vec()).await;
            server.write_all(&bytes[..*received]).await?;
            std::io::Result::Ok(*received)
        });
        let heard = block_on(async {
            let mut client = smol::Async::new(client).unwrap();
            client.write_all(b"hello").await.unwrap();
            let mut bytes = [0; 5];
            client.read_exact(&mut bytes).await.unwrap();
            bytes
        });
        assert_eq!(&heard, b"hello");
        assert_eq!(block_on(receive.recv()).unwrap(), b"hello");
        assert_eq!(outcome(echoes).unwrap().unwrap(), 5);
    });
}

#[tokio::test]
async fn task_awaits_tokio_channel_and_timer() {
    let r = Resource::new(Vec::new());
    let (send, mut receive) = tokio::sync::mpsc::channel(1);
    let timer = tokio::time::sleep(SOON);
    let task = r.submit_async(async move |log: &mut Vec<u32>| {
        timer.await;
        while let Some(n) = receive.recv().await {
            log.push(n);
        }
        log.len()
    });
    for n in 0..100 {
        send.send(n).await.unwrap();
    }
    drop(send);
    assert_eq!(task.await, Ok(100));
}

// Hand-offs to threads of foreign runtimes.

/// Returns a resource whose tasks run only on the executor's threads.
fn pooled_on(executor: impl Executor) -> Resource<u32> {
    let scheduler = Scheduler::builder().executor(executor).build().unwrap();
    let builder = Resource::builder().scheduler(&scheduler);
    builder.dispatch(Dispatch::Pool).build(0).unwrap()
}

#[tokio::test]
async fn task_makes_tokio_timers_on_tokio_executor() {
    let tokio = tokio::runtime::Handle::current();
    let r = pooled_on(move |job: Job| drop(tokio.spawn(async { job.run() })));
    let tasks = (0..100).map(|_| {
        r.submit_async(async |n: &mut u32| {
            tokio::time::sleep(Duration::from_micros(10)).await;
            tokio::task::yield_now().await;
            *n += 1;
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await, Ok(()));
    }
    assert_eq!(r.submit(|n| *n).await, Ok(100));
}

#[test]
fn tasks_yield_on_smol_executor() {
    within_deadline(|| {
        let r = pooled_on(|job: Job| smol::spawn(async { job.run() }).detach());
        let tasks = (0..100).map(|_| {
            r.submit_async(async |n: &mut u32| {
                smol::future::yield_now().await;
                *n += 1;
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(outcome(task), Ok(()));
        }
        assert_eq!(outcome(r.submit(|n| *n)), Ok(100));
    });
}
