//! Markdown, which stays as it is written: its source is the document's text, and shows itself what
//! the headings and blocks are.
//!
//! The parser's events carry byte offsets, so a `#` in a code block is not a heading and the spans
//! are exact. Only the places where blocks *begin* are taken from it: a block lasts until the next
//! one begins, so no byte between two headings can get lost (list markers, link definitions, …).

mod front_matter;
mod keywords;
mod parts;
mod readable;

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use front_matter::front_matter;
use parts::parts;
pub(crate) use readable::readable;

use super::plain_text;
use crate::documents::Markup;
use crate::documents::contents::Contents;
use crate::documents::error::ReadError;
use crate::documents::section::{Block, BlockKind, HeadingPath, Section};
use crate::documents::structure::{Marks, Places};
use crate::documents::title::{MAX_TITLE_CHARS, tidy_title};

/// What people write in notes, beyond `CommonMark`. Front matter is missing: the parser would accept
/// it anywhere and swallow the text between two `---` rules.
const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_HEADING_ATTRIBUTES)
    .union(Options::ENABLE_MATH)
    .union(Options::ENABLE_GFM)
    .union(Options::ENABLE_WIKILINKS);

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let mut extract = plain_text::extract(file, path, Markup::Markdown)?;
    extract.title = front_matter::title(&extract.text);
    let matter = front_matter(&extract.text);
    if let Some(matter) = matter {
        let yaml = &extract.text[matter.yaml];
        (extract.keywords, extract.tags) = (keywords::keywords(yaml), keywords::tags(yaml));
    }
    if let Some((rest, marks)) = without_comments(&extract.text) {
        extract.text = rest;
        extract.structure.places = Places::Lines(marks);
    }
    Ok(Contents::One(extract))
}

/// The sections of a Markdown document, each with its heading path. Front matter is in no block, if
/// there is anything else, nor are headings, unless they say more than their titles do.
pub(crate) fn sections(text: &str) -> impl Iterator<Item = Section> {
    let matter = front_matter(text);
    let body = matter.as_ref().map_or(0, |matter| matter.end);
    // A note may say all that it has to say in its front matter.
    let only = matter.filter(|_| text[body..].trim().is_empty()).map(|matter| Section {
        headings: Vec::new(),
        heading: None,
        blocks: vec![Block { span: matter.yaml, kind: BlockKind::Lines }],
    });
    let mut path = HeadingPath::default();
    let found = parts(text, body).flat_map(move |part| sections_of(text, part, &mut path));
    only.into_iter().chain(found)
}

/// The sections of a part of a document; `path` are the headings above it, and then those at its end.
fn sections_of(text: &str, part: Range<usize>, path: &mut HeadingPath) -> Vec<Section> {
    let mut outline = Outline::new(&text[..part.end], part.start, std::mem::take(path));
    // Headings inside quotes and lists structure the quote, not the document.
    let mut depth = 0_usize;
    let mut heading: Option<String> = None;
    let mut links = false;
    for (event, range) in Parser::new_ext(&text[part.clone()], OPTIONS).into_offset_iter() {
        let range = range.start + part.start..range.end + part.start;
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) if depth == 0 => {
                depth += 1;
                heading = Some(String::new());
                links = false;
            }
            (Event::End(TagEnd::Heading(level)), Some(title)) if depth == 1 => {
                depth -= 1;
                outline.heading(level as usize, title, range, links);
                heading = None;
            }
            (Event::Start(Tag::Table(_)), None) => {
                depth += 1;
                outline.table(range);
            }
            (Event::Start(Tag::Link { dest_url, .. }), Some(title)) => {
                depth += 1;
                links |= !dest_url.starts_with('#') && !title.contains(&*dest_url);
            }
            (Event::Start(tag), inside) => {
                depth += 1;
                if inside.is_none()
                    && let Some(kind) = block_kind(&tag)
                {
                    outline.block(range.start, kind);
                }
            }
            (Event::End(_), _) => depth = depth.saturating_sub(1),
            (Event::Rule, _) => outline.block(range.start, BlockKind::Prose),
            (Event::SoftBreak | Event::HardBreak, Some(title)) => title.push(' '),
            (
                Event::Text(part)
                | Event::Code(part)
                | Event::InlineMath(part)
                | Event::DisplayMath(part),
                Some(title),
            ) => title.push_str(&part),
            _ => {}
        }
    }
    let (sections, above) = outline.finish();
    *path = above;
    sections
}

/// Markdown without its HTML comments, which are notes to the author, and where the lines of the file
/// are in it; `None` if it has no comments.
fn without_comments(text: &str) -> Option<(String, Marks)> {
    if !text.contains("<!--") {
        return None;
    }
    let body = front_matter(text).map_or(0, |matter| matter.end);
    let mut comments: Vec<Range<usize>> = Vec::new();
    let mut block: Option<Range<usize>> = None;
    let events = parts(text, body).flat_map(|part| {
        let start = part.start;
        let events = Parser::new_ext(&text[part], OPTIONS).into_offset_iter();
        events.map(move |(event, range)| (event, range.start + start..range.end + start))
    });
    for (event, range) in events {
        match event {
            // A block comes line by line, and a comment may span several.
            Event::Start(Tag::HtmlBlock) => block = Some(range.start..range.start),
            Event::Html(_) => {
                if let Some(block) = &mut block {
                    block.end = range.end;
                }
            }
            Event::End(TagEnd::HtmlBlock) => {
                comments
                    .extend(block.take().into_iter().flat_map(|block| comments_in(text, block)));
            }
            Event::InlineHtml(_) => comments.extend(comments_in(text, range)),
            _ => {}
        }
    }
    if comments.is_empty() {
        return None;
    }
    let mut rest = String::with_capacity(text.len());
    let mut marks = Marks::new();
    let (mut position, mut line) = (0, 1);
    comments.push(text.len()..text.len());
    for comment in comments {
        for kept in text[position..comment.start.max(position)].split_inclusive('\n') {
            marks.push((rest.len(), line));
            rest.push_str(kept);
            line += u32::from(kept.ends_with('\n'));
        }
        let end = comment.end.max(position);
        line += u32::try_from(text[comment.start..comment.end].matches('\n').count()).unwrap_or(0);
        position = end;
        // A comment that had its lines to itself leaves no blank line.
        let alone = rest.is_empty() || rest.ends_with('\n');
        if alone && text[end..].starts_with('\n') {
            position += 1;
            line += 1;
        }
    }
    Some((rest, marks))
}

/// The comments in a piece of HTML; one that does not end does not count.
fn comments_in(text: &str, html: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut position = html.start;
    while let Some(open) = text[position..html.end].find("<!--").map(|at| position + at) {
        let Some(close) = text[open + 4..html.end].find("-->") else { break };
        position = open + 4 + close + 3;
        found.push(open..position);
    }
    found
}

/// How to cut the block that a tag opens; `None` for markup inside a block.
fn block_kind(tag: &Tag) -> Option<BlockKind> {
    match tag {
        Tag::Paragraph
        | Tag::Heading { .. }
        | Tag::BlockQuote(_)
        | Tag::List(_)
        | Tag::Item
        | Tag::FootnoteDefinition(_) => Some(BlockKind::Prose),
        Tag::CodeBlock(_) | Tag::HtmlBlock => Some(BlockKind::Lines),
        _ => None,
    }
}

/// Whether a heading is a paragraph that happens to stand right above a `---` line: one of several
/// lines, or one that ends as a sentence does.
fn is_sentence_above_a_rule(heading: &str) -> bool {
    let Some((paragraph, rule)) = heading.trim_end().rsplit_once('\n') else { return false };
    let is_rule = rule.contains('-') && rule.trim().bytes().all(|byte| byte == b'-');
    let end = paragraph.trim_end().trim_end_matches(['*', '_', '`', '~', '"', '”', '’', ')', '»']);
    is_rule && (paragraph.contains('\n') || end.ends_with(['.', '!', '…', ';', ',', '。', '！']))
}

/// Sections under construction.
struct Outline<'t> {
    text: &'t str,
    sections: Vec<Section>,
    path: HeadingPath,
    /// Where the heading of the current section is.
    heading: Option<Range<usize>>,
    /// Line starts at which the blocks of the current section begin.
    starts: Vec<(usize, BlockKind)>,
    /// End of the line at which the last block begins.
    line_end: usize,
}

impl<'t> Outline<'t> {
    /// The sections of a text from `body` on, below the headings of `path`.
    fn new(text: &'t str, body: usize, path: HeadingPath) -> Self {
        let mut outline = Self {
            text,
            sections: Vec::new(),
            path,
            heading: None,
            starts: Vec::new(),
            line_end: 0,
        };
        outline.open(body);
        outline
    }

    /// Whatever comes first in a section belongs to a block, even if the parser does not mention it.
    fn open(&mut self, start: usize) {
        self.starts.clear();
        self.starts.push((start, BlockKind::Prose));
        self.line_end = self.end_of_line(start);
    }

    fn end_of_line(&self, position: usize) -> usize {
        self.text[position..].find('\n').map_or(self.text.len(), |length| position + length)
    }

    /// A block whose content begins at `position`. The block begins with its line: before the
    /// content there are only markers of the lists and quotes around it.
    fn block(&mut self, position: usize, kind: BlockKind) {
        let Some(last) = self.starts.last_mut() else { return };
        if position <= self.line_end {
            // An item and its paragraph begin on one line: the innermost says how to cut.
            if position >= last.0 {
                last.1 = kind;
            }
            return;
        }
        let before = &self.text[self.line_end..position];
        let start = self.line_end + before.rfind('\n').map_or(0, |newline| newline + 1);
        self.starts.push((start, kind));
        self.line_end = self.end_of_line(position);
    }

    /// A table with the given source range, whose header is its first line and the rule below it.
    fn table(&mut self, range: Range<usize>) {
        self.block(range.start, BlockKind::Lines);
        let table = &self.text[range.clone()];
        let rule_end = table.match_indices('\n').nth(1).map_or(table.len(), |(at, _)| at + 1);
        if let Some((start, kind)) = self.starts.last_mut() {
            *kind = BlockKind::Table { header: (range.start + rule_end).saturating_sub(*start) };
        }
    }

    /// A heading with the given source range: the current section ends, the next one begins.
    /// `links` if it leads somewhere, which its title does not say.
    fn heading(&mut self, level: usize, title: &str, range: Range<usize>, links: bool) {
        // To Markdown a paragraph right above a `---` line is a heading, but seldom to its author.
        let source = &self.text[range.clone()];
        if title.chars().nth(MAX_TITLE_CHARS).is_some() || is_sentence_above_a_rule(source) {
            self.block(range.start, BlockKind::Prose);
            return;
        }
        self.close(range.start);
        let title = tidy_title(title);
        let is_text = links || (title.is_none() && source.contains(char::is_alphanumeric));
        self.open(if is_text { range.start } else { range.end });
        self.heading = Some(range).filter(|_| title.is_some() && !is_text);
        self.path.enter(level, title);
    }

    fn close(&mut self, end: usize) {
        let ends = self.starts.iter().skip(1).map(|&(start, _)| start).chain([end]);
        let blocks: Vec<Block> = self
            .starts
            .iter()
            .zip(ends)
            .map(|(&(start, kind), end)| Block { span: start..end, kind })
            .filter(|block| {
                self.text.get(block.span.clone()).is_some_and(|text| !text.trim().is_empty())
            })
            .collect();
        let heading = self.heading.take();
        if !blocks.is_empty() || heading.is_some() {
            self.sections.push(Section { headings: self.path.titles(), heading, blocks });
        }
    }

    fn finish(mut self) -> (Vec<Section>, HeadingPath) {
        self.close(self.text.len());
        (self.sections, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::BlockKind::{Lines, Prose, Table};
    use super::*;

    fn outline(text: &str) -> Vec<(String, Vec<&str>)> {
        let block = |block: &Block| text[block.span.clone()].trim();
        sections(text)
            .collect::<Vec<_>>()
            .iter()
            .filter(|section| !section.blocks.is_empty())
            .map(|s| (s.headings.join(" > "), s.blocks.iter().map(block).collect()))
            .collect()
    }

    #[test]
    fn headings_make_a_path() {
        let text =
            "mở\n# A\nmột\n\nhai\n### B `x` *y*\nba\n## C {#id}\nbốn\nD\n=\nnăm\n## \nsáu\n### E\n";
        let expected = [
            ("", vec!["mở"]),
            ("A", vec!["một", "hai"]),
            ("A > B x y", vec!["ba"]),
            // The underline makes both lines a heading; that is Markdown.
            ("bốn D", vec!["năm"]),
            ("bốn D", vec!["sáu"]),
        ];
        let expected: Vec<_> = expected.map(|(path, blocks)| (path.to_owned(), blocks)).into();
        assert_eq!(outline(text), expected);
    }

    #[test]
    fn blocks_are_items_code_and_tables() {
        let text = "\
Mở đầu:
- một
  - một rưỡi
- hai

  ```
  # không phải tiêu đề

  mã
  ```
> trích
> ## Tiêu đề trong trích dẫn
> hết

| a | b |
|---|---|
| 1 | 2 |

[ref]: http://example.com

    # mã thụt lề
";
        let sections: Vec<Section> = sections(text).collect();
        assert_eq!(sections.len(), 1);
        let blocks: Vec<(&str, BlockKind)> =
            sections[0].blocks.iter().map(|b| (text[b.span.clone()].trim(), b.kind)).collect();
        assert_eq!(
            blocks,
            [
                ("Mở đầu:", Prose),
                ("- một", Prose),
                ("- một rưỡi", Prose),
                ("- hai", Prose),
                ("```\n  # không phải tiêu đề\n\n  mã\n  ```", Lines),
                ("> trích", Prose),
                ("> ## Tiêu đề trong trích dẫn", Prose),
                ("> hết", Prose),
                (
                    "| a | b |\n|---|---|\n| 1 | 2 |\n\n[ref]: http://example.com",
                    Table { header: "| a | b |\n|---|---|\n".len() }
                ),
                ("# mã thụt lề", Lines),
            ]
        );
    }

    #[test]
    fn comments_go_and_lines_stay() {
        let text = "<!-- a\n\nb -->\n# A\nmột <!-- hai -->ba\n<!--\nc\n-->\n`<!-- d -->`\n\n```\n<!-- e -->\n```\n<!-- f";
        let (rest, marks) = without_comments(text).unwrap();
        assert_eq!(rest, "# A\nmột ba\n`<!-- d -->`\n\n```\n<!-- e -->\n```\n<!-- f");
        let line = |word: &str| {
            let at = rest.find(word).unwrap();
            marks[marks.partition_point(|mark| mark.0 <= at) - 1].1
        };
        assert_eq!(
            [line("# A"), line("ba"), line("`<"), line("```"), line("<!-- f")],
            [4, 5, 9, 11, 14]
        );
        assert_eq!(without_comments("a `<!-- b -->`"), None);
        assert_eq!(without_comments("a"), None);
    }

    #[test]
    fn an_underlined_paragraph_is_text() {
        let paragraph = "câu rất dài ".repeat(40);
        let text = format!("# A\n{}\n---\nb\n", paragraph.trim());
        assert_eq!(outline(&text), [("A".to_owned(), vec![&text[4..text.len() - 3], "b"])]);
    }

    #[test]
    fn a_sentence_above_a_rule_is_text() {
        let text = "# A\nmột\n\nHạn là **31/12.**\n---\nHai dòng\nvà hết\n---\nba";
        let blocks = vec!["một", "Hạn là **31/12.**\n---", "Hai dòng\nvà hết\n---", "ba"];
        assert_eq!(outline(text), [("A".to_owned(), blocks)]);
        let headings = "Hỏi gì?\n---\nmột\n\nTựa\n---\nhai\n\nHết.\n===\nba";
        let paths: Vec<String> = outline(headings).into_iter().map(|section| section.0).collect();
        assert_eq!(paths, ["Hỏi gì?", "Tựa", "Hết."]);
    }

    #[test]
    fn what_a_title_leaves_out_of_a_heading_is_text() {
        let text = "# [Hợp đồng](https://a.vn/77)\nmột\n# <img alt=\"hai\">\n# [B](#b)\nba";
        let expected = [
            ("Hợp đồng", vec!["# [Hợp đồng](https://a.vn/77)", "một"]),
            ("", vec!["# <img alt=\"hai\">"]),
            ("B", vec!["ba"]),
        ];
        assert_eq!(outline(text), expected.map(|(path, blocks)| (path.to_owned(), blocks)));
    }

    #[test]
    fn a_long_document_is_read_in_parts() {
        let text = format!("# A\n## B\n{}## C\nhết", "một hai ba\n\n".repeat(1 << 20));
        let mut sections: Vec<Section> = sections(&text).collect();
        assert!(sections.len() > 3);
        assert_eq!(
            sections.pop().map(|section| section.headings),
            Some(vec!["A".into(), "C".into()])
        );
        assert!(sections[1..].iter().all(|section| section.headings == ["A", "B"]));
        let blocks: usize = sections.iter().map(|section| section.blocks.len()).sum();
        assert_eq!(blocks, 1 << 20);
    }

    #[test]
    fn headings_say_where_they_are() {
        let text = "# A\n## B\nmột\nC\n---\n#\n";
        let sections: Vec<Section> = sections(text).collect();
        let found: Vec<_> = sections
            .iter()
            .map(|s| (s.headings.join(" > "), s.heading.clone().map(|span| text[span].trim())))
            .collect();
        // Only the first line of a paragraph can begin a heading.
        let expected = [("A", "# A"), ("A > B", "## B")];
        assert_eq!(found, expected.map(|(path, source)| (path.to_owned(), Some(source))));
    }

    #[test]
    fn an_unterminated_fence_is_code_to_the_end() {
        let text = "# A\n```\n# b\n\nc";
        assert_eq!(outline(text), [("A".to_owned(), vec!["```\n# b\n\nc"])]);
    }

    #[test]
    fn front_matter_is_not_text() {
        assert_eq!(outline("---\ntitle: x\ntags: [a]\n---\ntext"), [(String::new(), vec!["text"])]);
        let only = [(String::new(), vec!["title: x"])];
        assert_eq!(outline("---\ntitle: x\n---\n"), only);
        assert_eq!(outline("---\nA rule, then text.\n\n---\nmore").len(), 1);
        assert_eq!(outline("---\nkey: no end\n\ntext")[0].1[0], "---");
        assert_eq!(outline("a\n\n---\nkey: value\n\n---\nb")[0].1.len(), 5);
    }
}
