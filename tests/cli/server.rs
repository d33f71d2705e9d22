//! A server of chat completions that follows a script.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How the server reacts to a request.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// A complete answer in these pieces.
    Says(&'static [&'static str]),
    /// Sends these bytes, then closes the connection.
    Raw(Vec<u8>),
    /// Sends the first bytes, and then the others again and again until the client closes the
    /// connection.
    Drips(Vec<u8>, Vec<u8>),
    /// Sends these bytes and then nothing, until the client closes the connection.
    Hangs(Vec<u8>),
}

impl Reaction {
    /// A status with a body.
    pub fn status(status: &str, more_headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Raw(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more_headers}\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }

    /// A stream with this body, closed at its end.
    pub fn stream(body: &[u8]) -> Self {
        Self::Raw([STREAM.as_bytes(), body].concat())
    }

    /// A stream of these bytes, ten times a second.
    pub fn drips(body: &[u8]) -> Self {
        Self::Drips(STREAM.into(), body.to_vec())
    }

    /// The same, but left open.
    pub fn open_stream(body: &[u8]) -> Self {
        Self::Hangs([STREAM.as_bytes(), body].concat())
    }
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// A piece of an answer, as an event.
pub fn piece(text: &str) -> String {
    let chunk = serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    format!("data: {chunk}\n\n")
}

/// A server that lives as long as the process of the test.
pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Receiver<()>,
}

impl Server {
    /// Reacts to one request after the other as the script says, and to all further ones like its end.
    pub fn start(script: Vec<Reaction>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (sender, closed) = channel();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            let mut asked = 0;
            for stream in listener.incoming().flatten() {
                let Some(request) = read_request(&mut &stream) else { continue };
                let is_chat = request.starts_with("POST /v1/chat/completions ");
                let lists = request.starts_with("GET /v1/models ");
                seen.lock().unwrap().push(request);
                let reaction = match (is_chat, lists) {
                    (true, _) => script[asked.min(script.len() - 1)].clone(),
                    (_, true) => Reaction::status("200 OK", "", r#"{"data":[{"id":"m"}]}"#),
                    _ => Reaction::status("404 Not Found", "", "{}"),
                };
                asked += usize::from(is_chat);
                let sender = sender.clone();
                thread::spawn(move || react(stream, &reaction, &sender));
            }
        });
        Self { port, requests, closed }
    }

    /// `http://127.0.0.1:PORT/v1`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `--llm` for this server alone.
    pub fn llm(&self) -> String {
        format!("openai:{}#m", self.url())
    }

    /// Every request so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until a client closes a connection that hangs.
    pub fn wait_until_closed(&self) {
        self.closed
            .recv_timeout(Duration::from_secs(20))
            .expect("the client closes the connection");
    }
}

/// An address at which no server listens.
pub fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/v1")
}

/// A request with its body; `None` if the client leaves before the end of it.
pub fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|&read| read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        if body.len() >= length.transpose().ok()?.unwrap_or(0) {
            return Some(text.into_owned());
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn react(mut stream: TcpStream, reaction: &Reaction, closed: &Sender<()>) {
    // A client may leave at any time.
    let _ = match reaction {
        Reaction::Says(pieces) => {
            let text: String = pieces.iter().map(|text| piece(text)).collect();
            let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                 data: {\"choices\":[],\"usage\":{\"prompt_tokens\":70,\"completion_tokens\":9}}\n\n\
                 data: [DONE]\n\n";
            stream.write_all(format!("{STREAM}{text}{end}").as_bytes())
        }
        Reaction::Raw(bytes) => stream.write_all(bytes),
        Reaction::Drips(first, others) => {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let _ = stream.write_all(first);
            loop {
                let is_written = stream.write_all(others).is_ok();
                match stream.read(&mut [0; 64]) {
                    Ok(0) => break,
                    Err(error) if !is_timeout(&error) => break,
                    _ if !is_written => break,
                    _ => {}
                }
            }
            closed.send(()).map_err(std::io::Error::other)
        }
        Reaction::Hangs(bytes) => {
            let _ = stream.write_all(bytes);
            let mut rest = [0; 64];
            while stream.read(&mut rest).is_ok_and(|read| read > 0) {}
            closed.send(()).map_err(std::io::Error::other)
        }
    };
    let _ = stream.shutdown(Shutdown::Both);
}
