//! Starting a thread.

use crate::sync::thread;
use std::io;

/// How threads are started; a test's own may fail.
pub(crate) type Spawn = dyn Fn(String, Box<dyn FnOnce() + Send>) -> io::Result<()> + Send + Sync;

/// Starts a thread as the system does.
pub(crate) fn spawn_thread(name: String, main: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(main).map(drop)
}
