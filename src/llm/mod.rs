//! The LLM: loads once, on the device that was asked for, and writes answers token by token.

mod chat;
mod checkpoint;
mod config;
#[cfg(test)]
mod goldens;
mod llama;
pub mod placement;
mod rope;
pub mod tokenizer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::Value;
use candle_transformers::generation::{LogitsProcessor, Sampling};
use candle_transformers::utils::apply_repeat_penalty;
use serde::Deserialize;

use chat::ChatTemplate;
use checkpoint::{Checkpoint, Gguf, integer};
use config::LlamaConfig;
use llama::{Cache, Llama};
use placement::DeviceChoice;
use tokenizer::LlmTokenizer;

/// Prompt tokens in one pass: enough for matrix products at full speed, few enough that their
/// activations stay small and Ctrl-C is heard.
const PREFILL_CHUNK: usize = 256;
/// Tokens that the repeat penalty looks back on.
const REPEAT_WINDOW: usize = 64;
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

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// Most tokens in an answer.
    pub max_tokens: usize,
    /// 0 takes the likeliest token always (greedy).
    pub temperature: f64,
    /// Only among the k likeliest.
    pub top_k: Option<usize>,
    /// Only among the likeliest that together reach this probability (nucleus sampling, Holtzman
    /// et al. 2020).
    pub top_p: Option<f64>,
    /// Divides the logits of recent tokens (Keskar et al. 2019); 1 does nothing.
    pub repeat_penalty: f32,
    /// Of the random numbers.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repeat_penalty: 1.05,
            seed: 0,
        }
    }
}

impl SamplingOptions {
    fn processor(&self) -> LogitsProcessor {
        let temperature = self.temperature;
        let sampling = match (self.top_k, self.top_p) {
            _ if temperature <= 0.0 => Sampling::ArgMax,
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        LogitsProcessor::from_sampling(self.seed, sampling)
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model said that it is finished.
    EndOfText,
    /// It reached the most tokens allowed.
    MaxTokens,
    /// The user interrupted it.
    Interrupted,
}

/// A written answer.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The text.
    pub text: String,
    /// The chosen tokens.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Time to read the prompt.
    pub prefill: Duration,
    /// Time to write the answer.
    pub decode: Duration,
    /// Why it ended.
    pub stop: Stop,
}

/// A loaded LLM.
pub struct Llm {
    model: Llama,
    tokenizer: LlmTokenizer,
    template: ChatTemplate,
    end_of_text: Vec<u32>,
    context: usize,
    /// One conversation at a time; its room is taken once.
    cache: Mutex<Cache>,
}

impl Llm {
    /// Loads the model onto the chosen device, for prompts and answers of up to `context` tokens
    /// together (fewer if the model cannot).
    ///
    /// # Errors
    /// Among others [`crate::gpu::GpuError`], when the GPU asked for cannot be used.
    pub fn load(files: &LlmFiles, device: DeviceChoice, context: usize) -> Result<Self> {
        let Opened { checkpoint, config, tokenizer, template, end_of_text } = open(files)?;
        ensure!(
            tokenizer.vocabulary() <= config.vocabulary,
            "the tokenizer has {} tokens, the model only {}",
            tokenizer.vocabulary(),
            config.vocabulary
        );
        let context = context.min(config.context);
        let kv_bytes = config.kv_cache_bytes(context, checkpoint.activation_bytes());
        let scores = config.attention_bytes(PREFILL_CHUNK, context);
        let device = placement::open(device, checkpoint.weight_bytes()? + kv_bytes + scores)?;
        let model = Llama::load(&checkpoint.loader(&device)?, config, context)?;
        ensure!(model.is_on(&device), "a weight is not on {}", placement::name(&device));
        let cache = Mutex::new(model.cache(context)?);
        Ok(Self { model, tokenizer, template, end_of_text, context, cache })
    }

    /// The device that the weights are on: `cpu` or `cuda:0`.
    pub fn placement(&self) -> String {
        placement::name(self.model.device())
    }

    /// Tokens that prompt and answer may have together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &LlmTokenizer {
        &self.tokenizer
    }

    /// The prompt for one question, in the model's own chat format. `system` and `user` are data:
    /// what looks like a special token in them is encoded as ordinary text.
    pub fn encode_chat(&self, system: &str, user: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(&self.template.prompt(&self.tokenizer, system, user)?)
    }

    /// Writes the answer to a prompt, handing each piece of text to `on_text` as it comes. Stops
    /// soon after `interrupted` becomes true.
    pub fn generate(
        &self,
        prompt: &[u32],
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation> {
        let room = self.context.saturating_sub(prompt.len());
        ensure!(!prompt.is_empty(), "the prompt is empty");
        ensure!(
            room > 0,
            "the prompt has {} tokens, the context only {}",
            prompt.len(),
            self.context
        );
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.reset();
        let mut generation = Generation {
            text: String::new(),
            tokens: Vec::new(),
            prompt_tokens: prompt.len(),
            prefill: Duration::ZERO,
            decode: Duration::ZERO,
            stop: Stop::Interrupted,
        };
        let start = Instant::now();
        let mut logits = None;
        for chunk in prompt.chunks(PREFILL_CHUNK) {
            if interrupted.load(Ordering::Relaxed) {
                generation.prefill = start.elapsed();
                return Ok(generation);
            }
            logits = Some(self.model.forward(chunk, &mut cache)?);
        }
        let mut logits = logits.context("the prompt is empty")?;
        generation.prefill = start.elapsed();
        let start = Instant::now();
        let mut sampler = options.processor();
        let mut stream = self.tokenizer.stream();
        let most = options.max_tokens.min(room);
        generation.stop = loop {
            if interrupted.load(Ordering::Relaxed) {
                break Stop::Interrupted;
            }
            if generation.tokens.len() >= most {
                break Stop::MaxTokens;
            }
            if (options.repeat_penalty - 1.0).abs() > f32::EPSILON {
                let recent = generation.tokens.len().saturating_sub(REPEAT_WINDOW);
                logits = apply_repeat_penalty(
                    &logits,
                    options.repeat_penalty,
                    &generation.tokens[recent..],
                )?;
            }
            let token = sampler.sample(&logits)?;
            if self.end_of_text.contains(&token) {
                break Stop::EndOfText;
            }
            generation.tokens.push(token);
            emit(&mut generation.text, &stream.push(token)?, on_text);
            if generation.tokens.len() < most {
                logits = self.model.forward(&[token], &mut cache)?;
            }
        };
        emit(&mut generation.text, &stream.finish()?, on_text);
        generation.decode = start.elapsed();
        Ok(generation)
    }
}

fn emit(text: &mut String, new: &str, on_text: &mut dyn FnMut(&str)) {
    if !new.is_empty() {
        text.push_str(new);
        on_text(new);
    }
}

/// Everything read from the files, before any weight is loaded.
struct Opened {
    checkpoint: Checkpoint,
    config: LlamaConfig,
    tokenizer: LlmTokenizer,
    template: ChatTemplate,
    end_of_text: Vec<u32>,
}

fn open(files: &LlmFiles) -> Result<Opened> {
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
    let metadata = &gguf.content.metadata;
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
