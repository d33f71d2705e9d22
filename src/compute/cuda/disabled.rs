//! The CUDA kernels of a program that is built without the feature `cuda`: the same functions, which
//! nobody calls, because no tensor is on a GPU then.

mod shapes;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, Tensor, bail};

pub use self::shapes::{has_heads_of, prefills};
use super::rope::RopeLayout;

fn not_built<T>() -> Result<T> {
    bail!("this program is built without CUDA")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Values,
    Quantized,
}

pub enum Rows {
    Values(Tensor),
    #[expect(dead_code, reason = "only a GPU quantizes")]
    Quantized(Quantized),
    #[cfg(test)]
    AsQuantized(Tensor),
}

impl Rows {
    #[expect(clippy::unnecessary_wraps, reason = "on a GPU they may be quantized")]
    pub fn values(&self) -> Result<&Tensor> {
        match self {
            Self::Values(values) => Ok(values),
            Self::Quantized(quantized) => match *quantized {},
            #[cfg(test)]
            Self::AsQuantized(values) => Ok(values),
        }
    }
}

pub enum Quantized {}

impl Quantized {
    pub fn product(&self, _matrix: &QTensor) -> Result<Tensor> {
        match *self {}
    }
}

/// On the CPU, tests count the launches of a GPU.
pub fn takes_quantized(dtype: GgmlDType, rows: usize) -> bool {
    rows <= 8 && !matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}

pub fn add_norm(
    _hidden: &Tensor,
    _delta: Option<&Tensor>,
    _weight: &Tensor,
    _epsilon: f32,
    _form: Form,
) -> Result<(Tensor, Rows)> {
    not_built()
}

pub fn gate(_both: &Tensor, _form: Form) -> Result<Rows> {
    not_built()
}

#[expect(dead_code, reason = "what would read it is not built")]
pub struct Projected<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
}

#[expect(dead_code, reason = "what would read it is not built")]
pub struct Step<'a> {
    pub qkv: [Projected<'a>; 3],
    pub rope: (&'a Tensor, &'a Tensor, RopeLayout),
    pub caches: (&'a Tensor, &'a Tensor),
    pub heads: usize,
    pub position: usize,
    pub position_on_device: &'a Tensor,
}

pub fn rope_append(_step: &Step) -> Result<Tensor> {
    not_built()
}

pub fn attends(_dim: usize, _tokens: usize) -> bool {
    false
}

pub fn attend(_step: &Step, _form: Form) -> Result<Rows> {
    not_built()
}

pub fn prefill(_step: &Step, _q: &Tensor) -> Result<Tensor> {
    not_built()
}

pub fn choose(_logits: &Tensor, _recent: &[u32], _penalty: f32) -> Result<(u32, f32)> {
    not_built()
}
