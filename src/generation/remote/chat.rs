//! The request body, and parsing of the response events.
//!
//! The subset of OpenAI's chat completions that vLLM, Ollama, llama-server and llama-cpp-python
//! have in common.

use serde::{Deserialize, Serialize};

use crate::generation::local::SamplingOptions;
use crate::prompt::Messages;

/// Maximum length of a quoted server message, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// The body of a request.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    model: &'a str,
    messages: [Message<'a>; 2],
    stream: bool,
    stream_options: StreamOptions,
    max_tokens: usize,
    temperature: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// Plain strings: not every server accepts a list of parts.
#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    /// Omitted sampling options are sent as disabled, as for a local LLM, instead of leaving them
    /// to the server's defaults.
    pub fn new(model: &'a str, messages: &'a Messages, options: &SamplingOptions) -> Self {
        let sampled = options.temperature > 0.0;
        Self {
            model,
            messages: [
                // Trimmed, as for local chat templates.
                Message { role: "system", content: messages.system.trim() },
                Message { role: "user", content: messages.user.trim() },
            ],
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_tokens: options.max_tokens,
            temperature: options.temperature,
            top_p: sampled.then_some(options.top_p.unwrap_or(1.0)),
            seed: sampled.then_some(options.seed),
        }
    }
}

/// Names of non-default sampling options that the protocol cannot express.
pub fn unsupported(options: &SamplingOptions) -> Vec<&'static str> {
    // Disabled, or the default of a local LLM.
    let unchanged =
        [1.0, SamplingOptions::default().repeat_penalty].contains(&options.repeat_penalty);
    [
        (options.min_p.is_some(), "--min-p"),
        (options.top_k.is_some(), "--sample-top-k"),
        (!unchanged, "--repeat-penalty"),
    ]
    .into_iter()
    .filter_map(|(given, name)| given.then_some(name))
    .collect()
}

/// An event with part of the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// May be empty.
    pub text: String,
    /// `stop`, `length` and so on, in the final event.
    pub finish: Option<String>,
    /// Prompt and answer tokens, if the event reports them.
    pub usage: Option<(usize, usize)>,
}

/// An event without a part of the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum NoPiece {
    /// The end-of-stream marker `[DONE]`.
    Done,
    /// An error message from the server.
    Error(String),
    /// Not a chat completion.
    Malformed,
}

/// Parses the data of one event.
pub fn piece(data: &str) -> Result<Piece, NoPiece> {
    if data.trim() == "[DONE]" {
        return Err(NoPiece::Done);
    }
    let chunk: Chunk = serde_json::from_str(data).map_err(|_| NoPiece::Malformed)?;
    if chunk.error.is_some() {
        return Err(NoPiece::Error(error_message(data)));
    }
    let usage = chunk.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens));
    let Some(choices) = chunk.choices else { return Err(NoPiece::Malformed) };
    let Some(choice) = choices.into_iter().next() else {
        return Ok(Piece { usage, ..Piece::default() });
    };
    let text = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
    Ok(Piece { text, finish: choice.finish_reason, usage })
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
}

/// The human-readable part of an error body, truncated to one line: OpenAI's `error.message`,
/// vLLM's older `message`, FastAPI's `detail`, Ollama's plain `error`, or else the whole text.
pub fn error_message(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| {
        ["/error/message", "/error", "/message", "/detail"]
            .iter()
            .find_map(|path| json.pointer(path)?.as_str())
    });
    let text = message.unwrap_or(body).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether an error body says that prompt plus answer are too long. `context_length_exceeded` is
/// OpenAI's code, `exceed_context_size_error` llama-server's type; vLLM only has a message.
pub fn is_context_exceeded(body: &str) -> bool {
    let body = body.to_lowercase();
    ["context_length_exceeded", "exceed_context_size_error", "exceeds the available context"]
        .iter()
        .chain(&["maximum context length", "context window", "max_model_len"])
        .any(|sign| body.contains(sign))
}

/// Whether an error body says that the model does not exist.
pub fn is_unknown_model(body: &str) -> bool {
    let body = body.to_lowercase();
    body.contains("model_not_found")
        || (body.contains("model") && (body.contains("not exist") || body.contains("not found")))
}

/// Parses the model names in a response to `GET models`.
pub fn models(body: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    let list: List = serde_json::from_str(body).ok()?;
    Some(list.data.into_iter().map(|model| model.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: &SamplingOptions) -> serde_json::Value {
        let messages = Messages { system: "Be brief. ".to_owned(), user: "Ai?\n".to_owned() };
        serde_json::to_value(Request::new("m", &messages, options)).unwrap()
    }

    #[test]
    fn a_greedy_request_leaves_nothing_to_chance() {
        let expected = serde_json::json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be brief." }, { "role": "user", "content": "Ai?" },
            ],
            "stream": true, "stream_options": { "include_usage": true },
            "max_tokens": 512, "temperature": 0.0,
        });
        let options = SamplingOptions { top_p: Some(0.5), seed: 3, ..SamplingOptions::default() };
        assert_eq!(request(&options), expected);
    }

    #[test]
    fn a_sampled_request_names_what_is_off_too() {
        let options = SamplingOptions { temperature: 0.7, seed: 3, ..SamplingOptions::default() };
        let json = request(&options);
        assert_eq!((&json["temperature"], &json["top_p"]), (&0.7.into(), &1.0.into()));
        assert_eq!(json["seed"], 3);
        assert_eq!(request(&SamplingOptions { top_p: Some(0.5), ..options })["top_p"], 0.5);
    }

    #[test]
    fn options_that_the_protocol_cannot_express_are_named() {
        let options = SamplingOptions::default();
        assert!(unsupported(&options).is_empty());
        assert!(unsupported(&SamplingOptions { repeat_penalty: 1.0, ..options }).is_empty());
        let options =
            SamplingOptions { min_p: Some(0.1), top_k: Some(4), repeat_penalty: 1.3, ..options };
        assert_eq!(unsupported(&options), ["--min-p", "--sample-top-k", "--repeat-penalty"]);
    }

    #[test]
    fn pieces_of_all_servers_are_understood() {
        let text = |data| piece(data).unwrap().text;
        assert_eq!(text(r#"{"choices":[{"delta":{"content":"Tiếng"},"index":0}]}"#), "Tiếng");
        assert_eq!(text(r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#), "");
        assert_eq!(text(r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#), "");
        assert_eq!(text(r#"{"choices":[]}"#), "");
        let end =
            piece(r#"{"choices":[{"delta":{},"finish_reason":"length"}],"usage":null}"#).unwrap();
        assert_eq!(end.finish.as_deref(), Some("length"));
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
        assert_eq!(piece(usage).unwrap().usage, Some((7, 3)));
    }

    #[test]
    fn other_events_are_told_apart() {
        assert_eq!(piece(" [DONE]"), Err(NoPiece::Done));
        for data in [
            "",
            "{",
            "[]",
            "null",
            "7",
            "{}",
            r#"{"choices":3}"#,
            r#"{"choices":[{"delta":{"content":[]}}]}"#,
        ] {
            assert_eq!(piece(data), Err(NoPiece::Malformed), "{data}");
        }
        let error = r#"{"error":{"message":"CUDA out of memory","code":500}}"#;
        assert_eq!(piece(error), Err(NoPiece::Error("CUDA out of memory".to_owned())));
    }

    #[test]
    fn errors_of_all_servers_become_one_line() {
        for body in [
            r#"{"error":{"message":"too\nbad","type":"x"}}"#,
            r#"{"object":"error","message":"too bad"}"#,
            r#"{"detail":"too bad"}"#,
            r#"{"error":"too bad"}"#,
            "too bad\n",
        ] {
            assert_eq!(error_message(body), "too bad", "{body}");
        }
        assert_eq!(error_message(&"ệ".repeat(1000)).chars().count(), MAX_MESSAGE_CHARS + 1);
        assert_eq!(error_message(""), "");
    }

    #[test]
    fn exceeded_contexts_and_unknown_models_are_recognized() {
        for body in [
            r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#,
            r#"{"error":{"code":400,"type":"exceed_context_size_error"}}"#,
            r#"{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000"}"#,
            r#"{"error":{"message":"Requested tokens (600) exceed context window of 512"}}"#,
        ] {
            assert!(is_context_exceeded(body), "{body}");
        }
        assert!(!is_context_exceeded(r#"{"error":{"message":"unknown field `context`"}}"#));
        for body in [
            r#"{"error":{"message":"model \"x\" not found, try pulling it first"}}"#,
            r#"{"message":"The model `x` does not exist."}"#,
            r#"{"error":{"code":"model_not_found"}}"#,
        ] {
            assert!(is_unknown_model(body), "{body}");
        }
        assert!(!is_unknown_model("404 page not found"));
    }
}
