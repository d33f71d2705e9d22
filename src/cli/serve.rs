//! `rag-query serve` and `rag-query mcp`: keep models and index warm.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::announce::announce;
use super::args::{Cli, ServeArgs, ServiceArgs};
use super::interrupt::{self, Interruptible};
use super::refresh;
use super::respondent::key;
use super::setup::Setup;
use crate::answer::AnswerOptions;
use crate::profile::Models;
use crate::server::http::{self, Guard, Limits};
use crate::server::{Service, ServiceOptions, local, mcp};
use crate::terminal::exit::Exit;

/// How long answers under way may take to end by themselves once the server ends.
const GRACE: Duration = Duration::from_secs(7);
/// How long clients on the socket may take beyond that.
const SOCKET_GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether the server should end, or has ended.
const LOOK: Duration = Duration::from_millis(50);

pub fn run(setup: &Setup, cli: &Cli, args: &ServeArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    ensure!(
        setup.global.selection.selection().is_empty(),
        "`serve` serves the whole index; say `--in`, `--type`, `--tag` and `--since` with each question"
    );
    let guard = Guard::new(args.listen, args.api_key_file.as_deref())?;
    let ServiceArgs { keep_alive, queue } = args.service;
    let answers = setup.answer_options(&cli.sampling)?;
    let no_index = "there is no index to serve yet; `rag-query index FOLDER` makes one";
    let key = key(setup, &answers).context(no_index)?;
    interrupt::install();
    let models = setup.models()?;
    announce(setup, &models, true);
    if let Some(exit) = refresh::run(setup, &models) {
        return Ok(exit);
    }
    setup.renew_terms()?;
    let start = Instant::now();
    let step = terminal.begin(lang.loading_models(models.reranker.is_some()));
    let service = service(setup, models, answers, &args.service);
    let index = service.warm_up()?;
    step.done_in(start.elapsed());
    terminal.say(&lang.serving_index(&setup.index.to_string(), index.chunk_count()));
    drop(index);
    let socket = local::listen(&service, &local::folder(&setup.store.state_dir), &key)?;
    let ending = Interruptible::begin();
    let interrupted = ending.interrupted();
    let runtime = http::runtime(queue.into())?;
    runtime.block_on(async {
        let listener = http::bind(args.listen).await?;
        let address = listener.local_addr()?;
        terminal.say(&lang.listening(&address.to_string(), &keep_alive.to_string()));
        let ending = async {
            while !interrupted.load(Ordering::SeqCst) {
                tokio::time::sleep(LOOK).await;
            }
            terminal.say(lang.server_ending());
            end_answers(&service);
            drop(socket);
        };
        http::serve(Arc::clone(&service), listener, guard, Limits::default(), ending).await;
        anyhow::Ok(())
    })?;
    // Those on HTTP have ended; clients on the socket are still told.
    wait_for_answers(&service, SOCKET_GRACE);
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(Exit::Answered)
}

/// `rag-query mcp`: serves one agent over standard input and output. Loads nothing until it asks.
pub fn run_mcp(setup: &Setup, cli: &Cli, args: &ServiceArgs) -> Result<Exit> {
    let answers = setup.answer_options(&cli.sampling)?;
    let models = setup.models()?;
    announce(setup, &models, true);
    let service = service(setup, models, answers, args);
    let runtime = http::runtime(args.queue.into())?;
    runtime.block_on(mcp::serve_stdio(Arc::clone(&service)))?;
    service.running.stop_all();
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(Exit::Answered)
}

fn service(
    setup: &Setup,
    models: Models,
    answers: AnswerOptions,
    args: &ServiceArgs,
) -> Arc<Service> {
    let options = ServiceOptions {
        answers,
        keep_alive: args.keep_alive,
        queue: args.queue.into(),
        profile: setup.profile.name.clone(),
        llm_name: models.llm.name.clone(),
        embedder_name: setup.profile.embedder.name.clone(),
        reranker_name: setup.profile.reranker.name.clone(),
    };
    Service::new(models, setup.index.clone(), options, setup.terminal)
}

/// Lets the answers under way end by themselves for a while, then stops them, in a thread of its own.
fn end_answers(service: &Arc<Service>) {
    let service = Arc::clone(service);
    thread::spawn(move || {
        wait_for_answers(&service, GRACE);
        service.running.stop_all();
    });
}

/// Waits until no answer is under way, but not longer than `limit`.
fn wait_for_answers(service: &Service, limit: Duration) {
    let start = Instant::now();
    while service.running.count() > 0 && start.elapsed() < limit {
        thread::sleep(LOOK);
    }
}
