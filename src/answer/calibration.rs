//! Where the thresholds of [`super::support`] come from: statements about XQuAD's paragraphs,
//! compared with their own paragraph and with another one of the same article.
//!
//! A statement is a question with its answer, as in "What did BERT learn from? Books." Its words are
//! people's own, not the paragraph's, which is nearer to what an LLM writes than the sentence that
//! holds the answer. Thresholds are chosen on the articles for training and reported on the others.
//!
//! `RAG_QUERY_MODELS=… cargo test --release --lib -- --ignored --nocapture calibration`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::support::Judge;
use crate::documents::{self, Filter, Markup};
use crate::index::update::Indexer;
use crate::index::{DirectoryIndex, DirectoryWriter, Index, Passage, Start};
use crate::models::{Catalogue, HubSettings, ModelStore};
use crate::profile::{Models, Overrides};
use crate::terminal::{DownloadBars, Lang, Terminal};

/// The share of supported statements that may be reported.
const FALSE_ALARMS: f64 = 0.02;

fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn models() -> Models {
    let store = ModelStore {
        models_dirs: vec![std::env::var_os("RAG_QUERY_MODELS").unwrap().into()],
        hub: HubSettings { offline: true, ..HubSettings::from_env() },
        state_dir: std::env::temp_dir(),
        progress: Arc::new(DownloadBars::new(Terminal::new(Lang::En, true))),
    };
    let profile = Catalogue::load(None).unwrap().profile("demo").unwrap();
    Models::new(&profile, &store, &Overrides::default()).unwrap()
}

fn index(corpus: &Path, folder: &Path, models: &Models) -> DirectoryIndex {
    let writer =
        DirectoryWriter::open(folder, models.index_settings.clone(), Start::Update).unwrap();
    let paths = [corpus.canonicalize().unwrap()];
    let walk = documents::walk(&paths, &Filter::default()).unwrap();
    let (stop, mut watch) = (AtomicBool::new(false), |_| {});
    let embedder = models.embedder.get().unwrap();
    Indexer::new(Box::new(writer), embedder, Start::Update, &stop, &mut watch)
        .update(&paths, &walk)
        .unwrap();
    DirectoryIndex::open(folder).unwrap()
}

/// A statement's coverage and cosine with its own paragraph, another of the article, and any other.
struct Measured {
    train: bool,
    own: (f32, f32),
    same_article: (f32, f32),
    elsewhere: (f32, f32),
}

fn measure(set: &str, models: &Models) -> Vec<Measured> {
    let eval = Path::new("../shared/eval");
    let articles = fs::read_to_string(eval.join("xquad-articles.json")).unwrap();
    let articles: BTreeMap<String, Vec<String>> = serde_json::from_str(&articles).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let corpus = eval.join(set).join("corpus.jsonl");
    let index = index(&corpus, folder.path(), models);
    let passages: BTreeMap<String, Passage> = read(&corpus)
        .iter()
        .map(|line| {
            let passage = Passage {
                document: text(line, "id").to_owned(),
                headings: vec![text(line, "title").to_owned()],
                place: None,
                span: (0, text(line, "text").len()),
                text: text(line, "text").to_owned(),
                format: Markup::Plain,
            };
            (passage.document.clone(), passage)
        })
        .collect();
    let ids: Vec<&String> = passages.keys().collect();
    let mut judge = Judge::new(&index, models.embedder.get().unwrap(), models.support);
    let mut measured = Vec::new();
    for (i, question) in read(&eval.join(set).join("questions.jsonl")).iter().enumerate() {
        let own = question["relevant"][0].as_str().unwrap();
        let article = &own["xquad-".len().."xquad-a00".len()];
        let others: Vec<&String> =
            ids.iter().copied().filter(|id| *id != own && id.contains(article)).collect();
        let far: Vec<&String> = ids.iter().copied().filter(|id| !id.contains(article)).collect();
        let answer = question["answers"][0].as_str().unwrap();
        let statement = format!("{} {answer}.", text(question, "question").trim_end_matches('?'));
        let vector = judge.embed(vec![statement.clone()]).unwrap().remove(0);
        let lexical = index.lexical(&statement).unwrap();
        let mut nearness = |id: &str| {
            let passage = &passages[id];
            let number = ids.iter().position(|other| *other == id).unwrap();
            let cosine = judge.nearest(&vector, number, passage).unwrap();
            (lexical.coverage(&passage.text_to_embed()), cosine)
        };
        measured.push(Measured {
            train: articles["train"].iter().any(|other| other == article),
            own: nearness(own),
            same_article: nearness(others[i % others.len()]),
            elsewhere: nearness(far[i % far.len()]),
        });
    }
    measured
}

fn sum((coverage, cosine): (f32, f32)) -> f32 {
    coverage + cosine
}

/// Shares below a threshold: of the own paragraphs, the same article's, and the others.
fn below(measured: &[&Measured], score: fn((f32, f32)) -> f32, threshold: f32) -> [f64; 3] {
    let share = |pick: fn(&Measured) -> (f32, f32)| {
        let below = measured.iter().filter(|one| score(pick(one)) < threshold).count();
        below as f64 / measured.len() as f64
    };
    [share(|one| one.own), share(|one| one.same_article), share(|one| one.elsewhere)]
}

#[test]
#[ignore = "reads the evaluation data in ../shared"]
fn calibration() {
    let models = models();
    let sets = ["xquad-vi", "xquad-en", "xquad-vi2en", "xquad-en2vi"];
    let measured: Vec<Vec<Measured>> = sets.iter().map(|set| measure(set, &models)).collect();
    for (name, score) in [
        ("coverage", (|one| one.0) as fn((f32, f32)) -> f32),
        ("cosine", |one| one.1),
        ("their sum", sum),
    ] {
        for (languages, from) in [("one language", 0..2), ("two languages", 2..4)] {
            let mut train: Vec<f32> = measured[from.clone()]
                .iter()
                .flatten()
                .filter(|one| one.train)
                .map(|one| score(one.own))
                .collect();
            train.sort_by(f32::total_cmp);
            let threshold = train[(FALSE_ALARMS * train.len() as f64) as usize];
            eprintln!("{name}, {languages}: {threshold:.3}");
            for set in from {
                let report: Vec<&Measured> =
                    measured[set].iter().filter(|one| !one.train).collect();
                let [own, same, far] = below(&report, score, threshold);
                eprintln!(
                    "  {:12} own {:5.1} %  same article {:5.1} %  elsewhere {:5.1} %  precision {:.3}",
                    sets[set],
                    100.0 * own,
                    100.0 * same,
                    100.0 * far,
                    same / (same + own)
                );
            }
        }
    }
    // What is in use does what was reported, about.
    let thresholds = models.support.unwrap();
    for (set, threshold) in [
        (0, thresholds.same_language),
        (1, thresholds.same_language),
        (2, thresholds.across_languages),
        (3, thresholds.across_languages),
    ] {
        let report: Vec<&Measured> = measured[set].iter().filter(|one| !one.train).collect();
        let [own, same, _] = below(&report, sum, threshold);
        assert!(own < 0.04 && same > if set < 2 { 0.75 } else { 0.35 }, "{set}: {own} {same}");
    }
}
