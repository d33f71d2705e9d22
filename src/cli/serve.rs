//! `rag-query serve`: keeps models and index warm.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::args::{Cli, ServeArgs};
use super::ask::announce;
use super::interrupt::{self, Interruptible};
use super::refresh;
use super::respondent::key;
use super::setup::Setup;
use crate::server::http::{self, Guard, Limits};
use crate::server::{Service, ServiceOptions, local};
use crate::terminal::exit::Exit;

/// How long answers under way may take to end by themselves once the server ends.
const GRACE: Duration = Duration::from_secs(7);
/// How often it is looked whether the server should end, or has ended.
const LOOK: Duration = Duration::from_millis(50);

pub fn run(setup: &Setup, cli: &Cli, args: &ServeArgs) -> Result<Exit> {
    let (terminal, lang) = (setup.terminal, setup.terminal.lang);
    ensure!(
        setup.global.selection.selection().is_empty(),
        "`serve` serves the whole index; say `--in`, `--type` and `--since` with each question"
    );
    let guard = Guard::new(args.listen, args.api_key_file.as_deref())?;
    let answers = setup.answer_options(&cli.sampling)?;
    let key = key(setup, &answers)
        .context("there is no index to serve yet; `rag-query index` makes one")?;
    interrupt::install();
    let models = setup.models()?;
    announce(setup, cli, &models);
    if let Some(exit) = refresh::run(setup, &models) {
        return Ok(exit);
    }
    setup.renew_terms()?;
    let options = ServiceOptions {
        answers,
        keep_alive: args.keep_alive,
        queue: args.queue.into(),
        profile: setup.profile.name.clone(),
        llm_name: models.llm.name.clone(),
        embedder_name: setup.profile.embedder.name.clone(),
        reranker_name: setup.profile.reranker.name.clone(),
    };
    let start = Instant::now();
    let reranks = models.reranker.is_some();
    let service = Service::new(models, setup.index.clone(), options, terminal);
    let step = terminal.begin(lang.loading_models(reranks));
    let index = service.warm_up()?;
    step.done_in(start.elapsed());
    terminal.say(&lang.serving_index(&setup.index.to_string(), index.chunk_count()));
    drop(index);
    let socket = local::listen(&service, &local::folder(&setup.store.state_dir), &key)?;
    let ending = Interruptible::begin();
    let interrupted = ending.interrupted();
    let runtime = http::runtime(args.queue.into())?;
    runtime.block_on(async {
        let listener = http::bind(args.listen).await?;
        let address = listener.local_addr()?;
        terminal.say(&lang.listening(&address.to_string(), &args.keep_alive.to_string()));
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
    wait_for_answers(&service);
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(Exit::Answered)
}

/// Lets the answers under way end by themselves for a while, then stops them, in a thread of its own.
fn end_answers(service: &Arc<Service>) {
    let service = Arc::clone(service);
    thread::spawn(move || {
        let start = Instant::now();
        while service.running.count() > 0 && start.elapsed() < GRACE {
            thread::sleep(LOOK);
        }
        service.running.stop_all();
    });
}

/// Waits until clients on the socket have their answers, as long as those on HTTP may wait.
fn wait_for_answers(service: &Service) {
    let start = Instant::now();
    while service.running.count() > 0 && start.elapsed() < Duration::from_secs(2) {
        thread::sleep(LOOK);
    }
}
