//! A chat room over TCP, for `nc` and similar programs: one `Resource<Room>`, any number of idle
//! connections, and a handful of threads. The example needs the feature `io`.
//!
//! ```sh
//! cargo run --release --features io --example echo_room -- 127.0.0.1:7000
//! nc 127.0.0.1 7000    # a name, then lines; /who, /quit
//! cargo run --release --features io --example echo_room -- --clients 2000
//! ```
//!
//! - Each connection is a job of `submit_steps`. The job reads a line, submits the line as a task
//!   of the room, and waits for its socket, on the event loop of `captor::io`.
//! - A task of the room writes to no socket. It puts lines into the clients' outboxes, which are
//!   bounded. A client that does not read fills its outbox and is dropped.
//! - A line has at most 512 bytes. Each client has at most one line in the room's queue at a time.

mod args;
mod quit;
mod room;
mod server;
mod trial;

use args::Mode;
use captor::Scheduler;
use captor::io::Async;
use server::Server;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args::parse(&args) {
        Ok(Mode::Help) => {
            println!("{}\n{}", args::USAGE, args::HELP);
            Ok(())
        }
        Ok(Mode::Serve(address)) => serve(address),
        Ok(Mode::Try(address, clients)) => attempt(address, clients),
        Err(wrong) => {
            eprintln!("echo_room: {wrong}; {}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_room: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let told_to_quit = quit::told()?;
    let files = raise_files();
    let (scheduler, server) = open(address)?;
    println!("room for about {files} connections; Ctrl-C closes it");
    server.room.submit_when(told_to_quit, |_, ()| ()).wait()?;
    end(scheduler, server)
}

fn attempt(address: SocketAddr, clients: usize) -> Result<(), Box<dyn Error>> {
    // Both ends of each connection are in this process.
    let (files, needed) = (raise_files(), 2 * clients as u64 + 50);
    if files < needed {
        let why = format!("{needed} file descriptors are needed, and there are {files}");
        return Err(format!("{why}: see `ulimit -Hn`").into());
    }
    let (scheduler, server) = open(address)?;
    let tried = trial::run(&scheduler, &server, clients);
    end(scheduler, server)?;
    tried
}

fn open(address: SocketAddr) -> Result<(Scheduler, Server), Box<dyn Error>> {
    let listener = Async::<TcpListener>::bind(address)
        .map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let scheduler = Scheduler::builder().thread_name("room").build()?;
    let server = Server::open(&scheduler, listener)?;
    println!("listening at {}", server.address);
    Ok((scheduler, server))
}

fn end(scheduler: Scheduler, server: Server) -> Result<(), Box<dyn Error>> {
    server.end()?;
    scheduler.try_shutdown(server::GRACE)?;
    println!("all have left, and the room is closed");
    Ok(())
}

/// Raises the limit of open files, and returns the new limit.
fn raise_files() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(256)
}
