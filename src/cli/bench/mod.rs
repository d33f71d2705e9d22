//! `rag-query bench`: the speed of the profile's models and of the index, compared with the
//! machine's peak. Gathers a report, then prints it as text or JSON.

mod html;
mod table;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::report::ReportFile;
use super::setup::Setup;
use crate::compute::{SimdLevel, pool};
use crate::embedding::codes::{Coder, TokenCodes};
use crate::embedding::{Embedder, TokenVector, Tokens};
use crate::generation::local::placement::DeviceChoice;
use crate::measure::{ATTEMPTS, generate, longest, median, median_seconds, peak, prompt};
use crate::models::catalogue::{EmbedderSpec, Precision};
use crate::profile::Models;
use crate::retrieval::Retrieval;
use crate::retrieval::rerank::{LateInteraction, QueryToken, Reranker};
use crate::terminal::exit::{Exit, hint};

/// Seconds to spend on each figure; a single run may take longer.
const BUDGET_SECONDS: f64 = 1.0;
/// Tokens per question, including the embedder's special tokens.
const QUESTION_TOKENS: usize = 12;
/// Lengths of passages to embed, and the total tokens per core, which fixes their number.
const PASSAGE_TOKENS: [usize; 2] = [64, 256];
const TOKENS_PER_CORE: usize = 1024;
/// Passages to rerank (as many as a search does), and the tokens of each.
const RERANKED: (usize, usize) = (30, 200);
/// Questions to search for, after a first one that supplies them, and the words of each.
const QUESTIONS: (usize, usize) = (20, 8);
/// Tokens for the LLM to prefill and to decode.
const PROMPT_TOKENS: u32 = 256;
const ANSWER_TOKENS: usize = 33;

/// Questions and passages are cut from this text.
const TEXT: &str = "Xử lý ngôn ngữ tự nhiên là lĩnh vực nghiên cứu cách để máy tính phân tích, \
    hiểu và tạo ra ngôn ngữ của con người, ở dạng văn bản cũng như lời nói. A search engine reads \
    the question, looks for passages that are near to it in meaning or share its words, and puts \
    the best of them first.";

#[derive(Serialize)]
struct Report {
    version: &'static str,
    profile: String,
    machine: Machine,
    embedder: EmbedderReport,
    /// Absent with `--no-rerank`.
    reranker: Option<RerankerReport>,
    search: SearchReport,
    /// Absent without `--with-llm`.
    llm: Option<LlmReport>,
}

/// Speeds are in 10⁹ operations or bytes per second.
#[derive(Serialize)]
struct Machine {
    cpu: &'static str,
    threads: usize,
    peak_f32_gflops: f64,
    peak_int8_gflops: f64,
    memory_gb_per_s: f64,
}

#[derive(Serialize)]
struct EmbedderReport {
    name: String,
    precision: Precision,
    load_ms: f64,
    question_tokens: usize,
    question_ms: f64,
    passages: Vec<PassagesReport>,
}

#[derive(Serialize)]
struct PassagesReport {
    tokens: usize,
    passages_per_s: f64,
    gflops: f64,
    share_of_peak: f64,
}

#[derive(Serialize)]
struct RerankerReport {
    name: String,
    /// Absent for late interaction, which has no model of its own.
    load_ms: Option<f64>,
    passages: usize,
    passage_tokens: usize,
    rerank_ms: f64,
}

#[derive(Serialize)]
struct SearchReport {
    index: String,
    /// Absent if no index matches the profile.
    figures: Option<SearchFigures>,
    problem: Option<Problem>,
}

/// Medians over all questions.
#[derive(Serialize)]
struct SearchFigures {
    chunks: usize,
    questions: usize,
    p50_ms: f64,
    embed_ms: f64,
    search_ms: f64,
    rerank_ms: f64,
}

#[derive(Serialize)]
struct Problem {
    error: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct LlmReport {
    name: String,
    device: String,
    load_ms: f64,
    prompt_tokens: usize,
    prefill_tokens_per_s: f64,
    /// Absent if the model ends every answer at once.
    decode_tokens_per_s: Option<f64>,
    weights_bytes: Option<u64>,
    /// Estimated as decode rate × size of the weights: each token reads all of them, except most of
    /// the token embeddings.
    decode_gb_per_s: Option<f64>,
    /// Share of main memory bandwidth; absent on a GPU, which has its own memory.
    share_of_memory: Option<f64>,
}

pub fn run(setup: &Setup, with_llm: bool, html: Option<&Path>) -> Result<Exit> {
    let html = html.map(ReportFile::at).transpose()?;
    let report = gather(setup, with_llm)?;
    if setup.global.json {
        setup.terminal.print_json(&report)?;
    } else {
        setup.terminal.print(&table::text(&report, setup.terminal.lang))?;
    }
    if let Some(file) = html {
        file.write(&html::page(&report, setup.terminal.lang)?)?;
        setup.terminal.say(&setup.terminal.lang.report_written(&file.name()));
    }
    Ok(Exit::Answered)
}

fn gather(setup: &Setup, with_llm: bool) -> Result<Report> {
    let machine = timed(setup, ("bộ xử lý", "the processor"), || Ok(machine()))?;
    // First, so that a failure to load the LLM shows up before the long measurements.
    let measure_llm = || timed(setup, ("LLM", "the LLM"), || llm(setup, machine.memory_gb_per_s));
    let llm = with_llm.then(measure_llm).transpose()?;
    // Warms the page cache, so that load times do not depend on the disk.
    load(&setup.models()?)?;
    let models = setup.models()?;
    let (embedder_ms, reranker_ms) = load(&models)?;
    let embedder = timed(setup, ("embedding", "the embedder"), || {
        embedder(setup, &models, embedder_ms, &machine)
    })?;
    let reranker = timed(setup, ("xếp hạng lại", "the reranker"), || {
        reranker(setup, &models, reranker_ms)
    })?;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        profile: setup.profile.name.clone(),
        search: search(setup, &models)?,
        machine,
        embedder,
        reranker,
        llm,
    })
}

/// Runs `work`, reporting what is measured and the time taken on standard error.
fn timed<T>(setup: &Setup, (vi, en): (&str, &str), work: impl FnOnce() -> Result<T>) -> Result<T> {
    let step = setup.terminal.begin(&setup.terminal.lang.measuring(vi, en));
    let start = Instant::now();
    let result = work()?;
    step.done_in(start.elapsed());
    Ok(result)
}

fn machine() -> Machine {
    Machine {
        cpu: SimdLevel::detect().name(),
        threads: pool::threads(),
        peak_f32_gflops: peak::operations(Precision::F32),
        peak_int8_gflops: peak::operations(Precision::Int8),
        memory_gb_per_s: peak::memory(),
    }
}

/// Loads the embedder, then the reranker; returns the milliseconds each took.
fn load(models: &Models) -> Result<(f64, Option<f64>)> {
    let start = Instant::now();
    models.embedder.get()?;
    let embedder = ms(start.elapsed());
    let start = Instant::now();
    let reranker = match &models.reranker {
        Some(Reranker::CrossEncoder(model)) => model.get().map(|_| Some(ms(start.elapsed())))?,
        Some(Reranker::LateInteraction) | None => None,
    };
    Ok((embedder, reranker))
}

fn embedder(
    setup: &Setup,
    models: &Models,
    load_ms: f64,
    machine: &Machine,
) -> Result<EmbedderReport> {
    let entry = &setup.profile.embedder;
    let (model, spec) = (models.embedder.get()?, entry.embedder()?);
    let window = |tokens: usize| tokens.min(spec.max_tokens);
    let (question, question_tokens) = text(model, &spec.query_prefix, window(QUESTION_TOKENS), 0);
    let question_s = seconds(|| model.embed_query(&question, Tokens::Dropped).map(drop))?;
    let peak = match spec.precision {
        Precision::F32 => machine.peak_f32_gflops,
        Precision::Int8 => machine.peak_int8_gflops,
    };
    let passages = PASSAGE_TOKENS.map(|tokens| {
        let count = (TOKENS_PER_CORE * machine.threads).div_ceil(tokens);
        let (passages, tokens) = passages(model, spec, count, window(tokens));
        let seconds = seconds(|| model.embed_passages(&passages, Tokens::Dropped).map(drop))?;
        let operations: usize = tokens.iter().map(|&tokens| model.operations(tokens)).sum();
        let gflops = 2.0 * operations as f64 / seconds / 1e9;
        Ok(PassagesReport {
            tokens: tokens.iter().sum::<usize>() / count,
            passages_per_s: count as f64 / seconds,
            gflops,
            share_of_peak: gflops / peak,
        })
    });
    Ok(EmbedderReport {
        name: entry.name.clone(),
        precision: spec.precision,
        load_ms,
        question_tokens,
        question_ms: 1e3 * question_s,
        passages: passages.into_iter().collect::<Result<_>>()?,
    })
}

fn reranker(
    setup: &Setup,
    models: &Models,
    load_ms: Option<f64>,
) -> Result<Option<RerankerReport>> {
    let Some(reranker) = &models.reranker else { return Ok(None) };
    let (embedder, spec) = (models.embedder.get()?, setup.profile.embedder.embedder()?);
    let (question, _) = text(embedder, &spec.query_prefix, QUESTION_TOKENS, 0);
    let (passages, _) = passages(embedder, spec, RERANKED.0, RERANKED.1.min(spec.max_tokens));
    let seconds = match reranker {
        Reranker::CrossEncoder(model) => {
            let model = model.get()?;
            seconds(|| model.score(&question, &passages).map(drop))?
        }
        Reranker::LateInteraction => {
            let query = embedder.embed_query(&question, Tokens::Kept)?;
            let passages = embedder.embed_passages(&passages, Tokens::Kept)?;
            let mean = vec![0.0; spec.dimension];
            let codes = models.index_settings.token_vectors.as_ref();
            let coder = Coder::new(codes.unwrap_or(&TokenCodes::EightBit), spec.dimension)?;
            let passages: Vec<Vec<u8>> =
                passages.iter().map(|passage| coder.encode(&passage.tokens)).collect();
            seconds(|| {
                let token = |token: &TokenVector| QueryToken {
                    vector: token.vector.clone(),
                    weight: 1.0,
                    general_weight: 1.0,
                };
                let query: Vec<QueryToken> = query.tokens.iter().map(token).collect();
                let late = LateInteraction::new(coder.clone(), &mean, &query);
                let compared = pool::map(passages.len(), |i| late.maxsim(&passages[i]).centred);
                black_box(compared);
                Ok(())
            })?
        }
    };
    Ok(Some(RerankerReport {
        name: setup.profile.reranker.name.clone(),
        load_ms,
        passages: RERANKED.0,
        passage_tokens: RERANKED.1.min(spec.max_tokens),
        rerank_ms: 1e3 * seconds,
    }))
}

/// Searches for the beginnings of indexed passages. A missing index is reported, not an error.
fn search(setup: &Setup, models: &Models) -> Result<SearchReport> {
    let index = setup.index.to_string();
    let opened = match setup.open_index(models) {
        Ok((opened, _)) => opened,
        Err(error) => {
            let problem = Problem { error: format!("{error:#}"), hint: hint(&error) };
            return Ok(SearchReport { index, figures: None, problem: Some(problem) });
        }
    };
    let figures = timed(setup, ("tìm kiếm", "the search"), || {
        let retriever = models.retriever(opened.as_ref())?;
        let mut questions = vec![words(0, QUESTIONS.1)];
        let hits = retriever.retrieve(&questions[0], QUESTIONS.0)?.hits;
        questions.extend(hits.iter().map(|hit| beginning(&hit.passage.text, QUESTIONS.1)));
        let found = questions
            .iter()
            .map(|question| retriever.retrieve(question, setup.global.top_k))
            .collect::<Result<Vec<_>>>()?;
        let p50 = |time: &dyn Fn(&Retrieval) -> Duration| {
            median(found.iter().map(|retrieval| ms(time(retrieval))).collect())
        };
        Ok(SearchFigures {
            chunks: opened.chunk_count(),
            questions: questions.len(),
            p50_ms: p50(&|r| r.embed + r.search + r.rerank),
            embed_ms: p50(&|r| r.embed),
            search_ms: p50(&|r| r.search),
            rerank_ms: p50(&|r| r.rerank),
        })
    })?;
    Ok(SearchReport { index, figures: Some(figures), problem: None })
}

fn llm(setup: &Setup, memory_gb_per_s: f64) -> Result<LlmReport> {
    let models = setup.models()?;
    let start = Instant::now();
    let llm = models.llm.local()?;
    let load_ms = ms(start.elapsed());
    let prompt_tokens = PROMPT_TOKENS.min(llm.context() as u32 / 2).max(1);
    // Warm-up: loads kernels and brings weights into memory.
    generate(llm, &prompt(llm, prompt_tokens, ATTEMPTS), 1)?;
    let answer = longest(llm, prompt_tokens, ANSWER_TOKENS)?;
    // Prefill yields the first token; each of the others takes a decoding step.
    let decoded = answer.tokens.len().saturating_sub(1);
    let decode = (decoded > 0).then(|| decoded as f64 / answer.decode.as_secs_f64());
    let outlook = models.llm_request.outlook(&setup.store).transpose()?;
    let weights_bytes = outlook.map(|outlook| outlook.plan.weights);
    let decode_gb_per_s = decode.zip(weights_bytes).map(|(rate, bytes)| rate * bytes as f64 / 1e9);
    let on_cpu = models.llm_device == DeviceChoice::Cpu;
    Ok(LlmReport {
        name: models.llm.name.clone(),
        device: llm.placed().device.clone(),
        load_ms,
        prompt_tokens: answer.prompt_tokens,
        prefill_tokens_per_s: answer.prompt_tokens as f64 / answer.prefill.as_secs_f64(),
        decode_tokens_per_s: decode,
        weights_bytes,
        decode_gb_per_s,
        share_of_memory: decode_gb_per_s.filter(|_| on_cpu).map(|rate| rate / memory_gb_per_s),
    })
}

/// Median time of `work` in seconds, or its first error.
fn seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut result = Ok(());
    let seconds = median_seconds(BUDGET_SECONDS, 1, || {
        if result.is_ok() {
            result = work();
        }
    });
    result.map(|()| seconds)
}

/// `count` different passages of at most `tokens` tokens, and their actual lengths.
fn passages(
    model: &Embedder,
    spec: &EmbedderSpec,
    count: usize,
    tokens: usize,
) -> (Vec<String>, Vec<usize>) {
    (0..count).map(|first| text(model, &spec.passage_prefix, tokens, first)).unzip()
}

/// As many words of [`TEXT`], starting at word `first`, as fit into `tokens` with the prefix and
/// two special tokens. Also returns the resulting number of tokens.
fn text(model: &Embedder, prefix: &str, tokens: usize, first: usize) -> (String, usize) {
    let count = |words: &str| 2 + model.count_tokens(&format!("{prefix}{words}"));
    let (mut fits, mut too_many) = (1, tokens.max(2));
    while fits + 1 < too_many {
        let middle = usize::midpoint(fits, too_many);
        let enough = count(&words(first, middle)) <= tokens;
        *(if enough { &mut fits } else { &mut too_many }) = middle;
    }
    let words = words(first, fits);
    let tokens = count(&words);
    (words, tokens)
}

fn words(first: usize, count: usize) -> String {
    let words: Vec<&str> = TEXT.split(' ').cycle().skip(first).take(count).collect();
    words.join(" ")
}

fn beginning(text: &str, words: usize) -> String {
    text.split_whitespace().take(words).collect::<Vec<_>>().join(" ")
}

fn ms(duration: Duration) -> f64 {
    1e3 * duration.as_secs_f64()
}
