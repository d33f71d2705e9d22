//! Prompt templates, built in or from a user's file; errors name the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail, ensure};
use minijinja::Value;

use super::messages::Messages;
use crate::support::bounded;
use crate::text::jinja;

/// Size limit of a template file.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Names defined by Jinja and the template engine.
const FUNCTIONS: [&str; 6] = ["range", "dict", "namespace", "raise_exception", "loop", "caller"];

/// A template for the system and the user message.
#[derive(Debug, Clone)]
pub struct TemplateSource {
    text: Arc<str>,
    /// For error messages; `None` if built in.
    path: Option<PathBuf>,
    /// What errors call it, such as "prompt template".
    what: &'static str,
}

impl TemplateSource {
    /// A template compiled into the program.
    pub fn built_in(what: &'static str, text: &str) -> Self {
        Self { text: text.into(), path: None, what }
    }

    /// Reads a file that may use these `variables` and what Jinja defines.
    ///
    /// # Errors
    /// The file cannot be read, is not a valid template, or uses an unknown variable. The error
    /// names the file and, if known, the line.
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

    /// Renders once per role, with `variables(role)`. `data` is the size of their text in bytes,
    /// for which the template gets fuel.
    pub fn messages(&self, variables: impl Fn(&str) -> Value, data: usize) -> Result<Messages> {
        let render = |role: &str| {
            let text = jinja::render_strictly(&self.text, &variables(role), data);
            text.map(|text| text.trim().to_owned()).map_err(|error| self.explain(error))
        };
        Ok(Messages { system: render("system")?, user: render("user")? })
    }

    /// Rejects a template by its trial `messages`: each of `parts` pairs texts that they must
    /// contain with the error if one is missing.
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

    /// Adds the file and the line to an error of the template engine.
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
