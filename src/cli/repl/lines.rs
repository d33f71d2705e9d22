//! What is typed: line editing, history, completion.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::completion::Completion;
use crate::models;

const PROMPT: &str = "❯ ";

pub struct Lines {
    editor: Editor<Completion, DefaultHistory>,
    /// Where the history is kept; absent if there is no place for it.
    history: Option<PathBuf>,
}

impl Lines {
    /// # Errors
    /// This is no terminal that can be read from.
    pub fn open() -> Result<Self> {
        // What is pasted in several lines is one, which Enter ends.
        let config = Config::builder().bracketed_paste(true).completion_type(CompletionType::List);
        let editor = Editor::with_config(config.build());
        let mut editor = editor.context("cannot read from this terminal")?;
        let data = models::data_dir().ok().filter(|data| fs::create_dir_all(data).is_ok());
        let history = data.map(|data| data.join("history"));
        if let Some(history) = &history {
            // Fails on the first run, before there is a history.
            let _ = editor.load_history(history);
        }
        Ok(Self { editor, history })
    }

    pub fn complete_with(&mut self, completion: Completion) {
        self.editor.set_helper(Some(completion));
    }

    /// The next line that is not empty; `None` at the end. `sources` is how many can be named in it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn next(&mut self, sources: usize) -> Result<Option<String>> {
        if let Some(completion) = self.editor.helper_mut() {
            completion.sources = sources;
        }
        loop {
            let line = match self.editor.readline(PROMPT) {
                Ok(line) => line,
                // Ctrl-C clears the line.
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error).context("cannot read from this terminal"),
            };
            let line = line.trim();
            if !line.is_empty() {
                self.remember(line);
                return Ok(Some(line.to_owned()));
            }
        }
    }

    /// At once: a terminal that is closed leaves no time for it at the end.
    fn remember(&mut self, line: &str) {
        let _ = self.editor.add_history_entry(line);
        if let Some(history) = &self.history
            && self.editor.append_history(history).is_err()
        {
            tracing::warn!("the history cannot be saved in {}", history.display());
        }
    }
}
