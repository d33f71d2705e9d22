//! The heads of attention: how many and how large, which keys they see, and what becomes of them
//! before they are compared. The same on every processor, whoever computes it.

use super::rope::RopeTables;

/// Number and size of heads.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only our kernels read it"))]
pub struct AttentionShape {
    pub query_heads: usize,
    /// Divides `query_heads`.
    pub kv_heads: usize,
    /// Values in a head, a multiple of 8.
    pub head_dim: usize,
    /// How many keys a query sees, its own included; `None`: all up to its own.
    pub window: Option<usize>,
}

/// What becomes of the heads of queries and keys before they are compared.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only our kernels read it"))]
pub struct HeadChanges<'a> {
    /// Normalizes each head; not every architecture does.
    pub norms: Option<HeadNorms<'a>>,
    /// Rotates each head by its position, once it is normalized.
    pub rope: RopeTables<'a>,
}

/// The weights of an RMS norm of each head, `[head_dim]`.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only our kernels read it"))]
pub struct HeadNorms<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub epsilon: f32,
}

/// The first key that the query at `position` sees, if it sees `window` keys, its own included.
pub fn first_key(window: Option<usize>, position: usize) -> usize {
    window.map_or(0, |window| (position + 1).saturating_sub(window))
}
