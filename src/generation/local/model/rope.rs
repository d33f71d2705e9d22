//! Rotary position embedding (Su et al. 2021), with the frequency scaling of Llama 3.1.

use candle_core::{Device, Result, Tensor};

use crate::compute::rope::RopeLayout;

/// The `llama3` variant of `rope_scaling`; yields a divisor for each frequency, `[head_dim / 2]`.
///
/// Source: `_compute_llama3_parameters` in transformers' `modeling_rope_utils.py`; llama.cpp's
/// converter stores the same values as `rope_freqs.weight`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// Divisor of the lowest frequencies.
    pub factor: f32,
    /// Wavelengths above `original_context / low_freq_factor` are fully scaled.
    pub low_freq_factor: f32,
    /// Wavelengths below `original_context / high_freq_factor` are not scaled.
    pub high_freq_factor: f32,
    /// Original context length before extension, in tokens.
    pub original_context: f32,
}

impl Llama3Scaling {
    /// The divisors for heads of `head_dim` values and base `theta`.
    pub fn divisors(&self, head_dim: usize, theta: f32) -> Vec<f32> {
        let divisor = |frequency: f32| {
            let wavelength = 2.0 * std::f32::consts::PI / frequency;
            let smooth = (self.original_context / wavelength - self.low_freq_factor)
                / (self.high_freq_factor - self.low_freq_factor);
            if wavelength < self.original_context / self.high_freq_factor {
                1.0
            } else if wavelength > self.original_context / self.low_freq_factor {
                self.factor
            } else {
                1.0 / ((1.0 - smooth) / self.factor + smooth)
            }
        };
        frequencies(head_dim, theta).map(divisor).collect()
    }
}

/// `theta^(-2i / dim)`, the unscaled frequencies in radians per token.
fn frequencies(dim: usize, theta: f32) -> impl Iterator<Item = f32> {
    (0..dim).step_by(2).map(move |i| theta.powf(-(i as f32) / dim as f32))
}

/// Cosine and sine tables of the rotation angles, each `[context, rotated / 2]`.
#[derive(Debug)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
    layout: RopeLayout,
}

impl Rope {
    /// Builds tables for `context` positions and heads with `dim` rotated values. They are computed
    /// on the host, so that every device rotates by the same angles.
    pub fn new(
        dim: usize,
        theta: f32,
        divisors: Option<&[f32]>,
        context: usize,
        layout: RopeLayout,
        device: &Device,
    ) -> Result<Self> {
        let mut frequencies: Vec<f32> = frequencies(dim, theta).collect();
        for (frequency, divisor) in frequencies.iter_mut().zip(divisors.unwrap_or_default()) {
            *frequency /= divisor;
        }
        let table = |of: fn(f32) -> f32| {
            let at = |position| frequencies.iter().map(move |f| of(position as f32 * f));
            Tensor::from_vec((0..context).flat_map(at).collect(), (context, dim / 2), device)
        };
        Ok(Self { cos: table(f32::cos)?, sin: table(f32::sin)?, layout })
    }

    /// The tables, `[context, rotated / 2]` each, and how values are paired.
    pub fn tables(&self) -> (&Tensor, &Tensor, RopeLayout) {
        (&self.cos, &self.sin, self.layout)
    }

    pub fn is_on(&self, device: &Device) -> bool {
        [&self.cos, &self.sin].iter().all(|table| table.device().same_device(device))
    }

    /// Rotates `[batch, heads, tokens, head_dim]`; the first token is at `position`.
    pub fn apply(&self, heads: &Tensor, position: usize) -> Result<Tensor> {
        let tokens = heads.dim(2)?;
        let cos = self.cos.narrow(0, position, tokens)?.to_dtype(heads.dtype())?;
        let sin = self.sin.narrow(0, position, tokens)?.to_dtype(heads.dtype())?;
        match self.layout {
            RopeLayout::Interleaved => candle_nn::rotary_emb::rope_i(heads, &cos, &sin),
            RopeLayout::HalfSplit => candle_nn::rotary_emb::rope(heads, &cos, &sin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA_3_1: Llama3Scaling = Llama3Scaling {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192.0,
    };

    /// High frequencies are unchanged and low ones divided by the factor, as in `rope_freqs.weight`
    /// of the published GGUF files of Llama 3.1.
    #[test]
    fn llama_3_1_slows_only_the_low_frequencies() {
        let divisors = LLAMA_3_1.divisors(128, 500_000.0);
        assert_eq!(divisors.len(), 64);
        assert!(divisors[..28].iter().all(|&d| (d - 1.0).abs() < f32::EPSILON), "{divisors:?}");
        assert!(divisors[36..].iter().all(|&d| (d - 8.0).abs() < f32::EPSILON), "{divisors:?}");
        assert!(divisors.is_sorted());
    }

    #[test]
    fn divisors_change_the_angles() {
        let plain = Rope::new(8, 1e4, None, 100, RopeLayout::HalfSplit, &Device::Cpu).unwrap();
        let slowed = Rope::new(
            8,
            1e4,
            Some(&[1.0, 2.0, 4.0, 8.0]),
            100,
            RopeLayout::HalfSplit,
            &Device::Cpu,
        )
        .unwrap();
        let heads = Tensor::ones((1, 1, 1, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        let difference = (plain.apply(&heads, 99).unwrap() - slowed.apply(&heads, 99).unwrap())
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(difference > 0.1);
    }
}
