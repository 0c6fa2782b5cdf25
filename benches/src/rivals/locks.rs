//! Mutexes, and tools that run closures in their place.

use super::{AsyncShared, Shared};
use crate::work::{Op, Topic};
use futures::FutureExt;
use std::sync::Arc;

pub struct ParkingLot(parking_lot::Mutex<Topic>);

impl Shared for ParkingLot {
    const NAME: &'static str = "parking_lot";
    fn new() -> Self {
        ParkingLot(Default::default())
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        op.run(&mut self.0.lock())
    }
}

/// The mutex in an `Arc`, so that its handles can be cloned, as captor's can.
pub struct ArcParkingLot(Arc<parking_lot::Mutex<Topic>>);

impl Shared for ArcParkingLot {
    const NAME: &'static str = "Arc<parking_lot>";
    fn new() -> Self {
        ArcParkingLot(Default::default())
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        op.run(&mut self.0.lock())
    }
}

pub struct Std(std::sync::Mutex<Topic>);

impl Shared for Std {
    const NAME: &'static str = "std";
    fn new() -> Self {
        Std(Default::default())
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        op.run(&mut self.0.lock().expect("not poisoned"))
    }
}

/// A flat-combining lock: the thread at the head of the queue runs the closures of all queued
/// threads.
pub struct Lamlock(lamlock::Lock<Topic>);

impl Shared for Lamlock {
    const NAME: &'static str = "lamlock";
    fn new() -> Self {
        Lamlock(lamlock::Lock::new(Topic::default()))
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        self.0.run(|t| op.run(t)).expect("not poisoned")
    }
}

/// A queue of closures for each value. A thread pool or the caller runs the closures.
pub struct Desync(desync::Desync<Topic>);

impl Shared for Desync {
    const NAME: &'static str = "desync";
    const BUSY: bool = false;
    fn new() -> Self {
        Desync(desync::Desync::new(Topic::default()))
    }
    #[inline]
    fn call(&self, op: Op) -> u64 {
        self.0.sync(move |t| op.run(t))
    }
    #[inline]
    fn cast(&self, op: Op) {
        self.0.desync(move |t| {
            op.run(t);
        });
    }
}

#[derive(Clone)]
pub struct AsyncDesync(Arc<desync::Desync<Topic>>);

impl AsyncShared for AsyncDesync {
    const NAME: &'static str = "desync future";
    fn new() -> Self {
        AsyncDesync(Arc::new(desync::Desync::new(Topic::default())))
    }
    async fn call(&self, op: Op) -> u64 {
        let task = self
            .0
            .future_desync(move |t| std::future::ready(op.run(t)).boxed());
        task.await.expect("not cancelled")
    }
}

#[derive(Clone)]
pub struct Tokio(Arc<tokio::sync::Mutex<Topic>>);

impl AsyncShared for Tokio {
    const NAME: &'static str = "tokio mutex";
    fn new() -> Self {
        Tokio(Arc::default())
    }
    #[inline]
    async fn call(&self, op: Op) -> u64 {
        op.run(&mut *self.0.lock().await)
    }
}

/// The mutex, locked in an async task and never across an await.
#[derive(Clone)]
pub struct AsyncParkingLot(Arc<parking_lot::Mutex<Topic>>);

impl AsyncShared for AsyncParkingLot {
    const NAME: &'static str = "parking_lot";
    fn new() -> Self {
        AsyncParkingLot(Arc::default())
    }
    #[inline]
    async fn call(&self, op: Op) -> u64 {
        op.run(&mut self.0.lock())
    }
}
