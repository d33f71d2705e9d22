//! Builds what commands need from the options. Loads no model and creates no CUDA context.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ureq::tls::RootCerts;

use super::args::{Global, SamplingArgs};
use super::config::{Config, NamedIndex};
use crate::answer::{AnswerOptions, RewriteTemplate};
use crate::generation::local::SamplingOptions;
use crate::generation::remote::{Endpoint, Key, Pool, RemoteError, request};
use crate::index::directory::Manifest;
use crate::index::{Index, Location, Notify, Settings, Start};
use crate::models::hub_llm::{self, HubLlm};
use crate::models::{Catalogue, ModelEntry, ModelStore, Profile};
use crate::profile::{Models, OtherLlm, Overrides};
use crate::prompt::PromptTemplate;
use crate::retrieval::rerank::Reranker;
use crate::support::tls;
use crate::terminal::{DownloadBars, Lang, Terminal, working_folder};

/// What every command needs.
#[derive(Clone)]
pub struct Setup<'a> {
    pub global: &'a Global,
    pub config: &'a Config,
    pub terminal: Terminal,
    pub catalogue: Catalogue,
    pub profile: Profile,
    pub store: ModelStore,
    pub index: Location,
}

/// The terminal, configured by the options.
pub fn terminal(global: &Global) -> Terminal {
    Terminal::new(global.lang.unwrap_or_else(Lang::from_locale), global.quiet)
}

impl<'a> Setup<'a> {
    /// Reads the catalogue and resolves the locations of models and index.
    pub fn new(global: &'a Global, config: &'a Config, terminal: Terminal) -> Result<Self> {
        let catalogue = Catalogue::load(global.catalogue.as_deref())?;
        let mut store = ModelStore::of_user()?;
        store.hub.offline |= global.offline;
        store.progress = Arc::new(DownloadBars::new(terminal));
        let profile = profile(&global.profile, global, &catalogue, &store)?;
        let index = locations(&global.index, config, &store.state_dir, terminal)?;
        Ok(Self { global, config, terminal, catalogue, profile, store, index })
    }

    /// What the files of settings say of the index in use; `None` if it has no name, or they do not
    /// know it.
    pub fn definition(&self) -> Option<&'a NamedIndex> {
        let [index] = self.global.index.as_slice() else { return None };
        self.config.index(index.to_str()?.strip_prefix('@')?)
    }

    /// The same with another index, named as for `--index`.
    pub fn with_index(&self, index: &Path) -> Result<Self> {
        let index = location(index, self.config, &self.store.state_dir, self.terminal)?;
        Ok(Self { index, ..self.clone() })
    }

    /// The same with another profile.
    pub fn with_profile(&self, name: &str) -> Result<Self> {
        let profile = profile(name, self.global, &self.catalogue, &self.store)?;
        Ok(Self { profile, ..self.clone() })
    }

    /// Turns to another index.
    pub fn turn_to(&mut self, name: &str) -> Result<()> {
        let name = PathBuf::from(format!("@{name}"));
        self.index = location(&name, self.config, &self.store.state_dir, self.terminal)?;
        Ok(())
    }

    /// The profile's models, none of them loaded.
    pub fn models(&self) -> Result<Models> {
        let overrides = Overrides {
            device: self.global.device,
            context: self.global.context.map(|tokens| tokens as usize),
            llm: self.other_llm()?,
            no_rerank: self.global.no_rerank,
            token_vectors: self.global.token_vectors.unwrap_or_default(),
        };
        Ok(Models::new(&self.profile, &self.store, &overrides)?)
    }

    fn is_llm_remote(&self) -> bool {
        self.global.llm.as_deref().is_some_and(is_address)
    }

    /// Parses `--llm`, without connecting to servers; `None` if the profile has the LLM.
    fn other_llm(&self) -> Result<Option<OtherLlm>> {
        let is_other =
            |llm: &&PathBuf| !is_on_hub(llm) && in_catalogue(llm, &self.catalogue).is_none();
        let Some(llm) = self.global.llm.as_ref().filter(is_other) else { return Ok(None) };
        if !is_address(llm) {
            return Ok(Some(OtherLlm::Path(llm.clone())));
        }
        if self.global.device.is_some() {
            return Err(RemoteError::Unsupported("`--device`".to_owned()).into());
        }
        let servers = Endpoint::parse_list(&llm.to_string_lossy())?;
        let patience = Duration::from_secs(self.global.llm_timeout.into());
        let encrypted = servers.iter().any(Endpoint::is_encrypted);
        let roots = if encrypted { tls::roots()? } else { RootCerts::WebPki };
        let pool = Pool::new(servers, Key::from_env()?, roots, patience)?;
        Ok(Some(OtherLlm::Remote(Arc::new(pool))))
    }

    /// Options for answering.
    ///
    /// # Errors
    /// A template is invalid, or servers do not support a sampling option.
    pub fn answer_options(&self, sampling: &SamplingArgs) -> Result<AnswerOptions> {
        let options = AnswerOptions {
            top_k: self.global.top_k,
            extractive: self.global.extractive,
            force: self.global.force,
            sampling: SamplingOptions {
                max_tokens: sampling.max_tokens as usize,
                temperature: sampling.temperature,
                top_k: sampling.sample_top_k.map(|k| k as usize),
                top_p: sampling.top_p,
                min_p: sampling.min_p,
                repeat_penalty: sampling.repeat_penalty,
                seed: sampling.seed,
                lookup: true,
            },
            prompt: self.prompt()?,
            rewriting: self.rewriting()?,
            names_below: working_folder(),
        };
        let unknown = request::unsupported(&options.sampling);
        if self.is_llm_remote() && !unknown.is_empty() {
            return Err(RemoteError::Unsupported(unknown.join(", ")).into());
        }
        Ok(options)
    }

    /// The template for the prompt, validated.
    fn prompt(&self) -> Result<PromptTemplate> {
        let path = self.global.prompt.as_deref().or(self.profile.prompt.as_deref());
        path.map_or_else(|| Ok(PromptTemplate::default()), PromptTemplate::load)
    }

    /// The template for rewriting follow-ups, validated.
    fn rewriting(&self) -> Result<RewriteTemplate> {
        let path = self.global.rewrite_prompt.as_deref();
        let path = path.or(self.profile.rewrite_prompt.as_deref());
        path.map_or_else(|| Ok(RewriteTemplate::default()), RewriteTemplate::load)
    }

    /// Takes the words in the index again if an earlier version of this program took them.
    pub fn renew_terms(&self) -> Result<()> {
        if self.index.has_old_terms() {
            let start = Instant::now();
            let step = self.terminal.begin(self.terminal.lang.renewing_terms());
            self.index.renew_terms().context(
                "the index comes from an earlier version, and its words have to be taken again once",
            )?;
            step.done_in(start.elapsed());
        }
        Ok(())
    }

    /// Codes the token vectors of the index anew if an earlier version of this program wrote them.
    pub fn renew_codes(&self, wanted: &Settings) -> Result<()> {
        if self.index.has_old_codes(wanted) {
            let start = Instant::now();
            let step = self.terminal.begin(self.terminal.lang.recoding_tokens());
            self.index.write(wanted.clone(), Start::Update)?.finish()?;
            step.done_in(start.elapsed());
        }
        Ok(())
    }

    /// Opens the index while the embedder and the reranker load in parallel, and reports progress.
    /// Also returns the time it took to open the index.
    pub fn open_index(&self, models: &Models) -> Result<(Box<dyn Index>, Duration)> {
        self.renew_terms()?;
        let lang = self.terminal.lang;
        let mut wanted = models.index_settings.clone();
        wanted.token_vectors.take_if(|_| models.reranker.is_none());
        let load_reranker = || models.reranker.as_ref().map_or(Ok(()), Reranker::load);
        std::thread::scope(|scope| {
            let start = Instant::now();
            let step = self.terminal.begin(lang.loading_index());
            // If the index is missing or does not match, load nothing: opening it will fail.
            let fits = self.index.peek().is_some_and(|built| built.check(&wanted).is_ok());
            let embedder = fits.then(|| scope.spawn(|| models.embedder.get().map(drop)));
            let reranker = fits.then(|| scope.spawn(load_reranker));
            let mut index = self.index.open()?;
            index.settings().check(&wanted)?;
            let all = index.chunk_count();
            let selected = self.global.selection.selection().apply(index.as_mut())?;
            let took = start.elapsed();
            step.done(&match selected {
                Some(selected) => lang.chunks_selected(selected, all),
                None => lang.chunks(all),
            });

            let step = self.terminal.begin(lang.loading_models(models.reranker.is_some()));
            for loading in [embedder, reranker].into_iter().flatten() {
                loading.join().expect("loading returns its errors")?;
            }
            if !fits {
                models.embedder.get()?;
                load_reranker()?;
            }
            step.done_in(start.elapsed());
            Ok((index, took))
        })
    }
}

/// A profile, with the reranker of `--reranker`, and the LLM of `--llm` if the catalogue or the hub has it.
fn profile(
    name: &str,
    global: &Global,
    catalogue: &Catalogue,
    store: &ModelStore,
) -> Result<Profile> {
    let mut profile = catalogue.profile(name)?;
    if let Some(reranker) = &global.reranker {
        let entry = catalogue.model(reranker)?;
        entry.reranker()?;
        profile.reranker = entry.clone();
    }
    if let Some(llm) = global.llm.as_deref() {
        if is_on_hub(llm) {
            profile.llm = llm_on_hub(&llm.to_string_lossy(), store)?;
        } else if let Some(entry) = in_catalogue(llm, catalogue) {
            profile.llm = entry.clone();
        }
    }
    Ok(profile)
}

/// The catalogue's entry for `--llm hf:…`. Asks the hub only to say which files there are.
fn llm_on_hub(llm: &str, store: &ModelStore) -> Result<ModelEntry> {
    let named = HubLlm::parse(llm)?;
    Ok(named.entry(|| store.files_on_hub(named.repo, named.revision))?)
}

/// Whether `--llm` names a file on a hub.
fn is_on_hub(llm: &Path) -> bool {
    llm.to_str().is_some_and(hub_llm::is_meant)
}

/// The catalogue's LLM that `--llm` names, unless there is such a file.
fn in_catalogue<'a>(llm: &Path, catalogue: &'a Catalogue) -> Option<&'a ModelEntry> {
    let entry = catalogue.model(llm.to_str()?).ok()?;
    Some(entry).filter(|entry| entry.llm().is_ok() && !llm.exists())
}

/// Whether `--llm` names servers, not a file.
fn is_address(llm: &Path) -> bool {
    llm.to_str().is_some_and(Endpoint::is_meant)
}

/// The folder of named indexes, in the data folder.
pub fn named_indexes(data: &Path) -> PathBuf {
    data.join("indexes")
}

/// Where the indexes are that the options name, or else the default one.
fn locations(
    indexes: &[PathBuf],
    config: &Config,
    data: &Path,
    terminal: Terminal,
) -> Result<Location> {
    match indexes {
        [] => Ok(Location::Directory(default_index(data))),
        [index] => location(index, config, data, terminal),
        several => {
            let named = several.iter().map(|index| {
                let name = Arc::from(index.to_string_lossy());
                Ok((name, location(index, config, data, terminal)?))
            });
            Ok(Location::Several(named.collect::<Result<_>>()?))
        }
    }
}

/// Parses an index location: a server, `@NAME`, or a folder.
pub fn location(
    index: &Path,
    config: &Config,
    data: &Path,
    terminal: Terminal,
) -> Result<Location> {
    let notify = Notify(Arc::new(move |notice| terminal.warn(&terminal.lang.notice(notice))));
    match Location::parse(index, notify)? {
        Location::Directory(dir) => Ok(Location::Directory(named_index(&dir, config, data)?)),
        other => Ok(other),
    }
}

/// Resolves `@NAME` to an index in the data folder; returns any other path as it is.
fn named_index(index: &Path, config: &Config, data: &Path) -> Result<PathBuf> {
    let Some(name) = index.to_str().and_then(|index| index.strip_prefix('@')) else {
        return Ok(index.to_owned());
    };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.chars().all(plain),
        "`@{name}` cannot be the name of an index; use letters, digits, `-`, `_` and `.`"
    );
    let folder = named_indexes(data);
    Ok(match config.index(name).and_then(|index| index.project.as_ref()) {
        // Two projects may use the same name.
        Some(project) => {
            let hash = blake3::hash(project.as_os_str().as_encoded_bytes()).to_hex();
            folder.join(format!("{name}-{}", &hash[..8]))
        }
        None => folder.join(name),
    })
}

/// `./index` if it really is an index and not just a folder of that name, else the data folder's.
fn default_index(data: &Path) -> PathBuf {
    let here = Path::new("index");
    if Manifest::exists(here) { here.to_owned() } else { data.join("index") }
}
