//! The room: its clients and their outboxes. The room neither reads nor writes sockets. A line
//! that a client says arrives as a task. A line for a client is put into the client's outbox.

use captor::Completion;
use futures::channel::mpsc::{self, Receiver, Sender};
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

/// How many lines may wait for a client to read them. All clients share the lines.
pub(crate) const OUTBOX: usize = 256;

/// The longest name, in bytes.
const NAME: usize = 16;

/// The most names in one piece of news.
const NAMED: usize = 8;

pub(crate) type Line = Arc<str>;

#[derive(Debug, Default)]
pub(crate) struct Room {
    clients: BTreeMap<u64, Client>,
    entered: u64,
    joined: Vec<String>,
    left: Vec<String>,
    /// How many clients were dropped because they did not read.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct Client {
    /// The name. A client without a name is not in the room yet.
    name: Option<String>,
    outbox: Sender<Line>,
    /// The job that serves the client.
    task: Completion<()>,
}

impl Client {
    fn is_in(&self) -> bool {
        self.name.is_some()
    }

    /// Puts a line into the outbox. Returns `false` if the outbox is full. Returns `true` if the line
    /// is in the outbox or the reader is gone.
    fn tell(&mut self, line: &Line) -> bool {
        match self.outbox.try_send(Arc::clone(line)) {
            Err(error) => !error.is_full(),
            Ok(()) => true,
        }
    }
}

impl Room {
    /// Adds a client. `serve` starts the job that serves the client.
    pub(crate) fn enter(&mut self, serve: impl FnOnce(u64, Receiver<Line>) -> Completion<()>) {
        self.entered += 1;
        let id = self.entered;
        let (outbox, reads) = mpsc::channel(OUTBOX);
        let client = Client {
            name: None,
            outbox,
            task: serve(id, reads),
        };
        self.clients.insert(id, client);
        self.tell(id, "* what is your name?");
    }

    /// Handles a line that a client says.
    pub(crate) fn hear(&mut self, id: u64, line: &str) {
        // The readers use terminals, and terminals obey control characters.
        let line = line.replace(char::is_control, "");
        let line = line.trim();
        let Some(client) = self.clients.get(&id) else {
            return; // the client was dropped in the meantime
        };
        match (&client.name, line) {
            (_, "") => {}
            (_, "/quit") => self.leave(id),
            (_, "/who") => self.tell(id, &self.who()),
            (None, name) => self.join(id, name),
            (Some(_), line) if line.starts_with('/') => self.tell(id, "* there is /who and /quit"),
            (Some(name), line) => {
                let line = format!("{name}: {line}");
                self.tell_news();
                self.tell_all(&line);
            }
        }
    }

    fn join(&mut self, id: u64, name: &str) {
        if name.starts_with('/') || name.contains(char::is_whitespace) || name.len() > NAME {
            return self.tell(id, "* a name is one word, and not a long one; yours?");
        }
        if self.names().any(|taken| taken == name) {
            return self.tell(id, "* that name is taken; another?");
        }
        if let Some(client) = self.clients.get_mut(&id) {
            client.name = Some(name.to_owned());
        }
        self.joined.push(name.to_owned());
        self.tell(id, &format!("* welcome, {name}"));
    }

    /// Removes a client. The client still gets the lines in its outbox, and no further lines.
    pub(crate) fn leave(&mut self, id: u64) {
        self.left
            .extend(self.clients.remove(&id).and_then(|client| client.name));
    }

    pub(crate) fn send_away(&mut self, id: u64, why: &str) {
        self.tell(id, &format!("* {why}"));
        self.leave(id);
    }

    /// Tells all clients which clients joined and left since the last call. One line names several
    /// clients, so a crowd that joins at once does not cost a line for each pair of clients.
    pub(crate) fn tell_news(&mut self) {
        for (names, what) in [
            (take(&mut self.joined), "joined"),
            (take(&mut self.left), "left"),
        ] {
            if !names.is_empty() {
                self.tell_all(&format!("* {} {what}", list(&names)));
            }
        }
    }

    /// Removes all clients and returns their jobs. The clients still get the lines in their
    /// outboxes.
    pub(crate) fn end(&mut self) -> Vec<Completion<()>> {
        self.tell_all("* the room is closed");
        let clients = take(&mut self.clients);
        clients.into_values().map(|client| client.task).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.names().count()
    }

    fn who(&self) -> String {
        let names: Vec<_> = self.names().map(str::to_owned).collect();
        format!("* {} here: {}", names.len(), list(&names))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.clients.values().filter_map(|c| c.name.as_deref())
    }

    fn tell(&mut self, id: u64, line: &str) {
        let client = self.clients.get_mut(&id);
        if client.is_some_and(|client| !client.tell(&ended(line))) {
            self.drop_deaf(id);
        }
    }

    fn tell_all(&mut self, line: &str) {
        let line = ended(line);
        let mut deaf = Vec::new();
        for (id, client) in &mut self.clients {
            if client.is_in() && !client.tell(&line) {
                deaf.push(*id);
            }
        }
        deaf.into_iter().for_each(|id| self.drop_deaf(id));
    }

    /// Drops a client whose outbox is full because the client does not read. No task waits for
    /// such a client.
    fn drop_deaf(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        client.task.cancel();
        self.dropped += 1;
        let name = client.name.as_deref().unwrap_or("somebody");
        self.left.push(format!("{name} (who did not read)"));
    }
}

fn ended(line: &str) -> Line {
    format!("{line}\n").into()
}

fn list(names: &[String]) -> String {
    let named = names[..names.len().min(NAMED)].join(", ");
    match names.len() {
        all if all > NAMED => format!("{named} and {} more", all - NAMED),
        _ => named,
    }
}
