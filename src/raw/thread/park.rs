//! Parking a thread, and the waker that unparks it.

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

/// A waker that unparks this thread.
pub(crate) fn thread_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = new_waker();
    }
    // While the thread's locals are being dropped there is no cached one.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| new_waker())
}

/// Blocks until unparked or, at the latest, until `deadline`. `false`: it has passed.
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
