//! The LLM: loads once, on the device that was asked for, and writes answers token by token.

mod chat;
mod checkpoint;
mod config;
mod files;
mod gguf;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod hostile;
mod inventory;
mod json;
mod llama;
pub mod placement;
mod rope;
mod sampling;
mod shards;
pub mod tokenizer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use candle_transformers::utils::apply_repeat_penalty;

use chat::ChatTemplate;
pub use files::LlmFiles;
use files::Opened;
use llama::{Cache, Llama};
use placement::DeviceChoice;
pub use sampling::SamplingOptions;
use tokenizer::LlmTokenizer;

/// Prompt tokens in one pass: enough for matrix products at full speed, few enough that their
/// activations stay small and Ctrl-C is heard.
const PREFILL_CHUNK: usize = 256;
/// Tokens that the repeat penalty looks back on.
const REPEAT_WINDOW: usize = 64;
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
        let Opened { checkpoint, config, tokenizer, template, end_of_text } = files::open(files)?;
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
