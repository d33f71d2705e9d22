//! Temporary memory of a pass through a model: what is there at once, at the worst moment.
//!
//! It follows what `model/llama.rs`, `model/kv_cache.rs` and candle's products allocate, step by step;
//! `ci/stand-in-driver/memory` compares it with what they do.

use super::plan::Demand;
use crate::compute::activation::Activation;
use crate::compute::cuda;
use crate::generation::local::PREFILL_CHUNK;
use crate::generation::local::lookup::MAX_GUESSES;
use crate::generation::local::model::kv_cache::{SCORES_BYTES, block_tokens};

/// candle's buffer for partial sums of split matrix products, `MAX_SMS · MMQ_X_MAX · MMQ_Y_MAX`
/// floats (candle-core's `quantized/fast_mmq.rs`).
const PRODUCT_SUMS: usize = 256 * 128 * 128 * 4;
/// candle's form of 128 values of activations, in bytes (`block_q8_1_mmq`); rows are padded to
/// multiples of 512 values, and 128 blocks follow the last one.
const QUANTIZED_128: usize = 144;
/// Tokens in a pass that checks guesses.
const GUESSING: usize = 1 + MAX_GUESSES;
/// Bytes of a number in a table, a logit, or a part of attention.
const FLOAT: usize = size_of::<f32>();

impl Demand {
    /// Bytes beside weights and cache at the worst moment: what stays, and the most that a pass
    /// takes.
    pub(super) fn workspace(&self, context: usize) -> u64 {
        let config = &self.config;
        let tables = self.kinds() * context * config.head_dim * FLOAT;
        let widest = config.hidden.max(config.feed_forward).max(config.heads * config.head_dim);
        let widest = widest.next_multiple_of(512);
        let chunk = PREFILL_CHUNK.min(context);
        let quantized = match self.quantizes {
            true => PRODUCT_SUMS + (chunk * widest / 128 + 128) * QUANTIZED_128,
            false => 0,
        };
        // The longest prompt leaves room for one token. Its chunks begin behind what was read before.
        let longest = context.saturating_sub(1);
        let prompt = match longest {
            0 => 0,
            _ => self.pass(PREFILL_CHUNK.min(longest), longest),
        };
        let answer = self.guessing_pass(GUESSING.min(context), context);
        (tables as u64).saturating_add((quantized + prompt.max(answer)) as u64)
    }

    /// Bytes of a chunk of a prompt, whose last token sees `keys` keys.
    fn pass(&self, tokens: usize, keys: usize) -> usize {
        let mixing = match self.scores {
            true => self.mixing(tokens, keys),
            false => tokens * self.wide() * self.value,
        };
        self.activations(tokens, mixing)
    }

    /// Bytes of a pass that checks guesses. The logits before it are there to its end.
    fn guessing_pass(&self, tokens: usize, keys: usize) -> usize {
        let config = &self.config;
        let before = tokens * config.vocabulary * FLOAT;
        let ours = cuda::has_heads_of(config.head_dim)
            && config.rotated == config.head_dim
            && config.windows.is_none();
        let mixing = if self.scores && !ours {
            self.mixing(tokens, keys)
        } else {
            let splits = (2 * self.multiprocessors).div_ceil(config.kv_heads);
            let parts = config.heads * tokens * splits * (config.head_dim + 2) * FLOAT;
            parts + tokens * self.wide() * self.value
        };
        // Logits that a product leaves in 16 bits are widened.
        let halves = if self.value < FLOAT || self.converted > 0 { size_of::<u16>() } else { 0 };
        let logits = tokens * config.vocabulary * (FLOAT + halves);
        let last = tokens * 5 * config.hidden * self.value + logits;
        before + self.activations(tokens, mixing).max(last)
    }

    /// Values of a token's queries.
    fn wide(&self) -> usize {
        self.config.heads * self.config.head_dim
    }

    /// Bytes of a pass's activations where they are most. Everywhere there are the hidden state and
    /// its norm; with them, in turn: queries, keys and values on their way to attention; those, the
    /// rotated queries and what attention needs, `mixing` bytes; its result, its product, and the next
    /// hidden state with its norm; or the rows of the feed-forward block.
    fn activations(&self, tokens: usize, mixing: usize) -> usize {
        let config = &self.config;
        let (hidden, wide, keys) = (config.hidden, self.wide(), config.kv_heads * config.head_dim);
        let qkv = wide + 2 * keys;
        // Biases are added to a copy; heads are copied to be normalized, queries first.
        let architecture = config.architecture;
        let adjusted = match architecture.qkv_bias || architecture.head_norms {
            true => qkv + wide + wide.max(2 * keys),
            false => 0,
        };
        // candle rotates a copy of a part of each head, and joins it to the rest.
        let rotated = if config.rotated == config.head_dim { 0 } else { qkv + 4 * wide };
        let between = wide + 3 * hidden;
        let wide_rows = match architecture.activation {
            Activation::Silu => self.wide_rows,
            // Gate and up, their copies, what becomes of the gate's, and the product.
            Activation::Gelu => 6,
        };
        let gated = wide_rows * config.feed_forward;
        let bytes = |values: usize| tokens * values * self.value;
        let most =
            bytes(adjusted.max(rotated).max(between).max(gated)).max(bytes(qkv + wide) + mixing);
        // Its input and its result, in the type of the weights.
        let converted =
            (hidden.max(config.feed_forward) + 2 * config.feed_forward) * self.converted;
        bytes(2 * hidden) + most + tokens * converted
    }

    /// Bytes for attention by candle: the scores of a block of tokens before and after a step; causal
    /// masks, which all layers share; keys and values where they are made as wide as activations; the
    /// results, and of several blocks, a copy of the queries. How full a block is depends on the number of
    /// keys, so several are taken to be full, and no shorter prompt takes more.
    fn mixing(&self, tokens: usize, keys: usize) -> usize {
        let (heads, value) = (self.config.heads, self.value);
        let results = tokens * self.wide() * value;
        let block = block_tokens(heads, keys);
        let attending = if tokens <= block {
            (2 * heads * tokens * keys * value + results).max(2 * results)
        } else {
            2 * (SCORES_BYTES / FLOAT * value).max(heads * block * keys * value) + 2 * results
        };
        let masks = self.kinds() * tokens * keys * value;
        let widened = match self.cached < value {
            true => 2 * self.config.kv_heads * self.config.head_dim * keys * value,
            false => 0,
        };
        widened + masks + attending
    }

    /// How many kinds of layers there are: those with windows have masks and tables of their own.
    fn kinds(&self) -> usize {
        if self.config.windows.is_some() { 2 } else { 1 }
    }
}
