//! The three models of a profile, loaded lazily.
//!
//! Creating a [`Models`] opens no file and creates no CUDA context; each model loads on first use.
//! The embedder and the reranker always run on the CPU.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::answer::{AnswerOptions, Answerer};
use crate::chunks::ChunkSettings;
use crate::embedding::Embedder;
use crate::embedding::codes::TokenCodes;
use crate::generation::local::placement::gpu;
use crate::generation::local::placement::{self, DeviceChoice, Outlook};
use crate::generation::local::{Llm, LlmFiles};
use crate::generation::remote::Pool;
use crate::generation::{LazyGenerator, LlmSource, Turns};
use crate::index::{EmbedderIdentity, Index, Settings};
use crate::models::catalogue::{
    Calibration, EmbedderSpec, LlmFormat, LlmSpec, Pooling, Precision, ProfileDevice, RerankerSpec,
    SupportThresholds,
};
use crate::models::{
    Catalogue, CatalogueError, Found, LazyModel, ModelEntry, ModelFiles, ModelStore, Profile,
};
use crate::retrieval::Retriever;
use crate::retrieval::rerank::{CrossEncoder, Reranker};
use crate::text::analyze::ANALYZER;

/// Context in tokens, unless the user or the catalogue sets one.
const DEFAULT_CONTEXT: usize = 8192;

/// The user's changes to a profile.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Where the LLM runs.
    pub device: Option<DeviceChoice>,
    /// Context size: tokens of prompt and answer together.
    pub context: Option<usize>,
    /// Replaces the profile's LLM.
    pub llm: Option<OtherLlm>,
    /// Skip reranking and keep the order of the first search.
    pub no_rerank: bool,
    /// How a new index stores token vectors.
    pub token_vectors: TokenChoice,
}

/// How the token vectors of a new index are stored, for rerankers that need them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenChoice {
    /// In as few bytes as rank like the vectors themselves.
    #[default]
    Standard,
    /// In half of that.
    Compact,
    /// In four bits a value.
    FourBit,
    /// In a byte a value.
    EightBit,
}

impl TokenChoice {
    /// The codes of an embedder's token vectors.
    fn codes(self, entry: &ModelEntry, spec: &EmbedderSpec) -> Result<TokenCodes, CatalogueError> {
        match (self, &spec.token_books) {
            (Self::Standard, Some(books)) => Ok(TokenCodes::Book(books.standard.clone())),
            (Self::Compact, Some(books)) => Ok(TokenCodes::Book(books.compact.clone())),
            (Self::Compact, None) => Err(CatalogueError::NoBook(entry.name.clone())),
            (Self::Standard, None) | (Self::FourBit, _) => Ok(TokenCodes::FourBit),
            (Self::EightBit, _) => Ok(TokenCodes::EightBit),
        }
    }
}

/// An LLM to use instead of the profile's.
#[derive(Debug, Clone)]
pub enum OtherLlm {
    /// A GGUF file or a Hugging Face folder.
    Path(PathBuf),
    /// Servers with an OpenAI-compatible API.
    Remote(Arc<Pool>),
}

/// The models of one run.
pub struct Models {
    /// Turns text into vectors.
    pub embedder: LazyModel<Embedder>,
    /// Reorders the hits of the first search; `None` to keep their order.
    pub reranker: Option<Reranker>,
    /// Writes the answer.
    pub llm: LazyGenerator,
    /// What [`Models::llm`] will load, if it is local.
    pub llm_request: LlmRequest,
    /// Where the LLM will run, if it is local.
    pub llm_device: DeviceChoice,
    /// Calibration of relevance for the embedder; without it, no question is refused for low
    /// relevance.
    pub relevance: Option<Calibration>,
    /// Thresholds for a passage to support a sentence; absent if not calibrated.
    pub support: Option<SupportThresholds>,
    /// Settings that an index must have been built with to work with these models.
    pub index_settings: Settings,
}

impl Models {
    /// The models of the built-in profile `name`, with the user's model folders and cache. Loads
    /// nothing.
    ///
    /// # Errors
    /// There is no such profile, or the user has no data folder.
    pub fn of_profile(name: &str) -> Result<Self> {
        let profile = Catalogue::load(None)?.profile(name)?;
        let store = ModelStore::of_user()?;
        Ok(Self::new(&profile, &store, &Overrides::default())?)
    }

    /// The models of `profile`, with `overrides`. Loads nothing.
    pub fn new(
        profile: &Profile,
        store: &ModelStore,
        overrides: &Overrides,
    ) -> Result<Self, CatalogueError> {
        let store = Arc::new(store.clone());
        let embedder_spec = profile.embedder.embedder()?.clone();
        let relevance = embedder_spec.relevance;
        let support = embedder_spec.support;
        let llm_spec = profile.llm.llm()?.clone();
        let llm_device = overrides.device.unwrap_or(match profile.device {
            ProfileDevice::Cuda => DeviceChoice::Cuda(None),
            ProfileDevice::Cpu => DeviceChoice::Cpu,
        });
        let from_catalogue = match overrides.llm {
            Some(OtherLlm::Remote(_)) => None,
            _ => llm_spec.context,
        };
        let context = overrides.context.or(from_catalogue).unwrap_or(DEFAULT_CONTEXT);
        let index_settings = index_settings(profile, &embedder_spec, overrides.token_vectors)?;
        let reranker = match profile.reranker.reranker()? {
            _ if overrides.no_rerank => None,
            RerankerSpec::LateInteraction {} => Some(Reranker::LateInteraction),
            RerankerSpec::CrossEncoder { max_tokens, precision } => {
                let model = lazy_cross_encoder(&profile.reranker, &store, *max_tokens, *precision);
                Some(Reranker::CrossEncoder(Box::new(model)))
            }
        };
        let name = match &overrides.llm {
            Some(OtherLlm::Path(path)) => file_name(path),
            Some(OtherLlm::Remote(pool)) => pool.model(),
            None => profile.llm.name.clone(),
        };
        let llm_request = LlmRequest {
            entry: profile.llm.clone(),
            format: llm_spec.format,
            path: match &overrides.llm {
                Some(OtherLlm::Path(path)) => Some(path.clone()),
                Some(OtherLlm::Remote(_)) | None => None,
            },
            device: llm_device,
            context,
            name: name.clone(),
        };
        let source = match &overrides.llm {
            Some(OtherLlm::Remote(pool)) => LlmSource::Remote(Arc::clone(pool)),
            _ => LlmSource::Local(Box::new(lazy_llm(llm_request.clone(), Arc::clone(&store)))),
        };
        Ok(Self {
            embedder: lazy_embedder(&profile.embedder, &store, embedder_spec),
            reranker,
            llm: lazy_generator(name, context, &llm_spec, overrides.llm.is_none(), source),
            llm_request,
            llm_device,
            relevance,
            support,
            index_settings,
        })
    }

    /// A retriever over `index`. Loads nothing.
    pub fn retriever<'a>(&'a self, index: &'a dyn Index) -> Result<Retriever<'a>> {
        Retriever::new(index, &self.embedder, self.reranker.as_ref(), self.relevance.as_ref())
    }

    /// An answerer over `index`; `load_index` is the time it took to open. Loads nothing.
    pub fn answerer<'a>(
        &'a self,
        index: &'a dyn Index,
        options: AnswerOptions,
        load_index: Duration,
    ) -> Result<Answerer<'a>> {
        let retriever = self.retriever(index)?;
        Ok(Answerer::new(retriever, &self.llm, self.support, options, load_index))
    }
}

/// The LLM of a run. `own` says that it is the catalogue's: the limits there are not those of another.
fn lazy_generator(
    name: String,
    context: usize,
    spec: &LlmSpec,
    own: bool,
    source: LlmSource,
) -> LazyGenerator {
    LazyGenerator {
        name,
        context,
        languages: spec.answers_in.clone().filter(|_| own),
        max_passages: spec.passages.filter(|_| own),
        judges: spec.judges || !own,
        judge: spec.judge.filter(|_| own),
        source,
        turns: Turns::default(),
    }
}

/// The chunks that an embedder's entry asks for. Where it does not say, those of the default, or
/// smaller ones that fit its window.
fn chunking(spec: &EmbedderSpec) -> ChunkSettings {
    let default = ChunkSettings::default();
    let max_tokens =
        spec.chunk_tokens.unwrap_or_else(|| default.max_tokens.min(spec.largest_chunk()));
    ChunkSettings {
        max_tokens,
        overlap_tokens: default.overlap_tokens.min(max_tokens / 4),
        ..default
    }
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// What an index must be built with to work with a profile.
fn index_settings(
    profile: &Profile,
    embedder: &EmbedderSpec,
    tokens: TokenChoice,
) -> Result<Settings, CatalogueError> {
    // The index stores them for later runs, even if this one does not rerank.
    let late_interaction = matches!(profile.reranker.reranker()?, RerankerSpec::LateInteraction {});
    let codes = late_interaction.then(|| tokens.codes(&profile.embedder, embedder));
    Ok(Settings {
        embedder: identity(&profile.embedder, embedder),
        chunking: chunking(embedder),
        token_vectors: codes.transpose()?,
        analyzer: ANALYZER,
    })
}

fn identity(entry: &ModelEntry, spec: &EmbedderSpec) -> EmbedderIdentity {
    let id = match &spec.language_directions {
        Some(file) => format!("{}+{}", entry.identity(), file_name(file)),
        None => entry.identity(),
    };
    EmbedderIdentity {
        id,
        dimension: spec.dimension,
        pooling: match spec.pooling {
            Pooling::Mean => "mean".to_owned(),
            Pooling::Cls => "cls".to_owned(),
        },
        passage_prefix: spec.passage_prefix.clone(),
    }
}

fn lazy_embedder(
    entry: &ModelEntry,
    store: &Arc<ModelStore>,
    spec: EmbedderSpec,
) -> LazyModel<Embedder> {
    let (entry, store) = (entry.clone(), Arc::clone(store));
    LazyModel::new(move || {
        let files = store.locate(&entry)?;
        Embedder::load(
            files.get("config.json")?,
            files.get("tokenizer.json")?,
            weights(&files)?,
            spec.clone(),
        )
        .with_context(|| format!("cannot load the embedder {}", entry.name))
    })
}

fn lazy_cross_encoder(
    entry: &ModelEntry,
    store: &Arc<ModelStore>,
    max_tokens: usize,
    precision: Precision,
) -> LazyModel<CrossEncoder> {
    let (entry, store) = (entry.clone(), Arc::clone(store));
    LazyModel::new(move || {
        let files = store.locate(&entry)?;
        CrossEncoder::load(
            files.get("config.json")?,
            files.get("tokenizer.json")?,
            weights(&files)?,
            max_tokens,
            precision,
        )
        .with_context(|| format!("cannot load the reranker {}", entry.name))
    })
}

/// Which LLM to load, where, and with how much context.
#[derive(Debug, Clone)]
pub struct LlmRequest {
    entry: ModelEntry,
    format: LlmFormat,
    /// A user's file or folder that replaces the catalogue's.
    path: Option<PathBuf>,
    device: DeviceChoice,
    context: usize,
    name: String,
}

impl LlmRequest {
    fn load(&self, store: &ModelStore) -> Result<Llm> {
        // Fail before downloading gigabytes.
        placement::check(gpu::driver(), self.device)?;
        let files = match &self.path {
            Some(path) => LlmFiles::at(path)?,
            None => llm_files(&self.locate(store)?, self.format)?,
        };
        let llm = Llm::load(&files, self.device, self.context)
            .with_context(|| format!("cannot load the LLM {}", self.name))?;
        Ok(match self.path {
            Some(_) => llm,
            None => llm.stopping_at(&self.entry.llm()?.stop),
        })
    }

    /// The files of the catalogue's LLM. They are downloaded if the GPU has room for the weights alone:
    /// how much the model takes in all is known only once its files are here.
    fn locate(&self, store: &ModelStore) -> Result<ModelFiles> {
        match store.find(&self.entry)? {
            Found::Here(files) => Ok(files),
            Found::OnHub(missing) => {
                placement::check_weights(gpu::driver(), self.device, missing.weights())?;
                Ok(missing.download()?)
            }
        }
    }

    /// Predicts the device and memory that loading would use. Downloads nothing and reads no
    /// weights. `None` if the model's files are not on this machine.
    pub fn outlook(&self, store: &ModelStore) -> Option<Result<Outlook>> {
        let files = match &self.path {
            Some(path) => LlmFiles::at(path),
            None => llm_files(&store.locate_offline(&self.entry).ok()?, self.format),
        };
        let outlook = files.and_then(|files| Llm::outlook(&files, self.device, self.context));
        Some(outlook.with_context(|| format!("cannot load the LLM {}", self.name)))
    }
}

fn lazy_llm(request: LlmRequest, store: Arc<ModelStore>) -> LazyModel<Llm> {
    LazyModel::new(move || request.load(&store))
}

fn llm_files(files: &ModelFiles, format: LlmFormat) -> Result<LlmFiles> {
    Ok(match format {
        LlmFormat::Gguf => {
            // The first by name: the reader finds the other parts of a split model.
            let mut gguf = files.with_extension("gguf").into_iter();
            LlmFiles::Gguf(gguf.next().context("the catalogue names no .gguf file")?.to_owned())
        }
        LlmFormat::Safetensors => LlmFiles::Safetensors {
            config: files.get("config.json")?.to_owned(),
            generation_config: files.get("generation_config.json").ok().map(ToOwned::to_owned),
            tokenizer: files.get("tokenizer.json")?.to_owned(),
            tokenizer_config: files.get("tokenizer_config.json")?.to_owned(),
            index: files.get("model.safetensors.index.json").ok().map(ToOwned::to_owned),
            weights: files
                .with_extension("safetensors")
                .into_iter()
                .map(ToOwned::to_owned)
                .collect(),
        },
    })
}

/// An encoder's weights file: safetensors if the catalogue lists it, else PyTorch.
fn weights(files: &ModelFiles) -> Result<&std::path::Path> {
    Ok(files.get("model.safetensors").or_else(|_| files.get("pytorch_model.bin"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(max_tokens: usize, chunk_tokens: Option<usize>) -> EmbedderSpec {
        let catalogue = Catalogue::load(None).unwrap();
        let bge = catalogue.model("bge-m3").unwrap().embedder().unwrap().clone();
        EmbedderSpec { max_tokens, chunk_tokens, ..bge }
    }

    #[test]
    fn chunks_are_as_large_as_the_embedders_entry_says() {
        let tokens = |spec| {
            let ChunkSettings { max_tokens, overlap_tokens, .. } = chunking(&spec);
            (max_tokens, overlap_tokens)
        };
        assert_eq!(tokens(spec(8192, Some(8096))), (8096, 40));
        assert_eq!(tokens(spec(8192, Some(100))), (100, 25));
        assert_eq!(tokens(spec(8192, None)), (320, 40));
        assert_eq!(tokens(spec(256, None)), (160, 40));
        assert_eq!(EmbedderSpec::BESIDE_TEXT, ChunkSettings::default().max_heading_tokens + 32);
    }
}
