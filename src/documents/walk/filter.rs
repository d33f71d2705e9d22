//! Patterns that choose among the files of folders.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::left_out::Reason;
use crate::documents::programs::ProgramReader;

/// Which of the files under folders are wanted, by patterns as in `.gitignore`. Neither case nor the
/// normal form of letters matters.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Patterns,
    exclude: Patterns,
    /// What reads files that no reader here does.
    programs: Vec<ProgramReader>,
}

impl Filter {
    /// Takes files that match one of `include`, if there is any, and none of `exclude`.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, ignore::Error> {
        Ok(Self {
            include: Patterns::new(include)?,
            exclude: Patterns::new(exclude)?,
            programs: Vec::new(),
        })
    }

    /// Takes the files that these programs read, whatever is in them.
    #[must_use]
    pub fn with_readers(mut self, programs: &[ProgramReader]) -> Self {
        self.programs = programs.to_vec();
        self
    }

    /// The program that reads the file at `path`, if one does.
    pub(super) fn reader_of(&self, path: &Path) -> Option<&ProgramReader> {
        self.programs.iter().find(|program| program.reads(path))
    }

    /// Whether it takes every file.
    pub fn is_empty(&self) -> bool {
        self.include.each.is_empty() && self.exclude.each.is_empty()
    }

    /// The patterns to include and to exclude.
    pub fn patterns(&self) -> (Vec<String>, Vec<String>) {
        let texts = |patterns: &Patterns| {
            patterns.each.iter().map(|pattern| pattern.text.clone()).collect()
        };
        (texts(&self.include), texts(&self.exclude))
    }

    /// Whether it takes the file at `path`, relative to some folder.
    pub fn takes(&self, path: &Path) -> bool {
        self.refuses(path).is_none()
    }

    /// Whether it takes the file at `path` as seen from some folder above it, as people name places in
    /// short.
    pub fn takes_anywhere(&self, path: &Path) -> bool {
        let parts: Vec<_> = path.components().collect();
        (0..parts.len()).any(|from| self.takes(&parts[from..].iter().collect::<PathBuf>()))
    }

    /// Why the file at `path`, relative to the folder that was named, is not wanted.
    pub(super) fn refuses(&self, path: &Path) -> Option<Reason> {
        if self.is_empty() {
            return None;
        }
        let path = folded(&path.to_string_lossy());
        if !self.include.each.is_empty() && self.include.matching(&path).is_none() {
            return Some(Reason::NotIncluded);
        }
        let pattern = self.exclude.matching(&path)?;
        Some(Reason::Excluded { pattern: pattern.to_owned() })
    }
}

/// The patterns of a [`Filter`] that have matched no file yet.
pub(super) struct Unmatched<'f>(Vec<&'f Pattern>);

impl<'f> Unmatched<'f> {
    pub fn new(filter: &'f Filter) -> Self {
        Self(filter.include.each.iter().chain(&filter.exclude.each).collect())
    }

    /// Notes a file, relative to the folder that was named.
    pub fn saw(&mut self, path: &Path) {
        if !self.0.is_empty() {
            let path = folded(&path.to_string_lossy());
            self.0.retain(|pattern| matched(&pattern.matcher, &path).is_none());
        }
    }

    pub fn into_patterns(self) -> Vec<String> {
        self.0.into_iter().map(|pattern| pattern.text.clone()).collect()
    }
}

#[derive(Debug, Clone)]
struct Pattern {
    /// As it was given.
    text: String,
    matcher: Gitignore,
}

#[derive(Debug, Clone)]
struct Patterns {
    each: Vec<Pattern>,
    /// All together: the last that matches decides.
    all: Gitignore,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { each: Vec::new(), all: Gitignore::empty() }
    }
}

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self, ignore::Error> {
        let matcher = |patterns: &[String]| {
            let mut builder = GitignoreBuilder::new("");
            for pattern in patterns {
                builder.add_line(None, &folded(pattern))?;
            }
            builder.build()
        };
        let one = |text: &String| {
            let text = text.clone();
            matcher(std::slice::from_ref(&text)).map(|matcher| Pattern { text, matcher })
        };
        Ok(Self {
            each: patterns.iter().map(one).collect::<Result<_, ignore::Error>>()?,
            all: matcher(patterns)?,
        })
    }

    /// The pattern by which these patterns match `path`, which is [`folded`].
    fn matching(&self, path: &str) -> Option<&str> {
        let Match::Ignore(glob) = matched(&self.all, path) else { return None };
        let given = self.each.iter().find(|pattern| folded(&pattern.text) == glob.original());
        Some(given.map_or(glob.original(), |pattern| &pattern.text))
    }
}

fn matched<'p>(patterns: &'p Gitignore, path: &str) -> Match<&'p ignore::gitignore::Glob> {
    patterns.matched_path_or_any_parents(path, false)
}

/// `text` in lower case and NFC.
fn folded(text: &str) -> String {
    composed(&text.to_lowercase()).into_owned()
}

/// `text` in NFC: a Mac writes names in NFD.
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned =
            |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn case_and_normal_form_do_not_matter() {
        let decomposed: String = "Lương tháng 5.MD".nfd().collect();
        assert_ne!(decomposed, "Lương tháng 5.MD");
        for pattern in ["*.md", "lương*", "LƯƠNG*", &"Lương*".nfd().collect::<String>()] {
            let path = Path::new("năm").join(&decomposed);
            assert_eq!(filter(&[pattern], &[]).refuses(&path), None, "{pattern}");
            let reason = Reason::Excluded { pattern: pattern.to_owned() };
            assert_eq!(filter(&[], &[pattern]).refuses(&path), Some(reason));
        }
        let refused = filter(&["*.txt"], &[]).refuses(Path::new(&decomposed));
        assert_eq!(refused, Some(Reason::NotIncluded));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_known() {
        let filter = filter(&["*.md", "*.mkd"], &["drafts/", "*.md"]);
        let mut unmatched = Unmatched::new(&filter);
        unmatched.saw(Path::new("notes/a.md"));
        assert_eq!(unmatched.into_patterns(), ["*.mkd", "drafts/"]);
    }

    #[test]
    fn a_pattern_matches_from_any_folder_on() {
        let takes = |pattern: &str, file: &str| {
            Filter::new(&[pattern.to_owned()], &[]).unwrap().takes_anywhere(Path::new(file))
        };
        assert!(takes("*.md", "/home/a/notes/x.MD"));
        assert!(takes("notes/**", "/home/a/notes/deep/x.md"));
        assert!(takes("deep/x.md", "/home/a/notes/deep/x.md"));
        assert!(!takes("notes/*.md", "/home/a/notes/deep/x.md"));
        assert!(!takes("*.pdf", "/home/a/notes/x.md"));
    }
}
