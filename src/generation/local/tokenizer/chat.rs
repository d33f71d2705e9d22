//! The model's own chat template: messages → prompt pieces.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use minijinja::Value;

use super::{LlmTokenizer, Piece};
use crate::text::jinja;

/// The longest prompt that a template may make around the messages, in bytes.
const MAX_RENDERED_BYTES: usize = 64 << 10;

/// Stand in for the messages while the template is rendered, so that nothing in a message can be
/// taken for the template's own text. Private-use characters, which no template contains.
const SYSTEM: &str = "\u{e000}system\u{e001}";
const USER: &str = "\u{e000}user\u{e001}";

/// A template that was tried out.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Checks that the template can be rendered. `bos` and `eos` are token texts.
    pub fn new(source: String, bos: String, eos: String) -> Result<Self> {
        let template = Self { source, bos, eos };
        template.try_out().context(
            "the model's chat template cannot be used; get the model from another publisher",
        )?;
        Ok(template)
    }

    fn try_out(&self) -> Result<()> {
        let rendered = self.render()?;
        ensure!(
            rendered.len() <= MAX_RENDERED_BYTES,
            "it writes {} bytes around the messages",
            rendered.len()
        );
        ensure!(
            rendered.matches(SYSTEM).count() == 1 && rendered.matches(USER).count() == 1,
            "it does not place a system and a user message once each"
        );
        Ok(())
    }

    /// The prompt for one question, up to where the assistant begins.
    pub fn prompt(&self, tokenizer: &LlmTokenizer, system: &str, user: &str) -> Result<Vec<Piece>> {
        let rendered = self.render()?;
        let mut pieces = Vec::new();
        let mut rest = rendered.as_str();
        // In whatever order the template has them.
        while let Some((at, mark, message)) = [(SYSTEM, system), (USER, user)]
            .into_iter()
            .filter_map(|(mark, message)| Some((rest.find(mark)?, mark, message)))
            .min_by_key(|&(at, ..)| at)
        {
            pieces.extend(tokenizer.pieces(&rest[..at]));
            pieces.push(Piece::Text(message.trim().to_owned()));
            rest = &rest[at + mark.len()..];
        }
        pieces.extend(tokenizer.pieces(rest));
        Ok(pieces)
    }

    /// The prompt with [`SYSTEM`] and [`USER`] for the messages.
    fn render(&self) -> Result<String> {
        jinja::render(&self.source, &variables(&self.bos, &self.eos))
    }
}

/// What transformers gives a template, for one question.
pub(crate) fn variables(bos: &str, eos: &str) -> Value {
    let message = |role: &str, content: &str| {
        let pairs = [("role", role), ("content", content)];
        let pairs = pairs.map(|(key, text)| (Value::from(key), Value::from(text)));
        Value::from_object(BTreeMap::from(pairs))
    };
    minijinja::context! {
        messages => vec![message("system", SYSTEM), message("user", USER)],
        add_generation_prompt => true,
        bos_token => bos,
        eos_token => eos,
    }
}
