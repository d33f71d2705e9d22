//! Ignore files, with git's rules for their lines, inside and outside of a repository.
//!
//! `.ragignore` decides before `.ignore`, and that before `.gitignore`, `.git/info/exclude` and the
//! user's own list for git; within a kind, the file nearest to what is matched decides. Git's rules
//! end at the border of a repository. Names are compared in NFC.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, gitconfig_excludes_path};

use super::filter::composed;
use super::left_out::Reason;
use crate::documents::encoding;
use crate::documents::error::ReadError;

/// The ignore files of a folder, in the order in which they decide.
const IGNORE_FILES: [&str; 3] = [".ragignore", ".ignore", ".gitignore"];
/// From here on, the kinds of rules are git's.
const FIRST_OF_GIT: usize = 2;
/// `IGNORE_FILES`, then `.git/info/exclude` and the user's own list.
const KINDS: usize = 5;
const REPOSITORY: &str = ".git";
/// Larger files are no lists of patterns.
const MAX_BYTES: u64 = 1 << 20;
/// A name that only a pattern for all names matches.
const ANY_NAME: &str = "\u{e000}";

/// What the ignore files of a folder and of those around it say.
pub(super) struct Rules {
    around: Option<Rc<Rules>>,
    /// The path of the folder, in NFC.
    folder: String,
    lists: [Option<List>; KINDS],
    is_repository: bool,
}

struct List {
    file: String,
    patterns: Gitignore,
}

/// What goes wrong with an ignore file is passed on.
pub(super) type Report<'r> = &'r mut dyn FnMut(ReadError);

impl Rules {
    /// The rules that hold in the folder `root` from folders around it, except those that would
    /// ignore all of it: who names a folder wants it.
    pub fn around(root: &Path, report: Report) -> Result<Option<Rc<Self>>, ReadError> {
        let mut folders: Vec<&Path> = root.ancestors().skip(1).collect();
        folders.reverse();
        let mut rules = None;
        for folder in folders {
            let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
            rules = Self::read(folder, has, Some(root), rules, report)?;
        }
        Ok(rules)
    }

    /// The rules that hold in `folder`, which has entries as `has` says.
    pub fn of(
        folder: &Path,
        has: impl Fn(&str) -> bool,
        around: Option<Rc<Self>>,
        report: Report,
    ) -> Result<Option<Rc<Self>>, ReadError> {
        Self::read(folder, has, None, around, report)
    }

    fn read(
        folder: &Path,
        has: impl Fn(&str) -> bool,
        named: Option<&Path>,
        around: Option<Rc<Self>>,
        report: Report,
    ) -> Result<Option<Rc<Self>>, ReadError> {
        let is_repository = has(REPOSITORY);
        if !is_repository && !IGNORE_FILES.iter().any(|name| has(name)) {
            return Ok(around);
        }
        let name = composed(&folder.to_string_lossy()).into_owned();
        let mut rules = Self { around, folder: name, lists: Default::default(), is_repository };
        for (kind, name) in IGNORE_FILES.iter().enumerate() {
            if has(name) {
                rules.lists[kind] = rules.list(&folder.join(name), named, report)?;
            }
        }
        if is_repository {
            let exclude = folder.join(REPOSITORY).join("info/exclude");
            let users = [Some(exclude), gitconfig_excludes_path()];
            for (kind, file) in users.into_iter().enumerate() {
                if let Some(file) = file.filter(|file| file.is_file()) {
                    rules.lists[IGNORE_FILES.len() + kind] = rules.list(&file, named, report)?;
                }
            }
        }
        Ok(Some(Rc::new(rules)))
    }

    /// Reads an ignore file whose patterns hold in this folder. Not to know them is an error: what
    /// they keep out may be private.
    fn list(
        &self,
        file: &Path,
        named: Option<&Path>,
        report: Report,
    ) -> Result<Option<List>, ReadError> {
        let Some(text) =
            text(file).map_err(|source| ReadError::IgnoreFile { path: file.to_owned(), source })?
        else {
            return Ok(None);
        };
        let mut builder = GitignoreBuilder::new("");
        for (at, line) in text.lines().enumerate() {
            let line = composed(line);
            if named.is_some_and(|named| self.is_about_all_of(named, &line)) {
                continue;
            }
            if let Err(error) = builder.add_line(None, &line) {
                report(ReadError::IgnoreLine {
                    path: file.to_owned(),
                    line: at + 1,
                    why: error.to_string(),
                });
            }
        }
        let patterns = builder.build().map_err(|error| ReadError::IgnoreFile {
            path: file.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        let file = file.to_string_lossy().into_owned();
        Ok((!patterns.is_empty()).then_some(List { file, patterns }))
    }

    /// Whether a line ignores the folder `named`, or whatever it holds.
    fn is_about_all_of(&self, named: &Path, line: &str) -> bool {
        let mut builder = GitignoreBuilder::new("");
        let Ok(line) = builder.add_line(None, line).and_then(|line| line.build()) else {
            return false;
        };
        let path = composed(&named.to_string_lossy()).into_owned();
        let path = self.inside(&path);
        line.matched(path, true).is_ignore()
            || line.matched(format!("{path}/{ANY_NAME}"), false).is_ignore()
    }

    /// The part of a path in NFC that is below this folder.
    fn inside<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(&self.folder).unwrap_or(path).trim_start_matches(['/', '\\'])
    }

    /// Whether the file or folder at `path`, somewhere below this folder, is ignored.
    pub fn decide(&self, path: &Path, is_folder: bool) -> Match<Reason> {
        let path = path.to_string_lossy();
        let path = composed(&path);
        for kind in 0..KINDS {
            let mut next = Some(self);
            while let Some(rules) = next {
                if let Some(list) = &rules.lists[kind] {
                    let found = list.patterns.matched(rules.inside(&path), is_folder);
                    let found = found.map(|glob| Reason::Ignored {
                        by: list.file.clone(),
                        pattern: glob.original().to_owned(),
                    });
                    if !found.is_none() {
                        return found;
                    }
                }
                let is_border = kind >= FIRST_OF_GIT && rules.is_repository;
                next = rules.around.as_deref().filter(|_| !is_border);
            }
        }
        Match::None
    }
}

/// The text of an ignore file, in whatever encoding an editor left it; `None` if that is no file.
fn text(file: &Path) -> io::Result<Option<String>> {
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for a list of patterns"));
    }
    Ok(Some(match encoding::decode(&bytes, None) {
        Ok(text) => text.into_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }))
}
