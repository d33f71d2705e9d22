//! `rag-query [QUESTION]`: one question, a dialogue, or one question per line of standard input.

use std::io::{self, IsTerminal};

use anyhow::Result;

use super::args::Cli;
use super::first_run;
use super::interrupt;
use super::lines::{self, Input};
use super::output::OutputTemplate;
use super::refresh;
use super::repl;
use super::respondent::{Respondent, Server, running_server};
use super::session::Session;
use super::setup::Setup;
use crate::generation::local::placement::DeviceChoice;
use crate::profile::Models;
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
    announce(setup, cli, &models);
    if let Some(exit) = refresh::run(setup, &models) {
        return Ok(exit);
    }
    // A prompt is shown by this process alone, which loads nothing large for it.
    let server = if cli.show_prompt { None } else { running_server(setup, &options) };
    if let Some(client) = &server {
        let selection = setup.global.selection.selection();
        let who = Respondent::Server(Server { client, options, selection });
        return answer(cli, setup, &Session::new(setup, who, &models, template));
    }
    let (index, load_index) = setup.open_index(&models)?;
    let answerer = models.answerer(index.as_ref(), options, load_index)?;
    let session = Session::new(setup, Respondent::Here(&answerer), &models, template);
    if cli.show_prompt {
        let show = |input: &Input| session.show_prompt(input, &answerer);
        return match question {
            Some(question) => show(&Input::of(question)),
            None => {
                lines::each_question(cli.file.as_deref(), session.terminal, setup.global.json, show)
            }
        };
    }
    answer(cli, setup, &session)
}

/// Answers the question, or those of a dialogue, a file or standard input.
fn answer(cli: &Cli, setup: &Setup, session: &Session) -> Result<Exit> {
    let file = cli.file.as_deref();
    match &cli.question {
        Some(question) => session.ask(&Input::of(question)),
        None if file.is_none() && io::stdin().is_terminal() => repl::run(session),
        None => lines::each_question(file, session.terminal, setup.global.json, |input| {
            session.ask(input)
        }),
    }
}

/// Says which LLM will answer and where it runs, before it is loaded.
pub fn announce(setup: &Setup, cli: &Cli, models: &Models) {
    let terminal = setup.terminal;
    if let Some(pool) = models.llm.remote() {
        if setup.global.extractive || cli.show_prompt {
            return;
        }
        terminal.say(&terminal.lang.llm_remote(&models.llm.name, &pool.place()));
        for host in pool.readable_by_others() {
            terminal.warn(&terminal.lang.sent_in_the_clear(host));
        }
        for proxied in pool.proxied() {
            let line = terminal.lang.through_proxy(&proxied);
            if proxied.is_readable {
                terminal.warn(&line);
            } else {
                terminal.say(&format!("   {line}"));
            }
        }
        return;
    }
    terminal.say(&terminal.lang.llm(&models.llm.name, &models.llm_device.to_string()));
    if models.llm_device == DeviceChoice::Cpu && setup.global.device.is_none() {
        terminal.say(&terminal.lang.llm_on_cpu_by_profile(&setup.profile.name));
    }
}
