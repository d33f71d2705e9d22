//! Answering: a question → a cited answer, with everything that happened on the way.

mod citations;
pub mod conversation;
mod distinct;
mod extractive;
mod merge;
mod support;
mod write;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::documents::Place;
use crate::generation::local::SamplingOptions;
use crate::generation::local::placement::Placed;
use crate::generation::remote::RemoteError;
use crate::generation::{Generator, LazyGenerator, Written};
use crate::index::Passage;
use crate::models::catalogue::SupportThresholds;
use crate::prompt::{Messages, PromptTemplate};
use crate::retrieval::{Hit, Relevance, Retrieval, Retriever};
use crate::text::language::Language;
use distinct::distinct;
use merge::{Source, merge};
use support::unsupported;

pub use citations::without_citations;
pub use support::Unsupported;

/// Hits beyond those wanted, which take the places of near-duplicates. No more than are reranked
/// anyway.
const SPARE: usize = 25;

/// How answers are made.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    /// Passages to answer from.
    pub top_k: usize,
    /// Never use the LLM.
    pub extractive: bool,
    /// Answer from the best passages, whatever their relevance.
    pub force: bool,
    /// How the LLM chooses tokens.
    pub sampling: SamplingOptions,
    /// What the LLM is asked with.
    pub prompt: PromptTemplate,
}

/// Something that happened, for those who watch.
#[derive(Debug)]
pub enum Event<'a> {
    /// The best passages were found.
    Searched(&'a Retrieval),
    /// They were reranked.
    Reranked(&'a Retrieval),
    /// There is no answer, and why.
    Refused(Reason),
    /// The LLM does not write the question's language, so the passages' own sentences answer.
    LlmNotFor(Language),
    /// The LLM does not read the passages' language, so their own sentences answer.
    LlmCannotRead,
    /// The LLM is being loaded now.
    LoadingLlm,
    /// It was.
    LlmLoaded {
        /// Where it is.
        placed: &'a Placed,
        /// How long it took.
        took: Duration,
    },
    /// So many of the lowest-ranked passages did not fit into the LLM's context.
    PassagesDropped(usize),
    /// The answer begins.
    Answering,
    /// A piece of it.
    Text(&'a str),
    /// A server did not answer, and `next` is asked after a pause.
    ServerFailed {
        /// Why.
        error: &'a RemoteError,
        /// `host:port`.
        next: &'a str,
        /// How long.
        pause: Duration,
    },
    /// The answer cites passages that it was not given.
    InventedCitations,
    /// These sentences of the answer have no support in the passages.
    Unsupported(&'a [Unsupported]),
    /// The answer cites nothing; the passages it was given stand in for citations.
    NoCitations,
    /// The answer ended.
    Answered {
        /// Time since it began.
        took: Duration,
        /// What the LLM did; none for an extractive answer.
        written: Option<&'a Written>,
    },
}

/// Who wrote an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The LLM.
    Generative,
    /// The documents themselves.
    Extractive,
}

/// Why there is no answer, or only a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The index holds nothing.
    EmptyIndex,
    /// No word of the question occurs, and nothing is near it in meaning.
    NoMatch,
    /// Something was found, but probably not an answer.
    LowRelevance,
    /// The user interrupted.
    Interrupted,
    /// The answer reached the most tokens allowed.
    MaxTokens,
}

/// A passage that an answer rests on.
#[derive(Debug, Clone, Serialize)]
pub struct Citation {
    /// Its number in the answer.
    pub n: usize,
    /// Path of the document, or `path#id`.
    pub document: String,
    /// Heading path, `A > B`.
    pub heading: String,
    /// `lines` or `pages`, first and last, where the file has them.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Comparable within one question only.
    pub score: f32,
}

/// Where the models' tensors are; absent for a model that was not used.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Placement {
    /// The embedder.
    pub embedder: Option<String>,
    /// The reranker.
    pub reranker: Option<String>,
    /// The LLM.
    pub llm: Option<String>,
}

/// How long each stage took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Timings {
    /// Rewriting a follow-up.
    pub rewrite: f64,
    /// Opening the index.
    pub load_index: f64,
    /// Embedding the question.
    pub embed: f64,
    /// Searching and fusing.
    pub search: f64,
    /// Reranking.
    pub rerank: f64,
    /// Loading the LLM; 0 when it was loaded already.
    pub load_llm: f64,
    /// Reading the prompt.
    pub prefill: f64,
    /// Writing the answer.
    pub decode: f64,
    /// Looking for its sentences in the passages.
    pub check: f64,
}

/// How many tokens the LLM read and wrote.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TokenCounts {
    /// Read.
    pub prompt: usize,
    /// Written.
    pub generated: usize,
}

/// An answer, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// What was searched for in a dialogue, where that is not the question itself.
    pub searched: Option<String>,
    /// Whether the documents answer it.
    pub answered: bool,
    /// Why not, or why only in part.
    pub reason: Option<Reason>,
    /// Who wrote it.
    pub mode: Mode,
    /// The text; empty where the documents do not answer.
    pub answer: String,
    /// What it rests on.
    pub citations: Vec<Citation>,
    /// Sentences that the passages do not support, as far as that can be told.
    pub unsupported: Vec<Unsupported>,
    /// The LLM's name; absent where it did not write.
    pub model: Option<String>,
    /// Where the models ran.
    pub placement: Placement,
    /// How long it took.
    pub timings_ms: Timings,
    /// How many tokens it took.
    pub tokens: TokenCounts,
    /// The passages that it could have cited, with all scores, for `--explain` and `/sources`.
    #[serde(skip)]
    pub hits: Vec<Hit>,
}

/// Answers questions from one index.
pub struct Answerer<'a> {
    retriever: Retriever<'a>,
    llm: &'a LazyGenerator,
    support: Option<SupportThresholds>,
    options: AnswerOptions,
    load_index: Duration,
}

impl<'a> Answerer<'a> {
    /// Prepares to answer from what `retriever` finds in its index, which took `load_index` to
    /// open; loads nothing. Without `support` thresholds words alone decide what supports a
    /// sentence.
    pub fn new(
        retriever: Retriever<'a>,
        llm: &'a LazyGenerator,
        support: Option<SupportThresholds>,
        options: AnswerOptions,
        load_index: Duration,
    ) -> Self {
        Self { retriever, llm, support, options, load_index }
    }

    /// What finds the passages.
    pub fn retriever(&self) -> &Retriever<'a> {
        &self.retriever
    }

    /// Finds the passages for a question.
    pub fn search(&self, question: &str) -> Result<Retrieval> {
        let top_k = self.options.top_k;
        let mut retrieval = self.retriever.retrieve(question, top_k + SPARE)?;
        retrieval.hits = distinct(retrieval.hits, top_k);
        Ok(retrieval)
    }

    /// Answers a question that went through [`normalize`](crate::text::question::normalize).
    pub fn answer(
        &self,
        question: &str,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Answer> {
        let retrieval = self.search(question)?;
        watch(Event::Searched(&retrieval));
        if self.retriever.reranks() {
            watch(Event::Reranked(&retrieval));
        }
        let mut answer = self.begin(question, &retrieval);
        if let Some(reason) = self.refuses(&retrieval) {
            watch(Event::Refused(reason));
            answer.reason = Some(reason);
            return Ok(answer);
        }
        let sources = merge(&retrieval.hits);
        answer.answered = true;
        match self.for_llm(question, &sources, watch) {
            Some(readable) => {
                self.generate(question, &readable, &mut answer, interrupted, watch)?;
            }
            None => self.extract(question, &retrieval, &sources, &mut answer, watch)?,
        }
        Ok(answer)
    }

    /// Why a question is answered with "your documents say nothing about this", if it is.
    pub fn refuses(&self, retrieval: &Retrieval) -> Option<Reason> {
        let Relevance { is_low, signals, .. } = retrieval.relevance;
        if self.retriever.index().chunk_count() == 0 {
            return Some(Reason::EmptyIndex);
        }
        if retrieval.hits.is_empty() {
            return Some(Reason::NoMatch);
        }
        let reason = if signals.coverage > 0.0 { Reason::LowRelevance } else { Reason::NoMatch };
        (is_low && !self.options.force).then_some(reason)
    }

    fn begin(&self, question: &str, retrieval: &Retrieval) -> Answer {
        let on_cpu = Some("cpu".to_owned());
        Answer {
            question: question.to_owned(),
            searched: None,
            answered: false,
            reason: None,
            mode: Mode::Extractive,
            answer: String::new(),
            citations: Vec::new(),
            unsupported: Vec::new(),
            model: None,
            placement: Placement {
                embedder: on_cpu.clone(),
                reranker: on_cpu.filter(|_| self.retriever.reranks()),
                llm: None,
            },
            timings_ms: Timings {
                load_index: milliseconds(self.load_index),
                embed: milliseconds(retrieval.embed),
                search: milliseconds(retrieval.search),
                rerank: milliseconds(retrieval.rerank),
                ..Timings::default()
            },
            tokens: TokenCounts::default(),
            hits: retrieval.hits.clone(),
        }
    }

    /// The passages that the LLM is to answer from; `None` where it is not to answer at all: by
    /// the user's wish, or because it does not write the question's language or read that of any
    /// passage.
    fn for_llm(
        &self,
        question: &str,
        sources: &[Source],
        watch: &mut dyn FnMut(Event),
    ) -> Option<Vec<Source>> {
        if self.options.extractive {
            return None;
        }
        let most = self.llm.max_passages.unwrap_or(sources.len());
        let Some(languages) = &self.llm.languages else {
            return Some(sources.iter().take(most).cloned().collect());
        };
        let knows = |language: Language| {
            language.code().is_some_and(|code| languages.iter().any(|known| known == code))
        };
        let language = Language::of(question);
        if !knows(language) {
            watch(Event::LlmNotFor(language));
            return None;
        }
        let readable: Vec<Source> = sources
            .iter()
            .filter(|source| knows(Language::of(&source.passage.text)))
            .take(most)
            .cloned()
            .collect();
        if readable.is_empty() {
            watch(Event::LlmCannotRead);
            return None;
        }
        Some(readable)
    }

    fn extract(
        &self,
        question: &str,
        retrieval: &Retrieval,
        sources: &[Source],
        answer: &mut Answer,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        watch(Event::Answering);
        let start = Instant::now();
        let passages: Vec<Passage> = sources.iter().map(|source| source.passage.clone()).collect();
        let lexical = self.retriever.index().lexical(question)?;
        let embedder = self.retriever.embedder()?;
        let sentences = extractive::select(&retrieval.question, &lexical, &passages, embedder)?;
        let lines: Vec<String> = sentences
            .iter()
            .map(|sentence| format!("{} [{}]", sentence.text, sentence.passage))
            .collect();
        answer.answer = lines.join("\n");
        watch(Event::Text(&answer.answer));
        let mut cited: Vec<usize> = sentences.iter().map(|sentence| sentence.passage).collect();
        cited.dedup();
        answer.citations = cite(&cited, sources);
        answer.timings_ms.decode = milliseconds(start.elapsed());
        watch(Event::Answered { took: start.elapsed(), written: None });
        Ok(())
    }

    fn generate(
        &self,
        question: &str,
        sources: &[Source],
        answer: &mut Answer,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let passages: Vec<Passage> = sources.iter().map(|source| source.passage.clone()).collect();
        let read = self.write(question, &passages, answer, interrupted, watch)?;
        let (cited, invented) = citations::cited(&answer.answer, read);
        if invented {
            watch(Event::InventedCitations);
        }
        if cited.is_empty() && !answer.answer.is_empty() {
            watch(Event::NoCitations);
            answer.citations = cite(&(1..=read).collect::<Vec<_>>(), sources);
        } else {
            answer.citations = cite(&cited, sources);
        }
        if answer.reason != Some(Reason::Interrupted) {
            let start = Instant::now();
            answer.unsupported = self.unsupported(&answer.answer, &passages[..read])?;
            answer.timings_ms.check = milliseconds(start.elapsed());
            if !answer.unsupported.is_empty() {
                watch(Event::Unsupported(&answer.unsupported));
            }
        }
        Ok(())
    }

    fn unsupported(&self, answer: &str, passages: &[Passage]) -> Result<Vec<Unsupported>> {
        let embedder = self.retriever.embedder()?;
        unsupported(answer, passages, self.retriever.index(), embedder, self.support)
    }

    /// What the LLM would be asked, all passages of its prompt counted as fitting; nothing where
    /// it would not be asked. Loads no LLM.
    pub fn messages(
        &self,
        question: &str,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Messages>> {
        let retrieval = self.search(question)?;
        if let Some(reason) = self.refuses(&retrieval) {
            watch(Event::Refused(reason));
            return Ok(None);
        }
        let Some(sources) = self.for_llm(question, &merge(&retrieval.hits), watch) else {
            return Ok(None);
        };
        let passages: Vec<Passage> = sources.into_iter().map(|source| source.passage).collect();
        self.options.prompt.render(question, &passages).map(Some)
    }

    /// The LLM, if it can write at once and writes the language of a question.
    pub fn ready_generator(&self, question: &str) -> Option<Generator<'_>> {
        let known = self.llm.languages.as_ref();
        let code = Language::of(question).code();
        let writes = known.is_none_or(|known| known.iter().any(|known| Some(&**known) == code));
        self.llm.ready().filter(|_| writes && !self.options.extractive)
    }
}

fn cite(numbers: &[usize], sources: &[Source]) -> Vec<Citation> {
    numbers
        .iter()
        .map(|&n| {
            let Source { passage, score } = &sources[n - 1];
            Citation {
                n,
                document: passage.document.clone(),
                heading: passage.heading(),
                place: passage.place,
                score: *score,
            }
        })
        .collect()
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
