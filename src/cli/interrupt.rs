//! Ctrl-C stops the current answer or indexing; if there is none, it ends the program. SIGTERM and
//! SIGHUP do the same: a shutdown or a closed terminal loses no finished work either.

use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::terminal::exit::Exit;

/// Signals this soon after the first belong to it: a terminal that closes sends SIGHUP through both
/// the shell and the system, and a service manager sends SIGHUP after SIGTERM.
const SAME_EVENT: Duration = Duration::from_millis(500);

static BUSY: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Installs the handler of the signals. If that fails, they end the program as usual.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install_once);
}

fn install_once() {
    let mut first = Instant::now();
    let installed = ctrlc::set_handler(move || {
        if ELSEWHERE.load(Ordering::SeqCst) {
            return;
        }
        let is_first = !INTERRUPTED.swap(true, Ordering::SeqCst);
        if is_first {
            first = Instant::now();
        }
        // A second Ctrl-C does not wait for the work to stop.
        let is_impatient = !is_first && first.elapsed() > SAME_EVENT;
        if !BUSY.load(Ordering::SeqCst) || is_impatient {
            process::exit(Exit::Interrupted as i32);
        }
    });
    if let Err(error) = installed {
        tracing::warn!("Ctrl-C cannot be caught: {error}");
    }
}

/// While this guard lives, a signal only sets the flag.
pub struct Interruptible(());

impl Interruptible {
    /// Clears the flag and starts catching signals.
    pub fn begin() -> Self {
        INTERRUPTED.store(false, Ordering::SeqCst);
        BUSY.store(true, Ordering::SeqCst);
        Self(())
    }

    /// The flag, set once a signal came.
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

/// While this guard lives, signals are for the program that has the terminal, such as a pager: the
/// terminal sends Ctrl-C to both, as often as the user likes.
pub struct Elsewhere(());

impl Elsewhere {
    pub fn begin() -> Self {
        ELSEWHERE.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        ELSEWHERE.store(false, Ordering::SeqCst);
    }
}
