//! A sandbox for each test: home, notes, models and index in one temporary folder, and an environment
//! that knows nothing else.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread;

use rag_query::internals::chunks::ChunkSettings;
use rag_query::internals::embedding::codes::TokenCodes;
use rag_query::internals::index::{EmbedderIdentity, Settings};
use rag_query::internals::text::analyze::ANALYZER;
use serde_json::Value;
use tempfile::TempDir;

/// The notes of every sandbox: small, in both languages.
const NOTES: [(&str, &str); 4] = [
    (
        "nlp.md",
        "# Nhập môn NLP\n\n\
         ## NLP là gì?\n\n\
         NLP (xử lý ngôn ngữ tự nhiên) là lĩnh vực của trí tuệ nhân tạo giúp máy tính hiểu và tạo \
         ra ngôn ngữ của con người. Tên tiếng Anh đầy đủ là Natural Language Processing.\n\n\
         ## Ứng dụng của NLP\n\n\
         Dịch máy, trợ lý ảo và tóm tắt văn bản là những ứng dụng quen thuộc của NLP.\n",
    ),
    (
        "tokenization.md",
        "# Tokenization\n\n\
         Tokenization splits a text into smaller units that are called tokens. A token is a word, \
         a part of a word or a single character.\n\n\
         ## Byte pair encoding\n\n\
         Byte pair encoding begins with single bytes and merges the most frequent pair again and \
         again, until the vocabulary has the size that was asked for.\n",
    ),
    (
        "coffee.txt",
        "The coffee machine on the second floor is cleaned every Friday at noon.\n\
         Water for it is in the kitchen, and the beans are in the cupboard beside the door.\n",
    ),
    (
        "faq.jsonl",
        "{\"id\": \"office-hours\", \"title\": \"Office hours\", \"text\": \"The office is open from eight to five on weekdays.\"}\n\
         {\"id\": \"holiday\", \"title\": \"Nghỉ lễ\", \"text\": \"Văn phòng nghỉ vào dịp Tết Nguyên đán và ngày Quốc khánh.\"}\n",
    ),
];

/// Profiles of tiny random models. Their answers mean nothing; everything around them is real.
const CATALOGUE: &str = include_str!("../fixtures/tiny-models.toml");

/// Options with which the LLM writes for longer than anybody waits.
#[cfg(unix)]
pub const ENDLESS: [&str; 4] = ["--profile", "tiny-endless", "--max-tokens", "12000"];

/// A question that the tiny LLM may answer, and one that it may not.
pub const ENGLISH: &str = "What is tokenization?";
/// See [`ENGLISH`].
pub const VIETNAMESE: &str = "NLP là gì?";

/// The notes, indexed with the real models of the demo profile. Tests must not change it.
pub static DEMO: LazyLock<Sandbox> = LazyLock::new(Sandbox::demo);

/// A temporary folder with `notes/`, `models/` and a catalogue, which commands run in.
pub struct Sandbox {
    root: PathBuf,
    pub profile: &'static str,
    _folder: TempDir,
}

impl Sandbox {
    /// Notes and tiny models, no index yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let sandbox = Self { root, profile: "tiny", _folder: folder };
        for name in ["home", "notes", "models"] {
            fs::create_dir(sandbox.path(name)).unwrap();
        }
        for (name, text) in NOTES {
            sandbox.write(&format!("notes/{name}"), text);
        }
        for model in ["tiny-llama", "tiny-xlm-roberta", "tiny-xlm-roberta-classifier"] {
            copy_folder(&goldens().join(model), &sandbox.path("models").join(model));
        }
        let endless = sandbox.path("models/tiny-llama-endless");
        copy_folder(&goldens().join("tiny-llama"), &endless);
        forget_how_to_end(&endless.join("model.safetensors"));
        let models = sandbox.path("models");
        sandbox.write("catalogue.toml", CATALOGUE.replace("MODELS", models.to_str().unwrap()));
        sandbox
    }

    /// The same, with the notes in its index.
    pub fn indexed() -> Self {
        let sandbox = Self::new();
        sandbox.run(&["index", "notes"]).exits(0);
        sandbox
    }

    /// The notes, indexed with the real models of the demo profile.
    pub fn demo() -> Self {
        let mut sandbox = Self::new();
        sandbox.profile = "demo";
        sandbox.run(&["index", "notes"]).exits(0);
        sandbox
    }

    /// A path in the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file in the sandbox.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Cuts a file of the sandbox to its first `length` bytes.
    pub fn truncate(&self, name: &str, length: u64) {
        fs::File::options().write(true).open(self.path(name)).unwrap().set_len(length).unwrap();
    }

    /// Removes a file or folder of the sandbox.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// A file of the current data of the index, relative to the sandbox.
    pub fn data(&self, name: &str) -> String {
        let manifest = fs::read(self.path("index/manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        format!("index/{}/{name}", manifest["generation"].as_str().unwrap())
    }

    /// `rag-query` with these arguments, in the sandbox and its environment.
    pub fn command(&self, args: &[&str]) -> Command {
        self.surround(bare_command(args))
    }

    /// As [`Sandbox::command`], for a user who may read the sandbox but write nothing in it, even if
    /// the tests run as root.
    #[cfg(unix)]
    pub fn command_of_a_reader(&self, args: &[&str]) -> Command {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        use std::os::unix::process::CommandExt;
        const NOBODY: u32 = 65534;
        let set_mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in descend(&self.root) {
            set_mode(&path, if path.is_dir() { 0o555 } else { 0o444 });
        }
        if fs::metadata(&self.root).unwrap().uid() != 0 {
            return self.command(args);
        }
        // Modes mean nothing to root, so another user must run the program, from a place in reach.
        set_mode(&self.root, 0o755);
        let program = self.path("rag-query");
        // Copied by another process: if this one had the program open for writing, a child that another
        // test starts at that moment would inherit it, and the program could not be run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_rag-query")).arg(&program).status();
        assert!(copied.unwrap().success());
        set_mode(&program, 0o755);
        let mut command = Command::new(program);
        command.args(args).env_clear().uid(NOBODY).gid(NOBODY);
        self.surround(command)
    }

    /// A command in the sandbox and its environment.
    pub fn surround(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.root)
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("home/data"))
            .env("XDG_CONFIG_HOME", self.path("home/config"))
            .env("XDG_CACHE_HOME", self.path("home/cache"))
            .env("HF_HOME", self.path("home/hugging-face"))
            .env("HF_HUB_OFFLINE", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("RAG_QUERY_MODELS", prepared_models())
            .env("RAG_QUERY_CATALOGUE", self.path("catalogue.toml"))
            .env("RAG_QUERY_INDEX", self.path("index"))
            // Whether this machine has tesseract must not matter: `scans` asks for it.
            .env("RAG_QUERY_OCR", "off")
            .env("RAG_QUERY_PROFILE", self.profile);
        command
    }

    /// Runs a command to its end, without standard input.
    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs a command to its end, with `input` on standard input.
    pub fn run_with_stdin(&self, args: &[&str], input: impl AsRef<[u8]>) -> Outcome {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_owned();
        // A command may stop reading early, which closes the pipe.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        outcome
    }

    /// Text for a snapshot: times and the path of the sandbox are replaced.
    pub fn redact(&self, text: &str) -> String {
        without_times(text).replace(self.root.to_str().unwrap(), "[sandbox]")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A read-only folder cannot be emptied. What fails here leaves a temporary folder behind.
        #[cfg(unix)]
        for path in descend(&self.root).into_iter().filter(|path| path.is_dir()) {
            use std::os::unix::fs::PermissionsExt;
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        }
    }
}

/// Reports that a test did not run, as the unit tests do: on standard error, and in the file that
/// `RAG_QUERY_SKIPPED` names, for `./check`.
pub fn skipped(test: &str, needs: &str) {
    let line = format!("skipped: needs {needs}: {test}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("RAG_QUERY_SKIPPED") {
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// `rag-query` with these arguments and an empty environment.
pub fn bare_command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rag-query"));
    command.args(args).env_clear().stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// How a command ended and what it printed. None of them may have panicked.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; absent where a signal ended the command.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Takes what a finished command left.
    #[track_caller]
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        let outcome = Self {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        let panicked = outcome.status == Some(101) || outcome.stderr.contains("panicked");
        assert!(!panicked, "{outcome:#?}");
        outcome
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// Asserts that this failed with `status`, printed nothing on standard output, and that the
    /// error names each of `parts`.
    #[track_caller]
    pub fn fails(self, status: i32, parts: &[&str]) -> Self {
        let outcome = self.exits(status);
        assert_eq!(outcome.stdout, "", "{outcome:#?}");
        assert!(outcome.stderr.lines().any(|line| line.starts_with("error: ")), "{outcome:#?}");
        outcome.tells(parts)
    }

    /// Asserts that standard error has each of `parts`.
    #[track_caller]
    pub fn tells(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        }
        self
    }

    /// Standard output, one JSON object a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str::<Value>(line).expect("a line of JSON");
        let values: Vec<Value> = self.stdout.lines().map(parse).collect();
        assert!(values.iter().all(Value::is_object), "{self:#?}");
        values
    }

    /// Standard output as the one JSON object that it is.
    #[track_caller]
    pub fn json(&self) -> Value {
        let mut lines = self.json_lines();
        assert_eq!(lines.len(), 1, "{self:#?}");
        lines.remove(0)
    }
}

/// The folder with golden numbers and tiny models.
pub fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// The folder with the demo profile's models, all of which must be there.
fn prepared_models() -> PathBuf {
    let folder = std::env::var_os("RAG_QUERY_MODELS").map_or_else(
        || dirs::data_dir().expect("a data folder").join("rag-query/models"),
        PathBuf::from,
    );
    for model in ["multilingual-e5-small-q4_0", "smollm2-135m-instruct"] {
        let model = folder.join(model);
        assert!(model.is_dir(), "{} is missing: run models/prepare-demo", model.display());
    }
    folder
}

/// A folder's subfolders and files.
pub fn descend(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(descend(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// Copies the files of a folder into a new one.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Zeroes the output matrix of a safetensors LLM: all tokens become equally likely, and greedy decoding
/// picks the same ordinary one forever.
fn forget_how_to_end(weights: &Path) {
    let mut bytes = fs::read(weights).unwrap();
    let (length, rest) = bytes.split_at_mut(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let (header, data) = rest.split_at_mut(length);
    let header: Value = serde_json::from_slice(header).unwrap();
    let offset = |i: usize| header["lm_head.weight"]["data_offsets"][i].as_u64().unwrap() as usize;
    data[offset(0)..offset(1)].fill(0);
    fs::write(weights, bytes).unwrap();
}

/// Replaces every `12 ms` and `3.1 s` by `[time]`.
fn without_times(text: &str) -> String {
    let is_number =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let mut redacted: Vec<String> = Vec::new();
    for word in text.split_inclusive([' ', '\n']) {
        let unit = word.trim_end_matches([' ', '\n', ',']);
        match redacted.last_mut() {
            Some(last) if matches!(unit, "ms" | "s") && is_number(last.trim_end()) => {
                *last = word.replacen(unit, "[time]", 1);
            }
            _ => redacted.push(word.to_owned()),
        }
    }
    redacted.concat()
}

/// The settings of an index that tests fill with synthetic vectors of `dimension` values.
pub fn synthetic_settings(dimension: usize) -> Settings {
    Settings {
        embedder: EmbedderIdentity {
            id: "synthetic@1".to_owned(),
            dimension,
            pooling: "mean".to_owned(),
            passage_prefix: String::new(),
        },
        chunking: ChunkSettings::default(),
        token_vectors: Some(TokenCodes::FourBit),
        analyzer: ANALYZER,
    }
}
