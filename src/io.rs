//! Sockets and timers, from one event loop. Needs the feature `io`.
//!
//! An asynchronous task can wait for a socket in an [`Async`], and for a time with a [`Timer`].
//! Both are types of the crate `async-io`. One thread of `async-io` starts at the first use. It
//! waits for all sockets and timers in one system call, for example `epoll` or `kqueue`. When a
//! socket is ready, this thread wakes the task that waits for the socket, and a worker of the
//! scheduler's pool continues the task. So a thousand idle connections hold no thread. Each
//! connection costs its file descriptor and its future.
//!
//! Sockets and timers need no runtime, and work wherever captor polls a future:
//!
//! | call | with a socket |
//! |---|---|
//! | [`submit_steps`](crate::Resource::submit_steps) | a connection's whole life, whose steps are tasks of the resource |
//! | [`submit_when`](crate::Resource::submit_when) | one task, when the socket is ready |
//! | [`attach`](crate::Resource::attach) | a task for each line, or for each connection |
//! | [`submit_async`](crate::Resource::submit_async) | a task that keeps the resource while the socket is slow: rarely a good choice |
//!
//! To read and write, use the traits `AsyncReadExt` and `AsyncWriteExt` of `futures::io` or
//! `futures_lite::io`. A thread can block for a completion as usual. Do not run
//! `async_io::block_on` besides: its thread polls the event loop too, and would take turns with the
//! thread of `async-io`.
//!
//! # Serve a connection
//!
//! This job reads numbers, runs a task for each number, and writes the answers:
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
//!         // While the client is slow, no task of this job runs and no thread is held.
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
//! # Wait for a socket, with a timeout
//!
//! This task runs when data has arrived, or when the time is over:
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

/// The most bytes that are read at a time.
const BUFFER: usize = 8 << 10;

/// The pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of items after which a stream lets other futures run. So a peer that sends without a
/// pause does not keep a worker for itself.
const TURN: u64 = 32;

/// Counts an item that is about to be read, and yields after each [`TURN`] items.
async fn take_turn(items: &mut u64) {
    *items += 1;
    if *items % TURN == 0 {
        future::yield_now().await;
    }
}

/// Returns an endless stream of the connections that arrive at `listener`.
///
/// An error does not end the stream: clients that wait may be accepted later. The usual error is
/// that this process has no file descriptors left. An immediate attempt would fail again, so the
/// next attempt comes 100 ms later.
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

/// Returns a stream of the lines of `reader`, without their line ends (`\n` or `\r\n`). Bytes after
/// the last line end are a line too.
///
/// A line has at most `longest` bytes. However many bytes arrive without a line end, the stream
/// keeps no more than that. A read buffer of the same size comes on top, of at most 8 KiB.
///
/// # Errors
/// If reading fails, the error is the last item of the stream. If a line is longer than `longest`
/// bytes or is not UTF-8, the last item is the error [`ErrorKind::InvalidData`].
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
    // A line end has up to two bytes. So the limit is never zero.
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

/// Converts a line to text, without its line end.
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
