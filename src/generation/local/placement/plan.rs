//! Estimates a model's memory use before any of it is allocated.

use super::device::DeviceChoice;
use crate::compute::cuda;
use crate::generation::local::checkpoint::Checkpoint;
use crate::generation::local::model::config::LlamaConfig;
use crate::generation::local::placement::gpu::{Gpu, ShorterContext};

/// GPU memory in bytes that is not itemized: CUDA's context and kernels, cuBLAS' workspace, and
/// fragmentation.
const GPU_MARGIN: u64 = 768 << 20;
/// More than any GPU has.
const MOST_MULTIPROCESSORS: usize = 256;
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
    pub(super) config: LlamaConfig,
    weights: u64,
    /// Bytes of the largest tensor that is converted on loading, and so briefly exists twice.
    widened: u64,
    /// Whether some of its products are cuBLAS's.
    pub needs_cublas: bool,
    /// Whether candle computes the attention of a prompt, and holds its scores.
    pub(super) scores: bool,
    /// Whether candle quantizes activations on a GPU.
    pub(super) quantizes: bool,
    /// Bytes per value of the KV cache.
    pub(super) cached: usize,
    /// Bytes per value of the activations.
    pub(super) value: usize,
    /// Bytes per value of activations that are converted for a product; 0 if none are.
    pub(super) converted: usize,
    /// How many rows of the feed-forward block's width a token has at once: gate and up, their
    /// product, and one more where they first have to be put together.
    pub(super) wide_rows: usize,
    /// Of the GPU: attention over spans of keys takes memory for each.
    pub(super) multiprocessors: usize,
    margin: u64,
}

impl Demand {
    /// The demand of a model on a GPU or on the CPU.
    pub fn new(checkpoint: &Checkpoint, config: &LlamaConfig, device: DeviceChoice) -> Self {
        let on_gpu = matches!(device, DeviceChoice::Cuda(_));
        let (weights, widened) = checkpoint.weight_bytes(config, on_gpu);
        let (dtype, cached) = (checkpoint.dtype(on_gpu), checkpoint.cache_dtype(on_gpu));
        let scores = !on_gpu
            || config.needs_candle_attention()
            || !cuda::prefills(config.head_dim, dtype, cached);
        let mixed = checkpoint.has_whole_matrices() && checkpoint.is_quantized();
        Self {
            config: config.clone(),
            weights,
            widened,
            needs_cublas: on_gpu && (checkpoint.has_whole_matrices() || scores),
            scores,
            quantizes: on_gpu && checkpoint.is_quantized(),
            cached: cached.size_in_bytes(),
            value: dtype.size_in_bytes(),
            converted: if mixed { size_of::<u16>() } else { 0 },
            wide_rows: if checkpoint.joins_gate_and_up(config.layers) { 3 } else { 4 },
            multiprocessors: MOST_MULTIPROCESSORS,
            margin: if on_gpu { GPU_MARGIN } else { 0 },
        }
    }

    /// The demand on this GPU.
    pub fn on(self, gpu: &Gpu) -> Self {
        Self { multiprocessors: gpu.multiprocessors, ..self }
    }

    /// The plan for a context of `context` tokens.
    pub fn plan(&self, context: usize) -> LoadPlan {
        LoadPlan {
            context,
            weights: self.weights,
            kv_cache: self.config.kv_cache_bytes(context, self.cached),
            workspace: self.workspace(context).max(self.widened),
            margin: self.margin,
        }
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
        use crate::generation::local::model::architecture::LLAMA;
        use crate::generation::local::model::config::RopeScaling;

        let config = LlamaConfig {
            architecture: &LLAMA,
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
            rope_scaling: RopeScaling::InFile,
            rotated: 128,
            rope_magnitude: 1.0,
            windows: None,
            score_scale: None,
            context: 131_072,
            tied: false,
        };
        Self {
            config,
            weights: 4_912_898_304,
            widened: 0,
            needs_cublas: false,
            scores: false,
            quantizes: true,
            cached: 2,
            value: 4,
            converted: 0,
            wide_rows: 3,
            multiprocessors: MOST_MULTIPROCESSORS,
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
    use crate::generation::local::model::architecture::Architecture;
    use crate::generation::local::model::kv_cache::SCORES_BYTES;
    use crate::generation::local::model::llama::Llama;
    use crate::generation::local::placement::gpu::fake;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_parts_of_llama_8b_are_what_arithmetic_says() {
        let plan = Demand::llama_8b().plan(8192);
        // 2 (K, V) · 32 layers · 8 heads · 128 values · 8192 tokens · 2 bytes
        assert_eq!(plan.kv_cache, 1024 * MIB);
        // In MiB: tables 4, partial sums 16, quantized rows 7.9, and of 512 tokens the hidden state
        // and its norm 16, gate and up 56, their product 28.
        assert_eq!(plan.workspace / MIB, 4 + 16 + 7 + 16 + 56 + 28);
        assert_eq!(
            plan.total(),
            plan.weights + plan.kv_cache + plan.workspace + plan.margin,
            "{plan:?}"
        );
    }

    /// What candle's attention holds counts only where candle computes it.
    #[test]
    fn scores_are_counted_where_they_are_held() {
        let ours = Demand::llama_8b();
        let candles = Demand { scores: true, ..ours.clone() };
        let held = candles.plan(8192).workspace - ours.plan(8192).workspace;
        assert!(held > 2 * SCORES_BYTES as u64, "{held}");
        let apart = Demand { wide_rows: 4, ..ours.clone() };
        assert_eq!(apart.plan(8192).workspace - ours.plan(8192).workspace, 28 * MIB);
    }

    /// A prompt may be shorter than its context.
    #[test]
    fn no_shorter_context_takes_more() {
        for demand in [
            Demand::llama_8b(),
            Demand { scores: true, ..Demand::llama_8b() },
            Demand { scores: true, value: 2, quantizes: false, ..Demand::llama_8b() },
        ] {
            let mut most = 0;
            for context in (1..3000).chain([4096, 5000, 8192, 20_000, 131_072]) {
                let workspace = demand.plan(context).workspace;
                assert!(workspace >= most, "{workspace} for {context}, {most} for less");
                most = workspace;
            }
        }
    }

    #[test]
    fn spans_of_keys_are_counted_for_the_gpu_that_will_hold_them() {
        let gpu = |multiprocessors| Gpu { multiprocessors, ..fake::gpu(0, 0) };
        let on = |multiprocessors| Demand::llama_8b().on(&gpu(multiprocessors)).plan(10).workspace;
        // 32 heads · 8 tokens · 2 spans (16 more blocks, over 8 KV heads) · 128 values, a weight and a
        // maximum · 4 bytes.
        assert_eq!(on(136) - on(128), 32 * 8 * 2 * 130 * 4);
    }

    #[test]
    fn copies_for_norms_of_heads_are_counted() {
        let mut plain = Demand::llama_8b();
        // As many keys as queries, and a narrow block behind: the copies are the most there is.
        (plain.config.kv_heads, plain.config.feed_forward) = (32, 1024);
        let mut normed = plain.clone();
        normed.config.architecture = Architecture::named("qwen3").unwrap();
        let more = normed.plan(4096).workspace - plain.plan(4096).workspace;
        // Of 512 tokens: a copy of the keys and its norm, in place of rotated queries and the result.
        assert_eq!(more, 512 * 4096 * 4);
    }

    fn goldens(model: &str, device: DeviceChoice) -> Demand {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama");
        let opened = files::open(&LlmFiles::at(&tiny.join(model)).unwrap()).unwrap();
        Demand::new(&opened.checkpoint, &opened.config, device)
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
        // The folder has f32, of which the largest part is there twice while it is converted.
        assert_eq!(gguf.widened, 0);
        let folder = goldens("", gpu);
        let LlamaConfig { hidden, vocabulary, feed_forward, .. } = folder.config;
        let largest = 4 * (hidden * vocabulary.max(2 * feed_forward)) as u64;
        assert_eq!(folder.widened, largest);
        assert!(folder.plan(64).workspace >= largest);
        assert_eq!(goldens("model.gguf", DeviceChoice::Cpu).plan(64).margin, 0);
    }

    /// The planned cache size must equal the allocated one.
    #[test]
    fn the_cache_has_the_planned_bytes() {
        for model in ["model.gguf", ""] {
            let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama");
            let opened = files::open(&LlmFiles::at(&tiny.join(model)).unwrap()).unwrap();
            let loader = opened
                .checkpoint
                .loader(&candle_core::Device::Cpu, candle_core::DType::F32)
                .unwrap();
            let dtype = opened.checkpoint.cache_dtype(false);
            let model = Llama::load(&loader, opened.config.clone(), 64, dtype).unwrap();
            let demand = Demand::new(&opened.checkpoint, &opened.config, DeviceChoice::Cpu);
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
