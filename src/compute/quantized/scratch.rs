//! What a thread works with while it multiplies, kept for as long as the thread lives.

use super::packed::PackedPanel;
use crate::compute::aligned::AlignedBuf;

#[derive(Default)]
pub struct Scratch {
    /// Unpacked rows of a band.
    pub panels: Vec<PackedPanel>,
    /// The same as bf16, for matrix tiles.
    pub bf16: AlignedBuf<u16>,
    /// The products, `[rows of activations, rows of the band]`.
    pub sums: AlignedBuf<f32>,
}
