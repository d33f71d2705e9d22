//! A server's address with a model: `openai:http://host:port/v1#model`.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;
use ureq::http::Uri;

use crate::support::proxy::ProxyError;

/// Prefix of every such address, so that it cannot be mistaken for a path.
const SCHEME: &str = "openai:";

/// Why a server address is invalid. Does not repeat the address, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not of the form `http://…` or `https://…`.
    #[error("a server is `openai:http://HOST:PORT/v1#MODEL` (or https)")]
    Form,
    /// Contains `user:password@`.
    #[error(
        "a server's address holds no user name or password; put the key into RAG_QUERY_LLM_KEY"
    )]
    Credentials,
    /// Contains a query, such as `?key=…`.
    #[error("a server's address has no `?`; only `http://HOST:PORT/PATH#MODEL`")]
    Query,
    /// Lacks `#model`.
    #[error(
        "the server's address names no model: add `#MODEL`, one of those that `curl ADDRESS/models` lists"
    )]
    NoModel,
    /// The list is empty.
    #[error("no server is named; `openai:http://HOST:PORT/v1#MODEL` names one")]
    NoServer,
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// A server, and the model to request from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port/v1`, without a trailing slash.
    base: String,
    /// `host:port`, or `host` if the address names no port.
    host: String,
    /// Name of the model on the server.
    model: String,
    encrypted: bool,
    loopback: bool,
}

impl Endpoint {
    /// Whether `text` is intended as a server address.
    pub fn is_meant(text: &str) -> bool {
        [SCHEME, "http://", "https://"].iter().any(|prefix| text.starts_with(prefix))
    }

    /// Parses one or more comma-separated servers. A server without a model uses the last one
    /// named.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let text = text.strip_prefix(SCHEME).ok_or(EndpointError::Form)?;
        let parts: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .map(|part| part.strip_prefix(SCHEME).unwrap_or(part))
            .collect();
        let model = |part: &&str| part.split_once('#').map(|(_, model)| (*model).to_owned());
        let last = parts.iter().rev().find_map(model);
        parts.iter().map(|part| Self::parse(part, last.as_deref())).collect()
    }

    fn parse(text: &str, otherwise: Option<&str>) -> Result<Self, EndpointError> {
        let (address, model) =
            text.split_once('#').map_or((text, None), |(address, model)| (address, Some(model)));
        let address: Uri = address.parse().map_err(|_| EndpointError::Form)?;
        let encrypted = match address.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EndpointError::Form),
        };
        let authority = address.authority().ok_or(EndpointError::Form)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        if address.query().is_some() {
            return Err(EndpointError::Query);
        }
        if authority.host().is_empty() {
            return Err(EndpointError::Form);
        }
        let model = model.or(otherwise).map(str::trim).filter(|model| !model.is_empty());
        let model = model.ok_or(EndpointError::NoModel)?.to_owned();
        let path = address.path().trim_end_matches('/');
        // Some paste the whole address of the method.
        let path = path.strip_suffix("/chat/completions").unwrap_or(path);
        let scheme = if encrypted { "https" } else { "http" };
        Ok(Self {
            base: format!("{scheme}://{authority}{path}"),
            host: authority.to_string(),
            model,
            encrypted,
            loopback: is_loopback(authority.host()),
        })
    }

    /// `host:port`, or `host` if the address has no port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Name of the model on the server.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The URL of a method such as `chat/completions`.
    pub fn url(&self, method: &str) -> String {
        format!("{}/{method}", self.base)
    }

    /// `http://host:port/v1`, to look up the proxy for it; `None` never happens for a parsed address.
    pub(super) fn uri(&self) -> Option<Uri> {
        self.base.parse().ok()
    }

    /// The path, such as `/v1`; empty for the root.
    pub(super) fn path(&self) -> &str {
        let rest = self.base.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |start| &rest[start..])
    }

    /// Whether the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether others on the network can read what is sent.
    pub fn is_readable_by_others(&self) -> bool {
        !self.encrypted && !self.loopback
    }
}

/// `http://host:port/v1`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Endpoint>, EndpointError> {
        Endpoint::parse_list(text)
    }

    #[test]
    fn a_server_has_an_address_a_host_and_a_model() {
        let servers = parse("openai:http://127.0.0.1:8000/v1/#meta-llama/Llama-3.1-8B").unwrap();
        let [server] = &servers[..] else { panic!("{servers:?}") };
        assert_eq!(server.to_string(), "http://127.0.0.1:8000/v1");
        assert_eq!(server.url("models"), "http://127.0.0.1:8000/v1/models");
        assert_eq!((server.host(), server.model()), ("127.0.0.1:8000", "meta-llama/Llama-3.1-8B"));
        assert_eq!((server.path(), parse("openai:http://a#m").unwrap()[0].path()), ("/v1", ""));
        let pasted = parse("openai:https://a/v1/chat/completions#m").unwrap();
        assert_eq!(pasted[0].url("chat/completions"), "https://a/v1/chat/completions");
    }

    #[test]
    fn servers_without_a_model_share_the_last_one_named() {
        let servers = parse("openai:http://a:1/v1,https://b/v1, openai:http://c/v1#m:8b").unwrap();
        let named: Vec<_> = servers.iter().map(|s| (s.host(), s.model())).collect();
        assert_eq!(named, [("a:1", "m:8b"), ("b", "m:8b"), ("c", "m:8b")]);
        let servers = parse("openai:http://a/v1#x,http://b/v1#y").unwrap();
        assert_eq!((servers[0].model(), servers[1].model()), ("x", "y"));
    }

    #[test]
    fn unencrypted_servers_are_readable_by_others_unless_they_are_local() {
        for (address, readable) in [
            ("http://127.0.0.1:1/v1", false),
            ("http://[::1]:1/v1", false),
            ("http://LOCALHOST/v1", false),
            ("https://example.org/v1", false),
            ("http://example.org/v1", true),
            ("http://10.0.0.7:8000/v1", true),
            ("http://localhost.example.org/v1", true),
            ("http://127.0.0.1.example.org/v1", true),
        ] {
            let server = &parse(&format!("openai:{address}#m")).unwrap()[0];
            assert_eq!(server.is_readable_by_others(), readable, "{address}");
        }
    }

    #[test]
    fn other_texts_are_refused_without_repeating_them() {
        use EndpointError::{Credentials, Form, NoModel, Query};
        for (text, expected) in [
            ("openai:", Form),
            ("openai:host:8000/v1#m", Form),
            ("openai:ftp://host/v1#m", Form),
            ("openai:http://#m", Form),
            ("openai:http:///v1#m", Form),
            ("http://host/v1#m", Form),
            ("openai:http://host/v1", NoModel),
            ("openai:http://host/v1#", NoModel),
            ("openai:http://host/v1#m,", Form),
            ("openai:http://host/v1?key=secret#m", Query),
            ("openai:http://me:secret@host/v1#m", Credentials),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }
}
