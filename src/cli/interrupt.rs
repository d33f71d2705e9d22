//! Ctrl-C: stops the answer or the indexing that is going on, or else the program.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static BUSY: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl-C. Where that is not possible, it ends the program as usual.
pub fn install() {
    let installed = ctrlc::set_handler(|| {
        // The second Ctrl-C does not wait for the work to stop.
        if !BUSY.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
            process::exit(130);
        }
    });
    if let Err(error) = installed {
        tracing::warn!("Ctrl-C cannot be caught: {error}");
    }
}

/// While it lives, Ctrl-C sets the flag and leaves the program running.
pub struct Interruptible(());

impl Interruptible {
    /// Begins an answer, or indexing.
    pub fn begin() -> Self {
        INTERRUPTED.store(false, Ordering::SeqCst);
        BUSY.store(true, Ordering::SeqCst);
        Self(())
    }

    /// The flag.
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
