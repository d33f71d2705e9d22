//! The options that a file may set.

use clap::Command;

/// What it takes for a project's file to set an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// The user's trust: it names a program, a model, a server or a file, or moves the LLM.
    Trust,
    /// The same, unless it stays inside the project's folder.
    TrustOutside,
}

/// What a value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Nothing,
    /// A path, relative to the file's folder, or an address.
    Path,
    /// The same, or a key of the catalogue.
    PathOrKey,
}

/// Name, what it takes, and what it names. Not here is what belongs to one call: `--json`, `--force`,
/// `--show-prompt`.
pub const OPTIONS: [(&str, Needs, Names); 29] = [
    ("index", Needs::TrustOutside, Names::Path),
    ("profile", Needs::Nothing, Names::Nothing),
    ("device", Needs::Trust, Names::Nothing),
    ("quiet", Needs::Nothing, Names::Nothing),
    ("offline", Needs::Nothing, Names::Nothing),
    ("refresh", Needs::Nothing, Names::Nothing),
    ("ocr", Needs::Nothing, Names::Nothing),
    ("ocr-languages", Needs::Nothing, Names::Nothing),
    ("reader", Needs::Trust, Names::Nothing),
    ("lang", Needs::Nothing, Names::Nothing),
    ("no-rerank", Needs::Nothing, Names::Nothing),
    ("reranker", Needs::Trust, Names::Nothing),
    ("token-vectors", Needs::Nothing, Names::Nothing),
    ("no-server", Needs::Nothing, Names::Nothing),
    ("extractive", Needs::Nothing, Names::Nothing),
    ("top-k", Needs::Nothing, Names::Nothing),
    ("explain", Needs::Nothing, Names::Nothing),
    ("show-thinking", Needs::Nothing, Names::Nothing),
    ("llm", Needs::Trust, Names::PathOrKey),
    ("llm-timeout", Needs::Nothing, Names::Nothing),
    ("context", Needs::Nothing, Names::Nothing),
    ("prompt", Needs::Trust, Names::Path),
    ("rewrite-prompt", Needs::Trust, Names::Path),
    ("catalogue", Needs::Trust, Names::Path),
    ("max-tokens", Needs::Nothing, Names::Nothing),
    ("temperature", Needs::Nothing, Names::Nothing),
    ("top-p", Needs::Nothing, Names::Nothing),
    ("min-p", Needs::Nothing, Names::Nothing),
    ("seed", Needs::Nothing, Names::Nothing),
];

/// Keys of a file that are no options.
pub const INDEXES: &str = "indexes";

/// The id of an option in the command line.
pub fn id(command: &Command, name: &str) -> Option<clap::Id> {
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    arg.map(|arg| arg.get_id().clone())
}

/// The known key that `key` is most like.
pub fn suggestion(key: &str) -> Option<String> {
    suggestion_of(key, OPTIONS.iter().map(|(name, ..)| *name).chain([INDEXES]))
}

/// The one of these names that `key` is most like.
pub fn suggestion_of<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    const LIKE: f64 = 0.75;
    let like = |name: &str| strsim::jaro(&key.replace('_', "-"), name);
    known
        .map(|name| (like(name), name))
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    /// So that nobody adds an option and forgets that people want to set it once for all.
    #[test]
    fn every_option_can_be_set_in_a_file_or_is_named_here() {
        let of_one_call = [
            "json",
            "file",
            "template",
            "force",
            "show-prompt",
            "no-config",
            "in",
            "type",
            "tag",
            "since",
            "sample-top-k",
            "repeat-penalty",
        ];
        let command = Cli::command();
        let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for option in &options {
            let known = OPTIONS.iter().any(|(name, ..)| name == option);
            assert!(known != of_one_call.contains(option), "{option}");
        }
        assert!(OPTIONS.iter().all(|(name, ..)| options.contains(name)));
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        assert_eq!(suggestion("topk").as_deref(), Some("top-k"));
        assert_eq!(suggestion("max_tokens").as_deref(), Some("max-tokens"));
        assert_eq!(suggestion("index-names").as_deref(), Some("indexes"));
        assert_eq!(suggestion("zzz"), None);
    }
}
