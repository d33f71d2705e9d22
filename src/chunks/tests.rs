use std::cell::Cell;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::cut::MAX_BYTES_PER_TOKEN;
use super::*;
use crate::documents::structure::Structure;
use crate::documents::{Document, Markup, Place};

/// Like a real tokenizer: words of up to four letters, longer ones in parts.
fn count(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum()
}

fn document(text: &str, format: Markup) -> Document {
    Document {
        id: "/a".into(),
        title: None,
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
        assert!(
            count(part) <= settings.max_tokens.max(1) || part.chars().count() == 1,
            "{} tokens: {part:?}",
            count(part)
        );
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
    if document.format == Markup::Plain || !text.contains(['#', '=', '-']) {
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
fn only_headings_give_no_chunk() {
    let deep: String = (0..10_000).fold(String::new(), |mut text, n| {
        writeln!(text, "{} {n}", "#".repeat(n % 7 + 1)).unwrap();
        text
    });
    // Seven `#` do not make a heading.
    let chunks = check(&document(&deep, Markup::Markdown), &ChunkSettings::default(), &count);
    assert!(chunks.iter().all(|chunk| chunk.headings.len() <= 6));
    assert_eq!(chunks.len(), 10_000 / 7);
    for text in ["", "# A", "# A\n## B\n", "\n\n", "---\ntitle: x\n---\n"] {
        let document = document(text, Markup::Markdown);
        assert_eq!(chunk(&document, &ChunkSettings::default(), &count), []);
    }
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
    assert_eq!(chunks[0].headings, ["bốn năm", "sáu"]);
    assert_eq!(chunks[1].headings, ["a b c d e"]);
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
        for chunk in chunk(&document, &small(max, 0), &count) {
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
