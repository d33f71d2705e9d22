//! Goes through a folder and all those in it, and says of each file whether it is taken.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ignore::Match;

use super::filter::{Filter, Unmatched};
use super::left_out::Reason;
use super::rules::Rules;
use crate::documents::error::ReadError;
use crate::documents::recognize::{Recognized, recognize_in_folder};

/// Files in ignored folders that are counted; there may be millions.
const MAX_COUNTED: usize = 100_000;

/// What an index folder is known by; `index::directory` writes it.
const INDEX_MANIFEST: &str = "manifest.json";

/// Receives each file, and why it is not taken.
pub(super) type Visit<'v> = &'v mut dyn FnMut(PathBuf, Option<Reason>);

pub(super) struct Folders<'v> {
    root: &'v Path,
    /// Paths that are gone through, or taken, on their own.
    named: &'v [PathBuf],
    filter: &'v Filter,
    visit: Visit<'v>,
    /// The only file or folder that is asked about.
    towards: Option<&'v Path>,
    waiting: Vec<Folder>,
    counted: usize,
    pub problems: Vec<ReadError>,
    /// Whether all folders could be listed.
    pub is_complete: bool,
    /// Ignored folders whose files were too many to count.
    pub uncounted: Vec<(Reason, PathBuf)>,
}

/// A folder to go through.
struct Folder {
    path: PathBuf,
    /// What ignore files around it say.
    rules: Option<Rc<Rules>>,
    /// Why all of it is left out.
    left_out: Option<Reason>,
}

impl<'v> Folders<'v> {
    pub fn new(root: &'v Path, named: &'v [PathBuf], filter: &'v Filter, visit: Visit<'v>) -> Self {
        Self {
            root,
            named,
            filter,
            visit,
            towards: None,
            waiting: Vec::new(),
            counted: 0,
            problems: Vec::new(),
            is_complete: true,
            uncounted: Vec::new(),
        }
    }

    /// Goes only through the folders around `path`, and what is in it.
    pub fn only_towards(&mut self, path: &'v Path) {
        self.towards = Some(path);
    }

    pub fn descend(&mut self, unmatched: &mut Unmatched) {
        let rules = Rules::around(self.root, &mut |error| self.problems.push(error));
        match rules {
            Ok(rules) => {
                let path = self.root.to_owned();
                self.waiting.push(Folder { path, rules, left_out: None });
            }
            Err(error) => self.fail(error),
        }
        while let Some(folder) = self.waiting.pop() {
            match folder.left_out {
                Some(reason) => self.count(&folder.path, &reason),
                None => self.list(folder, unmatched),
            }
        }
    }

    fn fail(&mut self, error: ReadError) {
        self.is_complete = false;
        self.problems.push(error);
    }

    /// Counts the files in a folder that is left out as a whole.
    fn count(&mut self, folder: &Path, reason: &Reason) {
        if self.counted > MAX_COUNTED {
            self.uncounted.push((reason.clone(), folder.to_owned()));
            return;
        }
        // One that cannot be listed is left out all the same.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            self.counted += 1;
            if self.is_passed_by(&path) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let left_out = Some(reason.clone());
                self.waiting.push(Folder { path, rules: None, left_out });
            } else {
                (self.visit)(path, Some(reason.clone()));
            }
        }
    }

    /// Whether `path` is named by itself, or has nothing to do with what is asked about.
    fn is_passed_by(&self, path: &Path) -> bool {
        let is_off = |towards: &Path| !towards.starts_with(path) && !path.starts_with(towards);
        self.named.binary_search_by(|named| named.as_path().cmp(path)).is_ok()
            || self.towards.is_some_and(is_off)
    }

    fn list(&mut self, folder: Folder, unmatched: &mut Unmatched) {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| ReadError::Folder { path, source }
        };
        let entries = fs::read_dir(&folder.path)
            .and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>)
            .map_err(failed(&folder.path));
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.fail(error),
        };
        let mut dotted: Vec<OsString> = entries.iter().map(DirEntry::file_name).collect();
        dotted.retain(|name| name.as_encoded_bytes().starts_with(b"."));
        let has = |name: &str| dotted.iter().any(|dotted| dotted == name);
        let rules = Rules::of(&folder.path, has, folder.rules, &mut |error| {
            self.problems.push(error);
        });
        let rules = match rules {
            Ok(rules) => rules,
            Err(error) => return self.fail(error),
        };
        let holds_index = holds_index(&entries);
        for entry in entries {
            let path = entry.path();
            if self.is_passed_by(&path) {
                continue;
            }
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(source) => {
                    self.fail(failed(&path)(source));
                    continue;
                }
            };
            let ignored = match refused(&entry, &path, kind, rules.as_deref()) {
                None if holds_index && is_part_of_index(&entry.file_name()) => Some(Reason::Index),
                reason => reason,
            };
            if kind.is_dir() {
                self.waiting.push(Folder { path, rules: rules.clone(), left_out: ignored });
            } else {
                let reason = ignored.or_else(|| self.judge(&path, kind, unmatched));
                (self.visit)(path, reason);
            }
        }
    }

    /// Why a file that no rule ignores is left out.
    fn judge(&self, path: &Path, kind: FileType, unmatched: &mut Unmatched) -> Option<Reason> {
        if kind.is_symlink() {
            return Some(Reason::Link);
        }
        if !kind.is_file() {
            return Some(Reason::NotAFile);
        }
        let inside = path.strip_prefix(self.root).unwrap_or(path);
        unmatched.saw(inside);
        if let Some(reason) = self.filter.refuses(inside) {
            return Some(reason);
        }
        if self.filter.reader_of(path).is_some() {
            return None;
        }
        match recognize_in_folder(path) {
            Ok(Recognized::Unknown) => Some(Reason::unknown_type(path)),
            Ok(Recognized::LargeText) => Some(Reason::LargeText),
            // Why a file cannot be opened is told when it is read.
            Ok(Recognized::Format) | Err(_) => None,
        }
    }
}

/// Why a file or folder is left out by its name.
fn refused(entry: &DirEntry, path: &Path, kind: FileType, rules: Option<&Rules>) -> Option<Reason> {
    match rules.map_or(Match::None, |rules| rules.decide(path, kind.is_dir())) {
        Match::Ignore(reason) => Some(reason),
        Match::Whitelist(_) => None,
        Match::None => is_hidden(entry).then_some(Reason::Hidden),
    }
}

/// Whether a folder holds an index of this program, perhaps beside the user's own files. To index its
/// logs, which are text, would change it at each run.
fn holds_index(entries: &[DirEntry]) -> bool {
    let has = |is_it: &dyn Fn(&OsStr) -> bool| {
        entries.iter().any(|entry| is_it(entry.file_name().as_ref()))
    };
    has(&|name| name == INDEX_MANIFEST) && has(&is_generation)
}

fn is_part_of_index(name: &OsStr) -> bool {
    name == INDEX_MANIFEST || is_generation(name)
}

/// As an index names the folders of its data.
fn is_generation(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix("generation-"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Whether the name is one for the system or a program and not for people: `.hidden`, an editor's
/// backup `notes.md~`, or `~$letter.docx`, which Word makes while a file is open.
fn is_hidden(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_encoded_bytes();
    name.starts_with(b".")
        || name.starts_with(b"~$")
        || name.ends_with(b"~")
        || has_hidden_attribute(entry)
}

#[cfg(windows)]
fn has_hidden_attribute(entry: &DirEntry) -> bool {
    use std::os::windows::fs::MetadataExt;
    const HIDDEN: u32 = 2;
    entry.metadata().is_ok_and(|metadata| metadata.file_attributes() & HIDDEN != 0)
}

#[cfg(not(windows))]
fn has_hidden_attribute(_entry: &DirEntry) -> bool {
    false
}
