//! Answers a standalone question.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::citations::{self, document_name};
use super::distinct::distinct;
use super::extractive;
use super::merge::{Source, merge};
use super::support::{Support, judge};
use super::{
    Answer, AnswerOptions, Citation, CitedBy, Event, Judgement, Mode, Placement, ReadPassage,
    Reason, Timings, TokenCounts,
};
use crate::generation::{Generator, LazyGenerator};
use crate::index::Passage;
use crate::models::catalogue::SupportThresholds;
use crate::prompt::Messages;
use crate::retrieval::{Gate, Relevance, Retrieval, Retriever};
use crate::support::milliseconds;
use crate::text::language::Language;

/// Extra hits that can replace near-duplicates; few enough that the reranker scores them anyway.
const SPARE_HITS: usize = 25;

/// A question as the user typed it, and as it is searched for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Byte for byte.
    pub typed: &'a str,
    /// Normalized.
    pub question: &'a str,
    /// The standalone rewrite to search for; `None` if the question already stands alone.
    pub searched: Option<&'a str>,
    /// Time spent on the rewrite.
    pub rewrite: Duration,
}

/// Answers questions from one index. Keeps no state per conversation, so any number of
/// conversations can share one; a loaded LLM generates for one of them at a time.
pub struct Answerer<'a> {
    retriever: Retriever<'a>,
    pub(super) llm: &'a LazyGenerator,
    support: Option<SupportThresholds>,
    pub(super) options: AnswerOptions,
    load_index: Duration,
}

impl<'a> Answerer<'a> {
    /// `load_index` is the time it took to open the index. Loads no model. Without `support`
    /// thresholds, word overlap alone decides whether a sentence is supported.
    pub fn new(
        retriever: Retriever<'a>,
        llm: &'a LazyGenerator,
        support: Option<SupportThresholds>,
        options: AnswerOptions,
        load_index: Duration,
    ) -> Self {
        Self { retriever, llm, support, options, load_index }
    }

    /// The retriever this answerer searches with.
    pub fn retriever(&self) -> &Retriever<'a> {
        &self.retriever
    }

    /// Finds as many texts as an answer would be written from, each with its copies.
    pub fn search_texts(&self, question: &str) -> Result<Retrieval> {
        self.retriever.retrieve_texts(question, self.options.top_k)
    }

    /// Retrieves the passages for a question, without near-duplicates.
    pub fn search(&self, question: &str) -> Result<Retrieval> {
        let top_k = self.options.top_k;
        let mut retrieval = self.retriever.retrieve(question, top_k + SPARE_HITS)?;
        retrieval.hits = distinct(retrieval.hits, top_k);
        Ok(retrieval)
    }

    /// Answers a question that has already been normalized.
    pub(super) fn answer(
        &self,
        asked: Asked,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Answer> {
        let question = asked.searched.unwrap_or(asked.question);
        let retrieval = self.search(question)?;
        watch(Event::Searched { took: retrieval.embed + retrieval.search });
        if self.retriever.reranks() {
            watch(Event::Reranked { took: retrieval.rerank });
        }
        let sources = merge(&retrieval.hits);
        let readable = self.for_llm(question, &sources);
        let gate = self.gate(readable.is_ok());
        let mut answer = self.begin(asked, &retrieval, gate);
        if let Some(reason) = self.refuses(&retrieval, gate) {
            watch(Event::Refused { reason });
            answer.reason = Some(reason);
            return Ok(answer);
        }
        answer.answered = true;
        match readable {
            Ok(readable) => {
                self.generate(question, &readable, &mut answer, interrupted, watch)?;
            }
            Err(why) => {
                why.into_iter().for_each(&mut *watch);
                self.extract(question, &retrieval, &sources, &mut answer, watch)?;
            }
        }
        Ok(answer)
    }

    /// The gate that a question passes before it is answered: careful if an LLM follows that can say
    /// itself that the passages do not answer.
    fn gate(&self, llm_follows: bool) -> Gate {
        if llm_follows && (self.llm.judges || self.llm.judge.is_some()) {
            Gate::Careful
        } else {
            Gate::Strict
        }
    }

    /// The gate for what was found for a question.
    pub fn gate_of(&self, question: &str, retrieval: &Retrieval) -> Gate {
        self.gate(self.for_llm(question, &merge(&retrieval.hits)).is_ok())
    }

    /// Why a question should be refused rather than answered; `None` if it should be answered.
    pub fn refuses(&self, retrieval: &Retrieval, gate: Gate) -> Option<Reason> {
        let Relevance { signals, .. } = retrieval.relevance;
        if self.retriever.index().chunk_count() == 0 {
            return Some(Reason::EmptyIndex);
        }
        if retrieval.hits.is_empty() {
            return Some(Reason::NoMatch);
        }
        let reason = if signals.coverage > 0.0 { Reason::LowRelevance } else { Reason::NoMatch };
        let is_low = retrieval.relevance.is_refused_by(gate);
        (is_low && !self.options.force).then_some(reason)
    }

    fn begin(&self, asked: Asked, retrieval: &Retrieval, gate: Gate) -> Answer {
        let on_cpu = Some("cpu".to_owned());
        Answer {
            question: asked.typed.to_owned(),
            searched: Some(asked.searched.unwrap_or(asked.question))
                .filter(|searched| *searched != asked.typed)
                .map(str::to_owned),
            answered: false,
            reason: None,
            relevance: Judgement {
                probability: retrieval.relevance.probability,
                gate,
                refused_below: retrieval.relevance.threshold(gate),
                llm: None,
            },
            mode: Mode::Extractive,
            answer: String::new(),
            citations: Vec::new(),
            passages: Vec::new(),
            unsupported: Vec::new(),
            model: None,
            placement: Placement {
                embedder: on_cpu.clone(),
                reranker: on_cpu.filter(|_| self.retriever.reranks()),
                llm: None,
            },
            timings_ms: Timings {
                rewrite: milliseconds::of(asked.rewrite),
                load_index: milliseconds::of(self.load_index),
                embed: milliseconds::of(retrieval.embed),
                search: milliseconds::of(retrieval.search),
                rerank: milliseconds::of(retrieval.rerank),
                ..Timings::default()
            },
            tokens: TokenCounts::default(),
            hits: retrieval.hits.clone(),
        }
    }

    /// The passages to give the LLM. An error if it should not answer: because the user asked for an
    /// extractive answer, or because it does not support the question's language or that of any
    /// passage, which is an event.
    pub(super) fn for_llm(
        &self,
        question: &str,
        sources: &[Source],
    ) -> Result<Vec<Source>, Option<Event<'static>>> {
        if self.options.extractive {
            return Err(None);
        }
        let max_passages = self.llm.max_passages.unwrap_or(sources.len());
        let Some(languages) = &self.llm.languages else {
            return Ok(sources.iter().take(max_passages).cloned().collect());
        };
        let knows = |language: Language| {
            language.code().is_some_and(|code| languages.iter().any(|known| known == code))
        };
        let language = Language::of(question);
        if !knows(language) {
            return Err(Some(Event::LlmNotFor { language }));
        }
        let readable: Vec<Source> = sources
            .iter()
            .filter(|source| knows(Language::of(&source.passage.text)))
            .take(max_passages)
            .cloned()
            .collect();
        if readable.is_empty() { Err(Some(Event::LlmCannotRead)) } else { Ok(readable) }
    }

    fn extract(
        &self,
        question: &str,
        retrieval: &Retrieval,
        sources: &[Source],
        answer: &mut Answer,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        watch(Event::Answering { mode: Mode::Extractive });
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
        watch(Event::Text { text: answer.answer.as_str().into() });
        let mut cited: Vec<usize> = sentences.iter().map(|sentence| sentence.passage).collect();
        cited.dedup();
        let read = sources.len().min(extractive::MAX_PASSAGES);
        self.cite(&cited, CitedBy::Quotation, &sources[..read], answer);
        answer.timings_ms.decode = milliseconds::of(start.elapsed());
        watch(Event::Answered { took: start.elapsed(), pace: None });
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
        if answer.reason == Some(Reason::NotInPassages) {
            watch(Event::Refused { reason: Reason::NotInPassages });
            return Ok(());
        }
        let (cited, invented) = citations::cited(&answer.answer, read);
        if invented {
            watch(Event::InventedCitations);
        }
        let sources = &sources[..read];
        self.cite(&cited, CitedBy::Model, sources, answer);
        if answer.reason == Some(Reason::Interrupted) {
            return Ok(());
        }
        let start = Instant::now();
        let Support { unsupported, supporting } = self.judge(&answer.answer, &passages[..read])?;
        if cited.is_empty() && !answer.answer.is_empty() {
            self.cite(&supporting, CitedBy::Support, sources, answer);
            watch(Event::NoCitations { supported: !supporting.is_empty() });
        }
        answer.unsupported = unsupported;
        answer.timings_ms.check = milliseconds::of(start.elapsed());
        if !answer.unsupported.is_empty() {
            watch(Event::Unsupported { sentences: answer.unsupported.as_slice().into() });
        }
        Ok(())
    }

    fn judge(&self, answer: &str, passages: &[Passage]) -> Result<Support> {
        let embedder = self.retriever.embedder()?;
        judge(answer, passages, self.retriever.index(), embedder, self.support)
    }

    /// The prompt for `question`, assuming that every passage fits the context; `None` if the LLM
    /// would not be asked. Does not load the LLM.
    pub fn messages(
        &self,
        question: &str,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Messages>> {
        let retrieval = self.search(question)?;
        let readable = self.for_llm(question, &merge(&retrieval.hits));
        if let Some(reason) = self.refuses(&retrieval, self.gate(readable.is_ok())) {
            watch(Event::Refused { reason });
            return Ok(None);
        }
        let sources = match readable {
            Ok(sources) => sources,
            Err(why) => {
                why.into_iter().for_each(watch);
                return Ok(None);
            }
        };
        let passages: Vec<Passage> = sources.into_iter().map(|source| source.passage).collect();
        self.options.prompt.render(question, &passages).map(Some)
    }

    /// Enters the passages that an answer was made of, and those of them that it cites.
    fn cite(&self, cited: &[usize], cited_by: CitedBy, sources: &[Source], answer: &mut Answer) {
        let citation = |n: usize, cited_by: Option<CitedBy>| {
            let Source { passage, score } = &sources[n - 1];
            Citation {
                n,
                document_id: passage.document.clone(),
                document: document_name(&passage.document, self.options.names_below.as_deref()),
                index: passage.index.clone(),
                heading: passage.heading(),
                place: passage.place,
                recognized: passage.recognized,
                score: *score,
                cited_by,
            }
        };
        answer.citations = cited.iter().map(|&n| citation(n, Some(cited_by))).collect();
        let read = (1..=sources.len()).map(|n| ReadPassage {
            source: citation(n, Some(cited_by).filter(|_| cited.contains(&n))),
            cited: cited.contains(&n),
            text: sources[n - 1].passage.text.clone(),
        });
        answer.passages = read.collect();
    }

    /// The LLM, if it can generate without loading first and supports the question's language.
    pub(super) fn ready_generator(&self, question: &str) -> Option<Generator<'_>> {
        let known = self.llm.languages.as_ref();
        let code = Language::of(question).code();
        let writes = known.is_none_or(|known| known.iter().any(|known| Some(&**known) == code));
        self.llm.ready().filter(|_| writes && !self.options.extractive)
    }
}
