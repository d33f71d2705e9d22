//! Where the thresholds come from by which a passage supports a sentence of an answer: statements
//! about XQuAD's paragraphs, compared with their own paragraph and with another one of the same
//! article. Prints the table of docs/prompt.md, and fails where the thresholds in use are far off.
//!
//! A statement is a question with its answer, as in "What did BERT learn from Books." Its words are
//! people's own, not the paragraph's, which is nearer to what an LLM writes than the sentence that
//! holds the answer. Thresholds are chosen on the articles for training and reported on the others.
//!
//! ```text
//! cargo bench --bench support -- DATA MODELS
//! ```
//!
//! DATA has `xquad-articles.json` (`{"train": [article numbers], …}`) and a folder for each of
//! `xquad-vi`, `xquad-en`, `xquad-vi2en` and `xquad-en2vi` (questions in the first language, passages
//! in the second) with `corpus.jsonl` (`id`, `title`, `text`) and `questions.jsonl` (as for `rag-query
//! eval`). An id is `xquad-aNN-…`, with the article's number. MODELS holds the demo's embedder.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rag_query::internals::answer::Judge;
use rag_query::internals::documents::{self, Filter, Markup};
use rag_query::internals::index::update::Indexer;
use rag_query::internals::index::{DirectoryIndex, DirectoryWriter, Index, Passage, Start};
use rag_query::internals::models::{Catalogue, HubSettings, ModelStore};
use rag_query::internals::profile::{Models, Overrides};
use serde_json::Value;

const SETS: [&str; 4] = ["xquad-vi", "xquad-en", "xquad-vi2en", "xquad-en2vi"];
/// Those of one language, and those of two.
const LANGUAGES: [(&str, Range<usize>); 2] = [("one language", 0..2), ("two languages", 2..4)];
/// The share of supported statements that may be reported.
const FALSE_ALARMS: f64 = 0.02;

#[derive(Parser)]
struct Args {
    data: PathBuf,
    models: PathBuf,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

/// Coverage and cosine.
type Nearness = (f32, f32);

/// A statement, and how near it is to its own paragraph, to another of the article, and to one of
/// another article.
struct Measured {
    train: bool,
    own: Nearness,
    same_article: Nearness,
    elsewhere: Nearness,
}

fn main() -> Result<()> {
    let Args { data, models, .. } = Args::parse();
    let models = demo(models)?;
    let measured =
        SETS.iter().map(|set| measure(&data, set, &models)).collect::<Result<Vec<_>>>()?;
    for (name, score) in [
        ("coverage", (|one| one.0) as fn(Nearness) -> f32),
        ("cosine", |one| one.1),
        ("their sum", sum),
    ] {
        for (languages, sets) in LANGUAGES {
            let threshold = threshold(&measured[sets.clone()], score);
            println!("{name}, {languages}: {threshold:.3}");
            for set in sets {
                let [own, same, far] = below(&measured[set], score, threshold);
                println!(
                    "  {:12} own {:5.1} %  same article {:5.1} %  elsewhere {:5.1} %  precision {:.3}",
                    SETS[set],
                    100.0 * own,
                    100.0 * same,
                    100.0 * far,
                    same / (same + own)
                );
            }
        }
    }
    check(&measured, &models)
}

/// The models of the demo, none of them loaded.
fn demo(folder: PathBuf) -> Result<Models> {
    let store = ModelStore {
        models_dirs: vec![folder],
        hub: HubSettings { offline: true, ..HubSettings::from_env() },
        state_dir: std::env::temp_dir(),
        progress: Arc::new(()),
    };
    let profile = Catalogue::load(None)?.profile("demo")?;
    Ok(Models::new(&profile, &store, &Overrides::default())?)
}

fn measure(data: &Path, set: &str, models: &Models) -> Result<Vec<Measured>> {
    let articles = fs::read_to_string(data.join("xquad-articles.json"))?;
    let articles: BTreeMap<String, Vec<String>> = serde_json::from_str(&articles)?;
    let folder = tempfile::tempdir()?;
    let corpus = data.join(set).join("corpus.jsonl");
    let index = index(&corpus, folder.path(), models)?;
    let passages: BTreeMap<String, Passage> = read(&corpus)?
        .iter()
        .map(|line| {
            let passage = passage(line)?;
            Ok((passage.document.clone(), passage))
        })
        .collect::<Result<_>>()?;
    let ids: Vec<&String> = passages.keys().collect();
    let mut judge = Judge::new(&index, models.embedder.get()?, models.support);
    let mut measured = Vec::new();
    for (i, question) in read(&data.join(set).join("questions.jsonl"))?.iter().enumerate() {
        let own = text(&question["relevant"][0])?;
        let article = &own["xquad-".len().."xquad-a00".len()];
        let others: Vec<&String> =
            ids.iter().copied().filter(|id| *id != own && id.contains(article)).collect();
        let far: Vec<&String> = ids.iter().copied().filter(|id| !id.contains(article)).collect();
        let asked = text(&question["question"])?.trim_end_matches('?');
        let statement = format!("{asked} {}.", text(&question["answers"][0])?);
        let vector = judge.embed(vec![statement.clone()])?.pop().context("a statement too long")?;
        let lexical = index.lexical(&statement)?;
        let mut nearness = |id: &str| -> Result<Nearness> {
            let passage = &passages[id];
            let number = ids.iter().position(|other| *other == id).context("an unknown passage")?;
            let cosine = judge.nearest(&vector, number, passage)?;
            Ok((lexical.coverage(&passage.text_to_embed()), cosine))
        };
        measured.push(Measured {
            train: articles["train"].iter().any(|other| other == article),
            own: nearness(own)?,
            same_article: nearness(others[i % others.len()])?,
            elsewhere: nearness(far[i % far.len()])?,
        });
    }
    Ok(measured)
}

fn index(corpus: &Path, folder: &Path, models: &Models) -> Result<DirectoryIndex> {
    let writer = DirectoryWriter::open(folder, models.index_settings.clone(), Start::Update)?;
    let paths = [corpus.canonicalize()?];
    let walk = documents::walk(&paths, &Filter::default())?;
    let (stop, mut watch) = (AtomicBool::new(false), |_| {});
    let embedder = models.embedder.get()?;
    Indexer::new(Box::new(writer), embedder, Start::Update, &stop, &mut watch).update(&walk)?;
    Ok(DirectoryIndex::open(folder)?)
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let lines = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a text is missing")
}

fn passage(line: &Value) -> Result<Passage> {
    let content = text(&line["text"])?;
    Ok(Passage {
        document: text(&line["id"])?.to_owned(),
        headings: vec![text(&line["title"])?.to_owned()],
        place: None,
        span: (0, content.len()),
        text: content.to_owned(),
        format: Markup::Plain,
        recognized: false,
        ..Passage::default()
    })
}

fn sum((coverage, cosine): Nearness) -> f32 {
    coverage + cosine
}

/// Below which [`FALSE_ALARMS`] of the training statements are with their own paragraph.
fn threshold(sets: &[Vec<Measured>], score: fn(Nearness) -> f32) -> f32 {
    let train = sets.iter().flatten().filter(|one| one.train);
    let mut scores: Vec<f32> = train.map(|one| score(one.own)).collect();
    scores.sort_by(f32::total_cmp);
    scores[(FALSE_ALARMS * scores.len() as f64) as usize]
}

/// Shares below a threshold among the statements that are not for training: of the own paragraphs,
/// of the same article's, and of the others.
fn below(measured: &[Measured], score: fn(Nearness) -> f32, threshold: f32) -> [f64; 3] {
    let reported: Vec<&Measured> = measured.iter().filter(|one| !one.train).collect();
    let share = |pick: fn(&Measured) -> Nearness| {
        let below = reported.iter().filter(|one| score(pick(one)) < threshold).count();
        below as f64 / reported.len() as f64
    };
    [share(|one| one.own), share(|one| one.same_article), share(|one| one.elsewhere)]
}

/// The thresholds in use do about what was reported of them.
fn check(measured: &[Vec<Measured>], models: &Models) -> Result<()> {
    let thresholds = models.support.context("the embedder is not calibrated")?;
    for (set, measured) in measured.iter().enumerate() {
        let (threshold, reported) = match set {
            0 | 1 => (thresholds.same_language, 0.75),
            _ => (thresholds.across_languages, 0.35),
        };
        let [own, same, _] = below(measured, sum, threshold);
        ensure!(own < 0.04 && same > reported, "{}: {own} {same}", SETS[set]);
    }
    Ok(())
}
