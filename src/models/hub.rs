//! Models from a hub: the standard Hugging Face cache, filled on first use, verified always.
//!
//! The layout of the cache (`blobs/`, `snapshots/<commit>/`, `refs/`) is hf-hub's own, so files are
//! shared with every other tool of that family. The transfer is not hf-hub's `Api`: version 0.5 uses
//! the server's `ETag` and commit as path components unchecked, renames a download to its final name
//! before anybody can verify it, appends to a partial file whatever the server sends, and panics on a
//! redirect without `Location`. See `transfer`.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::error::RemoteFile;
use super::files::{ModelFiles, ModelStore};
use super::lockfile::{self, LockFile, Record};
use super::transfer::{Announced, Client, is_commit};
use super::{ModelError, digest};
use crate::support::tls;

/// Is told how downloads go. Implementations must not block for long.
pub trait DownloadProgress: Send + Sync {
    /// A file's transfer begins. `size` is the whole file, `already` what an earlier attempt left;
    /// both in bytes.
    fn start(&self, file: &str, size: u64, already: u64);
    /// This many more bytes are on disk.
    fn advance(&self, bytes: u64);
    /// The transfer ended, completely or not.
    fn finish(&self);
}

/// Tells nobody.
impl DownloadProgress for () {
    fn start(&self, _file: &str, _size: u64, _already: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// Which hub, which cache, on whose behalf.
#[derive(Clone)]
pub struct HubSettings {
    /// The hub's address, without a trailing slash.
    pub endpoint: String,
    /// The folder that holds `models--owner--name`.
    pub cache_dir: PathBuf,
    /// Sent to the hub itself, never to where it redirects.
    pub token: Option<String>,
    /// Take files from the cache only.
    pub offline: bool,
}

/// The token is a secret, and settings end up in logs.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .finish()
    }
}

impl HubSettings {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`,
    /// `HF_HUB_OFFLINE` and `XDG_CACHE_HOME`, with the meaning they have in `huggingface_hub`.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let home = set("HF_HOME").map_or_else(
            || {
                let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
                let cache = cache.or_else(|| dirs::home_dir().map(|home| home.join(".cache")));
                cache.unwrap_or_default().join("huggingface")
            },
            PathBuf::from,
        );
        let token_path = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = set("HF_TOKEN").or_else(|| read_small(&token_path));
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| {
            ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
        });
        Self {
            endpoint: set("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".to_owned())
                .trim_end_matches('/')
                .to_owned(),
            cache_dir: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline,
        }
    }
}

/// The contents of a file that holds one short line; `None` if it is not there or not that.
fn read_small(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    Some(text)
}

/// One repository at one revision, seen through the cache.
pub(crate) struct Hub<'a> {
    store: &'a ModelStore,
    model: &'a str,
    repo: &'a str,
    revision: &'a str,
    /// `<cache>/models--owner--name`.
    folder: PathBuf,
    cache: CacheRepo,
}

impl<'a> Hub<'a> {
    pub fn new(store: &'a ModelStore, model: &'a str, repo: &'a str, revision: &'a str) -> Self {
        let described = Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned());
        let cache_dir = &store.hub.cache_dir;
        let folder = cache_dir.join(described.folder_name());
        Self {
            store,
            model,
            repo,
            revision,
            folder,
            cache: Cache::new(cache_dir.clone()).repo(described),
        }
    }

    /// All files, of one and the same commit: from the cache, else from the hub.
    pub fn locate(&self, files: &[String]) -> Result<ModelFiles, ModelError> {
        let Some(first) = files.first() else {
            return Ok(ModelFiles::new(self.model, None));
        };
        let records = self.store.records();
        let cached = self.cached_commit();
        let absent = |commit: &str| {
            files.iter().find(|file| self.cached_file(&records, commit, file).is_none())
        };
        let missing = match &cached {
            Some(commit) => match absent(commit) {
                None => return Ok(self.snapshot(commit, files)),
                Some(missing) => missing,
            },
            None => first,
        };
        if self.store.hub.offline {
            let file = Box::new(self.remote(self.revision, missing));
            return Err(ModelError::NotCached { file, cache: self.store.hub.cache_dir.clone() });
        }

        let client = Client::new(&self.store.hub, tls::roots()?);
        // The branch may have moved since the cache was filled: the hub says where it stands now,
        // and all files come from there.
        let commit = client.announce(&self.remote(self.revision, missing))?.commit;
        for file in files {
            if self.cached_file(&records, &commit, file).is_none() {
                self.fetch(&client, &commit, file)?;
            }
        }
        // Last: a reference promises a complete snapshot.
        if !is_commit(self.revision) {
            self.cache
                .create_ref(&commit)
                .map_err(ModelError::io("write a reference below", &self.folder))?;
        }
        Ok(self.snapshot(&commit, files))
    }

    fn remote(&self, revision: &str, file: &str) -> RemoteFile {
        RemoteFile {
            repo: self.repo.to_owned(),
            revision: revision.to_owned(),
            file: file.to_owned(),
        }
    }

    /// The commit that the cache knows for the revision.
    pub fn cached_commit(&self) -> Option<String> {
        if is_commit(self.revision) {
            return Some(self.revision.to_owned());
        }
        let commit = read_small(&self.folder.join("refs").join(self.revision))?;
        let commit = commit.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// The file's path in the snapshot, where it is there with the size on record.
    fn cached_file(&self, records: &LockFile, commit: &str, file: &str) -> Option<PathBuf> {
        let path = self.cache.pointer_path(commit).join(file);
        let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
        let whole = records.find(self.repo, commit, file).is_none_or(|r| r.size == found);
        whole.then_some(path)
    }

    /// Where the file is, or would be, in the cache.
    pub fn path(&self, commit: Option<&str>, file: &str) -> PathBuf {
        commit.map_or_else(|| self.folder.clone(), |c| self.cache.pointer_path(c)).join(file)
    }

    fn snapshot(&self, commit: &str, files: &[String]) -> ModelFiles {
        let mut located = ModelFiles::new(self.model, Some(commit.to_owned()));
        for file in files {
            located.insert(file, self.cache.pointer_path(commit).join(file));
        }
        located
    }

    /// Downloads one file, verifies it, and only then gives it its name in the cache.
    fn fetch(&self, client: &Client, commit: &str, file: &str) -> Result<(), ModelError> {
        let remote = self.remote(commit, file);
        let announced = client.announce(&remote)?;
        if announced.commit != commit {
            return Err(client.bad_answer(&remote, "it belongs to another commit"));
        }
        let blob = self.cache.blob_path(&announced.etag);
        let _guard = self.lock(&announced.etag)?;
        // Another revision or another process may have brought the same bytes.
        let sha256 = match verified_blob(&blob, &announced) {
            Some(sha256) => sha256,
            None => self.download(client, &remote, &announced, &blob)?,
        };
        self.link(commit, file, &announced.etag)?;
        let record = Record {
            repo: self.repo.to_owned(),
            revision: self.revision.to_owned(),
            commit: commit.to_owned(),
            file: file.to_owned(),
            size: announced.size,
            sha256,
        };
        // The file itself is verified; without a record only a later verification knows less.
        if let Err(error) = lockfile::record(&self.store.state_dir, record) {
            tracing::warn!("{error}");
        }
        Ok(())
    }

    fn download(
        &self,
        client: &Client,
        remote: &RemoteFile,
        announced: &Announced,
        blob: &Path,
    ) -> Result<String, ModelError> {
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(ModelError::io("create", &blobs))?;
        let part = blobs.join(format!("{}.part", announced.etag));
        client.download(remote, announced, &part, &*self.store.progress)?;

        let (_, computed) = digest::of_file(&part).map_err(ModelError::io("read", &part))?;
        if let Some(wanted) = announced.sha256().filter(|wanted| *wanted != computed) {
            fs::remove_file(&part).map_err(ModelError::io("remove", &part))?;
            let (file, announced) = (Box::new(remote.clone()), wanted.to_owned());
            return Err(ModelError::DigestMismatch { file, announced, computed });
        }
        fs::rename(&part, blob).map_err(ModelError::io("write", blob))?;
        Ok(computed)
    }

    /// One download of a blob at a time, over all processes; the place is `huggingface_hub`'s.
    fn lock(&self, etag: &str) -> Result<File, ModelError> {
        let name = self.folder.file_name().unwrap_or_default();
        let folder = self.store.hub.cache_dir.join(".locks").join(name);
        fs::create_dir_all(&folder).map_err(ModelError::io("create", &folder))?;
        let path = folder.join(format!("{etag}.lock"));
        let file = File::create(&path).map_err(ModelError::io("create", &path))?;
        file.lock().map_err(ModelError::io("lock", &path))?;
        Ok(file)
    }

    /// Makes `snapshots/<commit>/<file>` point to the blob.
    fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), ModelError> {
        let path = self.cache.pointer_path(commit).join(file);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(ModelError::io("create", folder))?;
        // Relative, so that the cache can be moved.
        let target = format!("{}blobs/{etag}", "../".repeat(2 + file.matches('/').count()));
        if fs::read_link(&path).is_ok_and(|there| there == Path::new(&target)) {
            // Somebody may be reading through it right now.
            return Ok(());
        }
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path).map_err(ModelError::io("replace", &path))?;
        }
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(target, &path);
        #[cfg(not(unix))]
        let linked = fs::hard_link(self.cache.blob_path(etag), &path);
        linked.map_err(ModelError::io("create", &path))
    }
}

/// The SHA-256 of a blob that is there already, where it is what the hub announces.
fn verified_blob(blob: &Path, announced: &Announced) -> Option<String> {
    if fs::metadata(blob).ok()?.len() != announced.size {
        return None;
    }
    let (_, sha256) = digest::of_file(blob).ok()?;
    announced.sha256().is_none_or(|wanted| wanted == sha256).then_some(sha256)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> HubSettings {
        HubSettings::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_follows_the_environment() {
        let home = ("HF_HOME", "/hf");
        assert_eq!(settings(&[home]).cache_dir, Path::new("/hf/hub"));
        assert_eq!(settings(&[home, ("HF_HUB_CACHE", "/c")]).cache_dir, Path::new("/c"));
        let xdg = settings(&[("XDG_CACHE_HOME", "/x")]);
        assert_eq!(xdg.cache_dir, Path::new("/x/huggingface/hub"));
        assert_eq!(xdg.endpoint, "https://huggingface.co");
        assert_eq!(settings(&[home, ("HF_ENDPOINT", "http://h:1/")]).endpoint, "http://h:1");
    }

    #[test]
    fn the_token_comes_from_the_environment_then_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        assert_eq!(settings(&[home]).token, None);
        fs::write(folder.path().join("token"), "from-file\n").unwrap();
        assert_eq!(settings(&[home]).token.as_deref(), Some("from-file"));
        assert_eq!(settings(&[home, ("HF_TOKEN", " ")]).token.as_deref(), Some("from-file"));
        let both = settings(&[home, ("HF_TOKEN", "from-env")]);
        assert_eq!(both.token.as_deref(), Some("from-env"));
        assert!(!format!("{both:?}").contains("from-env"));
    }

    #[test]
    fn offline_takes_the_values_of_huggingface_hub() {
        for (value, offline) in
            [("1", true), ("yes", true), ("True", true), ("0", false), ("", false)]
        {
            assert_eq!(settings(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
    }
}
