//! From paths to files: which files under a folder are documents, and in which order.
//!
//! The `ignore` crate walks as ripgrep does: `.gitignore`, `.ignore` and our own `.ragignore` are
//! respected, hidden files and symbolic links inside folders are skipped. What is named explicitly
//! is taken in any case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::ReadError;
use super::kind::FileKind;

/// The outcome of a [`walk`].
#[derive(Debug)]
pub struct Walk {
    /// Absolute paths without symbolic links, sorted, each once: the same file gets the same
    /// document id however it was named.
    pub files: Vec<PathBuf>,
    /// Subfolders that could not be listed. Their files are missing from `files`, which does not
    /// mean that they are gone.
    pub problems: Vec<ReadError>,
    /// Files without an extension that are no text either, and so are not in `files`.
    pub binary: usize,
}

/// Which of the files under folders are wanted, by patterns as `.gitignore` has them.
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
/// these are mistakes in the command, better told before work starts.
pub fn walk(paths: &[PathBuf], filter: &Filter) -> Result<Walk, ReadError> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    let mut binary = BTreeSet::new();
    for path in paths {
        let root = path.canonicalize().map_err(ReadError::io(path))?;
        let metadata = root.metadata().map_err(ReadError::io(path))?;
        if metadata.is_dir() {
            for entry in WalkBuilder::new(&root).add_custom_ignore_filename(".ragignore").build() {
                match entry {
                    Ok(entry) => {
                        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                        let wanted = || {
                            let inside = entry.path().strip_prefix(&root);
                            filter.wants(inside.unwrap_or(entry.path()))
                        };
                        if !is_file || !wanted() {
                            continue;
                        }
                        match FileKind::of(entry.path()) {
                            Ok(None) if entry.path().extension().is_some() => {}
                            Ok(None) => drop(binary.insert(entry.into_path())),
                            // Of one that cannot be opened its reader tells why.
                            Ok(Some(_)) | Err(_) => files.push(entry.into_path()),
                        }
                    }
                    Err(source) => {
                        problems.push(ReadError::Folder { path: path.clone(), source });
                    }
                }
            }
        } else if !metadata.is_file() {
            return Err(ReadError::NotAFile { path: path.clone() });
        } else if FileKind::of(&root).map_err(ReadError::io(path))?.is_none() {
            return Err(ReadError::Unsupported { path: path.clone() });
        } else {
            files.push(root);
        }
    }
    files.sort_unstable();
    files.dedup();
    Ok(Walk { files, problems, binary: binary.len() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::documents::kind::SUPPORTED;

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
        // A pattern takes no file that is ignored.
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
            assert!(unsupported.to_string().contains(SUPPORTED), "{unsupported}");
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
