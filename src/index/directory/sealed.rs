//! A tantivy directory that appends a checksum to every file.
//!
//! Tantivy verifies nothing on opening and panics on much of the corruption it meets. So each file
//! ends with our own checksum, hidden from tantivy. Small files that are read whole (`meta.json`)
//! are verified on every read, the others by [`SealedDirectory::check`].

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, INDEX_WRITER_LOCK, Lock, MmapDirectory,
    OwnedBytes, TerminatingWrite, WatchCallback, WatchHandle, WritePtr,
};

use super::errors::read_error;
use crate::index::IndexError;
use crate::index::error::CHECKSUM_DIFFERS;

/// Checksum length in bytes; a prefix of a BLAKE3 hash.
const SEAL: usize = 16;

/// A memory-mapped directory of sealed files that can be read without a lock file.
///
/// Tantivy's reader takes a lock file so that no writer removes segments between listing and
/// opening them. If the file cannot be created (someone else's index, a read-only file system), it
/// reads without the lock.
#[derive(Debug, Clone)]
pub(crate) struct SealedDirectory {
    files: MmapDirectory,
    path: PathBuf,
}

impl SealedDirectory {
    /// Opens the existing directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let files = MmapDirectory::open(path).map_err(|error| read_error(path)(error.into()))?;
        Ok(Self { files, path: path.to_owned() })
    }

    /// Verifies the checksums of those `names` that exist; returns an error for the first mismatch.
    /// Skips verification if the files exceed `limit` bytes in total.
    pub(crate) fn check(
        &self,
        names: impl IntoIterator<Item = PathBuf>,
        limit: u64,
    ) -> Result<(), IndexError> {
        let mut paths: Vec<PathBuf> = names.into_iter().map(|name| self.path.join(name)).collect();
        paths.sort_unstable();
        let bytes: u64 = paths.iter().flat_map(|path| path.metadata()).map(|file| file.len()).sum();
        if bytes > limit {
            return Ok(());
        }
        for path in paths {
            match seal_holds(&path) {
                Ok(true) => {}
                Ok(false) => return Err(IndexError::checksum(path)),
                // A writer has replaced it; if it is still needed, opening it will fail.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(IndexError::Unreadable { path, source }),
            }
        }
        Ok(())
    }
}

fn seal(content: &blake3::Hasher) -> [u8; SEAL] {
    let mut seal = [0; SEAL];
    seal.copy_from_slice(&content.finalize().as_bytes()[..SEAL]);
    seal
}

/// Whether the checksum at the end of the file matches its content.
fn seal_holds(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(content) = file.metadata()?.len().checked_sub(SEAL as u64) else { return Ok(false) };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader((&mut file).take(content))?;
    let mut stored = Vec::with_capacity(SEAL);
    file.read_to_end(&mut stored)?;
    Ok(stored == seal(&hasher))
}

/// Parts of a file up to this size, in bytes, are read instead of mapped. Linux maps this much
/// around a touched page (`fault_around_bytes`), so mapping a smaller part would save no memory.
#[cfg(any(unix, test))]
const SMALL: usize = 64 << 10;

/// A file without its checksum.
///
/// Posting lists and stored texts are small, numerous and scattered. Mapping one also makes the
/// surrounding pages resident; reading it does not.
struct Content {
    file: Arc<dyn FileHandle>,
    len: usize,
    /// A second handle to the file, for reading small parts.
    #[cfg(unix)]
    parts: Option<File>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl HasLen for Content {
    fn len(&self) -> usize {
        self.len
    }
}

impl FileHandle for Content {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.end > self.len {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read behind the content"));
        }
        #[cfg(unix)]
        if let Some(file) = self.parts.as_ref().filter(|_| range.len() <= SMALL) {
            let mut bytes = vec![0; range.len()];
            std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, range.start as u64)?;
            return Ok(OwnedBytes::new(bytes));
        }
        self.file.read_bytes(range)
    }
}

/// Writes a file followed by its checksum.
struct Sealing<W> {
    file: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<W: TerminatingWrite> TerminatingWrite for Sealing<W> {
    fn terminate_ref(&mut self, token: AntiCallToken) -> io::Result<()> {
        self.file.write_all(&seal(&self.hasher))?;
        self.file.terminate_ref(token)
    }
}

impl Directory for SealedDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let file = self.files.get_file_handle(path)?;
        let len = file.len().checked_sub(SEAL).ok_or_else(|| damaged(path))?;
        #[cfg(unix)]
        let parts = {
            let has_small_parts = path.extension().is_some_and(|it| it == "idx" || it == "store");
            // If no more files can be opened, fall back to the mapping.
            has_small_parts.then(|| File::open(self.path.join(path)).ok()).flatten()
        };
        Ok(Arc::new(Content {
            file,
            len,
            #[cfg(unix)]
            parts,
        }))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.files.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.files.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = self.files.open_write(path)?;
        Ok(BufWriter::new(Box::new(Sealing { file, hasher: blake3::Hasher::new() })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let mut bytes = self.files.atomic_read(path)?;
        let content = bytes.len().checked_sub(SEAL).ok_or_else(|| damaged(path))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..content]);
        if bytes[content..] != seal(&hasher) {
            return Err(damaged(path));
        }
        bytes.truncate(content);
        Ok(bytes)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(data);
        self.files.atomic_write(path, &[data, &seal(&hasher)].concat())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        // Whoever writes holds the lock of the whole index already. tantivy's own would outlive
        // its writer while another thread starts a program, which has the file until it calls
        // exec; the next writer would then be refused.
        if lock.filepath == INDEX_WRITER_LOCK.filepath {
            return Ok(DirectoryLock::from(Box::new(())));
        }
        match self.files.acquire_lock(lock) {
            Err(LockError::IoError(error)) if may_not_write(&error) => {
                Ok(DirectoryLock::from(Box::new(())))
            }
            outcome => outcome,
        }
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.files.watch(callback)
    }
}

fn damaged(path: &Path) -> OpenReadError {
    let error = io::Error::new(io::ErrorKind::InvalidData, CHECKSUM_DIFFERS);
    OpenReadError::wrap_io_error(error, path.to_owned())
}

fn may_not_write(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_parts_are_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = SealedDirectory::open(folder.path()).unwrap();
        let content: Vec<u8> = (0..3 * SMALL).map(|at| (at % 251) as u8).collect();
        for name in ["a.idx", "a.store", "a.fast"] {
            let path = Path::new(name);
            let mut file = directory.open_write(path).unwrap();
            file.write_all(&content).unwrap();
            file.terminate().unwrap();
            let file = directory.get_file_handle(path).unwrap();
            assert_eq!(file.len(), content.len());
            let end = content.len();
            for range in [0..0, 5..9, 0..SMALL, 7..SMALL + 8, end - 3..end, 0..end] {
                let read = file.read_bytes(range.clone()).unwrap();
                assert_eq!(read.as_slice(), &content[range.clone()], "{name} {range:?}");
            }
            // The checksum after the content must not be readable.
            assert!(file.read_bytes(end - 1..end + 1).is_err());
        }
    }

    #[test]
    fn a_writer_is_not_refused_because_a_child_still_has_the_lock_of_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let directory = SealedDirectory::open(folder.path()).unwrap();
        let of_a_child = File::create(folder.path().join(&INDEX_WRITER_LOCK.filepath)).unwrap();
        of_a_child.lock().unwrap();
        directory.acquire_lock(&INDEX_WRITER_LOCK).unwrap();
    }
}
