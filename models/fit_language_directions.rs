//! Fits the directions in which an embedder tells languages apart, and questions from passages:
//! a file for `language_directions` of its entry in the catalogue (docs/retrieval.md).
//!
//! ```text
//! cargo run --release --example fit-language-directions -- KEY FOLDER OUT.f32 ARTICLES.json SET...
//! ```
//!
//! KEY is the key of the embedder in the catalogue, and FOLDER has its files. SET is a folder with
//! `corpus.jsonl` and `questions.jsonl` in one language; all sets have the same content, like those of
//! XQuAD. Only the articles that ARTICLES.json calls "train" are read. The directions are the means of
//! the languages minus their common mean, and the difference between questions and passages.

#![allow(clippy::unwrap_used, reason = "a tool for those who work on the program")]

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rag_query::internals::embedding::{Embedder, Embedding, Tokens};
use rag_query::internals::models::Catalogue;
use serde_json::Value;

/// Means of the vectors of one kind of text in one language, `[dim]`.
struct Means {
    text: Vec<f64>,
    token: Vec<f64>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [key, folder, out, articles, sets @ ..] = args.as_slice() else {
        bail!("KEY FOLDER OUT.f32 ARTICLES.json SET... are needed; see the head of this program");
    };
    let embedder = embedder(key, Path::new(folder))?;
    let split: Value = serde_json::from_str(&std::fs::read_to_string(articles)?)?;
    let train = split["train"].as_array().context("no articles to train on")?;
    let train: BTreeSet<&str> = train.iter().filter_map(Value::as_str).collect();

    let (mut questions, mut passages) = (Vec::new(), Vec::new());
    for set in sets.iter().map(Path::new) {
        let asked = texts(&set.join("questions.jsonl"), "question", &train)?;
        let embed = |text: &String| embedder.embed_query(text, Tokens::Kept);
        questions.push(means(&asked.iter().map(embed).collect::<Result<Vec<_>>>()?));
        let mut written = texts(&set.join("corpus.jsonl"), "text", &train)?;
        written.retain(|text| embedder.count_tokens(text) <= embedder.passage_window());
        passages.push(means(&embedder.embed_passages(&written, Tokens::Kept)?));
        println!("{}: {} questions, {} passages", set.display(), asked.len(), written.len());
    }
    let all = |of: fn(&Means) -> &Vec<f64>| {
        let list = |means: &[Means]| -> Vec<Vec<f64>> {
            means.iter().map(|means| of(means).clone()).collect()
        };
        (list(&questions), list(&passages))
    };
    let (text, token) = (all(|means| &means.text), all(|means| &means.token));
    let rows = [directions(&text.0, &text.1), directions(&token.0, &token.1)].concat();
    let bytes: Vec<u8> = rows.concat().iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
    std::fs::write(out, bytes)?;
    println!("{out}: {} directions each of texts and tokens", rows.len() / 2);
    Ok(())
}

/// The embedder as its model makes vectors.
fn embedder(key: &str, folder: &Path) -> Result<Embedder> {
    let mut spec = Catalogue::load(None)?.model(key)?.embedder()?.clone();
    spec.language_directions = None;
    let file = |name: &str| folder.join(name);
    Embedder::load(&file("config.json"), &file("tokenizer.json"), &file("model.safetensors"), spec)
}

/// The texts under `field` that belong to the articles `train`.
fn texts(file: &Path, field: &str, train: &BTreeSet<&str>) -> Result<Vec<String>> {
    let lines = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut texts = Vec::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line)?;
        // A passage's own, or that of a question's passage: "xquad-a07-p03".
        let id = value["relevant"].get(0).unwrap_or(&value["id"]).as_str().unwrap_or_default();
        if id.split('-').nth(1).is_some_and(|article| train.contains(article)) {
            texts.push(value[field].as_str().context("a line has no text")?.to_owned());
        }
    }
    Ok(texts)
}

fn means(embeddings: &[Embedding]) -> Means {
    let wide = |vector: &Vec<f32>| vector.iter().map(|&value| f64::from(value)).collect();
    let texts: Vec<Vec<f64>> = embeddings.iter().map(|e| wide(&e.vector)).collect();
    let tokens = embeddings.iter().flat_map(|e| &e.tokens);
    let tokens: Vec<Vec<f64>> = tokens.map(|token| wide(&token.vector)).collect();
    Means { text: mean(&texts), token: mean(&tokens) }
}

fn mean(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors[0].len()];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / vectors.len() as f64);
    }
    sum
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// An orthonormal basis of what the languages differ in and of what questions differ in.
fn directions(questions: &[Vec<f64>], passages: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let centre = mean(&[mean(questions), mean(passages)]);
    let languages = questions.iter().zip(passages).skip(1);
    let mut spanning: Vec<Vec<f64>> = languages
        .map(|(asked, written)| minus(&mean(&[asked.clone(), written.clone()]), &centre))
        .collect();
    // The first language's is minus the sum of the others'.
    spanning.push(minus(&mean(questions), &mean(passages)));
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for mut vector in spanning {
        // Twice: once leaves rounding errors.
        for _ in 0..2 {
            for unit in &basis {
                let along = dot(&vector, unit);
                vector.iter_mut().zip(unit).for_each(|(value, unit)| *value -= along * unit);
            }
        }
        let length = dot(&vector, &vector).sqrt();
        basis.push(vector.iter().map(|value| value / length).collect());
    }
    basis
}
