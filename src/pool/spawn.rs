//! How the pool and the timer start their threads. A test may replace this by a function that
//! fails.

use crate::sync::thread;
use std::io;

/// A function that starts a thread with a name and a main function.
pub(crate) type Spawn = dyn Fn(String, Box<dyn FnOnce() + Send>) -> io::Result<()> + Send + Sync;

/// Starts a thread of the operating system.
pub(crate) fn spawn_thread(name: String, main: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(main).map(drop)
}
