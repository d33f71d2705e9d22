//! Prompt lookup: answers from documents repeat their words, so what followed the last few tokens
//! where they stood before is a good guess at what follows now. A pass that reads several guessed
//! tokens costs little more than one that reads a single token, and tells for each whether the model
//! would have written it. Source: Saxena, "Prompt Lookup Decoding" (2023); the speculative decoding
//! of Leviathan et al. (2023) with the prompt as the draft.
//!
//! Every token is chosen from the model's own logits, so guesses change the speed and nothing else: on
//! the CPU, several tokens are computed as one after the other would be, to the last bit; a GPU adds up
//! in another order, which decides only between tokens that are as good as equally likely. How many tokens to guess depends on how often guesses were right and never on the clock, so that
//! the same question gets the same passes.

/// Most tokens guessed at a time.
pub const MAX_GUESSES: usize = 7;
/// Tokens that have to agree before what followed them is a guess.
const MIN_MATCH: usize = 2;
/// Agreeing tokens that are counted; more say no more.
const MAX_MATCH: usize = 16;
/// How much one guess changes the estimate of how often they are right.
const LEARNING_RATE: f64 = 1.0 / 16.0;
/// By how many tokens agree before it, how often a guess is right, until it is known better.
const FIRST_ESTIMATES: [(usize, f64); 4] = [(MIN_MATCH, 0.3), (3, 0.45), (5, 0.6), (9, 0.75)];

/// What reading guesses costs on a device, in passes of one token.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Of reading several tokens instead of one.
    pub several: f64,
    /// Of each token more.
    pub each: f64,
}

/// Guesses the next tokens of an answer.
pub struct Lookup {
    cost: Cost,
    /// The prompt, and the answer so far.
    tokens: Vec<u32>,
    /// Where the guess stands in `tokens`, and how many tokens agree before it.
    guess: Option<(usize, usize)>,
    /// As in [`FIRST_ESTIMATES`].
    estimates: [(usize, f64); 4],
}

impl Lookup {
    /// For an answer to `prompt`.
    pub fn new(prompt: &[u32], cost: Cost) -> Self {
        let mut lookup =
            Self { cost, tokens: prompt.to_vec(), guess: None, estimates: FIRST_ESTIMATES };
        lookup.search();
        lookup
    }

    /// Takes the token that was chosen, and learns from it.
    pub fn push(&mut self, token: u32) {
        let guess = self.guess.filter(|&(at, _)| at < self.tokens.len());
        if let Some((at, agreeing)) = guess {
            let is_right = self.tokens[at] == token;
            let estimate = estimate(&mut self.estimates, agreeing);
            *estimate += LEARNING_RATE * (f64::from(u8::from(is_right)) - *estimate);
            self.guess = is_right.then_some((at + 1, agreeing + 1));
        }
        self.tokens.push(token);
        if self.guess.is_none() {
            self.search();
        }
    }

    /// The next tokens, at most `limit`, as far as reading them is expected to pay.
    pub fn guesses(&mut self, limit: usize) -> &[u32] {
        let Some((at, agreeing)) = self.guess else { return &[] };
        let most = limit.min(MAX_GUESSES).min(self.tokens.len() - at);
        let (mut best, mut best_rate) = (0, 1.0);
        let (mut all_right, mut expected) = (1.0, 1.0);
        for count in 1..=most {
            all_right *= *estimate(&mut self.estimates, agreeing + count - 1);
            expected += all_right;
            let rate = expected / (1.0 + self.cost.several + self.cost.each * count as f64);
            if rate > best_rate {
                (best, best_rate) = (count, rate);
            }
        }
        &self.tokens[at..at + best]
    }

    /// Finds where the longest end of the tokens stood before; the last such place.
    fn search(&mut self) {
        let (tokens, end) = (&self.tokens, self.tokens.len());
        let mut longest = MIN_MATCH - 1;
        let mut found = None;
        for at in (MIN_MATCH..end).rev() {
            let agreeing = (0..at.min(MAX_MATCH))
                .take_while(|back| tokens[at - 1 - back] == tokens[end - 1 - back]);
            let agreeing = agreeing.count();
            if agreeing > longest {
                (longest, found) = (agreeing, Some((at, agreeing)));
            }
        }
        self.guess = found;
    }
}

/// The estimate for guesses before which so many tokens agree.
fn estimate(estimates: &mut [(usize, f64); 4], agreeing: usize) -> &mut f64 {
    let after = estimates.partition_point(|(least, _)| *least <= agreeing);
    &mut estimates[after.max(1) - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { several: 0.0, each: 0.01 };

    #[test]
    fn what_followed_the_longest_end_is_guessed() {
        //               0  1  2  3  4  5  6  7  8  9  10
        let mut lookup = Lookup::new(&[7, 1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], CHEAP);
        // `1 2 3` stood at the beginning, `2 3` later too.
        assert_eq!(lookup.guesses(9), [4, 9, 2, 3, 5, 1, 2]);
        assert_eq!(lookup.guesses(2), [4, 9]);
        lookup.push(4);
        assert_eq!(lookup.guesses(2), [9, 2]);
        // Something else: nothing like it stood before.
        lookup.push(8);
        assert!(lookup.guesses(9).is_empty());
        lookup.push(2);
        lookup.push(3);
        // The last of several.
        assert_eq!(lookup.guesses(3), [4, 8, 2]);
    }

    #[test]
    fn guesses_end_with_what_is_known() {
        let mut lookup = Lookup::new(&[1, 1, 1], CHEAP);
        assert_eq!(lookup.guesses(9), [1]);
        lookup.push(1);
        assert!(lookup.guesses(9).len() <= 1);
        for prompt in [&[][..], &[1], &[1, 1]] {
            let mut lookup = Lookup::new(prompt, CHEAP);
            assert!(lookup.guesses(9).is_empty());
            lookup.push(1);
            lookup.push(1);
            lookup.push(1);
            assert_eq!(lookup.guesses(9), [1]);
        }
    }

    /// Where guesses are mostly wrong, none are made; they are made again once they would be right.
    #[test]
    fn guesses_that_do_not_pay_stop_until_they_would() {
        let dear = Cost { several: 0.1, each: 0.2 };
        let phrase: Vec<u32> = (10..40).collect();
        let mut lookup = Lookup::new(&phrase, dear);
        // The same two tokens, each time followed by another one.
        for wrong in 0..60 {
            for token in [10, 11, 1000 + wrong] {
                lookup.push(token);
            }
        }
        lookup.push(10);
        lookup.push(11);
        assert!(lookup.guesses(9).is_empty(), "{:?}", lookup.estimates);
        for _ in 0..20 {
            for &token in &phrase {
                lookup.push(token);
            }
        }
        lookup.push(10);
        lookup.push(11);
        lookup.push(12);
        assert!(lookup.guesses(9).len() > 3, "{:?}", lookup.estimates);
    }
}
