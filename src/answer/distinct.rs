//! Drops near-duplicates: copies and versions of a file are common, and repeated text takes context
//! from passages the LLM has not seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::index::Passage;
use crate::retrieval::Hit;
use crate::text::analyze::{TermKind, terms};

/// Words per shingle: long enough that texts on the same subject share few by chance.
const SHINGLE_WORDS: usize = 3;
/// A passage is redundant if a better one contains this share of its shingles.
const REPEATED_SHARE: f64 = 0.9;

/// The first `limit` hits that are not near-duplicates of an earlier one.
pub fn distinct(hits: Vec<Hit>, limit: usize) -> Vec<Hit> {
    let mut kept: Vec<(Hit, Content)> = Vec::new();
    // Kept passages by shingle, so that only passages with a shingle in common are compared.
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    for hit in hits {
        if kept.len() == limit {
            break;
        }
        let content = Content::of(&hit.passage);
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for &holder in content.shingles.iter().filter_map(|shingle| holders.get(shingle)).flatten()
        {
            *shared.entry(holder).or_default() += 1;
        }
        let repeats = shared.into_iter().any(|(holder, shared)| {
            let (other, theirs) = &kept[holder];
            shared as f64 >= REPEATED_SHARE * content.shingles.len() as f64
                && content.says_no_more_than(theirs)
                // Adjacent chunks overlap, and are merged later.
                && !super::merge::overlap(&other.passage, &hit.passage)
        });
        if !repeats {
            for &shingle in &content.shingles {
                holders.entry(shingle).or_default().push(kept.len());
            }
            kept.push((hit, content));
        }
    }
    kept.into_iter().map(|(hit, _)| hit).collect()
}

/// The features that passages are compared by.
struct Content {
    heading: Vec<String>,
    /// Hashes of consecutive words.
    shingles: BTreeSet<u64>,
    /// Words with a digit: versions of a text differ in dates and amounts.
    figures: BTreeSet<String>,
}

impl Content {
    fn of(passage: &Passage) -> Self {
        let words = terms(&passage.text, TermKind::Exact);
        let hash = |words: &[String]| {
            let mut hasher = DefaultHasher::new();
            words.hash(&mut hasher);
            hasher.finish()
        };
        let shingles = words.windows(SHINGLE_WORDS.min(words.len()).max(1)).map(hash).collect();
        let figure = |word: &String| word.contains(char::is_numeric);
        let heading = terms(&passage.heading(), TermKind::Exact);
        Self { heading, shingles, figures: words.into_iter().filter(figure).collect() }
    }

    /// The same words under another heading are about something else, and a new figure is new
    /// information.
    fn says_no_more_than(&self, other: &Self) -> bool {
        self.heading == other.heading && self.figures.is_subset(&other.figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Markup;
    use crate::index::ChunkId;
    use crate::retrieval::Scores;

    const TEXT: &str = "Người lao động được nghỉ phép mười hai ngày mỗi năm nếu làm đủ mười hai \
        tháng, và được trả nguyên lương trong những ngày đó. Ai làm công việc nặng nhọc được nghỉ \
        mười bốn ngày. Ngày nghỉ chưa dùng có thể chuyển sang quý đầu của năm sau.";

    fn hit(document: &str, heading: &str, span: (usize, usize), text: &str) -> Hit {
        let passage = Passage {
            document: document.to_owned(),
            headings: vec![heading.to_owned()],
            place: None,
            span,
            text: text.to_owned(),
            format: Markup::Plain,
            recognized: false,
            ..Passage::default()
        };
        let scores = Scores { dense: 0.0, bm25: 0.0, fused: 0.0, rerank: None };
        Hit { chunk: ChunkId::new(0), passage, score: 0.0, scores, copies: Vec::new() }
    }

    /// The ids of the documents that survive, given a first hit and `others`.
    fn kept(others: &[(&str, &str, &str)], limit: usize) -> Vec<String> {
        let mut hits = vec![hit("first", "Nghỉ phép", (0, TEXT.len()), TEXT)];
        hits.extend(
            others
                .iter()
                .map(|(document, heading, text)| hit(document, heading, (0, text.len()), text)),
        );
        distinct(hits, limit).into_iter().map(|hit| hit.passage.document).collect()
    }

    #[test]
    fn copies_versions_and_parts_of_a_text_are_left_out() {
        let version = TEXT.replace("nặng nhọc", "độc hại");
        let part = &TEXT[TEXT.find("Ai làm").unwrap()..];
        let loud = TEXT.to_uppercase().replace(' ', "\n");
        for text in [TEXT, &version, part, &loud] {
            assert_eq!(kept(&[("copy", "nghỉ phép", text)], 5), ["first"], "{text}");
        }
    }

    #[test]
    fn what_says_something_more_stays() {
        let longer = format!("{TEXT} {}", "Quy định này có hiệu lực với mọi chi nhánh. ".repeat(4));
        let figure = TEXT.replace("mười bốn ngày", "14 ngày");
        for (heading, text) in [
            ("Nghỉ phép", longer.as_str()),
            ("Nghỉ phép", &figure),
            ("Nghỉ phép", "Người lao động được nghỉ phép khi kết hôn."),
            ("Nghỉ phép ở chi nhánh Huế", TEXT),
            ("Nghỉ phép", ""),
        ] {
            assert_eq!(kept(&[("other", heading, text)], 5), ["first", "other"], "{text}");
        }
    }

    #[test]
    fn the_next_candidates_take_the_freed_places() {
        let others = [
            ("copy", "Nghỉ phép", TEXT),
            ("b", "B", "Một."),
            ("c", "C", "Hai."),
            ("d", "D", "Ba."),
        ];
        assert_eq!(kept(&others, 3), ["first", "b", "c"]);
        assert_eq!(kept(&others, 0), [""; 0]);
    }

    #[test]
    fn neighbours_in_one_document_are_left_to_merging() {
        let end = TEXT.len();
        let hits = vec![hit("a", "H", (0, end), TEXT), hit("a", "H", (10, end + 10), TEXT)];
        assert_eq!(distinct(hits, 5).len(), 2);
        // The same text elsewhere in the document is a duplicate.
        let hits = vec![hit("a", "H", (0, end), TEXT), hit("a", "H", (end + 9, 2 * end + 9), TEXT)];
        assert_eq!(distinct(hits, 5).len(), 1);
    }
}
