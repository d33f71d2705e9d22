//! Measures an index of many chunks: how fast it is built, opened and searched, how good its results
//! are, and how much memory and disk it takes. Each step prints one line of JSON.
//!
//! ```text
//! cargo bench --bench scale -- make FOLDER --chunks 1000000 [--text corpus.jsonl] [--vectors FILE]
//! cargo bench --bench scale -- search FOLDER
//! cargo bench --bench scale -- embed MODEL DOCUMENTS FILE
//! cargo bench --bench scale -- cut MODEL DOCUMENTS
//! ```
//!
//! `make` writes the index into FOLDER, and beside it what other programs are to index and find:
//! `texts.txt` (one chunk per line), `vectors.f32` (`[chunks, 384]`), `queries.f32` (`[queries, 384]`),
//! `nearest.u32` (`[queries, 50]`, exact, best first) and `questions-8-words.txt` and so on.
//!
//! Vectors are unit vectors in clusters of about a hundred, with the cosines of multilingual-e5-small
//! (0.78 between any two, 0.88 within a cluster); `--vectors` takes a file of real ones instead,
//! `[any, 384]`, and adds a little noise whenever one is used again. Texts are words of one or two
//! Vietnamese-like syllables, drawn by Zipf's law; `--text` takes the sentences of a JSONL file's
//! `text` in random order. `benches/vs-sqlite-usearch` compares the index with others on the same
//! data. `cut` only reads and cuts documents.

mod data;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use rag_query::internals::chunks::ChunkSettings;
use rag_query::internals::compute::{SimdLevel, pool};
use rag_query::internals::documents::{self, Filter, Markup, Place, Programs};
use rag_query::internals::embedding::{Embedder, Tokens};
use rag_query::internals::index::update::preview;
use rag_query::internals::index::{
    DirectoryIndex, DirectoryWriter, DocumentState, EmbedderIdentity, Index, IndexWriter, Passage,
    Settings, Start,
};
use rag_query::internals::measure::median;
use rag_query::internals::models::Catalogue;
use rag_query::internals::support::random::SplitMix64;
use rag_query::internals::text::analyze::ANALYZER;
use serde_json::{Value, json};

use data::{DIM, Language, Lexicon, Space, dot, floats};

/// Hits of a search, as many as retrieval asks for.
const TOP: usize = 50;
/// Number of vectors and of questions to search for.
const QUERIES: usize = 200;
/// Chunks per document.
const DOCUMENT: usize = 20;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    step: Step,
    /// Passed by `cargo bench`
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Step {
    /// Makes the data and the index
    Make {
        folder: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        chunks: usize,
        /// A JSONL file whose `text`s give the sentences
        #[arg(long)]
        text: Option<PathBuf>,
        /// A file of real vectors
        #[arg(long)]
        vectors: Option<PathBuf>,
        /// Chunks after which the work is committed
        #[arg(long, default_value_t = 20_000)]
        commit: usize,
    },
    /// Searches it
    Search { folder: PathBuf },
    /// Embeds the chunks of the documents in a file or folder
    Embed { model: PathBuf, documents: PathBuf, vectors: PathBuf },
    /// Reads the documents in a folder and cuts them into chunks
    Cut { model: PathBuf, documents: PathBuf },
}

fn main() -> Result<()> {
    let line = match Args::parse().step {
        Step::Make { folder, chunks, text, vectors, commit } => {
            make(&folder, chunks, text.as_deref(), vectors.as_deref(), commit)?
        }
        Step::Search { folder } => search(&folder)?,
        Step::Embed { model, documents, vectors } => embed(&model, &documents, &vectors)?,
        Step::Cut { model, documents } => cut(&model, &documents)?,
    };
    println!("{line}");
    Ok(())
}

fn make(
    folder: &Path,
    chunks: usize,
    text: Option<&Path>,
    real: Option<&Path>,
    commit: usize,
) -> Result<Value> {
    fs::create_dir_all(folder)?;
    let mut random = SplitMix64::new(7);
    let language = match text {
        Some(file) => Language::of_file(file)?,
        None => Language::Zipf(Box::new(Lexicon::new(&mut random))),
    };
    let space = match real {
        Some(file) => Space::of_file(file)?,
        None => Space::clusters(chunks, &mut random),
    };
    let queries: Vec<Vec<f32>> =
        (0..QUERIES).map(|i| space.vector(chunks + i, &mut random)).collect();
    let mut file = create(folder, "queries.f32")?;
    queries.iter().flatten().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
    file.flush()?;

    let (mut texts, mut vectors) = (create(folder, "texts.txt")?, create(folder, "vectors.f32")?);
    let mut build = Build::new(&folder.join("index"), commit)?;
    let mut questions = [const { Vec::new() }; 2];
    let mut bytes = 0;
    for chunk in 0..chunks {
        let words = language.chunk(&mut random);
        let text = words.join(" ");
        bytes += text.len();
        if random.below(chunks) < 2 * QUERIES {
            // A question in the words of a text: eight words, or eight syllables.
            questions[0].push(eight(&words, &mut random));
            questions[1].push(eight(&text.split(' ').collect::<Vec<&str>>(), &mut random));
        }
        let vector = space.vector(chunk, &mut random);
        writeln!(texts, "{text}")?;
        vector.iter().try_for_each(|value| vectors.write_all(&value.to_le_bytes()))?;
        build.add(chunk, chunk + 1 == chunks, text, &vector)?;
    }
    let seconds = build.finish()?;
    texts.flush()?;
    vectors.flush()?;
    for (name, questions) in ["words", "syllables"].into_iter().zip(questions) {
        fs::write(folder.join(format!("questions-8-{name}.txt")), questions.join("\n"))?;
    }
    let nearest = exact(&folder.join("vectors.f32"), &queries)?;
    let mut file = create(folder, "nearest.u32")?;
    nearest.iter().flatten().try_for_each(|row| file.write_all(&row.to_le_bytes()))?;
    file.flush()?;
    Ok(json!({ "chunks": chunks, "text_bytes": bytes, "index_s": seconds }))
}

fn create(folder: &Path, name: &str) -> Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(folder.join(name))?))
}

/// Eight neighbouring words, from a random place.
fn eight(words: &[impl AsRef<str>], random: &mut SplitMix64) -> String {
    let at = random.below(words.len().saturating_sub(8).max(1));
    let words = words[at..words.len().min(at + 8)].iter().map(AsRef::as_ref);
    words.collect::<Vec<&str>>().join(" ")
}

/// An index in the making, and the time it takes.
struct Build {
    writer: DirectoryWriter,
    /// Chunks after which the work is committed.
    commit: usize,
    uncommitted: usize,
    seconds: f64,
}

impl Build {
    fn new(index: &Path, commit: usize) -> Result<Self> {
        let writer = DirectoryWriter::open(index, settings(), Start::Update)?;
        Ok(Self { writer, commit, uncommitted: 0, seconds: 0.0 })
    }

    fn add(&mut self, chunk: usize, is_last: bool, text: String, vector: &[f32]) -> Result<()> {
        let document = format!("/documents/{:06}.md", chunk / DOCUMENT);
        let line = (chunk % DOCUMENT * 10) as u32;
        let passage = Passage {
            document: document.clone(),
            headings: Vec::new(),
            place: Some(Place::Lines(line, line + 9)),
            span: (0, text.len()),
            text,
            format: Markup::Markdown,
            recognized: false,
            ..Passage::default()
        };
        let start = Instant::now();
        self.writer.add(&passage, vector, &[])?;
        let of_document = (chunk % DOCUMENT + 1) as u64;
        if of_document == DOCUMENT as u64 || is_last {
            let hash = String::new();
            self.writer.finish_document(
                &document,
                DocumentState { hash, chunks: of_document, tags: Vec::new() },
            );
            self.uncommitted += of_document as usize;
        }
        if self.uncommitted >= self.commit {
            self.writer.commit()?;
            self.uncommitted = 0;
        }
        self.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Ends the index; returns the time of all its work, in seconds.
    fn finish(mut self) -> Result<f64> {
        let start = Instant::now();
        self.writer.commit()?;
        self.writer.finish()?;
        Ok(self.seconds + start.elapsed().as_secs_f64())
    }
}

fn settings() -> Settings {
    Settings {
        embedder: EmbedderIdentity {
            id: "scale".to_owned(),
            dimension: DIM,
            pooling: "mean".to_owned(),
            passage_prefix: String::new(),
        },
        chunking: ChunkSettings::default(),
        token_vectors: None,
        analyzer: ANALYZER,
    }
}

/// The [`TOP`] vectors of a file that are nearest to each query, by exact search in `f32`.
fn exact(file: &Path, queries: &[Vec<f32>]) -> Result<Vec<Vec<u32>>> {
    const PART: usize = 8192;
    let bytes = fs::metadata(file)?.len() as usize;
    let rows = bytes / (4 * DIM);
    let best = Mutex::new(vec![Vec::new(); queries.len()]);
    let mut reader = File::open(file)?;
    for first in (0..rows).step_by(PART) {
        let vectors = floats(&mut reader, PART.min(rows - first) * DIM)?;
        pool::parallel_for(queries.len(), |some| {
            for i in some {
                let mut scores: Vec<(f32, u32)> = (first as u32..)
                    .zip(vectors.chunks_exact(DIM))
                    .map(|(row, vector)| (dot(vector, &queries[i]), row))
                    .collect();
                let order =
                    |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
                let kept = TOP.min(scores.len());
                scores.select_nth_unstable_by(kept - 1, order);
                scores.truncate(kept);
                let mut best = best.lock().expect("no thread panics");
                best[i].append(&mut scores);
                best[i].sort_unstable_by(order);
                best[i].truncate(TOP);
            }
        });
    }
    let best = best.into_inner().expect("no thread panics");
    Ok(best.into_iter().map(|best| best.into_iter().map(|(_, row)| row).collect()).collect())
}

fn search(folder: &Path) -> Result<Value> {
    let path = folder.join("index");
    // Once, so that the files are in the page cache.
    drop(DirectoryIndex::open(&path)?);
    let mut opens: Vec<f64> = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        drop(DirectoryIndex::open(&path)?);
        opens.push(start.elapsed().as_secs_f64());
    }
    let index = DirectoryIndex::open(&path)?;
    let opened = memory();

    let queries = floats(&mut File::open(folder.join("queries.f32"))?, QUERIES * DIM)?;
    let (dense, recall) = measure_dense(&index, &queries, &folder.join("nearest.u32"))?;
    let after_dense = memory();
    let mut bm25 = serde_json::Map::new();
    for name in ["8-words", "8-syllables"] {
        let questions = fs::read_to_string(folder.join(format!("questions-{name}.txt")))?;
        bm25.insert(name.to_owned(), measure_bm25(&index, &questions, &queries[..DIM])?);
    }
    let after_bm25 = memory();
    // The texts of the hits, to show them.
    for query in queries.chunks_exact(DIM) {
        for (chunk, _) in index.nearest(query, 10) {
            index.passage(chunk)?;
        }
    }
    Ok(json!({
        "chunks": index.chunk_count(),
        "cpu": SimdLevel::detect().name(),
        "threads": pool::threads(),
        "open_s": median(opens),
        "dense_s": spread(dense),
        "recall": recall,
        "bm25_s": bm25,
        "memory": {
            "opened": opened,
            "after_dense": after_dense,
            "after_bm25": after_bm25,
            "after_passages": memory(),
        },
        "files": files(&path)?,
    }))
}

/// Seconds of each search, and the share of the exact hits that were found.
fn measure_dense(
    index: &DirectoryIndex,
    queries: &[f32],
    nearest: &Path,
) -> Result<(Vec<f64>, f64)> {
    let nearest = fs::read(nearest)?;
    let nearest: Vec<u64> = nearest
        .chunks_exact(4)
        .map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect();
    let top = nearest.len() / QUERIES;
    let (mut seconds, mut found) = (Vec::new(), 0);
    for (query, nearest) in queries.chunks_exact(DIM).zip(nearest.chunks_exact(top)) {
        let start = Instant::now();
        let hits = index.nearest(query, TOP);
        seconds.push(start.elapsed().as_secs_f64());
        let rows: HashSet<u64> = hits.iter().map(|(chunk, _)| chunk.key).collect();
        found += nearest.iter().filter(|row| rows.contains(row)).count();
    }
    Ok((seconds, found as f64 / nearest.len() as f64))
}

/// Times of finding the best chunks for each question, and of scoring these and others.
fn measure_bm25(index: &DirectoryIndex, questions: &str, query: &[f32]) -> Result<Value> {
    let (mut times, mut scoring) = (Vec::new(), Vec::new());
    for question in questions.lines().take(QUERIES) {
        let start = Instant::now();
        let lexical = index.lexical(question)?;
        let hits = index.bm25(&lexical, TOP)?;
        times.push(start.elapsed().as_secs_f64());
        // As fusion does: scores of the hits and of as many other chunks.
        let mut chunks: Vec<_> = hits.iter().map(|(chunk, _)| *chunk).collect();
        let others = index.nearest(query, TOP);
        chunks.extend(others.into_iter().map(|(chunk, _)| chunk));
        chunks.sort_unstable();
        chunks.dedup();
        let start = Instant::now();
        index.bm25_of(&lexical, &chunks)?;
        scoring.push(start.elapsed().as_secs_f64());
    }
    Ok(json!({ "top": spread(times), "scores_of_100": spread(scoring) }))
}

/// The median, the 90th percentile, and the first time.
fn spread(times: Vec<f64>) -> Value {
    let first = times.first().copied();
    let mut sorted = times;
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize);
    json!({ "p50": at(0.5), "p90": at(0.9), "first": first })
}

/// Resident memory in bytes: all of it, and the parts with and without a file. Linux only.
fn memory() -> Option<Value> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    Some(json!({ "rss": of("VmRSS:"), "anonymous": of("RssAnon:"), "files": of("RssFile:") }))
}

/// Bytes of the index's files by kind.
fn files(path: &Path) -> Result<serde_json::Map<String, Value>> {
    let mut sizes = std::collections::BTreeMap::<String, u64>::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let segment = entry.path().extension().is_some() && name.len() > 32;
            let name = if segment { format!("lexical/*.{}", &name[33..]) } else { name };
            *sizes.entry(name).or_default() += entry.metadata()?.len();
        }
    }
    Ok(sizes.into_iter().map(|(name, size)| (name, size.into())).collect())
}

fn embedder(model: &Path) -> Result<Embedder> {
    let catalogue = Catalogue::load(None)?;
    let spec = catalogue.model("multilingual-e5-small")?.embedder()?.clone();
    let file_of = |name: &str| model.join(name);
    let (config, tokenizer) = (file_of("config.json"), file_of("tokenizer.json"));
    Embedder::load(&config, &tokenizer, &file_of("model.safetensors"), spec)
}

fn cut(model: &Path, documents: &Path) -> Result<Value> {
    let embedder = embedder(model)?;
    let walk = documents::walk(&[documents.to_owned()], &Filter::default())?;
    let files = walk.files.iter().flat_map(|file| file.metadata()).map(|file| file.len());
    let bytes: u64 = files.sum();
    let mut chunks = 0;
    let start = Instant::now();
    preview(&walk, &ChunkSettings::default(), &embedder, Programs::none(), &mut |_, passages| {
        chunks += passages.len();
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(json!({
        "files": walk.files.len(),
        "bytes": bytes,
        "chunks": chunks,
        "seconds": seconds,
        "mb_per_s": bytes as f64 / 1e6 / seconds,
    }))
}

fn embed(model: &Path, documents: &Path, vectors: &Path) -> Result<Value> {
    let embedder = embedder(model)?;
    let walk = documents::walk(&[documents.to_owned()], &Filter::default())?;
    let mut out = BufWriter::new(File::create(vectors)?);
    let (mut waiting, mut written) = (Vec::new(), 0);
    let mut write = |texts: &mut Vec<String>| {
        for embedding in embedder.embed_passages(texts, Tokens::Dropped)? {
            embedding.vector.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            written += 1;
        }
        texts.clear();
        anyhow::Ok(())
    };
    // Cut as for an index: a whole text may be longer than the embedder's window.
    let previewed = preview(
        &walk,
        &ChunkSettings::default(),
        &embedder,
        Programs::none(),
        &mut |_, passages| {
            waiting.extend(passages.iter().map(Passage::text_to_embed));
            if waiting.len() >= 64 { write(&mut waiting) } else { Ok(()) }
        },
    )?;
    ensure!(previewed.problems.is_empty(), "{}", previewed.problems.join("; "));
    write(&mut waiting)?;
    out.flush()?;
    Ok(json!({ "vectors": written }))
}
