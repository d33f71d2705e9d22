//! Answers questions on a terminal: progress goes to standard error, the answer to standard output.

use std::io;
use std::time::Duration;

use anyhow::Result;

use super::interrupt::Interruptible;
use super::lines::Input;
use super::output::OutputTemplate;
use super::respondent::Respondent;
use super::setup::Setup;
use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, Citation, Event, Judgement, LlmJudgement, Mode, Reason};
use crate::generation::local::placement::{self, DeviceChoice, gpu};
use crate::profile::Models;
use crate::prompt::Messages;
use crate::retrieval::Retrieval;
use crate::terminal::exit::Exit;
use crate::terminal::{AnswerText, Named, Step, Terminal, print_named, shown_name, time};
use crate::text::question;

/// Answers questions and prints the results as the options ask.
pub struct Session<'a> {
    pub terminal: Terminal,
    who: Respondent<'a>,
    llm_name: &'a str,
    llm_device: DeviceChoice,
    json: bool,
    template: Option<&'a OutputTemplate>,
    pub explain: bool,
    pub show_thinking: bool,
}

impl<'a> Session<'a> {
    pub fn new(
        setup: &Setup,
        who: Respondent<'a>,
        models: &'a Models,
        template: Option<&'a OutputTemplate>,
    ) -> Self {
        Self {
            terminal: setup.terminal,
            who,
            llm_name: &models.llm.name,
            llm_device: models.llm_device,
            json: setup.global.json,
            template,
            explain: setup.global.explain,
            show_thinking: setup.global.show_thinking,
        }
    }

    /// Whether an answer is printed only when it is complete.
    fn is_silent(&self) -> bool {
        self.json || self.template.is_some()
    }

    /// Answers a standalone question, and says first which, since nobody has just typed it.
    pub fn ask(&self, input: &Input) -> Result<Exit> {
        self.terminal.say(&self.terminal.lang.question(&question::normalize(&input.question)?));
        Ok(outcome(&self.answer(input, &mut Dialogue::default())?))
    }

    /// Answers a question after what was said before, and adds it to that.
    pub fn answer(&self, input: &Input, dialogue: &mut Dialogue) -> Result<Answer> {
        let question = &input.question;
        let answering = Interruptible::begin();
        let mut narrator = Narrator::new(self);
        let interrupted = answering.interrupted();
        let answer =
            self.who.ask(question, dialogue, interrupted, &mut |event| narrator.tell(&event));
        drop(answering);
        narrator.end_lines();
        // If it was cut off by an error, puts that on its own line.
        narrator.end_answer();
        let Narrator { step, printing, .. } = narrator;
        drop(step);
        let answer = answer?;
        printing?;
        self.conclude(input, &answer)?;
        Ok(answer)
    }

    /// Prints the prompt for a question without loading the LLM.
    pub fn show_prompt(&self, input: &Input) -> Result<Exit> {
        let question = &question::normalize(&input.question)?;
        let mut refused = false;
        let mut narrator = Narrator::new(self);
        let messages = self.who.messages(question, &mut |event| {
            refused |= matches!(event, Event::Refused { .. });
            narrator.tell(&event);
        })?;
        match messages {
            Some(messages) if self.json => self.terminal.print_json(&input.with_id(&messages))?,
            Some(Messages { system, user }) => {
                self.terminal.print(&format!("--- system\n{system}\n--- user\n{user}\n"))?;
            }
            None => {}
        }
        Ok(if refused { Exit::NotInDocuments } else { Exit::Answered })
    }

    /// Prints what follows the text of an answer: its sources, or with `--json` the whole answer.
    fn conclude(&self, input: &Input, answer: &Answer) -> Result<()> {
        let (terminal, lang) = (self.terminal, self.terminal.lang);
        match answer.reason {
            Some(Reason::Interrupted) => terminal.say(lang.interrupted()),
            Some(Reason::MaxTokens) => terminal.say(lang.max_tokens()),
            Some(Reason::ContentFilter) => terminal.say(lang.content_filter()),
            _ => {}
        }
        if self.explain {
            explain(terminal, answer);
        }
        if self.json {
            return Ok(terminal.print_json(&input.with_id(answer))?);
        }
        if let Some(template) = self.template {
            return Ok(terminal.print(&template.render(&input.with_id(answer))?)?);
        }
        if answer.passages.is_empty() {
            return Ok(());
        }
        terminal.print("\n")?;
        self.print_sources(answer)
    }

    /// A source as people read it: number, document, heading and place.
    pub fn source(&self, citation: &Citation) -> String {
        let Named { name, after, .. } = Named::source(citation, self.terminal.lang);
        name + &after
    }

    /// Finds passages without answering.
    pub fn search(&self, question: &str) -> Result<Retrieval> {
        self.who.search(question)
    }

    /// Prints the sources of an answer: those that it cites, or else all that it was written from.
    pub fn print_sources(&self, answer: &Answer) -> Result<()> {
        let cited: Vec<Named> = answer
            .sources()
            .into_iter()
            .map(|source| Named::source(source, self.terminal.lang))
            .collect();
        self.terminal.print(&format!("{}\n", self.terminal.lang.sources()))?;
        Ok(print_named(&cited)?)
    }
}

fn outcome(answer: &Answer) -> Exit {
    match answer.reason {
        Some(
            Reason::EmptyIndex | Reason::NoMatch | Reason::LowRelevance | Reason::NotInPassages,
        ) => Exit::NotInDocuments,
        Some(Reason::Interrupted) => Exit::Interrupted,
        Some(Reason::MaxTokens | Reason::ContentFilter) | None => Exit::Answered,
    }
}

/// Prints events as they happen.
struct Narrator<'a> {
    session: &'a Session<'a>,
    step: Option<Step>,
    /// How the answer is made.
    mode: Mode,
    /// The answer so far.
    text: String,
    /// The answer on its way to standard output, from its first text on.
    shown: Option<AnswerText>,
    /// What is told below the answer, so that it does not stand in the middle of it.
    warnings: Vec<String>,
    /// Whether a line of reasoning is being shown.
    is_thinking: bool,
    printing: io::Result<()>,
}

impl<'a> Narrator<'a> {
    fn new(session: &'a Session<'a>) -> Self {
        Self {
            session,
            step: None,
            mode: Mode::Generative,
            text: String::new(),
            shown: None,
            warnings: Vec::new(),
            is_thinking: false,
            printing: Ok(()),
        }
    }

    fn tell(&mut self, event: &Event) {
        let (terminal, lang) = (self.session.terminal, self.session.terminal.lang);
        match event {
            Event::Rewriting => self.step = Some(terminal.begin(lang.rewriting())),
            Event::NotRewritten { error } => {
                self.step = None;
                terminal.warn(&lang.not_rewritten(error));
            }
            Event::Understood { query, by_llm, took } => self.understood(query, *by_llm, *took),
            Event::Queued { ahead } => terminal.say(&lang.queued(*ahead)),
            Event::Searched { took } => terminal.say(&lang.searched(*took)),
            Event::Reranked { took } => terminal.say(&lang.reranked(*took)),
            Event::Refused { reason } => terminal.say(lang.refused(*reason)),
            Event::LlmNotFor { language } => {
                terminal.say(&lang.llm_not_for(self.session.llm_name, *language));
            }
            Event::LlmCannotRead => terminal.say(&lang.llm_cannot_read(self.session.llm_name)),
            Event::LoadingLlm => self.loading(),
            Event::LlmLoaded { placed, took } => self.done(&lang.llm_loaded(placed, *took)),
            Event::Judging => self.step = Some(terminal.begin(lang.judging())),
            Event::Judged { judgement, took } => self.done(&lang.judged(judgement, *took)),
            Event::PassagesDropped { count } => {
                terminal.warn(lang.passages_dropped(*count).trim_start());
            }
            Event::Answering { mode } => {
                self.step = Some(terminal.begin(lang.answering()));
                // The answer streams to the same terminal.
                self.pause();
                self.mode = *mode;
            }
            Event::Text { text } => self.print(text),
            Event::Thinking { text } => self.think(text),
            Event::Retracted => self.retract(),
            Event::ServerAdapted { server, field } => {
                self.pause();
                terminal.say(&lang.server_adapted(server, field));
            }
            Event::PromptCut { server, read, estimated } => {
                self.warnings.push(lang.prompt_cut(server, *read, *estimated));
            }
            Event::ServerFailed { error, next, pause } => {
                self.pause();
                terminal.warn(&lang.server_failed(error, next, *pause));
            }
            Event::InventedCitations => terminal.warn(lang.invented_citations().trim_start()),
            Event::Unsupported { sentences } => {
                lang.unsupported(sentences).iter().for_each(|line| terminal.say(line));
            }
            Event::NoCitations { supported } => {
                terminal.warn(lang.no_citations(*supported).trim_start());
            }
            Event::Answered { took, pace } => {
                self.end_lines();
                self.end_answer();
                self.done(&lang.answered(*took, *pace));
            }
        }
    }

    fn loading(&mut self) {
        let (terminal, lang) = (self.session.terminal, self.session.terminal.lang);
        let choice = self.session.llm_device;
        if let Some(gpu) = placement::to_translate(gpu::driver(), choice) {
            terminal.say(&lang.translating_kernels(&gpu));
        }
        let device = choice.to_string();
        self.step = Some(terminal.begin(&lang.loading_llm(self.session.llm_name, &device)));
    }

    fn understood(&mut self, query: &str, by_llm: bool, took: Duration) {
        match self.step.take() {
            Some(step) if by_llm => step.done_in(took),
            Some(step) => step.done(&time(took)),
            None => {}
        }
        let terminal = self.session.terminal;
        terminal.say(&terminal.lang.searching_for(query, by_llm));
    }

    /// Ends the line of the step in progress, if there is one.
    fn done(&mut self, outcome: &str) {
        if let Some(step) = self.step.take() {
            step.done(outcome);
        }
    }

    fn pause(&mut self) {
        self.step.iter_mut().for_each(Step::pause);
    }

    /// Shows reasoning on standard error, if that was asked for.
    fn think(&mut self, text: &str) {
        if !self.session.show_thinking {
            return;
        }
        let text = if self.is_thinking { text } else { text.trim_start() };
        if !text.is_empty() {
            let start = if self.is_thinking { "" } else { "   💭 " };
            self.is_thinking = true;
            self.session.terminal.stream(&format!("{start}{text}"));
        }
    }

    /// What was shown was reasoning: the answer begins anew, below a line that says so.
    fn retract(&mut self) {
        let text = std::mem::take(&mut self.text);
        if self.session.is_silent() {
            // Nothing has been shown.
            self.think(&text);
            return;
        }
        self.end_answer();
        self.session.terminal.warn(self.session.terminal.lang.retracted());
    }

    /// Ends the line of reasoning that is being shown.
    fn end_lines(&mut self) {
        if std::mem::take(&mut self.is_thinking) {
            self.session.terminal.stream("\n");
        }
    }

    fn print(&mut self, text: &str) {
        self.end_lines();
        // Models often start with a space.
        let text = if self.text.is_empty() { text.trim_start() } else { text };
        self.text.push_str(text);
        if self.session.is_silent() || self.printing.is_err() {
            return;
        }
        let shown = self.shown.get_or_insert_with(|| match self.mode {
            Mode::Generative => AnswerText::markdown(),
            Mode::Extractive => AnswerText::verbatim(),
        });
        self.printing = shown.push(text);
    }

    /// Writes what is left of the answer, if it has begun, and ends its last line.
    fn end_answer(&mut self) {
        if let Some(shown) = self.shown.take().filter(|_| self.printing.is_ok()) {
            self.printing = shown.end();
        }
        for warning in self.warnings.drain(..) {
            self.session.terminal.warn(&warning);
        }
    }
}

fn explain(terminal: Terminal, answer: &Answer) {
    let Judgement { probability, gate, refused_below, llm } = answer.relevance;
    let refused_below = refused_below.map_or("-".to_owned(), |below| format!("{below:.2}"));
    terminal
        .say(&format!("   relevance {probability:.4}  refused below {refused_below}  gate {gate}"));
    if let Some(LlmJudgement { log_odds, probability, refused_below }) = llm {
        terminal.say(&format!(
            "   judged {probability:.4}  refused below {refused_below:.2}  log-odds {log_odds:.2}"
        ));
    }
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
            shown_name(&hit.passage.document),
            hit.passage.heading(),
        ));
    }
}
