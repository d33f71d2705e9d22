//! An index on a Milvus server: what happens when the server does not do what it should.
//!
//! The server is PyPI's `milvus-lite`, started here on a free port of the loopback interface; its
//! program is named by `RAG_QUERY_MILVUS_LITE` (`ci/milvus-check` installs it).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::harness::{Outcome, Sandbox};

/// Names the server's program.
const PROGRAM: &str = "RAG_QUERY_MILVUS_LITE";
/// Starts it, tells its process, and ends it when nobody holds standard input any more: a test
/// that panics leaves no server behind.
const KEEPER: &str =
    r#""$@" >"$LOG" 2>&1 </dev/null & echo $!; cat >/dev/null; kill $! 2>/dev/null"#;

/// A server with data of its own.
pub struct Lite {
    port: u16,
    folder: TempDir,
    keeper: Option<Child>,
    process: Pid,
    /// A user and password that it asks for.
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
            assert!(start.elapsed() < Duration::from_secs(60), "no server: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, as a machine does that loses its power.
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

/// A command that works on `index`, with little patience.
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
        let text: String = (0..60).map(|i| format!("Câu {i} của ghi chú số {n}. ")).collect();
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
fn a_server_that_is_gone_is_named_and_asked_a_few_times() {
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
fn a_server_that_is_slow_is_not_waited_for_for_ever() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Takes connections, and says nothing.
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let start = Instant::now();
    let mut command = command(&sandbox, &format!("milvus://127.0.0.1:{port}/x"), &["search", "x"]);
    command.env("RAG_QUERY_MILVUS_TIMEOUT", "0.5");
    Outcome::of(command.output().unwrap()).fails(1, &["does not answer", "attempt 2 of 3"]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn addresses_that_are_none_are_refused_without_their_secrets() {
    let sandbox = Sandbox::new();
    for index in ["milvus://u:hidden@127.0.0.1", "milvus://u:hidden@127.0.0.1:1/9-9"] {
        let outcome =
            run(&sandbox, index, &["index", "info"]).fails(1, &["no address of an index"]);
        assert!(!outcome.stderr.contains("hidden"), "{outcome:?}");
    }
}

#[test]
fn only_who_knows_the_password_is_let_in() {
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
fn two_indexers_at_once_end_with_one_index() {
    let (server, sandbox) = (Lite::start(), Sandbox::new());
    many_notes(&sandbox, 120);
    let index = server.index("notes");
    let begin = || {
        let mut indexing = command(&sandbox, &index, &["index", "notes"]);
        indexing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [begin(), begin()] {
        Outcome::of(child.wait_with_output().unwrap()).exits(0);
    }
    let once = server.index("once");
    run(&sandbox, &once, &["index", "notes"]).exits(0);
    assert_eq!(verified(&sandbox, &index), verified(&sandbox, &once));
}
