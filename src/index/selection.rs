//! Which documents of an index are asked: by path, type, tag and date.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::{DocumentState, FileState, Index, Ledger, file_of};
use crate::documents::Filter;

const DAY: u64 = 24 * 60 * 60;

/// Which documents to search; all, if nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Patterns as in `.gitignore`, of which the path matches one.
    #[serde(rename = "in")]
    pub within: Vec<String>,
    /// Extensions, of which the file has one.
    #[serde(rename = "type")]
    pub extensions: Vec<String>,
    /// Tags, of which the document's front matter has one, in any case.
    #[serde(rename = "tag")]
    pub tags: Vec<String>,
    /// When the file changed at the earliest.
    #[serde(with = "seconds")]
    pub since: Option<SystemTime>,
}

impl Selection {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.within.is_empty()
            && self.extensions.is_empty()
            && self.tags.is_empty()
            && self.since.is_none()
    }

    /// Restricts an index to what is selected, and returns how many chunks that leaves; `None` if
    /// everything is.
    ///
    /// # Errors
    /// A pattern is not valid, the index cannot be restricted, or nothing in it is selected.
    pub fn apply(&self, index: &mut dyn Index) -> Result<Option<usize>> {
        if self.is_empty() {
            return Ok(None);
        }
        let filter = Filter::new(&self.within, &[]).context("`--in`")?;
        let ledger: Ledger = index.ledger()?;
        let documents: Vec<&str> = ledger
            .documents()
            .iter()
            .filter(|(document, state)| {
                let file = file_of(document);
                self.takes(&filter, Path::new(file), ledger.files().get(file))
                    && self.is_tagged(state)
            })
            .map(|(document, _)| document.as_str())
            .collect();
        let left = index.select(&documents)?;
        ensure!(
            left > 0,
            "no document of the index is selected by `--in`, `--type`, `--tag` and \
             `--since`; `rag-query index list` shows what there is"
        );
        Ok(Some(left))
    }

    /// Whether a document has one of the tags: `law` is also the tag of what is filed under `law/tax`.
    fn is_tagged(&self, document: &DocumentState) -> bool {
        let is = |tag: &str, wanted: &str| {
            let rest = tag.strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let tags: Vec<String> = document.tags.iter().map(|tag| tag.to_lowercase()).collect();
        self.tags.is_empty()
            || self.tags.iter().any(|wanted| {
                let wanted: String = wanted.nfc().collect();
                let wanted = wanted.trim_start_matches('#').trim().to_lowercase();
                tags.iter().any(|tag| is(tag, &wanted))
            })
    }

    fn takes(&self, filter: &Filter, file: &Path, state: Option<&FileState>) -> bool {
        let extension = file.extension().map(|it| it.to_string_lossy().to_lowercase());
        let is_of = |wanted: &String| {
            extension.as_deref() == Some(wanted.trim_start_matches('.').to_lowercase().as_str())
        };
        (self.extensions.is_empty() || self.extensions.iter().any(is_of))
            && (self.within.is_empty() || filter.takes_anywhere(file))
            && self.since.is_none_or(|since| modified(file, state).is_some_and(|at| at >= since))
    }
}

/// When a file was last changed. The index does not know the time of one that it read right after a
/// change; the file does.
fn modified(file: &Path, state: Option<&FileState>) -> Option<SystemTime> {
    let recorded = state.and_then(|state| state.modified);
    let recorded = recorded.map(|nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds));
    recorded.or_else(|| fs::metadata(file).ok()?.modified().ok())
}

/// `YYYY-MM-DD`, or `7d`: so many days ago.
///
/// # Errors
/// It is neither; in words.
pub fn since(text: &str) -> Result<SystemTime, String> {
    let expected = || "expected a date such as 2026-01-31, or days such as 7d".to_owned();
    if let Some(days) = text.strip_suffix('d') {
        let days: u64 = days.parse().map_err(|_| expected())?;
        let ago = days.checked_mul(DAY).map(Duration::from_secs).ok_or_else(expected)?;
        return Ok(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH));
    }
    let parts: Vec<u64> =
        text.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| expected())?;
    match parts[..] {
        [year @ 1970..=9999, month @ 1..=12, day @ 1..=31] => {
            Ok(UNIX_EPOCH + Duration::from_secs(days_to(year, month, day) * DAY))
        }
        _ => Err(expected()),
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `days_from_civil`).
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that a leap day is the last one.
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + days - 719_468
}

/// A time in JSON: seconds since 1970.
mod seconds {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "what serde calls")]
    pub fn serialize<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        let since = at.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default());
        since.map(|since| since.as_secs()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        let seconds = Option::<u64>::deserialize(from)?;
        // A time that no clock can show is later than that of any file.
        let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Ok(seconds.map(|seconds| at(seconds).unwrap_or_else(SystemTime::now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_any_case_and_with_what_is_below_it() {
        let tagged = |tags: &[&str], wanted: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            let document = DocumentState { tags: texts(tags), ..DocumentState::default() };
            Selection { tags: texts(wanted), ..Selection::default() }.is_tagged(&document)
        };
        assert!(tagged(&["Luật"], &["luật"]) && tagged(&["x", "luật/thuế"], &["#LUẬT"]));
        assert!(tagged(&["a"], &["b", "a"]) && tagged(&[], &[]));
        assert!(tagged(&["lu\u{1ead}t"], &["lua\u{323}\u{302}t"]), "composed or not");
        assert!(!tagged(&["luật/thuế"], &["thuế"]) && !tagged(&["lawyer"], &["law"]));
        assert!(!tagged(&[], &["a"]));
    }

    #[test]
    fn a_selection_comes_back_as_it_was_sent() {
        let since = Some(UNIX_EPOCH + Duration::from_hours(24));
        let selection =
            Selection { within: vec!["*.md".to_owned()], since, ..Selection::default() };
        let json = serde_json::to_string(&selection).unwrap();
        assert_eq!(json, r#"{"in":["*.md"],"type":[],"tag":[],"since":86400}"#);
        assert_eq!(serde_json::from_str::<Selection>(&json).unwrap(), selection);
        assert!(serde_json::from_str::<Selection>("{}").unwrap().is_empty());
        assert!(serde_json::from_str::<Selection>(r#"{"inn":[]}"#).is_err());
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        assert_eq!(days_to(1970, 1, 1), 0);
        assert_eq!(days_to(2000, 2, 29), 11_016);
        assert_eq!(days_to(2026, 11, 29), 20_786);
        assert_eq!(since("1970-01-02").unwrap(), UNIX_EPOCH + Duration::from_secs(DAY));
        assert!(since("3d").unwrap() < SystemTime::now());
        for wrong in ["", "d", "-1d", "2026-13-01", "2026-1", "1969-01-01", "yesterday"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
