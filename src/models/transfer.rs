//! The hub's HTTP protocol: file metadata (HEAD) and content (GET). Responses are untrusted.
//!
//! Redirects are followed manually: the hub sends commit and digest with the redirect itself, and
//! the token must never reach the storage it redirects to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::ModelError;
use super::catalogue::{is_name, is_relative_file, is_sha256};
use super::download::Download;
use super::error::RemoteFile;
use super::hub_settings::HubSettings;
use crate::support::proxy;

const MAX_REDIRECTS: usize = 8;
/// Size limit for the list of a repository's files, in bytes.
const MAX_LISTING_BYTES: u64 = 8 << 20;
/// A server that is silent for longer is considered dead.
const SILENCE: Duration = Duration::from_mins(1);

/// Receives download progress. Implementations must not block for long.
pub trait DownloadProgress: Send + Sync {
    /// Files of a model are about to be downloaded.
    fn begin(&self, download: &Download);
    /// The download of a file starts: `size` bytes in total, `already` of them from an earlier
    /// attempt.
    fn start(&self, file: &str, size: u64, already: u64);
    /// Another `bytes` bytes have been written to disk.
    fn advance(&self, bytes: u64);
    /// The download has ended, complete or not.
    fn finish(&self);
}

/// Ignores all progress.
impl DownloadProgress for () {
    fn begin(&self, _download: &Download) {}
    fn start(&self, _file: &str, _size: u64, _already: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// File metadata announced by the hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The commit that the revision resolves to.
    pub commit: String,
    /// Identifies the content: SHA-256 for large files, Git object id for small ones. A safe path
    /// component.
    pub etag: String,
    /// In bytes.
    pub size: u64,
}

impl Announced {
    /// The digest, if the hub announces one.
    pub fn sha256(&self) -> Option<&str> {
        Some(self.etag.as_str()).filter(|etag| is_sha256(etag))
    }
}

/// Whether `text` is a full commit id.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A repository, as the hub's API describes it.
#[derive(Deserialize)]
struct Listing {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// What to request of a file.
#[derive(Clone, Copy)]
enum Wanted {
    /// Headers only.
    Head,
    /// The content from this byte offset.
    BytesFrom(u64),
}

/// A client for one hub.
pub(crate) struct Client<'a> {
    settings: &'a HubSettings,
    agent: Agent,
}

impl<'a> Client<'a> {
    pub fn new(settings: &'a HubSettings, roots: RootCerts) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("rag-query/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            // Sizes and ranges refer to the file itself, not to a compressed encoding.
            .accept_encoding("identity")
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            // Never what the client finds in the environment by itself.
            .proxy(None)
            .build();
        Self { settings, agent: config.into() }
    }

    /// Commit, digest and size of a file, without its content.
    pub fn announce(&self, file: &RemoteFile) -> Result<Announced, ModelError> {
        let mut url = self.url(file)?;
        let (mut commit, mut etag, mut size) = (None, None, None);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(file, &url, Wanted::Head)?;
            let status = response.status();
            if !status.is_success() && !status.is_redirection() {
                return Err(self.refused(file, status.as_u16()));
            }
            let text = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            if self.is_hub(&url) {
                commit = commit.or_else(|| text("x-repo-commit"));
                etag = etag.or_else(|| text("x-linked-etag")).or_else(|| text("etag"));
                size = size.or_else(|| text("x-linked-size"));
            }
            if status.is_success() {
                size = size.or_else(|| text("content-length"));
                break;
            }
            // The metadata is complete; do not follow the redirect to the content.
            if commit.is_some() && etag.is_some() && size.is_some() {
                break;
            }
            url = self.redirected(file, &url, &response)?;
        }
        let missing = |what: &str| self.bad_answer(file, &format!("it has no usable {what}"));
        let commit =
            commit.filter(|commit| is_commit(commit)).ok_or_else(|| missing("X-Repo-Commit"))?;
        let etag = etag
            .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned())
            .filter(|etag| is_name(etag))
            .ok_or_else(|| missing("ETag"))?;
        let size = size.and_then(|size| size.parse().ok()).ok_or_else(|| missing("size"))?;
        Ok(Announced { commit, etag, size })
    }

    /// Downloads the file to `part`, resuming an earlier attempt.
    ///
    /// On success, `part` has exactly the announced size. Never writes more than that.
    pub fn download(
        &self,
        file: &RemoteFile,
        announced: &Announced,
        part: &Path,
        progress: &dyn DownloadProgress,
    ) -> Result<(), ModelError> {
        let size = announced.size;
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(ModelError::io("create", part))?;
        let mut already = out.metadata().map_err(ModelError::io("read", part))?.len();
        if already > size {
            restart(&out, part)?;
            already = 0;
        }
        if already == size {
            return Ok(());
        }

        let response = self.get(file, already)?;
        match response.status().as_u16() {
            200 => {
                // The server ignored the range and is sending the whole file.
                restart(&out, part)?;
                already = 0;
            }
            206 if starts_at(&response, already) => {}
            206 | 416 => {
                restart(&out, part)?;
                return Err(self.bad_answer(file, "it is not the range asked for"));
            }
            status => return Err(self.refused(file, status)),
        }

        progress.start(&file.file, size, already);
        let copied = copy(response, &mut out, size - already, progress);
        progress.finish();
        let received = out.metadata().map_err(ModelError::io("read", part))?.len();
        let reason = match copied {
            Ok(()) if received == size => {
                return out.sync_all().map_err(ModelError::io("write", part));
            }
            Ok(()) => "the server closed the connection".to_owned(),
            Err(CopyError::Write(source)) => {
                return Err(ModelError::Io { action: "write", path: part.to_owned(), source });
            }
            Err(CopyError::TooLong) => {
                drop(out);
                fs::remove_file(part).map_err(ModelError::io("remove", part))?;
                return Err(self.bad_answer(file, &format!("it is longer than {size} bytes")));
            }
            Err(CopyError::Read(error)) => error.to_string(),
        };
        Err(ModelError::Truncated {
            file: Box::new(file.clone()),
            received,
            expected: size,
            reason,
        })
    }

    /// The error for a response that cannot be used.
    pub fn bad_answer(&self, file: &RemoteFile, what: &str) -> ModelError {
        ModelError::BadAnswer {
            file: Box::new(file.clone()),
            endpoint: self.settings.endpoint.clone(),
            what: what.to_owned(),
        }
    }

    /// The error for a file that does not exist, beside those that do.
    pub fn not_found(&self, file: RemoteFile, there: Vec<String>) -> ModelError {
        let endpoint = self.settings.endpoint.clone();
        ModelError::NotFound { file: Box::new(file), endpoint, there }
    }

    /// The names of all files of a repository at a revision.
    pub fn files(&self, at: &RemoteFile) -> Result<Vec<String>, ModelError> {
        let RemoteFile { repo, revision, .. } = at;
        let path = format!("api/models/{repo}/revision/{}", escaped(revision));
        let url = self.address(at, &path)?;
        let mut response = self.send(at, &url, Wanted::BytesFrom(0))?;
        if !response.status().is_success() {
            return Err(self.refused(at, response.status().as_u16()));
        }
        let body = response.body_mut().with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        let listing = body.ok().and_then(|body| serde_json::from_slice::<Listing>(&body).ok());
        let listing = listing.ok_or_else(|| self.bad_answer(at, "it is no list of files"))?;
        let names = listing.siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(names.filter(|name| is_relative_file(name)).collect())
    }

    fn refused(&self, file: &RemoteFile, status: u16) -> ModelError {
        let (file, endpoint) = (Box::new(file.clone()), self.settings.endpoint.clone());
        match status {
            401 | 403 => {
                ModelError::Gated { file, status, had_token: self.settings.token.is_some() }
            }
            404 => ModelError::NotFound { file, endpoint, there: Vec::new() },
            _ => ModelError::Status { file, endpoint, status },
        }
    }

    fn get(&self, file: &RemoteFile, start: u64) -> Result<Response<Body>, ModelError> {
        let mut url = self.url(file)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(file, &url, Wanted::BytesFrom(start))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = self.redirected(file, &url, &response)?;
        }
        Err(self.bad_answer(file, "it redirects without end"))
    }

    fn send(
        &self,
        file: &RemoteFile,
        url: &Uri,
        wanted: Wanted,
    ) -> Result<Response<Body>, ModelError> {
        let request = match wanted {
            Wanted::Head => self.agent.head(url),
            Wanted::BytesFrom(_) => self.agent.get(url),
        };
        let via = proxy::for_address(url)?;
        let mut request = request.config().proxy(via.map(|via| via.proxy)).build();
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_hub(url)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Wanted::BytesFrom(start @ 1..) = wanted {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|error| ModelError::Unreachable {
            file: Box::new(file.clone()),
            endpoint: self.settings.endpoint.clone(),
            reason: error.to_string(),
        })
    }

    fn url(&self, file: &RemoteFile) -> Result<Uri, ModelError> {
        let RemoteFile { repo, revision, file: name } = file;
        self.address(file, &format!("{repo}/resolve/{}/{name}", escaped(revision)))
    }

    /// The address of a path on the hub, for what is asked of `file`.
    fn address(&self, file: &RemoteFile, path: &str) -> Result<Uri, ModelError> {
        format!("{}/{path}", self.settings.endpoint)
            .parse()
            .map_err(|_| self.bad_answer(file, "the hub's address is not a URL"))
    }

    fn is_hub(&self, url: &Uri) -> bool {
        self.settings
            .endpoint
            .parse::<Uri>()
            .is_ok_and(|hub| (hub.scheme(), hub.authority()) == (url.scheme(), url.authority()))
    }

    fn redirected(
        &self,
        file: &RemoteFile,
        from: &Uri,
        response: &Response<Body>,
    ) -> Result<Uri, ModelError> {
        let location = response.headers().get(header::LOCATION);
        location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| resolve(from, location))
            .ok_or_else(|| self.bad_answer(file, "it redirects to nowhere useful"))
    }
}

/// A revision in a path. All names have been validated, so only `/` needs escaping.
fn escaped(revision: &str) -> String {
    revision.replace('/', "%2F")
}

/// The absolute URL of a redirect: a relative path keeps the host, and https is never downgraded.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let target: Uri = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", from.scheme_str()?, from.authority()?).parse().ok()?
    } else {
        location.parse().ok()?
    };
    target.authority()?;
    match (from.scheme_str()?, target.scheme_str()?) {
        (_, "https") | ("http", "http") => Some(target),
        _ => None,
    }
}

fn starts_at(response: &Response<Body>, start: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE);
    range
        .and_then(|range| range.to_str().ok())
        .is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

fn restart(out: &File, part: &Path) -> Result<(), ModelError> {
    out.set_len(0).map_err(ModelError::io("empty", part))
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
    TooLong,
}

/// Copies at most `remaining` bytes of the body.
fn copy(
    response: Response<Body>,
    out: &mut File,
    mut remaining: u64,
    progress: &dyn DownloadProgress,
) -> Result<(), CopyError> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        remaining = remaining.checked_sub(read as u64).ok_or(CopyError::TooLong)?;
        out.write_all(&buffer[..read]).map_err(CopyError::Write)?;
        progress.advance(read as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_and_never_lose_encryption() {
        let hub: Uri = "https://hub.example/a/b".parse().unwrap();
        let to = |location| resolve(&hub, location).map(|url| url.to_string());
        assert_eq!(to("/cdn/x?y=1").as_deref(), Some("https://hub.example/cdn/x?y=1"));
        assert_eq!(to("https://cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        for bad in
            ["http://hub.example/x", "//cdn.example/x", "file:///etc/passwd", "x", "", "ftp://h/x"]
        {
            assert_eq!(to(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_token_stays_with_the_hub() {
        let settings = HubSettings {
            endpoint: "https://hub.example".to_owned(),
            cache_dir: "/nowhere".into(),
            token: Some("secret".to_owned()),
            offline: false,
        };
        let client = Client::new(&settings, RootCerts::WebPki);
        let is_hub = |url: &str| client.is_hub(&url.parse().unwrap());
        assert!(is_hub("https://hub.example/a"));
        assert!(!is_hub("http://hub.example/a"));
        assert!(!is_hub("https://hub.example:444/a"));
        assert!(!is_hub("https://hub.example.evil.test/a"));
    }

    #[test]
    fn commits_are_forty_hexadecimal_digits() {
        assert!(is_commit(&"0a".repeat(20)));
        assert!(!is_commit("main"));
        assert!(!is_commit(&"../x".repeat(10)));
    }
}
