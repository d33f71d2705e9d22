//! Measuring, for `rag-query bench` and for `benches/`: the same work, timed in the same way.

pub mod eval;
pub mod peak;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::generation::local::{Generation, Llm, SamplingOptions};

/// Prompts to try where a model ends its answers early.
pub const ATTEMPTS: u32 = 8;

/// The median of some values, 0 of none.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median time of a run in seconds, of as many as fit into `budget` seconds after a first one,
/// and of `least` of them however long they take.
pub fn median(budget: f64, least: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut times = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(budget);
    while times.len() < least || Instant::now() < end {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    middle(times)
}

/// Ordinary tokens in an order of no meaning, the same for the same seed.
pub fn prompt(llm: &Llm, tokens: u32, seed: u32) -> Vec<u32> {
    let ordinary = (llm.tokenizer().vocabulary() as u32 * 9 / 10).max(1);
    // Knuth's multiplicative hash: 2^32 / φ.
    (0..tokens).map(|i| (i + seed * tokens + 1).wrapping_mul(2_654_435_761) % ordinary).collect()
}

/// Reads a prompt and writes up to so many tokens, the likeliest always.
pub fn generate(llm: &Llm, prompt: &[u32], tokens: usize) -> Result<Generation> {
    let options =
        SamplingOptions { max_tokens: tokens, repeat_penalty: 1.0, ..SamplingOptions::default() };
    llm.generate(prompt, &options, &AtomicBool::new(false), &mut |_| {})
}

/// The first of some prompts whose answer has as many tokens as asked for; else the longest answer.
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
    fn the_middle_is_none_of_the_extremes() {
        assert_eq!(middle(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(vec![3.0]), 3.0);
        assert_eq!(middle(Vec::new()), 0.0);
    }

    #[test]
    fn the_first_run_is_not_counted() {
        let mut runs = 0;
        let seconds = median(0.0, 3, || {
            std::thread::sleep(Duration::from_millis(if runs == 0 { 200 } else { 1 }));
            runs += 1;
        });
        assert_eq!(runs, 4);
        assert!(seconds < 0.1, "{seconds}");
    }
}
