//! Which files under the folders are no documents, counted by reason: nothing is passed over without
//! a word.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

/// Longer endings of a name are no type of file, but words after a dot.
const MAX_EXTENSION: usize = 12;

/// Why a file under a folder is no document of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// A line of an ignore file says so.
    Ignored {
        /// The ignore file.
        by: String,
        /// The line.
        pattern: String,
    },
    /// The name, or that of a folder around it, is a hidden one or that of a temporary file.
    Hidden,
    /// It matches a pattern that was given to exclude files.
    Excluded {
        /// The pattern.
        pattern: String,
    },
    /// It matches none of the patterns that were given to include files.
    NotIncluded,
    /// No reader has its format.
    UnknownType {
        /// In lower case, without the dot; `None` where the name has none.
        extension: Option<String>,
    },
    /// It has no known type and looks like text, but is too large to be taken on a guess.
    LargeText,
    /// A symbolic link, which is not followed.
    Link,
    /// A device, a pipe or a socket.
    NotAFile,
    /// It is part of an index of this program.
    Index,
    /// Another process indexes it.
    OtherShard,
}

impl Reason {
    pub(super) fn unknown_type(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_type = |extension: &&str| {
            extension.len() <= MAX_EXTENSION && !extension.contains(char::is_whitespace)
        };
        Self::UnknownType { extension: extension.filter(is_type).map(str::to_lowercase) }
    }
}

/// Files that are left out for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// How many.
    pub files: usize,
    /// Whether there are more of them, in folders so full that nobody counted them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// One of them, or a folder that holds some.
    pub example: String,
}

/// The files that are left out, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeMap<Reason, Group>);

impl LeftOut {
    /// Counts a file.
    pub(super) fn count(&mut self, reason: Reason, path: &Path) {
        self.group(reason, path).files += 1;
    }

    /// Notes a folder whose files nobody counts.
    pub(super) fn add_uncounted(&mut self, reason: Reason, folder: &Path) {
        self.group(reason, folder).more = true;
    }

    fn group(&mut self, reason: Reason, example: &Path) -> &mut Group {
        self.0.entry(reason).or_insert_with(|| {
            let example = example.to_string_lossy().into_owned();
            Group { files: 0, more: false, example }
        })
    }

    /// Reasons and files.
    pub fn iter(&self) -> impl Iterator<Item = (&Reason, &Group)> {
        self.0.iter()
    }

    /// How many files are left out.
    pub fn files(&self) -> usize {
        self.0.values().map(|group| group.files).sum()
    }
}
