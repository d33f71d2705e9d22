//! The architectures that this program runs, and what each computes differently from a Llama.
//!
//! Source: llama.cpp's `src/models/*.cpp` and `conversion/*.py`, for the files and their tensors;
//! transformers' `models/*/modeling_*.py`, for the computations.

use crate::compute::activation::Activation;
use crate::compute::rope::RopeLayout;

/// What is true of every model of an architecture; sizes are in its configuration.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Architecture {
    /// Its `general.architecture`, with which its metadata keys begin.
    pub name: &'static str,
    /// The models that have it, for people.
    pub models: &'static str,
    /// How its GGUF files pair the values of a head.
    pub rope_layout: RopeLayout,
    pub activation: Activation,
    /// Queries, keys and values get biases.
    pub qkv_bias: bool,
    /// The heads of queries and keys are normalized.
    pub head_norms: bool,
    /// What attention and feed-forward block add is normalized first.
    pub post_norms: bool,
    /// Q, K and V are one tensor, gate and up another.
    pub is_joined: bool,
    /// Only the first values of a head may be rotated, and their frequencies be scaled by `LongRoPE`.
    pub rotates_part: bool,
    /// Embeddings are multiplied by the square root of their length.
    pub scales_embedding: bool,
    /// Layers may see only a window: of so many, all but the last, unless a file says otherwise; all,
    /// if it is 0.
    pub window_period: Option<usize>,
    /// Its special tokens take the white space behind them.
    pub specials_take_space: bool,
}

/// Llama, and what has its computations: Mistral, and `SmolLM2`.
pub static LLAMA: Architecture = Architecture {
    name: "llama",
    models: "Llama, Mistral",
    rope_layout: RopeLayout::Interleaved,
    activation: Activation::Silu,
    qkv_bias: false,
    head_norms: false,
    post_norms: false,
    is_joined: false,
    rotates_part: false,
    scales_embedding: false,
    window_period: None,
    specials_take_space: false,
};

static QWEN2: Architecture = Architecture {
    name: "qwen2",
    models: "Qwen2, Qwen2.5",
    rope_layout: RopeLayout::HalfSplit,
    qkv_bias: true,
    ..LLAMA
};

static QWEN3: Architecture = Architecture {
    name: "qwen3",
    models: "Qwen3",
    rope_layout: RopeLayout::HalfSplit,
    head_norms: true,
    ..LLAMA
};

static GEMMA3: Architecture = Architecture {
    name: "gemma3",
    models: "Gemma 3",
    rope_layout: RopeLayout::HalfSplit,
    activation: Activation::Gelu,
    head_norms: true,
    post_norms: true,
    scales_embedding: true,
    window_period: Some(6),
    ..LLAMA
};

/// llama.cpp leaves out its window; transformers, like the authors, does not.
static PHI3: Architecture = Architecture {
    name: "phi3",
    models: "Phi-3, Phi-3.5, Phi-4",
    rope_layout: RopeLayout::HalfSplit,
    is_joined: true,
    rotates_part: true,
    window_period: Some(0),
    specials_take_space: true,
    ..LLAMA
};

static ALL: [&Architecture; 5] = [&LLAMA, &QWEN2, &QWEN3, &GEMMA3, &PHI3];

impl Architecture {
    /// The architecture of this `general.architecture`.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|architecture| architecture.name == name)
    }

    /// All of them, for people: `"llama" (Llama, Mistral), "qwen2" (…), …`.
    pub fn list() -> String {
        let each = ALL.map(|one| format!("{:?} ({})", one.name, one.models));
        each.join(", ")
    }
}
