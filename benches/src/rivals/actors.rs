//! Actors by hand: a thread or a task that owns the value, behind a channel.
//!
//! The mailboxes are bounded, as a server's mailboxes must be. A caller reuses one reply channel
//! for all its calls, which favours the actors.

use super::{AsyncShared, Shared, runtime};
use crate::work::{Op, Topic};

const MAILBOX: usize = 1024;

/// An actor thread behind a channel of `$krate`.
macro_rules! threaded {
    ($name:ident, $label:literal, $krate:ident) => {
        pub struct $name($krate::Sender<(Op, Option<$krate::Sender<u64>>)>);

        impl Shared for $name {
            const NAME: &'static str = $label;
            const BUSY: bool = false;

            fn new() -> Self {
                let (send, receive) = $krate::bounded(MAILBOX);
                std::thread::spawn(move || {
                    let mut topic = Topic::default();
                    while let Ok((op, reply)) = receive.recv() {
                        let op: Op = op;
                        let count = op.run(&mut topic);
                        if let Some(reply) = reply {
                            let reply: $krate::Sender<u64> = reply;
                            // The caller may have gone.
                            let _ = reply.send(count);
                        }
                    }
                });
                $name(send)
            }

            fn call(&self, op: Op) -> u64 {
                thread_local! {
                    static REPLY: ($krate::Sender<u64>, $krate::Receiver<u64>) = $krate::bounded(1);
                }
                REPLY.with(|(reply, answer)| {
                    self.0
                        .send((op, Some(reply.clone())))
                        .expect("the actor lives");
                    answer.recv().expect("the actor lives")
                })
            }

            fn cast(&self, op: Op) {
                self.0.send((op, None)).expect("the actor lives");
            }
        }
    };
}

threaded!(Crossbeam, "actor crossbeam", crossbeam_channel);
threaded!(Flume, "actor flume", flume);
threaded!(Kanal, "actor kanal", kanal);

type Message = (Op, Option<tokio::sync::oneshot::Sender<u64>>);

/// An actor task behind tokio's channel.
#[derive(Clone)]
pub struct Tokio(tokio::sync::mpsc::Sender<Message>);

fn tokio_actor() -> Tokio {
    let (send, mut receive) = tokio::sync::mpsc::channel::<Message>(MAILBOX);
    runtime().spawn(async move {
        let mut topic = Topic::default();
        while let Some((op, reply)) = receive.recv().await {
            let count = op.run(&mut topic);
            if let Some(reply) = reply {
                // The caller may have gone.
                let _ = reply.send(count);
            }
        }
    });
    Tokio(send)
}

impl Shared for Tokio {
    const NAME: &'static str = "actor tokio mpsc";
    const BUSY: bool = false;
    fn new() -> Self {
        tokio_actor()
    }
    fn call(&self, op: Op) -> u64 {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.0.blocking_send((op, Some(reply))).expect("it lives");
        answer.blocking_recv().expect("it lives")
    }
    fn cast(&self, op: Op) {
        self.0.blocking_send((op, None)).expect("it lives");
    }
}

impl AsyncShared for Tokio {
    const NAME: &'static str = "actor tokio mpsc";
    fn new() -> Self {
        tokio_actor()
    }
    async fn call(&self, op: Op) -> u64 {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.0.send((op, Some(reply))).await.expect("it lives");
        answer.await.expect("it lives")
    }
}
