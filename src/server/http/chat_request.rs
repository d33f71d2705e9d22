//! Requests for chat completions, as OpenAI's clients send them.

use serde::Deserialize;

use super::failed::Failed;
use super::request::Wanted;
use crate::answer::AnswerOptions;
use crate::answer::conversation::Dialogue;
use crate::server::{Asked, KeepAlive};

/// The name under which the whole of retrieval and LLM is asked for.
pub const MODEL: &str = "rag-query";
/// Most passages that an answer may be asked to be written from.
pub const MAX_TOP_K: usize = 100;
/// Most tokens that an answer may be asked to have.
const MAX_TOKENS: usize = 32 << 10;

/// The fields that have an effect; docs/server.md names those that have none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChatRequest {
    pub model: Option<String>,
    pub messages: Vec<Message>,
    pub stream: bool,
    pub stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    pub options: Options,
    /// Only one answer is written.
    pub n: Option<u32>,
    /// Nothing is called.
    pub tools: Option<Vec<serde_json::Value>>,
}

/// Options of an answer, which every endpoint that answers takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    seed: Option<u64>,
    top_k: Option<usize>,
    extractive: Option<bool>,
    force: Option<bool>,
    keep_alive: Option<KeepAlive>,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
pub struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of parts with texts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    pub include_usage: bool,
}

impl Message {
    fn text(&self) -> Result<String, Failed> {
        match &self.content {
            None => Ok(String::new()),
            Some(Content::Text(text)) => Ok(text.clone()),
            Some(Content::Parts(parts)) => {
                if let Some(other) = parts.iter().find(|part| part.kind != "text") {
                    let kind = &other.kind;
                    return Err(Failed::bad_request(format!(
                        "a message has a part of type {kind:?}; only \"text\" can be read"
                    )));
                }
                Ok(parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

impl ChatRequest {
    /// What is asked, with `own` for what the request does not say. `models` are the names it may use.
    ///
    /// # Errors
    /// It asks for what this server does not have.
    pub fn asked(self, own: &AnswerOptions, models: &[&str]) -> Result<Asked, Failed> {
        if let Some(model) = self.model.as_deref().filter(|model| !models.contains(model)) {
            return Err(Failed::not_found(format!(
                "there is no model {model:?}, only {}",
                models.join(", ")
            )));
        }
        if self.n.is_some_and(|n| n != 1) {
            return Err(Failed::bad_request("`n`: only one answer is written"));
        }
        if self.tools.is_some_and(|tools| !tools.is_empty()) {
            return Err(Failed::bad_request(
                "`tools`: this server calls no tools; it searches the documents itself",
            ));
        }
        let (question, dialogue) = conversation(&self.messages)?;
        self.options.asked(question, dialogue, own)
    }
}

impl Options {
    /// A question with these options, and with `own` for what they do not say.
    ///
    /// # Errors
    /// An option is out of bounds.
    pub fn asked(
        self,
        question: String,
        dialogue: Dialogue,
        own: &AnswerOptions,
    ) -> Result<Asked, Failed> {
        let mut options = own.clone();
        let bounds = |name: &str, holds: bool, bounds: &str| match holds {
            true => Ok(()),
            false => Err(Failed::bad_request(format!("`{name}` has to be {bounds}"))),
        };
        if let Some(top_k) = self.top_k {
            bounds("top_k", (1..=MAX_TOP_K).contains(&top_k), "from 1 to 100")?;
            options.top_k = top_k;
        }
        if let Some(max_tokens) = self.max_completion_tokens.or(self.max_tokens) {
            bounds("max_tokens", (1..=MAX_TOKENS).contains(&max_tokens), "from 1 to 32768")?;
            options.sampling.max_tokens = max_tokens;
        }
        if let Some(temperature) = self.temperature {
            bounds("temperature", (0.0..=100.0).contains(&temperature), "from 0 to 100")?;
            options.sampling.temperature = temperature;
        }
        if let Some(top_p) = self.top_p {
            bounds("top_p", top_p > 0.0 && top_p <= 1.0, "above 0, and 1 at most")?;
            options.sampling.top_p = Some(top_p).filter(|top_p| *top_p < 1.0);
        }
        if let Some(min_p) = self.min_p {
            bounds("min_p", (0.0..1.0).contains(&min_p), "from 0 to below 1")?;
            options.sampling.min_p = Some(min_p);
        }
        options.sampling.seed = self.seed.unwrap_or(options.sampling.seed);
        options.extractive = self.extractive.unwrap_or(options.extractive);
        options.force = self.force.unwrap_or(options.force);
        let selection = self.wanted.selection()?;
        Ok(Asked { question, dialogue, options, selection, keep_alive: self.keep_alive })
    }
}

/// The last message, which asks, and what was said before. Instructions are not obeyed: the prompt is
/// the server's own.
fn conversation(messages: &[Message]) -> Result<(String, Dialogue), Failed> {
    let is_instruction =
        |message: &&Message| matches!(message.role.as_str(), "system" | "developer");
    let mut said: Vec<&Message> =
        messages.iter().filter(|message| !is_instruction(message)).collect();
    let asking = said.pop().filter(|message| message.role == "user");
    let asking = asking.ok_or_else(|| {
        Failed::bad_request("`messages` has to end with one of the role \"user\", which asks")
    })?;
    let mut turns: Vec<(String, String)> = Vec::new();
    for message in said {
        match message.role.as_str() {
            "user" => turns.push((message.text()?, String::new())),
            "assistant" => {
                if let Some((_, answer)) = turns.last_mut() {
                    *answer = message.text()?;
                }
            }
            role => return Err(Failed::bad_request(format!("there is no role {role:?} here"))),
        }
    }
    let dialogue =
        Dialogue::after(turns.iter().map(|(asked, said)| (asked.as_str(), said.as_str())));
    Ok((asking.text()?, dialogue))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Result<Asked, String> {
        let request: ChatRequest = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let own = AnswerOptions::default();
        request.asked(&own, &[MODEL, "tiny"]).map_err(|failed| failed.body().to_string())
    }

    #[test]
    fn the_last_message_asks_and_the_others_are_the_dialogue() {
        let json = r#"{"model": "tiny", "messages": [
            {"role": "system", "content": "Talk like a pirate."},
            {"role": "user", "content": "Transformer là gì?"},
            {"role": "assistant", "content": "Một kiến trúc."},
            {"role": "user", "content": [{"type": "text", "text": "còn nhược điểm?"}]}],
            "temperature": 0.5, "max_completion_tokens": 7, "keep_alive": 0, "in": "*.md", "user": "x"}"#;
        let asked = asked(json).unwrap();
        assert_eq!(asked.question, "còn nhược điểm?");
        assert_eq!(asked.options.sampling.max_tokens, 7);
        assert_eq!(asked.selection.within, ["*.md"]);
        assert_eq!(asked.keep_alive, Some(KeepAlive::For(std::time::Duration::ZERO)));
        let dialogue = serde_json::to_string(&asked.dialogue).unwrap();
        assert!(
            dialogue.contains("Transformer là gì?") && !dialogue.contains("pirate"),
            "{dialogue}"
        );
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let user = r#""messages": [{"role": "user", "content": "x?"}]"#;
        for (json, said) in [
            (r#"{"messages": []}"#.to_owned(), "has to end"),
            (r#"{"messages": [{"role": "assistant", "content": "x"}]}"#.to_owned(), "has to end"),
            (format!(r#"{{"model": "gpt-4o", {user}}}"#), "there is no model"),
            (format!(r#"{{"n": 2, {user}}}"#), "only one answer"),
            (format!(r#"{{"tools": [{{}}], {user}}}"#), "calls no tools"),
            (format!(r#"{{"top_k": 0, {user}}}"#), "from 1 to 100"),
            (format!(r#"{{"temperature": -1, {user}}}"#), "from 0 to 100"),
            (format!(r#"{{"top_p": 0, {user}}}"#), "above 0"),
            (format!(r#"{{"since": "yesterday", {user}}}"#), "expected a date"),
            (format!(r#"{{"max_tokens": 0, {user}}}"#), "from 1 to"),
            (format!(r#"{{"keep_alive": "soon", {user}}}"#), "expected 30s"),
            (r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#.to_owned(), "image_url"),
            (r#"{"messages": [{"role": "tool", "content": "x"}, {"role": "user", "content": "x"}]}"#.to_owned(), "no role"),
        ] {
            let error = asked(&json).unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
