//! Signals that ask the process to quit, received through the event loop.

use std::io;

/// Returns a future that resolves when the process gets such a signal.
#[cfg(unix)]
pub(crate) fn told() -> io::Result<impl Future<Output = ()> + Send> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::low_level::pipe;
    use std::os::unix::net::UnixStream;

    let (reads, writes) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, writes.try_clone()?)?;
    }
    let reads = captor::io::Async::new(reads)?;
    // If waiting for the signal fails, the process quits too.
    Ok(async move { drop(reads.readable().await) })
}

#[cfg(not(unix))]
pub(crate) fn told() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(std::future::pending())
}
