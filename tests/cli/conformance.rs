//! What every kind of index does: one suite for a directory and for a server.
//!
//! It uses the library with synthetic vectors. With the feature `milvus` each test also runs against a
//! Milvus server, which the tests start (`ci/milvus-check`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rag_query::internals::documents::{Markup, Place};
use rag_query::internals::embedding::codes::{Coder, TokenCodes};
use rag_query::internals::index::update::copy;
use rag_query::internals::index::{
    ChunkId, DocumentState, FileState, Index, IndexError, IndexWriter, Location, Notify, Passage,
    Start, StoredChunk,
};
use rag_query::internals::support::random::SplitMix64;

use crate::harness::synthetic_settings;

const DIM: usize = 16;
/// What the texts are made of.
const WORDS: [&str; 24] = [
    "học",
    "máy",
    "là",
    "gì",
    "ngôn",
    "ngữ",
    "tự",
    "nhiên",
    "token",
    "model",
    "3.5",
    "can't",
    "trí",
    "tuệ",
    "nhân",
    "tạo",
    "dữ",
    "liệu",
    "câu",
    "hỏi",
    "văn",
    "bản",
    "ภาษา",
    "語",
];

/// Runs a test on places of every kind, which it gets by name.
fn everywhere(test: impl Fn(&dyn Fn(&str) -> Location)) {
    let folder = tempfile::tempdir().unwrap();
    test(&|name| Location::Directory(folder.path().join(name)));
    #[cfg(all(feature = "milvus", unix))]
    {
        let server = crate::milvus::Lite::start();
        let quiet = Notify(Arc::new(|_| ()));
        test(&|name| Location::parse(Path::new(&server.index(name)), quiet.clone()).unwrap());
    }
}

fn text(random: &mut SplitMix64, words: u64) -> String {
    (0..words).map(|_| WORDS[random.below(WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn vector(random: &mut SplitMix64) -> Vec<f32> {
    let values: Vec<f32> = (0..DIM).map(|_| random.next() as f32 * 2.0 - 1.0).collect();
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter().map(|v| v / norm).collect()
}

/// What codes the token vectors of [`synthetic_settings`].
fn coder() -> Coder {
    Coder::new(&TokenCodes::FourBit, DIM).unwrap()
}

/// The chunks of a document's version, with what an embedder would make of them.
fn chunks(document: &str, version: u64) -> Vec<StoredChunk> {
    let seed = document.bytes().map(u64::from).sum::<u64>() * 100 + version;
    let mut random = SplitMix64::new(seed);
    (0..=(seed % 4))
        .map(|n| StoredChunk {
            passage: Passage {
                document: document.to_owned(),
                headings: vec![format!("Phần {version}")],
                place: Some(Place::Lines(n as u32, n as u32 + 1)),
                span: (100 * n as usize, 100 * n as usize + 99),
                text: text(&mut random, 20 + 7 * n),
                format: Markup::Plain,
                recognized: false,
                ..Passage::default()
            },
            vector: vector(&mut random),
            tokens: coder()
                .encode(&(0..3 + n).map(|_| vector(&mut random)).collect::<Vec<Vec<f32>>>()),
        })
        .collect()
}

fn file(version: u64) -> FileState {
    FileState { size: version, hash: version.to_string(), reader: 1, ..FileState::default() }
}

fn put(writer: &mut dyn IndexWriter, document: &str, version: u64) {
    writer.remove_document(document);
    let chunks = chunks(document, version);
    let passages: Vec<&Passage> = chunks.iter().map(|chunk| &chunk.passage).collect();
    writer.look_up(&passages).unwrap();
    for StoredChunk { passage, vector, tokens } in &chunks {
        if !writer.add_known(passage).unwrap() {
            writer.add(passage, vector, tokens).unwrap();
        }
    }
    let state =
        DocumentState { hash: version.to_string(), chunks: chunks.len() as u64, tags: Vec::new() };
    writer.finish_document(document, state);
    writer.finish_file(document, file(version));
}

/// An index of documents `0.md` to `n.md`, all in version 1.
fn filled(location: &Location, documents: u64) {
    let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
    for n in 0..documents {
        put(writer.as_mut(), &format!("/{n}.md"), 1);
    }
    writer.publish().unwrap();
    writer.finish().unwrap();
}

/// Every chunk by its document and place.
fn stored(index: &dyn Index) -> BTreeMap<(String, usize), StoredChunk> {
    let mut found = BTreeMap::new();
    index
        .each_chunk(&mut |chunk| {
            let key = (chunk.passage.document.clone(), chunk.passage.span.0);
            assert!(found.insert(key, chunk).is_none(), "a chunk twice");
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    found
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01)
}

/// Asserts that an index is whole and holds the given version of each document, and nothing else.
fn holds(location: &Location, versions: &[(&str, u64)]) {
    let index = location.verify().unwrap();
    let expected: Vec<StoredChunk> =
        versions.iter().flat_map(|(document, version)| chunks(document, *version)).collect();
    let found = stored(index.as_ref());
    assert_eq!((found.len(), index.chunk_count()), (expected.len(), expected.len()));
    assert_eq!(index.document_count().unwrap(), versions.len());
    for chunk in expected {
        let found = &found[&(chunk.passage.document.clone(), chunk.passage.span.0)];
        assert_eq!(found.passage, chunk.passage);
        assert!(close(&found.vector, &chunk.vector));
        assert_eq!(found.tokens.len(), chunk.tokens.len());
        assert_eq!(found.tokens, chunk.tokens);
    }
    let ledger = index.ledger().unwrap();
    let states: Vec<(&str, u64)> = ledger
        .documents()
        .iter()
        .map(|(id, state)| (id.as_str(), state.hash.parse().unwrap()))
        .collect();
    assert_eq!(states, versions);
    for (document, version) in versions {
        assert_eq!(ledger.files().get(*document), Some(&file(*version)));
    }
}

#[test]
fn what_was_written_is_read_back() {
    everywhere(|place| {
        let location = place("written");
        assert!(matches!(location.open().err(), Some(IndexError::Missing(_))));
        filled(&location, 3);
        holds(&location, &[("/0.md", 1), ("/1.md", 1), ("/2.md", 1)]);
        let index = location.open().unwrap();
        assert_eq!(index.settings(), &synthetic_settings(DIM));
        let wanted = &chunks("/1.md", 1)[0];
        let found = index.search(&wanted.passage.text, &wanted.vector, 5).unwrap();
        for hits in [&found.nearest, &found.matching] {
            assert!(hits.is_sorted_by(|a, b| a.1 >= b.1), "{hits:?}");
            assert_eq!(index.passage(hits[0].0).unwrap(), wanted.passage);
        }
        assert!(found.nearest[0].1 > 0.99 && found.matching[0].1 > 1.0);
        let tokens = index.tokens(&[found.nearest[0].0]).unwrap();
        assert_eq!(tokens[0], wanted.tokens);
        assert_eq!(index.coder().unwrap().bytes(), coder().bytes());
        assert_eq!(index.mean_token_vector().unwrap().len(), DIM);
        // Words that occur nowhere, and no words at all.
        for question in ["xylophone", "?!", ""] {
            assert!(index.search(question, &wanted.vector, 5).unwrap().matching.is_empty());
        }
    });
}

#[test]
fn a_changed_document_replaces_the_old_one_and_a_removed_one_is_gone() {
    everywhere(|place| {
        let location = place("changed");
        filled(&location, 4);
        let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
        put(writer.as_mut(), "/1.md", 2);
        writer.remove_document("/2.md");
        writer.remove_file("/2.md");
        writer.remove_file("/3.md");
        writer.publish().unwrap();
        // And once more in the same run.
        put(writer.as_mut(), "/1.md", 3);
        put(writer.as_mut(), "/3.md", 1);
        writer.publish().unwrap();
        writer.finish().unwrap();
        holds(&location, &[("/0.md", 1), ("/1.md", 3), ("/3.md", 1)]);
        location.write_existing().unwrap().compact().unwrap();
        holds(&location, &[("/0.md", 1), ("/1.md", 3), ("/3.md", 1)]);
    });
}

#[test]
fn a_file_that_lost_a_line_is_not_read_again() {
    everywhere(|place| {
        let location = place("line");
        let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
        for line in ["/a.jsonl#1", "/a.jsonl#2"] {
            let chunks = chunks(line, 1);
            for StoredChunk { passage, vector, tokens } in &chunks {
                writer.add(passage, vector, tokens).unwrap();
            }
            let state = DocumentState {
                hash: "1".to_owned(),
                chunks: chunks.len() as u64,
                tags: Vec::new(),
            };
            writer.finish_document(line, state);
        }
        writer.finish_file("/a.jsonl", file(1));
        writer.publish().unwrap();
        writer.remove_document("/a.jsonl#2");
        writer.publish().unwrap();
        writer.finish().unwrap();
        let ledger = location.verify().unwrap().ledger().unwrap();
        assert_eq!(ledger.documents().len(), 1);
        assert_eq!(ledger.files().get("/a.jsonl"), Some(&file(1)));
    });
}

#[cfg(not(feature = "milvus"))]
#[test]
fn a_build_without_milvus_says_so() {
    let index = Path::new("milvus://user:hidden@localhost/notes");
    let refused = Location::parse(index, Notify(Arc::new(|_| ()))).unwrap_err();
    assert!(refused.hint().contains("--features milvus"), "{refused}");
}

#[test]
fn a_text_that_was_embedded_before_is_known() {
    everywhere(|place| {
        let location = place("known");
        filled(&location, 1);
        let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
        let mut moved = chunks("/0.md", 1).remove(0);
        moved.passage.document = "/moved.md".to_owned();
        let other = chunks("/other.md", 1).remove(0);
        writer.look_up(&[&moved.passage, &other.passage]).unwrap();
        assert!(writer.knows(&moved.passage).unwrap());
        assert!(!writer.knows(&other.passage).unwrap());
        assert!(!writer.add_known(&other.passage).unwrap());
        assert!(writer.add_known(&moved.passage).unwrap());
        let state = DocumentState { hash: "1".to_owned(), chunks: 1, tags: Vec::new() };
        writer.finish_document("/moved.md", state);
        writer.publish().unwrap();
        writer.finish().unwrap();
        let found = stored(location.verify().unwrap().as_ref());
        assert!(close(&found[&("/moved.md".to_owned(), 0)].vector, &moved.vector));
    });
}

#[test]
fn a_writer_that_stops_leaves_an_index_that_the_next_one_completes() {
    everywhere(|place| {
        let location = place("stopped");
        filled(&location, 2);
        let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
        put(writer.as_mut(), "/0.md", 2);
        writer.commit().unwrap();
        put(writer.as_mut(), "/2.md", 1);
        // Stopped in the middle of a document, without notice.
        writer.remove_document("/1.md");
        let part = chunks("/1.md", 2).remove(0);
        writer.add(&part.passage, &part.vector, &part.tokens).unwrap();
        drop(writer);
        let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
        assert_eq!(writer.ledger().documents()["/0.md"].hash, "2");
        put(writer.as_mut(), "/1.md", 2);
        put(writer.as_mut(), "/2.md", 1);
        writer.publish().unwrap();
        writer.finish().unwrap();
        holds(&location, &[("/0.md", 2), ("/1.md", 2), ("/2.md", 1)]);
        // Stopped properly.
        let mut writer = location.write(synthetic_settings(DIM), Start::Update).unwrap();
        writer.remove_document("/1.md");
        writer.add(&part.passage, &part.vector, &part.tokens).unwrap();
        writer.abandon_document("/1.md");
        writer.remove_file("/1.md");
        writer.commit().unwrap();
        writer.finish().unwrap();
        holds(&location, &[("/0.md", 2), ("/2.md", 1)]);
    });
}

#[test]
fn other_settings_are_refused_until_the_index_is_rebuilt() {
    everywhere(|place| {
        let location = place("settings");
        filled(&location, 2);
        let mut other = synthetic_settings(DIM);
        other.embedder.id = "synthetic@2".to_owned();
        let refused = location.write(other.clone(), Start::Update).err().unwrap();
        assert!(refused.to_string().contains("synthetic@2"), "{refused}");
        assert!(location.open().unwrap().settings().check(&other).is_err());
        let mut writer = location.write(other.clone(), Start::Rebuild).unwrap();
        put(writer.as_mut(), "/1.md", 5);
        writer.commit().unwrap();
        // The old one is in use until the new one is done; an unfinished one is continued.
        holds(&location, &[("/0.md", 1), ("/1.md", 1)]);
        drop(writer);
        let mut writer = location.write(other.clone(), Start::Rebuild).unwrap();
        assert_eq!(writer.ledger().documents()["/1.md"].hash, "5");
        put(writer.as_mut(), "/2.md", 5);
        writer.publish().unwrap();
        writer.finish().unwrap();
        holds(&location, &[("/1.md", 5), ("/2.md", 5)]);
        assert_eq!(location.open().unwrap().settings(), &other);
    });
}

#[test]
fn all_kinds_of_index_find_the_same_with_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let reference = Location::Directory(folder.path().join("reference"));
    filled(&reference, 60);
    let reference = reference.open().unwrap();
    everywhere(|place| {
        let location = place("same");
        filled(&location, 60);
        let index = location.open().unwrap();
        let mut random = SplitMix64::new(7);
        for round in 0..20 {
            let question = text(&mut random, 2 + round % 5);
            // Half of them typed without marks.
            let question = match round % 2 {
                0 => question,
                _ => question.replace(['ọ', 'á', 'à', 'ì'], "o"),
            };
            let query = vector(&mut random);
            let ours = index.search(&question, &query, 10).unwrap();
            let theirs = reference.search(&question, &query, 10).unwrap();
            let best =
                |searched: &rag_query::internals::index::Searched| searched.lexical.best_possible();
            let (a, b) = (best(&ours), best(&theirs));
            assert!((a - b).abs() < 0.02 * b, "{question}: {a} {b}");
            for (ours, theirs, tolerance) in [
                (&ours.nearest, &theirs.nearest, 0.001),
                (&ours.matching, &theirs.matching, 0.05 * b),
            ] {
                assert_eq!(ours.len(), theirs.len(), "{question}");
                for (a, b) in ours.iter().zip(theirs) {
                    assert!((a.1 - b.1).abs() <= tolerance, "{question}: {ours:?} {theirs:?}");
                }
            }
        }
    });
}

#[test]
fn a_part_of_any_kind_of_index_is_searched_before_its_hits_are_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let reference = Location::Directory(folder.path().join("reference"));
    filled(&reference, 60);
    let whole = reference.open().unwrap();
    everywhere(|place| {
        let location = place("part");
        filled(&location, 60);
        let mut random = SplitMix64::new(11);
        for wanted in [&["/7.md"][..], &["/3.md", "/7.md", "/40.md", "/nowhere.md"]] {
            let mut part = location.open().unwrap();
            let left = part.select(wanted).unwrap();
            let of_part = stored(part.as_ref());
            assert_eq!(left, of_part.len());
            assert_eq!(left, part.chunk_count());
            assert!(of_part.keys().all(|(document, _)| wanted.contains(&document.as_str())));
            for _ in 0..5 {
                let (question, query) = (text(&mut random, 3), vector(&mut random));
                let ours = part.search(&question, &query, 2).unwrap();
                // All that the whole index knows, of which only the part is left.
                let all = whole.search(&question, &query, 1000).unwrap();
                let of_part = |found: &[(ChunkId, f32)], tolerance: f32, all: &[(ChunkId, f32)]| {
                    let left = all.iter().filter(|(chunk, _)| {
                        let document = whole.passage(*chunk).unwrap().document;
                        wanted.contains(&document.as_str())
                    });
                    let best: Vec<f32> = left.map(|&(_, score)| score).take(2).collect();
                    assert_eq!(found.len(), best.len(), "{question}");
                    for ((_, found), best) in found.iter().zip(best) {
                        assert!((found - best).abs() <= tolerance, "{question}: {found} {best}");
                    }
                };
                let tolerance = 0.05 * ours.lexical.best_possible();
                of_part(&ours.nearest, 0.001, &all.nearest);
                of_part(&ours.matching, tolerance, &all.matching);
            }
        }
        assert_eq!(location.open().unwrap().select(&["/nowhere.md"]).unwrap(), 0);
    });
}

#[test]
fn a_copy_holds_what_the_source_does() {
    let folder = tempfile::tempdir().unwrap();
    let directory = |name: &str| Location::Directory(folder.path().join(name));
    let source = directory("source");
    filled(&source, 12);
    let never = AtomicBool::new(false);
    let copy = |from: &Location, to: &Location| {
        let writer = to.write(synthetic_settings(DIM), Start::Update).unwrap();
        copy(from.open().unwrap().as_ref(), writer, &never, &mut |_| ()).unwrap()
    };
    let versions: Vec<(String, u64)> = (0..12).map(|n| (format!("/{n}.md"), 1)).collect();
    let mut versions: Vec<(&str, u64)> =
        versions.iter().map(|(id, version)| (id.as_str(), *version)).collect();
    versions.sort_unstable();
    everywhere(|place| {
        let (target, back) = (place("target"), tempfile::tempdir().unwrap());
        let back = Location::Directory(back.path().join("back"));
        assert_eq!(copy(&source, &target).documents, 12);
        holds(&target, &versions);
        let again = copy(&source, &target);
        assert_eq!((again.documents, again.unchanged), (0, 12));
        copy(&target, &back);
        holds(&back, &versions);
        // Only the differences.
        let mut writer = target.write_existing().unwrap();
        put(writer.as_mut(), "/3.md", 2);
        writer.publish().unwrap();
        writer.finish().unwrap();
        assert_eq!(copy(&source, &target).documents, 1);
        holds(&target, &versions);
    });
}
