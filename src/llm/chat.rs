//! The model's own chat template: messages → prompt pieces.

use std::io;

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, State, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::tokenizer::{LlmTokenizer, Piece};

/// Steps a template may take: a Llama template needs some hundreds, an endless one stops here. A
/// step also pays for 64 bytes of data (`UNITS_PER_FUEL` of minijinja's `fuel.rs`), so memory is
/// bounded, too.
const FUEL: u64 = 100_000;
/// The longest prompt that a template may make around the messages, in bytes.
const MAX_RENDERED_BYTES: usize = 64 << 10;
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
            "the chat template has {} bytes, and not at most {MAX_TEMPLATE_BYTES}",
            source.len()
        );
        let template = Self { source, bos, eos };
        let rendered = template.render()?;
        anyhow::ensure!(
            rendered.len() <= MAX_RENDERED_BYTES,
            "the model's chat template writes {} bytes around the messages",
            rendered.len()
        );
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
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", |message: String| -> Result<String, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", to_json);
        environment.remove_filter("pprint");
        environment.remove_function("debug");
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

/// Python's methods of strings, lists and maps, as templates call them.
fn python_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, minijinja::Error> {
    // It pads to any width before that is paid for: `'{:1000000000}'.format(1)` takes 3 GB.
    if method == "format" {
        return Err(ErrorKind::UnknownMethod.into());
    }
    unknown_method_callback(state, value, method, arguments)
}

/// `tojson` as transformers has it: without minijinja's escapes for HTML. minijinja's own indents
/// by any width before that is paid for.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let invalid = |error: serde_json::Error| {
        minijinja::Error::new(ErrorKind::InvalidOperation, "not JSON").with_source(error)
    };
    let indent: Option<usize> = options.get("indent")?;
    let mut json = Limited(Vec::new());
    match indent {
        None => serde_json::to_writer(&mut json, value).map_err(invalid)?,
        Some(indent) => {
            let spaces = " ".repeat(indent.min(16));
            let format = PrettyFormatter::with_indent(spaces.as_bytes());
            let mut serializer = serde_json::Serializer::with_formatter(&mut json, format);
            value.serialize(&mut serializer).map_err(invalid)?;
        }
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&json.0).into_owned()))
}

/// Refuses more bytes than a prompt may have.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RENDERED_BYTES {
            return Err(io::Error::other("it is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
