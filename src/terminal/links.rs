//! Names of files as links that the terminal opens (OSC 8).

use std::env;
use std::fmt::Write;
use std::fs;
use std::io::{self, IsTerminal};
use std::sync::LazyLock;

use super::answer_text::laid_out;
use super::messages::Lang;
use super::{in_index, is_colorless, is_dumb, one_line, printable, to_stdout};
use crate::answer::Citation;
use crate::index::file_of;

/// A line that names a document.
pub struct Named {
    pub before: String,
    /// What the link covers.
    pub name: String,
    pub after: String,
    /// Its absolute path, if it is a file.
    pub file: String,
}

impl Named {
    /// A source of an answer: its number, document, heading and place, and in which index it is.
    pub fn source(citation: &Citation, lang: Lang) -> Self {
        let place = lang.place(citation.place) + lang.recognized(citation.recognized);
        let heading = match citation.heading.as_str() {
            "" => String::new(),
            heading => format!(" — {}", one_line(heading)),
        };
        Self {
            before: "  ".to_owned(),
            name: format!("[{}] {}", citation.n, one_line(&citation.document)),
            after: format!("{heading}{place}{}", in_index(citation.index.as_deref())),
            file: file_of(&citation.document_id).to_owned(),
        }
    }
}

/// Prints lines, broken where the terminal ends, with their names as links.
///
/// # Errors
/// Standard output is closed.
pub fn print_named(lines: &[Named]) -> io::Result<()> {
    let mut shown = String::new();
    for (id, Named { before, name, after, file }) in lines.iter().enumerate() {
        let line = laid_out(&printable(&format!("{before}{name}{after}")));
        match are_shown().then(|| address(file)).flatten() {
            None => shown.push_str(&line),
            Some(address) => {
                let letters =
                    |text: &str| printable(text).chars().filter(|&c| is_letter(c)).count();
                let link = Link { id: id + 1, address: &address };
                link.cover(&line, letters(before), letters(name), &mut shown);
            }
        }
        shown.push('\n');
    }
    to_stdout(&shown)
}

/// What stays the same wherever a line is broken.
fn is_letter(c: char) -> bool {
    !c.is_whitespace()
}

/// Whether standard output is a terminal that takes links. `FORCE_HYPERLINK` decides where the guess is
/// wrong: 0 is no, anything else yes.
fn are_shown() -> bool {
    static GUESS: LazyLock<bool> = LazyLock::new(|| {
        let kind = env::var("TERM").unwrap_or_default();
        // VTE before 0.50 shows the sequences.
        let is_old = |version: String| version.parse().is_ok_and(|version: u32| version < 5000);
        !is_dumb()
            && !is_colorless()
            && !matches!(kind.as_str(), "" | "linux")
            && !env::var("VTE_VERSION").is_ok_and(is_old)
    });
    let forced = env::var("FORCE_HYPERLINK").ok().filter(|value| !value.is_empty());
    io::stdout().is_terminal() && forced.map_or_else(|| *GUESS, |value| value != "0")
}

/// `file://HOST/PATH`; `None` if there is no such file here.
fn address(file: &str) -> Option<String> {
    static HOST: LazyLock<String> = LazyLock::new(|| {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        Some(name.trim()).filter(|name| name.chars().all(is_plain)).unwrap_or_default().to_owned()
    });
    let path = std::path::Path::new(file);
    (path.is_absolute() && path.exists())
        .then(|| format!("file://{}{}", *HOST, path_in_address(file)))
}

/// A path as part of an address: with `/`, and percent-encoded.
pub fn path_in_address(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            b'\\' if cfg!(windows) => encoded.push('/'),
            byte => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

struct Link<'a> {
    /// The parts of a link on several lines have the same.
    id: usize,
    address: &'a str,
}

impl Link<'_> {
    /// Appends `line` with a link over `count` letters after the first `skipped`.
    fn cover(&self, line: &str, skipped: usize, count: usize, out: &mut String) {
        let Self { id, address } = self;
        let mut seen = 0;
        let mut is_open = false;
        for c in line.chars() {
            let is_covered = (skipped..skipped + count).contains(&seen);
            if is_open && (!is_covered || c == '\n') {
                out.push_str("\u{1b}]8;;\u{1b}\\");
                is_open = false;
            }
            if is_letter(c) {
                if is_covered && !is_open {
                    let _ = write!(out, "\u{1b}]8;id={id};{address}\u{1b}\\");
                    is_open = true;
                }
                seen += 1;
            }
            out.push(c);
        }
        if is_open {
            out.push_str("\u{1b}]8;;\u{1b}\\");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_covers_the_name_on_each_of_its_lines_and_nothing_else() {
        let covered = |line: &str, skipped, count| {
            let mut out = String::new();
            Link { id: 7, address: "A" }.cover(line, skipped, count, &mut out);
            out.replace("\u{1b}]8;id=7;A\u{1b}\\", "<").replace("\u{1b}]8;;\u{1b}\\", ">")
        };
        assert_eq!(covered("  [1] a b.md — C", 0, 8), "  <[1] a b.md> — C");
        assert_eq!(covered("  [1] a\n      b.md — C", 0, 8), "  <[1] a>\n      <b.md> — C");
        assert_eq!(covered("1. ễ漢.md", 2, 5), "1. <ễ漢.md>");
        assert_eq!(covered("1. x", 2, 0), "1. x");
    }

    #[test]
    fn an_address_has_nothing_that_a_terminal_obeys() {
        let hostile = "/a b/\u{1b}]8;;\u{7}%#?ễ.md";
        assert_eq!(path_in_address(hostile), "/a%20b/%1B%5D8%3B%3B%07%25%23%3F%E1%BB%85.md");
        assert_eq!(address("/no/such/file"), None);
        assert_eq!(address("Cargo.toml"), None, "it is not absolute");
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let address = address(here).unwrap();
        assert!(address.starts_with("file://") && address.ends_with("/Cargo.toml"), "{address}");
    }
}
