//! The files of a model, and everything in them except the weights.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;

use super::gguf::{BETTER_FILE, Gguf, integer};
use super::{Checkpoint, Safetensors, inventory, shards};
use crate::generation::local::model::config::LlamaConfig;
use crate::generation::local::tokenizer::LlmTokenizer;
use crate::generation::local::tokenizer::chat::ChatTemplate;
use crate::models::json;

/// How many more rows than tokens the embedding of a Hugging Face checkpoint may have: some models
/// pad the vocabulary to a multiple of a power of two.
const MAX_PADDING: usize = 512;

/// The marks with which models end a turn. llama.cpp has more, of architectures that are not run here
/// (`special_eog_ids` in its `llama-vocab.cpp`).
const TURN_ENDS: [&str; 8] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
];

/// The file format and paths of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LlmFiles {
    /// A single GGUF file with everything, or any part of a split one.
    Gguf(PathBuf),
    /// The files of a Hugging Face folder.
    Safetensors {
        /// `config.json`
        config: PathBuf,
        /// `generation_config.json`
        generation_config: Option<PathBuf>,
        /// `tokenizer.json`
        tokenizer: PathBuf,
        /// `tokenizer_config.json`
        tokenizer_config: PathBuf,
        /// `model.safetensors.index.json` of a sharded model.
        index: Option<PathBuf>,
        /// `*.safetensors`; if there is an index, only the files that it names.
        weights: Vec<PathBuf>,
    },
}

impl LlmFiles {
    /// The files of a local model: a GGUF file or a Hugging Face folder.
    pub fn at(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Ok(Self::Gguf(path.to_owned()));
        }
        let listed =
            fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut weights: Vec<PathBuf> = listed
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
            .collect();
        weights.sort();
        ensure!(!weights.is_empty(), "{} holds no .safetensors files", path.display());
        let optional = |name| Some(path.join(name)).filter(|path| path.is_file());
        Ok(Self::Safetensors {
            config: path.join("config.json"),
            generation_config: optional("generation_config.json"),
            tokenizer: path.join("tokenizer.json"),
            tokenizer_config: path.join("tokenizer_config.json"),
            index: optional("model.safetensors.index.json"),
            weights,
        })
    }
}

impl LlmFiles {
    /// Reads and validates everything except the weights, as loading does before it allocates
    /// memory.
    pub fn check(&self) -> Result<()> {
        open(self).map(drop)
    }
}

/// Everything read from the files before loading weights.
pub struct Opened {
    pub checkpoint: Checkpoint,
    pub config: LlamaConfig,
    pub tokenizer: LlmTokenizer,
    pub template: ChatTemplate,
    /// Tokens that end an answer.
    pub end_of_text: Vec<u32>,
    /// Texts that do, where the vocabulary has no token for them.
    pub stops: Vec<String>,
}

/// Reads everything except the weights, and checks that the weights match it.
///
/// # Errors
/// Names the file and what is wrong with it. Nothing on the scale of the weights has been
/// allocated.
pub fn open(files: &LlmFiles) -> Result<Opened> {
    match files {
        LlmFiles::Gguf(path) => {
            let gguf = Gguf::open(path)?;
            open_gguf(gguf).with_context(|| format!("cannot use {}", path.display()))
        }
        LlmFiles::Safetensors {
            config,
            generation_config,
            tokenizer,
            tokenizer_config,
            index,
            weights,
        } => {
            let config = LlamaConfig::from_hugging_face(config)?;
            let weights = match index {
                Some(index) => shards::named_by(index, weights)?,
                None => weights.clone(),
            };
            let opened = Safetensors::open(&weights).and_then(|safetensors| {
                inventory::check_safetensors(&safetensors, &config).map(|()| safetensors)
            });
            let safetensors = opened.with_context(|| {
                let folder = tokenizer_config.parent().unwrap_or(tokenizer_config);
                format!("cannot use the model in {}", folder.display())
            })?;
            let tokenizer = LlmTokenizer::from_json(tokenizer)?;
            check_vocabulary(&tokenizer, &config, MAX_PADDING)?;
            let (template, eos) = template_of(tokenizer_config, &tokenizer)?;
            let mut end_of_text: Vec<u32> = tokenizer.special(&eos).into_iter().collect();
            if let Some(path) = generation_config {
                end_of_text.extend(json::read::<GenerationConfig>(path)?.into_ids());
            }
            check_end(&end_of_text, &config)
                .with_context(|| format!("cannot use {}", tokenizer_config.display()))?;
            let checkpoint = Checkpoint::Safetensors(safetensors);
            let stops = Vec::new();
            Ok(Opened { checkpoint, config, tokenizer, template, end_of_text, stops })
        }
    }
}

/// Same as [`open`] for a GGUF file.
pub fn open_gguf(gguf: Gguf) -> Result<Opened> {
    let metadata = gguf.metadata();
    // Cheap checks first, so that a file for another program is rejected immediately.
    let config = LlamaConfig::from_gguf(metadata, gguf.vocabulary()?)?;
    inventory::check_gguf(&gguf, &config)?;
    let Some(Value::String(source)) = metadata.get("tokenizer.chat_template") else {
        bail!(
            "it has no chat template (tokenizer.chat_template), so it is not an Instruct model; \
             download the Instruct variant"
        );
    };
    let id = |key: &str| match metadata.get(key) {
        None => Ok(None),
        Some(value) => integer(value)
            .filter(|&id| id < config.vocabulary as u64)
            .map(|id| Some(id as u32))
            .with_context(|| format!("{key} is no token of the model; {BETTER_FILE}")),
    };
    let bos = id("tokenizer.ggml.bos_token_id")?;
    let eos = id("tokenizer.ggml.eos_token_id")?;
    let eot = id("tokenizer.ggml.eot_token_id")?;
    let tokenizer = LlmTokenizer::from_gguf(&gguf)?;
    check_vocabulary(&tokenizer, &config, 0)?;
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default();
    let template = ChatTemplate::new(&tokenizer, source, &text(bos), &text(eos))?;
    // GGUF metadata names one or two end tokens, but chat models also end a turn with others.
    let mut end_of_text: Vec<u32> =
        TURN_ENDS.iter().filter_map(|token| tokenizer.special(token)).collect();
    end_of_text.extend([eos, eot, id("tokenizer.ggml.eom_token_id")?].into_iter().flatten());
    // A model may have been taught turns whose marks its vocabulary does not have.
    let is_spelled = |end: &&str| source.contains(end) && tokenizer.special(end).is_none();
    let stops = TURN_ENDS.iter().copied().filter(is_spelled).map(str::to_owned).collect();
    check_end(&end_of_text, &config)?;
    let checkpoint = Checkpoint::Gguf(gguf);
    Ok(Opened { checkpoint, config, tokenizer, template, end_of_text, stops })
}

/// Every token needs a row in the model, which may have up to `padding` more.
fn check_vocabulary(tokenizer: &LlmTokenizer, config: &LlamaConfig, padding: usize) -> Result<()> {
    let (tokens, rows) = (tokenizer.vocabulary(), config.vocabulary);
    ensure!(
        tokens <= rows && rows - tokens <= padding,
        "the tokenizer has {tokens} tokens, the model {rows}: they do not belong together; \
         download both from the same place"
    );
    Ok(())
}

fn check_end(end_of_text: &[u32], config: &LlamaConfig) -> Result<()> {
    ensure!(
        !end_of_text.is_empty(),
        "it names no end-of-text token, so answers would never end; {BETTER_FILE}"
    );
    let strange = end_of_text.iter().find(|&&id| id as usize >= config.vocabulary);
    ensure!(
        strange.is_none(),
        "its end-of-text token {} is none of the model's {} tokens",
        strange.copied().unwrap_or_default(),
        config.vocabulary
    );
    Ok(())
}

/// The chat template in or next to a `tokenizer_config.json`, and the text of the eos token.
fn template_of(
    tokenizer_config: &Path,
    tokenizer: &LlmTokenizer,
) -> Result<(ChatTemplate, String)> {
    let TokenizerConfig { chat_template, bos_token, eos_token } = json::read(tokenizer_config)?;
    let text = |token: Option<TokenText>| token.map(TokenText::into_text).unwrap_or_default();
    let (bos, eos) = (text(bos_token), text(eos_token));
    let source = if let Some(source) = chat_template.and_then(TemplateSource::into_default) {
        source
    } else {
        // Where transformers writes it since 4.52.
        let path = tokenizer_config.with_file_name("chat_template.jinja");
        ensure!(
            path.is_file(),
            "{} has no chat_template, so it is not an Instruct model; download the Instruct \
                 variant",
            tokenizer_config.display()
        );
        String::from_utf8(json::bytes(&path)?)
            .with_context(|| format!("{} is not text", path.display()))?
    };
    let template = ChatTemplate::new(tokenizer, &source, &bos, &eos)
        .with_context(|| format!("cannot use {}", tokenizer_config.display()))?;
    Ok((template, eos))
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<TemplateSource>,
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Added { content: String },
}

impl TokenText {
    fn into_text(self) -> String {
        match self {
            Self::Plain(text) | Self::Added { content: text } => text,
        }
    }
}

/// A single template, or several by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum TemplateSource {
    One(String),
    Many(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl TemplateSource {
    fn into_default(self) -> Option<String> {
        match self {
            Self::One(source) => Some(source),
            Self::Many(named) => named
                .into_iter()
                .find(|template| template.name == "default")
                .map(|template| template.template),
        }
    }
}

#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl GenerationConfig {
    fn into_ids(self) -> Vec<u32> {
        match self.eos_token_id {
            None => Vec::new(),
            Some(OneOrMany::One(id)) => vec![id],
            Some(OneOrMany::Many(ids)) => ids,
        }
    }
}
