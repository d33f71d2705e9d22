//! Models from a hub: the standard Hugging Face cache, filled on first use and always verified.
//!
//! The cache layout (`blobs/`, `snapshots/<commit>/`, `refs/`) is hf-hub's, so files are shared
//! with other Hugging Face tools. Downloads avoid hf-hub's `Api`: version 0.5 uses the server's
//! `ETag` and commit as path components without validation, renames a download to its final name
//! before it can be verified, appends whatever the server sends to a partial file, and panics on a
//! redirect without `Location`. See `transfer`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::error::RemoteFile;
use super::files::ModelFiles;
use super::hub_settings::HubSettings;
use super::lockfile::{self, LockFile, Record};
use super::transfer::{Announced, Client, DownloadProgress, is_commit};
use super::{ModelError, digest};
use crate::support::{bounded, tls};

/// Size limit for a file in `refs/`, in bytes; a reference holds a single commit.
const MAX_REFERENCE_BYTES: u64 = 4096;

/// A hub, and the local folders used with it.
#[derive(Clone, Copy)]
pub(crate) struct Hub<'a> {
    pub settings: &'a HubSettings,
    /// Holds the record of verified downloads.
    pub state_dir: &'a Path,
    pub progress: &'a dyn DownloadProgress,
}

impl<'a> Hub<'a> {
    /// The repository that a model's files come from.
    pub fn repository(self, model: &'a str, repo: &'a str, revision: &'a str) -> Repository<'a> {
        let described = Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned());
        let cache_dir = &self.settings.cache_dir;
        let folder = cache_dir.join(described.folder_name());
        let cache = Cache::new(cache_dir.clone()).repo(described);
        Repository { hub: self, model, repo, revision, folder, cache }
    }

    /// The records of verified downloads. Treated as empty if unreadable: only a later verification
    /// depends on them.
    pub fn records(self) -> LockFile {
        LockFile::read(self.state_dir).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            LockFile::default()
        })
    }
}

/// A repository at one revision, accessed through the cache.
pub(crate) struct Repository<'a> {
    pub hub: Hub<'a>,
    pub model: &'a str,
    pub repo: &'a str,
    pub revision: &'a str,
    /// `<cache>/models--owner--name`.
    folder: PathBuf,
    cache: CacheRepo,
}

impl Repository<'_> {
    /// The names of all its files; empty if the hub does not tell.
    pub fn files(&self) -> Vec<String> {
        let Ok(roots) = tls::roots() else { return Vec::new() };
        let client = Client::new(self.hub.settings, roots);
        client.files(&self.remote(self.revision, "")).unwrap_or_default()
    }

    pub fn remote(&self, revision: &str, file: &str) -> RemoteFile {
        RemoteFile {
            repo: self.repo.to_owned(),
            revision: revision.to_owned(),
            file: file.to_owned(),
        }
    }

    /// The commit that the cache has for the revision.
    pub fn cached_commit(&self) -> Option<String> {
        if is_commit(self.revision) {
            return Some(self.revision.to_owned());
        }
        let reference = self.folder.join("refs").join(self.revision);
        let text = bounded::read_text(&reference, MAX_REFERENCE_BYTES).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// The file's path in the snapshot, if it exists with the recorded size.
    pub fn cached_file(&self, records: &LockFile, commit: &str, file: &str) -> Option<PathBuf> {
        let path = self.cache.pointer_path(commit).join(file);
        let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
        let whole = records.find(self.repo, commit, file).is_none_or(|r| r.size == found);
        whole.then_some(path)
    }

    fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Where a download goes until it is verified.
    fn part(&self, announced: &Announced) -> PathBuf {
        self.blob(&format!("{}.part", announced.etag))
    }

    /// Bytes of a file that an earlier download has left.
    pub fn already(&self, announced: &Announced) -> u64 {
        [self.part(announced), self.blob(&announced.etag)]
            .iter()
            .find_map(|path| Some(fs::metadata(path).ok()?.len().min(announced.size)))
            .unwrap_or(0)
    }

    /// Makes the commit the one that the cache has for the revision. Done last, because a reference
    /// implies a complete snapshot.
    pub fn refer(&self, commit: &str) -> Result<(), ModelError> {
        if is_commit(self.revision) {
            return Ok(());
        }
        let referred = self.cache.create_ref(commit);
        referred.map_err(ModelError::io("write a reference below", &self.folder))
    }

    /// Where the file is, or would be, in the cache.
    pub fn path(&self, commit: Option<&str>, file: &str) -> PathBuf {
        commit.map_or_else(|| self.folder.clone(), |c| self.cache.pointer_path(c)).join(file)
    }

    pub fn snapshot(&self, commit: &str, files: &[String]) -> ModelFiles {
        let mut located = ModelFiles::new(self.model, Some(commit.to_owned()));
        for file in files {
            located.insert(file, self.cache.pointer_path(commit).join(file));
        }
        located
    }

    /// Downloads and verifies a file, and only then gives it its final name in the cache.
    pub fn fetch(
        &self,
        client: &Client,
        commit: &str,
        file: &str,
        announced: &Announced,
    ) -> Result<(), ModelError> {
        let remote = self.remote(commit, file);
        let blob = self.blob(&announced.etag);
        let _guard = self.lock(&announced.etag)?;
        // Another revision or another process may already have downloaded the same content.
        let sha256 = match verified_blob(&blob, announced) {
            Some(sha256) => sha256,
            None => self.download(client, &remote, announced, &blob)?,
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
        // Not fatal: the file has been verified, and a missing record only limits later
        // verification.
        if let Err(error) = lockfile::record(self.hub.state_dir, record) {
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
        let part = self.part(announced);
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(ModelError::io("create", &blobs))?;
        client.download(remote, announced, &part, self.hub.progress)?;

        let (_, computed) = digest::of_file(&part).map_err(ModelError::io("read", &part))?;
        if let Some(wanted) = announced.sha256().filter(|wanted| *wanted != computed) {
            fs::remove_file(&part).map_err(ModelError::io("remove", &part))?;
            let (file, announced) = (Box::new(remote.clone()), wanted.to_owned());
            return Err(ModelError::DigestMismatch { file, announced, computed });
        }
        fs::rename(&part, blob).map_err(ModelError::io("write", blob))?;
        Ok(computed)
    }

    /// Serializes downloads of a blob across processes, using the same lock path as
    /// `huggingface_hub`.
    fn lock(&self, etag: &str) -> Result<File, ModelError> {
        let name = self.folder.file_name().unwrap_or_default();
        let folder = self.hub.settings.cache_dir.join(".locks").join(name);
        fs::create_dir_all(&folder).map_err(ModelError::io("create", &folder))?;
        let path = folder.join(format!("{etag}.lock"));
        let file = File::create(&path).map_err(ModelError::io("create", &path))?;
        file.lock().map_err(ModelError::io("lock", &path))?;
        Ok(file)
    }

    /// Links `snapshots/<commit>/<file>` to the blob.
    fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), ModelError> {
        let path = self.cache.pointer_path(commit).join(file);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(ModelError::io("create", folder))?;
        // Relative, so that the cache can be moved.
        let target = format!("{}blobs/{etag}", "../".repeat(2 + file.matches('/').count()));
        if fs::read_link(&path).is_ok_and(|there| there == Path::new(&target)) {
            // Do not replace it: another process may be reading through the link.
            return Ok(());
        }
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path).map_err(ModelError::io("replace", &path))?;
        }
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(target, &path);
        #[cfg(not(unix))]
        let linked = fs::hard_link(self.blob(etag), &path);
        linked.map_err(ModelError::io("create", &path))
    }
}

/// The SHA-256 of an existing blob, if it matches what the hub announces.
fn verified_blob(blob: &Path, announced: &Announced) -> Option<String> {
    if fs::metadata(blob).ok()?.len() != announced.size {
        return None;
    }
    let (_, sha256) = digest::of_file(blob).ok()?;
    announced.sha256().is_none_or(|wanted| wanted == sha256).then_some(sha256)
}
