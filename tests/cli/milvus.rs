//! An index on a Milvus server: what happens when the server misbehaves.
//!
//! The server is the Python package `milvus-lite`, started here on a free port of the loopback
//! interface; its program is named by `RAG_QUERY_MILVUS_LITE` (`ci/milvus-check` installs it).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rag_query::internals::index::{
    IndexError, IndexWriter, Location, MilvusError, Notify, Settings, Shard, Start,
};
use rag_query::internals::support::random::SplitMix64;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{ENGLISH, Outcome, Sandbox, synthetic_settings};
use crate::tls;

/// Names the server's program.
const PROGRAM: &str = "RAG_QUERY_MILVUS_LITE";
/// Starts the server, prints its process, and ends it when standard input is closed: a test that
/// panics leaves no server behind.
const KEEPER: &str =
    r#""$@" >"$LOG" 2>&1 </dev/null & echo $!; cat >/dev/null; kill $! 2>/dev/null"#;

/// A server with data of its own.
pub struct Lite {
    port: u16,
    folder: TempDir,
    keeper: Option<Child>,
    process: Pid,
    /// The user and password that it requires.
    password: Option<&'static str>,
}

impl Lite {
    /// Starts a server, and waits until it listens.
    pub fn start() -> Self {
        Self::with(None)
    }

    fn with(password: Option<&'static str>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut lite = Self { port, folder, keeper: None, process: Pid::from_raw(0), password };
        lite.run();
        lite
    }

    fn run(&mut self) {
        let program = std::env::var(PROGRAM)
            .unwrap_or_else(|_| panic!("set {PROGRAM}, or run ci/milvus-check"));
        let (data, port) = (self.folder.path().join("data"), self.port.to_string());
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]);
        match self.password {
            None => command.args([&program, "server", "--host", "127.0.0.1"]),
            Some(token) => {
                let python = Path::new(&program).with_file_name("python");
                let script =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/milvus-with-password.py");
                command.arg(python).arg(script).args(["--token", token])
            }
        };
        command.arg("--data-dir").arg(data).args(["--port", &port]);
        command.env("LOG", self.folder.path().join("log"));
        let mut keeper =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is a shell");
        let mut process = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut process).unwrap();
        self.process = Pid::from_raw(process.trim().parse().unwrap());
        self.keeper = Some(keeper);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_mins(1), "no server: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, like a power failure.
    fn kill(&mut self) {
        let _ = kill(self.process, Signal::SIGKILL);
        let mut keeper = self.keeper.take().unwrap();
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The address of the index `name`.
    pub fn index(&self, name: &str) -> String {
        format!("milvus://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Lite {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.kill();
        }
    }
}

/// A command that works on `index`, with a short timeout.
fn command(sandbox: &Sandbox, index: &str, args: &[&str]) -> Command {
    let mut command = sandbox.command(args);
    command.env("RAG_QUERY_INDEX", index).env("RAG_QUERY_MILVUS_TIMEOUT", "10");
    command.stdin(Stdio::null());
    command
}

fn run(sandbox: &Sandbox, index: &str, args: &[&str]) -> Outcome {
    Outcome::of(command(sandbox, index, args).output().unwrap())
}

/// Notes that take a while to index.
fn many_notes(sandbox: &Sandbox, count: usize) {
    for n in 0..count {
        let sentence = |i| format!("Câu {i} của ghi chú số {n}. ");
        let text = (0..60).map(sentence).collect::<Vec<String>>().concat();
        sandbox.write(&format!("notes/note-{n:04}.txt"), text);
    }
}

/// Documents and chunks of an index that must be whole.
fn verified(sandbox: &Sandbox, index: &str) -> (u64, u64) {
    let whole = run(sandbox, index, &["index", "verify", "--json"]).exits(0).json();
    (whole["documents"].as_u64().unwrap(), whole["chunks"].as_u64().unwrap())
}

#[test]
fn every_command_works_as_with_a_directory() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    let index = server.index("notes");
    let in_both = |args: &[&str]| {
        let here = sandbox.run(args).exits(0);
        (here, run(&sandbox, &index, args).exits(0))
    };
    in_both(&["index", "notes"]);
    let (here, there) = in_both(&["index", "list"]);
    assert_eq!(here.stdout, there.stdout);
    for question in ["What is tokenization?", "NLP la gi?", "văn phòng nghỉ khi nào"] {
        let (here, there) = in_both(&["search", question, "--json"]);
        let documents = |outcome: &Outcome| -> Vec<String> {
            outcome.json_lines().iter().map(|hit| hit["text"].to_string()).collect()
        };
        assert_eq!(documents(&here), documents(&there), "{question}");
    }
    let (here, there) = in_both(&["What is tokenization?", "--max-tokens", "8", "--json"]);
    assert_eq!(here.json()["answer"], there.json()["answer"]);
    let (here, there) = in_both(&["index", "info", "--json"]);
    for counted in ["files", "documents", "chunks", "embedder", "chunking"] {
        assert_eq!(here.json()[counted], there.json()[counted], "{counted}");
    }
    assert!(run(&sandbox, &index, &["index", "info"]).exits(0).stdout.contains(&index));
    in_both(&["index", "remove", "notes/coffee.txt"]);
    in_both(&["index", "compact"]);
    let (here, there) = in_both(&["index", "verify", "--json"]);
    assert_eq!(here.stdout, there.stdout);
    let rebuilt = run(&sandbox, &index, &["index", "--rebuild", "notes", "--json"]).exits(0);
    assert_eq!(rebuilt.json()["indexed"], 5);
    assert_eq!(verified(&sandbox, &index).0, 5);
    let copy = sandbox.path("copy");
    run(&sandbox, &index, &["index", "copy", &index, copy.to_str().unwrap()]).exits(0);
    assert_eq!(verified(&sandbox, copy.to_str().unwrap()), verified(&sandbox, &index));
}

#[test]
fn a_part_of_a_servers_indexes_is_asked_and_several_at_once() {
    let (server, sandbox) = (Lite::start(), Sandbox::indexed());
    let (one, rest) = (server.index("one"), server.index("rest"));
    run(&sandbox, &one, &["index", "notes/tokenization.md"]).exits(0);
    for path in ["notes/nlp.md", "notes/coffee.txt", "notes/faq.jsonl"] {
        run(&sandbox, &rest, &["index", path]).exits(0);
    }
    let hits = |outcome: Outcome| -> Vec<(String, f64)> {
        let hits = outcome.exits(0).json_lines();
        let hit =
            |hit: &Value| (hit["document"].to_string(), hit["scores"]["dense"].as_f64().unwrap());
        hits.iter().map(hit).collect()
    };
    for part in [&[][..], &["--in", "coffee.txt"], &["--type", "md"]] {
        let asked = [part, &["--json", "--top-k", "9", "search", ENGLISH]].concat();
        let here = hits(sandbox.run(&asked));
        let several = [&["--index", &one, "--index", &rest], &asked[..]].concat();
        let there = hits(sandbox.run(&several));
        assert!(!here.is_empty() && here.len() == there.len(), "{here:?} {there:?}");
        for hit in &there {
            let is_same =
                |other: &&(String, f64)| other.0 == hit.0 && (other.1 - hit.1).abs() < 1e-3;
            assert!(here.iter().any(|other| is_same(&other)), "{hit:?} {here:?}");
        }
    }
    run(&sandbox, &rest, &["--in", "nowhere", "search", "coffee"]).fails(1, &["--in"]);
}

#[test]
fn a_server_that_is_down_is_named_and_tried_a_few_times() {
    let sandbox = Sandbox::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let index = format!("milvus://root:hidden@127.0.0.1:{port}/notes");
    let start = Instant::now();
    for args in [&["search", "x"] as &[&str], &["index", "notes"], &["index", "info"]] {
        let mut command = command(&sandbox, &index, args);
        command.env("RAG_QUERY_MILVUS_TIMEOUT", "0.5");
        let outcome = Outcome::of(command.output().unwrap());
        let shown = format!("milvus://127.0.0.1:{port}/notes");
        let outcome = outcome.fails(1, &[&shown, "does not answer", "attempt 2 of 3", "hint: "]);
        assert!(!outcome.stderr.contains("hidden"), "{outcome:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_slow_server_is_not_waited_for_for_ever() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Accepts connections, and never answers.
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let start = Instant::now();
    let mut command = command(&sandbox, &format!("milvus://127.0.0.1:{port}/x"), &["search", "x"]);
    command.env("RAG_QUERY_MILVUS_TIMEOUT", "0.5");
    Outcome::of(command.output().unwrap()).fails(1, &["does not answer", "attempt 2 of 3"]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn malformed_addresses_are_refused_without_showing_their_secrets() {
    let sandbox = Sandbox::new();
    for index in ["milvus://u:hidden@127.0.0.1", "milvus://u:hidden@127.0.0.1:1/9-9"] {
        let outcome =
            run(&sandbox, index, &["index", "info"]).fails(1, &["no address of an index"]);
        assert!(!outcome.stderr.contains("hidden"), "{outcome:?}");
    }
}

#[test]
fn only_a_user_with_the_password_is_let_in() {
    let (server, sandbox) = (Lite::with(Some("root:Pass word")), Sandbox::new());
    let index = server.index("notes");
    run(&sandbox, &index, &["index", "notes"])
        .fails(1, &["does not let you in", "RAG_QUERY_MILVUS_TOKEN"]);
    let wrong = index.replace("127.0.0.1", "root:wrong@127.0.0.1");
    let refused = run(&sandbox, &wrong, &["search", "x"]).fails(1, &["does not let you in"]);
    assert!(!refused.stderr.contains("wrong"), "{refused:?}");
    assert!(!refused.stderr.contains("attempt"), "a refusal is not tried again: {refused:?}");
    let right = index.replace("127.0.0.1", "root:Pass%20word@127.0.0.1");
    let indexed = run(&sandbox, &right, &["index", "notes"]).exits(0);
    assert!(!indexed.stderr.contains("Pass"), "{indexed:?}");
    let mut from_the_environment = command(&sandbox, &wrong, &["index", "verify"]);
    from_the_environment.env("RAG_QUERY_MILVUS_TOKEN", "root:Pass word");
    Outcome::of(from_the_environment.output().unwrap()).exits(0);
}

#[test]
fn an_encrypted_connection_trusts_the_authority_that_is_named() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    let port = tls::tunnel(format!("127.0.0.1:{}", server.port));
    let index = format!("milvus+tls://localhost:{port}/notes");
    let trusting = |args: &[&str]| {
        let mut command = command(&sandbox, &index, args);
        command.env("RAG_QUERY_MILVUS_CA", tls::certificates("authority.pem"));
        Outcome::of(command.output().unwrap())
    };
    trusting(&["index", "notes"]).exits(0);
    let found = trusting(&["search", "--json", "tokens"]).exits(0).stdout;
    let plain = run(&sandbox, &server.index("notes"), &["search", "--json", "tokens"]).exits(0);
    assert!(!found.is_empty());
    assert_eq!(found, plain.stdout);

    // No public authority vouches for its certificate; and the server itself does not encrypt.
    let advice = ["no encrypted connection came about", "RAG_QUERY_MILVUS_CA", "milvus://"];
    run(&sandbox, &index, &["search", "tokens"]).fails(1, &advice);
    let bare = server.index("notes").replace("milvus://", "milvus+tls://");
    run(&sandbox, &bare, &["search", "tokens"]).fails(1, &advice);
    // The name of an authority does not switch encryption on.
    let mut plain = command(&sandbox, &server.index("notes"), &["search", "tokens"]);
    plain.env("RAG_QUERY_MILVUS_CA", tls::certificates("authority.pem"));
    Outcome::of(plain.output().unwrap()).exits(0);
}

#[test]
fn an_index_of_another_embedder_is_refused_on_both_sides() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    let index = server.index("notes");
    run(&sandbox, &index, &["index", "notes"]).exits(0);
    for args in [&["search", "x"] as &[&str], &["index", "notes"]] {
        let args = [args, &["--profile", "tiny-other"]].concat();
        run(&sandbox, &index, &args).fails(1, &["the index was built with", "--rebuild"]);
    }
    run(&sandbox, &server.index("nothing"), &["search", "x"]).fails(1, &["there is no index in"]);
}

#[test]
fn a_run_that_lost_its_server_goes_on_where_it_stopped() {
    let (mut server, sandbox) = (Lite::start(), Sandbox::new());
    many_notes(&sandbox, 150);
    let (index, whole) = (server.index("notes"), server.index("whole"));
    run(&sandbox, &whole, &["index", "notes"]).exits(0);
    let expected = verified(&sandbox, &whole);
    let mut stopped = 0;
    for milliseconds in [150, 300, 450] {
        let mut indexing = command(&sandbox, &index, &["index", "notes", "--json"]);
        indexing.env("RAG_QUERY_MILVUS_TIMEOUT", "0.5");
        let child = indexing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        server.kill();
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        if outcome.status != Some(0) {
            outcome.fails(1, &["does not answer"]);
            stopped += 1;
        }
        server.run();
    }
    assert!(stopped > 0, "the server was gone too late to be missed");
    run(&sandbox, &index, &["index", "notes"]).exits(0);
    assert_eq!(verified(&sandbox, &index), expected);
    let again = run(&sandbox, &index, &["index", "notes", "--json"]).exits(0).json();
    assert_eq!(
        (again["indexed"].as_u64(), again["unchanged"].as_u64()),
        (Some(0), Some(expected.0))
    );
}

#[test]
fn a_server_that_comes_back_in_time_is_waited_for() {
    let (mut server, sandbox) = (Lite::start(), Sandbox::new());
    many_notes(&sandbox, 150);
    let index = server.index("notes");
    let mut indexing = command(&sandbox, &index, &["index", "notes", "--json"]);
    let child = indexing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    server.kill();
    server.run();
    let outcome = Outcome::of(child.wait_with_output().unwrap()).exits(0);
    assert!(outcome.stderr.contains("attempt 2 of"), "{outcome:?} {}", server.log());
    assert_eq!(verified(&sandbox, &index).0, outcome.json()["indexed"].as_u64().unwrap());
}

#[test]
fn a_server_that_goes_away_between_questions_fails_the_second() {
    let (mut server, sandbox) = (Lite::start(), Sandbox::new());
    let index = server.index("notes");
    run(&sandbox, &index, &["index", "notes"]).exits(0);
    let mut searching = command(&sandbox, &index, &["search", "--json", "--top-k", "1"]);
    searching.env("RAG_QUERY_MILVUS_TIMEOUT", "0.5").stdin(Stdio::piped());
    let mut child = searching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut answers) =
        (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    writeln!(stdin, "coffee machine").unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert!(answer.contains("coffee.txt"), "{answer}");
    server.kill();
    writeln!(stdin, "office hours").unwrap();
    drop(stdin);
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    outcome.exits(1).tells(&["error: cannot", "does not answer"]);
}

#[test]
fn of_two_indexers_at_once_one_waits_or_is_refused() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    many_notes(&sandbox, 120);
    let index = server.index("notes");
    let begin = || {
        let mut indexing = command(&sandbox, &index, &["index", "notes"]);
        indexing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut refused = 0;
    for child in [begin(), begin()] {
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        if outcome.status != Some(0) {
            outcome.fails(1, &["another process is writing to", "process ", "--shard 1/N"]);
            refused += 1;
        }
    }
    assert!(refused < 2);
    let once = server.index("once");
    run(&sandbox, &once, &["index", "notes"]).exits(0);
    assert_eq!(verified(&sandbox, &index), verified(&sandbox, &once));
}

/// What the texts of [`varied_notes`] are made of.
const SYLLABLES: &str = "học máy là gì ngôn ngữ tự nhiên trí tuệ nhân tạo dữ liệu câu hỏi văn bản \
    từ vựng cú pháp nghĩa nguồn mở tìm kiếm truy vấn xếp hạng đoạn trích mô hình tham số bộ nhớ";
const QUESTIONS: &str = "học máy là gì\nnguồn mở và truy vấn\nWhat is tokenization?\n\
    bộ nhớ của mô hình ngôn ngữ\nxếp hạng đoạn trích theo nghĩa\nvan phong nghi khi nao\n";

/// Notes that take a while to index, and of which no two passages are as good as each other.
fn varied_notes(sandbox: &Sandbox, count: usize) {
    let mut random = SplitMix64::new(11);
    let syllables: Vec<&str> = SYLLABLES.split_whitespace().collect();
    let mut sentence = || {
        let words: Vec<&str> = (0..8).map(|_| syllables[random.below(syllables.len())]).collect();
        format!("{}. ", words.join(" "))
    };
    for n in 0..count {
        let text: String = (0..60).map(|_| sentence()).collect();
        sandbox.write(&format!("notes/note-{n:04}.txt"), text);
    }
}

/// A question, the text of one of its hits, and its score.
type Hit = (String, String, f64);

/// The first hits of each question, best first.
fn hits(sandbox: &Sandbox, index: &str, top_k: &str) -> Vec<Hit> {
    let mut searching = command(sandbox, index, &["search", "--json", "--top-k", top_k]);
    searching.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = searching.spawn().unwrap();
    child.stdin.take().unwrap().write_all(QUESTIONS.as_bytes()).unwrap();
    let found = Outcome::of(child.wait_with_output().unwrap()).exits(0);
    let hit = |hit: &serde_json::Value| {
        let text = |field: &str| hit[field].as_str().unwrap().to_owned();
        (text("question"), text("text"), hit["score"].as_f64().unwrap())
    };
    found.json_lines().iter().map(hit).collect()
}

/// How many hits are the same; their scores, in order, must differ by less than `max`.
fn same_hits(ours: &[Hit], theirs: &[Hit], max: f64) -> usize {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours.2 - theirs.2).abs() < max, "{ours:?} {theirs:?}");
    }
    let same = |(ours, theirs): &(&Hit, &Hit)| (&ours.0, &ours.1) == (&theirs.0, &theirs.1);
    ours.iter().zip(theirs).filter(same).count()
}

#[test]
fn several_processes_share_the_work_and_make_the_same_index() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    varied_notes(&sandbox, 120);
    let (index, whole) = (server.index("shared"), server.index("whole"));
    let begin = |shard: &str| {
        let args = ["index", "notes", "--json", "--shard", shard];
        let mut indexing = command(&sandbox, &index, &args);
        indexing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // All make the collections at once, and one of them is killed at its work.
    let mut killed = begin("2/3");
    let others = [begin("1/3"), begin("3/3")];
    thread::sleep(Duration::from_millis(400));
    killed.kill().unwrap();
    let was_killed = killed.wait_with_output().unwrap().status.code().is_none();
    let mut documents = 0;
    let mut done = |child: Child| {
        let summary = Outcome::of(child.wait_with_output().unwrap()).exits(0).json();
        assert_eq!(summary["removed"], 0, "{summary}");
        let of = |what: &str| summary[what].as_u64().unwrap();
        documents += of("indexed") + of("unchanged");
    };
    for other in others {
        done(other);
    }
    assert!(was_killed, "it was done before it was killed");
    done(begin("2/3"));
    run(&sandbox, &whole, &["index", "notes"]).exits(0);
    assert_eq!(verified(&sandbox, &index), verified(&sandbox, &whole));
    assert_eq!(documents, verified(&sandbox, &whole).0, "every document had one writer");
    let list = |index: &str| run(&sandbox, index, &["index", "list"]).exits(0).stdout;
    assert_eq!(list(&index), list(&whole));
    let counts = |index: &str| {
        let info = run(&sandbox, index, &["index", "info", "--json"]).exits(0).json();
        ["files", "documents", "chunks"].map(|counted| info[counted].as_u64().unwrap())
    };
    assert_eq!(counts(&index), counts(&whole));
    // milvus-lite counts how rare a word is in each of its segments, which are cut by time. So the
    // first ten of each question, with their scores, are compared in copies.
    let [ours, theirs] = [&index, &whole].map(|index| {
        let copy = sandbox.path(&format!("copy-{}", index.rsplit('/').next().unwrap()));
        let copy = copy.to_str().unwrap();
        run(&sandbox, index, &["index", "copy", index, copy]).exits(0);
        hits(&sandbox, copy, "10")
    });
    assert!(ours.len() > 20, "{ours:?}");
    assert_eq!(same_hits(&ours, &theirs, 1e-3), ours.len(), "{ours:?} {theirs:?}");
    // On the server, hits that are nearly as good may change places.
    let [ours, theirs] = [&index, &whole].map(|index| hits(&sandbox, index, "1"));
    assert!(4 * same_hits(&ours, &theirs, 0.05) >= 3 * ours.len(), "{ours:?} {theirs:?}");
    // Documents are removed only by their own part; the others have nothing to do.
    for n in 0..12 {
        sandbox.remove(&format!("notes/note-{n:04}.txt"));
    }
    let removed: Vec<u64> = ["1/3", "2/3", "3/3"]
        .map(|shard| {
            let summary = Outcome::of(begin(shard).wait_with_output().unwrap()).exits(0).json();
            assert_eq!(summary["indexed"], 0, "{summary}");
            summary["removed"].as_u64().unwrap()
        })
        .to_vec();
    assert_eq!(removed.iter().sum::<u64>(), 12, "{removed:?}");
    assert!(removed.iter().all(|&removed| removed < 12), "{removed:?}");
    let again = run(&sandbox, &index, &["index", "notes", "--json"]).exits(0).json();
    assert_eq!((again["indexed"].as_u64(), again["removed"].as_u64()), (Some(0), Some(0)));
    verified(&sandbox, &index);
}

#[test]
fn writers_of_the_same_files_are_refused_and_others_are_let_in() {
    let server = Lite::start();
    let settings = || synthetic_settings(8);
    let index = Path::new(&server.index("notes")).to_owned();
    let location = Location::parse(&index, Notify(Arc::new(|_| ()))).unwrap();
    let shard = |text: &str| text.parse::<Shard>().unwrap();
    let first = location.write_shard(settings(), shard("1/3")).unwrap();
    let third = location.write_shard(settings(), shard("3/3")).unwrap();
    for other in ["1/3", "1/2", "2/4", "1/1"] {
        match location.write_shard(settings(), shard(other)).err() {
            Some(IndexError::Milvus(MilvusError::Busy { writer, .. })) => {
                assert!(writer.contains("/3") && !writer.contains('?'), "{writer}");
            }
            outcome => panic!("{other}: {outcome:?}"),
        }
    }
    let busy = |outcome: Result<Box<dyn IndexWriter>, IndexError>| {
        matches!(outcome.err(), Some(IndexError::Milvus(MilvusError::Busy { .. })))
    };
    assert!(busy(location.write(settings(), Start::Update)));
    assert!(busy(location.write(settings(), Start::Rebuild)));
    assert!(busy(location.write_existing()));
    third.finish().unwrap();
    first.finish().unwrap();
    // Who went in good order is not waited for.
    let start = Instant::now();
    drop(location.write(settings(), Start::Update).unwrap());
    drop(location.write_shard(settings(), shard("1/2")).unwrap());
    assert!(start.elapsed() < Duration::from_secs(5));
    // Whoever needs no token vectors keeps them for those who do.
    let without = Settings { token_vectors: None, ..settings() };
    let writer = location.write_shard(without, shard("1/2")).unwrap();
    assert!(writer.settings().token_vectors.is_some());
}

#[test]
fn a_writer_that_slept_for_long_stops_when_another_took_its_place() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    varied_notes(&sandbox, 300);
    let index = server.index("notes");
    let mut indexing = command(&sandbox, &index, &["index", "notes"]);
    let sleeper = indexing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = Pid::from_raw(i32::try_from(sleeper.id()).unwrap());
    thread::sleep(Duration::from_millis(500));
    kill(process, Signal::SIGSTOP).unwrap();
    let name = format!("process {process} on ");
    run(&sandbox, &index, &["index", "notes"]).exits(0).tells(&[&name, "waiting a few seconds"]);
    kill(process, Signal::SIGCONT).unwrap();
    let outcome = Outcome::of(sleeper.wait_with_output().unwrap());
    outcome.fails(1, &["another took its place", "goes on from there"]);
    // What it was about to do when it fell asleep did no harm, or is done again.
    run(&sandbox, &index, &["index", "notes"]).exits(0);
    let whole = server.index("whole");
    run(&sandbox, &whole, &["index", "notes"]).exits(0);
    assert_eq!(verified(&sandbox, &index), verified(&sandbox, &whole));
}

#[test]
fn one_of_two_that_begin_an_index_with_different_settings_is_refused() {
    let server = Lite::start();
    for round in 0..3 {
        let index = Path::new(&server.index(&format!("notes_{round}"))).to_owned();
        let begin = |dimension: usize, shard: &'static str| {
            let location = Location::parse(&index, Notify(Arc::new(|_| ()))).unwrap();
            thread::spawn(move || {
                let settings = synthetic_settings(dimension);
                let writer = location.write_shard(settings, shard.parse().unwrap());
                writer.and_then(IndexWriter::finish)
            })
        };
        let writers = [begin(8, "1/2"), begin(16, "2/2")];
        let outcomes = writers.map(|writer| writer.join().unwrap());
        let refused = outcomes.iter().filter(|outcome| match outcome {
            Ok(()) => false,
            Err(IndexError::Milvus(MilvusError::Busy { .. }) | IndexError::Mismatch { .. }) => true,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(refused.count(), 1, "{outcomes:?}");
        let location = Location::parse(&index, Notify(Arc::new(|_| ()))).unwrap();
        location.verify().unwrap();
    }
}
