//! Measures an index of many chunks: how fast it is built, opened and searched, how well it finds,
//! and what it takes of memory and disk. One line of JSON for each step.
//!
//! ```text
//! cargo bench --bench scale -- make FOLDER --chunks 1000000 [--text corpus.jsonl] [--vectors FILE]
//! cargo bench --bench scale -- search FOLDER
//! cargo bench --bench scale -- embed MODEL DOCUMENTS FILE
//! cargo bench --bench scale -- cut MODEL DOCUMENTS
//! ```
//!
//! `make` writes into FOLDER the index, and beside it what others are to index and find:
//! `texts.txt` (a chunk a line), `vectors.f32` (`[chunks, 384]`), `queries.f32` (`[queries, 384]`),
//! `nearest.u32` (`[queries, 50]`, exact, best first) and `questions-8-words.txt` and so on.
//!
//! Vectors are unit vectors in clusters of about a hundred, with the cosines of multilingual-e5-small
//! (0.78 between any two, 0.88 within a cluster); `--vectors` takes a file of real ones instead,
//! `[any, 384]`, and adds a little noise each time that it is used anew. Text is words of one or two
//! Vietnamese-like syllables, drawn by Zipf's law; `--text` takes the sentences of a JSONL file's
//! `text` in random order. `benches/vs-sqlite-usearch` compares the
//! index with others on the same data. `cut` reads and cuts documents and does nothing else.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use rag_query::chunks::ChunkSettings;
use rag_query::compute::{SimdLevel, pool};
use rag_query::documents::{self, Filter, Markup, Place};
use rag_query::embedding::{Embedder, Tokens};
use rag_query::index::update::preview;
use rag_query::index::{
    DirectoryIndex, DirectoryWriter, DocumentState, EmbedderIdentity, Index, IndexWriter, Passage,
    Settings, Start,
};
use rag_query::measure::median;
use rag_query::models::Catalogue;
use rag_query::support::random::SplitMix64;
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

/// Values of a vector.
const DIM: usize = 384;
/// Hits that are looked for, as `retrieve` does.
const TOP: usize = 50;
/// Vectors and questions to search for.
const QUERIES: usize = 200;
/// Chunks of a document.
const DOCUMENT: usize = 20;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    step: Step,
    /// `cargo bench` says this
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
    let create = |name: &str| anyhow::Ok(BufWriter::new(File::create(folder.join(name))?));
    let queries: Vec<Vec<f32>> =
        (0..QUERIES).map(|i| space.vector(chunks + i, &mut random)).collect();
    let mut file = create("queries.f32")?;
    queries.iter().flatten().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
    file.flush()?;

    let (mut texts, mut vectors) = (create("texts.txt")?, create("vectors.f32")?);
    let index = folder.join("index");
    let mut writer = DirectoryWriter::open(&index, settings(), Start::Update)?;
    let mut questions = [const { Vec::new() }; 2];
    let (mut bytes, mut seconds, mut uncommitted) = (0, 0.0, 0);
    for chunk in 0..chunks {
        let words = language.chunk(&mut random);
        let text = words.join(" ");
        bytes += text.len();
        if random.below(chunks) < 2 * QUERIES {
            // A question in the words of a text: eight words, or eight syllables.
            let at = random.below(words.len().saturating_sub(8).max(1));
            questions[0].push(words[at..words.len().min(at + 8)].join(" "));
            let syllables: Vec<&str> = text.split(' ').collect();
            let at = random.below(syllables.len().saturating_sub(8).max(1));
            questions[1].push(syllables[at..syllables.len().min(at + 8)].join(" "));
        }
        let vector = space.vector(chunk, &mut random);
        writeln!(texts, "{text}")?;
        vector.iter().try_for_each(|value| vectors.write_all(&value.to_le_bytes()))?;
        let document = format!("/documents/{:06}.md", chunk / DOCUMENT);
        let line = (chunk % DOCUMENT * 10) as u32;
        let passage = Passage {
            document: document.clone(),
            headings: Vec::new(),
            place: Some(Place::Lines(line, line + 9)),
            span: (0, text.len()),
            text,
            format: Markup::Markdown,
        };
        let start = Instant::now();
        writer.add(&passage, &vector, &[])?;
        let of_document = (chunk % DOCUMENT + 1) as u64;
        if of_document == DOCUMENT as u64 || chunk + 1 == chunks {
            let hash = String::new();
            writer.finish_document(&document, DocumentState { hash, chunks: of_document });
            uncommitted += of_document as usize;
        }
        if uncommitted >= commit {
            writer.commit()?;
            uncommitted = 0;
        }
        seconds += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    writer.commit()?;
    writer.finish()?;
    seconds += start.elapsed().as_secs_f64();
    texts.flush()?;
    vectors.flush()?;
    for (name, questions) in ["words", "syllables"].into_iter().zip(questions) {
        fs::write(folder.join(format!("questions-8-{name}.txt")), questions.join("\n"))?;
    }
    let nearest = exact(&folder.join("vectors.f32"), &queries)?;
    let mut file = create("nearest.u32")?;
    nearest.iter().flatten().try_for_each(|row| file.write_all(&row.to_le_bytes()))?;
    file.flush()?;
    Ok(json!({ "chunks": chunks, "text_bytes": bytes, "index_s": seconds }))
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
        token_vectors: false,
    }
}

/// The [`TOP`] vectors of a file that are nearest to each query, in `f32` and by all of them.
fn exact(file: &Path, queries: &[Vec<f32>]) -> Result<Vec<Vec<u32>>> {
    let bytes = fs::metadata(file)?.len() as usize;
    let rows = bytes / (4 * DIM);
    let best = Mutex::new(vec![Vec::new(); queries.len()]);
    let mut reader = File::open(file)?;
    const PART: usize = 8192;
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

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

fn floats(reader: &mut impl std::io::Read, count: usize) -> Result<Vec<f32>> {
    let mut bytes = vec![0u8; 4 * count];
    reader.read_exact(&mut bytes)?;
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok(bytes.chunks_exact(4).map(number).collect())
}

fn search(folder: &Path) -> Result<Value> {
    let path = folder.join("index");
    // Once to have the files in the page cache.
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
    let nearest = fs::read(folder.join("nearest.u32"))?;
    let nearest: Vec<u64> = nearest
        .chunks_exact(4)
        .map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect();
    let top = nearest.len() / QUERIES;
    let (mut dense, mut found) = (Vec::new(), 0);
    for (query, nearest) in queries.chunks_exact(DIM).zip(nearest.chunks_exact(top)) {
        let start = Instant::now();
        let hits = index.nearest(query, TOP);
        dense.push(start.elapsed().as_secs_f64());
        let rows: HashSet<u64> = hits.iter().map(|(chunk, _)| chunk.0).collect();
        found += nearest.iter().filter(|row| rows.contains(row)).count();
    }
    let after_dense = memory();
    let mut bm25 = serde_json::Map::new();
    for name in ["8-words", "8-syllables"] {
        let questions = fs::read_to_string(folder.join(format!("questions-{name}.txt")))?;
        let (mut times, mut scoring) = (Vec::new(), Vec::new());
        for question in questions.lines().take(QUERIES) {
            let start = Instant::now();
            let lexical = index.lexical(question)?;
            let hits = index.bm25(&lexical, TOP)?;
            times.push(start.elapsed().as_secs_f64());
            // What fusion asks for: the scores of as many others again.
            let mut chunks: Vec<_> = hits.iter().map(|(chunk, _)| *chunk).collect();
            let others = index.nearest(&queries[..DIM], TOP);
            chunks.extend(others.into_iter().map(|(chunk, _)| chunk));
            chunks.sort_unstable();
            chunks.dedup();
            let start = Instant::now();
            index.bm25_of(&lexical, &chunks)?;
            scoring.push(start.elapsed().as_secs_f64());
        }
        let times = json!({ "top": spread(times), "scores_of_100": spread(scoring) });
        bm25.insert(name.to_owned(), times);
    }
    let after_bm25 = memory();
    // The texts of what was found, as they are shown.
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
        "recall": found as f64 / nearest.len() as f64,
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

/// The median, the time that nine of ten stay below, and the first.
fn spread(times: Vec<f64>) -> Value {
    let first = times.first().copied();
    let mut sorted = times;
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize);
    json!({ "p50": at(0.5), "p90": at(0.9), "first": first })
}

/// Resident memory in bytes: all, and what is not a file's. Linux only.
fn memory() -> Option<Value> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    Some(json!({ "rss": of("VmRSS:"), "anonymous": of("RssAnon:"), "files": of("RssFile:") }))
}

/// Bytes of the index' files by their kind.
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

/// A direction: `[DIM]`, unit length on average. Four uniform numbers together are nearly
/// normal.
fn direction(random: &mut SplitMix64) -> Vec<f32> {
    // The variance of four 16-bit numbers, and of `DIM` values.
    let scale = 1.0 / (4.0 * 65_536f32.powi(2) / 12.0 * DIM as f32).sqrt();
    let mut value = || {
        let bits = random.bits();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f32 - 2.0 * 65_535.0) * scale
    };
    (0..DIM).map(|_| value()).collect()
}

/// Where vectors come from.
enum Space {
    Clusters { mean: Vec<f32>, centres: Vec<Vec<f32>> },
    Real(Vec<Vec<f32>>),
}

impl Space {
    fn clusters(chunks: usize, random: &mut SplitMix64) -> Self {
        let mean = direction(random);
        let centres = (0..chunks.div_ceil(100)).map(|_| direction(random)).collect();
        Self::Clusters { mean, centres }
    }

    fn of_file(file: &Path) -> Result<Self> {
        let count = fs::metadata(file)?.len() as usize / 4;
        let values = floats(&mut BufReader::new(File::open(file)?), count)?;
        ensure!(values.len() >= DIM, "{} has no vector", file.display());
        Ok(Self::Real(values.chunks_exact(DIM).map(<[f32]>::to_vec).collect()))
    }

    /// The vector of a chunk, unit length.
    fn vector(&self, chunk: usize, random: &mut SplitMix64) -> Vec<f32> {
        let noise = direction(random);
        let sum: Vec<f32> = match self {
            Self::Clusters { mean, centres } => {
                let centre = &centres[random.below(centres.len())];
                let parts = mean.iter().zip(centre).zip(&noise);
                parts
                    .map(|((mean, centre), noise)| {
                        0.78f32.sqrt() * mean + 0.10f32.sqrt() * centre + 0.12f32.sqrt() * noise
                    })
                    .collect()
            }
            Self::Real(vectors) => {
                let share = if chunk < vectors.len() { 0.0 } else { 0.1f32.sqrt() };
                let vector = &vectors[chunk % vectors.len()];
                vector.iter().zip(&noise).map(|(value, noise)| value + share * noise).collect()
            }
        };
        let norm = dot(&sum, &sum).sqrt();
        sum.iter().map(|value| value / norm).collect()
    }
}

/// Where text comes from.
enum Language {
    Zipf(Box<Lexicon>),
    /// Sentences, each its words.
    Sentences(Vec<Vec<String>>),
}

impl Language {
    fn of_file(file: &Path) -> Result<Self> {
        let mut sentences = Vec::new();
        for text in texts(file)? {
            for sentence in text.split_inclusive(['.', '!', '?']) {
                let words: Vec<String> = sentence.split_whitespace().map(str::to_owned).collect();
                if !words.is_empty() {
                    sentences.push(words);
                }
            }
        }
        ensure!(!sentences.is_empty(), "{} has no text", file.display());
        Ok(Self::Sentences(sentences))
    }

    /// The words of a chunk: 60 to 190 syllables, 125 on average.
    fn chunk(&self, random: &mut SplitMix64) -> Vec<String> {
        let syllables = 60 + random.below(131);
        let (mut words, mut count) = (Vec::new(), 0);
        while count < syllables {
            match self {
                Self::Zipf(lexicon) => words.push(lexicon.word(random).to_owned()),
                Self::Sentences(sentences) => {
                    words.extend(sentences[random.below(sentences.len())].iter().cloned());
                }
            }
            count = match self {
                Self::Zipf(_) => count + words.last().map_or(0, |word| word.split(' ').count()),
                Self::Sentences(_) => words.len(),
            };
        }
        words
    }
}

/// The `text`s of a JSONL file.
fn texts(file: &Path) -> Result<Vec<String>> {
    let lines = BufReader::new(File::open(file)?).lines();
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(&line?)?;
            Ok(line["text"].as_str().context("a line has no text")?.to_owned())
        })
        .collect()
}

/// Words in the order of their frequency, which falls by the law of Zipf and Mandelbrot.
struct Lexicon {
    words: Vec<String>,
    /// How often one of the words up to each is used, of all; the last has 1.
    shares: Vec<f64>,
}

impl Lexicon {
    /// The hundred most frequent words and a third of the others have one syllable, the rest two.
    /// Rare words are names and numbers as well.
    fn new(random: &mut SplitMix64) -> Self {
        let syllables = syllables(random);
        let of_syllables = shares(syllables.len());
        let syllable = |random: &mut SplitMix64| {
            let share = random.next();
            let at = of_syllables.partition_point(|&upto| upto < share);
            syllables[at.min(syllables.len() - 1)].as_str()
        };
        let mut seen = HashSet::new();
        let mut words = Vec::new();
        while words.len() < 300_000 {
            let word = if words.len() < 100 {
                syllables[words.len()].clone()
            } else if words.len() > 40_000 && random.below(2) == 0 {
                match random.below(3) {
                    0 => random.below(100_000).to_string(),
                    _ => foreign(random),
                }
            } else if random.below(3) == 0 {
                syllable(random).to_owned()
            } else {
                format!("{} {}", syllable(random), syllable(random))
            };
            // One syllable may be a word of several meanings; there are not so many of them.
            if seen.insert(word.clone()) || !word.contains(' ') {
                words.push(word);
            }
        }
        let shares = shares(words.len());
        Self { words, shares }
    }

    fn word(&self, random: &mut SplitMix64) -> &str {
        let share = random.next();
        let at = self.shares.partition_point(|&upto| upto < share);
        &self.words[at.min(self.words.len() - 1)]
    }
}

/// Cumulative shares of ranks by 1 / (rank + 2.7), Mandelbrot's constant for ordinary text.
fn shares(count: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let mut shares: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += 1.0 / (rank as f64 + 2.7);
            sum
        })
        .collect();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// Vietnamese syllables in random order: some 6,000.
fn syllables(random: &mut SplitMix64) -> Vec<String> {
    let onsets = "|b|c|ch|d|đ|g|gi|h|kh|l|m|n|ng|nh|ph|qu|r|s|t|th|tr|v|x".split('|');
    let rhymes = "a ai an ang anh ao au ay âm ân âng âu ây ă ăm ăn ăng e em en eo ê êm ên ênh êu i im \
                  in inh iu iêm iên iêu o oa oan oi om on ong ô ôi ôm ôn ông ơ ơi ơn u ua ui um un \
                  ung ư ưa ưng ươi ươn ương uyên y yêu";
    let tones = ["", "\u{300}", "\u{301}", "\u{309}", "\u{303}", "\u{323}"];
    let mut all = Vec::new();
    for onset in onsets {
        for rhyme in rhymes.split_whitespace() {
            for tone in tones {
                // Not every combination is a syllable.
                if random.below(10) < 6 {
                    let vowel = rhyme.find(|c: char| !c.is_ascii()).unwrap_or(0);
                    let end = vowel + rhyme[vowel..].chars().next().map_or(0, char::len_utf8);
                    let (start, rest) = rhyme.split_at(end);
                    all.push(format!("{onset}{start}{tone}{rest}").nfc().collect::<String>());
                }
            }
        }
    }
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last + 1));
    }
    all
}

/// A name from elsewhere.
fn foreign(random: &mut SplitMix64) -> String {
    (0..2 + random.below(3))
        .map(|_| {
            let consonant = b"bcdfghjklmnprstvwz"[random.below(18)];
            let vowel = b"aeiou"[random.below(5)];
            format!("{}{}", char::from(consonant), char::from(vowel))
        })
        .collect()
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
    preview(&walk, &ChunkSettings::default(), &embedder, &mut |_, passages| {
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
    // Cut as an index has them: a text as it is may be longer than the embedder's window.
    let problems = preview(&walk, &ChunkSettings::default(), &embedder, &mut |_, passages| {
        waiting.extend(passages.iter().map(Passage::text_to_embed));
        if waiting.len() >= 64 { write(&mut waiting) } else { Ok(()) }
    })?;
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    write(&mut waiting)?;
    out.flush()?;
    Ok(json!({ "vectors": written }))
}
