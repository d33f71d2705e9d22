//! The blocks of a passage: paragraphs, list items, rows. What introduces a list says nothing without
//! its items, and an item little without what introduces it.

use crate::chunks::sentences;
use crate::index::Passage;

/// A paragraph, a list item or a row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What it is marked with as an item, and the mark itself if its text is without it.
    mark: Option<(Mark, String)>,
    /// Without markup, each on one line; at least one.
    pub sentences: Vec<String>,
    is_row: bool,
}

/// How the items of a list are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Number,
    Letter,
    Bullet,
}

impl Block {
    /// Its text as an item, with its mark.
    pub fn as_item(&self) -> String {
        let mark = self.mark.iter().map(|(_, mark)| mark.as_str()).filter(|mark| !mark.is_empty());
        mark.chain(self.sentences.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    fn last(&self) -> &str {
        self.sentences.last().map_or("", String::as_str)
    }

    /// Whether it introduces what follows.
    pub fn introduces(&self) -> bool {
        self.last().ends_with([':', '：'])
    }

    /// Whether its last sentence may be none: a heading, or the beginning of a sentence that is cut
    /// off. Neither has a sign at its end, but nor have items, rows, and pairs of a name and a value.
    pub fn is_unfinished(&self) -> bool {
        let last = self.last().trim_end_matches(['"', '\'', ')', '”', '’', '»', '*', '_', ']']);
        let is_plain = self.mark.is_none() && !self.is_row && !last.contains(": ");
        is_plain && !last.ends_with(ends_a_sentence)
    }

    fn mark(&self) -> Option<Mark> {
        self.mark.as_ref().map(|&(mark, _)| mark)
    }
}

/// Signs at the end of sentences, and the letters of scripts that have none.
fn ends_a_sentence(c: char) -> bool {
    matches!(
        c,
        '.' | '!' | '?' | '…' | ';' | ':' | '。' | '！' | '？' | '；' | '：' | '।' | '؟' | '۔'
    ) || matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// The blocks of a passage, in order.
pub(super) fn blocks(passage: &Passage) -> Vec<Block> {
    let text = passage.text.as_str();
    let mut blocks: Vec<Block> = Vec::new();
    let mut end = 0;
    for span in sentences(text) {
        let gap = &text[end..span.start];
        let line = gap.rfind('\n').map_or(gap, |at| &gap[at + 1..]);
        let sentence = passage.format.readable(&text[span.clone()]);
        let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        end = span.end;
        if sentence.is_empty() {
            continue;
        }
        let is_row = text[span].starts_with('|');
        let begins = gap.matches('\n').count() > 1 || !line.trim().is_empty() || is_row;
        if let Some(block) = blocks.last_mut().filter(|_| !begins) {
            block.sentences.push(sentence);
        } else {
            let mark = mark(line.trim()).map(|mark| (mark, line.trim().to_owned()));
            let first = sentence.split(' ').next().unwrap_or_default();
            let mark = mark.or_else(|| Some((self::mark(first)?, String::new())));
            blocks.push(Block { mark, sentences: vec![sentence], is_row });
        }
    }
    blocks
}

/// The kind of a mark: `1.`, `(2)`, `a)`, `-`; `None` for any other word.
fn mark(word: &str) -> Option<Mark> {
    let word = word.trim_start_matches(['>', ' ']);
    if matches!(word, "-" | "*" | "+" | "•" | "–" | "—" | "▪" | "◦" | "·") {
        return Some(Mark::Bullet);
    }
    let inner = word.strip_prefix('(').unwrap_or(word).strip_suffix(['.', ')'])?;
    let mut characters = inner.chars();
    let first = characters.next()?;
    match characters.next() {
        _ if inner.len() <= 3 && inner.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Mark::Number)
        }
        None if first.is_lowercase() => Some(Mark::Letter),
        _ => None,
    }
}

/// How many of `blocks` are the items of the list that `introduction`, the block before them,
/// introduces. Without a list it is the next block alone.
pub(super) fn items(introduction: &Block, blocks: &[Block]) -> usize {
    let Some(first) = blocks.first() else { return 0 };
    let Some(mark) = first.mark() else {
        let goes_on = |block: &&Block| block.last().ends_with([';', '；']) && block.mark.is_none();
        let more = blocks.iter().take_while(goes_on).count();
        // The last item ends with a full stop.
        return (more + 1).min(blocks.len());
    };
    if introduction.mark() == Some(mark) {
        return 0;
    }
    // Items of an item's own list are marked in another way.
    let mut is_nested = false;
    let is_item = |block: &&Block| {
        let own = block.mark() == Some(mark);
        let below = is_nested && block.mark.is_some() && block.mark() != introduction.mark();
        if own {
            is_nested = block.introduces();
        }
        own || below
    };
    blocks.iter().take_while(is_item).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Markup;

    fn of(text: &str, format: Markup) -> Vec<Block> {
        blocks(&Passage { text: text.to_owned(), format, ..Passage::default() })
    }

    fn listed(text: &str, format: Markup) -> Vec<String> {
        let blocks = of(text, format);
        let at = blocks.iter().position(Block::introduces).unwrap();
        let count = items(&blocks[at], &blocks[at + 1..]);
        blocks[at + 1..at + 1 + count].iter().map(Block::as_item).collect()
    }

    #[test]
    fn a_list_has_its_items_up_to_what_is_marked_in_another_way() {
        let law =
            "1. Được nghỉ như sau:\n\na) 12 ngày;\n\nđ) 14 ngày. Thêm câu.\n\n2. Khác.\n\na) Nữa.";
        assert_eq!(listed(law, Markup::Plain), ["a) 12 ngày;", "đ) 14 ngày. Thêm câu."]);
        let law =
            "Bảo đảm điều kiện sau đây:\n\n1. Một;\n\n2. Hai:\n\na) Con;\n\n3. Ba.\n\nĐiều 2. Tên";
        assert_eq!(listed(law, Markup::Plain), ["1. Một;", "2. Hai:", "a) Con;", "3. Ba."]);
        let notes = "Cần mang:\n- **áo**\n- giày\n\nHết.";
        assert_eq!(listed(notes, Markup::Markdown), ["- áo", "- giày"]);
    }

    #[test]
    fn without_marks_items_end_with_semicolons_or_there_is_one() {
        let text = "Gồm có:\n\nmột thứ;\n\nhai thứ;\n\nba thứ.\n\nĐoạn khác.";
        assert_eq!(listed(text, Markup::Plain), ["một thứ;", "hai thứ;", "ba thứ."]);
        assert_eq!(listed("Địa chỉ:\n\nSố 5 Lê Lợi.\n\nKhác.", Markup::Plain), ["Số 5 Lê Lợi."]);
        assert_eq!(listed("Cuối cùng:", Markup::Plain), [""; 0]);
        // The next item does not explain this one.
        assert_eq!(listed("1. Một:\n\n2. Hai.", Markup::Plain), [""; 0]);
    }

    #[test]
    fn headings_are_unfinished_and_items_rows_and_values_are_not() {
        let unfinished = |text: &str, format| of(text, format)[0].is_unfinished();
        assert!(unfinished("Điều 27. Kết thúc thời gian thử việc", Markup::Plain));
        for text in ["Một câu.", "“Một câu!”", "Mang theo:", "ĐT: 0912", "a) ba ngày", "สวัสดีครับ"]
        {
            assert!(!unfinished(text, Markup::Plain), "{text}");
        }
        assert!(!unfinished("| a | b |\n|---|---|\n| c | d |", Markup::Markdown));
    }
}
