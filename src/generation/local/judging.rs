//! What the LLM itself says to a yes-or-no question, read off the probabilities of the next token.
//!
//! Nothing is generated, so a judgement costs only its own tokens: what its prompt has in common with
//! the one that is written from afterwards is read once, and stays in the cache for that.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Llm;
use super::resident::{Kept, Resident};

/// A judgement, with the time it took.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// ln P(yes) − ln P(no) of the next token.
    pub log_odds: f32,
    /// Time to read what both prompts begin with, which the generation afterwards need not read.
    pub prefill: Duration,
    /// Time for the rest.
    pub judging: Duration,
}

impl Llm {
    /// The log-odds of yes against no as the first word after the prompt `asked`. Each word is summed
    /// over its spellings (`Yes`, ` yes`, …), since a model spreads its probability over them. Such scores
    /// select answers better than those of whole texts (Ren et al. 2023, arXiv 2312.09300).
    ///
    /// What `asked` and `next` begin with stays in the cache for [`Llm::generate`] with `next`.
    /// Returns `None` if it was interrupted.
    ///
    /// # Errors
    /// The prompt exceeds the context, or no token of the vocabulary begins only one of the words.
    pub fn log_odds(
        &self,
        asked: &[u32],
        next: &[u32],
        interrupted: &AtomicBool,
    ) -> Result<Option<Judged>> {
        ensure!(
            asked.len() < self.context,
            "the question whether the passages answer has {} tokens, the context only {}",
            asked.len(),
            self.context
        );
        let (yes, no) = self.words()?;
        let common = asked.iter().zip(next).take_while(|(a, b)| a == b).count();
        // Both need a token of their own, whose logits are asked for.
        let common = common.min(asked.len() - 1).min(next.len() - 1);
        self.residence.lend(|resident| {
            resident.reset();
            let Resident { model, cache, .. } = resident;
            let start = Instant::now();
            if common > 0 && self.read(model, cache, &asked[..common], interrupted)?.is_none() {
                return Ok(None);
            }
            let prefill = start.elapsed();
            let start = Instant::now();
            let Some(logits) = self.read(model, cache, &asked[common..], interrupted)? else {
                return Ok(None);
            };
            let logits: Vec<f32> = logits.to_vec1()?;
            self.residence.placement().launched(model.device())?;
            cache.rewind(common);
            resident.kept = Kept { tokens: asked[..common].to_vec(), prefill };
            let log_odds = log_sum_exp(&logits, &yes) - log_sum_exp(&logits, &no);
            ensure!(log_odds.is_finite(), "the LLM computed a judgement that is no number");
            Ok(Some(Judged { log_odds, prefill, judging: start.elapsed() }))
        })
    }

    /// The tokens that begin "yes" and those that begin "no".
    fn words(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let [mut yes, mut no] =
            [self.tokenizer.beginnings("yes")?, self.tokenizer.beginnings("no")?];
        // Such as a space by itself, in a small vocabulary.
        let both: Vec<u32> = yes.iter().copied().filter(|id| no.contains(id)).collect();
        for word in [&mut yes, &mut no] {
            word.retain(|id| !both.contains(id));
        }
        ensure!(
            !yes.is_empty() && !no.is_empty(),
            "the LLM's vocabulary has no token for yes or none for no, so that it cannot judge; remove \
             `judge` from its entry in the catalogue"
        );
        Ok((yes, no))
    }
}

/// ln Σ exp(logit) over some tokens.
fn log_sum_exp(logits: &[f32], tokens: &[u32]) -> f32 {
    let of = |&id: &u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let largest = tokens.iter().map(of).fold(f32::NEG_INFINITY, f32::max);
    largest + tokens.iter().map(|id| (of(id) - largest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::placement::DeviceChoice;
    use super::super::{LlmFiles, SamplingOptions};
    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn tiny() -> Llm {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama/model.gguf");
        Llm::load(&LlmFiles::Gguf(file), DeviceChoice::Cpu, 1024).unwrap()
    }

    fn prompts(llm: &Llm) -> (Vec<u32>, Vec<u32>) {
        let user = "The shop opens at nine. ".repeat(12);
        let asked = llm.encode_chat("Judge.", &format!("{user}\n\nDoes it say when?")).unwrap();
        (asked, llm.encode_chat("Judge.", &user).unwrap())
    }

    fn written(llm: &Llm, prompt: &[u32]) -> Vec<u32> {
        let options = SamplingOptions { max_tokens: 24, ..SamplingOptions::default() };
        llm.generate(prompt, &options, &NEVER, &mut |_| {}).unwrap().tokens
    }

    #[test]
    fn the_odds_are_those_of_all_spellings_of_both_words() {
        let llm = tiny();
        let (asked, next) = prompts(&llm);
        let judged = llm.log_odds(&asked, &next, &NEVER).unwrap().unwrap();
        let logits = llm.logits(&asked, asked.len()).unwrap();
        let (yes, no) = llm.words().unwrap();
        assert!(yes.iter().all(|id| !no.contains(id)));
        let sum =
            |ids: &[u32]| ids.iter().map(|&id| f64::from(logits[id as usize]).exp()).sum::<f64>();
        let expected = (sum(&yes) / sum(&no)).ln();
        let off = (f64::from(judged.log_odds) - expected).abs();
        assert!(off < 1e-3, "{} and {expected}", judged.log_odds);
    }

    #[test]
    fn what_is_written_is_the_same_after_a_judgement_and_without_one() {
        let llm = tiny();
        let (asked, next) = prompts(&llm);
        let alone = written(&llm, &next);
        llm.log_odds(&asked, &next, &NEVER).unwrap().unwrap();
        let after = written(&llm, &next);
        assert_eq!(after, alone);
        // Another prompt in between takes the cache.
        llm.log_odds(&asked, &next, &NEVER).unwrap().unwrap();
        let other = llm.encode_chat("Other.", "Something else altogether?").unwrap();
        let of_other = written(&llm, &other);
        assert_eq!(written(&llm, &next), alone);
        assert_eq!(written(&llm, &other), of_other);
    }

    #[test]
    fn the_prompt_is_read_once_and_counted_as_prefill() {
        let llm = tiny();
        let (asked, next) = prompts(&llm);
        let judged = llm.log_odds(&asked, &next, &NEVER).unwrap().unwrap();
        let options = SamplingOptions { max_tokens: 1, ..SamplingOptions::default() };
        let generation = llm.generate(&next, &options, &NEVER, &mut |_| {}).unwrap();
        assert!(generation.prefill > judged.prefill);
        assert_eq!(generation.prompt_tokens, next.len());
    }

    #[test]
    fn an_interruption_is_no_judgement_and_leaves_nothing_behind() {
        let llm = tiny();
        let (asked, next) = prompts(&llm);
        let alone = written(&llm, &next);
        assert!(llm.log_odds(&asked, &next, &AtomicBool::new(true)).unwrap().is_none());
        assert_eq!(written(&llm, &next), alone);
        let long = vec![5; 1024];
        let error = llm.log_odds(&long, &next, &NEVER).unwrap_err().to_string();
        assert!(error.contains("1024 tokens"), "{error}");
    }

    #[test]
    fn the_sum_of_exponentials_does_not_overflow() {
        assert!(
            (log_sum_exp(&[500.0, 500.0, -1e4], &[0, 1, 2]) - (500.0 + 2f32.ln())).abs() < 1e-4
        );
        assert_eq!(log_sum_exp(&[1.0, 2.0], &[1]), 2.0);
    }
}
