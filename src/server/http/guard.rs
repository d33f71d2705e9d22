//! Who may ask: programs of this machine, unless there is a key.
//!
//! A page of another site can make a browser send requests to this machine, and, by changing what its
//! name resolves to, read the answers (DNS rebinding). Browsers tell both in headers, so that a server
//! without a key answers only to its own names.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failed::Failed;
use crate::support::bounded;

/// Size limit of a file with keys.
const MAX_KEYS: u64 = 64 << 10;
/// Fewest characters of a key.
const MIN_KEY: usize = 16;

/// Who may ask.
pub struct Guard {
    /// Digests, so that they can be compared in constant time; none if no key is asked for.
    keys: Vec<blake3::Hash>,
    /// Whether only this machine can reach the server.
    is_loopback: bool,
}

impl Guard {
    /// `keys` is a file with a key in each line; `#` begins a comment.
    ///
    /// # Errors
    /// The file cannot be read or has no good key, or there is none though other machines can reach
    /// `address`.
    pub fn new(address: SocketAddr, keys: Option<&Path>) -> Result<Self> {
        let is_loopback = address.ip().to_canonical().is_loopback();
        ensure!(
            is_loopback || keys.is_some(),
            "{address} can be reached from other machines; name a file with a key for them by \
             `--api-key-file`, or listen on 127.0.0.1"
        );
        let keys = keys.map(read_keys).transpose()?.unwrap_or_default();
        Ok(Self { keys, is_loopback })
    }

    /// Whether a request may be answered.
    fn check(&self, headers: &HeaderMap) -> Result<(), Failed> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
        let host = text(header::HOST).unwrap_or_default();
        // With a key, whatever name leads here is good enough.
        if self.keys.is_empty() && self.is_loopback && !is_this_machine(host) {
            let message = format!(
                "the server answers to localhost and 127.0.0.1, not to {host:?}; with \
                 `--api-key-file` it answers to any name"
            );
            return Err(Failed::new(StatusCode::FORBIDDEN, message));
        }
        if let Some(origin) = text(header::ORIGIN) {
            let same = origin.split_once("://").is_some_and(|(_, name)| name == host);
            if !same {
                let message = format!("pages of {origin:?} may not ask this server");
                return Err(Failed::new(StatusCode::FORBIDDEN, message));
            }
        }
        Ok(())
    }

    /// Whether a request brings a key, if one is asked for.
    fn check_key(&self, headers: &HeaderMap) -> Result<(), Failed> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        let digest = blake3::hash(given);
        // Digests compare in constant time, and every key is compared.
        let known = self.keys.iter().filter(|key| **key == digest).count() > 0;
        known.then_some(()).ok_or_else(|| {
            let message = "this server asks for a key: `Authorization: Bearer KEY`, with one of its \
                           `--api-key-file`";
            Failed::new(StatusCode::UNAUTHORIZED, message)
        })
    }
}

/// The layer of the router.
pub async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let allowed = guard.check(request.headers()).and_then(|()| {
        // Whoever watches over servers need not know a key; the page asks for it itself.
        let is_open = matches!(request.uri().path(), "/" | "/app.js" | "/style.css" | "/health");
        if is_open { Ok(()) } else { guard.check_key(request.headers()) }
    });
    match allowed {
        Ok(()) => next.run(request).await,
        Err(failed) => failed.into_response(),
    }
}

fn read_keys(file: &Path) -> Result<Vec<blake3::Hash>> {
    let failed = || format!("cannot read the keys in {}", file.display());
    let text = bounded::read_text(file, MAX_KEYS).with_context(failed)?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<&str> = lines.collect();
    ensure!(
        !keys.is_empty(),
        "{} has no key; write one in a line, such as the output of `openssl rand -hex 32`",
        file.display()
    );
    for key in &keys {
        let is_good = key.len() >= MIN_KEY && key.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            is_good,
            "a key in {} is shorter than {MIN_KEY} characters, or has others than printable ASCII",
            file.display()
        );
    }
    Ok(keys.into_iter().map(|key| blake3::hash(key.as_bytes())).collect())
}

/// Whether the name of a host, with or without a port, is this machine's own.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn local() -> Guard {
        Guard::new("127.0.0.1:8765".parse().unwrap(), None).unwrap()
    }

    #[test]
    fn only_names_of_this_machine_are_answered_without_a_key() {
        for host in
            ["localhost", "LocalHost:8765", "127.0.0.1:8765", "127.9.9.9", "[::1]:8765", "[::1]"]
        {
            assert!(local().check(&headers(&[(header::HOST, host)])).is_ok(), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8765",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:8765:x",
            "192.168.1.2",
            "0.0.0.0:8765",
            "[::]:8765",
            "::1",
            "localhost@evil",
            "127.0.0.1:",
        ] {
            assert!(local().check(&headers(&[(header::HOST, host)])).is_err(), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let check = |origin: &str| {
            let both = [(header::HOST, "localhost:8765"), (header::ORIGIN, origin)];
            local().check(&headers(&both)).is_ok()
        };
        assert!(check("http://localhost:8765"));
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost:9999",
            "http://127.0.0.1:8765",
            "localhost:8765",
            "",
        ] {
            assert!(!check(origin), "{origin}");
        }
    }

    #[test]
    fn a_key_has_to_be_the_right_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, "# of the team\n\n0123456789abcdef\n  fedcba9876543210 \n").unwrap();
        let guard = Guard::new("0.0.0.0:8765".parse().unwrap(), Some(&file)).unwrap();
        let check = |key: &str| guard.check_key(&headers(&[(header::AUTHORIZATION, key)])).is_ok();
        assert!(check("Bearer 0123456789abcdef") && check("Bearer fedcba9876543210"));
        for wrong in [
            "",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeF",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer # of the team",
        ] {
            assert!(!check(wrong), "{wrong}");
        }
        assert!(guard.check_key(&HeaderMap::new()).is_err());
        assert!(guard.check(&headers(&[(header::HOST, "my.server")])).is_ok());
    }

    #[test]
    fn what_other_machines_reach_needs_a_good_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let everywhere: SocketAddr = "0.0.0.0:8765".parse().unwrap();
        let error =
            |keys: Option<&Path>| format!("{:#}", Guard::new(everywhere, keys).err().unwrap());
        assert!(error(None).contains("--api-key-file"));
        assert!(error(Some(&file)).contains("keys"));
        for (text, wrong) in [
            ("", "has no key"),
            ("# x\n", "has no key"),
            ("short\n", "shorter than 16"),
            ("khóa khóa khóa khóa\n", "printable ASCII"),
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(error(Some(&file)).contains(wrong), "{text}");
        }
    }
}
