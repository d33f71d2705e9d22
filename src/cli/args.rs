//! The command line. Parsing only validates; nothing is opened or built here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::generation::local::placement::DeviceChoice;
use crate::index::Shard;
use crate::terminal::Lang;

/// Answers questions from your own documents, on your own machine.
///
/// Without a question it starts a dialogue, or, where standard input is no terminal, answers one
/// question a line.
#[derive(Debug, Parser)]
#[command(name = "rag-query", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 answered, 1 error, 2 usage, 3 nothing relevant in the documents, \
    4 the GPU that is required cannot be used, 130 interrupted."
)]
pub struct Cli {
    /// The question, in quotes
    pub question: Option<String>,

    #[command(flatten)]
    pub global: Global,

    /// Print the prompt that the LLM would get, and do not load it
    #[arg(long, conflicts_with = "extractive")]
    pub show_prompt: bool,

    #[command(flatten)]
    pub sampling: SamplingArgs,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The index: a folder, `@NAME` for one of several in your data folder, or
    /// `milvus://host:port/collection` on a server [default: ./index if it is one, else the data
    /// folder's own]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "RAG_QUERY_INDEX",
        hide_env_values = true
    )]
    pub index: Option<PathBuf>,

    /// The three models to use: `default`, `quality`, `cpu` or `demo`
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "RAG_QUERY_PROFILE",
        default_value = "default"
    )]
    pub profile: String,

    /// Where the LLM runs: `cuda`, `cuda:N` or `cpu` [default: what the profile says]
    #[arg(long, global = true, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// JSON on standard output, one object a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Nothing on standard error but warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Never download: use what is in the cache
    #[arg(long, global = true)]
    pub offline: bool,

    /// Language of messages [default: from the locale]
    #[arg(long, global = true, value_name = "LANG")]
    pub lang: Option<Lang>,

    /// Keep the order of the first search
    #[arg(long, global = true)]
    pub no_rerank: bool,

    /// Answer with the documents' own sentences, without the LLM
    #[arg(long, global = true)]
    pub extractive: bool,

    /// Answer from the best passages even where they are probably not about the question
    #[arg(long, global = true)]
    pub force: bool,

    /// Passages to answer from, or hits to list
    #[arg(long, global = true, value_name = "N", default_value_t = 5, value_parser = parse_top_k)]
    pub top_k: usize,

    /// Show every passage and its scores, on standard error
    #[arg(long, global = true)]
    pub explain: bool,

    /// A GGUF file or a Hugging Face folder to use as the LLM, or servers,
    /// `openai:http://HOST:PORT/v1#MODEL[,URL…]`, see docs/remote.md
    #[arg(long, global = true, value_name = "LLM", env = "RAG_QUERY_LLM")]
    pub llm: Option<PathBuf>,

    /// How long a server of `--llm` may be silent
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub llm_timeout: u32,

    /// Tokens that prompt and answer may have together [default: what the catalogue says]
    #[arg(long, global = true, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(256..))]
    pub context: Option<u32>,

    /// A template of the prompt that the LLM gets, see docs/prompt.md [default: the profile's, else
    /// the built-in one]
    #[arg(long, global = true, value_name = "FILE", env = "RAG_QUERY_PROMPT")]
    pub prompt: Option<PathBuf>,

    /// A template that follow-ups in the dialogue are rewritten with, see docs/prompt.md [default:
    /// the profile's, else the built-in one]
    #[arg(long, global = true, value_name = "FILE", env = "RAG_QUERY_REWRITE_PROMPT")]
    pub rewrite_prompt: Option<PathBuf>,

    /// A catalogue of your own models and profiles
    #[arg(long, global = true, value_name = "FILE", env = "RAG_QUERY_CATALOGUE")]
    pub catalogue: Option<PathBuf>,
}

/// How the LLM chooses tokens.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answer options")]
pub struct SamplingArgs {
    /// Most tokens in an answer
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,

    /// 0 takes the likeliest token always
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = parse_temperature)]
    pub temperature: f64,

    /// Sample among the likeliest tokens that together reach this probability
    #[arg(long, value_name = "P", value_parser = parse_probability)]
    pub top_p: Option<f64>,

    /// Sample among the tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P", value_parser = parse_share)]
    pub min_p: Option<f64>,

    /// Sample among the N likeliest tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample_top_k: Option<u32>,

    /// Makes recent tokens less likely; 1 does nothing
    #[arg(long, value_name = "F", default_value_t = 1.05, value_parser = parse_penalty)]
    pub repeat_penalty: f32,

    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds or updates the index from files and folders (Markdown, PDF, DOCX, HTML, …), and looks
    /// after it
    Index(IndexArgs),
    /// Lists the passages for a question; without one, reads a question a line from standard input
    Search {
        /// The question, in quotes
        query: Option<String>,
    },
    /// Lists, downloads and checks models
    Models {
        #[command(subcommand)]
        action: ModelsAction,
    },
    /// Says what works on this machine and what is missing
    Doctor,
    /// Measures this machine: models, search and, if asked to, the LLM
    Bench {
        /// Load the LLM too, on the device that the profile or `--device` says, and measure it
        #[arg(long)]
        with_llm: bool,
    },
    /// Measures retrieval, refusal and, if asked to, answers on your own labelled questions
    Eval(EvalArgs),
    /// Prints a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct IndexArgs {
    #[command(subcommand)]
    pub action: Option<IndexAction>,

    /// Files and folders (Markdown, PDF, DOCX, HTML, EPUB, plain text, source code, JSON Lines): what
    /// is new or changed under them is taken in, what is gone is removed, documents from other places
    /// stay
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Build a new index from these paths alone; the old one stays in use until it is done
    #[arg(long, conflicts_with = "dry_run")]
    pub rebuild: bool,

    /// Take one of N parts of the files, as one of N processes that write to the same index on Milvus
    /// at once, each with another I; see docs/milvus.md
    #[arg(long, value_name = "I/N", conflicts_with = "rebuild")]
    pub shard: Option<Shard>,

    /// Show the passages that the documents would be cut into, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Of the files in folders take only those that match, as in .gitignore: '*.md', 'notes/**';
    /// can be repeated
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,

    /// Leave out the files in folders that match; can be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,

    /// End with exit code 1 if anything could not be read
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub struct EvalArgs {
    /// JSON Lines, `{"id", "question", "relevant": [documents], "answers": [texts]}`; see
    /// docs/eval.md
    #[arg(
        value_name = "QUESTIONS",
        required_unless_present = "compare",
        conflicts_with = "compare"
    )]
    pub questions: Option<PathBuf>,

    /// Ask only the first N questions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,

    /// Draw the N questions at random, always the same ones
    #[arg(long, requires = "limit")]
    pub sample: bool,

    /// Load the LLM too and measure its answers
    #[arg(long, conflicts_with = "compare")]
    pub with_llm: bool,

    /// Keep the scores of every passage that the searches found in the JSON, to try other ways to
    /// rank them
    #[arg(long, requires = "json", conflicts_with = "compare")]
    pub candidates: bool,

    /// Compare two reports that `eval --json` wrote, with a paired test for each measure
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub compare: Vec<PathBuf>,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum IndexAction {
    /// Lists the documents of the index
    List,
    /// Tells what the index holds, how large it is, and what it was built with
    Info,
    /// Lists the indexes that have a name, which `--index @NAME` uses
    Names,
    /// Removes documents from the index, be their files still there or not
    Remove {
        /// Files and folders, or lines of JSONL files as `index list` names them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Copies an index, between a folder and a Milvus server or within one, without embedding again;
    /// what the target has of other documents stays
    Copy {
        /// The index to read, as `--index` would name it
        source: PathBuf,
        /// The index to write
        target: PathBuf,
    },
    /// Checks every byte and every passage of the index
    Verify,
    /// Writes the index anew without what was removed or replaced
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ModelsAction {
    /// Lists the models, and whether their files are here
    List,
    /// Downloads the profile's models
    Pull,
    /// Hashes the files of the profile's models again
    Verify,
}

fn parse_top_k(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1000) => Ok(n),
        _ => Err("a number from 1 to 1000".to_owned()),
    }
}

fn parse_temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(t) if (0.0..=5.0).contains(&t) => Ok(t),
        _ => Err("a number from 0 to 5".to_owned()),
    }
}

fn parse_probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if p > 0.0 && p <= 1.0 => Ok(p),
        _ => Err("a number above 0, at most 1".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

fn parse_penalty(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(f) if (1.0..=4.0).contains(&f) => Ok(f),
        _ => Err("a number from 1 to 4".to_owned()),
    }
}
