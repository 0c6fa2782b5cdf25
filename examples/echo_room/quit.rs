//! Signals that ask to quit, from the event loop too.

use std::io;

/// Resolves when such a signal comes.
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
    // An error is a reason to quit, too.
    Ok(async move { drop(reads.readable().await) })
}

#[cfg(not(unix))]
pub(crate) fn told() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(std::future::pending())
}
