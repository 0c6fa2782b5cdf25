//! The server of the room: a door, and a job for each connection. None of them has a thread.

use crate::room::{Line, Room};
use captor::io::{Async, Timer, accepted, lines};
use captor::{Attachment, Completion, Resource, Scheduler, TaskError};
use futures::channel::mpsc::Receiver;
use futures::future::{Either, select};
use futures::{AsyncWriteExt, StreamExt};
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::time::{Duration, Instant};

/// The longest line that a client may say, in bytes.
pub(crate) const LONGEST: usize = 512;

/// How long a client that has left may take to read the lines in its outbox.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How often the room tells the clients which clients joined and left.
const NEWS: Duration = Duration::from_millis(100);

/// How long the room does not listen to a client after each of its lines. Then the client's job
/// continues behind the jobs that write the line to the other clients. So a talkative client does
/// not fill the other clients' outboxes.
const PACE: Duration = Duration::from_millis(2);

/// How many bytes the system buffers for a client that does not read. The system's default adds up
/// to gigabytes for thousands of clients.
const SEND_BUFFER: usize = 64 << 10;

/// How many connections may wait to be accepted. `std` allows 128: then a crowd that connects at
/// once gets in only after seconds, and most of that time it is not even in the backlog.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) room: Resource<Room>,
    pub(crate) address: SocketAddr,
    door: Attachment,
}

impl Server {
    pub(crate) fn open(scheduler: &Scheduler, listener: Async<TcpListener>) -> io::Result<Server> {
        let address = listener.get_ref().local_addr()?;
        SockRef::from(&listener).listen(BACKLOG)?;
        let room = scheduler.resource(Room::default());
        // The dropped handle leaves the timer running. The timer ends with the room.
        drop(room.every(NEWS, Room::tell_news));
        let here = room.downgrade();
        let door = room.attach(accepted(listener), move |room, accepted| {
            let Some(here) = here.upgrade() else { return };
            match accepted.and_then(|(socket, _)| prepared(socket)) {
                Ok(socket) => room.enter(|id, outbox| serve(&here, id, socket, outbox)),
                Err(error) => eprintln!("echo_room: cannot accept a connection: {error}"),
            }
        });
        Ok(Server {
            room,
            address,
            door,
        })
    }

    /// Ends all connections and closes the room.
    pub(crate) fn end(self) -> Result<(), TaskError> {
        self.door.detach();
        let deadline = Instant::now() + GRACE;
        for task in self.room.with(Room::end)? {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(task) = task.wait_timeout(left) {
                task.cancel();
            }
        }
        self.room.close();
        Ok(())
    }
}

fn prepared(socket: Async<TcpStream>) -> io::Result<Async<TcpStream>> {
    socket.get_ref().set_nodelay(true)?;
    SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER)?;
    Ok(socket)
}

/// Serves one client for the life of its connection. When the room [cancels](Completion::cancel)
/// this job, the connection is closed.
fn serve(
    room: &Resource<Room>,
    id: u64,
    socket: Async<TcpStream>,
    outbox: Receiver<Line>,
) -> Completion<()> {
    room.submit_steps(async move |room| {
        let hears = pin!(hear(&room, id, &socket));
        let hears = select(hears, room.closed());
        let writes = pin!(write(&socket, outbox));
        let rest = match select(hears, writes).await {
            Either::Left((_, rest)) => Some(rest),
            Either::Right(_) => None,
        };
        // If the room is closed, it refuses this task. Then the rest of the outbox is not written.
        let left = room.submit(move |room| room.leave(id)).await;
        if let (Some(rest), Ok(())) = (rest, left) {
            select(rest, Timer::after(GRACE)).await;
        }
    })
}

/// Submits each line of a client as a task of the room. The next line is read when that task has
/// finished, so a talkative client does not fill the room's queue.
async fn hear(room: &Resource<Room>, id: u64, socket: &Async<TcpStream>) {
    let mut lines = lines(socket, LONGEST);
    while let Some(line) = lines.next().await {
        let heard = match line {
            Ok(line) => room.submit(move |room| room.hear(id, &line)),
            // An error is the last item of the stream.
            Err(why) => room.submit(move |room| room.send_away(id, &why.to_string())),
        };
        if heard.await.is_err() {
            return;
        }
        Timer::after(PACE).await;
    }
}

/// Writes the lines of a client's outbox, as fast as the client reads. Ends when the room removes
/// the client.
async fn write(mut socket: &Async<TcpStream>, mut outbox: Receiver<Line>) -> io::Result<()> {
    while let Some(line) = outbox.next().await {
        socket.write_all(line.as_bytes()).await?;
    }
    Ok(())
}
