//! What serves the room: a door, and a job for each connection. None has a thread.

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

/// How long a client that has left may take to read what it was told before.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How often it is told who came and went.
const NEWS: Duration = Duration::from_millis(100);

/// How long a client is not heard after each line. It goes on behind those who were
/// to be told of that line: so one that says much does not fill the others' outboxes.
const PACE: Duration = Duration::from_millis(2);

/// How much the system keeps for a client that does not read. (What it keeps unasked for
/// each of thousands comes to gigabytes.)
const SEND_BUFFER: usize = 64 << 10;

/// How many may wait at the door. (For the 128 of `std`, a crowd that comes at once comes
/// in after seconds, of which it spends most away from the door.)
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
        // Left to itself: it ends with the room.
        drop(room.every(NEWS, Room::tell_news));
        let here = room.downgrade();
        let door = room.attach(accepted(listener), move |room, accepted| {
            let Some(here) = here.upgrade() else { return };
            match accepted.and_then(|(socket, _)| prepared(socket)) {
                Ok(socket) => room.enter(|id, outbox| serve(&here, id, socket, outbox)),
                Err(error) => eprintln!("echo_room: nobody comes in: {error}"),
            }
        });
        Ok(Server {
            room,
            address,
            door,
        })
    }

    /// Sends all away, and closes the room.
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

/// One client, from its coming to its going. When the room [cancels](Completion::cancel)
/// this, the connection is closed.
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
        // Refused where the room is closed: nobody empties the outbox then.
        let left = room.submit(move |room| room.leave(id)).await;
        if let (Some(rest), Ok(())) = (rest, left) {
            select(rest, Timer::after(GRACE)).await;
        }
    })
}

/// Has each line of a client run as a task of the room. The next is read when that is
/// through: who says much does not fill the room's queue.
async fn hear(room: &Resource<Room>, id: u64, socket: &Async<TcpStream>) {
    let mut lines = lines(socket, LONGEST);
    while let Some(line) = lines.next().await {
        let heard = match line {
            Ok(line) => room.submit(move |room| room.hear(id, &line)),
            // The last item.
            Err(why) => room.submit(move |room| room.send_away(id, &why.to_string())),
        };
        if heard.await.is_err() {
            return;
        }
        Timer::after(PACE).await;
    }
}

/// Writes what a client is told, as fast as it reads. Ends when the room lets it go.
async fn write(mut socket: &Async<TcpStream>, mut outbox: Receiver<Line>) -> io::Result<()> {
    while let Some(line) = outbox.next().await {
        socket.write_all(line.as_bytes()).await?;
    }
    Ok(())
}
