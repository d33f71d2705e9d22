//! Where a passage stands in its file, for people.

use std::mem::discriminant;

use serde::{Deserialize, Serialize};

/// First and last of what a file of its kind is cited by, counted from 1 unless said otherwise.
///
/// Indexes store it, so names only ever join these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Lines of the file, or, for JSON lines, of their `text`.
    Lines(u32, u32),
    /// Pages as viewers count them.
    Pages(u32, u32),
    /// Rows of the sheet that the heading names.
    Rows(u32, u32),
    /// Slides in the order in which they are shown.
    Slides(u32, u32),
    /// Whole seconds since the recording began.
    Seconds(u32, u32),
}

impl Place {
    /// First and last.
    pub fn ends(self) -> (u32, u32) {
        match self {
            Self::Lines(first, last)
            | Self::Pages(first, last)
            | Self::Rows(first, last)
            | Self::Slides(first, last)
            | Self::Seconds(first, last) => (first, last),
        }
    }

    /// The place that begins where `self` does and ends where `other` does.
    #[must_use]
    pub fn to(mut self, other: Self) -> Self {
        if discriminant(&self) == discriminant(&other) {
            let (Self::Lines(_, last)
            | Self::Pages(_, last)
            | Self::Rows(_, last)
            | Self::Slides(_, last)
            | Self::Seconds(_, last)) = &mut self;
            *last = other.ends().1.max(*last);
        }
        self
    }

    /// `lines 3–9`, `page 12`, `00:01:05–00:01:20`.
    pub(crate) fn in_words(self, words: PlaceWords) -> String {
        let (first, last) = self.ends();
        let word = match self {
            Self::Lines(..) => words.line,
            Self::Pages(..) => words.page,
            Self::Rows(..) => words.row,
            Self::Slides(..) => words.slide,
            Self::Seconds(..) => return format!("{}–{}", clock(first), clock(last)),
        };
        if first == last {
            return format!("{word} {first}");
        }
        format!("{word}{} {first}–{last}", words.plural)
    }
}

/// What [`Place`]s are called in a language.
#[derive(Clone, Copy)]
pub(crate) struct PlaceWords {
    pub line: &'static str,
    pub page: &'static str,
    pub row: &'static str,
    pub slide: &'static str,
    /// What the words above end in if there are several.
    pub plural: &'static str,
}

impl PlaceWords {
    pub const ENGLISH: Self =
        Self { line: "line", page: "page", row: "row", slide: "slide", plural: "s" };
    pub const VIETNAMESE: Self =
        Self { line: "dòng", page: "trang", row: "dòng", slide: "slide", plural: "" };
}

/// `00:01:05`, as players show it.
fn clock(seconds: u32) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_join_to_one_from_the_first_to_the_last() {
        assert_eq!(Place::Lines(3, 5).to(Place::Lines(4, 9)), Place::Lines(3, 9));
        assert_eq!(Place::Rows(2, 8).to(Place::Rows(3, 5)), Place::Rows(2, 8));
        assert_eq!(Place::Seconds(1, 5).to(Place::Seconds(5, 7)), Place::Seconds(1, 7));
        assert_eq!(Place::Slides(1, 1).to(Place::Pages(2, 2)), Place::Slides(1, 1));
    }

    #[test]
    fn places_are_called_what_people_call_them() {
        let english = |place: Place| place.in_words(PlaceWords::ENGLISH);
        assert_eq!(english(Place::Lines(3, 3)), "line 3");
        assert_eq!(english(Place::Rows(12, 40)), "rows 12–40");
        assert_eq!(english(Place::Slides(3, 3)), "slide 3");
        assert_eq!(english(Place::Seconds(65, 3680)), "00:01:05–01:01:20");
        assert_eq!(Place::Rows(12, 40).in_words(PlaceWords::VIETNAMESE), "dòng 12–40");
        assert_eq!(Place::Pages(2, 2).in_words(PlaceWords::VIETNAMESE), "trang 2");
    }

    /// Indexes that were written before there were more kinds have these, and must stay readable.
    #[test]
    fn stored_places_keep_their_names() {
        for (place, json) in [
            (Place::Lines(3, 5), r#"{"lines":[3,5]}"#),
            (Place::Pages(1, 2), r#"{"pages":[1,2]}"#),
            (Place::Rows(12, 40), r#"{"rows":[12,40]}"#),
            (Place::Slides(3, 3), r#"{"slides":[3,3]}"#),
            (Place::Seconds(65, 80), r#"{"seconds":[65,80]}"#),
        ] {
            assert_eq!(serde_json::to_string(&place).unwrap(), json);
            assert_eq!(serde_json::from_str::<Place>(json).unwrap(), place);
        }
    }
}
