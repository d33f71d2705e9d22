//! Ctrl-C stops the current answer or indexing; if there is none, it ends the program.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static BUSY: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Installs the Ctrl-C handler. If that fails, Ctrl-C ends the program as usual.
pub fn install() {
    let installed = ctrlc::set_handler(|| {
        // A second Ctrl-C does not wait for the work to stop.
        if !BUSY.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
            process::exit(130);
        }
    });
    if let Err(error) = installed {
        tracing::warn!("Ctrl-C cannot be caught: {error}");
    }
}

/// While this guard lives, Ctrl-C only sets the flag.
pub struct Interruptible(());

impl Interruptible {
    /// Clears the flag and starts catching Ctrl-C.
    pub fn begin() -> Self {
        INTERRUPTED.store(false, Ordering::SeqCst);
        BUSY.store(true, Ordering::SeqCst);
        Self(())
    }

    /// The flag, set once Ctrl-C was pressed.
    #[expect(clippy::unused_self, reason = "the flag means something only while this lives")]
    pub fn interrupted(&self) -> &'static AtomicBool {
        &INTERRUPTED
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::SeqCst);
    }
}
