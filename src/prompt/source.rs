//! The text of a template: built in, or a file of the user's, whose errors name it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail, ensure};
use minijinja::Value;

use super::messages::Messages;
use crate::support::bounded;
use crate::text::jinja;

/// A larger file is not a template.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Names that Jinja itself and the template engine define.
const FUNCTIONS: [&str; 6] = ["range", "dict", "namespace", "raise_exception", "loop", "caller"];

/// A template that writes the two messages of a chat model.
#[derive(Debug, Clone)]
pub struct TemplateSource {
    text: Arc<str>,
    /// For errors; `None` for a built-in one.
    path: Option<PathBuf>,
    /// What it is, as in "prompt template".
    what: &'static str,
}

impl TemplateSource {
    /// A template that is part of the program.
    pub fn built_in(what: &'static str, text: &str) -> Self {
        Self { text: text.into(), path: None, what }
    }

    /// Reads a file, which may use these `variables` and what Jinja itself defines.
    ///
    /// # Errors
    /// Names the file, and the line where there is one: it cannot be read, is not valid, or uses an
    /// unknown variable.
    pub fn read(what: &'static str, path: &Path, variables: &[&str]) -> Result<Self> {
        let text = bounded::read_text(path, MAX_FILE_BYTES)
            .with_context(|| format!("cannot read the {what} {}", path.display()))?;
        let source = Self { text: text.into(), path: Some(path.to_owned()), what };
        source.check_names(variables)?;
        Ok(source)
    }

    fn check_names(&self, variables: &[&str]) -> Result<()> {
        let known = |name: &str| variables.contains(&name) || FUNCTIONS.contains(&name);
        let undeclared = jinja::undeclared(&self.text).map_err(|error| self.explain(error))?;
        if let Some((name, line)) = undeclared.into_iter().find(|(name, _)| !known(name)) {
            bail!(
                "{}, line {line}: there is no variable `{name}`, only `{}`",
                self.cannot(),
                variables.join("`, `")
            );
        }
        Ok(())
    }

    /// Renders it once for each role, with the `variables` of that role, which hold `data` bytes of
    /// text.
    pub fn messages(&self, variables: impl Fn(&str) -> Value, data: usize) -> Result<Messages> {
        let render = |role: &str| {
            let text = jinja::render_strictly(&self.text, &variables(role), data);
            text.map(|text| text.trim().to_owned()).map_err(|error| self.explain(error))
        };
        Ok(Messages { system: render("system")?, user: render("user")? })
    }

    /// Refuses a template whose `messages` for a trial lack something: each of `parts` is texts
    /// that belong there, and what is wrong without them.
    pub fn check(&self, messages: Messages, parts: &[(&[&str], &str)]) -> Result<()> {
        let ensure = |holds, what_is_wrong: &str| {
            ensure!(holds, "{}: {what_is_wrong}", self.cannot());
            Ok(())
        };
        ensure(!messages.user.is_empty(), "it writes no message for the role `user`")?;
        let written = [messages.system, messages.user].concat();
        parts.iter().try_for_each(|(texts, what_is_wrong)| {
            ensure(texts.iter().all(|text| written.contains(text)), what_is_wrong)
        })
    }

    /// An error of the template engine, with the file and the line.
    fn explain(&self, error: Error) -> Error {
        let line = error.chain().find_map(|cause| cause.downcast_ref::<minijinja::Error>()?.line());
        let place = line.map_or(String::new(), |line| format!(", line {line}"));
        let advice = "; docs/prompt.md says what a template may use";
        error.context(format!("{}{place}{advice}", self.cannot()))
    }

    fn cannot(&self) -> String {
        match &self.path {
            Some(path) => format!("cannot use the {} {}", self.what, path.display()),
            None => format!("cannot use the built-in {}", self.what),
        }
    }
}
