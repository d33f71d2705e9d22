//! Completes the names of commands with Tab.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::commands::COMMANDS;

pub struct Completion;

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((0, beginning_with(&line[..pos])))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

/// The commands that a line may become.
fn beginning_with(line: &str) -> Vec<String> {
    let names = COMMANDS.iter().map(|command| command.name);
    let known = names.filter(|name| !line.is_empty() && name.starts_with(line));
    known.map(|name| format!("{name} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_are_completed() {
        assert_eq!(beginning_with("/s"), ["/sources ", "/search ", "/save "]);
        assert_eq!(beginning_with("/op"), ["/open "]);
        assert!(beginning_with("").is_empty() && beginning_with("so").is_empty());
        assert_eq!(beginning_with("/").len(), COMMANDS.len());
    }
}
