//! Parks a thread, and makes the waker that unparks the thread.

use crate::raw::thread::context;
use crate::sync::{Arc, thread, thread_local};
use core::task::Waker;
use std::task::Wake;
use std::time::Instant;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn new_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Returns a waker that unparks this thread.
pub(crate) fn thread_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = new_waker();
    }
    // While the thread's locals are being dropped, no cached waker exists.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| new_waker())
}

/// Blocks until the thread is unparked, or until `deadline`. If the deadline has passed already,
/// returns `false` without blocking.
pub(crate) fn park_until(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        context::block(thread::park);
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    #[cfg(not(captor_loom))]
    context::block(|| thread::park_timeout(left));
    // loom has no clock.
    #[cfg(captor_loom)]
    thread::park();
    true
}
