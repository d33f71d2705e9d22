//! What holds for the chunks of any document, tried on random documents of every format.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rag_query::internals::chunks::{Chunk, ChunkSettings, chunk};
use rag_query::internals::documents::{self, Document, ReadError};
use rag_query::internals::embedding::encoder::TextTokenizer;
use rag_query::internals::index::Passage;
use rag_query::internals::support::random::SplitMix64;

use crate::random::{FileKind, Sample, mutated, pack, sample};

/// How many documents of each format are tried, and how many damaged copies of each.
const SAMPLES: u64 = 24;
const MUTANTS: usize = 10;
/// Tokens that multilingual-e5-small reads, including two of its own.
const WINDOW: usize = 512;

/// The tokenizer of multilingual-e5-small, which `models/prepare-demo` makes.
static TOKENIZER: LazyLock<TextTokenizer> = LazyLock::new(|| {
    let models = std::env::var_os("RAG_QUERY_MODELS").map_or_else(
        || dirs::data_dir().expect("a data folder").join("rag-query/models"),
        PathBuf::from,
    );
    let path = models.join("multilingual-e5-small-q4_0/tokenizer.json");
    assert!(path.is_file(), "{} is missing: run models/prepare-demo", path.display());
    TextTokenizer::load(&path).unwrap()
});

fn count(text: &str) -> usize {
    TOKENIZER.count(text)
}

/// From the usual settings down to chunks of a few letters.
fn all_settings() -> [ChunkSettings; 3] {
    [
        ChunkSettings::default(),
        ChunkSettings { max_tokens: 24, overlap_tokens: 8, max_heading_tokens: 16 },
        ChunkSettings { max_tokens: 1, overlap_tokens: 0, max_heading_tokens: 0 },
    ]
}

fn read(path: &Path) -> Option<Document> {
    let mut documents = documents::read(path);
    let document = documents.next().expect("a file gives something").ok()?;
    // What of the file is left out follows.
    assert!(documents.all(|omitted| omitted.is_err()));
    Some(document)
}

/// First and last line, page, row or second.
fn place(chunk: &Chunk) -> Option<(u32, u32)> {
    chunk.place.map(rag_query::internals::documents::Place::ends)
}

/// The chunks of a document. Checks what has to hold whatever its text is, and, unless it is
/// `reordered`, that places run forward.
fn check(document: &Document, settings: &ChunkSettings, reordered: bool) -> Vec<Chunk> {
    let text = document.text.as_str();
    let chunks = chunk(document, settings, &count);
    let (mut start, mut end, mut lines) = (0, 0, (0, 0));
    for (at, chunk) in chunks.iter().enumerate() {
        let span = chunk.span.clone();
        let part = &text[span.clone()];
        assert!(!part.is_empty() && part == part.trim(), "{part:?}");
        assert!(at == 0 || span.start > start, "{span:?} after {start}..{end}");
        assert!(span.end > end, "{span:?} after {start}..{end}");
        (start, end) = (span.start, span.end);
        let whole = chunk.text(document);
        let tokens = count(&whole);
        assert!(tokens <= settings.max_tokens || whole.chars().count() == 1, "{tokens}: {whole:?}");
        assert!(chunk.header.as_ref().is_none_or(|header| header.end <= span.start), "{whole:?}");
        let headings: usize = chunk.headings.iter().map(|heading| count(heading) + 1).sum();
        assert!(headings <= settings.max_heading_tokens, "{headings}: {:?}", chunk.headings);
        if let Some((first, last)) = place(chunk) {
            assert!(1 <= first && first <= last, "{first} to {last}");
            let runs_forward = lines.0 <= first && lines.1 <= last;
            assert!(reordered || runs_forward, "{first} to {last} after {lines:?}");
            lines = (first, last);
        }
        if *settings == ChunkSettings::default() {
            let passage = Passage {
                document: document.id.clone(),
                text: whole,
                headings: chunk.headings.clone(),
                name: chunk.name.clone(),
                place: chunk.place,
                span: (span.start, span.end),
                format: document.format,
                recognized: false,
                ..Passage::default()
            };
            let read = format!("passage: {}", passage.text_to_embed());
            let tokens = TOKENIZER.encode(&read).unwrap().len();
            assert!(tokens <= WINDOW, "{tokens}: {read:?}");
        }
    }
    chunks
}

/// Checks that every piece of text that was put into a file is in its chunks, under its heading and
/// at its place, that a heading is above its text or text itself, and that nothing but headings is in
/// no chunk.
fn check_parts(sample: &Sample, document: &Document, settings: &ChunkSettings, chunks: &[Chunk]) {
    let text = document.text.as_str();
    let mut last = 0;
    for part in &sample.parts {
        let marker = part.marker.as_str();
        let at = text[last..].find(marker).map(|at| last + at);
        let at = at.unwrap_or_else(|| panic!("{marker} is missing or not in order"));
        last = at;
        let holding: Vec<&Chunk> = chunks.iter().filter(|chunk| chunk.span.contains(&at)).collect();
        assert!(!holding.is_empty(), "{marker} is in no chunk");
        for chunk in holding {
            if let Some(heading) =
                part.heading.as_ref().filter(|_| settings.max_heading_tokens > 20)
            {
                let above = chunk.headings.last();
                assert!(
                    above.is_some_and(|above| above.starts_with(heading)),
                    "{marker} is under {above:?} and not under {heading}"
                );
            }
            let Some((first, last)) = place(chunk) else { continue };
            let stands = sample.line(marker).unwrap_or(part.page);
            assert!(
                first <= stands && stands <= last,
                "{marker}: {stands} is not {first} to {last}"
            );
        }
    }
    let mut covered = vec![false; text.len()];
    for chunk in chunks {
        covered[chunk.span.clone()].fill(true);
    }
    let front_matter = text.strip_prefix("---\n").map_or(0, |rest| rest.find("---\n").unwrap() + 8);
    let mut position = front_matter;
    for line in text[position..].split_inclusive('\n') {
        let visible = line.char_indices().filter(|(_, c)| !c.is_whitespace());
        let left: String =
            visible.filter(|&(at, _)| !covered[position + at]).map(|(_, c)| c).collect();
        let whole: String = line.split_whitespace().collect();
        let heading: String = left.trim_start_matches('#').chars().take("hd0000".len()).collect();
        let is_above = left == whole
            && heading.starts_with("hd")
            && chunks
                .iter()
                .flat_map(|chunk| &chunk.headings)
                .any(|above| above.starts_with(&heading));
        assert!(left.is_empty() || is_above, "in no chunk: {left:?} of {line:?}");
        position += line.len();
    }
}

fn tried(kind: FileKind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("a.{}", kind.extension()));
    let begin = Instant::now();
    let mut chunks_seen = 0;
    for seed in 0..SAMPLES {
        let sample = sample(kind, seed);
        std::fs::write(&path, sample.bytes()).unwrap();
        let failed = std::panic::catch_unwind(|| {
            let document = read(&path).expect("it is whole");
            let left_out = documents::read(&path).filter_map(Result::err);
            let is_text = |error: &ReadError| !matches!(error, ReadError::Embedded { .. });
            assert_eq!(left_out.filter(is_text).count(), 0, "no text is left out");
            let mut seen = 0;
            for settings in all_settings() {
                let chunks = check(&document, &settings, false);
                check_parts(&sample, &document, &settings, &chunks);
                seen += chunks.len();
            }
            seen
        });
        chunks_seen += failed.unwrap_or_else(|_| panic!("{kind:?} of seed {seed}"));
    }
    assert!(chunks_seen > 500, "{chunks_seen}");
    // Each document takes milliseconds, but tests may run unoptimized on a busy machine.
    assert!(begin.elapsed() < Duration::from_mins(10), "{:?}", begin.elapsed());
}

fn survived(kind: FileKind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("a.{}", kind.extension()));
    let settings = &all_settings()[1];
    // Of a table without an end, a page shows what is no part of it above, as browsers do.
    let reordered = matches!(kind, FileKind::Html | FileKind::Epub);
    let (mut read_well, begin) = (0, Instant::now());
    for seed in 0..SAMPLES / 3 {
        let sample = sample(kind, seed);
        let mut random = SplitMix64::new(seed);
        for mutant in 0..MUTANTS {
            // Mostly damages the text inside: other damage ends at a checksum or an unknown encoding.
            let bytes = if mutant % 4 > 0 {
                let mut parts = sample.source.clone();
                let at = random.below(parts.len());
                let changed = mutated(parts[at].1.as_bytes(), &mut random);
                parts[at].1 = String::from_utf8_lossy(&changed).into_owned();
                pack(kind, &parts)
            } else {
                mutated(&sample.bytes(), &mut random)
            };
            std::fs::write(&path, bytes).unwrap();
            let failed = std::panic::catch_unwind(|| {
                read(&path).map(|document| check(&document, settings, reordered)).is_some()
            });
            let read =
                failed.unwrap_or_else(|_| panic!("{kind:?} of seed {seed}, mutant {mutant}"));
            read_well += usize::from(read);
        }
    }
    assert!(read_well > 10, "{read_well}");
    assert!(begin.elapsed() < Duration::from_mins(10), "{:?}", begin.elapsed());
}

#[test]
fn chunks_of_random_markdown() {
    tried(FileKind::Markdown);
}

#[test]
fn chunks_of_random_plain_text() {
    tried(FileKind::Plain);
}

#[test]
fn chunks_of_random_pages() {
    tried(FileKind::Html);
}

#[test]
fn chunks_of_random_docx() {
    tried(FileKind::Docx);
}

#[test]
fn chunks_of_random_books() {
    tried(FileKind::Epub);
}

#[test]
fn chunks_of_random_pdf_files() {
    tried(FileKind::Pdf);
}

#[test]
fn chunks_of_random_tables() {
    [FileKind::Csv, FileKind::Xlsx].into_iter().for_each(tried);
}

#[test]
fn chunks_of_random_records() {
    [FileKind::Json, FileKind::Xml].into_iter().for_each(tried);
}

#[test]
fn chunks_of_random_messages_and_subtitles() {
    [FileKind::Mail, FileKind::Subtitles].into_iter().for_each(tried);
}

#[test]
fn chunks_of_random_office_documents() {
    [FileKind::Odt, FileKind::Rtf].into_iter().for_each(tried);
}

#[test]
fn chunks_of_random_presentations() {
    [FileKind::Odp, FileKind::Pptx].into_iter().for_each(tried);
}

#[test]
fn damaged_files_are_read_or_refused() {
    FileKind::ALL.into_iter().for_each(survived);
}
