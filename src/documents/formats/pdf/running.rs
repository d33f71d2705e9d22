//! Running heads: the lines at the top or bottom of pages that repeat from page to page.

use std::collections::{BTreeSet, HashMap};

use super::sheet::{Part, Sheet};

/// Pages that a line has to be on.
const MIN_PAGES: usize = 3;

pub(super) struct RunningHeads {
    /// On how many pages each line is at the top or bottom.
    pages: HashMap<String, usize>,
    /// The headings elsewhere on pages, which a running head may repeat.
    headings: BTreeSet<String>,
}

impl RunningHeads {
    pub fn of(pages: &[Sheet]) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut headings = BTreeSet::new();
        for page in pages {
            let mut edges = BTreeSet::new();
            for (at, part) in page.parts.iter().enumerate() {
                if page.is_edge(at) {
                    edges.extend(part.running_head());
                } else if matches!(part, Part::Heading(..)) {
                    headings.extend(part.running_head());
                }
            }
            for line in edges {
                *counts.entry(line).or_default() += 1;
            }
        }
        Self { pages: counts, headings }
    }

    /// Whether a part at the edge of its page is a running head: on many pages, or a heading of any
    /// page with a page number behind it.
    pub fn contains(&self, part: &Part) -> bool {
        part.running_head().is_some_and(|line| {
            self.pages.get(&line).is_some_and(|pages| *pages >= MIN_PAGES)
                || (self.headings.contains(&line) && part.ends_in_number())
        })
    }
}
