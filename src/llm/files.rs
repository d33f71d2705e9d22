//! The files of a model: what they are, and everything in them but the weights.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;

use super::chat::ChatTemplate;
use super::checkpoint::Checkpoint;
use super::config::LlamaConfig;
use super::gguf::{Gguf, integer};
use super::tokenizer::LlmTokenizer;

/// JSON files of a model larger than this, in bytes, are none.
const MAX_JSON_BYTES: u64 = 32 << 20;

/// Where the weights are and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LlmFiles {
    /// One GGUF file with everything.
    Gguf(PathBuf),
    /// A Hugging Face folder's files.
    Safetensors {
        /// `config.json`
        config: PathBuf,
        /// `generation_config.json`
        generation_config: Option<PathBuf>,
        /// `tokenizer.json`
        tokenizer: PathBuf,
        /// `tokenizer_config.json`
        tokenizer_config: PathBuf,
        /// `*.safetensors`
        weights: Vec<PathBuf>,
    },
}

impl LlmFiles {
    /// The files of a model on this machine: a GGUF file, or a Hugging Face folder.
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
        let optional = path.join("generation_config.json");
        Ok(Self::Safetensors {
            config: path.join("config.json"),
            generation_config: optional.is_file().then_some(optional),
            tokenizer: path.join("tokenizer.json"),
            tokenizer_config: path.join("tokenizer_config.json"),
            weights,
        })
    }
}

/// Everything read from the files, before any weight is loaded.
pub struct Opened {
    pub checkpoint: Checkpoint,
    pub config: LlamaConfig,
    pub tokenizer: LlmTokenizer,
    pub template: ChatTemplate,
    pub end_of_text: Vec<u32>,
}

/// Reads everything but the weights.
pub fn open(files: &LlmFiles) -> Result<Opened> {
    match files {
        LlmFiles::Gguf(path) => {
            open_gguf(path).with_context(|| format!("cannot use the LLM in {}", path.display()))
        }
        LlmFiles::Safetensors {
            config,
            generation_config,
            tokenizer,
            tokenizer_config,
            weights,
        } => {
            let config = LlamaConfig::from_hugging_face(config)?;
            let tokenizer = LlmTokenizer::from_json(tokenizer)?;
            let TokenizerConfig { chat_template, bos_token, eos_token } =
                read_json(tokenizer_config)?;
            let text =
                |token: Option<TokenText>| token.map(TokenText::into_text).unwrap_or_default();
            let (bos, eos) = (text(bos_token), text(eos_token));
            let source = chat_template.with_context(|| {
                format!(
                    "{} has no chat_template: not an Instruct model",
                    tokenizer_config.display()
                )
            })?;
            let mut end_of_text: Vec<u32> = tokenizer.special(&eos).into_iter().collect();
            if let Some(path) = generation_config {
                end_of_text.extend(read_json::<GenerationConfig>(path)?.eos_token_id.into_ids());
            }
            ensure!(!end_of_text.is_empty(), "the model's files name no end-of-text token");
            let template = ChatTemplate::new(source, bos, eos)?;
            Ok(Opened {
                checkpoint: Checkpoint::Safetensors(weights.clone()),
                config,
                tokenizer,
                template,
                end_of_text,
            })
        }
    }
}

fn open_gguf(path: &Path) -> Result<Opened> {
    let gguf = Gguf::open(path)?;
    let metadata = gguf.metadata();
    let tokenizer = LlmTokenizer::from_gguf(metadata)?;
    let config = LlamaConfig::from_gguf(metadata, gguf.vocabulary()?)?;
    let id = |key: &str| metadata.get(key).and_then(integer).and_then(|id| u32::try_from(id).ok());
    let (bos, eos) = (id("tokenizer.ggml.bos_token_id"), id("tokenizer.ggml.eos_token_id"));
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default();
    let Some(Value::String(source)) = metadata.get("tokenizer.chat_template") else {
        bail!("the file has no chat template (tokenizer.chat_template): not an Instruct model");
    };
    let template = ChatTemplate::new(source.clone(), text(bos), text(eos))?;
    // A GGUF file names one end token; chat models end a turn with others, too.
    let turn_ends = ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>"];
    let mut end_of_text: Vec<u32> =
        turn_ends.iter().filter_map(|token| tokenizer.special(token)).collect();
    end_of_text.extend(eos);
    ensure!(!end_of_text.is_empty(), "the file names no end-of-text token");
    Ok(Opened { checkpoint: Checkpoint::Gguf(gguf), config, tokenizer, template, end_of_text })
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<String>,
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

#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl OneOrMany {
    fn into_ids(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let unreadable = || format!("cannot read {}", path.display());
    ensure!(
        fs::metadata(path).with_context(unreadable)?.len() <= MAX_JSON_BYTES,
        "{} is too large",
        path.display()
    );
    serde_json::from_slice(&fs::read(path).with_context(unreadable)?)
        .with_context(|| format!("{} is not what it should be", path.display()))
}
