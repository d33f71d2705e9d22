//! The model's own chat template: messages → prompt pieces.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};

use super::tokenizer::{LlmTokenizer, Piece};

/// Steps a template may take: a Llama template needs some hundreds, an endless one stops here.
const FUEL: u64 = 1_000_000;
/// The longest template, in bytes; the longest published ones have 10 kB.
const MAX_TEMPLATE_BYTES: usize = 256 << 10;

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
        anyhow::ensure!(
            source.len() <= MAX_TEMPLATE_BYTES,
            "the chat template has {} bytes",
            source.len()
        );
        let template = Self { source, bos, eos };
        let rendered = template.render()?;
        anyhow::ensure!(
            rendered.matches(SYSTEM).count() == 1 && rendered.matches(USER).count() == 1,
            "the model's chat template does not place a system and a user message once each"
        );
        Ok(template)
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

    fn render(&self) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        // What transformers gives its templates (`_compile_jinja_template`).
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.context("Jinja's own syntax")?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        let template = environment
            .template_from_str(&self.source)
            .context("the model's chat template is not valid")?;
        let messages = [
            context! { role => "system", content => SYSTEM },
            context! { role => "user", content => USER },
        ];
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => true,
                bos_token => &self.bos,
                eos_token => &self.eos,
            })
            .context("the model's chat template cannot be rendered")
    }
}
