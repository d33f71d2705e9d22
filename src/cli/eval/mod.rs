//! `rag-query eval`: measures retrieval and answers on the user's own labelled questions. Gathers a
//! report, then prints it as a table or JSON; also compares two reports.

mod calibration;
mod html;
mod table;
mod wrong;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::args::{Cli, EvalArgs};
use super::interrupt::{self, Interruptible};
use super::report::ReportFile;
use super::setup::Setup;
use crate::measure::eval::{self, Asked, Documents, Evaluator, Quotes, Report};
use crate::profile::Models;
use crate::support::bounded;
use crate::terminal::exit::Exit;

/// Size limit of a report in bytes; a question takes about 1 KB.
const MAX_REPORT_BYTES: u64 = 1 << 30;

pub fn run(setup: &Setup, cli: &Cli, args: &EvalArgs) -> Result<Exit> {
    match (&args.compare[..], &args.questions) {
        ([a, b], _) => compare(setup, a, b),
        (_, Some(questions)) => measure(setup, cli, args, questions),
        // Unreachable: clap requires one of them.
        _ => bail!("no question file was given"),
    }
}

fn measure(setup: &Setup, cli: &Cli, args: &EvalArgs, path: &Path) -> Result<Exit> {
    ensure!(
        !(args.with_llm && setup.global.extractive),
        "`--with-llm` and `--extractive` contradict each other; drop one of them"
    );
    let html = args.html.as_deref().map(ReportFile::at).transpose()?;
    let options = setup.answer_options(&cli.sampling)?;
    interrupt::install();
    let lang = setup.terminal.lang;
    let models = setup.models()?;
    let judges = args.calibrate && is_asked_to_judge(setup, &models);
    let (index, load_index) = setup.open_index(&models)?;
    let ledger = index.ledger()?;
    let documents = Documents::new(ledger.documents().keys().map(String::as_str));
    let mut quotes = Quotes::new(|document| index.document(document));
    let mut questions = eval::read(path, &documents, &mut quotes)?;
    if let Some(limit) = args.limit {
        questions = eval::some(questions, limit as usize, args.sample);
    }
    let evaluator = Evaluator {
        answerer: &models.answerer(index.as_ref(), options, load_index)?,
        top_k: setup.global.top_k,
        with_llm: args.with_llm,
        calibrate: judges,
        candidates: args.candidates,
    };
    let busy = Interruptible::begin();
    let bar = setup.terminal.bar(questions.len() as u64, false);
    bar.set_message(lang.evaluating());
    let mut asked = Vec::new();
    for question in &questions {
        let measured = evaluator.ask(question, busy.interrupted());
        if busy.interrupted().load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(Exit::Interrupted);
        }
        asked.push(measured.with_context(|| format!("question {}", question.id))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    tell(setup, &report(setup, args, path, &models, asked), html)?;
    Ok(Exit::Answered)
}

/// What all questions together say.
fn report(
    setup: &Setup,
    args: &EvalArgs,
    path: &Path,
    models: &Models,
    asked: Vec<Asked>,
) -> Report {
    let relevance = models.relevance.as_ref();
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: setup.profile.name.clone(),
        embedder: setup.profile.embedder.name.clone(),
        reranker: models.reranker.as_ref().map(|_| setup.profile.reranker.name.clone()),
        questions_file: path.display().to_string(),
        questions: asked.len(),
        stages: eval::stages(&asked),
        kinds: eval::kinds(&asked),
        refusal: eval::refusals(&asked, relevance.map(|relevance| relevance.within.strict)),
        advice: match args.calibrate {
            true => None,
            false => eval::advise(&asked, relevance),
        },
        fitted_relevance: args
            .calibrate
            .then(|| eval::fit_relevance(&asked, &setup.profile.embedder.id, relevance)),
        answers: eval::answers(&asked, &models.llm.name),
        calibrated: eval::calibrate(&asked, &models.llm.name),
        worst: eval::worst(&asked),
        misjudged: eval::misjudged(&asked),
        per_question: eval::per_question(asked),
    }
}

/// Prints the report, and writes it as a page where one was asked for.
fn tell(setup: &Setup, report: &Report, html: Option<ReportFile>) -> Result<()> {
    let lang = setup.terminal.lang;
    if setup.global.json {
        setup.terminal.print_json(report)?;
    } else {
        setup.terminal.print(&table::report(report, lang))?;
    }
    if let Some(file) = html {
        file.write(&html::page(report, lang)?)?;
        setup.terminal.say(&lang.report_written(&file.name()));
    }
    Ok(())
}

/// Whether `--calibrate` asks the LLM, too; says why not.
fn is_asked_to_judge(setup: &Setup, models: &Models) -> bool {
    if setup.global.extractive {
        return false;
    }
    let lang = setup.terminal.lang;
    let why_not = if models.llm.remote().is_some() {
        lang.servers_tell_no_probabilities()
    } else if models.relevance.is_none() {
        lang.judged_after_relevance()
    } else {
        return true;
    };
    setup.terminal.say(why_not);
    false
}

fn compare(setup: &Setup, a: &Path, b: &Path) -> Result<Exit> {
    let comparison = eval::compare(&read_report(a)?, &read_report(b)?)?;
    let lang = setup.terminal.lang;
    if comparison.only_a + comparison.only_b > 0 {
        setup.terminal.warn(&lang.not_in_both(comparison.only_a, comparison.only_b));
    }
    if setup.global.json {
        setup.terminal.print_json(&comparison)?;
    } else {
        setup.terminal.print(&table::comparison(&comparison, lang))?;
    }
    Ok(Exit::Answered)
}

/// Reads a report written by `eval --json`.
fn read_report(path: &Path) -> Result<Report> {
    let text = bounded::read(path, MAX_REPORT_BYTES)
        .with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| {
        format!("{} is not a report; create one with `rag-query eval --json`", path.display())
    })
}
