//! A long text in the user's pager.

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};

use super::answer_text::laid_out;
use super::marks::Marks;
use super::{is_dumb, printable, to_stdout};

/// As git sets it: leave at once if one screen is enough, keep the marks, leave the text on the screen.
const LESS: &str = "FRX";

/// Shows a text with these words marked: in the program that `PAGER` names, else in `less`, if there is
/// one. In a pipe, or on a terminal that cannot page, prints it as it is.
///
/// # Errors
/// The program of `PAGER` cannot be started, or standard output is closed.
pub fn page(text: &str, marks: &Marks) -> io::Result<()> {
    let text = printable(text);
    if !io::stdout().is_terminal() || is_dumb() {
        return to_stdout(&(laid_out(&text) + "\n"));
    }
    let shown = marks.apply(&laid_out(&text)) + "\n";
    let chosen = env::var("PAGER").ok();
    let pager = chosen.as_deref().unwrap_or("less -R");
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return to_stdout(&shown) };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if chosen.is_none() && error.kind() == ErrorKind::NotFound => {
            return to_stdout(&shown);
        }
        Err(error) => {
            let told = format!("cannot start the pager `{pager}` (PAGER): {error}");
            return Err(io::Error::new(error.kind(), told));
        }
    };
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever leaves the pager early does not want the rest.
        let _ = stdin.write_all(shown.as_bytes());
    }
    child.wait().map(drop)
}
