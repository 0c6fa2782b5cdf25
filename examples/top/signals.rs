//! Signals that ask to quit: the screen is restored first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub(crate) struct Quit(Arc<AtomicBool>);

impl Quit {
    /// From now on such a signal is only noted: the first one.
    pub(crate) fn new() -> io::Result<Quit> {
        let came = Arc::default();
        #[cfg(unix)]
        for signal in signal_hook::consts::TERM_SIGNALS {
            use signal_hook::flag;
            // In this order: the one that is noted does not end the process, the next does.
            flag::register_conditional_default(*signal, Arc::clone(&came))?;
            flag::register(*signal, Arc::clone(&came))?;
        }
        Ok(Quit(came))
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// From now on any of them ends the process, as it does by default.
    pub(crate) fn pass_on(&self) {
        self.0.store(true, Relaxed);
    }
}
