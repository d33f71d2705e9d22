//! The model's own chat template: messages → prompt pieces.

use anyhow::{Context, Result, anyhow};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, Output, State, Value, context, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::tokenizer::{LlmTokenizer, Piece};

/// Steps a template may take: a Llama template needs some hundreds, an endless one stops here. A
/// step also pays for 64 bytes of data (`UNITS_PER_FUEL` of minijinja's `fuel.rs`), so memory is
/// bounded, too.
const FUEL: u64 = 100_000;
/// The longest prompt that a template may make around the messages, in bytes.
const MAX_RENDERED_BYTES: usize = 64 << 10;
/// The longest template, in bytes; the longest published ones have 10 kB.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Most operators in a template; Llama 3.1's has some hundreds. minijinja recurses once for each in
/// `----1` or `1~1~1`, and folds constants in a time that grows with their number's square.
const MAX_OPERATORS: usize = 3000;
/// Stack to read and run a template on; only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

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
        let operators = operators(&source);
        anyhow::ensure!(
            operators <= MAX_OPERATORS,
            "the chat template has {operators} operators, and not at most {MAX_OPERATORS}"
        );
        let template = Self::unchecked(source, bos, eos);
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

    pub(super) fn unchecked(source: String, bos: String, eos: String) -> Self {
        Self { source, bos, eos }
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
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.render_here())
                .context("cannot start a thread")?;
            thread.join().map_err(|_| anyhow!("the model's chat template cannot be rendered"))?
        })
    }

    /// As [`Self::render`], on the stack of the caller.
    pub(super) fn render_here(&self) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        // What transformers gives its templates (`_compile_jinja_template`).
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.context("Jinja's own syntax")?);
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", |message: String| -> Result<String, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.set_formatter(print_scalar);
        environment.add_filter("tojson", to_json);
        environment.remove_filter("pprint");
        environment.remove_global("debug");
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

/// Operators in a template, counted generously: also those in its text.
fn operators(source: &str) -> usize {
    const WORDS: [&str; 8] = ["not", "if", "else", "elif", "and", "or", "in", "is"];
    let signs = source.bytes().filter(|byte| b"-+*/%~|.=<>!".contains(byte)).count();
    let words = source.split(|letter: char| !letter.is_alphanumeric());
    signs + words.filter(|word| WORDS.contains(word)).count()
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

/// Prints what prompts are made of. A list in Python's notation is nobody's prompt, and lists of
/// lists of the same list have a notation without end.
fn print_scalar(
    out: &mut Output,
    state: &mut State,
    value: &Value,
) -> Result<(), minijinja::Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain => {
            let what = format!("it prints a {}", value.kind());
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, what))
        }
        _ => escape_formatter(out, state, value),
    }
}

/// `tojson` of text and numbers, as transformers has it: without minijinja's escapes for HTML.
/// Templates call it for tools, which there are none of here, and lists may be nested without end.
fn to_json(value: &Value, _options: Kwargs) -> Result<Value, minijinja::Error> {
    let invalid = || minijinja::Error::new(ErrorKind::InvalidOperation, "tojson of a list or map");
    let json = match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool | ValueKind::None => {
            serde_json::to_string(value).map_err(|_| invalid())?
        }
        _ => return Err(invalid()),
    };
    Ok(Value::from_safe_string(json))
}
