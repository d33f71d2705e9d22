//! The CUDA kernels of a program that is built without the feature `cuda`: the same functions, which
//! nobody calls, because no tensor is on a GPU then.

use candle_core::{Result, Tensor, bail};

use super::rope::RopeLayout;

fn not_built<T>() -> Result<T> {
    bail!("this program is built without CUDA")
}

pub fn add_norm(
    _hidden: &Tensor,
    _delta: &Tensor,
    _weight: &Tensor,
    _epsilon: f32,
) -> Result<(Tensor, Tensor)> {
    not_built()
}

pub fn gate(_both: &Tensor) -> Result<Tensor> {
    not_built()
}

#[expect(dead_code, reason = "what would read it is not built")]
pub struct Projected<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
}

pub fn rope_append(
    _qkv: [Projected; 3],
    _rope: (&Tensor, &Tensor, RopeLayout),
    _caches: (&Tensor, &Tensor),
    _heads: usize,
    _position: usize,
) -> Result<Tensor> {
    not_built()
}

pub fn attends(_dim: usize) -> bool {
    false
}

pub fn attend_one(_q: &Tensor, _k: &Tensor, _v: &Tensor, _keys: usize) -> Result<Tensor> {
    not_built()
}
