use std::cell::Cell;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::cut::MAX_BYTES_PER_TOKEN;
use super::*;
use crate::documents::structure::Structure;
use crate::documents::{Document, FileName, Markup, Place};

/// Like a real tokenizer: words of up to four letters, longer ones in parts.
fn count(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum()
}

fn document(text: &str, format: Markup) -> Document {
    Document {
        id: "/a".into(),
        title: None,
        name: FileName::default(),
        keywords: String::new(),
        tags: Vec::new(),
        text: text.into(),
        format,
        structure: Structure::default(),
    }
}

fn small(max_tokens: usize, overlap_tokens: usize) -> ChunkSettings {
    ChunkSettings { max_tokens, overlap_tokens, max_heading_tokens: 16 }
}

fn texts<'d>(document: &'d Document, settings: &ChunkSettings) -> Vec<&'d str> {
    let chunks = chunk(document, settings, &count);
    chunks.iter().map(|chunk| &document.text[chunk.span.clone()]).collect()
}

/// What must hold for any document, settings and counter. Returns the chunks.
fn check(
    document: &Document,
    settings: &ChunkSettings,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Chunk> {
    let text = &document.text;
    let chunks = chunk(document, settings, count);
    let mut covered = vec![false; text.len()];
    let mut last_start = 0;
    for chunk in &chunks {
        let part = &text[chunk.span.clone()];
        assert_eq!(part, part.trim());
        assert!(!part.is_empty());
        let whole = chunk.text(document);
        assert!(
            count(&whole) <= settings.max_tokens.max(1) || whole.chars().count() == 1,
            "{} tokens: {whole:?}",
            count(&whole)
        );
        assert!(chunk.header.as_ref().is_none_or(|header| header.end < chunk.span.start));
        assert!(part.len() < MAX_BYTES_PER_TOKEN * (settings.max_tokens.max(1) + 1));
        assert!(chunk.span.start >= last_start);
        last_start = chunk.span.start;
        covered[chunk.span.clone()].fill(true);
        let line = |at: usize| text[..at].matches('\n').count() as u32 + 1;
        if text.len() < 1 << 16 {
            let lines = Place::Lines(line(chunk.span.start), line(chunk.span.end));
            assert_eq!(chunk.place, Some(lines));
        }
        let heading_tokens: usize = chunk.headings.iter().map(|h| count(h) + 1).sum();
        assert!(heading_tokens <= settings.max_heading_tokens);
    }
    let has_headings = document.sections().any(|section| section.heading.is_some());
    if !has_headings && !text.starts_with("---") {
        for (at, character) in text.char_indices() {
            assert!(covered[at] || character.is_whitespace(), "byte {at} is in no chunk");
        }
    }
    chunks
}

#[test]
fn small_sections_are_chunks_of_their_own() {
    let text = "# A\r\nmột\r\n\r\nhai\r\n## B\r\n- ba\r\n- bốn\r\n\r\n# C\r\n# D\r\nnăm\r\n";
    let mut document = document(text, Markup::Markdown);
    document.title = Some("Tựa".into());
    let chunks = check(&document, &ChunkSettings::default(), &count);
    let found: Vec<_> =
        chunks.iter().map(|c| (&text[c.span.clone()], c.headings.join(" > "), c.place)).collect();
    assert_eq!(
        found,
        [
            ("một\r\n\r\nhai", "Tựa > A".to_owned(), Some(Place::Lines(2, 4))),
            ("- ba\r\n- bốn", "Tựa > A > B".to_owned(), Some(Place::Lines(6, 7))),
            ("# C", "Tựa".to_owned(), Some(Place::Lines(9, 9))),
            ("năm", "Tựa > D".to_owned(), Some(Place::Lines(11, 11))),
        ]
    );
}

#[test]
fn the_title_is_not_repeated_as_heading() {
    let mut document = document("# Tựa\n## A\nx", Markup::Markdown);
    document.title = Some("Tựa".into());
    let chunks = chunk(&document, &ChunkSettings::default(), &count);
    assert_eq!(chunks[0].headings, ["Tựa", "A"]);
}

#[test]
fn headings_without_text_are_chunks() {
    let deep: String = (0..10_000).fold(String::new(), |mut text, n| {
        writeln!(text, "{} {n}", "#".repeat(n % 7 + 1)).unwrap();
        text
    });
    // Seven `#` do not make a heading.
    let chunks = check(&document(&deep, Markup::Markdown), &ChunkSettings::default(), &count);
    assert!(chunks.iter().all(|chunk| chunk.headings.len() <= 6));
    // The last four headings have no text below them.
    assert_eq!(chunks.len(), 10_000 / 7 + 1);
    let found = |text: &str| -> Vec<(String, String)> {
        chunk(&document(text, Markup::Markdown), &ChunkSettings::default(), &count)
            .into_iter()
            .map(|chunk| (text[chunk.span].to_owned(), chunk.headings.join(" > ")))
            .collect()
    };
    for (text, expected) in [
        ("", &[][..]),
        ("\n\n", &[]),
        ("#\n## \n", &[]),
        ("---\ntitle: x\n---\n", &[("title: x", "")]),
        ("# A", &[("# A", "")]),
        ("# A\n## B\n", &[("## B", "A")]),
        // Those that follow on each other are like a list.
        ("# A\n## B\n## C\n# D\n", &[("## B\n## C", "A"), ("# D", "")]),
        ("# A\n### B\n### C\nx", &[("### B", "A"), ("x", "A > C")]),
        ("## A\n# B\nx", &[("## A", ""), ("x", "B")]),
        ("# A\n# A\n## B\nx", &[("# A", ""), ("x", "A > B")]),
        ("x\n\nMã là 8899\n---", &[("x", ""), ("Mã là 8899\n---", "")]),
    ] {
        let found = found(text);
        let found: Vec<_> = found.iter().map(|(text, path)| (&**text, &**path)).collect();
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn a_heading_that_does_not_fit_above_its_chunks_is_text_too() {
    let text = "# a b c d e f g h\n## i j k\nx\n# l m n o p q r s\ny";
    let document = document(text, Markup::Markdown);
    let settings = ChunkSettings { max_heading_tokens: 6, ..ChunkSettings::default() };
    let chunks = check(&document, &settings, &count);
    let found: Vec<_> =
        chunks.iter().map(|c| (&text[c.span.clone()], c.headings.join(" > "))).collect();
    assert_eq!(
        found,
        [
            ("# a b c d e f g h", String::new()),
            ("x", "i j k".to_owned()),
            ("# l m n o p q r s\ny", "l m n o p".to_owned()),
        ]
    );
}

#[test]
fn each_piece_of_a_table_begins_with_its_header() {
    let rows = |n: usize| (0..n).fold(String::new(), |rows, n| rows + &format!("| {n} | x y |\n"));
    let header = "| mã | tên |\n|----|-----|";
    let text = format!("# A\nmở đầu\n\n{header}\n{}\nhết.", rows(60));
    let document = document(&text, Markup::Markdown);
    let chunks = check(&document, &small(60, 20), &count);
    assert!(chunks.len() > 5);
    for chunk in &chunks {
        assert_eq!(chunk.text(&document).matches(header).count(), 1);
    }
    // Rows are not repeated, and the place is that of the rows.
    assert!(chunks.windows(2).all(|pair| pair[0].span.end < pair[1].span.start));
    let last = text.lines().count() as u32;
    assert!(matches!(chunks[4].place, Some(Place::Lines(8.., end)) if end < last));
    // A row that is cut has its header above each part.
    let long = format!("{header}\n| 1 | {} |\n", "x ".repeat(200));
    let document = self::document(&long, Markup::Markdown);
    let chunks = check(&document, &small(60, 20), &count);
    assert!(chunks.len() > 3);
    assert!(chunks.iter().all(|chunk| chunk.text(&document).contains(header)));
}

#[test]
fn a_header_over_half_of_the_limit_is_not_repeated() {
    let header = format!("|{}\n|{}\n", " x |".repeat(20), "-|".repeat(20));
    let text = format!("{header}{}", "| a b c |\n".repeat(40));
    let document = document(&text, Markup::Markdown);
    let chunks = check(&document, &small(60, 0), &count);
    assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.header.is_none()));
}

/// A section of more pieces than are divided at once.
#[test]
fn a_section_of_any_length_is_cut_alike() {
    let text = "a a a a a a a.\n".repeat(100_000);
    let document = document(&text, Markup::Code);
    let chunks = check(&document, &small(100, 20), &count);
    let lines = |chunk: &Chunk| text[chunk.span.clone()].lines().count();
    assert!(chunks.iter().all(|chunk| (12..=14).contains(&lines(chunk))));
    assert!(chunks.windows(2).all(|pair| pair[1].span.start < pair[0].span.end));
}

#[test]
fn blocks_stay_whole_where_they_can() {
    let text = "a a a. b b b.\n\nc c c. d d d.\n\ne e e e. f f f f.";
    let document = document(text, Markup::Plain);
    let settings = small(15, 0);
    check(&document, &settings, &count);
    assert_eq!(
        texts(&document, &settings),
        ["a a a. b b b.\n\nc c c. d d d.", "e e e e. f f f f."]
    );
}

#[test]
fn a_long_paragraph_is_cut_between_sentences_and_overlaps() {
    let sentence = |n: usize| format!("Câu số {n} có sáu từ.");
    let text = (10..40).map(sentence).collect::<Vec<_>>().join(" ");
    let document = document(&text, Markup::Plain);
    let settings = small(50, 14);
    let chunks = check(&document, &settings, &count);
    assert!(chunks.len() > 3);
    for pair in chunks.windows(2) {
        assert!(text[pair[0].span.clone()].ends_with('.'));
        let shared = &text[pair[1].span.start..pair[0].span.end];
        // Two sentences of six tokens each are within 14, three are not.
        assert_eq!(shared.matches("Câu").count(), 2, "{shared:?}");
        assert!(shared.starts_with("Câu"));
    }
    let without = check(&document, &small(50, 0), &count);
    assert!(without.windows(2).all(|pair| pair[0].span.end < pair[1].span.start));
}

#[test]
fn sections_do_not_overlap() {
    let text = "# A\nmột. Hai.\n# B\nba.";
    let document = document(text, Markup::Markdown);
    assert_eq!(texts(&document, &small(10, 5)), ["một. Hai.", "ba."]);
}

#[test]
fn no_crumb_is_left_at_the_end() {
    // 105 sentences of 3 tokens: 315, then one more paragraph of 9.
    let text = format!("{}\n\n{}", "Một hai ba. ".repeat(105).trim(), "x ".repeat(9));
    let document = document(&text, Markup::Plain);
    let chunks = check(&document, &ChunkSettings::default(), &count);
    assert_eq!(chunks.len(), 2);
    let tokens = chunks.iter().map(|c| count(&text[c.span.clone()]));
    assert!(tokens.min() > Some(100));
}

#[test]
fn code_is_cut_between_lines() {
    let text = format!("```\n{}```\n", "let a = 1 ;\n".repeat(20));
    let document = document(&text, Markup::Markdown);
    let chunks = check(&document, &small(24, 0), &count);
    assert!(chunks.len() > 3);
    assert!(chunks[1..].iter().all(|c| text[c.span.clone()].starts_with("let a")));
}

#[test]
fn headings_keep_to_their_tokens_innermost_first() {
    let text = "# một hai ba\n## bốn năm\n### sáu\nx\n# a b c d e f g h\ny";
    let document = document(text, Markup::Markdown);
    let settings = ChunkSettings { max_heading_tokens: 6, ..ChunkSettings::default() };
    let chunks = check(&document, &settings, &count);
    assert!(chunks[0].headings.is_empty());
    assert_eq!(chunks[1].headings, ["bốn năm", "sáu"]);
    assert_eq!(chunks[2].headings, ["a b c d e"]);
    let none = ChunkSettings { max_heading_tokens: 0, ..ChunkSettings::default() };
    assert!(check(&document, &none, &count).iter().all(|c| c.headings.is_empty()));
}

#[test]
fn no_counter_and_no_settings_break_the_rules() {
    let vietnamese = "Tie\u{302}\u{301}ng Vie\u{323}\u{302}t la\u{300} ngôn ngữ. Đơn lập! ";
    let text = format!("{}\n\n- {}\n\n{}", vietnamese.repeat(30), "x".repeat(999), "。".repeat(99));
    let characters = |text: &str| text.chars().count();
    // More for the whole than for the parts together.
    let squared = |text: &str| text.len() * text.len() / 64;
    let odd = |text: &str| if text.len().is_multiple_of(7) { 9999 } else { 1 };
    let counters: [&dyn Fn(&str) -> usize; 6] =
        [&count, &characters, &squared, &odd, &|_| 0, &|_| usize::MAX];
    for format in [Markup::Markdown, Markup::Plain] {
        let text = if format == Markup::Markdown { text.replace('-', "+") } else { text.clone() };
        let document = document(&text, format);
        for (max, overlap) in [(0, 0), (1, 9), (7, 3), (40, 39), (320, 40), (320, usize::MAX)] {
            for counter in counters {
                check(&document, &small(max, overlap), counter);
            }
        }
    }
}

#[test]
fn hostile_text_ends_in_linear_time() {
    const SIZE: usize = 1 << 20;
    let fill = |part: &str| part.repeat(SIZE / part.len());
    let texts = [
        fill("x"),
        fill("ế"),
        fill("\u{301}"),
        fill("a\n\n"),
        fill("a. "),
        fill("A. "),
        fill("1? "),
        fill("1?"),
        fill("**"),
        fill("> "),
        fill("- "),
        fill("- a\n"),
        fill("[a]: b\n"),
        fill("[^a]: b\n"),
        fill("# a\nb\n"),
        fill("a\n---\n"),
        fill("|a"),
        fill("|a|b|\n|-|-|\n"),
        fill("`"),
        fill("![["),
        fill("<a "),
        fill("<!--"),
        fill("$$a"),
        format!("```\n{}", fill("x y\n")),
        format!("---\n{}", fill("a: b\n")),
        format!("a{}b", " ".repeat(SIZE)),
        (0..500).flat_map(|depth| [" ".repeat(depth * 2), "- x\n".to_owned()]).collect(),
    ];
    for text in &texts {
        for format in [Markup::Markdown, Markup::Plain] {
            let bytes = Cell::new(0);
            let counter = |text: &str| {
                bytes.set(bytes.get() + text.len());
                count(text)
            };
            let begin = Instant::now();
            chunk(&document(text, format), &ChunkSettings::default(), &counter);
            let _ = (sentences(text), Markup::Markdown.readable(text));
            let sample: String = text.chars().take(12).collect();
            let took = begin.elapsed();
            assert!(bytes.get() < 8 * SIZE, "{sample:?}: counted {} bytes", bytes.get());
            assert!(took < Duration::from_secs(20), "{sample:?}: {took:?}");
        }
    }
}

#[test]
fn markdown_is_covered_but_for_headings_and_front_matter() {
    let text = "---\ntitle: x\n---\nmở [a]\n\n[a]: http://b\n\n# H {#id}\n\
                > trích\n> > sâu\n\n1. một\n\n   hai\n   * ba\n\n<p>\nhtml\n</p>\n\n***\n\n\
                | a |\n|---|\n| b |\n\nchú[^1]\n\n[^1]: thích\n\n[x]: y\n";
    let document = document(text, Markup::Markdown);
    for max in [3, 10, 320] {
        let mut covered = vec![false; text.len()];
        let settings = ChunkSettings { max_tokens: max, ..ChunkSettings::default() };
        for chunk in chunk(&document, &settings, &count) {
            covered[chunk.span].fill(true);
        }
        let left: String = text
            .char_indices()
            .filter(|&(at, character)| !covered[at] && !character.is_whitespace())
            .map(|(_, character)| character)
            .collect();
        assert_eq!(left, "---title:x---#H{#id}");
    }
}
