//! The command line. Parsing only validates: nothing is opened or built here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::selection::SelectionArgs;
use crate::documents::{NoProgramReader, OCR_LANGUAGES, ProgramReader};
use crate::generation::local::placement::DeviceChoice;
use crate::index::Shard;
use crate::profile::TokenChoice;
use crate::server::KeepAlive;
use crate::terminal::Lang;

/// Answers questions from your own documents, on your own machine.
///
/// Without a question, starts an interactive dialogue; if standard input is not a terminal, reads
/// and answers one question per line.
#[derive(Debug, Parser)]
#[command(name = "rag-query", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 answered, 1 error, 2 usage, 3 nothing relevant in the documents, \
    4 the required GPU cannot be used, 130 interrupted (by Ctrl-C, SIGTERM or a closed terminal)."
)]
pub struct Cli {
    /// The question, in quotes
    pub question: Option<String>,

    #[command(flatten)]
    pub global: Global,

    /// Answer the questions in this file, one a line or as JSON Lines; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "question")]
    pub file: Option<PathBuf>,

    /// Print what this Jinja template makes of the object of `--json`, such as '{{ answer }}', instead
    /// of the answer; `@FILE` reads it from a file
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["json", "show_prompt"])]
    pub template: Option<String>,

    /// Print the prompt for the LLM without loading it
    #[arg(long, conflicts_with = "extractive")]
    pub show_prompt: bool,

    #[command(flatten)]
    pub sampling: SamplingArgs,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options shared by all commands.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The index: a folder, `@NAME` for a named index in your data folder, or
    /// `milvus://host:port/collection` for one on a server; repeated, a question is asked of all of
    /// them as if they were one [default: `./index` if it is an index, else the one in your data folder]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "RAG_QUERY_INDEX",
        hide_env_values = true
    )]
    pub index: Vec<PathBuf>,

    /// The set of models to use: `default`, `vi`, `quality`, `cpu`, `demo`, or one from `--catalogue`
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "RAG_QUERY_PROFILE",
        default_value = "default"
    )]
    pub profile: String,

    /// Where the LLM runs: `cuda`, `cuda:N` or `cpu` [default: set by the profile]
    #[arg(long, global = true, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// Print JSON to standard output, one object per line
    #[arg(long, global = true)]
    pub json: bool,

    /// Print only warnings and errors to standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Never download; use only models that are already on this machine
    #[arg(long, global = true)]
    pub offline: bool,

    /// Update the index from the files and folders that it follows before answering
    #[arg(long, global = true)]
    pub refresh: bool,

    #[command(flatten)]
    pub reading: ReadingArgs,

    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Language of messages [default: from the locale]
    #[arg(long, global = true, value_name = "LANG")]
    pub lang: Option<Lang>,

    /// Skip reranking
    #[arg(long, global = true)]
    pub no_rerank: bool,

    /// The reranker to use, by its key in the catalogue (`models list`) [default: the profile's]
    #[arg(long, global = true, value_name = "KEY", conflicts_with = "no_rerank")]
    pub reranker: Option<String>,

    /// How a new index stores the vectors of tokens, which late interaction compares: `standard` ranks
    /// as well as `8-bit` in a quarter of the bytes, `compact` takes half of that and 0.1 s more for
    /// each question; see docs/index.md [default: standard]
    #[arg(long, global = true, value_name = "CODES", value_parser = parse_tokens)]
    pub token_vectors: Option<TokenChoice>,

    /// Answer with sentences from the documents instead of the LLM
    #[arg(long, global = true)]
    pub extractive: bool,

    /// Answer even if the documents probably do not cover the question
    #[arg(long, global = true)]
    pub force: bool,

    /// Number of passages to answer from, or of hits to list
    #[arg(long, global = true, value_name = "N", default_value_t = 5, value_parser = parse_top_k)]
    pub top_k: usize,

    /// Print each passage used and its scores to standard error
    #[arg(long, global = true)]
    pub explain: bool,

    /// Print the LLM's reasoning, which is no part of its answer, to standard error
    #[arg(long, global = true)]
    pub show_thinking: bool,

    /// The LLM to use: a GGUF file, a Hugging Face folder, an LLM of the catalogue (`models list`), a
    /// GGUF file on the Hugging Face Hub (`hf:OWNER/NAME:FILE.gguf`), or OpenAI-compatible servers
    /// (`openai:http://HOST:PORT/v1#MODEL[,URL…]`; see docs/remote.md)
    #[arg(long, global = true, value_name = "LLM", env = "RAG_QUERY_LLM")]
    pub llm: Option<PathBuf>,

    /// How long to wait for a silent `--llm` server
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub llm_timeout: u32,

    /// Context size: most tokens for prompt and answer together [default: set by the catalogue]
    #[arg(long, global = true, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(256..))]
    pub context: Option<u32>,

    /// Template for the LLM's prompt; see docs/prompt.md [default: the profile's, else built in]
    #[arg(long, global = true, value_name = "FILE", env = "RAG_QUERY_PROMPT")]
    pub prompt: Option<PathBuf>,

    /// Template for rewriting follow-up questions; see docs/prompt.md [default: the profile's, else
    /// built in]
    #[arg(long, global = true, value_name = "FILE", env = "RAG_QUERY_REWRITE_PROMPT")]
    pub rewrite_prompt: Option<PathBuf>,

    /// Answer in this process, even if a server is running
    #[arg(long, global = true)]
    pub no_server: bool,

    /// Ignore the settings of files
    #[arg(long, global = true)]
    pub no_config: bool,

    /// A catalogue with your own models and profiles
    #[arg(long, global = true, value_name = "FILE", env = "RAG_QUERY_CATALOGUE")]
    pub catalogue: Option<PathBuf>,
}

/// How the LLM chooses tokens.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answer options")]
pub struct SamplingArgs {
    /// Maximum number of tokens in an answer
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,

    /// Sampling temperature; 0 always picks the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = parse_temperature)]
    pub temperature: f64,

    /// Sample only from the likeliest tokens whose probabilities add up to P
    #[arg(long, value_name = "P", value_parser = parse_probability)]
    pub top_p: Option<f64>,

    /// Sample only from tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P", value_parser = parse_share)]
    pub min_p: Option<f64>,

    /// Sample only from the N likeliest tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample_top_k: Option<u32>,

    /// Make recent tokens less likely; 1 has no effect
    #[arg(long, value_name = "F", default_value_t = 1.05, value_parser = parse_penalty)]
    pub repeat_penalty: f32,

    /// Random seed for sampling
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds or updates the index from files and folders (Markdown, PDF, DOCX, HTML, …), and
    /// manages it
    Index(IndexArgs),
    /// Lists passages for a question; without one, reads one question per line from standard input
    Search {
        /// The question, in quotes
        query: Option<String>,
    },
    /// Keeps models and index warm, for this user's other commands and over HTTP; see docs/server.md
    Serve(ServeArgs),
    /// Serves agents and editors over standard input and output (Model Context Protocol); see
    /// docs/server.md
    Mcp(ServiceArgs),
    /// Lists, downloads and verifies models
    Models {
        #[command(subcommand)]
        action: ModelsAction,
    },
    /// Chooses the models for this machine, downloads them, and remembers the choice
    Setup(SetupArgs),
    /// Checks what works on this machine and what is missing; exits with 1 if the profile in use
    /// cannot answer
    Doctor,
    /// Measures the speed of models, search and, optionally, the LLM on this machine
    Bench {
        /// Also load and measure the LLM, on the device set by the profile or `--device`
        #[arg(long)]
        with_llm: bool,

        /// Also write the figures, with plots, to FILE, as one HTML page
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Measures retrieval, refusal and, optionally, answers on your own labelled questions
    Eval(EvalArgs),
    /// Shows the settings in effect; files of settings are described in docs/config.md
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Lets the project's `.rag-query.toml` set everything, as it is now
    Trust {
        /// Stop trusting it
        #[arg(long)]
        revoke: bool,
    },
    /// Prints a shell completion script
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen for HTTP; other addresses than this machine's own need `--api-key-file`
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8765")]
    pub listen: SocketAddr,

    /// Answer only requests with one of the keys in this file, one a line
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub service: ServiceArgs,
}

/// How a server treats the LLM.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// How long an unused LLM stays loaded: 30s, 5m, 2h, 0 to unload it at once, -1 for ever
    #[arg(long, value_name = "TIME", default_value_t = KeepAlive::DEFAULT, allow_hyphen_values = true)]
    pub keep_alive: KeepAlive,

    /// Most questions that wait for the LLM; more are refused
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub queue: u16,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct IndexArgs {
    #[command(subcommand)]
    pub action: Option<IndexAction>,

    /// Files and folders (Markdown, PDF, DOCX, HTML, EPUB, plain text, source code, JSON Lines):
    /// new and changed files in them are indexed, deleted ones are removed, documents from
    /// elsewhere are kept [default: what the files of settings say; see docs/config.md]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Build a new index from these paths only; the old one stays in use until the new one is
    /// complete
    #[arg(long, conflicts_with = "dry_run")]
    pub rebuild: bool,

    /// Index only part I of N of the files, for N processes that write to the same Milvus index at
    /// the same time; see docs/milvus.md
    #[arg(long, value_name = "I/N", conflicts_with = "rebuild")]
    pub shard: Option<Shard>,

    /// Show the passages that the documents would be split into, without changing the index
    #[arg(long)]
    pub dry_run: bool,

    /// Keep running, and take in changes as they happen, until interrupted
    #[arg(long, conflicts_with_all = ["dry_run", "rebuild"])]
    pub watch: bool,

    /// In folders, index only files that match this .gitignore-style pattern, such as '*.md' or
    /// 'notes/**', in any case; can be repeated. Documents of other files stay in the index
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,

    /// In folders, skip files that match this pattern; can be repeated. What the index has of them
    /// already stays there
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,

    /// Compare the content of every file, also of those whose size and times have not changed
    #[arg(long, conflicts_with = "dry_run")]
    pub checksum: bool,

    /// Exit with code 1 if any file could not be read or has no text, or if a folder that had
    /// documents has none now
    #[arg(long)]
    pub strict: bool,
}

/// The programs that help with reading documents.
#[derive(Debug, Args)]
pub struct ReadingArgs {
    /// Whether the text of scanned pages and of pictures is recognized
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        env = "RAG_QUERY_OCR"
    )]
    pub ocr: OcrChoice,

    /// The languages of scans, as `tesseract -l` takes them
    #[arg(
        long,
        global = true,
        value_name = "LANGUAGES",
        default_value = OCR_LANGUAGES,
        value_parser = ocr_languages,
        env = "RAG_QUERY_OCR_LANGUAGES"
    )]
    pub ocr_languages: String,

    /// A program whose output is the text of files with this extension, such as 'odg=odg2txt {}',
    /// where `{}` stands for the file; can be repeated. Give it again whenever files are read. In the
    /// environment, one a line
    #[arg(
        long,
        global = true,
        value_name = "EXT=COMMAND",
        value_parser = program_readers,
        env = "RAG_QUERY_READERS"
    )]
    pub reader: Vec<ProgramReaders>,
}

impl ReadingArgs {
    /// All programs that read files.
    pub fn readers(&self) -> Vec<ProgramReader> {
        self.reader.iter().flat_map(|readers| readers.0.clone()).collect()
    }
}

/// What one `--reader`, or the variable, names.
#[derive(Debug, Clone)]
pub struct ProgramReaders(Vec<ProgramReader>);

/// One a line; a variable may be empty.
fn program_readers(text: &str) -> Result<ProgramReaders, NoProgramReader> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(str::parse).collect::<Result<_, _>>().map(ProgramReaders)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OcrChoice {
    /// If tesseract is installed; otherwise scans are named, with the command that installs it
    Auto,
    /// Never
    Off,
}

fn parse_tokens(text: &str) -> Result<TokenChoice, String> {
    Ok(match text {
        "standard" => TokenChoice::Standard,
        "compact" => TokenChoice::Compact,
        "4-bit" => TokenChoice::FourBit,
        "8-bit" => TokenChoice::EightBit,
        _ => return Err("expected standard, compact, 4-bit or 8-bit".to_owned()),
    })
}

/// Names of language data, which are parts of file names, joined with `+`.
fn ocr_languages(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && name.len() <= 40 && name.chars().all(is_allowed)
    };
    match text.split('+').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("expected languages joined with +, such as vie+eng".to_owned()),
    }
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct EvalArgs {
    /// A JSON Lines file of `{"id", "question", "relevant": [documents], "answers": [texts]}`; see
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

    /// Choose the N questions at random, with a fixed seed
    #[arg(long, requires = "limit")]
    pub sample: bool,

    /// Also load the LLM and measure its answers
    #[arg(long, conflicts_with = "compare")]
    pub with_llm: bool,

    /// Also fit relevance to the questions, and ask the LLM (unless `--extractive`) whether the
    /// passages answer, to fit the gate with which its word decides; see docs/eval.md
    #[arg(long, conflicts_with = "compare")]
    pub calibrate: bool,

    /// Add the scores of every passage found to the JSON, for experimenting with other rankings
    #[arg(long, requires = "json", conflicts_with = "compare")]
    pub candidates: bool,

    /// Also write the report, with plots and the worst questions, to FILE, as one HTML page
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub html: Option<PathBuf>,

    /// Compare two reports written by `eval --json`, with a paired test for each measure
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub compare: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SetupArgs {
    /// The profile to set up [default: by the GPU and the language of messages]
    #[arg(value_name = "PROFILE")]
    pub chosen: Option<String>,

    /// Only remember the choice; models are downloaded when they are first used
    #[arg(long)]
    pub no_download: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Lists every setting with its value
    Show {
        /// Also say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum IndexAction {
    /// Lists the documents in the index
    List,
    /// Shows what the index contains, its size, and what it was built with
    Info,
    /// Lists the named indexes, which `--index @NAME` selects
    Names,
    /// Removes documents from the index, whether or not their files still exist
    Remove {
        /// Files and folders, or lines of JSONL files as `index list` names them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Says of each file how it is read, or why it is left out
    Explain {
        /// Files and folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Copies an index to another folder or Milvus server without embedding again; other documents
    /// in the target are kept
    Copy {
        /// The index to read, in the same form as for `--index`
        source: PathBuf,
        /// The index to write
        target: PathBuf,
    },
    /// Verifies every byte and every passage of the index
    Verify,
    /// Rewrites the index without removed and replaced passages
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ModelsAction {
    /// Lists the models and whether their files are on this machine
    List,
    /// Downloads the profile's models
    Pull,
    /// Verifies the checksums of the profile's models
    Verify,
}

fn parse_top_k(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1000) => Ok(n),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

fn parse_temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(t) if (0.0..=5.0).contains(&t) => Ok(t),
        _ => Err("expected a number from 0 to 5".to_owned()),
    }
}

fn parse_probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if p > 0.0 && p <= 1.0 => Ok(p),
        _ => Err("expected a number above 0 and at most 1".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn parse_penalty(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(f) if (1.0..=4.0).contains(&f) => Ok(f),
        _ => Err("expected a number from 1 to 4".to_owned()),
    }
}
