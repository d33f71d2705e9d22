//! From paths to files: which files under a folder are documents, and in which order.
//!
//! The `ignore` crate walks as ripgrep does: `.gitignore` and `.ignore` are respected, hidden files
//! and symbolic links inside folders are skipped. What is named explicitly is taken in any case.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::IngestError;

/// The extensions that have a reader, for messages.
pub(super) const SUPPORTED: &str =
    ".md, .txt, .html, .pdf, .docx, .epub, .jsonl, and source code such as .py or .rs";

/// What a file holds, told by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Markdown,
    Plain,
    Code,
    JsonLines,
    Html,
    Docx,
    Pdf,
    Epub,
    /// Formats without a reader that people take for supported: named, not passed over.
    Legacy,
}

impl FileKind {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(OsStr::to_str)?;
        match extension.to_ascii_lowercase().as_str() {
            "md" | "markdown" | "mdx" | "qmd" | "rmd" => Some(Self::Markdown),
            "txt" | "text" | "rst" | "adoc" | "org" | "tex" => Some(Self::Plain),
            "jsonl" => Some(Self::JsonLines),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            "docx" => Some(Self::Docx),
            "pdf" => Some(Self::Pdf),
            "epub" => Some(Self::Epub),
            "doc" | "rtf" | "odt" => Some(Self::Legacy),
            extension => CODE.contains(&extension).then_some(Self::Code),
        }
    }
}

/// Source code and configuration that people write by hand.
const CODE: [&str; 69] = [
    "bash", "bat", "c", "cc", "cfg", "clj", "cmake", "conf", "cpp", "cs", "cu", "cuh", "cxx",
    "dart", "el", "erl", "ex", "exs", "fs", "go", "gradle", "graphql", "h", "hpp", "hs", "hxx",
    "ini", "java", "jl", "js", "jsx", "kt", "kts", "lisp", "lua", "m", "mjs", "ml", "mm", "nim",
    "nix", "pas", "php", "pl", "pm", "proto", "ps1", "py", "r", "rb", "rs", "scala", "scm", "sh",
    "sol", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts", "tsx", "v", "vb", "vue", "yaml",
    "yml", "zig",
];

/// The outcome of a [`walk`].
#[derive(Debug)]
pub struct Walk {
    /// Absolute paths without symbolic links, sorted, each once: the same file gets the same
    /// document id however it was named.
    pub files: Vec<PathBuf>,
    /// Subfolders that could not be listed. Their files are missing from `files`, which does not
    /// mean that they are gone.
    pub problems: Vec<IngestError>,
}

/// Finds the documents under `paths`, each a file or a folder.
///
/// Fails if a path does not exist, cannot be looked at, or names a file of an unsupported format:
/// these are mistakes in the command, better told before work starts.
pub fn walk(paths: &[PathBuf]) -> Result<Walk, IngestError> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let root = path.canonicalize().map_err(IngestError::io(path))?;
        let metadata = root.metadata().map_err(IngestError::io(path))?;
        if metadata.is_dir() {
            for entry in WalkBuilder::new(&root).build() {
                match entry {
                    Ok(entry) => {
                        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                        if is_file && FileKind::of(entry.path()).is_some() {
                            files.push(entry.into_path());
                        }
                    }
                    Err(source) => {
                        problems.push(IngestError::Folder { path: path.clone(), source });
                    }
                }
            }
        } else if !metadata.is_file() {
            return Err(IngestError::NotAFile { path: path.clone() });
        } else if FileKind::of(&root).is_none() {
            return Err(IngestError::Unsupported { path: path.clone() });
        } else {
            files.push(root);
        }
    }
    files.sort_unstable();
    files.dedup();
    Ok(Walk { files, problems })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(walk: &Walk) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        walk.files.iter().map(name).collect()
    }

    #[test]
    fn finds_supported_files_sorted_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("sub")).unwrap();
        for name in ["b.md", "a.TXT", "sub/c.jsonl", "d.markdown", "e.png", ".hidden.md", "noext"] {
            fs::write(root.join(name), "x").unwrap();
        }
        let found = walk(&[root.to_owned(), root.join("sub/../b.md"), root.join("sub")]).unwrap();
        assert_eq!(names(&found), ["a.TXT", "b.md", "d.markdown", "c.jsonl"]);
        assert!(found.files.iter().all(|path| path.is_absolute()));
        assert!(found.problems.is_empty());
    }

    #[test]
    fn respects_ignore_files_but_not_for_named_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join(".ignore"), "secret.md\n").unwrap();
        fs::write(root.join("secret.md"), "x").unwrap();
        fs::write(root.join("open.md"), "x").unwrap();
        assert_eq!(names(&walk(&[root.to_owned()]).unwrap()), ["open.md"]);
        assert_eq!(names(&walk(&[root.join("secret.md")]).unwrap()), ["secret.md"]);
    }

    #[test]
    fn mistakes_in_the_command_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let missing = walk(&[folder.path().join("nowhere")]).unwrap_err();
        assert!(matches!(missing, IngestError::Missing { .. }), "{missing}");
        let picture = folder.path().join("a.png");
        fs::write(&picture, "x").unwrap();
        let unsupported = walk(&[picture]).unwrap_err();
        assert!(unsupported.to_string().contains(SUPPORTED), "{unsupported}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_a_file_and_links_do_not_loop() {
        let device = walk(&[PathBuf::from("/dev/null")]).unwrap_err();
        assert!(matches!(device, IngestError::NotAFile { .. }), "{device}");

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.md"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(names(&walk(&[folder.path().to_owned()]).unwrap()), ["a.md"]);
    }
}
