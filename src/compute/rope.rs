//! What rotary position embeddings (`RoPE`, Su et al. 2021) need from whoever computes them.

/// Which values of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Neighbours, `(0, 1), (2, 3) …`: GGUF files of the `llama` architecture, whose converter
    /// permutes Q and K for it.
    Interleaved,
    /// Value i with value i + pairs: Hugging Face checkpoints, and GGUF files of other
    /// architectures.
    HalfSplit,
}

/// Cosines and sines of the angles, `[context, pairs]` each.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "candle has its own"))]
pub struct RopeTables<'a> {
    pub cos: &'a [f32],
    pub sin: &'a [f32],
    /// How many pairs of a head's first values are rotated; the values behind them stay.
    pub pairs: usize,
    pub layout: RopeLayout,
}
