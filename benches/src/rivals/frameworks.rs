//! Actor frameworks.

use super::{AsyncShared, Shared, runtime};
use crate::work::{Op, Topic};
use futures::executor::block_on;

mod with_kameo {
    use super::{Op, Topic};
    use kameo::Actor;
    use kameo::message::{Context, Message};

    #[derive(Actor, Default)]
    pub struct TopicActor(Topic);

    pub struct Do(pub Op);

    impl Message<Do> for TopicActor {
        type Reply = u64;
        async fn handle(&mut self, Do(op): Do, _: &mut Context<Self, u64>) -> u64 {
            op.run(&mut self.0)
        }
    }
}

#[derive(Clone)]
pub struct Kameo(kameo::actor::ActorRef<with_kameo::TopicActor>);

fn kameo_actor() -> Kameo {
    use kameo::actor::Spawn;
    let _inside = runtime().enter();
    Kameo(with_kameo::TopicActor::spawn(Default::default()))
}

impl Shared for Kameo {
    const NAME: &'static str = "kameo";
    const BUSY: bool = false;
    fn new() -> Self {
        kameo_actor()
    }
    fn call(&self, op: Op) -> u64 {
        block_on(<Self as AsyncShared>::call(self, op))
    }
    fn cast(&self, op: Op) {
        let message = self.0.tell(with_kameo::Do(op));
        message.blocking_send().expect("it lives");
    }
}

impl AsyncShared for Kameo {
    const NAME: &'static str = "kameo";
    fn new() -> Self {
        kameo_actor()
    }
    async fn call(&self, op: Op) -> u64 {
        self.0.ask(with_kameo::Do(op)).await.expect("it lives")
    }
}

mod with_ractor {
    use super::{Op, Topic};
    use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

    pub struct TopicActor;

    pub enum Message {
        Call(Op, RpcReplyPort<u64>),
        Cast(Op),
    }

    impl Actor for TopicActor {
        type Msg = Message;
        type State = Topic;
        type Arguments = ();

        async fn pre_start(
            &self,
            _: ActorRef<Message>,
            (): (),
        ) -> Result<Topic, ActorProcessingErr> {
            Ok(Topic::default())
        }

        async fn handle(
            &self,
            _: ActorRef<Message>,
            message: Message,
            topic: &mut Topic,
        ) -> Result<(), ActorProcessingErr> {
            match message {
                Message::Cast(op) => {
                    op.run(topic);
                }
                // The caller may have gone.
                Message::Call(op, reply) => drop(reply.send(op.run(topic))),
            }
            Ok(())
        }
    }
}

#[derive(Clone)]
pub struct Ractor(ractor::ActorRef<with_ractor::Message>);

fn ractor_actor() -> Ractor {
    let spawned = runtime().block_on(ractor::Actor::spawn(None, with_ractor::TopicActor, ()));
    Ractor(spawned.expect("it starts").0)
}

impl Shared for Ractor {
    const NAME: &'static str = "ractor";
    const BUSY: bool = false;
    fn new() -> Self {
        ractor_actor()
    }
    fn call(&self, op: Op) -> u64 {
        block_on(<Self as AsyncShared>::call(self, op))
    }
    fn cast(&self, op: Op) {
        let message = with_ractor::Message::Cast(op);
        self.0.cast(message).expect("it lives");
    }
}

impl AsyncShared for Ractor {
    const NAME: &'static str = "ractor";
    fn new() -> Self {
        ractor_actor()
    }
    async fn call(&self, op: Op) -> u64 {
        let asked = self
            .0
            .call(|reply| with_ractor::Message::Call(op, reply), None)
            .await;
        asked.expect("it lives").expect("it answers")
    }
}
