//! Questions from standard input, one per line, for scripts.

use std::io::{self, BufRead};

use anyhow::{Context, Result};

use super::exit::{self, Exit};
use crate::support::bounded::{self, Line};
use crate::terminal::Terminal;

/// Far above the longest valid question, in bytes; the rest of a longer line is skipped unread.
const MAX_LINE_BYTES: u64 = 1 << 20;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Calls `ask` for every question on standard input, as it is written there, and returns the worst
/// outcome. A question that fails does not stop the rest; an interruption does.
pub fn each_question(
    terminal: Terminal,
    mut ask: impl FnMut(&str) -> Result<Exit>,
) -> Result<Exit> {
    let mut input = io::stdin().lock();
    let mut worst = Exit::Answered;
    let mut is_first = true;
    while let Some(line) = read_line(&mut input)? {
        // Some editors write a byte order mark.
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(&line);
        is_first = false;
        if line.trim().is_empty() {
            continue;
        }
        let exit = match ask(line) {
            Ok(exit) => exit,
            Err(error) if exit::is_broken_pipe(&error) => return Err(error),
            Err(error) => exit::report(terminal, &error),
        };
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        worst = worst.worse(exit);
    }
    Ok(worst)
}

/// Reads a line without its terminator; `None` at the end of input. Invalid UTF-8 becomes
/// replacement characters.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    let failed = "cannot read the questions from standard input";
    match bounded::read_line(input, MAX_LINE_BYTES, &mut line).context(failed)? {
        Line::End => return Ok(None),
        Line::TooLong => drop(input.skip_until(b'\n').context(failed)?),
        Line::Whole => {}
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}
