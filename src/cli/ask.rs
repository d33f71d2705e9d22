//! `rag-query [QUESTION]`: one question, a dialogue, or a question a line.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::args::Cli;
use super::exit::Exit;
use super::interrupt::{self, Interruptible};
use super::lines;
use super::repl;
use super::setup::Setup;
use crate::answer::conversation::{Dialogue, RewriteTemplate, Rewriter, Rewriting, Standalone};
use crate::answer::{Answer, AnswerOptions, Answerer, Event, Reason};
use crate::generation::local::SamplingOptions;
use crate::generation::local::placement::DeviceChoice;
use crate::generation::remote::{RemoteError, chat};
use crate::profile::Models;
use crate::prompt::{Messages, line_of};
use crate::terminal::{Step, Terminal, document_name, time};
use crate::text::question;

/// What is shown of a sentence without support, in characters.
const SHOWN_OF_A_SENTENCE: usize = 80;

pub fn run(setup: &Setup, cli: &Cli) -> Result<Exit> {
    // What cannot be asked is said before anything is loaded.
    let question = cli.question.as_deref().map(question::normalize).transpose()?;
    let options = answer_options(setup, cli)?;
    let rewriting = setup.rewrite_prompt()?;
    interrupt::install();
    let models = setup.models()?;
    announce(setup, cli, &models);
    let (index, load_index) = setup.open_index(&models)?;
    let answerer = models.answerer(index.as_ref(), options, load_index)?;
    let session = Session::new(setup, answerer, rewriting, &models);
    match question {
        Some(question) if cli.show_prompt => session.show_prompt(&question),
        None if cli.show_prompt => {
            lines::each_question(&session.terminal, |question| session.show_prompt(question))
        }
        Some(question) => session.ask(&question),
        None if io::stdin().is_terminal() => repl::run(&session),
        None => lines::each_question(&session.terminal, |question| session.ask(question)),
    }
}

/// What the options say about answers.
///
/// # Errors
/// The prompt's template cannot be used, or a server does not know an option.
pub fn answer_options(setup: &Setup, cli: &Cli) -> Result<AnswerOptions> {
    let sampling = &cli.sampling;
    let options = AnswerOptions {
        top_k: cli.global.top_k,
        extractive: cli.global.extractive,
        force: cli.global.force,
        sampling: SamplingOptions {
            max_tokens: sampling.max_tokens as usize,
            temperature: sampling.temperature,
            top_k: sampling.sample_top_k.map(|k| k as usize),
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            seed: sampling.seed,
        },
        prompt: setup.prompt()?,
    };
    let unknown = chat::unsupported(&options.sampling);
    if setup.is_llm_remote() && !unknown.is_empty() {
        return Err(RemoteError::Unsupported(unknown.join(", ")).into());
    }
    Ok(options)
}

/// Says which LLM will answer and where, before it is loaded.
fn announce(setup: &Setup, cli: &Cli, models: &Models) {
    let terminal = setup.terminal;
    if let Some(pool) = models.llm.remote() {
        if setup.global.extractive || cli.show_prompt {
            return;
        }
        terminal.say(&terminal.lang.llm_remote(&models.llm.name, &pool.place()));
        for host in pool.readable_by_others() {
            terminal.warn(&terminal.lang.sent_in_the_clear(host));
        }
        return;
    }
    terminal.say(&terminal.lang.llm(&models.llm.name, &models.llm_device.to_string()));
    if models.llm_device == DeviceChoice::Cpu && setup.global.device.is_none() {
        terminal.say(&terminal.lang.llm_on_cpu_by_profile(&setup.profile.name));
    }
}

/// Questions and answers on a terminal.
pub struct Session<'a> {
    /// Where to print.
    pub terminal: Terminal,
    answerer: Answerer<'a>,
    rewriting: RewriteTemplate,
    llm_name: &'a str,
    llm_device: DeviceChoice,
    json: bool,
    explain: bool,
}

impl<'a> Session<'a> {
    fn new(
        setup: &Setup,
        answerer: Answerer<'a>,
        rewriting: RewriteTemplate,
        models: &'a Models,
    ) -> Self {
        Self {
            terminal: setup.terminal,
            answerer,
            rewriting,
            llm_name: &models.llm.name,
            llm_device: models.llm_device,
            json: setup.global.json,
            explain: setup.global.explain,
        }
    }

    /// Answers one question on the terminal.
    pub fn ask(&self, question: &str) -> Result<Exit> {
        Ok(outcome(&self.answer(question, &mut Dialogue::default())?))
    }

    /// Answers one question of a dialogue on the terminal and returns the answer.
    pub fn answer(&self, question: &str, dialogue: &mut Dialogue) -> Result<Answer> {
        self.terminal.say(&self.terminal.lang.question(question));
        let answering = Interruptible::begin();
        let start = Instant::now();
        let standalone = self.understand(question, dialogue, &answering);
        let rewrite = start.elapsed();
        if let Some(text) = standalone.text() {
            let rewritten = matches!(standalone, Standalone::Rewritten(_));
            self.terminal.say(&self.terminal.lang.searching_for(text, rewritten));
        }
        let mut narrator = Narrator::new(self);
        let searched = standalone.text().unwrap_or(question);
        let answer = self
            .answerer
            .answer(searched, answering.interrupted(), &mut |event| narrator.tell(&event));
        drop(answering);
        if answer.is_err() && !narrator.text.is_empty() {
            // The error has a line of its own.
            narrator.print_raw("\n");
        }
        let Narrator { step, printing, .. } = narrator;
        drop(step);
        let mut answer = answer?;
        printing?;
        dialogue.remember(question, &standalone, &answer.answer);
        answer.searched = standalone.text().map(str::to_owned);
        if answer.searched.is_some() {
            question.clone_into(&mut answer.question);
            answer.timings_ms.rewrite = 1e3 * rewrite.as_secs_f64();
        }
        for citation in &mut answer.citations {
            citation.document = document_name(&citation.document);
        }
        self.conclude(&answer)?;
        Ok(answer)
    }

    /// What to search for; an LLM helps where it need not be loaded for this.
    fn understand(
        &self,
        question: &str,
        dialogue: &Dialogue,
        answering: &Interruptible,
    ) -> Standalone {
        let (terminal, lang) = (self.terminal, self.terminal.lang);
        let rewriter = self
            .answerer
            .ready_generator(question)
            .map(|generator| Rewriter { generator, template: &self.rewriting });
        let mut step: Option<Step> = None;
        let start = Instant::now();
        let standalone =
            dialogue.standalone(question, rewriter, answering.interrupted(), &mut |event| {
                match event {
                    Rewriting::Begins => step = Some(terminal.begin(lang.rewriting())),
                    Rewriting::ServerFailed { error, next } => {
                        step.iter_mut().for_each(Step::pause);
                        terminal.warn(&lang.server_failed(error, next, Duration::ZERO));
                    }
                    Rewriting::Failed(error) => {
                        step = None;
                        terminal.warn(&lang.not_rewritten(error));
                    }
                }
            });
        if let Some(step) = step {
            match standalone {
                Standalone::Rewritten(_) => step.done_in(start.elapsed()),
                _ => step.done(&time(start.elapsed())),
            }
        }
        standalone
    }

    /// Prints what the LLM would be asked, without loading it.
    fn show_prompt(&self, question: &str) -> Result<Exit> {
        let mut refused = false;
        let mut narrator = Narrator::new(self);
        let messages = self.answerer.messages(question, &mut |event| {
            refused |= matches!(event, Event::Refused(_));
            narrator.tell(&event);
        })?;
        match messages {
            Some(messages) if self.json => self.terminal.print_json(&messages)?,
            Some(Messages { system, user }) => {
                self.terminal.print(&format!("--- system\n{system}\n--- user\n{user}\n"))?;
            }
            None => {}
        }
        Ok(if refused { Exit::NotInDocuments } else { Exit::Answered })
    }

    /// What follows the answer's own text: its sources, or the whole of it as JSON.
    fn conclude(&self, answer: &Answer) -> Result<()> {
        let (terminal, lang) = (self.terminal, self.terminal.lang);
        match answer.reason {
            Some(Reason::Interrupted) => terminal.say(lang.interrupted()),
            Some(Reason::MaxTokens) => terminal.say(lang.max_tokens()),
            _ => {}
        }
        if self.explain {
            explain(terminal, answer);
        }
        if self.json {
            return Ok(terminal.print_json(answer)?);
        }
        if answer.citations.is_empty() {
            return Ok(());
        }
        Ok(terminal.print(&format!("\n{}", self.sources(answer)))?)
    }

    /// The list of sources under an answer.
    pub fn sources(&self, answer: &Answer) -> String {
        let lang = self.terminal.lang;
        let mut list = format!("{}\n", lang.sources());
        for citation in &answer.citations {
            let place = lang.place(citation.place);
            let heading = if citation.heading.is_empty() {
                String::new()
            } else {
                format!(" — {}", citation.heading)
            };
            list.push_str(&format!("  [{}] {}{heading}{place}\n", citation.n, citation.document));
        }
        list
    }
}

fn outcome(answer: &Answer) -> Exit {
    match answer.reason {
        Some(Reason::EmptyIndex | Reason::NoMatch | Reason::LowRelevance) => Exit::NotInDocuments,
        Some(Reason::Interrupted) => Exit::Interrupted,
        Some(Reason::MaxTokens) | None => Exit::Answered,
    }
}

/// Turns events into lines.
struct Narrator<'a> {
    session: &'a Session<'a>,
    step: Option<Step>,
    /// Text of the answer so far.
    text: String,
    printing: io::Result<()>,
}

impl<'a> Narrator<'a> {
    fn new(session: &'a Session<'a>) -> Self {
        Self { session, step: None, text: String::new(), printing: Ok(()) }
    }

    fn tell(&mut self, event: &Event) {
        let (terminal, lang) = (self.session.terminal, self.session.terminal.lang);
        match event {
            Event::Searched(retrieval) => {
                terminal.say(&lang.searched(retrieval.embed + retrieval.search));
            }
            Event::Reranked(retrieval) => terminal.say(&lang.reranked(retrieval.rerank)),
            Event::Refused(reason) => terminal.say(lang.refused(*reason)),
            Event::LlmNotFor(language) => {
                terminal.say(&lang.llm_not_for(self.session.llm_name, *language));
            }
            Event::LlmCannotRead => terminal.say(&lang.llm_cannot_read(self.session.llm_name)),
            Event::LoadingLlm => {
                let device = self.session.llm_device.to_string();
                self.step = Some(terminal.begin(&lang.loading_llm(self.session.llm_name, &device)));
            }
            Event::LlmLoaded { placed, took } => {
                if let Some(step) = self.step.take() {
                    step.done(&lang.llm_loaded(placed, *took));
                }
            }
            Event::PassagesDropped(count) => {
                terminal.warn(lang.passages_dropped(*count).trim_start());
            }
            Event::Answering => {
                let mut step = terminal.begin(lang.answering());
                // The answer itself comes next, on the same screen.
                step.pause();
                self.step = Some(step);
            }
            Event::Text(text) => self.print(text),
            Event::ServerFailed { error, next, pause } => {
                terminal.warn(&lang.server_failed(error, next, *pause));
            }
            Event::InventedCitations => terminal.warn(lang.invented_citations().trim_start()),
            Event::Unsupported(sentences) => {
                if let Some(first) = sentences.first() {
                    let first = line_of(&first.text, SHOWN_OF_A_SENTENCE);
                    terminal.say(&lang.unsupported(sentences.len(), &first));
                }
            }
            Event::NoCitations => terminal.warn(lang.no_citations().trim_start()),
            Event::Answered { took, written } => {
                self.print_raw("\n");
                if let Some(step) = self.step.take() {
                    step.done(&lang.answered(*took, *written));
                }
            }
        }
    }

    fn print(&mut self, text: &str) {
        // Models like to begin with a blank.
        let text = if self.text.is_empty() { text.trim_start() } else { text };
        self.text.push_str(text);
        self.print_raw(text);
    }

    fn print_raw(&mut self, text: &str) {
        if !self.session.json && self.printing.is_ok() {
            self.printing = self.session.terminal.print(text);
        }
    }
}

fn explain(terminal: Terminal, answer: &Answer) {
    for (i, hit) in answer.hits.iter().enumerate() {
        let scores = hit.scores;
        let rerank = scores.rerank.map_or("-".to_owned(), |score| format!("{score:.4}"));
        terminal.say(&format!(
            "   {}. {:.4}  dense {:.4}  bm25 {:.2}  fused {:.4}  rerank {rerank}  {} — {}",
            i + 1,
            hit.score,
            scores.dense,
            scores.bm25,
            scores.fused,
            document_name(&hit.passage.document),
            hit.passage.heading(),
        ));
    }
}
