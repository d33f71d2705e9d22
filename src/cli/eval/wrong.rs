//! The questions that went worst, in words: as a part of the table, and for the page.

use crate::measure::eval::{Expected, Found, Misjudged, Wrong};
use crate::terminal::{Lang, shown_name};

/// Most letters of a quote or a heading that are shown.
const MAX_SHOWN: usize = 70;

/// The parts of the table; empty if nothing went wrong.
pub fn lines(worst: &[Wrong], misjudged: &Misjudged, lang: Lang) -> Vec<String> {
    let mut lines = Vec::new();
    if !worst.is_empty() {
        lines.push(String::new());
        lines.push(lang.pick("Xếp hạng kém nhất:", "Ranked worst:").to_owned());
        for wrong in worst {
            lines.push(format!("  {}  {}", wrong.id, wrong.question));
            lines.extend(indented(lang.pick("cần tìm", "expected"), &expected(wrong, lang)));
            lines.extend(indented(lang.pick("tìm được", "found"), &found(wrong, lang)));
        }
    }
    if misjudged.in_all > 0 {
        lines.push(String::new());
        lines.push(misjudged_in_all(misjudged, lang));
        for wrong in &misjudged.surest {
            lines.push(format!("  {}  {}", wrong.id, wrong.question));
            let judged = format!("{}, {:.3}", verdict(wrong, lang), wrong.relevance);
            let found = found(wrong, lang);
            lines.extend(indented(&judged, found.get(..1).unwrap_or_default()));
        }
    }
    lines
}

fn misjudged_in_all(misjudged: &Misjudged, lang: Lang) -> String {
    let (all, listed) = (misjudged.in_all, misjudged.surest.len());
    match lang {
        Lang::Vi if all > listed => format!("Từ chối sai: {all} câu, chắc chắn nhất mà sai là:"),
        Lang::Vi => format!("Từ chối sai: {all} câu:"),
        Lang::En if all > listed => format!("Misjudged: {all} questions; the surest are:"),
        Lang::En => format!("Misjudged: {all} questions:"),
    }
}

/// What was done to it.
pub fn verdict(wrong: &Wrong, lang: Lang) -> &'static str {
    match wrong.refused {
        true => lang.pick("bị từ chối", "refused"),
        false => lang.pick("không bị từ chối", "not refused"),
    }
}

/// A name before a list, one entry a line.
fn indented(name: &str, entries: &[String]) -> Vec<String> {
    let name = format!("{name}: ");
    let blank = " ".repeat(name.chars().count());
    let line = |(at, entry): (usize, &String)| {
        format!("      {}{entry}", if at == 0 { &name } else { &blank })
    };
    entries.iter().enumerate().map(line).collect()
}

/// What the question names; behind the last, where the first of them ranks.
pub fn expected(wrong: &Wrong, lang: Lang) -> Vec<String> {
    let one = |Expected { document, quote }: &Expected| {
        let quote = quote.as_ref().map(|quote| format!(": “{}”", shortened(quote)));
        format!("{}{}", shown_name(document), quote.unwrap_or_default())
    };
    let mut expected: Vec<String> = wrong.outcome.expected.iter().map(one).collect();
    if let Some(last) = expected.last_mut() {
        let rank = wrong.outcome.rank.map(|rank| format!("{} {rank}", lang.pick("hạng", "rank")));
        let rank = rank.unwrap_or_else(|| lang.pick("không tìm thấy", "not found").to_owned());
        *last = format!("{last} – {rank}");
    }
    expected
}

/// The first passages that were found, those that are right with a mark.
pub fn found(wrong: &Wrong, lang: Lang) -> Vec<String> {
    let one = |Found { document, heading, place, relevant }: &Found| {
        let heading = match heading.is_empty() {
            true => String::new(),
            false => format!(": {}", shortened(heading)),
        };
        let mark = if *relevant { " ✓" } else { "" };
        format!("{}{}{heading}{mark}", shown_name(document), lang.place(*place))
    };
    let mut found: Vec<String> = wrong.outcome.found.iter().map(one).collect();
    if found.is_empty() {
        found.push(lang.pick("không có gì", "nothing").to_owned());
    }
    found
}

/// On one line, of which the end says more than the beginning if it is a heading's.
fn shortened(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|it| !it.is_empty())
        .collect();
    let line = words.join(" ");
    let length = line.chars().count();
    match line.char_indices().nth(length.saturating_sub(MAX_SHOWN)) {
        Some((start, _)) if length > MAX_SHOWN => format!("…{}", &line[start..]),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> Wrong {
        serde_json::from_value(serde_json::json!({
            "id": "q1", "question": "Why?", "answerable": true, "relevance": 0.25, "refused": true,
            "ndcg_at_10": {"bm25": 0.0},
            "expected": [{"document": "/n/a.md", "quote": "so\n that"}], "rank": 7,
            "found": [
                {"document": "/n/b.md", "heading": "A > B", "lines": [3, 9], "relevant": false},
                {"document": "/n/a.md", "heading": "", "relevant": true}],
        }))
        .unwrap()
    }

    #[test]
    fn a_question_is_told_with_what_was_expected_and_what_was_found() {
        let misjudged = Misjudged { in_all: 9, surest: vec![wrong()] };
        let told = lines(&[wrong()], &misjudged, Lang::En).join("\n");
        let text = "\nRanked worst:\n  q1  Why?\n      expected: /n/a.md: “so that” – rank 7\n      \
                    found: /n/b.md (lines 3–9): A > B\n             /n/a.md ✓\n\n\
                    Misjudged: 9 questions; the surest are:\n  q1  Why?\n      \
                    refused, 0.250: /n/b.md (lines 3–9): A > B";
        assert_eq!(told, text);
        let vi = lines(&[wrong()], &misjudged, Lang::Vi).join("\n");
        for part in ["Xếp hạng kém nhất", "hạng 7", "(dòng 3–9)", "Từ chối sai: 9 câu"]
        {
            assert!(vi.contains(part), "{part}: {vi}");
        }
    }

    #[test]
    fn what_was_not_found_at_all_is_said_and_nothing_wrong_is_not_mentioned() {
        let mut none = wrong();
        none.outcome.rank = None;
        none.outcome.found.clear();
        let told = lines(&[none], &Misjudged::default(), Lang::En).join("\n");
        assert!(told.contains("– not found") && told.ends_with("found: nothing"), "{told}");
        assert!(lines(&[], &Misjudged::default(), Lang::En).is_empty());
    }

    #[test]
    fn long_headings_keep_their_end() {
        let heading = format!("{} > Điều 5", "x".repeat(100));
        let shown = shortened(&heading);
        assert!(shown.starts_with('…') && shown.ends_with("> Điều 5"), "{shown}");
        assert_eq!(shown.chars().count(), MAX_SHOWN + 1);
        assert_eq!(shortened("a\u{1b}[31m\n b"), "a [31m b");
    }
}
