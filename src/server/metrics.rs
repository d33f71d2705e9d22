//! What a server counts, for Prometheus.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::answer::{Answer, Event, Pace, Reason};
use crate::retrieval::Retrieval;

/// Upper bounds of stages, in seconds: from a search in memory to the load of a large model.
const STAGES: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];
/// Upper bounds to the first text, in seconds (vLLM's, `time_to_first_token_seconds`).
const FIRST_TEXT: [f64; 14] =
    [0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 80.0];
/// Upper bounds of an LLM's speed, in tokens per second.
const SPEEDS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 160.0, 320.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    endpoint: String,
    status: u16,
}

/// The counts since the server began.
pub struct Metrics {
    registry: Registry,
    stages: Family<Stage, Histogram, fn() -> Histogram>,
    answers: Family<Outcome, Counter>,
    responses: Family<Response, Counter>,
    searches: Counter,
    first_text: Histogram,
    speed: Histogram,
    tokens: Counter,
    loads: Counter,
    unloads: Counter,
    loaded: Gauge,
    in_line: Gauge,
    vram: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let stages: Family<Stage, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(STAGES));
        let mut metrics = Self {
            registry: Registry::with_prefix("rag_query"),
            stages,
            answers: Family::default(),
            responses: Family::default(),
            searches: Counter::default(),
            first_text: Histogram::new(FIRST_TEXT),
            speed: Histogram::new(SPEEDS),
            tokens: Counter::default(),
            loads: Counter::default(),
            unloads: Counter::default(),
            loaded: Gauge::default(),
            in_line: Gauge::default(),
            vram: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let of = "Time of a stage of retrieval or of an answer";
        registry.register_with_unit("stage", of, Unit::Seconds, self.stages.clone());
        registry.register("answers", "Questions by what became of them", self.answers.clone());
        registry.register("http_responses", "HTTP responses", self.responses.clone());
        registry.register("searches", "Searches without an answer", self.searches.clone());
        let of = "Time from a question to the first text of its answer";
        registry.register_with_unit(
            "time_to_first_text",
            of,
            Unit::Seconds,
            self.first_text.clone(),
        );
        let of = "Speed at which the LLM writes";
        registry.register("tokens_per_second", of, self.speed.clone());
        registry.register("generated_tokens", "Tokens the LLM generated", self.tokens.clone());
        registry.register("llm_loads", "Times the LLM was loaded", self.loads.clone());
        registry.register("llm_unloads", "Times the LLM was unloaded", self.unloads.clone());
        registry.register("llm_loaded", "Whether the LLM is loaded", self.loaded.clone());
        let of = "Answers that use the LLM or wait for it";
        registry.register("llm_in_line", of, self.in_line.clone());
        let of = "GPU memory of the LLM, measured when it was loaded";
        registry.register_with_unit("llm_vram", of, Unit::Bytes, self.vram.clone());
    }

    fn stage(&self, stage: &'static str, took: Duration) {
        self.stages.get_or_create(&Stage { stage }).observe(took.as_secs_f64());
    }

    /// Counts what happens during an answer.
    pub fn happened(&self, event: &Event) {
        match event {
            Event::Understood { took, .. } => self.stage("rewrite", *took),
            Event::Searched { took } => self.stage("search", *took),
            Event::Reranked { took } => self.stage("rerank", *took),
            Event::LlmLoaded { placed, took } => {
                self.stage("load_llm", *took);
                self.loads.inc();
                self.loaded.set(1);
                let memory = placed.memory.as_ref();
                let bytes = memory.map_or(0, |memory| memory.measured.unwrap_or(memory.planned));
                self.vram.set(bytes as i64);
            }
            Event::Judged { took, .. } => self.stage("judge", *took),
            Event::Answered { took, pace } => {
                self.stage("write", *took);
                self.tokens.inc_by(pace.map_or(0, |pace| pace.tokens as u64));
                pace.and_then(Pace::rate).iter().for_each(|rate| self.speed.observe(*rate));
            }
            _ => {}
        }
    }

    /// Counts the first text of an answer.
    pub fn first_text(&self, after: Duration) {
        self.first_text.observe(after.as_secs_f64());
    }

    /// Counts an answer or a refusal.
    pub fn answered(&self, answer: &Answer, took: Duration) {
        self.stage("whole", took);
        let outcome = match (answer.answered, answer.reason) {
            (_, Some(Reason::Interrupted)) => "interrupted",
            (true, _) => "answered",
            (false, _) => "refused",
        };
        self.answers.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts an answer that failed.
    pub fn failed(&self) {
        self.answers.get_or_create(&Outcome { outcome: "failed" }).inc();
    }

    /// Counts a search.
    pub fn searched(&self, retrieval: &Retrieval) {
        self.searches.inc();
        self.stage("search", retrieval.embed + retrieval.search);
        self.stage("rerank", retrieval.rerank);
    }

    /// Counts that the LLM was unloaded.
    pub fn unloaded(&self) {
        self.unloads.inc();
        self.loaded.set(0);
        self.vram.set(0);
    }

    /// Counts an HTTP response. `endpoint` is one that there is.
    pub fn responded(&self, endpoint: &str, status: u16) {
        let endpoint = endpoint.to_owned();
        self.responses.get_or_create(&Response { endpoint, status }).inc();
    }

    /// All of it in the text format of `OpenMetrics`; `in_line` use the LLM or wait for it.
    pub fn text(&self, in_line: usize) -> Result<String, fmt::Error> {
        self.in_line.set(in_line as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
