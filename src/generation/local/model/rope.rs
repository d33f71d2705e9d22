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

/// By how much each pair of values is rotated from one position to the next.
#[derive(Debug, Clone, Copy)]
pub struct Angles<'a> {
    /// How many values of a head are rotated.
    pub rotated: usize,
    /// Base of the frequencies.
    pub theta: f32,
    /// What they are divided by, `[rotated / 2]`.
    pub divisors: Option<&'a [f32]>,
    /// What cosines and sines are multiplied with.
    pub magnitude: f32,
}

/// Cosine and sine tables of the rotation angles, each `[context, rotated / 2]`.
#[derive(Debug)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
    layout: RopeLayout,
}

impl Rope {
    /// Builds tables for `context` positions. They are computed on the host, so that every device
    /// rotates by the same angles.
    pub fn new(
        angles: &Angles,
        context: usize,
        layout: RopeLayout,
        device: &Device,
    ) -> Result<Self> {
        let Angles { rotated, theta, divisors, magnitude } = *angles;
        let mut frequencies: Vec<f32> = frequencies(rotated, theta).collect();
        for (frequency, divisor) in frequencies.iter_mut().zip(divisors.unwrap_or_default()) {
            *frequency /= divisor;
        }
        let table = |of: fn(f32) -> f32| {
            let at =
                |position| frequencies.iter().map(move |f| of(position as f32 * f) * magnitude);
            Tensor::from_vec((0..context).flat_map(at).collect(), (context, rotated / 2), device)
        };
        Ok(Self { cos: table(f32::cos)?, sin: table(f32::sin)?, layout })
    }

    /// The tables, `[context, rotated / 2]` each, and how values are paired.
    pub fn tables(&self) -> (&Tensor, &Tensor, RopeLayout) {
        (&self.cos, &self.sin, self.layout)
    }

    /// How many pairs of a head's values are rotated.
    pub fn pairs(&self) -> Result<usize> {
        self.cos.dim(1)
    }

    pub fn is_on(&self, device: &Device) -> bool {
        [&self.cos, &self.sin].iter().all(|table| table.device().same_device(device))
    }

    /// Rotates the first values of `[batch, heads, tokens, head_dim]`; the first token is at
    /// `position`.
    pub fn apply(&self, heads: &Tensor, position: usize) -> Result<Tensor> {
        let (tokens, dim) = (heads.dim(2)?, heads.dim(3)?);
        let cos = self.cos.narrow(0, position, tokens)?.to_dtype(heads.dtype())?;
        let sin = self.sin.narrow(0, position, tokens)?.to_dtype(heads.dtype())?;
        let rotate = |heads: &Tensor| match self.layout {
            RopeLayout::Interleaved => candle_nn::rotary_emb::rope_i(heads, &cos, &sin),
            RopeLayout::HalfSplit => candle_nn::rotary_emb::rope(heads, &cos, &sin),
        };
        let rotated = 2 * self.pairs()?;
        if rotated == dim {
            return rotate(heads);
        }
        let first = rotate(&heads.narrow(3, 0, rotated)?.contiguous()?)?;
        Tensor::cat(&[first, heads.narrow(3, rotated, dim - rotated)?], 3)?.contiguous()
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
        let rope = |divisors| {
            let angles = Angles { rotated: 8, theta: 1e4, divisors, magnitude: 1.0 };
            Rope::new(&angles, 100, RopeLayout::HalfSplit, &Device::Cpu).unwrap()
        };
        let (plain, slowed) = (rope(None), rope(Some(&[1.0, 2.0, 4.0, 8.0])));
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
