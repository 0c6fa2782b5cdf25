#![cfg(all(feature = "io", not(any(captor_loom, captor_shuttle))))]
//! Sockets and timers of the event loop over real loopback connections, and the chat room of
//! `examples/apps/echo_room`, which uses both.

mod common;
#[path = "../examples/apps/echo_room/room.rs"]
mod room;
#[path = "../examples/apps/echo_room/server.rs"]
mod server;

use captor::io::{Async, Timer, accepted, lines};
use captor::{Completion, Resource, Scheduler, TaskError};
use common::{DEADLINE, outcome, wait_until};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use room::OUTBOX;
use server::{LONGEST, Server};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

/// How many clients connect at once.
const CROWD: usize = 2_000;

fn scheduler() -> Scheduler {
    Scheduler::builder().workers(2).build().unwrap()
}

fn listener() -> Async<TcpListener> {
    Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap()
}

/// Returns both ends of a connection.
fn connection() -> (Async<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    (Async::new(listener.accept().unwrap().0).unwrap(), client)
}

/// A client on its own thread, like `nc`.
struct Client {
    writes: TcpStream,
    reads: BufReader<TcpStream>,
}

impl Client {
    fn connect(server: &Server) -> Self {
        let writes = TcpStream::connect(server.address).unwrap();
        writes.set_read_timeout(Some(DEADLINE)).unwrap();
        writes.set_write_timeout(Some(DEADLINE)).unwrap();
        let reads = BufReader::new(writes.try_clone().unwrap());
        Client { writes, reads }
    }

    fn named(server: &Server, name: &str) -> Self {
        let mut client = Client::connect(server);
        client.says(&format!("{name}\n"));
        client.reads_until(&format!("* welcome, {name}"));
        client
    }

    fn says(&mut self, text: &str) {
        self.writes.write_all(text.as_bytes()).unwrap();
    }

    /// Returns the next line, or `None` at the end of the stream.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reads.read_line(&mut line) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            read => (read.unwrap() > 0).then(|| line.trim_end().to_owned()),
        }
    }

    #[track_caller]
    fn reads_until(&mut self, wanted: &str) {
        while self.line().expect("the stream ended before the line") != wanted {}
    }

    fn reads_to_its_end(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

fn open(scheduler: &Scheduler) -> Server {
    Server::open(scheduler, listener()).unwrap()
}

// Sockets.

#[test]
fn task_keeps_resource_while_awaiting_socket() {
    let (mut socket, mut client) = connection();
    let log = Resource::new(Vec::new());
    let read = log.submit_async(async move |log: &mut Vec<u8>| {
        let mut bytes = [0; 2];
        socket.read_exact(&mut bytes).await.unwrap();
        log.extend(bytes);
    });
    let after = log.submit(|log| log.push(b'c'));
    assert!(!after.is_finished());
    client.write_all(b"a").unwrap();
    client.write_all(b"b").unwrap();
    assert_eq!((outcome(read), outcome(after)), (Ok(()), Ok(())));
    assert_eq!(log.with(|log| log.clone()), Ok(b"abc".to_vec()));
}

#[test]
fn task_is_queued_when_socket_is_readable() {
    let (socket, mut client) = connection();
    let log = Resource::new(0);
    let readable = async move { socket.readable().await.is_ok() };
    let when = log.submit_when(readable, |log, readable| (*log, readable));
    log.execute(|log| *log = 1).unwrap(); // meanwhile the resource is free
    assert!(!when.is_finished());
    client.write_all(b"!").unwrap();
    assert_eq!(outcome(when), Ok((1, true)));
}

#[test]
fn timers_fire_in_order_of_duration() {
    let log = Resource::new(Vec::new());
    let after = |n: u64| {
        let timer = Timer::after(Duration::from_millis(10 * n));
        log.submit_when(timer, move |log, _| log.push(n))
    };
    let tasks = [3, 1, 2].map(after);
    for task in tasks {
        outcome(task).unwrap();
    }
    assert_eq!(log.with(|log| log.clone()), Ok(vec![1, 2, 3]));
}

/// A future that waits for two events, and is woken for the first, is not polled again and again
/// for the second.
#[test]
fn waiting_on_two_sources_does_not_busy_loop() {
    let (socket, mut client) = connection();
    let polls = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&polls);
    let r = Resource::new(());
    let (send, receive) = futures::channel::mpsc::unbounded::<()>();
    let both = r.submit_when(
        async move {
            let mut reads = std::pin::pin!(socket.readable());
            let mut ticks = receive;
            std::future::poll_fn(move |cx| {
                while let Poll::Ready(Some(())) = ticks.poll_next_unpin(cx) {}
                // From here on, another tick is another poll.
                counts.fetch_add(1, SeqCst);
                reads.as_mut().poll(cx).map(|readable| readable.unwrap())
            })
            .await;
        },
        |(), ()| (),
    );
    for n in 1..=10 {
        send.unbounded_send(()).unwrap();
        wait_until("the future was polled", || polls.load(SeqCst) > n);
    }
    client.write_all(b"!").unwrap();
    assert_eq!(outcome(both), Ok(()));
    let polls = polls.load(SeqCst);
    assert!(polls < 40, "{polls} polls for 11 reasons");
}

#[test]
fn cancel_closes_socket() {
    let (mut socket, mut client) = connection();
    let r = Resource::new(());
    let reads = r.submit_steps(async move |_| socket.read(&mut [0]).await.map(drop));
    assert!(reads.cancel());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(outcome(reads).map(drop), Err(TaskError::Cancelled));
}

// Lines.

fn all_lines(text: &[u8], longest: usize) -> Vec<Result<String, ErrorKind>> {
    let lines = lines(text, longest).map(|line| line.map_err(|error| error.kind()));
    futures::executor::block_on(lines.collect())
}

#[test]
fn lines_are_split_and_length_is_limited() {
    let line = |text: &str| Ok(text.to_owned());
    let invalid = Err(ErrorKind::InvalidData);
    assert_eq!(all_lines(b"", 3), []);
    assert_eq!(all_lines(b"\n", 3), [line("")]);
    assert_eq!(
        all_lines(b"a\r\n\r\nb", 3),
        [line("a"), line(""), line("b")]
    );
    assert_eq!(all_lines(b"abc\nabc\r\nabc", 3), vec![line("abc"); 3]);
    assert_eq!(all_lines(b"a\rb\n", 3), [line("a\rb")]);
    for long in ["abcd\n", "abcd", "abcd\r\n", "abcdefgh", "\r\r\r\rx\n"] {
        assert_eq!(all_lines(long.as_bytes(), 3), vec![invalid.clone()]);
    }
    assert_eq!(
        all_lines(b"ab\nabcd\nab\n", 3),
        [line("ab"), invalid.clone()]
    );
    assert_eq!(all_lines(b"\xff\nab\n", 3), [invalid]);
    assert_eq!(
        all_lines(b"\n\na", 0),
        [line(""), line(""), Err(ErrorKind::InvalidData)]
    );
    assert_eq!(all_lines(b"ab\n", usize::MAX), [line("ab")]);
}

/// The stream yields to other tasks even if another line is always ready.
#[test]
fn line_stream_yields_when_input_never_blocks() {
    let text = b"a\n".repeat(1000);
    let mut lines = lines(text.as_slice(), 3);
    let mut in_a_row = 0;
    while let Some(line) = lines.next().now_or_never() {
        assert_eq!(line.unwrap().unwrap(), "a");
        in_a_row += 1;
        assert!(in_a_row < 100);
    }
    assert_eq!(futures::executor::block_on(lines.count()), 1000 - in_a_row);
}

#[test]
fn lines_arrive_whole_when_bytes_come_singly() {
    let (socket, mut client) = connection();
    client.set_nodelay(true).unwrap();
    let log = Resource::new(Vec::new());
    let read = log.attach(lines(socket, 10), |log, line| log.push(line.unwrap()));
    for byte in "one\r\ntwo\nthree".bytes() {
        client.write_all(&[byte]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read.wait(), Ok(3));
    let all = log.into_inner().wait().unwrap();
    assert_eq!(all, ["one", "two", "three"]);
}

#[test]
fn close_ends_line_and_accept_streams() {
    let (socket, mut client) = connection();
    let door = listener();
    let address = door.get_ref().local_addr().unwrap();
    let r = Resource::new(());
    let read = r.attach(lines(socket, 10), |(), _| ());
    let accepts = r.attach(accepted(door), |(), _| ());
    r.close();
    assert_eq!(read.wait(), Err(TaskError::Closed));
    assert_eq!(accepts.wait(), Err(TaskError::Closed));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(TcpStream::connect(address).is_err());
}

// The chat room.

#[test]
fn room_relays_lines_names_and_departures() {
    let s = scheduler();
    let server = open(&s);
    let mut ann = Client::named(&server, "ann");
    let mut bob = Client::named(&server, "bob");
    let mut cy = Client::connect(&server);
    cy.says("bob\n");
    cy.reads_until("* that name is taken; another?");
    cy.says("c y\nc\u{7}y\n");
    cy.reads_until("* a name is one word, and not a long one; yours?");
    cy.reads_until("* welcome, cy");
    // Half a line, then two lines at once.
    ann.says("hel");
    ann.says("lo\nyou\r\n\n/nothing\n");
    for client in [&mut bob, &mut cy, &mut ann] {
        client.reads_until("ann: hello");
        client.reads_until("ann: you");
    }
    ann.reads_until("* there is /who and /quit");
    cy.says("/who\n");
    cy.reads_until("* 3 here: ann, bob, cy");
    bob.says("bye\n/quit\n");
    assert_eq!(bob.reads_to_its_end().last().unwrap(), "bob: bye");
    ann.reads_until("* bob left");
    // The client disconnects without `/quit`.
    drop(cy);
    ann.reads_until("* cy left");
    server.end().unwrap();
    assert_eq!(ann.reads_to_its_end(), ["* the room is closed"]);
    assert!(s.shutdown(DEADLINE));
}

#[test]
fn client_is_dropped_when_line_is_too_long() {
    let s = scheduler();
    let server = open(&s);
    let mut ann = Client::named(&server, "ann");
    let mut bob = Client::named(&server, "bob");
    bob.says(&format!("{}\n", "b".repeat(LONGEST)));
    ann.reads_until(&format!("bob: {}", "b".repeat(LONGEST)));
    bob.says(&"b".repeat(LONGEST + 2));
    let told = bob.reads_to_its_end();
    assert!(told.last().unwrap().starts_with("* a line is longer"));
    ann.reads_until("* bob left");
    server.end().unwrap();
}

/// Two clients do not read. The other clients still get each line.
#[test]
fn deaf_client_is_dropped_and_slows_no_client() {
    let s = scheduler();
    let server = open(&s);
    let mut ann = Client::named(&server, "ann");
    let mut bob = Client::named(&server, "bob");
    let deaf = [Client::named(&server, "cy"), Client::named(&server, "di")];
    let long = "x".repeat(LONGEST - 10);
    let mut said = 0;
    while server.room.with(|room| room.dropped).unwrap() < 2 {
        assert!(said < 100_000, "no client was dropped");
        ann.says(&format!("{said} {long}\n"));
        ann.reads_until(&format!("ann: {said} {long}"));
        bob.reads_until(&format!("ann: {said} {long}"));
        said += 1;
    }
    assert!(said > OUTBOX, "a client was dropped too early");
    ann.says("still here\n");
    for client in [&mut ann, &mut bob] {
        client.reads_until("ann: still here");
    }
    assert_eq!(server.room.with(|room| room.len()), Ok(2));
    // The deaf clients get what the system had buffered for them, and then the end.
    for client in deaf {
        let told = client.reads_to_its_end();
        assert!(told.len() < said + 10);
    }
    server.end().unwrap();
}

/// The client sends more than it receives, and never reads. An unbounded outbox for the client
/// would fill the memory.
#[test]
fn flooding_client_is_dropped_when_not_reading() {
    let s = scheduler();
    let server = open(&s);
    let mut ann = Client::named(&server, "ann");
    let mut bob = Client::named(&server, "bob");
    let flood = std::thread::spawn(move || {
        let line = format!("{}\n", "b".repeat(LONGEST));
        // Writes until the room drops the client.
        while bob.writes.write_all(line.as_bytes()).is_ok() {}
    });
    while !ann.line().unwrap().contains("bob (who did not read)") {}
    common::join(flood).unwrap();
    server.end().unwrap();
}

#[test]
fn closing_room_ends_tasks_and_listener() {
    let s = scheduler();
    let server = open(&s);
    let clients: Vec<_> = (0..20)
        .map(|n| Client::named(&server, &format!("c{n}")))
        .collect();
    let (room, address) = (server.room.clone(), server.address);
    room.close();
    assert!(room.wait_closed(DEADLINE));
    for client in clients {
        client.reads_to_its_end();
    }
    wait_until("the listener is closed", || {
        TcpStream::connect(address).is_err()
    });
    // The tasks that served the room held handles to the room.
    let weak = room.downgrade();
    drop((server, room));
    wait_until("all handles of the room are dropped", || {
        weak.upgrade().is_none()
    });
    assert!(s.shutdown(DEADLINE));
}

#[test]
fn scheduler_shutdown_ends_room() {
    let s = scheduler();
    let server = open(&s);
    let client = Client::named(&server, "ann");
    assert!(s.shutdown(DEADLINE));
    client.reads_to_its_end();
    let room = server.room.downgrade();
    drop(server);
    wait_until("all handles of the room are dropped", || {
        room.upgrade().is_none()
    });
}

// A crowd.

/// Counts what the clients of a crowd have received.
#[derive(Default)]
struct Got {
    welcome: usize,
    /// For each line of the speaker.
    said: [usize; 3],
}

async fn visit(got: Resource<Got>, address: SocketAddr, n: usize) -> io::Result<()> {
    let socket = Async::<TcpStream>::connect(address).await?;
    (&socket).write_all(format!("c{n}\n").as_bytes()).await?;
    let mut lines = lines(&socket, 1000);
    let mut next = 0;
    while let Some(line) = lines.next().await {
        let line = line?;
        if line == format!("* welcome, c{n}") {
            got.execute(|got| got.welcome += 1).unwrap();
        } else if let Some(said) = line.strip_prefix("speaker: ") {
            assert_eq!(said, next.to_string());
            got.execute(move |got| got.said[next] += 1).unwrap();
            next += 1;
        }
    }
    Ok(())
}

#[test]
fn two_workers_serve_two_thousand_connections() {
    let needed = 2 * CROWD as u64 + 500;
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    if files < needed {
        println!("SKIPPED: {needed} file descriptors are needed, and there are {files}");
        return;
    }
    let s = scheduler();
    let server = open(&s);
    let address = server.address;
    let got = s.resource(Got::default());
    let visits: Vec<Completion<io::Result<()>>> = (0..CROWD)
        .map(|n| got.submit_steps(async move |got| visit(got, address, n).await))
        .collect();
    let have = |what: fn(&Got) -> usize| got.with(|got| what(got)).unwrap() == CROWD;
    wait_until("all clients are welcomed", || have(|got| got.welcome));
    let mut speaker = Client::named(&server, "speaker");
    speaker.says("0\n1\n");
    wait_until("all clients have both lines", || {
        have(|got| got.said[0]) && have(|got| got.said[1])
    });
    speaker.says("2\n");
    wait_until("all clients have the third line", || {
        have(|got| got.said[2])
    });
    assert_eq!(
        server.room.with(|room| (room.len(), room.dropped)),
        Ok((CROWD + 1, 0))
    );
    assert!(s.stats().threads <= 4, "{} threads", s.stats().threads);
    server.end().unwrap();
    for visit in visits {
        outcome(visit).unwrap().unwrap();
    }
    assert!(s.shutdown(DEADLINE));
}
