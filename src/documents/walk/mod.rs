//! From paths to files: which files under a folder are documents, in which order, and what becomes
//! of the others.
//!
//! `.gitignore`, `.ignore` and our own `.ragignore` are respected; hidden files and symbolic links
//! inside folders are left out. What is named explicitly is taken in any case. Every file under the
//! folders is either taken or counted with the reason why not.

mod filter;
mod folders;
mod left_out;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use filter::Filter;
use filter::Unmatched;
pub(crate) use filter::composed;
use folders::Folders;
pub use left_out::{Group, LeftOut, Reason};

use super::READER;
use super::error::ReadError;
use super::formats::supported;
use super::programs::ProgramReader;
use super::recognize::recognize;

/// The outcome of a [`walk`].
#[derive(Debug, Default)]
pub struct Walk {
    /// The files and folders that were named, as absolute paths without symbolic links.
    pub roots: Vec<PathBuf>,
    /// Absolute paths without symbolic links, sorted, each once: a file gets the same document id
    /// however it was named.
    pub files: Vec<PathBuf>,
    /// The other files under the folders.
    pub left_out: LeftOut,
    /// Subfolders that could not be listed, and ignore files that could not be read.
    pub problems: Vec<ReadError>,
    /// Whether all folders could be listed. If not, `files` may lack some that are still there.
    pub is_complete: bool,
    /// Patterns of the filter that matched no file.
    pub unmatched: Vec<String>,
    filter: Filter,
    /// Files that [`Walk::share`] left to others, sorted.
    elsewhere: Vec<PathBuf>,
}

impl Walk {
    /// Keeps only the files of which `is_ours` is true, and leaves the others to other processes.
    pub fn share(&mut self, is_ours: impl Fn(&Path) -> bool) {
        let (ours, others) =
            std::mem::take(&mut self.files).into_iter().partition(|file| is_ours(file));
        self.files = ours;
        self.elsewhere = others;
        for file in &self.elsewhere {
            self.left_out.count(Reason::OtherShard, file);
        }
    }

    /// Whether a file at `path` would have been looked at: it is under a root, and the filter does
    /// not refuse it.
    pub fn covers(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| {
            let inside = path.strip_prefix(root);
            inside.is_ok_and(|inside| {
                inside == Path::new("") || self.filter.refuses(inside).is_none()
            })
        })
    }

    /// Whether the file at `path` was found.
    pub fn has(&self, path: &Path) -> bool {
        self.files.binary_search_by(|found| found.as_path().cmp(path)).is_ok()
    }

    /// Whether any document was found under `folder`, even one that is left to others.
    pub fn has_documents_under(&self, folder: &Path) -> bool {
        [&self.files, &self.elsewhere].into_iter().any(|files| {
            let at = files.partition_point(|file| file.as_path() < folder);
            files.get(at).is_some_and(|file| file.starts_with(folder))
        })
    }

    /// How many files there are, taken or not.
    pub fn file_count(&self) -> usize {
        self.files.len() + self.left_out.files()
    }

    /// The version of the way from the file at `path` to its chunks: that of the program that reads
    /// it, or our own.
    pub fn reader_version(&self, path: &Path) -> u32 {
        self.filter.reader_of(path).map_or(READER, ProgramReader::version)
    }

    /// The filter that chose the files.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}

/// Finds the documents under `paths`, each a file or a folder.
///
/// Fails if a path does not exist, cannot be looked at, or names a file of an unsupported format:
/// these are mistakes in the command, better reported before work starts.
pub fn walk(paths: &[PathBuf], filter: &Filter) -> Result<Walk, ReadError> {
    let mut walk = Walk { is_complete: true, filter: filter.clone(), ..Walk::default() };
    let mut folders = BTreeSet::new();
    for path in paths {
        let root = locate(path).map_err(ReadError::io(path))?;
        let metadata = root.metadata().map_err(ReadError::io(path))?;
        if metadata.is_dir() {
            folders.insert(root.clone());
        } else if !metadata.is_file() {
            return Err(ReadError::NotAFile { path: path.clone() });
        } else if filter.reader_of(&root).is_some() {
            walk.files.push(root.clone());
        } else if recognize(&root).map_err(ReadError::io(path))?.is_none() {
            return Err(ReadError::Unsupported { path: path.clone(), supported: supported() });
        } else {
            walk.files.push(root.clone());
        }
        walk.roots.push(root);
    }
    walk.roots.sort_unstable();
    walk.roots.dedup();
    let mut unmatched = Unmatched::new(filter);
    for root in &folders {
        let Walk { roots, files, left_out, problems, is_complete, .. } = &mut walk;
        let mut visit = |path: PathBuf, reason| match reason {
            None => files.push(path),
            Some(reason) => left_out.count(reason, &path),
        };
        let mut folders = Folders::new(root, roots, filter, &mut visit);
        folders.descend(&mut unmatched);
        *is_complete &= folders.is_complete;
        problems.append(&mut folders.problems);
        for (reason, folder) in std::mem::take(&mut folders.uncounted) {
            left_out.add_uncounted(reason, &folder);
        }
    }
    walk.unmatched = unmatched.into_patterns();
    walk.files.sort_unstable();
    walk.files.dedup();
    Ok(walk)
}

/// What becomes of the file at `path`, or of each file under the folder at `path`, when the folder
/// `root`, which it lies in, is indexed with `filter`: taken, or left out for a reason. `path` is
/// absolute and without symbolic links on its way.
pub fn look_at(root: &Path, filter: &Filter, path: &Path) -> LookedAt {
    let mut files = BTreeMap::new();
    let mut visit = |file: PathBuf, reason| drop(files.insert(file, reason));
    let mut folders = Folders::new(root, &[], filter, &mut visit);
    folders.only_towards(path);
    folders.descend(&mut Unmatched::new(&Filter::default()));
    let problems = std::mem::take(&mut folders.problems);
    LookedAt { files, problems }
}

/// The outcome of [`look_at`].
#[derive(Debug)]
pub struct LookedAt {
    /// Files, and why they are left out, if they are.
    pub files: BTreeMap<PathBuf, Option<Reason>>,
    /// Folders that could not be listed, and ignore files that could not be read.
    pub problems: Vec<ReadError>,
}

/// The absolute path of what `path` names, without symbolic links. Names that differ only in their
/// normal form are the same, as a Mac has it.
pub fn locate(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            spelled_otherwise(path).ok_or(error)?.canonicalize()
        }
        located => located,
    }
}

/// A path that exists, and is `path` in NFC.
fn spelled_otherwise(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for part in path.components() {
        let next = found.join(part);
        if next.symlink_metadata().is_ok() {
            found = next;
            continue;
        }
        let wanted = part.as_os_str().to_str()?;
        let folder = if found.as_os_str().is_empty() { Path::new(".") } else { &found };
        let mut names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
        let name =
            names.find(|name| name.to_str().is_some_and(|name| composed(name) == composed(wanted)));
        found.push(name?);
    }
    Some(found)
}
