//! A local LLM: loaded once, on the requested device; generates token by token.

#[cfg(test)]
mod adversarial_tests;
#[cfg(test)]
mod architecture_goldens;
#[cfg(test)]
mod candle_llama;
pub(crate) mod checkpoint;
#[cfg(test)]
mod goldens;
mod judging;
#[cfg(test)]
mod llama31_goldens;
mod lookup;
mod model;
#[cfg(test)]
mod on_a_gpu;
pub mod placement;
#[cfg(test)]
mod quantized_goldens;
#[cfg(test)]
mod real_tokenizers;
mod resident;
mod sampling;
mod stops;
pub mod tokenizer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};

pub use checkpoint::files::LlmFiles;
use checkpoint::files::Opened;
pub use judging::Judged;
use lookup::Lookup;
use model::llama::{Cache, Llama};
use placement::plan::Demand;
use placement::{DeviceChoice, Outlook, Placed, Placement};
pub use resident::LoadTimes;
use resident::{Residence, Resident};
use sampling::Sampler;
pub use sampling::SamplingOptions;
use stops::Stops;
use tokenizer::chat::ChatTemplate;
pub use tokenizer::chat::JOB as CHAT_TEMPLATE_JOB;
use tokenizer::{LlmTokenizer, TextStream};

use placement::gpu;

/// Prompt tokens per pass: enough for matrix products at full speed, few enough that activations
/// stay small and Ctrl-C takes effect quickly.
const PREFILL_CHUNK: usize = 512;

/// Why generation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model ended the text.
    EndOfText,
    /// The token limit was reached.
    MaxTokens,
    /// The user interrupted it.
    Interrupted,
    /// A server's filter ended the text.
    Filtered,
}

/// The result of a generation.
#[derive(Debug, Clone)]
pub struct Generation {
    /// What the model wrote.
    pub text: String,
    /// The generated tokens.
    pub tokens: Vec<u32>,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// How many of the tokens were guessed; see [`lookup`].
    pub guessed: usize,
    /// Time spent processing the prompt.
    pub prefill: Duration,
    /// Time spent generating.
    pub decode: Duration,
    /// Why generation stopped.
    pub stop: Stop,
}

/// What rounding to 16 bits after each step, as a GPU does for weights of 16 bits, does to the logits of
/// the token after `prompt`, computed on the CPU: `[vocabulary]`, or `None` if a GPU would compute this
/// model in 32 bits, too. For comparisons with a GPU.
pub fn rounded_logits(files: &LlmFiles, prompt: &[u32]) -> Result<Option<Vec<f32>>> {
    let Opened { checkpoint, config, .. } = checkpoint::files::open(files)?;
    let dtype = checkpoint.dtype(true);
    if dtype == DType::F32 {
        return Ok(None);
    }
    let loader = checkpoint.loader(&Device::Cpu, dtype)?;
    let model = Llama::load(&loader, config, prompt.len(), dtype)?;
    Ok(Some(model.forward(prompt, &mut model.cache(prompt.len())?)?.to_vec1()?))
}

/// A loaded LLM.
pub struct Llm {
    residence: Residence,
    tokenizer: LlmTokenizer,
    template: ChatTemplate,
    end_of_text: Vec<u32>,
    stops: Vec<String>,
    context: usize,
    placed: Placed,
}

impl Llm {
    /// Loads the model onto the chosen device, for up to `context` tokens of prompt plus answer
    /// (fewer if the model supports fewer).
    ///
    /// # Errors
    /// Among others [`placement::gpu::GpuError`], if the requested GPU cannot be used.
    pub fn load(files: &LlmFiles, device: DeviceChoice, context: usize) -> Result<Self> {
        let Opened { checkpoint, config, tokenizer, template, end_of_text, stops } =
            checkpoint::files::open(files)?;
        let context = context.min(config.context);
        let demand = Demand::new(&checkpoint, &config, device);
        let placement = Placement::find(gpu::driver(), device, demand, context)?;
        let residence = Residence::new(files, &checkpoint, config, context, placement)?;
        let placed =
            residence.lend(|resident| Ok(residence.placement().placed(resident.model.device())))?;
        Ok(Self { residence, tokenizer, template, end_of_text, stops, context, placed })
    }

    /// Gives all its memory back to its device. No other LLM of this process may be on the same GPU.
    pub fn leave(self) {
        self.residence.leave();
    }

    /// Lets these texts end an answer too.
    #[must_use]
    pub fn stopping_at(mut self, texts: &[String]) -> Self {
        let given = texts.iter().filter(|text| !text.is_empty());
        self.stops.extend(given.cloned());
        self
    }

    /// What [`Llm::load`] would need, and where it would load. Reads the model's files except the
    /// weights.
    pub fn outlook(files: &LlmFiles, device: DeviceChoice, context: usize) -> Result<Outlook> {
        let Opened { checkpoint, config, .. } = checkpoint::files::open(files)?;
        let demand = Demand::new(&checkpoint, &config, device);
        Ok(placement::outlook(gpu::driver(), device, demand, context.min(config.context)))
    }

    /// The model's device, and the memory it took right after loading.
    pub fn placed(&self) -> &Placed {
        &self.placed
    }

    /// How long the parts of loading took, the last time it was loaded.
    pub fn load_times(&self) -> Result<LoadTimes> {
        self.residence.lend(|resident| Ok(resident.times))
    }

    /// Same as [`Llm::placed`], but measured now: generation allocates workspace.
    pub fn measure(&self) -> Placed {
        self.residence.placement().measure(&self.placed)
    }

    /// Limit on prompt plus answer, in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The model's tokenizer, with which prompts are encoded.
    pub fn tokenizer(&self) -> &LlmTokenizer {
        &self.tokenizer
    }

    /// Encodes a question in the model's chat format. `system` and `user` are data: text that looks
    /// like a special token is encoded as ordinary text.
    pub fn encode_chat(&self, system: &str, user: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(&self.template.prompt(system, user))
    }

    /// Logits of the token after `prompt`, `[vocabulary]`, with the prompt processed `chunk` tokens
    /// at a time. For tests and benches that compare devices; answers use [`Llm::generate`].
    pub fn logits(&self, prompt: &[u32], chunk: usize) -> Result<Vec<f32>> {
        self.residence.lend(|resident| {
            resident.reset();
            let Resident { model, cache, .. } = resident;
            let mut logits = None;
            for tokens in prompt.chunks(chunk.max(1)) {
                logits = Some(model.forward(tokens, cache)?);
            }
            let logits = logits.context("the prompt is empty")?.to_vec1()?;
            self.residence.placement().launched(model.device())?;
            Ok(logits)
        })
    }

    /// Generates an answer to a prompt, passing each piece of text to `on_text` as it is produced.
    /// Stops soon after `interrupted` becomes true.
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
        let options = SamplingOptions { max_tokens: options.max_tokens.min(room), ..*options };
        self.residence.lend(|resident| {
            let cost = resident.model.lookup_cost().filter(|_| options.lookup);
            let lookup = cost.map(|cost| Lookup::new(prompt, cost));
            self.write(resident, prompt, lookup, &options, interrupted, on_text)
        })
    }

    fn write(
        &self,
        resident: &mut Resident,
        prompt: &[u32],
        mut lookup: Option<Lookup>,
        options: &SamplingOptions,
        interrupted: &AtomicBool,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation> {
        let mut generation = Generation {
            text: String::new(),
            tokens: Vec::new(),
            prompt_tokens: prompt.len(),
            guessed: 0,
            prefill: Duration::ZERO,
            decode: Duration::ZERO,
            stop: Stop::Interrupted,
        };
        let start = Instant::now();
        let kept = resident.resume(prompt);
        let Resident { model, cache, .. } = resident;
        let logits = self.read(model, cache, &prompt[kept.tokens.len()..], interrupted)?;
        generation.prefill = kept.prefill + start.elapsed();
        let Some(first) = logits else { return Ok(generation) };
        let start = Instant::now();
        let mut sampler = Sampler::new(options);
        let (stream, stops) = (self.tokenizer.stream(), Stops::new(&self.stops));
        let mut speech = Speech { stream, stops, text: String::new(), on_text };
        // The logits of the next token in a row, and the tokens guessed after it, whose logits follow.
        let (mut logits, mut row, mut guesses) = (first.unsqueeze(0)?, 0, Vec::new());
        drop(first); // else they would be there to the end
        generation.stop = loop {
            if interrupted.load(Ordering::Relaxed) {
                break Stop::Interrupted;
            }
            if generation.tokens.len() >= options.max_tokens {
                break Stop::MaxTokens;
            }
            let token = sampler.next(&logits.get(row)?, &generation.tokens)?;
            self.residence.placement().launched(model.device())?;
            if self.end_of_text.contains(&token) {
                break Stop::EndOfText;
            }
            generation.tokens.push(token);
            if speech.push(token)? {
                break Stop::EndOfText;
            }
            if let Some(lookup) = &mut lookup {
                lookup.push(token);
            }
            if guesses.get(row) == Some(&token) {
                generation.guessed += 1;
                row += 1;
                continue;
            }
            let left = options.max_tokens - generation.tokens.len();
            if left > 0 {
                // Wrong guesses were read too.
                cache.rewind(prompt.len() + generation.tokens.len() - 1);
                let likely = lookup.as_mut().map_or(&[][..], |lookup| lookup.guesses(left - 1));
                let next = [&[token], likely].concat();
                logits = model.forward_last(&next, next.len(), cache)?;
                (row, guesses) = (0, next[1..].to_vec());
            }
        };
        generation.text = speech.finish()?;
        generation.decode = start.elapsed();
        Ok(generation)
    }

    /// Reads on in a prompt, after what the cache has of it; returns the logits of the token after it,
    /// `[vocabulary]`, or `None` if it was interrupted.
    fn read(
        &self,
        model: &Llama,
        cache: &mut Cache,
        prompt: &[u32],
        interrupted: &AtomicBool,
    ) -> Result<Option<Tensor>> {
        let mut logits = None;
        for chunk in prompt.chunks(PREFILL_CHUNK) {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            drop(logits.take()); // only the last token's are asked for
            logits = Some(model.forward(chunk, cache)?);
            // A GPU only takes notes of what to do. Were it not waited for, the time would be wrong,
            // and an interruption would be heard after the whole prompt.
            self.residence.placement().finish(model.device())?;
        }
        Ok(Some(logits.context("the prompt is empty")?))
    }
}

#[cfg(test)]
impl Llm {
    fn model(&mut self) -> &model::llama::Llama {
        &self.residence.get_mut().model
    }
}

/// An answer as its tokens become text.
struct Speech<'a> {
    stream: TextStream<'a>,
    stops: Stops<'a>,
    text: String,
    on_text: &'a mut dyn FnMut(&str),
}

impl Speech<'_> {
    /// Takes the next token; returns whether a text came that ends the answer.
    fn push(&mut self, token: u32) -> Result<bool> {
        let text = self.stops.push(&self.stream.push(token)?);
        emit(&mut self.text, &text, self.on_text);
        Ok(self.stops.has_ended())
    }

    /// The whole answer when no token follows.
    fn finish(mut self) -> Result<String> {
        let rest = self.stops.push(&self.stream.finish()?) + &self.stops.finish();
        emit(&mut self.text, &rest, self.on_text);
        Ok(self.text)
    }
}

fn emit(text: &mut String, new: &str, on_text: &mut dyn FnMut(&str)) {
    if !new.is_empty() {
        text.push_str(new);
        on_text(new);
    }
}
