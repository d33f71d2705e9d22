//! The model's own chat template: messages → prompt pieces.
//!
//! A template is somebody else's program, so it runs once, at load, in a process with limits, and
//! writes a prompt with placeholders for the messages. It never sees a question or a document.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use minijinja::Value;
use serde::{Deserialize, Serialize};

use super::{LlmTokenizer, Piece};
use crate::support::worker::{Input, Job, Output, Silence, Worker};
use crate::text::jinja;

/// The longest template, in bytes; the longest published ones have 20 kB.
const MAX_SOURCE_BYTES: usize = 64 << 10;
/// The longest prompt that a template may make around the messages, in bytes.
const MAX_RENDERED_BYTES: usize = 64 << 10;
/// How long a template is waited for. Its process may compute for a part of that; published ones
/// take milliseconds.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Stand in for the messages while the template is rendered, so that nothing in a message can be
/// taken for the template's own text. Private-use characters, which no template contains.
const SYSTEM: &str = "\u{e000}system\u{e001}";
const USER: &str = "\u{e000}user\u{e001}";

/// What a template wrote: the model's prompt, with places for the messages.
#[derive(Debug)]
pub struct ChatTemplate(Vec<Part>);

#[derive(Debug)]
enum Part {
    /// The template's own.
    Fixed(Piece),
    System,
    User,
}

impl ChatTemplate {
    /// Renders the template. `bos` and `eos` are token texts.
    ///
    /// # Errors
    /// It is not valid, takes too much time or memory, or does not place both messages once.
    pub fn new(tokenizer: &LlmTokenizer, source: &str, bos: &str, eos: &str) -> Result<Self> {
        let rendered = render(source, bos, eos).context(
            "the model's chat template cannot be used; get the model from another publisher",
        )?;
        Ok(Self(parts(tokenizer, &rendered)))
    }

    /// The prompt for one question, up to where the assistant begins.
    pub fn prompt(&self, system: &str, user: &str) -> Vec<Piece> {
        let message = |text: &str| Piece::Text(text.trim().to_owned());
        let pieces = self.0.iter().map(|part| match part {
            Part::Fixed(piece) => piece.clone(),
            Part::System => message(system),
            Part::User => message(user),
        });
        pieces.collect()
    }
}

/// Cuts a rendered template at the messages, in whatever order it has them.
fn parts(tokenizer: &LlmTokenizer, rendered: &str) -> Vec<Part> {
    let fixed = |text: &str| tokenizer.pieces(text).into_iter().map(Part::Fixed);
    let mut parts = Vec::new();
    let mut rest = rendered;
    while let Some((at, mark, part)) = [(SYSTEM, Part::System), (USER, Part::User)]
        .into_iter()
        .filter_map(|(mark, part)| Some((rest.find(mark)?, mark, part)))
        .min_by_key(|&(at, ..)| at)
    {
        parts.extend(fixed(&rest[..at]));
        parts.push(part);
        rest = &rest[at + mark.len()..];
    }
    parts.extend(fixed(rest));
    parts
}

/// The prompt with [`SYSTEM`] and [`USER`] for the messages, once each.
fn render(source: &str, bos: &str, eos: &str) -> Result<String> {
    ensure!(
        source.len() <= MAX_SOURCE_BYTES,
        "it has {} bytes, and not at most {MAX_SOURCE_BYTES}",
        source.len()
    );
    let request = Request { source: source.into(), bos: bos.into(), eos: eos.into() };
    let request = serde_json::to_vec(&request).context("cannot be handed over")?;
    let worker = Worker::start(&JOB, Input::Bytes(request))
        .context("cannot start a process to render it in")?;
    match worker.next(MAX_TIME) {
        Ok(Reply::Rendered(text)) => Ok(text),
        Ok(Reply::Failed(why)) => bail!(why),
        Err(Silence::TimedOut | Silence::Ended) => bail!("it takes too much memory or time"),
    }
}

#[derive(Serialize, Deserialize)]
struct Request {
    source: String,
    bos: String,
    eos: String,
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Rendered(String),
    /// Why there is no prompt.
    Failed(String),
}

/// Renders a chat template: a [`Request`], answered by a [`Reply`].
pub static JOB: Job = Job {
    name: "chat-template",
    max_input_bytes: 1 << 20,
    max_output_bytes: 1 << 20,
    memory: 1 << 30,
    memory_per_input_byte: 0,
    cpu: Some(Duration::from_secs(2)),
    run: answer,
};

fn answer(request: &[u8], output: &mut Output) {
    let reply = match render_here(request) {
        Ok(text) => Reply::Rendered(text),
        Err(error) => Reply::Failed(format!("{error:#}")),
    };
    let _ = output.send(&reply);
}

/// A template that refuses a system message, or leaves it out, gets it at the head of the user's.
fn render_here(request: &[u8]) -> Result<String> {
    let request: Request = serde_json::from_slice(request)?;
    let apart = render_messages(&request, &[("system", SYSTEM), ("user", USER)]);
    apart.or_else(|error| {
        let together = format!("{SYSTEM}\n\n{USER}");
        render_messages(&request, &[("user", &together)]).map_err(|_| error)
    })
}

fn render_messages(request: &Request, messages: &[(&str, &str)]) -> Result<String> {
    let Request { source, bos, eos } = request;
    let rendered = jinja::render(source, &variables(messages, bos, eos))?;
    let length = rendered.len();
    ensure!(length <= MAX_RENDERED_BYTES, "it writes {length} bytes around the messages");
    ensure!(
        rendered.matches(SYSTEM).count() == 1 && rendered.matches(USER).count() == 1,
        "it does not place a system and a user message once each"
    );
    Ok(rendered)
}

/// What transformers gives a template, for one question; messages are roles and contents.
fn variables(messages: &[(&str, &str)], bos: &str, eos: &str) -> Value {
    let messages = messages.iter().map(|&(role, content)| {
        let pairs = [("role", role), ("content", content)];
        let pairs = pairs.map(|(key, text)| (Value::from(key), Value::from(text)));
        Value::from_object(BTreeMap::from(pairs))
    });
    minijinja::context! {
        messages => messages.collect::<Vec<Value>>(),
        add_generation_prompt => true,
        // A model that can be told not to reason is: its answer stands in the passages.
        enable_thinking => false,
        bos_token => bos,
        eos_token => eos,
    }
}
