//! Sockets and timers, from one event loop (feature `io`).
//!
//! [`Async`] makes a socket one that an asynchronous task can wait for, and [`Timer`] does
//! the same for a time; both are those of the crate `async-io`. One thread of it, started
//! at the first use, waits for all of them in one call of the system (`epoll`, `kqueue`,
//! or what else there is). When a socket is ready it wakes the task that waits for it,
//! which goes on by a worker of the scheduler's pool. So a thousand idle connections hold
//! no thread of their own: what each costs is its file descriptor and its future.
//!
//! They need no runtime, and work wherever captor polls a future:
//!
//! | what | with a socket |
//! |---|---|
//! | [`submit_steps`](crate::Resource::submit_steps) | a connection's whole life, whose steps are tasks of the resource |
//! | [`submit_when`](crate::Resource::submit_when) | one task, once the socket has something |
//! | [`attach`](crate::Resource::attach) | a task for each line, or for each connection |
//! | [`submit_async`](crate::Resource::submit_async) | a task that keeps the resource while the socket is slow: seldom what is wanted |
//!
//! Reading and writing are methods of the traits `AsyncReadExt` and `AsyncWriteExt`, of
//! `futures::io` or `futures_lite::io`. A thread waits for a completion as ever; do not
//! run `async_io::block_on` besides: that thread would take turns with the event loop's,
//! which polls meanwhile.
//!
//! A job for each connection: it reads, has a task run, and writes the answer.
//!
//! ```
//! use captor::io::{Async, lines};
//! use captor::Resource;
//! use futures::{AsyncWriteExt, StreamExt};
//! use std::io::{self, Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let socket = Async::new(listener.accept()?.0)?;
//!
//! let sum = Resource::new(0);
//! let served = sum.submit_steps(async move |sum| {
//!     let mut lines = lines(&socket, 100);
//!     while let Some(line) = lines.next().await {
//!         let n: i32 = line?.parse().map_err(io::Error::other)?;
//!         // No task runs, and no thread is held, while the client is slow.
//!         let now = sum.submit(move |sum| { *sum += n; *sum });
//!         let now = now.await.map_err(io::Error::other)?;
//!         (&socket).write_all(format!("{now}\n").as_bytes()).await?;
//!     }
//!     io::Result::Ok(())
//! });
//!
//! client.write_all(b"40\n2\n")?;
//! client.shutdown(Shutdown::Write)?;
//! let mut answers = String::new();
//! client.read_to_string(&mut answers)?;
//! assert_eq!(answers, "40\n42\n");
//! served.wait()??;
//! # Ok(())
//! # }
//! ```
//!
//! A task when there is something to be read, or when the time is over:
//!
//! ```
//! use captor::io::{Async, Timer};
//! use captor::Resource;
//! use futures::future::{Either, select};
//! use std::io::Write;
//! use std::net::{TcpListener, TcpStream};
//! use std::pin::pin;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let socket = Async::new(listener.accept()?.0)?;
//! let in_time = async move {
//!     let readable = pin!(socket.readable());
//!     let late = Timer::after(Duration::from_secs(10));
//!     matches!(select(readable, late).await, Either::Left((Ok(()), _)))
//! };
//! let log = Resource::new(Vec::new());
//! let noted = log.submit_when(in_time, |log, in_time| log.push(in_time));
//! client.write_all(b"!")?;
//! noted.wait()?;
//! assert_eq!(log.with(|log| log.clone())?, [true]);
//! # Ok(())
//! # }
//! ```

pub use async_io::{Async, Timer};

use futures_core::Stream;
use futures_lite::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use futures_lite::{future, stream};
use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How much is read at a time, at most.
const BUFFER: usize = 8 << 10;

/// How long no connection is accepted after one could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// After so many items a stream lets others go first, however many it has at hand: whoever
/// sends without a pause keeps no worker for itself.
const TURN: u64 = 32;

/// Counts an item that is asked for.
async fn take_turn(items: &mut u64) {
    *items += 1;
    if *items % TURN == 0 {
        future::yield_now().await;
    }
}

/// The connections that come to `listener`, without end.
///
/// An error ends nothing: who is there may come in later. It mostly tells that this
/// process is out of file descriptors, which the next attempt would find again; so that
/// is made a tenth of a second later.
///
/// ```
/// use captor::Resource;
/// use captor::io::{Async, accepted};
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
/// let address = listener.get_ref().local_addr()?;
/// let guests = Resource::new(Vec::new());
/// let door = guests.attach(accepted(listener), |guests, accepted| {
///     guests.extend(accepted.map(|(_socket, from)| from));
/// });
/// let client = TcpStream::connect(address)?;
/// while guests.with(|guests| guests.is_empty())? {
///     std::thread::yield_now();
/// }
/// assert_eq!(guests.with(|guests| guests[0])?, client.local_addr()?);
/// door.detach(); // closes the listener
/// # Ok(())
/// # }
/// ```
pub fn accepted(
    listener: Async<TcpListener>,
) -> impl Stream<Item = Result<(Async<TcpStream>, SocketAddr)>> + Send + Unpin + 'static {
    Box::pin(stream::unfold(
        (listener, false, 0),
        |(listener, failed, mut items)| async move {
            take_turn(&mut items).await;
            if failed {
                Timer::after(PAUSE).await;
            }
            let accepted = listener.accept().await;
            let failed = accepted.is_err();
            Some((accepted, (listener, failed, items)))
        },
    ))
}

/// The lines of `reader`, without what ends them (`\n` or `\r\n`). What is there when the
/// reader ends is a line too.
///
/// None is longer than `longest` bytes, and no more than that is kept, however much comes
/// without an end; the memory of one who waits is as much again, but not more than 8 KiB.
///
/// # Errors
/// In place of the last line: what reading comes to, or [`ErrorKind::InvalidData`] for a
/// line that is longer, or not UTF-8.
///
/// ```
/// use captor::Resource;
/// use captor::io::lines;
///
/// let log = Resource::new(Vec::new());
/// let text = b"one\r\ntwo\nthr".as_slice();
/// let read = log.attach(lines(text, 3), |log, line| log.extend(line));
/// assert_eq!(read.wait(), Ok(3));
/// assert_eq!(log.with(|log| log.clone())?, ["one", "two", "thr"]);
///
/// let read = log.attach(lines(b"four\nfive\n".as_slice(), 3), |_, line| {
///     assert!(line.is_err());
/// });
/// assert_eq!(read.wait(), Ok(1));
/// # Ok::<(), captor::TaskError>(())
/// ```
pub fn lines<R>(reader: R, longest: usize) -> impl Stream<Item = Result<String>> + Send + Unpin
where
    R: AsyncRead + Send + Unpin,
{
    // With an end of two bytes, and at least one byte.
    let most = longest.saturating_add(2);
    let reader = BufReader::with_capacity(most.min(BUFFER), reader);
    let next = move |(mut reader, mut items)| async move {
        take_turn(&mut items).await;
        let mut line = Vec::new();
        let limited = &mut AsyncReadExt::take(&mut reader, most as u64);
        match limited.read_until(b'\n', &mut line).await? {
            0 => Ok(None),
            _ => Ok(Some((text(line, longest)?, (reader, items)))),
        }
    };
    Box::pin(stream::try_unfold((reader, 0), next))
}

/// A line as text, without its end.
fn text(mut line: Vec<u8>, longest: usize) -> Result<String> {
    if line.ends_with(b"\n") {
        line.pop();
        line.truncate(line.strip_suffix(b"\r").unwrap_or(&line).len());
    }
    if line.len() > longest {
        let error = format!("a line is longer than {longest} bytes");
        return Err(Error::new(ErrorKind::InvalidData, error));
    }
    String::from_utf8(line).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}
