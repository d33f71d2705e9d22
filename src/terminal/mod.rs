//! All output of the tool. Answers and data go to stdout, everything else to stderr.

mod account;
mod answer_text;
mod clipboard;
mod dialogue;
pub mod exit;
mod links;
mod marks;
mod messages;
mod pager;
mod prose;
mod refusals;
mod servers;
mod settings;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

pub use answer_text::{AnswerText, print_entry};
pub use clipboard::copy;
use indicatif::{ProgressBar, ProgressStyle};
pub use links::{Named, path_in_address, print_named};
pub use marks::Marks;
pub use messages::{Lang, bytes, time};
pub use pager::page;

use crate::answer;
use crate::models::{Download, DownloadProgress};

/// The standard streams, and how verbose to be.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    pub lang: Lang,
    quiet: bool,
    interactive: bool,
}

#[expect(clippy::unused_self, reason = "who prints holds the terminal")]
impl Terminal {
    pub fn new(lang: Lang, quiet: bool) -> Self {
        Self { lang, quiet, interactive: io::stderr().is_terminal() }
    }

    /// A progress line on stderr; suppressed by `--quiet`.
    pub fn say(self, line: &str) {
        if !self.quiet {
            to_stderr(&format!("{}\n", printable(line)));
        }
    }

    /// Part of a line on stderr that the user asked for.
    pub fn stream(self, text: &str) {
        to_stderr(&printable(text));
    }

    /// Begins a progress line for a step that takes a while. On a terminal its text appears at
    /// once.
    pub fn begin(self, text: &str) -> Step {
        let shown = !self.quiet && self.interactive;
        if shown {
            to_stderr(&printable(text));
        }
        Step { text: printable(text), shown, quiet: self.quiet, open: true }
    }

    /// A warning on stderr, even with `--quiet`. It is one line, whatever names are in it.
    pub fn warn(self, text: &str) {
        to_stderr(&format!("warning: {}\n", one_line(text)));
    }

    /// An error with its causes on stderr, and a hint on how to fix it.
    pub fn error(self, error: &anyhow::Error, hint: Option<&str>) {
        to_stderr(&format!("error: {}\n", error_message(error)));
        if let Some(hint) = hint {
            to_stderr(&format!("hint:  {hint}\n"));
        }
    }

    /// Data or answer text, on stdout.
    pub fn print(self, text: &str) -> io::Result<()> {
        to_stdout(&printable(text))
    }

    /// A line of JSON, on stdout.
    pub fn print_json(self, value: &impl serde::Serialize) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        serde_json::to_writer(&mut stdout, value)?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }

    /// A progress bar on stderr for `total` items, or bytes; hidden if stderr is not a terminal.
    pub fn bar(self, total: u64, bytes: bool) -> ProgressBar {
        if self.quiet || !self.interactive {
            return ProgressBar::hidden();
        }
        let columns =
            terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
        let style = ProgressStyle::with_template(bar_template(columns, bytes));
        ProgressBar::new(total).with_style(style.expect("a fixed template"))
    }
}

/// What fits into a line of so many columns: the message takes what the rest leaves, and is cut there.
/// A line that is too long would wrap, and each redrawing would leave a part of it behind.
fn bar_template(columns: u16, bytes: bool) -> &'static str {
    match (columns, bytes) {
        (100.., true) => "   {wide_msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (100.., false) => "   {wide_msg} {bar:24} {pos}/{len} {per_sec} {eta}",
        (60.., true) => "   {wide_msg} {bar:10} {bytes}/{total_bytes} {eta}",
        (60.., false) => "   {wide_msg} {bar:10} {pos}/{len} {eta}",
        _ => " {wide_msg} {percent} %",
    }
}

/// Writes text that is safe to show to stdout, at once.
fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes to stderr and ignores errors: a closed stderr is no reason to stop, but `eprintln!` would
/// panic.
fn to_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// A progress line that waits for its outcome.
#[must_use]
pub struct Step {
    text: String,
    shown: bool,
    quiet: bool,
    open: bool,
}

impl Step {
    /// Ends the line with the outcome.
    pub fn done(mut self, outcome: &str) {
        self.open = false;
        if self.shown {
            to_stderr(&format!("{}\n", printable(outcome)));
        } else if !self.quiet {
            to_stderr(&format!("{}{}\n", self.text, printable(outcome)));
        }
    }

    /// Ends the line with the time taken.
    pub fn done_in(self, took: Duration) {
        self.done(&format!("✅ {}", time(took)));
    }

    /// Ends the line early, so that something else can be printed; the outcome repeats its text.
    pub fn pause(&mut self) {
        if self.shown && self.open {
            to_stderr("\n");
        }
        self.shown = false;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.open && self.shown {
            to_stderr("\n");
        }
    }
}

/// Whether the terminal only prints, and obeys nothing.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// Whether the user wants no colours (<https://no-color.org>).
fn is_colorless() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// An error with its causes, in one text.
pub fn error_message(error: &anyhow::Error) -> String {
    // Many messages already contain that of their cause.
    let mut told = String::new();
    for cause in error.chain().map(|cause| printable(&cause.to_string())) {
        if !told.contains(&cause) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&cause);
        }
    }
    told
}

/// Strips control characters and bidirectional overrides, with which text from a document could
/// manipulate the terminal.
pub fn printable(text: &str) -> String {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    text.chars().filter(|&c| !obeyed(c)).collect()
}

/// `text` in one line: a line break in the name of a file must not begin a line of ours.
pub fn one_line(text: &str) -> String {
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' | '\u{85}');
    printable(&text.replace(is_break, " "))
}

/// Behind a document, in which index it is, where several are asked at once.
pub fn in_index(index: Option<&str>) -> String {
    index.map_or_else(String::new, |index| format!(" · {}", one_line(index)))
}

/// A document's name in a line of text.
pub fn shown_name(document: &str) -> String {
    one_line(&document_name(document))
}

/// A document's display name: relative to the working folder if it is below it.
pub fn document_name(document: &str) -> String {
    answer::document_name(document, working_folder().as_deref())
}

/// The canonical working folder, which is how the index stores paths; `None` if it was deleted.
pub fn working_folder() -> Option<PathBuf> {
    std::env::current_dir().and_then(std::fs::canonicalize).ok()
}

pub struct DownloadBars {
    terminal: Terminal,
    bar: Mutex<Option<ProgressBar>>,
}

impl DownloadBars {
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, bar: Mutex::new(None) }
    }

    fn with_bar(&self, change: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.bar.lock() {
            change(&mut bar);
        }
    }
}

impl DownloadProgress for DownloadBars {
    fn begin(&self, download: &Download) {
        self.terminal.say(&self.terminal.lang.downloading(download));
    }

    fn start(&self, file: &str, size: u64, already: u64) {
        let bar =
            self.terminal.bar(size, true).with_message(printable(file)).with_position(already);
        self.with_bar(|slot| *slot = Some(bar));
    }

    fn advance(&self, bytes: u64) {
        self.with_bar(|bar| bar.iter().for_each(|bar| bar.inc(bytes)));
    }

    fn finish(&self) {
        self.with_bar(|bar| bar.take().iter().for_each(ProgressBar::finish));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mred\u{7}\r\n\tb\u{202e}c\u{9b}d"), "a[31mred\n\tbcd");
        assert_eq!(one_line("a\n  [2] forged\u{2028}.md\u{1b}"), "a   [2] forged .md");
        assert_eq!(printable("Tiếng Việt 🎯 ภาษาไทย"), "Tiếng Việt 🎯 ภาษาไทย");
    }
}
