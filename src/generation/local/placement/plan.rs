//! Estimates a model's memory use before any of it is allocated.

use anyhow::Result;

use super::device::DeviceChoice;
use crate::compute::cuda;
use crate::generation::local::PREFILL_CHUNK;
use crate::generation::local::checkpoint::Checkpoint;
use crate::generation::local::lookup::MAX_GUESSES;
use crate::generation::local::model::config::LlamaConfig;
use crate::generation::local::model::kv_cache::block_tokens;
use crate::generation::local::placement::gpu::ShorterContext;

/// GPU memory in bytes that is not itemized: CUDA's context and kernels, cuBLAS' workspace, and
/// fragmentation.
const GPU_MARGIN: u64 = 768 << 20;
/// candle's buffer for partial sums of split matrix products, `MAX_SMS · MMQ_X_MAX · MMQ_Y_MAX`
/// floats (candle-core's `quantized/fast_mmq.rs`).
const PRODUCT_SUMS: u64 = 256 * 128 * 128 * 4;
/// Shorter contexts are not worth suggesting.
const MIN_CONTEXT: usize = 1024;

/// Bytes that a model takes on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadPlan {
    /// Limit on prompt plus answer, in tokens.
    pub context: usize,
    /// Size of the weights in bytes.
    pub weights: u64,
    /// Size of the KV cache for the whole context.
    pub kv_cache: u64,
    /// Peak temporary memory, reached by a prompt's last chunk.
    pub workspace: u64,
    /// Allowance for the driver and libraries.
    pub margin: u64,
}

impl LoadPlan {
    pub fn total(&self) -> u64 {
        [self.weights, self.kv_cache, self.workspace, self.margin]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// A model's memory demand for any context length.
#[derive(Debug, Clone)]
pub struct Demand {
    config: LlamaConfig,
    weights: u64,
    /// Bytes of the largest tensor that is converted on loading, and so briefly exists twice.
    widened: u64,
    /// Whether some of its products are cuBLAS's.
    pub needs_cublas: bool,
    /// Bytes per value of the KV cache.
    value: usize,
    margin: u64,
}

impl Demand {
    /// The demand of a model on a GPU or on the CPU.
    pub fn new(
        checkpoint: &Checkpoint,
        config: &LlamaConfig,
        device: DeviceChoice,
    ) -> Result<Self> {
        let on_gpu = matches!(device, DeviceChoice::Cuda(_));
        let (weights, widened) = checkpoint.weight_bytes(on_gpu)?;
        Ok(Self {
            config: config.clone(),
            weights,
            widened,
            needs_cublas: on_gpu
                && (checkpoint.has_whole_matrices()
                    || !cuda::prefills(
                        config.head_dim,
                        checkpoint.dtype(on_gpu),
                        checkpoint.cache_dtype(on_gpu),
                    )),
            value: checkpoint.cache_dtype(on_gpu).size_in_bytes(),
            margin: if on_gpu { GPU_MARGIN } else { 0 },
        })
    }

    /// The plan for a context of `context` tokens.
    pub fn plan(&self, context: usize) -> LoadPlan {
        LoadPlan {
            context,
            weights: self.weights,
            kv_cache: self.config.kv_cache_bytes(context, self.value),
            workspace: self.workspace(context).max(self.widened),
            margin: self.margin,
        }
    }

    /// Bytes for one pass over a prompt's last chunk: the attention scores of a layer, the causal
    /// mask, the activations a layer holds at once (residual stream before and after, norm output,
    /// and three feed-forward intermediates), their quantized copy, and the logits. Also includes
    /// two long-lived allocations: the RoPE tables and a kernel buffer.
    fn workspace(&self, context: usize) -> u64 {
        let LlamaConfig { hidden, feed_forward, vocabulary, heads, kv_heads, head_dim, .. } =
            self.config;
        let float = size_of::<f32>() as u64;
        let chunk = PREFILL_CHUNK.min(context) as u64;
        // A block's product, its masked copy and its softmax; and keys and values widened to f32.
        let block = block_tokens(heads, context).min(chunk as usize) as u64;
        let scores = 3 * heads as u64 * block * context as u64 * float;
        let widened = 2 * (kv_heads * head_dim) as u64 * context as u64 * float;
        let mask = chunk * context as u64 * float;
        let activations = chunk * (3 * hidden + 4 * feed_forward) as u64 * float;
        let logits = (2 + MAX_GUESSES) as u64 * vocabulary as u64 * float;
        let tables = (context * head_dim) as u64 * float;
        [scores, widened, mask, activations, logits, tables, PRODUCT_SUMS]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// The first of a half, a quarter … of `context` whose plan `fits`, and the bytes it saves.
    pub fn shorter(
        &self,
        context: usize,
        fits: impl Fn(&LoadPlan) -> bool,
    ) -> Option<ShorterContext> {
        let plan = std::iter::successors(Some(context / 2), |tokens| Some(tokens / 2))
            .take_while(|&tokens| tokens >= MIN_CONTEXT)
            .map(|tokens| self.plan(tokens))
            .find(fits)?;
        let saves = self.plan(context).total().saturating_sub(plan.total());
        Some(ShorterContext { tokens: plan.context, saves })
    }

    /// Llama 3.1 8B as `Q4_K_M` on a GPU.
    #[cfg(test)]
    pub fn llama_8b() -> Self {
        let config = LlamaConfig {
            hidden: 4096,
            layers: 32,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            feed_forward: 14336,
            vocabulary: 128_256,
            norm_epsilon: 1e-5,
            rope_theta: 500_000.0,
            rope_layout: crate::compute::rope::RopeLayout::Interleaved,
            rope_scaling: None,
            context: 131_072,
            tied: false,
        };
        Self {
            config,
            weights: 4_912_898_304,
            widened: 0,
            needs_cublas: false,
            value: 2,
            margin: GPU_MARGIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::generation::local::LlmFiles;
    use crate::generation::local::checkpoint::files;
    use crate::generation::local::model::llama::Llama;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_parts_of_llama_8b_are_what_arithmetic_says() {
        let plan = Demand::llama_8b().plan(8192);
        // 2 (K, V) · 32 layers · 8 heads · 128 values · 8192 tokens · 2 bytes
        assert_eq!(plan.kv_cache, 1024 * MIB);
        // Three copies of a block of scores, activations of 512 tokens, a layer's keys and values.
        assert!((256..1024).contains(&(plan.workspace / MIB)), "{plan:?}");
        assert_eq!(
            plan.total(),
            plan.weights + plan.kv_cache + plan.workspace + plan.margin,
            "{plan:?}"
        );
    }

    fn goldens(model: &str, device: DeviceChoice) -> Demand {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama");
        let opened = files::open(&LlmFiles::at(&tiny.join(model)).unwrap()).unwrap();
        Demand::new(&opened.checkpoint, &opened.config, device).unwrap()
    }

    #[test]
    fn weights_are_counted_in_the_type_that_they_are_loaded_as() {
        let gpu = DeviceChoice::Cuda(None);
        // safetensors: bf16 on a GPU, f32 on the CPU.
        assert_eq!(goldens("", DeviceChoice::Cpu).weights, 2 * goldens("", gpu).weights);
        // GGUF: the same weights in f32, plus the frequency factors.
        let gguf = goldens("model.gguf", gpu);
        let factors = 4 * gguf.config.head_dim as u64 / 2;
        assert_eq!(gguf.weights, goldens("", DeviceChoice::Cpu).weights + factors);
        assert!(gguf.plan(64).workspace >= gguf.widened, "one is there twice while it is widened");
        assert_eq!(goldens("model.gguf", DeviceChoice::Cpu).plan(64).margin, 0);
    }

    /// The planned cache size must equal the allocated one.
    #[test]
    fn the_cache_has_the_planned_bytes() {
        for model in ["model.gguf", ""] {
            let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama");
            let opened = files::open(&LlmFiles::at(&tiny.join(model)).unwrap()).unwrap();
            let loader = opened.checkpoint.loader(&candle_core::Device::Cpu).unwrap();
            let dtype = opened.checkpoint.cache_dtype(false);
            let model = Llama::load(&loader, opened.config.clone(), 64, dtype).unwrap();
            let demand =
                Demand::new(&opened.checkpoint, &opened.config, DeviceChoice::Cpu).unwrap();
            assert_eq!(model.cache(64).unwrap().bytes(), demand.plan(64).kv_cache);
        }
    }

    #[test]
    fn a_shorter_context_saves_what_its_plan_is_smaller() {
        let demand = Demand::llama_8b();
        let (long, short) = (demand.plan(8192), demand.plan(2048));
        let found = demand.shorter(8192, |plan| plan.total() <= short.total()).unwrap();
        assert_eq!(found.tokens, 2048);
        assert_eq!(found.saves, long.total() - short.total());
        assert!(found.saves > 3 * long.kv_cache / 4, "of the cache, and more");
        assert_eq!(demand.shorter(8192, |plan| plan.total() < plan.weights), None);
        assert_eq!(demand.shorter(1500, |_| true), None, "too short to be of use");
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let mut demand = Demand::llama_8b();
        demand.weights = u64::MAX;
        assert_eq!(demand.plan(131_072).total(), u64::MAX);
    }
}
