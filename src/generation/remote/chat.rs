//! Parsing of what servers send: the events of a stream, whole completions, and errors.

use serde::Deserialize;
use serde_json::Value;

/// Maximum length of a quoted server message, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
/// Deepest nesting of content that is looked into.
const MAX_DEPTH: usize = 8;

/// An event with part of the answer, or none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// May be empty.
    pub text: String,
    /// Reasoning that comes apart from the text.
    pub thinking: String,
    /// Something else that the model produced.
    pub other: Option<Other>,
    /// Why the answer ended, in the final event.
    pub finish: Option<Finish>,
    /// If the event reports it.
    pub usage: Option<Usage>,
}

/// Numbers of tokens; 0 where a server does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: usize,
    /// Of the prompt, those that the server had kept from before; some do not count them in `prompt`.
    pub cached: usize,
    pub answer: usize,
}

/// What a model produces instead of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Other {
    /// With the model's explanation.
    Refusal(String),
    ToolCall,
    /// The text of a completion that is no chat.
    Completion,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// At the limit of tokens.
    Length,
    /// Withheld by a filter.
    Filter,
    /// With the call of a tool.
    ToolCall,
    /// From outside: an error, an abortion, and so on, in the server's word.
    Aborted(String),
}

/// An event without a part of the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum NoPiece {
    /// The end-of-stream marker `[DONE]`.
    Done,
    /// A heartbeat, or something else that says nothing about the answer.
    Nothing,
    /// An error message from the server.
    Error,
    /// Not a chat completion.
    Malformed,
}

/// Parses the data of one event.
pub fn piece(data: &str) -> Result<Piece, NoPiece> {
    let data = data.trim();
    if data == "[DONE]" {
        return Err(NoPiece::Done);
    }
    if is_heartbeat(data) {
        return Err(NoPiece::Nothing);
    }
    let event: Value = serde_json::from_str(data).map_err(|_| NoPiece::Malformed)?;
    let Value::Object(event) = event else { return Err(NoPiece::Nothing) };
    if is_error(&event) {
        return Err(NoPiece::Error);
    }
    let usage = event.get("usage").and_then(usage);
    let choices = match event.get("choices") {
        Some(Value::Array(choices)) => choices.as_slice(),
        None | Some(Value::Null) => &[],
        Some(_) => return Err(NoPiece::Malformed),
    };
    // More than one answer was not asked for.
    let first =
        choices.iter().find(|choice| choice["index"].as_u64().is_none_or(|index| index == 0));
    match (first, usage) {
        (Some(choice), usage) => Ok(Piece { usage, ..of_choice(choice)? }),
        (None, Some(usage)) => Ok(Piece { usage: Some(usage), ..Piece::default() }),
        (None, None) => Err(NoPiece::Nothing),
    }
}

/// What some servers and proxies send to keep a connection open.
fn is_heartbeat(data: &str) -> bool {
    let word = data.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    let is_word =
        word.len() <= 20 && word.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '_');
    data.is_ascii()
        && is_word
        && !data.starts_with(['{', '['])
        && matches!(
            word.replace(['-', '_'], "").as_str(),
            "" | "ping" | "pong" | "keepalive" | "heartbeat" | "null" | "undefined" | "processing"
        )
}

fn is_error(event: &serde_json::Map<String, Value>) -> bool {
    let is_said = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => true,
    };
    let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let has_choices = event.get("choices").is_some_and(|choices| !choices.is_null());
    event.get("error").is_some_and(is_said)
        || word("type") == "error"
        || word("object") == "error"
        || (!has_choices && event.get("detail").is_some_and(is_said))
        || (!has_choices && event.contains_key("code") && event.contains_key("message"))
}

fn of_choice(choice: &Value) -> Result<Piece, NoPiece> {
    if choice.get("error").is_some_and(|error| !error.is_null()) {
        return Err(NoPiece::Error);
    }
    // A whole completion has a `message`, as do events of a few servers.
    let message = [&choice["delta"], &choice["message"]].into_iter().find(|part| part.is_object());
    let mut piece =
        Piece { finish: choice["finish_reason"].as_str().and_then(finish), ..Piece::default() };
    let Some(Value::Object(message)) = message else {
        if choice["text"].as_str().is_some_and(|text| !text.is_empty()) {
            piece.other = Some(Other::Completion);
        }
        return Ok(piece);
    };
    for (key, value) in message {
        let key = key.to_ascii_lowercase();
        match key.as_str() {
            "content" => read_content(value, &mut piece.text, &mut piece.thinking, 0),
            "refusal" => {
                let said = value.as_str().filter(|said| !said.is_empty());
                piece.other = said.map(|said| Other::Refusal(said.to_owned())).or(piece.other);
            }
            "tool_calls" | "function_call" if is_filled(value) => {
                piece.other = Some(Other::ToolCall);
            }
            // The same under a second name would be counted twice.
            _ if is_thinking(&key) && piece.thinking.is_empty() => {
                read_all(value, &mut piece.thinking, 0);
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => false,
    }
}

/// `reasoning_content`, `reasoning`, `thinking`, `thought` and so on.
fn is_thinking(key: &str) -> bool {
    ["reason", "think", "thought"].iter().any(|part| key.contains(part))
}

/// Reads content: a text, or a list of parts, of which those of type `text` are the answer.
fn read_content(content: &Value, text: &mut String, thinking: &mut String, depth: usize) {
    match content {
        Value::String(said) => text.push_str(said),
        Value::Array(parts) if depth < MAX_DEPTH => {
            for part in parts {
                read_content(part, text, thinking, depth + 1);
            }
        }
        Value::Object(part) if depth < MAX_DEPTH => {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
            if is_thinking(kind) || part.get("thought").and_then(Value::as_bool) == Some(true) {
                read_all(content, thinking, depth);
            } else if let Some(said) = part.get("text").or_else(|| part.get("content")) {
                // `{ "value": … }` in assistants.
                let said = said.get("value").unwrap_or(said);
                read_content(said, text, thinking, depth + 1);
            }
        }
        _ => {}
    }
}

/// All text within a value, except for words that only say what it is.
fn read_all(value: &Value, text: &mut String, depth: usize) {
    match value {
        Value::String(said) => text.push_str(said),
        Value::Array(items) if depth < MAX_DEPTH => {
            for item in items {
                read_all(item, text, depth + 1);
            }
        }
        Value::Object(object) if depth < MAX_DEPTH => {
            let words = ["type", "id", "format", "index", "signature", "data"];
            let said = object.iter().filter(|(key, _)| !words.contains(&key.as_str()));
            said.for_each(|(_, value)| read_all(value, text, depth + 1));
        }
        _ => {}
    }
}

/// What a finish reason means; `None` if the answer goes on.
fn finish(reason: &str) -> Option<Finish> {
    let word = reason.trim().to_ascii_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| word.contains(sign));
    if ["", "null", "none", "undefined", "in_progress", "incomplete_stream"]
        .contains(&word.as_str())
    {
        None
    } else if has(&["tool", "function"]) {
        Some(Finish::ToolCall)
    } else if has(&[
        "filter",
        "safety",
        "recitation",
        "blocklist",
        "prohibited",
        "blocked",
        "spii",
        "refusal",
        "sensitive",
        "guardrail",
    ]) {
        Some(Finish::Filter)
    } else if has(&["length", "max_token", "max_output", "token_limit", "limit"]) {
        Some(Finish::Length)
    } else if has(&[
        "error",
        "abort",
        "cancel",
        "fail",
        "timeout",
        "interrupt",
        "insufficient",
        "network",
        "terminated",
        "kill",
        "evict",
        "preempt",
        "overload",
        "disconnect",
        "shutdown",
        "incomplete",
        "malformed",
    ]) {
        Some(Finish::Aborted(reason.trim().to_owned()))
    } else {
        // `stop`, `eos`, `end_turn`, `STOP`, and words that nobody has heard of.
        Some(Finish::Stop)
    }
}

/// Numbers that are none are not reported.
fn usage(usage: &Value) -> Option<Usage> {
    let count = |paths: &[&str]| {
        let value = paths.iter().find_map(|path| usage.pointer(path)?.as_u64());
        value.map(|value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    let prompt = count(&["/prompt_tokens", "/input_tokens"]);
    let answer = count(&["/completion_tokens", "/output_tokens"]);
    let cached = count(&["/prompt_tokens_details/cached_tokens", "/cache_read_input_tokens"]);
    (prompt.is_some() || answer.is_some()).then(|| Usage {
        prompt: prompt.unwrap_or(0),
        cached: cached.unwrap_or(0),
        answer: answer.unwrap_or(0),
    })
}

/// The human-readable part of an error body, truncated to one line: OpenAI's `error.message`,
/// vLLM's older `message`, FastAPI's `detail`, Ollama's plain `error`, or else the whole text.
pub fn error_message(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| {
        [
            "/error/message",
            "/error",
            "/message",
            "/detail",
            "/choices/0/error/message",
            "/detail/0/msg",
        ]
        .iter()
        .chain(&["/error/metadata/raw", "/0/error/message", "/msg"])
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
        .chain(&["maximum context length", "context window", "max_model_len", "prompt is too long"])
        .chain(&["prompt too long", "input is too long", "context size", "too many tokens"])
        .any(|sign| body.contains(sign))
}

/// Whether an error body says that the model does not exist.
pub fn is_unknown_model(body: &str) -> bool {
    let body = body.to_lowercase();
    body.contains("model_not_found")
        || (body.contains("model")
            && [
                "not exist",
                "not found",
                "not a valid model",
                "unknown model",
                "invalid model",
                "no model",
            ]
            .iter()
            .any(|sign| body.contains(sign)))
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

    fn parts(data: &str) -> (String, String) {
        let piece = piece(data).unwrap_or_else(|error| panic!("{data}: {error:?}"));
        (piece.text, piece.thinking)
    }

    fn delta(message: &str) -> String {
        format!(r#"{{"choices":[{{"index":0,"delta":{message}}}]}}"#)
    }

    #[test]
    fn pieces_of_all_servers_are_understood() {
        let text = |message: &str| parts(&delta(message));
        for message in [
            r#"{"content":"Tiếng"}"#,
            r#"{"content":[{"type":"text","text":"Tiếng"}]}"#,
            r#"{"content":["Tiế","ng"]}"#,
            r#"{"content":{"type":"output_text","text":{"value":"Tiếng"}}}"#,
            r#"{"role":"assistant","content":"Tiếng","refusal":null,"tool_calls":[],"reasoning":null}"#,
        ] {
            assert_eq!(text(message), ("Tiếng".to_owned(), String::new()), "{message}");
        }
        for message in [
            r#"{"reasoning_content":"hm"}"#,
            r#"{"reasoning":"hm","content":""}"#,
            r#"{"reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}"#,
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#,
            r#"{"thinking":{"content":"hm"}}"#,
        ] {
            assert_eq!(text(message), (String::new(), "hm".to_owned()), "{message}");
        }
        assert_eq!(text(r#"{"role":"assistant","content":null}"#), Default::default());
        let whole = r#"{"choices":[{"message":{"role":"assistant","content":"Red"},"finish_reason":"stop"}]}"#;
        assert_eq!(parts(whole).0, "Red");
        let second = r#"{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"y"}}]}"#;
        assert_eq!(parts(second).0, "y");
    }

    #[test]
    fn what_comes_instead_of_text_is_told() {
        let other = |data: &str| piece(data).unwrap().other;
        let refusal = Some(Other::Refusal("I can't".to_owned()));
        assert_eq!(other(&delta(r#"{"refusal":"I can't"}"#)), refusal);
        assert_eq!(other(&delta(r#"{"tool_calls":[{"index":0}]}"#)), Some(Other::ToolCall));
        assert_eq!(other(&delta(r#"{"function_call":{"name":"x"}}"#)), Some(Other::ToolCall));
        assert_eq!(other(r#"{"choices":[{"text":"Red"}]}"#), Some(Other::Completion));
    }

    #[test]
    fn finish_reasons_of_all_servers_are_understood() {
        let aborted = |reason: &str| Some(Finish::Aborted(reason.to_owned()));
        for (reason, expected) in [
            ("stop", Some(Finish::Stop)),
            ("STOP", Some(Finish::Stop)),
            ("eos", Some(Finish::Stop)),
            ("end_turn", Some(Finish::Stop)),
            ("stop_sequence", Some(Finish::Stop)),
            ("length", Some(Finish::Length)),
            ("MAX_TOKENS", Some(Finish::Length)),
            ("content_filter", Some(Finish::Filter)),
            ("SAFETY", Some(Finish::Filter)),
            ("tool_calls", Some(Finish::ToolCall)),
            ("error", aborted("error")),
            ("abort", aborted("abort")),
            ("insufficient_system_resource", aborted("insufficient_system_resource")),
            ("", None),
            ("null", None),
        ] {
            assert_eq!(finish(reason), expected, "{reason}");
        }
        let end = r#"{"choices":[{"delta":{},"finish_reason":"length"}],"usage":null}"#;
        assert_eq!(piece(end).unwrap().finish, Some(Finish::Length));
    }

    #[test]
    fn only_counts_are_taken_for_counts() {
        let read = |usage: &str| piece(&format!(r#"{{"choices":[],"usage":{usage}}}"#));
        let counts = read(r#"{"prompt_tokens":7,"completion_tokens":3}"#).unwrap();
        assert_eq!(counts.usage, Some(Usage { prompt: 7, cached: 0, answer: 3 }));
        let odd = read(r#"{"prompt_tokens":-7,"completion_tokens":3}"#).unwrap();
        assert_eq!(odd.usage, Some(Usage { answer: 3, ..Usage::default() }));
        for none in [r#"{"prompt_tokens":null}"#, r#"{"prompt_tokens":"7"}"#, "{}", "3", "null"] {
            assert_eq!(read(none), Err(NoPiece::Nothing), "{none}");
        }
    }

    #[test]
    fn other_events_are_told_apart() {
        assert_eq!(piece(" [DONE]"), Err(NoPiece::Done));
        for data in [
            "",
            "ping",
            ": keep-alive",
            "[]",
            "null",
            "7",
            "{}",
            r#"{"type":"ping"}"#,
            r#"{"choices":[]}"#,
            r#"{"choices":null}"#,
            r#"{"error":null,"choices":[]}"#,
            r#"{"object":"heartbeat"}"#,
        ] {
            assert_eq!(piece(data), Err(NoPiece::Nothing), "{data}");
        }
        for data in ["{", "nonsense", r#"{"choices":3}"#, "<html>"] {
            assert_eq!(piece(data), Err(NoPiece::Malformed), "{data}");
        }
        for data in [
            r#"{"error":{"message":"CUDA out of memory","code":500}}"#,
            r#"{"error":"no"}"#,
            r#"{"type":"error","message":"no"}"#,
            r#"{"object":"error","message":"no"}"#,
            r#"{"detail":"no"}"#,
            r#"{"code":500,"message":"no"}"#,
            r#"{"choices":[{"error":{"message":"no"},"finish_reason":"error"}]}"#,
        ] {
            assert_eq!(piece(data), Err(NoPiece::Error), "{data}");
        }
    }

    #[test]
    fn errors_of_all_servers_become_one_line() {
        for body in [
            r#"{"error":{"message":"too\nbad","type":"x"}}"#,
            r#"{"object":"error","message":"too bad"}"#,
            r#"{"detail":"too bad"}"#,
            r#"{"detail":[{"msg":"too bad"}]}"#,
            r#"{"error":"too bad"}"#,
            r#"[{"error":{"message":"too bad"}}]"#,
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
