//! A trial with many clients in this process, over real connections. The trial checks that each
//! client gets each line in order, and measures how soon. The clients need no threads either.

use crate::server::Server;
use captor::io::{Async, lines};
use captor::{Completion, Resource, Scheduler};
use futures::{AsyncWriteExt, StreamExt};
use std::error::Error;
use std::fs::read_to_string;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How many lines the speaker says.
const ROUNDS: usize = 5;

/// How long any part of the trial may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest line that a client gets, in bytes: news with a few names.
const LONGEST: usize = 1000;

/// The clients' receipts of the current round.
struct Tally {
    clients: usize,
    /// When the speaker said the last line.
    said: Instant,
    /// The delays of the clients that have got the line.
    after: Vec<Duration>,
    /// Receives the delays of a round once all clients have the line.
    all: mpsc::Sender<Vec<Duration>>,
}

impl Tally {
    fn got(&mut self) {
        self.after.push(self.said.elapsed());
        if self.after.len() == self.clients {
            // If the receiver is gone, the trial is over.
            let _ = self.all.send(std::mem::take(&mut self.after));
        }
    }
}

pub(crate) fn run(
    scheduler: &Scheduler,
    server: &Server,
    clients: usize,
) -> Result<(), Box<dyn Error>> {
    let (all, rounds) = mpsc::channel();
    let tally = scheduler.resource(Tally {
        clients,
        said: Instant::now(),
        after: Vec::with_capacity(clients),
        all,
    });
    let before = memory();
    let visits: Vec<Completion<io::Result<()>>> = (0..clients)
        .map(|n| {
            let address = server.address;
            tally.submit_steps(async move |tally| visit(tally, address, n).await)
        })
        .collect();
    let came = rounds.recv_timeout(LIMIT).map_err(|_| stuck(&visits))?;
    println!(
        "{clients} clients are in the room, after {:.1?}",
        last(came)
    );
    println!("{} threads, {}", threads(), grown(before, clients));

    let mut speaker = TcpStream::connect(server.address)?;
    speaker.set_nodelay(true)?;
    speaker.write_all(b"speaker\n")?;
    for n in 0..ROUNDS {
        tally.with(|tally| tally.said = Instant::now())?;
        speaker.write_all(format!("round {n}\n").as_bytes())?;
        let times = rounds.recv_timeout(LIMIT).map_err(|_| stuck(&visits))?;
        println!("round {n}: {}", told(times));
    }
    speaker.write_all(b"/quit\n")?;
    match server.room.with(|room| (room.len(), room.dropped))? {
        (here, 0) if here >= clients => Ok(()),
        (here, dropped) => Err(format!("{here} are there, {dropped} were dropped").into()),
    }
}

/// Runs a client: it gives a name and reports each line to the tally.
async fn visit(tally: Resource<Tally>, address: SocketAddr, n: usize) -> io::Result<()> {
    let got = async || {
        let got = tally.submit(Tally::got).await;
        got.map_err(io::Error::other)
    };
    let socket = Async::<TcpStream>::connect(address).await?;
    (&socket).write_all(format!("c{n}\n").as_bytes()).await?;
    let mut lines = lines(&socket, LONGEST);
    let mut round = 0;
    while let Some(line) = lines.next().await {
        let line = line?;
        if line == format!("* welcome, c{n}") {
            got().await?;
        } else if let Some(said) = line.strip_prefix("speaker: ") {
            if said != format!("round {round}") {
                let wrong = format!("client {n} got {said:?} in round {round}");
                return Err(io::Error::other(wrong));
            }
            round += 1;
            got().await?;
        }
    }
    Ok(())
}

/// Returns why a round did not end.
fn stuck(visits: &[Completion<io::Result<()>>]) -> String {
    let over = visits.iter().filter(|visit| visit.is_finished()).count();
    format!("not all got it within {LIMIT:?}; {over} clients have ended")
}

fn last(times: Vec<Duration>) -> Duration {
    times.into_iter().max().unwrap_or_default()
}

fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let [first, median, last] = [0, times.len() / 2, times.len() - 1].map(|at| times[at]);
    format!("the first got it after {first:.2?}, half after {median:.2?}, all after {last:.2?}")
}

/// Reads a line of the process status that Linux reports.
fn status(key: &str) -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn threads() -> String {
    status("Threads").map_or("?".to_owned(), |n| n.to_string())
}

fn memory() -> Option<u64> {
    status("VmRSS")
}

fn grown(before: Option<u64>, clients: usize) -> String {
    let (Some(before), Some(now)) = (before, memory()) else {
        return "memory unknown".to_owned();
    };
    let each = now.saturating_sub(before) as f64 / clients as f64;
    format!("{now} KiB of memory: {each:.1} KiB for each connection, both its ends")
}
