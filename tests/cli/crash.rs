//! An index survives whatever happens to the process that writes it.
//!
//! Most of these tests use the library with synthetic vectors, so that hundreds of crashes take
//! seconds: the writer is this test program itself, started again and killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use rag_query::internals::documents::{Markup, Place};
use rag_query::internals::embedding::codes::{Coder, TokenCodes};
use rag_query::internals::index::{
    self, DirectoryIndex, DirectoryWriter, DocumentState, FileState, Index, IndexError,
    IndexWriter, Passage, Start,
};
use rag_query::internals::support::random::SplitMix64;
use serde_json::Value;

use crate::harness::{Outcome, Sandbox, synthetic_settings};

/// Names the folder that [`writes_until_it_is_killed`] writes in.
const FOLDER: &str = "RAG_QUERY_CRASH_FOLDER";
const DIM: usize = 16;
const KILLS: u64 = 200;

/// What an index holds: the version of each document.
type State = BTreeMap<String, u64>;

/// The chunks of a document's version.
fn passages(document: &str, version: u64) -> Vec<Passage> {
    let chunks = 1 + (version + document.len() as u64) % 4;
    (0..chunks)
        .map(|n| Passage {
            document: document.to_owned(),
            headings: vec![format!("Version {version}")],
            place: Some(Place::Lines(1, 1)),
            span: (0, 1),
            text: format!("part {n} of {document} in version {version}"),
            format: Markup::Plain,
            recognized: false,
            ..Passage::default()
        })
        .collect()
}

fn put(writer: &mut dyn IndexWriter, document: &str, version: u64) -> Result<(), IndexError> {
    writer.remove_document(document);
    let passages = passages(document, version);
    for passage in &passages {
        if !writer.add_known(passage)? {
            let vector: Vec<f32> = (0..DIM as u64).map(|i| ((i + version) as f32).sin()).collect();
            writer.add(
                passage,
                &vector,
                &Coder::new(&TokenCodes::FourBit, vector.len())
                    .unwrap()
                    .encode(&[&vector, &vector]),
            )?;
        }
    }
    let chunks = passages.len() as u64;
    writer.finish_document(
        document,
        DocumentState { hash: version.to_string(), chunks, tags: Vec::new() },
    );
    let hash = version.to_string();
    writer.finish_file(
        document,
        FileState { size: version, hash, reader: 1, ..FileState::default() },
    );
    Ok(())
}

/// What the index in `dir` holds. It must be intact and have the passages of its documents.
fn state(dir: &Path) -> State {
    let index = match index::verify(dir) {
        Ok(index) => index,
        Err(IndexError::Missing(_)) => return State::new(),
        Err(error) => panic!("{error:?}"),
    };
    consistent(&index)
}

fn consistent(index: &DirectoryIndex) -> State {
    let ledger = index.ledger().unwrap();
    let state: State = ledger
        .documents()
        .iter()
        .map(|(document, state)| (document.clone(), state.hash.parse().unwrap()))
        .collect();
    let mut expected: Vec<String> = state
        .iter()
        .flat_map(|(document, version)| passages(document, *version))
        .map(|passage| passage.text)
        .collect();
    let mut found: Vec<String> =
        index.chunks().map(|chunk| index.passage(chunk).unwrap().text).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    state
}

/// The writer. It records each state before it begins to make it, and changes the index until it is
/// killed, or for ten seconds.
#[test]
#[ignore = "the process that other tests start and kill"]
fn writes_until_it_is_killed() {
    let folder = std::env::var_os(FOLDER).expect("set by the tests that start this");
    let folder = Path::new(&folder);
    let mut journal =
        File::options().append(true).create(true).open(folder.join("journal")).unwrap();
    let seed = fs::read(folder.join("journal")).unwrap().len() as u64;
    let mut random = SplitMix64::new(seed + u64::from(std::process::id()));
    let dir = folder.join("index");
    let mut now = state(&dir);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        let mut writer =
            DirectoryWriter::open(&dir, synthetic_settings(DIM), Start::Update).unwrap();
        for _ in 0..=random.below(4) {
            for _ in 0..=random.below(3) {
                let document = format!("/document-{}", random.below(12));
                if random.below(3) == 0 {
                    writer.remove_file(&document);
                    now.remove(&document);
                } else {
                    let version = random.below(1000) as u64;
                    put(&mut writer, &document, version).unwrap();
                    now.insert(document, version);
                }
            }
            let line = serde_json::to_string(&now).unwrap() + "\n";
            journal.write_all(line.as_bytes()).unwrap();
            writer.commit().unwrap();
        }
        match random.below(3) {
            0 => writer.compact().unwrap(),
            _ => writer.finish().unwrap(),
        }
    }
}

/// The writer as a process; dropping this ends it.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn writer(folder: &Path) -> Writer {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn();
    Writer(child.unwrap())
}

/// The last two states that the writer began to make, older first.
fn last_states(folder: &Path) -> [State; 2] {
    let journal = fs::read_to_string(folder.join("journal")).unwrap_or_default();
    let mut states: Vec<State> =
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = states.pop().unwrap_or_default();
    [states.pop().unwrap_or_default(), last]
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_the_state_before_or_after() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = SplitMix64::new(6);
    let (mut before, mut after) = (0, 0);
    for round in 0..KILLS {
        let mut child = writer(folder.path());
        // Half of them soon after the start, when it may be opening the index; the others once it is
        // at work, however long that takes here.
        if round % 2 == 0 {
            thread::sleep(Duration::from_micros(random.below(60_000) as u64));
        } else {
            let journal = folder.path().join("journal");
            let length = || fs::metadata(&journal).map_or(0, |file| file.len());
            let (begun, waiting) = (length(), Instant::now());
            while length() == begun && waiting.elapsed() < Duration::from_secs(8) {
                thread::sleep(Duration::from_micros(200));
            }
            thread::sleep(Duration::from_micros(random.below(40_000) as u64));
        }
        child.0.kill().unwrap();
        let status = child.0.wait().unwrap();
        assert_eq!(status.code(), None, "round {round}: the writer ended by itself");
        let now = state(&folder.path().join("index"));
        let [older, newer] = last_states(folder.path());
        assert!(now == older || now == newer, "round {round}: {now:?}\n{older:?}\n{newer:?}");
        before += u64::from(now == older && now != newer);
        after += u64::from(now == newer);
        // From here on, what is there is the state.
        let line = serde_json::to_string(&now).unwrap() + "\n";
        let mut journal =
            File::options().append(true).create(true).open(folder.path().join("journal")).unwrap();
        journal.write_all(line.as_bytes()).unwrap();
    }
    // Otherwise no kill came during a commit, or none after one.
    assert!(before > 0 && after > 0, "{before} kills before a commit, {after} after");
}

#[test]
fn readers_see_one_state_while_an_index_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("index");
    let child = writer(folder.path());
    let begin = Instant::now();
    let mut states = Vec::new();
    while begin.elapsed() < Duration::from_secs(3) {
        match DirectoryIndex::open(&dir) {
            Ok(index) => states.push(consistent(&index)),
            Err(IndexError::Missing(_)) => assert!(states.is_empty()),
            Err(error) => panic!("{error:?}"),
        }
    }
    drop(child);
    states.dedup();
    assert!(states.len() > 1, "only {} states were seen", states.len());
}

/// Runs the program with a limit to the size of files, which acts like a full disk.
#[expect(unsafe_code, reason = "system calls between fork and exec")]
fn with_limit(sandbox: &Sandbox, bytes: u64, args: &[&str]) -> Outcome {
    let mut command = sandbox.command(args);
    // SAFETY: only async-signal-safe system calls are made between fork and exec.
    unsafe {
        command.pre_exec(move || {
            setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?;
            signal(Signal::SIGXFSZ, SigHandler::SigIgn)?;
            Ok(())
        });
    }
    Outcome::of(command.output().unwrap())
}

fn hits(sandbox: &Sandbox) -> String {
    sandbox.run(&["search", "--json", "--top-k", "100", "tokens"]).exits(0).stdout
}

#[test]
fn a_full_disk_leaves_the_state_before() {
    let sandbox = Sandbox::indexed();
    let before = hits(&sandbox);
    for n in 0..30 {
        sandbox.write(
            &format!("notes/more-{n}.md"),
            format!("# Note {n}\n\nMore about {n} tokens.\n"),
        );
    }
    let mut failed = 0;
    for kib in (0..400).step_by(16) {
        let args: &[&str] =
            if kib % 32 == 0 { &["index", "notes"] } else { &["index", "--rebuild", "notes"] };
        let outcome = with_limit(&sandbox, kib << 10, args);
        sandbox.run(&["index", "verify"]).exits(0);
        match outcome.status {
            Some(0) => break,
            _ => drop(outcome.fails(1, &["hint: "])),
        }
        failed += 1;
        assert_eq!(hits(&sandbox), before, "with {kib} KiB a file");
    }
    assert!(failed > 2, "{failed} runs met a full disk");
    sandbox.run(&["index", "notes"]).exits(0);
    sandbox.run(&["index", "verify"]).exits(0);
    assert_ne!(hits(&sandbox), before);
}

fn many_notes(sandbox: &Sandbox, count: usize) {
    fs::create_dir(sandbox.path("many")).unwrap();
    for n in 0..count {
        let text = format!("# Note {n}\n\nNote number {n} is about the token {}.\n", n * n);
        sandbox.write(&format!("many/{n}.md"), text);
    }
}

#[test]
fn a_signal_keeps_what_was_done_and_the_next_run_continues() {
    // A terminal that closes sends SIGHUP twice, which is not impatience.
    let closed: &[Signal] = &[Signal::SIGHUP, Signal::SIGHUP];
    for (rebuild, signals) in
        [(false, &[Signal::SIGINT][..]), (true, &[Signal::SIGTERM]), (false, closed)]
    {
        let sandbox = Sandbox::indexed();
        many_notes(&sandbox, 4000);
        let args: &[&str] = match rebuild {
            true => &["index", "--rebuild", "many"],
            false => &["index", "many"],
        };
        let mut command = sandbox.command(args);
        let child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        // It is at work as soon as vectors reach the disk.
        let data = if rebuild { "index/generation-2" } else { "index/generation-1" };
        let vectors = sandbox.path(data).join("tokens.codes");
        let size = || fs::metadata(&vectors).map_or(0, |file| file.len());
        let begun = size();
        while size() < begun + 50_000 {
            thread::sleep(Duration::from_millis(1));
        }
        for &signal in signals {
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        }
        let outcome = Outcome::of(child.wait_with_output().unwrap()).exits(130);
        let summary: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(summary["interrupted"], true);
        sandbox.run(&["index", "verify"]).exits(0);
        let rest = sandbox.run(&[args, &["--json"]].concat()).exits(0).json();
        sandbox.run(&["index", "verify"]).exits(0);
        // Each document was read once: it is either unchanged now, or had not been done.
        let count = |value: &Value, field: &str| value[field].as_u64().unwrap();
        assert!(count(&rest, "unchanged") > 0, "{summary} {rest}");
        assert_eq!(count(&rest, "unchanged") + count(&rest, "indexed"), 4000, "{rest}");
        let info = sandbox.run(&["index", "info", "--json"]).exits(0).json();
        assert_eq!(info["documents"], if rebuild { 4000 } else { 4005 });
    }
}
