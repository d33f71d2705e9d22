//! `--llm hf:…`: an LLM from a hub by the name of its file, from the download to the answer.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use sha2::{Digest, Sha256};

use crate::harness::{ENGLISH, Outcome, Sandbox};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one repository that has one file.
fn start_hub(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &content);
        }
    });
    url
}

fn answer(mut stream: TcpStream, content: &[u8]) {
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let Some((method, path)) =
        head.first().and_then(|line| line.rsplit_once(' ')?.0.split_once(' '))
    else {
        return;
    };
    let (status, body) = match path {
        _ if path.starts_with("/api/models/some/one/revision/") => {
            let files = br#"{"siblings":[{"rfilename":"README.md"},{"rfilename":"tiny.gguf"}]}"#;
            ("200 OK", &files[..])
        }
        _ if path.starts_with("/some/one/resolve/") && path.ends_with("/tiny.gguf") => {
            ("200 OK", content)
        }
        _ => ("404 Not Found", &b""[..]),
    };
    let digest = format!("{:x}", Sha256::digest(content));
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\nX-Repo-Commit: {COMMIT}\r\n\
         X-Linked-ETag: \"{digest}\"\r\nX-Linked-Size: {}\r\n\r\n",
        body.len(),
        content.len()
    );
    // The client may have left.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(if method == "HEAD" { b"" } else { body });
}

#[test]
fn a_file_of_a_hub_answers_and_is_downloaded_once() {
    let sandbox = Sandbox::indexed();
    let hub = start_hub(fs::read(sandbox.path("models/tiny-llama/model.gguf")).unwrap());
    let ask = |llm: &str| {
        let args = ["--llm", llm, "--device", "cpu", "--max-tokens", "4", "--json", ENGLISH];
        let mut command = sandbox.command(&args);
        Outcome::of(command.env("HF_ENDPOINT", &hub).env_remove("HF_HUB_OFFLINE").output().unwrap())
    };
    let first = ask("hf:some/one:tiny.gguf").exits(0);
    assert_eq!(first.json()["model"], "tiny.gguf");
    assert!(first.stderr.contains("some/one") || first.stderr.contains("tiny.gguf"), "{first:#?}");
    // Now it is here: without the hub, too.
    let args = ["--llm", "hf:some/one:tiny.gguf", "--device", "cpu", "--max-tokens", "4", ENGLISH];
    sandbox.run(&args).exits(0);
    let wrong = ask("hf:some/one:huge.gguf");
    assert_eq!(wrong.status, Some(1));
    assert!(wrong.stderr.contains("huge.gguf") && wrong.stderr.contains("tiny.gguf"), "{wrong:#?}");
    let unnamed = ask("hf:some/one");
    assert!(unnamed.stderr.contains("tiny.gguf"), "{unnamed:#?}");
}
