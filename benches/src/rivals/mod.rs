//! Who takes part: each is one way to have work done on a shared [`Topic`].
//!
//! [`Topic`]: crate::work::Topic

pub mod actors;
pub mod frameworks;
pub mod locks;
pub mod ours;

use crate::work::Op;
use std::future::Future;
use std::sync::OnceLock;
use tokio::runtime::Runtime;

/// Used from threads.
pub trait Shared: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// Its waits do not park the thread for every call.
    const BUSY: bool = true;

    fn new() -> Self;

    /// Has `op` run and returns what came out.
    fn call(&self, op: Op) -> u64;

    /// Has `op` run, now or later, before whatever is asked for next.
    #[inline]
    fn cast(&self, op: Op) {
        self.call(op);
    }
}

/// Used from async tasks.
pub trait AsyncShared: Clone + Send + Sync + Sized + 'static {
    const NAME: &'static str;

    fn new() -> Self;
    fn call(&self, op: Op) -> impl Future<Output = u64> + Send;
}

/// Where async contestants, and actors that need it, run.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("tokio's runtime starts"))
}
