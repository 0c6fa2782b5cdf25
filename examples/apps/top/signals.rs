//! Signals that ask the process to quit. The screen is restored before the process quits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub(crate) struct Quit(Arc<AtomicBool>);

impl Quit {
    /// From now on, the first such signal is only noted.
    pub(crate) fn new() -> io::Result<Quit> {
        let came = Arc::default();
        #[cfg(unix)]
        for signal in signal_hook::consts::TERM_SIGNALS {
            use signal_hook::flag;
            // This order matters: the first signal is noted and does not end the process, and the
            // second signal ends the process.
            flag::register_conditional_default(*signal, Arc::clone(&came))?;
            flag::register(*signal, Arc::clone(&came))?;
        }
        Ok(Quit(came))
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// From now on, each such signal ends the process, as by default.
    pub(crate) fn pass_on(&self) {
        self.0.store(true, Relaxed);
    }
}
