//! Tables of contents: lists of headings with dots ("leaders") up to page numbers.
//!
//! They repeat what headings say, so they match a question as well as the chapter does, and answer
//! nothing. An entry is left out if its words stand elsewhere as a line of their own; otherwise only
//! its dots are.

use std::collections::HashSet;

use super::sheet::{Part, Sheet};

/// With fewer entries it is no list.
const MIN_ENTRIES: usize = 3;
/// As many other lines may stand between two entries: pieces of formulas, a page's number.
const MAX_GAP: usize = 4;
/// Dots in a row that lead to a page number.
const MIN_DOTS: usize = 3;
/// What numbers of headings follow.
const LABELS: &[&str] = &["chương", "phần", "mục", "bài", "chapter", "part", "section", "appendix"];
/// Headings are shorter.
const MAX_HEADING_CHARS: usize = 200;

/// Leaves tables of contents out of the pages.
pub(super) fn leave_out(pages: &mut [Sheet]) {
    let parts: Vec<&Part> = pages.iter().flat_map(|page| &page.parts).collect();
    let leads = |part: &&Part| part.texts().any(|text| !entries(text).0.is_empty());
    if !parts.iter().any(leads) {
        return;
    }
    let headings = headings(&parts);
    let inside = lists(&parts, &headings);
    let mut at = 0;
    for page in pages {
        page.parts.retain_mut(|part| {
            at += 1;
            !inside[at - 1] || shorten(part, &headings)
        });
    }
}

/// The words of lines that stand for themselves and lead nowhere.
fn headings(parts: &[&Part]) -> HashSet<String> {
    let lines = parts.iter().filter_map(|part| match part {
        Part::Heading(_, text) | Part::Text(text) | Part::Item(_, _, text) => Some(text.as_str()),
        Part::Table(_) | Part::Code(_) => None,
    });
    lines
        .filter(|text| text.len() <= 4 * MAX_HEADING_CHARS && page_number(text).is_none())
        .filter(|text| entries(text).0.is_empty())
        .map(key)
        .filter(|key| !key.is_empty())
        .collect()
}

/// For each part whether it belongs to a table of contents.
fn lists(parts: &[&Part], headings: &HashSet<String>) -> Vec<bool> {
    let mut inside = vec![false; parts.len()];
    // The first and the last part of the list so far, and its entries with dots.
    let mut list: Option<(usize, usize, usize)> = None;
    let mut close = |list: Option<(usize, usize, usize)>| {
        if let Some((first, last, _)) = list.filter(|list| list.2 >= MIN_ENTRIES) {
            inside[first..=last].fill(true);
        }
    };
    for (at, part) in parts.iter().enumerate() {
        let dotted = part.texts().map(|text| entries(text).0.len()).sum::<usize>();
        if dotted == 0 && !is_plain_entry(part, headings) {
            continue;
        }
        list = match list {
            Some((first, last, count)) if at - last <= MAX_GAP => Some((first, at, count + dotted)),
            other => {
                close(other);
                Some((at, at, dotted))
            }
        };
    }
    close(list);
    inside
}

/// Whether it repeats headings with page numbers, without dots.
fn is_plain_entry(part: &Part, headings: &HashSet<String>) -> bool {
    let repeats =
        |text: &str| page_number(text).is_some_and(|(title, _)| headings.contains(&key(title)));
    match part {
        Part::Heading(_, text) | Part::Text(text) | Part::Item(_, _, text) => repeats(text),
        Part::Table(rows) => rows.iter().any(|row| repeats(&row.join(" "))),
        Part::Code(_) => false,
    }
}

/// Takes the entries out of a part of a list. Whether anything is left.
fn shorten(part: &mut Part, headings: &HashSet<String>) -> bool {
    if is_plain_entry(part, headings) && !matches!(part, Part::Table(_)) {
        return false;
    }
    match part {
        Part::Heading(_, text) | Part::Text(text) | Part::Item(_, _, text) => {
            *text = without_entries(text, headings);
            !text.is_empty()
        }
        Part::Table(rows) => {
            rows.retain_mut(|row| {
                let whole = row.join(" ");
                if page_number(&whole).is_some_and(|(title, _)| headings.contains(&key(title))) {
                    return false;
                }
                for cell in &mut *row {
                    *cell = without_entries(cell, headings);
                }
                row.iter().any(|cell| !cell.is_empty())
            });
            !rows.is_empty()
        }
        Part::Code(_) => true,
    }
}

fn without_entries(text: &str, headings: &HashSet<String>) -> String {
    let (entries, rest) = entries(text);
    if entries.is_empty() {
        return text.to_owned();
    }
    let kept = entries.iter().filter(|(title, _)| !headings.contains(&key(title)));
    let mut lines: Vec<String> = kept.map(|(title, page)| format!("{title} {page}")).collect();
    lines.push(rest.trim().to_owned());
    lines.retain(|line| !line.trim().is_empty());
    lines.join(" ")
}

/// The entries with dots that a text begins with, as titles and page numbers, and what follows.
fn entries(text: &str) -> (Vec<(&str, &str)>, &str) {
    let mut entries = Vec::new();
    let mut rest = text;
    while let Some((title, behind)) = leader(rest) {
        let behind = behind.trim_start();
        let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
        if !is_page_number(&behind[..end]) {
            break;
        }
        entries.push((title.trim(), &behind[..end]));
        rest = &behind[end..];
    }
    (entries, rest)
}

/// What is before and behind the first row of dots.
fn leader(text: &str) -> Option<(&str, &str)> {
    let mut row: Option<(usize, usize)> = None;
    for (at, c) in text.char_indices() {
        let dots = match c {
            '.' | '·' | '•' | '_' | '․' => 1,
            '…' | '‥' => MIN_DOTS,
            c if c.is_whitespace() => continue,
            _ => 0,
        };
        row = match row {
            Some((start, count)) if dots > 0 => Some((start, count + dots)),
            // Three dots end many sentences, so a leader has four.
            Some((start, count)) if count > MIN_DOTS => return Some((&text[..start], &text[at..])),
            _ if dots > 0 => Some((at, dots)),
            _ => None,
        };
    }
    None
}

fn is_page_number(word: &str) -> bool {
    let word = word.trim_matches(|c| matches!(c, '-' | '–' | '(' | ')'));
    (1..=5).contains(&word.len())
        && (word.bytes().all(|c| c.is_ascii_digit()) || word.bytes().all(|c| b"ivxlc".contains(&c)))
}

/// A line without its last word, if that is a page number, and the number.
fn page_number(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_end();
    let start = text.rfind(char::is_whitespace)?;
    let number = text[start..].trim_start();
    is_page_number(number).then_some((&text[..start], number))
}

/// What a heading and its entry have in common: the letters, without "Chương 1" or "1.2" before them.
fn key(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_number = |word: &&str| {
        let word = word.trim_end_matches(['.', ':', ')']);
        is_page_number(word) || !word.contains(char::is_alphabetic)
    };
    let is_label = |word: &&str| LABELS.contains(&word.to_lowercase().as_str());
    let labelled =
        usize::from(words.first().is_some_and(is_label) && words.get(1).is_some_and(is_number));
    let numbers = words[labelled..].iter().take_while(|word| is_number(word)).count();
    let letters = |words: &[&str]| -> String {
        let letters = words.iter().flat_map(|word| word.chars()).filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let title = letters(&words[labelled + numbers..]);
    if title.is_empty() { letters(&words) } else { title }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(parts: Vec<Part>) -> Vec<String> {
        let mut pages = [Sheet { parts, ..Sheet::default() }];
        leave_out(&mut pages);
        pages[0].parts.iter().map(|part| part.texts().collect::<Vec<_>>().join(" | ")).collect()
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn heading(text: &str) -> Part {
        Part::Heading(1, text.to_owned())
    }

    #[test]
    fn entries_that_repeat_headings_are_left_out() {
        let table = |rows: &[[&str; 3]]| {
            Part::Table(
                rows.iter().map(|row| row.iter().map(|&cell| cell.into()).collect()).collect(),
            )
        };
        let found = left(vec![
            heading("Mục lục"),
            heading("1 Mở đầu 1"),
            text("1.1 Tên gọi . . . . . . . . . 1"),
            text("A"),
            text("1.2 Trình bày ......................... 12 1.3 Các gói …………… 14"),
            table(&[["1.4", "Khoảng trắng", "15"], ["1.5", "Bảng giá", "16"]]),
            text("Phụ lục: hình vẽ ..... xii"),
            heading("1 Mở đầu"),
            heading("1.1 Tên gọi"),
            text("Trình bày"),
            heading("1.3 Các gói"),
            heading("1.4 Khoảng trắng"),
            text("Dấu chấm lửng (....) 5"),
        ]);
        let expected = [
            "Mục lục",
            "A",
            "1.5 | Bảng giá | 16",
            "Phụ lục: hình vẽ xii",
            "1 Mở đầu",
            "1.1 Tên gọi",
            "Trình bày",
            "1.3 Các gói",
            "1.4 Khoảng trắng",
            "Dấu chấm lửng (....) 5",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_list_stays() {
        for lines in [
            vec!["Họ tên ........ 7", "Họ tên"],
            vec!["Táo 5", "Lê 7", "Táo", "Lê"],
            vec!["Và rồi... 5 năm sau", "Rồi...", "Thôi... 3", "Ừ... 4 người"],
        ] {
            assert_eq!(left(lines.iter().copied().map(text).collect()), lines);
        }
    }

    #[test]
    fn a_row_of_dots_takes_linear_time() {
        let dots = ". ".repeat(1 << 20);
        assert_eq!(left(vec![text(&dots)]).len(), 1);
        let entries = "a .... 1 ".repeat(1 << 16);
        assert_eq!(left(vec![text(&entries), text("a")]), ["a"]);
    }
}
