//! How the next token is chosen from the logits.

use candle_transformers::generation::{LogitsProcessor, Sampling};

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// Most tokens in an answer.
    pub max_tokens: usize,
    /// 0 takes the likeliest token always (greedy).
    pub temperature: f64,
    /// Only among the k likeliest.
    pub top_k: Option<usize>,
    /// Only among the likeliest that together reach this probability (nucleus sampling, Holtzman
    /// et al. 2020).
    pub top_p: Option<f64>,
    /// Divides the logits of recent tokens (Keskar et al. 2019); 1 does nothing.
    pub repeat_penalty: f32,
    /// Of the random numbers.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repeat_penalty: 1.05,
            seed: 0,
        }
    }
}

impl SamplingOptions {
    /// Draws tokens by these rules.
    pub fn processor(&self) -> LogitsProcessor {
        let temperature = self.temperature;
        let sampling = match (self.top_k, self.top_p) {
            _ if temperature <= 0.0 => Sampling::ArgMax,
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        LogitsProcessor::from_sampling(self.seed, sampling)
    }
}
