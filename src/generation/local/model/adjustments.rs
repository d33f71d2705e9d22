//! What some architectures do to queries, keys and values between projection and rotation: biases
//! (Qwen2), and norms of heads (Qwen3, Gemma 3).

use anyhow::Result;
use candle_core::{D, Device, Tensor};

use super::config::LlamaConfig;
use super::ops::norm;
use super::probe::count_launches;
use crate::compute::cuda::Form;
use crate::generation::local::checkpoint::Loader;
use crate::generation::local::checkpoint::names::{Name, Part};

/// The weights for it, of one layer.
pub struct Adjustments {
    /// Of queries, keys and values, one behind the other.
    pub bias: Option<Tensor>,
    /// Of the heads of queries and of keys, `[head_dim]` each.
    pub norms: Option<[Tensor; 2]>,
}

impl Adjustments {
    pub fn load(loader: &Loader, config: &LlamaConfig, layer: usize) -> Result<Self> {
        let LlamaConfig { architecture, heads, kv_heads, head_dim, .. } = *config;
        let vector = |part, length| loader.vector(Name::Layer(layer, part), length);
        let (wide, narrow) = (heads * head_dim, kv_heads * head_dim);
        let bias = match architecture.qkv_bias {
            true => {
                let q = vector(Part::QBias, wide)?;
                let [k, v] = [vector(Part::KBias, narrow)?, vector(Part::VBias, narrow)?];
                Some(Tensor::cat(&[q, k, v], 0)?)
            }
            false => None,
        };
        let norms = match architecture.head_norms {
            true => {
                let (q, k) = (vector(Part::QNorm, head_dim)?, vector(Part::KNorm, head_dim)?);
                // Attention divides scores by √head_dim; another scale is put into the queries.
                let scale =
                    config.score_scale.map_or(1.0, |scale| scale * (head_dim as f32).sqrt());
                Some([(q * f64::from(scale))?, k])
            }
            false => None,
        };
        Ok(Self { bias, norms })
    }

    /// `[tokens, (heads + 2 · kv_heads) · head_dim]`, in one tensor or several → the same.
    pub fn apply(
        &self,
        qkv: Vec<Tensor>,
        config: &LlamaConfig,
    ) -> candle_core::Result<Vec<Tensor>> {
        if self.bias.is_none() && self.norms.is_none() {
            return Ok(qkv);
        }
        let mut qkv = joined(qkv)?;
        if let Some(bias) = &self.bias {
            count_launches(1);
            qkv = qkv.broadcast_add(bias)?;
        }
        let Some([q_norm, k_norm]) = &self.norms else { return Ok(vec![qkv]) };
        let LlamaConfig { heads, kv_heads, head_dim, norm_epsilon, .. } = *config;
        let tokens = qkv.dim(0)?;
        let part = |from: usize, count: usize| {
            count_launches(1);
            qkv.narrow(1, from * head_dim, count * head_dim)?.contiguous()
        };
        // Each copy is freed before the next is made.
        let normed = |part: Tensor, weight| {
            let by_head = part.reshape(((), head_dim))?;
            let normed = norm(&by_head, weight, norm_epsilon as f32, Form::Values)?;
            normed.values()?.reshape((tokens, ()))
        };
        Ok(vec![
            normed(part(0, heads)?, q_norm)?,
            normed(part(heads, kv_heads)?, k_norm)?,
            part(heads + kv_heads, kv_heads)?,
        ])
    }

    pub fn is_on(&self, device: &Device) -> bool {
        let norms = self.norms.iter().flatten();
        self.bias.iter().chain(norms).all(|tensor| tensor.device().same_device(device))
    }
}

/// One tensor from several side by side, which are freed.
fn joined(tensors: Vec<Tensor>) -> candle_core::Result<Tensor> {
    match <[Tensor; 1]>::try_from(tensors) {
        Ok([one]) => Ok(one),
        Err(several) => {
            count_launches(1);
            Tensor::cat(&several, D::Minus1)
        }
    }
}
