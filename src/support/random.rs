//! Random numbers that a seed determines.

/// `SplitMix64` (Steele, Lea and Flood 2014): its 64 bits of state are plenty for what is drawn here,
/// and every seed is a good one, even 0.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), in steps of 2⁻⁵³.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that never ends needs no `Option`"
    )]
    pub fn next(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`; 0 if n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f64) as usize
    }

    /// Puts the first `count` places in random order, drawn from all (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T], count: usize) {
        for at in 0..count.min(items.len()) {
            let other = at + self.below(items.len() - at);
            items.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference implementation's first outputs for seed 1234567
    /// (<https://prng.di.unimi.it/splitmix64.c>).
    #[test]
    fn splitmix64_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317u64, 3_203_168_211_198_807_973];
        for bits in expected {
            let uniform = (bits >> 11) as f64 / (1u64 << 53) as f64;
            assert!((random.next() - uniform).abs() < f64::EPSILON);
        }
    }
}
