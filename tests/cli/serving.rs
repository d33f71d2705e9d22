//! `rag-query serve`, as its users meet it: the plain command, HTTP clients, and what goes wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::harness::{ENDLESS, ENGLISH, Outcome, Sandbox, VIETNAMESE};
use super::pty::{CTRL_D, Pty};

/// Long enough for whatever happens to happen on a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running server.
pub struct Server {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Starts one in a sandbox, on a free port, and waits until it is ready.
    pub fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        Self::of(sandbox.command(&args))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&said));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *heard.lock().unwrap() += &(line + "\n");
            }
        });
        let mut server = Self { child, address: String::new(), said };
        let ready = server.wait_for("Ready: http://");
        let address = ready.split("Ready: http://").nth(1).unwrap();
        address.split(',').next().unwrap().clone_into(&mut server.address);
        server
    }

    /// What it has said, once that contains `text`.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let said = self.said.lock().unwrap().clone();
            if said.contains(text) {
                return said;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "no {text:?}: {said}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A request, and the status and body of its response.
    #[track_caller]
    pub fn request(&self, path: &str, body: Option<&Value>, headers: &[&str]) -> (u16, String) {
        let mut stream = self.send(path, body, headers);
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let response = String::from_utf8(response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Sends a request, whose response is not read yet.
    fn send(&self, path: &str, body: Option<&Value>, headers: &[&str]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let method = if body.is_some() { "POST" } else { "GET" };
        let host = format!("Host: {}", self.address);
        let names_a_host = headers.iter().any(|header| header.starts_with("Host:"));
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = format!("Content-Length: {}", body.len());
        let first = format!("{method} {path} HTTP/1.1");
        let mut lines = vec![&*first, "Connection: close", &length];
        lines.extend(Some(host.as_str()).filter(|_| !names_a_host));
        lines.extend(headers);
        let request = format!("{}\r\n\r\n{body}", lines.join("\r\n"));
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, body) = self.request(path, None, &[]);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, response) = self.request(path, Some(body), &[]);
        assert_eq!(status, 200, "{response}");
        serde_json::from_str(&response).unwrap()
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.request("/metrics", None, &[]);
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn llm_state(&self) -> String {
        self.get("/health")["llm"]["state"].as_str().unwrap().to_owned()
    }

    /// Waits until the LLM is in this state.
    #[track_caller]
    fn wait_for_llm(&self, state: &str) {
        let start = Instant::now();
        while self.llm_state() != state {
            assert!(start.elapsed() < PATIENCE, "the LLM never was {state}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until it has ended, and returns its exit code.
    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Standard output without what differs from run to run.
fn without_times(outcome: &Outcome) -> Vec<String> {
    let strip = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut json) => {
            if let Some(object) = json.as_object_mut() {
                object.remove("timings_ms");
            }
            json.to_string()
        }
        Err(_) => line.to_owned(),
    };
    outcome.stdout.lines().map(strip).collect()
}

#[test]
fn a_command_prints_the_same_whether_a_server_answers_or_not() {
    let sandbox = Sandbox::indexed();
    let _server = Server::start(&sandbox, &[]);
    let llm = ["--max-tokens", "8", ENGLISH];
    let commands: [&[&str]; 14] = [
        &llm,
        &["--json", "--max-tokens", "8", ENGLISH],
        &["--json", "--temperature", "0.8", "--seed", "3", "--max-tokens", "6", ENGLISH],
        &["--json", VIETNAMESE],
        &["--extractive", "--top-k", "2", ENGLISH],
        &["--explain", "--extractive", ENGLISH],
        &["--template", "{{ citations | length }} {{ answer }}", "--extractive", ENGLISH],
        &["--json", "--extractive", "--in", "*.txt", "When is the machine cleaned?"],
        &["--extractive", "--in", "no-such", ENGLISH],
        &["--json", "--type", "md", "search", "tokens"],
        &["search", "--top-k", "2", VIETNAMESE],
        &["", "--json"],
        &["--show-prompt", ENGLISH],
        &["search", "   "],
    ];
    for args in commands {
        let served = sandbox.run(args);
        let alone = sandbox.run(&[args, &["--no-server"]].concat());
        assert_eq!(served.status, alone.status, "{args:?}: {served:#?} {alone:#?}");
        assert_eq!(without_times(&served), without_times(&alone), "{args:?}");
        let errors = |outcome: &Outcome| -> Vec<String> {
            let lines = outcome.stderr.lines().filter(|line| line.starts_with("error:"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(errors(&served), errors(&alone), "{args:?}");
        assert!(!alone.stderr.contains("Asking the server"), "{alone:#?}");
    }
    sandbox.run(&llm).exits(0).tells(&["Asking the server that is running"]);
    let questions = format!("{ENGLISH}\n\n{{\"id\": 7, \"question\": \"{VIETNAMESE}\"}}\n");
    let ask = |args: &[&str]| sandbox.run_with_stdin(args, &questions);
    let served = ask(&["--json", "--extractive"]);
    let alone = ask(&["--json", "--extractive", "--no-server"]);
    assert_eq!((served.status, without_times(&served)), (alone.status, without_times(&alone)));
}

#[test]
fn a_server_with_another_configuration_is_not_asked() {
    let sandbox = Sandbox::indexed();
    let _server = Server::start(&sandbox, &["--no-rerank"]);
    let asked = sandbox.run(&["search", "tokens"]).exits(0);
    assert!(!asked.stderr.contains("Asking the server"), "{asked:#?}");
    sandbox.run(&["--no-rerank", "search", "tokens"]).exits(0).tells(&["Asking the server"]);
}

#[test]
fn only_one_server_has_a_configuration_and_one_that_was_killed_leaves_nothing_in_the_way() {
    let sandbox = Sandbox::indexed();
    let mut first = Server::start(&sandbox, &[]);
    let second = sandbox.run(&["serve", "--listen", "127.0.0.1:0"]);
    second.fails(1, &["running already"]);
    let taken = sandbox.run(&["serve", "--no-rerank", "--listen", &first.address.clone()]);
    taken.fails(1, &["cannot listen on", "--listen"]);
    first.signal(Signal::SIGKILL);
    first.end();
    // Its socket is still there, and nobody listens.
    sandbox.run(&["search", "tokens"]).exits(0);
    drop(Server::start(&sandbox, &[]));
}

#[test]
fn the_llm_loads_at_the_first_answer_and_leaves_when_its_time_is_over() {
    let sandbox = Sandbox::indexed();
    let mut server = Server::start(&sandbox, &["--keep-alive", "0"]);
    let search = json!({"query": ENGLISH, "top_k": 2});
    server.post("/v1/search", &search);
    sandbox.run(&["--extractive", ENGLISH]).exits(0);
    assert_eq!(server.llm_state(), "not_loaded");
    assert_eq!(server.metric("rag_query_llm_loads_total"), 0.0);
    for loads in [1.0, 2.0] {
        sandbox.run(&["--max-tokens", "4", ENGLISH]).exits(0);
        server.wait_for_llm("not_loaded");
        assert_eq!(server.metric("rag_query_llm_loads_total"), loads);
    }
    server.wait_for("Unloaded Tiny LLM");
    // A request may ask for longer.
    let ask = json!({"messages": [{"role": "user", "content": ENGLISH}], "max_tokens": 4, "keep_alive": -1});
    server.post("/v1/chat/completions", &ask);
    assert_eq!(server.llm_state(), "loaded");
    assert_eq!(server.metric("rag_query_llm_unloads_total"), 2.0);
}

#[test]
fn a_load_that_fails_is_told_and_the_next_question_loads_again() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    let (weights, away) = (sandbox.path("models/tiny-llama/model.gguf"), sandbox.path("away"));
    std::fs::rename(&weights, &away).unwrap();
    sandbox.run(&["--max-tokens", "4", ENGLISH]).fails(1, &["tiny-llama"]);
    std::fs::rename(&away, &weights).unwrap();
    sandbox.run(&["--max-tokens", "4", ENGLISH]).exits(0);
    assert_eq!(server.llm_state(), "loaded");
}

#[test]
fn a_gpu_that_cannot_be_used_is_told_as_without_a_server() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &["--device", "cuda"]);
    let served = sandbox.run(&["--device", "cuda", ENGLISH]).exits(4);
    let alone = sandbox.run(&["--device", "cuda", "--no-server", ENGLISH]).exits(4);
    let told = |outcome: &Outcome| {
        let from = outcome.stderr.find("error:").unwrap();
        outcome.stderr[from..].to_owned()
    };
    assert_eq!(told(&served), told(&alone));
    let ask = json!({"messages": [{"role": "user", "content": ENGLISH}]});
    let (status, body) = server.request("/v1/chat/completions", Some(&ask), &[]);
    assert_eq!(status, 503, "{body}");
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["error"]["exit"], 4, "{error}");
    assert!(error["error"]["hint"].is_string(), "{error}");
}

#[test]
fn what_is_indexed_meanwhile_is_found() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    let search = json!({"query": "zeppelins over the harbour", "top_k": 20});
    let has = |server: &Server| {
        let found = server.post("/v1/search", &search);
        let hits = found["hits"].as_array().unwrap().clone();
        hits.iter().any(|hit| hit["document"].as_str().unwrap().ends_with("new.md"))
    };
    assert!(!has(&server));
    sandbox.write("notes/new.md", "# Zeppelins\n\nZeppelins over the harbour are silver.\n");
    sandbox.run(&["index", "notes"]).exits(0);
    assert!(has(&server));
    sandbox.remove("notes/new.md");
    sandbox.run(&["index", "--rebuild", "notes"]).exits(0);
    assert!(!has(&server));
}

#[test]
fn openais_protocol_is_spoken() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    let models = server.get("/v1/models");
    assert_eq!(models["data"][0]["id"], "rag-query", "{models}");
    let mut ask = json!({"model": "rag-query", "max_tokens": 8,
        "messages": [{"role": "user", "content": ENGLISH}]});
    let whole = server.post("/v1/chat/completions", &ask);
    let message = &whole["choices"][0]["message"];
    let content = message["content"].as_str().unwrap();
    assert!(content.contains("\n\nSources:\n[1] "), "{whole}");
    assert_eq!(whole["choices"][0]["finish_reason"], "length", "{whole}");
    assert_eq!(whole["usage"]["completion_tokens"], 8, "{whole}");
    assert_eq!(whole["rag_query"]["answered"], true, "{whole}");
    for note in message["annotations"].as_array().unwrap() {
        let url = note["url_citation"]["url"].as_str().unwrap();
        assert!(url.starts_with("file:///") && url.contains("#L"), "{note}");
    }

    ask["stream"] = true.into();
    ask["stream_options"] = json!({"include_usage": true});
    let (status, body) = server.request("/v1/chat/completions", Some(&ask), &[]);
    assert_eq!(status, 200);
    let data: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"), "{body}");
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text.trim_start(), content.trim_start(), "the same answer, in pieces");
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 8);

    // A refusal is told in words, in the language of the question.
    let refused = json!({"messages": [{"role": "user", "content": "Thủ đô của Pháp là gì?"}],
        "in": "coffee.txt"});
    let refused = server.post("/v1/chat/completions", &refused);
    assert!(
        refused["choices"][0]["message"]["content"].as_str().is_some_and(|text| !text.is_empty())
    );
}

#[test]
fn texts_are_embedded_and_reranked() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    let texts = json!({"input": ["a cat", "the coffee machine"]});
    let floats = server.post("/v1/embeddings", &texts);
    let vector = floats["data"][1]["embedding"].as_array().unwrap();
    let length: f64 = vector.iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
    let one = json!({"input": "a cat", "encoding_format": "base64"});
    let encoded = server.post("/v1/embeddings", &one);
    let encoded = encoded["data"][0]["embedding"].as_str().unwrap();
    assert_eq!(encoded.len(), (vector.len() * 4).div_ceil(3) * 4, "{encoded}");

    let ask = json!({"query": "x", "documents": ["a b c", {"text": "d e f"}, "x"], "top_n": 2});
    let ranked = server.post("/v1/rerank", &ask);
    let results = ranked["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{ranked}");
    let score = |i: usize| results[i]["relevance_score"].as_f64().unwrap();
    assert!(score(0) >= score(1), "{ranked}");
}

#[test]
fn bad_requests_are_refused_in_words() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    let user = json!([{"role": "user", "content": ENGLISH}]);
    for (path, body, status, said) in [
        ("/v1/chat/completions", json!({"messages": []}), 400, "has to end"),
        ("/v1/chat/completions", json!({"messages": user, "model": "gpt-4o"}), 404, "no model"),
        ("/v1/chat/completions", json!([1]), 400, "cannot be read"),
        ("/v1/search", json!({"query": ""}), 400, "empty"),
        ("/v1/search", json!({"query": "x", "top_k": 0}), 400, "top_k"),
        ("/v1/search", json!({"query": "x", "since": "soon"}), 400, "since"),
        ("/v1/embeddings", json!({"input": []}), 400, "input"),
        ("/v1/rerank", json!({"query": "x"}), 400, "documents"),
        ("/v1/source", json!({"document_id": "/etc/passwd"}), 404, "no such document"),
        ("/v1/source", json!({"document_id": "../../etc/passwd"}), 404, "no such document"),
        ("/v1/nothing", json!({}), 404, "no such address"),
        ("/health", json!({}), 405, "another method"),
    ] {
        let (was, response) = server.request(path, Some(&body), &[]);
        assert_eq!(was, status, "{path} {body}: {response}");
        let error: Value = serde_json::from_str(&response).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{path} {body}: {message}");
    }
    let huge = json!({"query": "x".repeat(9 << 20)});
    // The server may close the connection before it has read everything.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let body = huge.to_string();
    let head = format!(
        "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body.as_bytes());
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[test]
fn pages_of_other_sites_and_those_without_a_key_are_refused() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    for (header, status) in [
        ("Host: localhost", 200),
        ("Host: evil.example", 403),
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
    ] {
        assert_eq!(server.request("/health", None, &[header]).0, status, "{header}");
    }
    sandbox.write("keys", "0123456789abcdef0123\n");
    let server = Server::start(&sandbox, &["--no-rerank", "--api-key-file", "keys"]);
    assert_eq!(server.request("/health", None, &["Host: any.name"]).0, 200);
    let (status, body) = server.request("/v1/models", None, &[]);
    assert_eq!(status, 401, "{body}");
    let key = "Authorization: Bearer 0123456789abcdef0123";
    assert_eq!(server.request("/v1/models", None, &[key]).0, 200);
    let wrong = "Authorization: Bearer 0123456789abcdef0124";
    assert_eq!(server.request("/v1/models", None, &[wrong]).0, 401);
    let open = sandbox.run(&["serve", "--listen", "0.0.0.0:0"]);
    open.fails(1, &["--api-key-file"]);
}

/// Asks for an answer that never ends, and returns once its first text has come.
fn endless(server: &Server) -> TcpStream {
    let ask = json!({"messages": [{"role": "user", "content": ENGLISH}], "max_tokens": 12000,
        "stream": true});
    let stream = server.send("/v1/chat/completions", Some(&ask), &[]);
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let is_text = |line: &String| line.contains("\"content\":") && !line.contains("\"role\"");
    lines.find(|line| is_text(line.as_ref().unwrap())).unwrap().unwrap();
    stream
}

#[test]
fn one_answer_at_a_time_is_written_and_a_client_that_leaves_makes_room() {
    let sandbox = Sandbox::indexed();
    let [profile, name, ..] = ENDLESS;
    let server = Server::start(&sandbox, &[profile, name, "--queue", "1"]);
    let first = endless(&server);
    let short = json!({"question": ENGLISH, "max_tokens": 2});
    // The second waits, and is told its place.
    let second = server.send("/v1/answer", Some(&short), &[]);
    let mut second = BufReader::new(second).lines().map(Result::unwrap);
    second
        .find(|line| line.contains(r#""event":"queued""#) && line.contains(r#""ahead":1"#))
        .unwrap();
    // The third is one too many.
    let third = json!({"messages": [{"role": "user", "content": ENGLISH}], "max_tokens": 2});
    let (status, body) = server.request("/v1/chat/completions", Some(&third), &[]);
    assert!(status == 503 && body.contains("waiting for it already"), "{status} {body}");
    // So it is where it asks for a stream, as long as nothing was sent.
    let mut streaming = third;
    streaming["stream"] = true.into();
    let (status, body) = server.request("/v1/chat/completions", Some(&streaming), &[]);
    assert!(status == 503 && body.contains("waiting for it already"), "{status} {body}");
    // Neither a search nor an answer without the LLM waits.
    server.post("/v1/search", &json!({"query": ENGLISH}));
    server.request("/v1/answer", Some(&json!({"question": ENGLISH, "extractive": true})), &[]);
    drop(first);
    let done = second.find(|line| line.contains(r#""event":"done""#)).unwrap();
    assert!(done.contains(r#""reason":"max_tokens""#), "{done}");
}

#[test]
fn ctrl_c_stops_the_answer_of_a_server_too() {
    let sandbox = Sandbox::indexed();
    let [profile, name, ..] = ENDLESS;
    let _server = Server::start(&sandbox, &[profile, name]);
    let mut command = sandbox.command(&[&ENDLESS[..], &["--json", ENGLISH]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("Reranking")).unwrap();
    thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["reason"], "interrupted", "{answer}");
}

#[test]
fn a_server_that_is_told_to_end_answers_in_words_first() {
    let sandbox = Sandbox::indexed();
    let [profile, name, ..] = ENDLESS;
    let mut server = Server::start(&sandbox, &[profile, name]);
    let mut answer = endless(&server);
    server.signal(Signal::SIGTERM);
    let start = Instant::now();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert_eq!(server.end(), Some(0));
    assert!(rest.contains("[DONE]") && rest.contains(r#""reason":"interrupted""#), "{rest}");
    // Far longer than the limit of its own, which is no matter of speed.
    assert!(start.elapsed() < PATIENCE);
    let asked = sandbox.run(&[profile, name, "search", "tokens"]).exits(0);
    assert!(!asked.stderr.contains("Asking the server"), "{asked:#?}");
}

#[test]
fn a_dialogue_with_a_server_keeps_its_thread() {
    let sandbox = Sandbox::indexed();
    let server = Server::start(&sandbox, &[]);
    let mut pty = Pty::start(sandbox.command(&["--extractive"]));
    let start = pty.wait_for("❯ ");
    assert!(start.contains("Asking the server"), "{start}");
    let mut say = |line: &str| {
        pty.send(&format!("{line}\r"));
        pty.wait_for("\n");
        pty.wait_for("❯ ")
    };
    let answered = say(ENGLISH);
    assert!(answered.contains("Sources:"), "{answered}");
    // The history is the client's, and goes along with each question.
    let followed = say("and its drawbacks?");
    assert!(
        followed.contains(&format!("searching for: {ENGLISH} and its drawbacks?")),
        "{followed}"
    );
    assert!(say("/sources").contains("[1]") && say("/search coffee").contains("coffee.txt"));
    // What can be set for a dialogue goes along, too.
    say("/set top-k 1");
    let one = say("When is the coffee machine cleaned?");
    assert!(!one.contains("[2]"), "{one}");
    assert_eq!(server.llm_state(), "not_loaded");
    pty.send(CTRL_D);
    let (status, screen) = pty.end();
    assert!(status.success(), "{screen}");
}
