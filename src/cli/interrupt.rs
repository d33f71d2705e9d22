//! Ctrl-C: stops the answer that is being written, or else the program.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static ANSWERING: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl-C. Where that is not possible, it ends the program as usual.
pub fn install() {
    let installed = ctrlc::set_handler(|| {
        // The second Ctrl-C does not wait for the answer to stop.
        if !ANSWERING.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
            process::exit(130);
        }
    });
    if let Err(error) = installed {
        tracing::warn!("Ctrl-C cannot be caught: {error}");
    }
}

/// While it lives, Ctrl-C sets the flag and leaves the program running.
pub struct Answering(());

impl Answering {
    /// Begins an answer.
    pub fn begin() -> Self {
        INTERRUPTED.store(false, Ordering::SeqCst);
        ANSWERING.store(true, Ordering::SeqCst);
        Self(())
    }

    /// The flag.
    pub fn interrupted(&self) -> &'static AtomicBool {
        &INTERRUPTED
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        ANSWERING.store(false, Ordering::SeqCst);
    }
}
