//! captor, by each of its calls.

use super::{AsyncShared, Shared};
use crate::work::{Op, Topic};
use captor::Resource;

pub struct With(pub Resource<Topic>);

impl Shared for With {
    const NAME: &'static str = "captor with";
    fn new() -> Self {
        With(Resource::default())
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        self.0.with(|t| op.run(t)).expect("open")
    }
}

pub struct Submit(pub Resource<Topic>);

impl Shared for Submit {
    const NAME: &'static str = "captor submit";
    fn new() -> Self {
        Submit(Resource::default())
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        let task = self.0.submit(move |t| op.run(t));
        task.wait().expect("open")
    }
}

pub struct Execute(pub Resource<Topic>);

impl Shared for Execute {
    const NAME: &'static str = "captor execute";
    fn new() -> Self {
        Execute(Resource::default())
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        self.0.with(|t| op.run(t)).expect("open")
    }
    #[inline]
    fn cast(&self, op: Op) {
        self.0
            .execute(move |t| {
                op.run(t);
            })
            .expect("open");
    }
}

#[derive(Clone)]
pub struct Await(pub Resource<Topic>);

impl AsyncShared for Await {
    const NAME: &'static str = "captor submit.await";
    fn new() -> Self {
        Await(Resource::default())
    }
    #[inline]
    async fn call(&self, op: Op) -> u64 {
        self.0.submit(move |t| op.run(t)).await.expect("open")
    }
}
