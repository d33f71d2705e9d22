//! From paths to files: which files under a folder are documents, and in which order.
//!
//! The `ignore` crate walks as ripgrep does: `.gitignore`, `.ignore` and our own `.ragignore` are
//! respected, hidden files and symbolic links inside folders are skipped. Files that are named
//! explicitly are taken in any case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::error::ReadError;
use super::formats::supported;
use super::recognize::recognize;

/// The outcome of a [`walk`].
#[derive(Debug)]
pub struct Walk {
    /// Absolute paths without symbolic links, sorted, each once: a file gets the same document id
    /// however it was named.
    pub files: Vec<PathBuf>,
    /// Subfolders that could not be listed. Their files are not in `files`, but may still be there.
    pub problems: Vec<ReadError>,
    /// How many files have no extension and are not text either. They are not in `files`.
    pub binary: usize,
}

/// Which of the files under folders are wanted, by patterns as in `.gitignore`.
#[derive(Debug, Clone)]
pub struct Filter {
    include: Gitignore,
    exclude: Gitignore,
}

impl Filter {
    /// Takes files that match one of `include`, if there is any, and none of `exclude`.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, ignore::Error> {
        let matcher = |patterns: &[String]| {
            let mut builder = GitignoreBuilder::new("");
            for pattern in patterns {
                builder.add_line(None, pattern)?;
            }
            builder.build()
        };
        Ok(Self { include: matcher(include)?, exclude: matcher(exclude)? })
    }

    /// Whether the file at `path`, relative to the folder that was named, is wanted.
    fn wants(&self, path: &Path) -> bool {
        let matches =
            |patterns: &Gitignore| patterns.matched_path_or_any_parents(path, false).is_ignore();
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

impl Default for Filter {
    /// Takes every file.
    fn default() -> Self {
        Self { include: Gitignore::empty(), exclude: Gitignore::empty() }
    }
}

/// Finds the documents under `paths`, each a file or a folder.
///
/// Fails if a path does not exist, cannot be looked at, or names a file of an unsupported format:
/// these are mistakes in the command, better reported before work starts.
pub fn walk(paths: &[PathBuf], filter: &Filter) -> Result<Walk, ReadError> {
    let mut found = Found::default();
    for path in paths {
        let root = path.canonicalize().map_err(ReadError::io(path))?;
        let metadata = root.metadata().map_err(ReadError::io(path))?;
        if metadata.is_dir() {
            found.add_folder(path, &root, filter);
        } else if !metadata.is_file() {
            return Err(ReadError::NotAFile { path: path.clone() });
        } else if recognize(&root).map_err(ReadError::io(path))?.is_none() {
            return Err(ReadError::Unsupported { path: path.clone(), supported: supported() });
        } else {
            found.files.push(root);
        }
    }
    let Found { mut files, problems, binary } = found;
    files.sort_unstable();
    files.dedup();
    Ok(Walk { files, problems, binary: binary.len() })
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    problems: Vec<ReadError>,
    binary: BTreeSet<PathBuf>,
}

impl Found {
    /// Adds the files under the folder `root`, which was named as `path`.
    fn add_folder(&mut self, path: &Path, root: &Path, filter: &Filter) {
        for entry in WalkBuilder::new(root).add_custom_ignore_filename(".ragignore").build() {
            match entry {
                Ok(entry) => {
                    let inside = entry.path().strip_prefix(root).unwrap_or(entry.path());
                    if entry.file_type().is_some_and(|kind| kind.is_file()) && filter.wants(inside)
                    {
                        self.add_file(entry.into_path());
                    }
                }
                Err(source) => {
                    self.problems.push(ReadError::Folder { path: path.to_owned(), source });
                }
            }
        }
    }

    fn add_file(&mut self, path: PathBuf) {
        match recognize(&path) {
            Ok(None) if path.extension().is_some() => {}
            Ok(None) => drop(self.binary.insert(path)),
            // Why a file cannot be opened is told when it is read.
            Ok(Some(_)) | Err(_) => self.files.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(paths: &[PathBuf]) -> Result<Walk, ReadError> {
        walk(paths, &Filter::default())
    }

    fn names(walk: &Walk) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        walk.files.iter().map(name).collect()
    }

    #[test]
    fn finds_supported_files_sorted_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("sub")).unwrap();
        for name in ["b.md", "a.TXT", "sub/c.jsonl", "d.markdown", "e.png", ".hidden.md", "README"]
        {
            fs::write(root.join(name), "x").unwrap();
        }
        fs::write(root.join("program"), b"\x7FELF\x02\0\0").unwrap();
        let walk = found(&[root.to_owned(), root.join("sub/../b.md"), root.join("sub")]).unwrap();
        assert_eq!(names(&walk), ["README", "a.TXT", "b.md", "d.markdown", "c.jsonl"]);
        assert!(walk.files.iter().all(|path| path.is_absolute()));
        assert!(walk.problems.is_empty());
        assert_eq!(walk.binary, 1);
    }

    #[test]
    fn respects_ignore_files_but_not_for_named_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join(".ignore"), "secret.md\n").unwrap();
        fs::write(root.join("secret.md"), "x").unwrap();
        fs::write(root.join("open.md"), "x").unwrap();
        assert_eq!(names(&found(&[root.to_owned()]).unwrap()), ["open.md"]);
        assert_eq!(names(&found(&[root.join("secret.md")]).unwrap()), ["secret.md"]);
    }

    #[test]
    fn patterns_choose_among_the_files_of_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        for name in ["a.md", "b.txt", "sub/c.md", "sub/deep/d.md", "sub/e.txt", "secret.md"] {
            fs::write(root.join(name), "x").unwrap();
        }
        fs::write(root.join(".ragignore"), "secret.md\n").unwrap();
        let choose = |include: &[&str], exclude: &[&str]| {
            let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
            let (include, exclude): (Vec<String>, Vec<String>) = (owned(include), owned(exclude));
            names(&walk(&[root.to_owned()], &Filter::new(&include, &exclude).unwrap()).unwrap())
        };
        assert_eq!(choose(&[], &[]), ["a.md", "b.txt", "c.md", "d.md", "e.txt"]);
        // A pattern does not bring back a file that is ignored.
        assert_eq!(choose(&["*.md"], &[]), ["a.md", "c.md", "d.md"]);
        assert_eq!(choose(&["*.md"], &["deep/"]), ["a.md", "c.md"]);
        assert_eq!(choose(&["sub/**"], &["*.txt"]), ["c.md", "d.md"]);
        assert_eq!(choose(&["/*.md", "*.txt"], &["sub"]), ["a.md", "b.txt"]);
        assert!(Filter::new(&["{a".to_owned()], &[]).is_err());
    }

    #[test]
    fn mistakes_in_the_command_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let missing = found(&[folder.path().join("nowhere")]).unwrap_err();
        assert!(matches!(missing, ReadError::Missing { .. }), "{missing}");
        for name in ["a.png", "program"] {
            let file = folder.path().join(name);
            fs::write(&file, "x\0\0").unwrap();
            let unsupported = found(&[file]).unwrap_err();
            assert!(unsupported.to_string().contains(&supported()), "{unsupported}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_a_file_and_links_do_not_loop() {
        let device = found(&[PathBuf::from("/dev/null")]).unwrap_err();
        assert!(matches!(device, ReadError::NotAFile { .. }), "{device}");

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.md"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(names(&found(&[folder.path().to_owned()]).unwrap()), ["a.md"]);
    }
}
