//! The contestants. Each is one way to run work on a shared [`Topic`].
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

/// A contestant that threads use.
pub trait Shared: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// A wait does not park the thread for every call.
    const BUSY: bool = true;

    fn new() -> Self;

    /// Runs `op` and returns its result.
    fn call(&self, op: Op) -> u64;

    /// Runs `op` now or later, but before any later `op` of this thread.
    #[inline]
    fn cast(&self, op: Op) {
        self.call(op);
    }
}

/// A contestant that async tasks use.
pub trait AsyncShared: Clone + Send + Sync + Sized + 'static {
    const NAME: &'static str;

    fn new() -> Self;
    fn call(&self, op: Op) -> impl Future<Output = u64> + Send;
}

/// Returns the runtime for async contestants and for actors that need one.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("tokio's runtime starts"))
}
