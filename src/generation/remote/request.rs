//! The request body, in the form that a server takes.
//!
//! It begins as the subset of OpenAI's chat completions that vLLM, Ollama, llama-server and
//! llama-cpp-python have in common. Other servers refuse a part of it; [`Form::adapted`] finds out
//! which from what they say.

use serde_json::{Map, Value, json};

use crate::generation::local::SamplingOptions;
use crate::prompt::Messages;

/// The form of request that a server takes.
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the request")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    limit: Limit,
    instructions: Instructions,
    temperature: bool,
    top_p: bool,
    seed: bool,
    stream_options: bool,
    stream: bool,
}

/// The name of the limit on the answer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    MaxTokens,
    /// Of OpenAI's reasoning models, which refuse `max_tokens`.
    MaxCompletionTokens,
    None,
}

/// Where the instructions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    System,
    /// Before the question, for chat templates without a system role.
    User,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            limit: Limit::MaxTokens,
            instructions: Instructions::System,
            temperature: true,
            top_p: true,
            seed: true,
            stream_options: true,
            stream: true,
        }
    }
}

impl Form {
    /// The body of a request. Omitted sampling options are sent as disabled, as for a local LLM,
    /// instead of leaving them to the server's defaults.
    pub fn request(self, model: &str, messages: &Messages, options: &SamplingOptions) -> Value {
        // Trimmed, as for local chat templates. Plain strings: not every server accepts a list of
        // parts.
        let (system, user) = (messages.system.trim(), messages.user.trim());
        let message = |role: &str, content: &str| json!({ "role": role, "content": content });
        let messages = match self.instructions {
            Instructions::System => vec![message("system", system), message("user", user)],
            Instructions::User => vec![message("user", format!("{system}\n\n{user}").trim())],
        };
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        set("model", model.into());
        set("messages", messages.into());
        set("stream", self.stream.into());
        if self.stream && self.stream_options {
            set("stream_options", json!({ "include_usage": true }));
        }
        match self.limit {
            Limit::MaxTokens => set("max_tokens", options.max_tokens.into()),
            Limit::MaxCompletionTokens => set("max_completion_tokens", options.max_tokens.into()),
            Limit::None => {}
        }
        if self.temperature {
            set("temperature", options.temperature.into());
        }
        let sampled = options.temperature > 0.0;
        if sampled && self.top_p {
            set("top_p", options.top_p.unwrap_or(1.0).into());
        }
        if sampled && self.seed {
            set("seed", options.seed.into());
        }
        body.into()
    }

    /// The form without the part that a refusal names, and the name of that part; `None` if it names
    /// none that can be left out.
    pub fn adapted(self, refusal: &str) -> Option<(Self, &'static str)> {
        let said = Refusal::read(refusal);
        let (with, without) = (self, |change: fn(&mut Self)| {
            let mut form = self;
            change(&mut form);
            form
        });
        let next: [(bool, &[&str], &'static str, Self); 7] = [
            (
                with.stream && with.stream_options,
                &["stream_options", "include_usage"],
                "stream_options",
                without(|form| form.stream_options = false),
            ),
            (
                with.limit == Limit::MaxTokens,
                &["max_tokens"],
                "max_tokens",
                without(|form| form.limit = Limit::MaxCompletionTokens),
            ),
            (
                with.limit == Limit::MaxCompletionTokens,
                &["max_completion_tokens"],
                "max_completion_tokens",
                without(|form| form.limit = Limit::None),
            ),
            (
                with.temperature,
                &["temperature"],
                "temperature",
                without(|form| form.temperature = false),
            ),
            (with.top_p, &["top_p"], "top_p", without(|form| form.top_p = false)),
            (with.seed, &["seed"], "seed", without(|form| form.seed = false)),
            (with.stream, &["stream", "streaming"], "stream", without(|form| form.stream = false)),
        ];
        if with.instructions == Instructions::System && said.refuses_system_role() {
            return Some((without(|form| form.instructions = Instructions::User), "system"));
        }
        next.into_iter()
            .find(|(is_sent, names, ..)| *is_sent && said.refuses(names))
            .map(|(_, _, name, form)| (form, name))
    }
}

/// What a server says against a request.
struct Refusal {
    /// In small letters.
    text: String,
    /// The words of the text; underscores are part of a word.
    words: Vec<String>,
    /// The fields that it names as such: OpenAI's `param`, pydantic's `loc`.
    fields: Vec<String>,
}

impl Refusal {
    fn read(body: &str) -> Self {
        let text = body.to_lowercase().replace("\\u0027", "'").replace("\\\"", "\"");
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let words = text.split(|c| !is_part(c)).filter(|word| !word.is_empty());
        let mut fields = Vec::new();
        if let Ok(json) = serde_json::from_str(body) {
            collect_fields(&json, &mut fields);
        }
        Self { words: words.map(str::to_owned).collect(), fields, text: text.clone() }
    }

    /// Whether it is about one of these fields, and about the field as such rather than a value that
    /// the user chose.
    fn refuses(&self, names: &[&str]) -> bool {
        let names_field =
            |listed: &[String]| names.iter().any(|name| listed.iter().any(|word| word == name));
        let is_about_size =
            ["too large", "too high", "at most", "less than", "greater than", "exceed"]
                .iter()
                .any(|sign| self.text.contains(sign));
        let names_it =
            names_field(&self.fields) || (self.says_unsupported() && names_field(&self.words));
        names_it && !(names[0].starts_with("max_") && is_about_size)
    }

    fn refuses_system_role(&self) -> bool {
        let names_role =
            ["system role", "system message", "system prompt", "role 'system'", "role `system`"]
                .iter()
                .chain(&[
                    "role \"system\"",
                    "role: system",
                    "'system' role",
                    "\"system\" role",
                    "`system` role",
                ])
                .chain(&["developer instruction", "system instruction", "roles must alternate"])
                .chain(&["user and assistant roles", "role system", "message role"])
                .any(|sign| self.text.contains(sign));
        let is_role_field = self.fields.iter().any(|field| field == "role");
        (names_role && (self.says_unsupported() || self.text.contains("must alternate")))
            || (is_role_field && self.text.contains("system"))
    }

    fn says_unsupported(&self) -> bool {
        [
            "support",
            "unrecognized",
            "unrecognised",
            "unknown",
            "unexpected",
            "extra",
            "not permitted",
        ]
        .iter()
        .chain(&["not allowed", "not enabled", "invalid", "deprecated", "not implemented"])
        .chain(&["does not accept", "doesn't accept", "not accept", "cannot be", "can not be"])
        .chain(&["can't be", "must be", "should be", "not valid", "forbidden", "only "])
        .any(|sign| self.text.contains(sign))
    }
}

/// The names of fields in `param` and `loc`, without those around them.
fn collect_fields(json: &Value, fields: &mut Vec<String>) {
    let names = |text: &str| -> Vec<String> {
        let parts = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        parts.filter(|part| !part.is_empty()).map(str::to_lowercase).collect()
    };
    match json {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("param" | "parameter" | "field", Value::String(text)) => {
                        fields.extend(names(text));
                    }
                    ("loc", Value::Array(parts)) => {
                        fields.extend(parts.iter().filter_map(Value::as_str).flat_map(names));
                    }
                    _ => collect_fields(value, fields),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_fields(item, fields)),
        _ => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(form: Form, options: &SamplingOptions) -> Value {
        let messages = Messages { system: "Be brief. ".to_owned(), user: "Ai?\n".to_owned() };
        form.request("m", &messages, options)
    }

    #[test]
    fn a_greedy_request_leaves_nothing_to_chance() {
        let expected = json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be brief." }, { "role": "user", "content": "Ai?" },
            ],
            "stream": true, "stream_options": { "include_usage": true },
            "max_tokens": 512, "temperature": 0.0,
        });
        let options = SamplingOptions { top_p: Some(0.5), seed: 3, ..SamplingOptions::default() };
        assert_eq!(request(Form::default(), &options), expected);
    }

    #[test]
    fn a_sampled_request_names_what_is_off_too() {
        let options = SamplingOptions { temperature: 0.7, seed: 3, ..SamplingOptions::default() };
        let json = request(Form::default(), &options);
        assert_eq!((&json["temperature"], &json["top_p"]), (&0.7.into(), &1.0.into()));
        assert_eq!(json["seed"], 3);
        let options = SamplingOptions { top_p: Some(0.5), ..options };
        assert_eq!(request(Form::default(), &options)["top_p"], 0.5);
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

    /// What OpenAI, Azure, vLLM, Mistral, llama-server, Groq and others answer.
    #[test]
    fn the_field_that_a_server_refuses_is_found() {
        for (body, field) in [
            (
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}"#,
                "max_tokens",
            ),
            (
                r#"{"message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"]}]}}"#,
                "stream_options",
            ),
            (r#"{"error":{"message":"System role not supported","code":400}}"#, "system"),
            (
                r#"{"object":"error","message":"Conversation roles must alternate user/assistant/user/assistant/..."}"#,
                "system",
            ),
            (r#"{"error":{"message":"Only user and assistant roles are supported!"}}"#, "system"),
            (
                r#"{"error":{"message":"Developer instruction is not enabled for models/gemma-3"}}"#,
                "system",
            ),
            (
                r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","param":"messages[0].role","code":"unsupported_value"}}"#,
                "system",
            ),
            (
                r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported.","param":"temperature"}}"#,
                "temperature",
            ),
            (r#"{"error":"`temperature` must be strictly positive"}"#, "temperature"),
            (r#"{"detail":[{"loc":["body","seed"],"msg":"extra fields not permitted"}]}"#, "seed"),
            (
                r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#,
                "stream_options",
            ),
            (r#"{"error":{"message":"property 'seed' is unsupported"}}"#, "seed"),
            (
                r#"{"error":{"message":"stream is not supported for this model","param":"stream"}}"#,
                "stream",
            ),
        ] {
            let (form, found) = Form::default().adapted(body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(found, field, "{body}");
            assert_ne!(form, Form::default());
        }
        for body in [
            "{}",
            "",
            r#"{"error":{"message":"max_tokens is too large: 99999. This model supports at most 4096 completion tokens","param":"max_tokens"}}"#,
            r#"{"error":{"message":"maximum context length is 512 tokens"}}"#,
            r#"{"detail":"no"}"#,
            r#"{"error":{"message":"the model `system` is down"}}"#,
        ] {
            assert_eq!(Form::default().adapted(body), None, "{body}");
        }
    }

    #[test]
    fn what_is_refused_is_left_out_or_named_otherwise() {
        let refused = |form: Form, field: &str| {
            form.adapted(&format!("{{\"error\":\"`{field}` is not supported\"}}")).unwrap().0
        };
        let sampled = SamplingOptions { temperature: 0.5, ..SamplingOptions::default() };
        let mut form = Form::default();
        form = refused(form, "max_tokens");
        let json = request(form, &sampled);
        assert_eq!(
            (&json["max_tokens"], &json["max_completion_tokens"]),
            (&Value::Null, &512.into())
        );
        form = refused(refused(refused(form, "max_completion_tokens"), "temperature"), "top_p");
        form = refused(refused(form, "seed"), "system role");
        form = refused(refused(form, "stream_options"), "stream");
        let expected = json!({
            "model": "m", "messages": [{ "role": "user", "content": "Be brief.\n\nAi?" }], "stream": false,
        });
        assert_eq!(request(form, &sampled), expected);
        for field in ["max_tokens", "temperature", "stream", "system role"] {
            let again = format!("{field} is not supported");
            assert_eq!(form.adapted(&again), None, "each is refused once");
        }
    }
}
