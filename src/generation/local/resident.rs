//! What of an LLM lies in its device's memory. It can be thrown away and loaded anew, which is what
//! some errors of a GPU leave no choice about.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::checkpoint::Checkpoint;
use super::checkpoint::files::{self, LlmFiles, Opened};
use super::model::config::LlamaConfig;
use super::model::llama::{Cache, Llama};
use super::placement::Placement;
use super::placement::gpu::{self, Moment};

/// How long the parts of loading took.
#[derive(Debug, Clone, Copy)]
pub struct LoadTimes {
    /// Opening the device, and trying its kernels.
    pub device: Duration,
    /// Bringing the weights there.
    pub weights: Duration,
    /// Allocating the KV cache, and waiting for all of it.
    pub cache: Duration,
}

/// A model on its device.
pub struct Resident {
    pub times: LoadTimes,
    pub model: Llama,
    /// Its memory is allocated once, and used by one generation at a time.
    pub cache: Cache,
    /// What the cache still holds for a generation that reads on from there.
    pub kept: Kept,
}

/// The beginning of a prompt that has been read.
#[derive(Default)]
pub struct Kept {
    pub tokens: Vec<u32>,
    /// Time that it took to read.
    pub prefill: Duration,
}

impl Resident {
    /// Opens the device and loads everything, for up to `context` tokens.
    fn load(
        checkpoint: &Checkpoint,
        config: LlamaConfig,
        context: usize,
        placement: &Placement,
    ) -> Result<Self> {
        let start = Instant::now();
        let types = checkpoint.quantizations();
        let device = placement.open(&types, checkpoint.dtype(placement.is_on_gpu()))?;
        let (opening, start) = (start.elapsed(), Instant::now());
        let load = || -> Result<Self> {
            let on_gpu = device.is_cuda();
            let cache_dtype = checkpoint.cache_dtype(on_gpu);
            let loader = checkpoint.loader(&device, checkpoint.dtype(on_gpu))?;
            let model = Llama::load(&loader, config, context, cache_dtype)?;
            let (weights, start) = (start.elapsed(), Instant::now());
            let cache = model.cache(context)?;
            placement.finish(&device)?;
            let times = LoadTimes { device: opening, weights, cache: start.elapsed() };
            ensure!(
                model.is_on(&device) && cache.is_on(&device),
                "a tensor is not on {}",
                gpu::name(&device)
            );
            Ok(Self { times, model, cache, kept: Kept::default() })
        };
        load().map_err(|error| {
            // Complete the freeing of what was already loaded, so that the error reports accurate
            // memory figures.
            let _ = placement.finish(&device);
            placement.explain(error, Moment::Loading)
        })
    }

    /// Drops all that the cache holds.
    pub fn reset(&mut self) {
        self.cache.reset();
        self.kept = Kept::default();
    }

    /// Readies the cache for `prompt`: what it keeps of this very prompt stays, and is returned;
    /// everything else goes.
    pub fn resume(&mut self, prompt: &[u32]) -> Kept {
        let mut kept = std::mem::take(&mut self.kept);
        if kept.tokens.len() >= prompt.len() || !prompt.starts_with(&kept.tokens) {
            kept = Kept::default();
        }
        self.cache.rewind(kept.tokens.len());
        kept
    }
}

/// A [`Resident`] that survives its GPU's errors.
pub struct Residence {
    files: LlmFiles,
    context: usize,
    placement: Placement<'static>,
    /// Absent after an error that lost it.
    resident: Mutex<Option<Resident>>,
}

impl Residence {
    /// Loads the model. A failed load leaves no context behind: candle keeps work memory for each
    /// device that it opens, so every attempt would take more.
    ///
    /// # Errors
    /// Among others [`gpu::GpuError`], if the GPU cannot be used.
    pub fn new(
        files: &LlmFiles,
        checkpoint: &Checkpoint,
        config: LlamaConfig,
        context: usize,
        placement: Placement<'static>,
    ) -> Result<Self> {
        let resident = Resident::load(checkpoint, config, context, &placement);
        let resident = resident.inspect_err(|_| placement.reset())?;
        let resident = Mutex::new(Some(resident));
        Ok(Self { files: files.clone(), context, placement, resident })
    }

    pub fn placement(&self) -> &Placement<'static> {
        &self.placement
    }

    /// Lends the model for a generation, and makes an error of the GPU tell what it means. If the
    /// last one lost the model, it is loaded anew first.
    pub fn lend<T>(&self, work: impl FnOnce(&mut Resident) -> Result<T>) -> Result<T> {
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match &mut *resident {
            Some(resident) => work(resident),
            lost => {
                tracing::info!("loading the LLM anew, after an error of its GPU");
                let loaded = self.load_again().inspect_err(|_| self.placement.reset());
                work(lost.insert(loaded?))
            }
        };
        result.map_err(|error| {
            // It may have failed twice, and the second failure is not the next question's.
            if let Some(Resident { model, .. }) = &*resident {
                let _ = self.placement.launched(model.device());
            }
            let error = self.placement.explain(error, Moment::Answering);
            if self.placement.is_lost(&error) {
                *resident = None;
                self.placement.reset();
            }
            error
        })
    }

    /// Gives everything back to the device: on a GPU the context, too, which takes hundreds of
    /// megabytes. No other model of this process may be on the same GPU.
    pub fn leave(self) {
        drop(self.resident);
        self.placement.reset();
    }

    fn load_again(&self) -> Result<Resident> {
        let Opened { checkpoint, config, .. } = files::open(&self.files)?;
        Resident::load(&checkpoint, config, self.context, &self.placement)
    }

    #[cfg(test)]
    pub fn get_mut(&mut self) -> &mut Resident {
        self.resident.get_mut().unwrap().as_mut().unwrap()
    }
}
