//! `rag-query [QUESTION]`: one question, a dialogue, or one question per line of standard input.

use std::io::{self, IsTerminal};

use anyhow::Result;

use super::announce::{announce, tell_if_uncalibrated};
use super::args::Cli;
use super::first_run;
use super::interrupt;
use super::lines::{self, Input};
use super::output::OutputTemplate;
use super::refresh;
use super::repl::{self, Ground};
use super::respondent::Backend;
use super::session::Session;
use super::setup::Setup;
use crate::terminal::exit::Exit;
use crate::text::question;

pub fn run(setup: &Setup, cli: &Cli) -> Result<Exit> {
    // Reject bad input before loading anything.
    let question = cli.question.as_deref();
    question.map(question::normalize).transpose()?;
    let options = setup.answer_options(&cli.sampling)?;
    let template = cli.template.as_deref().map(OutputTemplate::new).transpose()?;
    let is_dialogue = question.is_none() && cli.file.is_none() && io::stdin().is_terminal();
    if is_dialogue && first_run::has_no_index(setup) {
        return Ok(first_run::tell_steps(setup));
    }
    interrupt::install();
    let models = setup.models()?;
    announce(setup, &models, !cli.show_prompt);
    if let Some(exit) = refresh::run(setup, &models) {
        return Ok(exit);
    }
    // A prompt is shown by this process alone, which loads nothing large for it.
    let backend = match cli.show_prompt {
        true => Backend::here(setup, &models)?,
        false => Backend::find(setup, &models, &options)?,
    };
    tell_if_uncalibrated(setup, &models);
    if is_dialogue && !cli.show_prompt {
        let ground = Ground::new(setup.clone(), models, backend, options);
        return repl::run(ground, template.as_ref());
    }
    let who = backend.respondent(setup, &models, options)?;
    let session = Session::new(setup, who, &models, template.as_ref());
    let ask = |input: &Input| match cli.show_prompt {
        true => session.show_prompt(input),
        false => session.ask(input),
    };
    match question {
        Some(question) => ask(&Input::of(question)),
        None => lines::each_question(cli.file.as_deref(), setup.terminal, setup.global.json, ask),
    }
}
