//! Who answers: this process, or a server that is running with the same configuration.

use std::collections::BTreeMap;
use std::path::{Path, absolute};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, bail};

use super::setup::Setup;
use crate::answer::conversation::Dialogue;
use crate::answer::{Answer, AnswerOptions, Answerer, Conversation, Event};
use crate::generation::remote::Key;
use crate::index::{Index, Location, Selection};
use crate::profile::Models;
use crate::prompt::Messages;
use crate::retrieval::Retrieval;
use crate::server::Asked;
use crate::server::local::{self, Client};

/// Where answers come from: this process, with the index opened, or a server.
#[derive(Clone)]
pub enum Backend {
    Here { index: Rc<dyn Index>, load_index: Duration },
    Server(Rc<Client>),
}

impl Backend {
    /// A server that runs with the same index and configuration, or else this process.
    pub fn find(setup: &Setup, models: &Models, options: &AnswerOptions) -> Result<Self> {
        match running_server(setup, options) {
            Some(client) => Ok(Self::Server(Rc::new(client))),
            None => Self::here(setup, models),
        }
    }

    /// This process: opens the index, and loads what every question needs.
    pub fn here(setup: &Setup, models: &Models) -> Result<Self> {
        let (index, load_index) = setup.open_index(models)?;
        Ok(Self::Here { index: Rc::from(index), load_index })
    }

    /// Who answers there, with these models and options.
    pub fn respondent<'a>(
        &'a self,
        setup: &Setup,
        models: &'a Models,
        options: AnswerOptions,
    ) -> Result<Respondent<'a>> {
        Ok(match self {
            Self::Here { index, load_index } => {
                let answerer = models.answerer(index.as_ref(), options, *load_index)?;
                Respondent::Here(Box::new(answerer))
            }
            Self::Server(client) => {
                let selection = setup.global.selection.selection();
                Respondent::Server(Box::new(Server { client, options, selection }))
            }
        })
    }
}

/// Who answers.
pub enum Respondent<'a> {
    Here(Box<Answerer<'a>>),
    Server(Box<Server<'a>>),
}

/// A server, and what it is told with every question.
pub struct Server<'a> {
    client: &'a Client,
    options: AnswerOptions,
    selection: Selection,
}

impl Respondent<'_> {
    /// Answers a question after what was said before, and adds it to that.
    pub fn ask(
        &self,
        question: &str,
        dialogue: &mut Dialogue,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Answer> {
        match self {
            Self::Here(answerer) => {
                let mut conversation = Conversation::after(answerer, dialogue.clone());
                let answer = conversation.ask(question, interrupted, watch)?;
                *dialogue = conversation.into_dialogue();
                Ok(answer)
            }
            Self::Server(server) => {
                let asked = Asked {
                    question: question.to_owned(),
                    dialogue: dialogue.clone(),
                    options: server.options.clone(),
                    selection: server.selection.clone(),
                    keep_alive: None,
                };
                let (answer, after) = server.client.ask(asked, interrupted, watch)?;
                *dialogue = after;
                Ok(answer)
            }
        }
    }

    /// Finds passages without answering.
    pub fn search(&self, question: &str) -> Result<Retrieval> {
        match self {
            Self::Here(answerer) => answerer.search_texts(question),
            Self::Server(server) => {
                server.client.search(question, server.options.top_k, &server.selection)
            }
        }
    }

    /// The prompt for a question; `None` if the LLM would not be asked.
    ///
    /// # Errors
    /// Among others, the server that answers keeps its prompts to itself.
    pub fn messages(
        &self,
        question: &str,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Messages>> {
        match self {
            Self::Here(answerer) => answerer.messages(question, watch),
            Self::Server(_) => bail!("a server does not show its prompts; ask with `--no-server`"),
        }
    }
}

/// The server of this user that runs with the same index and configuration, if there is one and it may
/// be used; says so.
fn running_server(setup: &Setup, options: &AnswerOptions) -> Option<Client> {
    if setup.global.no_server {
        return None;
    }
    let client = Client::find(&local::folder(&setup.store.state_dir), &key(setup, options)?)?;
    setup.terminal.say(setup.terminal.lang.asking_server());
    Some(client)
}

/// What two processes must have in common so that one can answer for the other: everything that changes
/// an answer and is not sent with a question. `None` if the index has no place that can be told.
pub fn key(setup: &Setup, options: &AnswerOptions) -> Option<String> {
    let Setup { global, profile, store, index, .. } = setup;
    let index = place(index)?;
    // A file is another file in another folder; an address or a name is the same everywhere.
    let llm = global.llm.as_deref().map(|llm| match llm.exists() {
        true => absolute(llm).unwrap_or_else(|_| llm.to_owned()),
        false => llm.to_owned(),
    });
    let secret = Key::from_env().ok().flatten().map(|key| key.digest().to_hex().to_string());
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let parts = BTreeMap::from([
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("build", text(&build())),
        ("index", index),
        ("profile", serde_json::to_string(profile).ok()?),
        ("models", text(&store.models_dirs)),
        ("hub", text(&(&store.hub.endpoint, &store.hub.cache_dir, store.hub.offline))),
        ("device", text(&global.device.map(|device| device.to_string()))),
        ("context", text(&global.context)),
        ("llm", text(&llm)),
        ("patience", text(&global.llm_timeout)),
        ("key", text(&secret)),
        ("no_rerank", text(&global.no_rerank)),
        ("prompt", text(&options.prompt)),
        ("rewriting", text(&options.rewriting)),
    ]);
    let json = serde_json::to_string(&parts).ok()?;
    Some(blake3::hash(json.as_bytes()).to_hex()[..16].to_owned())
}

/// Where an index is, the same from every folder. One that is yet to be made has no such place.
fn place(index: &Location) -> Option<String> {
    match index {
        Location::Directory(dir) => Some(dir.canonicalize().ok()?.display().to_string()),
        Location::Milvus(..) => Some(index.to_string()),
        // Their names are shown with what they have.
        Location::Several(all) => {
            let places = all.iter().map(|(name, one)| Some(format!("{name} {}", place(one)?)));
            Some(places.collect::<Option<Vec<_>>>()?.join("\n"))
        }
    }
}

/// Tells builds of the same version apart: size and time of the program.
fn build() -> Option<(u64, std::time::SystemTime)> {
    let program: &Path = &std::env::current_exe().ok()?;
    let metadata = program.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
