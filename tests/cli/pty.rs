//! A dialogue on a pseudo-terminal.

#![allow(unsafe_code, reason = "system calls between fork and exec")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ctrl-C, as the keyboard sends it.
pub const CTRL_C: &str = "\u{3}";
/// Ctrl-Z.
pub const CTRL_Z: &str = "\u{1a}";
/// Ctrl-D.
pub const CTRL_D: &str = "\u{4}";

/// A command with a terminal for its three streams, and the keyboard and screen of that terminal.
pub struct Pty {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
    /// How far [`Pty::wait_for`] has read.
    read: usize,
}

impl Pty {
    /// Starts `command` on a new terminal.
    pub fn start(command: Command) -> Self {
        Self::start_with(command, 200)
    }

    /// Starts `command` on a new terminal of so many columns.
    pub fn start_with(mut command: Command, columns: u16) -> Self {
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        command
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave);
        // SAFETY: both are plain system calls, which are allowed between fork and exec. They make this
        // the terminal from which Ctrl-C comes.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match nix::libc::ioctl(0, nix::libc::TIOCSCTTY as _, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().unwrap();
        // Only the program may hold its side of the terminal, so that the screen ends with it.
        drop(command);
        let keyboard = File::from(pty.master);
        let mut master = keyboard.try_clone().unwrap();
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Linux reports an error when the other side is closed.
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, bytes: Vec::new(), read: 0 }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Gives the terminal another width, of which its program is told.
    pub fn resize(&self, columns: u16) {
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the terminal is open, and the size lives as long as the call.
        let done = unsafe {
            nix::libc::ioctl(self.keyboard.as_raw_fd(), nix::libc::TIOCSWINSZ as _, &raw const size)
        };
        assert_eq!(done, 0);
    }

    /// Closes the terminal, as a window is closed, and waits for the program to end.
    pub fn close(self) {
        let Self { mut child, keyboard, screen, .. } = self;
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        drop(keyboard);
        // The thread that reads the screen holds the terminal open.
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
        child.wait().unwrap();
        drop(screen);
    }

    /// Reads on until `text` appears, and returns everything since the text waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let unread = &self.bytes[self.read..];
            if let Some(at) = unread.windows(text.len()).position(|part| part == text.as_bytes()) {
                let shown = String::from_utf8_lossy(&unread[..at + text.len()]).into_owned();
                self.read += at + text.len();
                return shown;
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.bytes.extend(bytes),
                Err(RecvTimeoutError::Timeout) => self.give_up(&format!("no {text:?} in time")),
                Err(RecvTimeoutError::Disconnected) => {
                    self.give_up(&format!("ended before {text:?}"))
                }
            }
        }
    }

    /// Waits for the end; returns the exit status and all that was shown.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.bytes.extend(bytes),
                Err(RecvTimeoutError::Timeout) => self.give_up("does not end"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().unwrap();
        let screen = String::from_utf8_lossy(&self.bytes).into_owned();
        assert!(!screen.contains("panicked"), "{screen}");
        (status, screen)
    }

    #[track_caller]
    fn give_up(&mut self, why: &str) -> ! {
        // The program may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        panic!("{why}: {}", String::from_utf8_lossy(&self.bytes));
    }
}

/// What a person sees: without the commands to the terminal.
pub fn visible(screen: &str) -> String {
    let mut parts = screen.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let end = match part.chars().next() {
            // Up to BEL, or to the backslash of the next part.
            Some(']') => part.find('\u{7}').map_or(part.len(), |at| at + 1),
            Some('\\') => 1,
            _ => part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1),
        };
        text + &part[end..]
    })
}
