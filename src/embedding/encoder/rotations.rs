//! How queries and keys are rotated by their places (Su et al. 2021), in ModernBERT by one base in
//! layers that see the whole text and by another in those that see what is near.

use std::ops::Range;

use super::config::{ModernBert, Sight};
use crate::compute::SimdLevel;
use crate::compute::dense::rotary;
use crate::compute::pool::parallel_for_chunks;

/// The angles of both kinds of layers, for places up to the end of the longest text of a batch.
pub struct Rotations {
    hidden: usize,
    all: Angles,
    near: Angles,
}

/// Cosines and sines, `[places, pairs]` each.
struct Angles {
    /// Half of a head's values.
    pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// In single precision, as the model was trained: at 8,192 tokens, exact angles differ by 5e-4.
    fn new(base: f64, dim: usize, places: usize) -> Self {
        let exponents = (0..dim / 2).map(|pair| (2 * pair) as f64 / dim as f64);
        let frequencies: Vec<f32> = exponents.map(|exponent| base.powf(-exponent) as f32).collect();
        let angles = (0..places)
            .flat_map(|place| frequencies.iter().map(move |frequency| place as f32 * frequency));
        let (sin, cos) = angles.map(f32::sin_cos).unzip();
        Self { pairs: dim / 2, cos, sin }
    }
}

impl Rotations {
    /// Those of heads of `dim` values for `places` places, in token vectors of `hidden` values.
    pub fn new(modern: &ModernBert, hidden: usize, dim: usize, places: usize) -> Self {
        Self {
            hidden,
            all: Angles::new(modern.global_base, dim, places),
            near: Angles::new(modern.local_base, dim, places),
        }
    }

    /// Rotates the queries and keys in `qkv`, `[tokens, 3 · hidden]`, for a layer that sees this.
    pub fn rotate(&self, sight: Sight, qkv: &mut [f32], texts: &[Range<usize>]) {
        let Angles { pairs, cos, sin } = match sight {
            Sight::All => &self.all,
            Sight::Near => &self.near,
        };
        let level = SimdLevel::detect();
        parallel_for_chunks(qkv, 3 * self.hidden, |tokens, rows| {
            let mut text = texts.partition_point(|text| text.end <= tokens.start);
            for (token, row) in tokens.zip(rows.chunks_exact_mut(3 * self.hidden)) {
                text += usize::from(token == texts[text].end);
                let place = (token - texts[text].start) * pairs;
                let (cos, sin) = (&cos[place..place + pairs], &sin[place..place + pairs]);
                rotary::rotate(level, &mut row[..2 * self.hidden], cos, sin);
            }
        });
    }
}
