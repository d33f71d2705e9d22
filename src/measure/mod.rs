//! Workloads and timing shared by `rag-query bench` and `benches/`, so that their figures compare.

pub mod eval;
pub mod peak;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::generation::local::{Generation, Llm, SamplingOptions};

/// Prompts to try if the model keeps ending its answers early.
pub const ATTEMPTS: u32 = 8;

/// The median (the upper one of an even count); 0 if there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Median time of `run` in seconds. After one untimed warm-up, it runs until `budget` seconds have
/// passed, and at least `min_runs` times.
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

/// `tokens` pseudo-random token ids, fixed by `seed`. Leaves out the end of the vocabulary, where
/// special tokens usually are.
pub fn prompt(llm: &Llm, tokens: u32, seed: u32) -> Vec<u32> {
    let ordinary = (llm.tokenizer().vocabulary() as u32 * 9 / 10).max(1);
    // Knuth's multiplicative hash: 2^32 / φ.
    (0..tokens).map(|i| (i + seed * tokens + 1).wrapping_mul(2_654_435_761) % ordinary).collect()
}

/// Generates up to `max_tokens` tokens, greedily, without a repetition penalty and one by one: made
/// prompts lead to repetitions, which guesses would find.
pub fn generate(llm: &Llm, prompt: &[u32], max_tokens: usize) -> Result<Generation> {
    let options = SamplingOptions {
        max_tokens,
        repeat_penalty: 1.0,
        lookup: false,
        ..SamplingOptions::default()
    };
    llm.generate(prompt, &options, &AtomicBool::new(false), &mut |_| {})
}

/// The first answer that reaches `tokens` tokens within [`ATTEMPTS`] prompts, or else the longest.
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
