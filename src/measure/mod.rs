//! The work that `rag-query bench` and `benches/` both measure, timed in the same way.

pub mod eval;
pub mod peak;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::generation::local::{Generation, Llm, SamplingOptions};

/// How many prompts to try with a model that ends its answers early.
pub const ATTEMPTS: u32 = 8;

/// The median; 0 without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median time of a run, in seconds. After a first run that does not count, there are as many as
/// fit into `budget` seconds, and at least `min_runs`.
pub fn median_seconds(budget: f64, min_runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut times = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(budget);
    while times.len() < min_runs || Instant::now() < end {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    median(times)
}

/// Ordinary tokens in a meaningless order, which `seed` determines.
pub fn prompt(llm: &Llm, tokens: u32, seed: u32) -> Vec<u32> {
    let ordinary = (llm.tokenizer().vocabulary() as u32 * 9 / 10).max(1);
    // Knuth's multiplicative hash: 2^32 / φ.
    (0..tokens).map(|i| (i + seed * tokens + 1).wrapping_mul(2_654_435_761) % ordinary).collect()
}

/// Reads a prompt and writes at most `max_tokens` tokens, always the likeliest.
pub fn generate(llm: &Llm, prompt: &[u32], max_tokens: usize) -> Result<Generation> {
    let options = SamplingOptions { max_tokens, repeat_penalty: 1.0, ..SamplingOptions::default() };
    llm.generate(prompt, &options, &AtomicBool::new(false), &mut |_| {})
}

/// The first answer of [`ATTEMPTS`] prompts that is `tokens` long, or else the longest.
pub fn longest(llm: &Llm, prompt_tokens: u32, tokens: usize) -> Result<Generation> {
    let mut longest = generate(llm, &prompt(llm, prompt_tokens, 0), tokens)?;
    for seed in 1..ATTEMPTS {
        if longest.tokens.len() >= tokens {
            break;
        }
        let next = generate(llm, &prompt(llm, prompt_tokens, seed), tokens)?;
        if next.tokens.len() > longest.tokens.len() {
            longest = next;
        }
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_move_the_median() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn the_first_run_is_not_counted() {
        let (mut runs, mut first) = (0, 0.0);
        let seconds = median_seconds(0.0, 3, || {
            if runs == 0 {
                let start = Instant::now();
                std::thread::sleep(Duration::from_millis(50));
                first = start.elapsed().as_secs_f64();
            }
            runs += 1;
        });
        assert_eq!(runs, 4);
        assert!(seconds < first, "{seconds} of {first}");
    }
}
