//! Downloads from a small hub on this machine: what is downloaded, what is not, and what is left on disk
//! when something goes wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rag_query::internals::models::DownloadProgress;
use rag_query::internals::models::verify::{Outcome, verify};
use rag_query::internals::models::{
    Catalogue, Download, HubSettings, ModelEntry, ModelError, ModelFiles, ModelStore,
};
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const LATER: &str = "89abcdef0123456789abcdef0123456789abcdef";
const REPO: &str = "test/model";

// --- a hub ---------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    range: Option<u64>,
    authorization: Option<String>,
}

type Handler = dyn Fn(&Request, &mut TcpStream) + Send + Sync;

/// An HTTP/1.1 server that answers one request per connection and remembers them all.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let Some(request) = read_request(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                handler(&request, &mut stream);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut request = Request { method, path, range: None, authorization: None };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.range = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
            }
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(request)
}

fn respond(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &[u8]) {
    let headers: String =
        headers.iter().flat_map(|(name, value)| [*name, ": ", value, "\r\n"]).collect();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    // The client may have left, which does not matter here.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// How the hub misbehaves.
#[expect(clippy::struct_excessive_bools, reason = "independent faults")]
#[derive(Clone, Default)]
struct Fault {
    /// The hub answers everything with this status line.
    status: Option<&'static str>,
    /// The storage stops after this many bytes of an answer.
    cut_after: Option<usize>,
    /// The storage does not say how long its answer is.
    no_length: bool,
    /// The storage flips a bit.
    corrupt: bool,
    /// The storage sends one byte too many.
    too_long: bool,
    /// The storage answers every range with the whole file.
    ignores_ranges: bool,
    /// These replace the headers of the same name; an empty value removes one.
    headers: Vec<(&'static str, &'static str)>,
}

/// A repository on a hub: it serves `config.json` directly, like all small files, and redirects to a
/// storage server for `model.safetensors`, as for all large files.
struct World {
    hub: Server,
    storage: Server,
    fault: Arc<Mutex<Fault>>,
    commit: Arc<Mutex<&'static str>>,
    folder: tempfile::TempDir,
}

fn config() -> Vec<u8> {
    br#"{"hidden_size": 384}"#.to_vec()
}

fn weights() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

impl World {
    fn new() -> Self {
        let fault = Arc::new(Mutex::new(Fault::default()));
        let commit = Arc::new(Mutex::new(COMMIT));
        let storage = Server::start(Arc::new({
            let fault = Arc::clone(&fault);
            move |request, stream| serve_bytes(&fault.lock().unwrap(), request, stream, &weights())
        }));
        let hub = Server::start(Arc::new({
            let (fault, commit) = (Arc::clone(&fault), Arc::clone(&commit));
            let storage = storage.url.clone();
            move |request, stream| {
                let fault = fault.lock().unwrap().clone();
                serve_hub(&fault, *commit.lock().unwrap(), &storage, request, stream);
            }
        }));
        Self { hub, storage, fault, commit, folder: tempfile::tempdir().unwrap() }
    }

    fn fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn store(&self) -> ModelStore {
        ModelStore {
            models_dirs: vec![],
            hub: HubSettings {
                endpoint: self.hub.url.clone(),
                cache_dir: self.cache(),
                token: Some("hf_secret".to_owned()),
                offline: false,
            },
            state_dir: self.folder.path().join("state"),
            progress: Arc::new(()),
        }
    }

    fn offline(&self) -> ModelStore {
        let mut store = self.store();
        store.hub.offline = true;
        store
    }

    fn locate(&self) -> Result<ModelFiles, ModelError> {
        self.store().locate(&entry(&["config.json", "model.safetensors"]))
    }

    fn error(&self) -> ModelError {
        self.locate().unwrap_err()
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn repo(&self) -> PathBuf {
        self.cache().join("models--test--model")
    }

    /// All blobs that have their final names.
    fn finished_blobs(&self) -> Vec<String> {
        self.blobs(false)
    }

    fn partial_blobs(&self) -> Vec<String> {
        self.blobs(true)
    }

    fn blobs(&self, partial: bool) -> Vec<String> {
        let mut blobs = names(&self.repo().join("blobs"));
        blobs.retain(|name| Path::new(name).extension().is_some_and(|e| e == "part") == partial);
        blobs
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn serve_hub(
    fault: &Fault,
    commit: &str,
    storage: &str,
    request: &Request,
    stream: &mut TcpStream,
) {
    if let Some(status) = fault.status {
        return respond(stream, status, &[], b"");
    }
    let file = request.path.rsplit('/').next().unwrap();
    let known = request.path.starts_with(&format!("/{REPO}/resolve/"));
    let mut headers = BTreeMap::from([("X-Repo-Commit", commit.to_owned())]);
    let (status, body) = match file {
        "config.json" if known => {
            headers.insert("ETag", format!("W/\"{}\"", "c".repeat(40)));
            headers.insert("Content-Length", config().len().to_string());
            ("200 OK", config())
        }
        "model.safetensors" if known => {
            headers.insert("X-Linked-ETag", format!("\"{}\"", sha256(&weights())));
            headers.insert("X-Linked-Size", weights().len().to_string());
            headers.insert("Location", format!("{storage}/blob?signature=1"));
            headers.insert("Content-Length", "0".to_owned());
            ("302 Found", vec![])
        }
        _ if request.path.starts_with(&format!("/api/models/{REPO}/revision/")) => {
            let names = ["config.json", "model.safetensors", "../escape"];
            let siblings = names.map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).join(",");
            ("200 OK", format!(r#"{{"siblings":[{siblings}]}}"#).into_bytes())
        }
        _ => return respond(stream, "404 Not Found", &[], b""),
    };
    for (name, value) in &fault.headers {
        if headers.remove(name).is_some() && !value.is_empty() {
            headers.insert(name, (*value).to_owned());
        }
    }
    let headers: Vec<_> = headers.into_iter().collect();
    respond(stream, status, &headers, if request.method == "HEAD" { b"" } else { &body });
}

fn serve_bytes(fault: &Fault, request: &Request, stream: &mut TcpStream, whole: &[u8]) {
    let start = request.range.filter(|_| !fault.ignores_ranges).unwrap_or(0) as usize;
    let mut body = whole[start..].to_vec();
    if fault.corrupt {
        body[0] ^= 1;
    }
    if fault.too_long {
        body.push(0);
    }
    let mut headers = vec![];
    if !fault.no_length {
        headers.push(("Content-Length", body.len().to_string()));
    }
    let status = if start > 0 {
        let range = format!("bytes {start}-{}/{}", whole.len() - 1, whole.len());
        headers.push(("Content-Range", range));
        "206 Partial Content"
    } else {
        "200 OK"
    };
    body.truncate(fault.cut_after.unwrap_or(usize::MAX));
    respond(stream, status, &headers, &body);
}

fn entry(files: &[&str]) -> ModelEntry {
    entry_of(&format!("{files:?}"))
}

fn entry_of(files: &str) -> ModelEntry {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    let text = format!(
        "[models.tested]\nrole = \"reranker\"\nkind = \"cross-encoder\"\nname = \"Tested\"\n\
         licence = \"MIT\"\nlanguages = []\nmax_tokens = 512\n\
         source = {{ hub = \"{REPO}\", revision = \"main\", files = {files} }}\n"
    );
    fs::write(&path, text).unwrap();
    Catalogue::load(Some(&path)).unwrap().model("tested").unwrap().clone()
}

// --- the tests -----------------------------------------------------------------------------------

#[derive(Default)]
struct Counter {
    expected: AtomicU64,
    advanced: AtomicU64,
    announced: AtomicU64,
}

impl DownloadProgress for Counter {
    fn begin(&self, download: &Download) {
        self.expected.store(download.bytes, Ordering::SeqCst);
    }
    fn start(&self, _file: &str, size: u64, already: u64) {
        self.announced.fetch_add(size - already, Ordering::SeqCst);
    }
    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::SeqCst);
    }
    fn finish(&self) {}
}

#[test]
fn the_first_use_downloads_verifies_and_records() {
    let world = World::new();
    let counter = Arc::new(Counter::default());
    let mut store = world.store();
    store.progress = counter.clone();
    let entry = entry(&["config.json", "model.safetensors"]);

    let files = store.locate(&entry).unwrap();

    assert_eq!(fs::read(files.get("config.json").unwrap()).unwrap(), config());
    assert_eq!(fs::read(files.get("model.safetensors").unwrap()).unwrap(), weights());
    assert_eq!(files.revision.as_deref(), Some(COMMIT));
    // In the standard layout, where other Hugging Face tools find the files.
    let snapshot = world.repo().join("snapshots").join(COMMIT);
    assert_eq!(files.get("config.json").unwrap(), snapshot.join("config.json"));
    assert_eq!(fs::read_to_string(world.repo().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(world.finished_blobs(), [sha256(&weights()), "c".repeat(40)]);
    assert!(world.partial_blobs().is_empty());

    let total = (config().len() + weights().len()) as u64;
    assert_eq!(counter.expected.load(Ordering::SeqCst), total);
    assert_eq!(counter.announced.load(Ordering::SeqCst), total);
    assert_eq!(counter.advanced.load(Ordering::SeqCst), total);

    let lock = fs::read_to_string(store.state_dir.join("models.lock.json")).unwrap();
    for recorded in [COMMIT, &sha256(&weights()), &sha256(&config())] {
        assert!(lock.contains(recorded), "{lock}");
    }
    let report = verify(&store, &entry).unwrap();
    assert!(report.files.iter().all(|file| file.outcome == Outcome::Ok), "{report:?}");
}

#[test]
fn the_token_goes_to_the_hub_but_not_to_the_storage() {
    let world = World::new();
    world.locate().unwrap();
    let to_hub = world.hub.requests();
    assert!(to_hub.iter().all(|r| r.authorization.as_deref() == Some("Bearer hf_secret")));
    let to_storage = world.storage.requests();
    assert!(!to_storage.is_empty());
    assert!(to_storage.iter().all(|r| r.authorization.is_none()), "{to_storage:?}");
}

#[test]
fn a_cache_hit_makes_no_request() {
    let world = World::new();
    let first = world.locate().unwrap();
    let (hub, storage) = (world.hub.requests().len(), world.storage.requests().len());
    assert_eq!(world.locate().unwrap(), first);
    assert_eq!((world.hub.requests().len(), world.storage.requests().len()), (hub, storage));
}

#[test]
fn offline_with_a_cache_makes_no_request() {
    let world = World::new();
    let first = world.locate().unwrap();
    let before = world.hub.requests().len();
    let entry = entry(&["config.json", "model.safetensors"]);
    assert_eq!(world.offline().locate(&entry).unwrap(), first);
    assert_eq!(world.store().locate_offline(&entry).unwrap(), first);
    assert_eq!(world.hub.requests().len(), before);
}

#[test]
fn offline_without_a_cache_names_what_is_missing_and_makes_no_request() {
    let world = World::new();
    let error = world.offline().locate(&entry(&["config.json"])).unwrap_err();
    assert!(matches!(error, ModelError::NotCached { .. }));
    let message = error.to_string();
    for part in ["`config.json` of test/model (revision main)", "--offline", "models pull"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(world.hub.requests().is_empty());
    assert!(!world.cache().exists());
}

#[test]
fn a_truncated_download_leaves_nothing_that_looks_complete_and_resumes() {
    for no_length in [false, true] {
        let world = World::new();
        world.fault(Fault { cut_after: Some(300_000), no_length, ..Fault::default() });
        let error = world.error();
        let ModelError::Truncated { received, expected, .. } = &error else { panic!("{error}") };
        assert_eq!((*received, *expected), (300_000, 800_000));
        assert!(error.to_string().contains("`model.safetensors`"), "{error}");
        assert_eq!(world.finished_blobs(), ["c".repeat(40)]);
        assert!(!world.repo().join("snapshots").join(COMMIT).join("model.safetensors").exists());
        assert!(!world.repo().join("refs").exists(), "a reference promises a complete snapshot");

        world.fault(Fault::default());
        let files = world.locate().unwrap();
        assert_eq!(fs::read(files.get("model.safetensors").unwrap()).unwrap(), weights());
        assert_eq!(world.storage.requests().last().unwrap().range, Some(300_000));
        assert!(world.partial_blobs().is_empty());
    }
}

#[test]
fn resuming_works_if_the_server_ignores_ranges() {
    let world = World::new();
    world.fault(Fault { cut_after: Some(300_000), ..Fault::default() });
    world.error();
    world.fault(Fault { ignores_ranges: true, ..Fault::default() });
    let files = world.locate().unwrap();
    assert_eq!(fs::read(files.get("model.safetensors").unwrap()).unwrap(), weights());
}

#[test]
fn a_wrong_digest_removes_the_download() {
    let world = World::new();
    world.fault(Fault { corrupt: true, ..Fault::default() });
    let error = world.error();
    assert!(
        matches!(&error, ModelError::DigestMismatch { announced, .. } if *announced == sha256(&weights()))
    );
    assert!(error.to_string().contains("`model.safetensors` of test/model"), "{error}");
    assert_eq!(world.finished_blobs(), ["c".repeat(40)]);
    assert!(world.partial_blobs().is_empty());

    world.fault(Fault::default());
    world.locate().unwrap();
}

#[test]
fn more_bytes_than_announced_are_not_written() {
    let world = World::new();
    world.fault(Fault { too_long: true, ..Fault::default() });
    let error = world.error();
    assert!(matches!(error, ModelError::BadAnswer { .. }), "{error}");
    assert_eq!(world.finished_blobs(), ["c".repeat(40)]);
    assert!(world.partial_blobs().is_empty());
}

#[test]
fn the_error_about_a_gated_repository_says_how_to_get_access() {
    let world = World::new();
    world.fault(Fault { status: Some("401 Unauthorized"), ..Fault::default() });
    let mut store = world.store();
    store.hub.token = None;
    let message = store.locate(&entry(&["config.json"])).unwrap_err().to_string();
    for part in ["401", "https://huggingface.co/test/model", "HF_TOKEN", "no token was sent"] {
        assert!(message.contains(part), "{message}");
    }
    world.fault(Fault { status: Some("403 Forbidden"), ..Fault::default() });
    let message = world.error().to_string();
    assert!(message.contains("the token in use has no access"), "{message}");
    assert!(!message.contains("hf_secret"));
    assert!(world.finished_blobs().is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let world = World::new();
    let error = world.store().locate(&entry(&["config.json", "vocab.txt"])).unwrap_err();
    assert!(matches!(error, ModelError::NotFound { .. }));
    let message = error.to_string();
    assert!(message.contains("`vocab.txt` of test/model"), "{message}");
    assert!(message.contains("catalogue"), "{message}");
}

#[test]
fn a_server_error_is_not_mistaken_for_a_file() {
    let world = World::new();
    world.fault(Fault { status: Some("503 Service Unavailable"), ..Fault::default() });
    let error = world.error();
    assert!(matches!(error, ModelError::Status { status: 503, .. }), "{error}");
}

#[test]
fn a_hub_that_cannot_be_reached_is_named() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut store = world.store();
    store.hub.endpoint = format!("http://{free}");
    let error = store.locate(&entry(&["config.json"])).unwrap_err();
    assert!(matches!(error, ModelError::Unreachable { .. }));
    let message = error.to_string();
    for part in [free.to_string().as_str(), "--offline", "HF_ENDPOINT", "refused"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn answers_of_a_hostile_hub_are_refused_and_write_nothing() {
    let hostile: &[&[(&str, &str)]] = &[
        &[("ETag", "\"../../../../escaped\"")],
        &[("ETag", "")],
        &[("ETag", "\"a/b\"")],
        &[("X-Repo-Commit", "../../../../../../escaped")],
        &[("X-Repo-Commit", "main")],
        &[("X-Repo-Commit", "")],
        &[("Content-Length", "")],
    ];
    for headers in hostile {
        let world = World::new();
        world.fault(Fault { headers: headers.to_vec(), ..Fault::default() });
        let error = world.error();
        assert!(matches!(error, ModelError::BadAnswer { .. }), "{headers:?}: {error}");
        assert!(!world.cache().exists(), "{headers:?}");
    }
    for headers in [[("Location", "")], [("Location", "file:///etc/passwd")]] {
        let world = World::new();
        world.fault(Fault { headers: headers.to_vec(), ..Fault::default() });
        let error = world.error();
        assert!(matches!(error, ModelError::BadAnswer { .. }), "{headers:?}: {error}");
        assert_eq!(world.finished_blobs(), ["c".repeat(40)]);
    }
}

#[test]
fn all_files_are_of_one_commit_even_after_the_branch_moved() {
    let world = World::new();
    world.store().locate(&entry(&["config.json"])).unwrap();
    *world.commit.lock().unwrap() = LATER;
    let files = world.locate().unwrap();
    assert_eq!(files.revision.as_deref(), Some(LATER));
    for (_, path) in files.iter() {
        assert!(path.starts_with(world.repo().join("snapshots").join(LATER)));
        assert!(path.exists());
    }
    // Bytes that did not change are not downloaded twice.
    let gets = world.hub.requests().into_iter().filter(|r| r.method == "GET");
    assert_eq!(gets.filter(|r| r.path.ends_with("config.json")).count(), 1);
}

#[test]
fn a_damaged_file_is_reported_and_downloaded_again() {
    let world = World::new();
    let entry = entry(&["config.json", "model.safetensors"]);
    let path = world.locate().unwrap().get("model.safetensors").unwrap().to_owned();

    // The same size but other bytes: only a hash shows it.
    let mut bytes = weights();
    bytes[7] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let report = verify(&world.store(), &entry).unwrap();
    assert!(matches!(report.files[1].outcome, Outcome::Mismatch { .. }), "{report:?}");

    // Truncated: noticed without a hash, and repaired when online.
    fs::write(&path, &bytes[..1000]).unwrap();
    let error = world.offline().locate(&entry).unwrap_err();
    assert!(matches!(error, ModelError::NotCached { .. }), "{error}");
    let files = world.locate().unwrap();
    assert_eq!(fs::read(files.get("model.safetensors").unwrap()).unwrap(), weights());
}

#[test]
fn files_of_another_tool_are_used_and_verified_by_their_blob_name() {
    let world = World::new();
    world.locate().unwrap();
    fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    let before = world.hub.requests().len();
    world.locate().unwrap();
    assert_eq!(world.hub.requests().len(), before);
    let entry = entry(&["config.json", "model.safetensors"]);
    let report = verify(&world.store(), &entry).unwrap();
    assert_eq!(report.files[0].outcome, Outcome::NoRecord);
    assert_eq!(report.files[1].outcome, Outcome::Ok);
    assert!(report.is_ok());
}

#[test]
fn concurrent_first_uses_download_only_once() {
    let world = World::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| world.locate().unwrap());
        }
    });
    assert_eq!(world.storage.requests().len(), 1);
}

#[test]
fn a_read_only_cache_is_named() {
    let world = World::new();
    // A file in the place of the cache folder stops every user, even root.
    fs::write(world.cache(), "").unwrap();
    let error = world.error();
    assert!(matches!(error, ModelError::Io { .. }), "{error}");
    assert!(error.to_string().contains(&world.cache().display().to_string()), "{error}");
}

#[test]
fn of_alternative_names_the_first_that_exists_is_taken() {
    let world = World::new();
    let entry = entry_of(r#"["config.json", ["pytorch_model.bin", "model.safetensors"]]"#);
    let files = world.store().locate(&entry).unwrap();
    assert_eq!(fs::read(files.get("model.safetensors").unwrap()).unwrap(), weights());
    assert!(files.get("pytorch_model.bin").is_err());
    // From the cache too, without a request.
    let requests = world.hub.requests().len();
    assert_eq!(world.offline().locate(&entry).unwrap(), files);
    assert_eq!(world.hub.requests().len(), requests);
}

#[test]
fn a_wrong_name_is_told_with_the_files_that_there_are() {
    let world = World::new();
    let error = world.store().locate(&entry(&["weights.safetensors"])).unwrap_err().to_string();
    assert!(error.contains("has no `weights.safetensors`"), "{error}");
    assert!(error.contains("but model.safetensors; correct"), "{error}");
    let both = entry_of(r#"[["a.bin", "b.bin"]]"#);
    let error = world.store().locate(&both).unwrap_err().to_string();
    assert!(error.contains("`a.bin` or `b.bin`"), "{error}");
    assert!(error.contains("but config.json, model.safetensors; correct"), "{error}");
}
