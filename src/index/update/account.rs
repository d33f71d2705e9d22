//! What became of every file under the folders: the numbers add up.

use serde::Serialize;

use crate::documents::{Group, Reason, Walk};
use crate::index::Ledger;

/// What became of the files of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileAccount {
    /// All of them.
    pub found: usize,
    /// New or changed, and now in the index.
    pub taken: usize,
    /// In the index already, and unchanged.
    pub unchanged: usize,
    /// Files of no bytes.
    pub empty: Vec<String>,
    /// Files that were read, but have no text, so that nothing of them can be found.
    pub without_text: Vec<String>,
    /// Files of which nothing could be read; `problems` says why.
    pub failed: Vec<String>,
    /// Files that an interrupted run did not come to.
    pub not_reached: usize,
    /// The others, by reason.
    pub left_out: Vec<LeftOutFiles>,
}

/// Files that were left out for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOutFiles {
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// How many.
    #[serde(flatten)]
    pub group: Group,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Taken,
    Unchanged,
    WithoutText,
    Failed,
}

impl Fate {
    /// The fate of an unchanged file, whose documents may have no text.
    pub fn of_unchanged(file: &str, ledger: &Ledger) -> Self {
        match ledger.readable_documents_of(file) {
            0 => Self::WithoutText,
            _ => Self::Unchanged,
        }
    }
}

/// What is known of a file while it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Whether a new or changed document has text.
    pub has_new_text: bool,
    /// Whether an unchanged document has text.
    pub has_old_text: bool,
    /// Whether something could not be read.
    pub has_problem: bool,
}

impl Outcome {
    pub fn fate(self) -> Fate {
        match self {
            Self { has_new_text: true, .. } => Fate::Taken,
            Self { has_old_text: true, .. } => Fate::Unchanged,
            Self { has_problem: true, .. } => Fate::Failed,
            _ => Fate::WithoutText,
        }
    }
}

impl FileAccount {
    /// The account of a walk whose files have not been looked at.
    pub fn new(walk: &Walk) -> Self {
        let left_out = walk
            .left_out
            .iter()
            .map(|(reason, group)| LeftOutFiles { reason: reason.clone(), group: group.clone() });
        Self { found: walk.file_count(), left_out: left_out.collect(), ..Self::default() }
    }

    /// Adds a file of `size` bytes.
    pub fn add(&mut self, file: &str, size: u64, fate: Fate) {
        match fate {
            Fate::Taken => self.taken += 1,
            Fate::Unchanged => self.unchanged += 1,
            Fate::WithoutText if size == 0 => self.empty.push(file.to_owned()),
            Fate::WithoutText => self.without_text.push(file.to_owned()),
            Fate::Failed => self.failed.push(file.to_owned()),
        }
    }

    /// Ends the account of a run that was interrupted.
    pub fn interrupt(&mut self) {
        self.not_reached = self.found.saturating_sub(self.accounted());
    }

    /// How many files have been accounted for.
    fn accounted(&self) -> usize {
        let named = self.empty.len() + self.without_text.len() + self.failed.len();
        let left_out: usize = self.left_out.iter().map(|files| files.group.files).sum();
        self.taken + self.unchanged + named + self.not_reached + left_out
    }
}
