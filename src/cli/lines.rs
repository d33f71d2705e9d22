//! Questions from a pipe, one per line: how scripts ask and search.

use std::io::{self, BufRead};

use anyhow::{Context, Result};

use super::exit::{self, Exit};
use crate::support::bounded::{self, Line};
use crate::terminal::Terminal;
use crate::text::question;

/// No question is longer, in bytes: the rest of the line is skipped unread.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Hands every question on standard input to `ask`, and returns the worst outcome. One that fails
/// does not stop the others; an interruption does.
pub fn each_question(
    terminal: Terminal,
    mut ask: impl FnMut(&str) -> Result<Exit>,
) -> Result<Exit> {
    let mut input = io::stdin().lock();
    let mut worst = Exit::Answered;
    while let Some(line) = read_line(&mut input)? {
        if line.trim().is_empty() {
            continue;
        }
        let result =
            question::normalize(&line).map_err(Into::into).and_then(|question| ask(&question));
        let exit = match result {
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

/// A line of input without its end; `None` at the end of the input. Bytes that are not UTF-8 become
/// replacement characters.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    let failed = "cannot read the questions from standard input";
    match bounded::read_line(input, MAX_LINE_BYTES, &mut line).context(failed)? {
        Line::End => return Ok(None),
        Line::TooLong => drop(input.skip_until(b'\n').context(failed)?),
        Line::Whole => {}
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}
