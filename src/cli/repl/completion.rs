//! Completes with Tab what a command takes: names of commands, settings, indexes, profiles, documents and
//! files, and numbers of sources.

use std::cell::OnceCell;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::commands::{COMMANDS, Takes};
use super::ground::Ground;
use super::settings::SETTINGS;
use crate::cli::index::known_names;
use crate::index::Location;
use crate::terminal::shown_name;

/// What can be named at present.
pub struct Completion {
    index: Location,
    /// Read from the index at the first use.
    documents: OnceCell<Vec<String>>,
    indexes: Vec<String>,
    profiles: Vec<String>,
    /// How many the last answer has.
    pub sources: usize,
}

impl Completion {
    pub fn new(ground: &Ground) -> Self {
        let names = known_names(&ground.setup).unwrap_or_default();
        Self {
            index: ground.setup.index.clone(),
            documents: OnceCell::new(),
            indexes: names.into_keys().map(|name| format!("@{name}")).collect(),
            profiles: ground.setup.catalogue.profile_names().map(str::to_owned).collect(),
            sources: 0,
        }
    }

    fn documents(&self) -> &[String] {
        self.documents.get_or_init(|| {
            let ledger = self.index.open().and_then(|index| index.ledger());
            ledger.map_or_else(
                |_| Vec::new(),
                |ledger| ledger.documents().keys().map(|document| shown_name(document)).collect(),
            )
        })
    }

    /// Everything that may stand after a command, where what is typed of it begins with `typed`.
    fn arguments(&self, takes: Takes, typed: &str) -> Vec<String> {
        let numbers = || (1..=self.sources).map(|n| n.to_string());
        let all: Vec<String> = match takes {
            Takes::Source => numbers().collect(),
            Takes::SourceOrDocument => numbers().chain(self.documents().iter().cloned()).collect(),
            Takes::Setting => SETTINGS.iter().map(|setting| format!("{} ", setting.name)).collect(),
            Takes::Index => self.indexes.clone(),
            Takes::Profile => self.profiles.clone(),
            Takes::Nothing | Takes::Text | Takes::File => Vec::new(),
        };
        all.into_iter().filter(|argument| argument.starts_with(typed)).collect()
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..pos];
        let Some((name, typed)) = line.split_once(' ') else {
            return Ok((0, pairs(beginning_with(line))));
        };
        let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
            return Ok((0, Vec::new()));
        };
        let start = name.len() + 1;
        let is_path = typed.contains('/') && command.takes == Takes::Index;
        if command.takes == Takes::File || is_path {
            return FilenameCompleter::new().complete(line, pos, context);
        }
        Ok((start, pairs(self.arguments(command.takes, typed))))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

fn pairs(texts: Vec<String>) -> Vec<Pair> {
    texts.into_iter().map(|text| Pair { display: text.clone(), replacement: text }).collect()
}

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
        assert_eq!(beginning_with("/se"), ["/search ", "/set "]);
        assert_eq!(beginning_with("/op"), ["/open "]);
        assert!(beginning_with("").is_empty() && beginning_with("so").is_empty());
        assert_eq!(beginning_with("/").len(), COMMANDS.len());
    }
}
