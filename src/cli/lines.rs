//! Questions from a pipe, one a line: how scripts ask and search.

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result};

use super::exit::{self, Exit};
use crate::terminal::Terminal;
use crate::text::question;

/// A line longer than this is no question; the rest of it is skipped unread, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// Hands every question on standard input to `ask`, and returns the worst outcome. One that fails
/// does not stop the others; an interruption does.
pub fn each_question(
    terminal: &Terminal,
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

/// A line of input, without its end; `None` at the end of the input. Bytes that are no UTF-8
/// become replacement characters.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    let failed = "cannot read the questions from standard input";
    if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).context(failed)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
        input.skip_until(b'\n').context(failed)?;
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}
