//! Texts that end an answer.

/// Holds text back as long as it may be the beginning of one of some texts, and ends it before them.
pub struct Stops<'a> {
    texts: &'a [String],
    held: String,
    has_ended: bool,
}

impl<'a> Stops<'a> {
    pub fn new(texts: &'a [String]) -> Self {
        Self { texts, held: String::new(), has_ended: false }
    }

    /// Takes the next text; returns what is certainly part of the answer.
    pub fn push(&mut self, text: &str) -> String {
        if self.has_ended {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.texts.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        let certain = found.unwrap_or_else(|| self.held.len() - self.begun());
        let rest = self.held.split_off(certain);
        self.has_ended = found.is_some();
        std::mem::replace(&mut self.held, if self.has_ended { String::new() } else { rest })
    }

    /// How many bytes at the end may be the beginning of one of the texts.
    fn begun(&self) -> usize {
        let held = self.held.as_bytes();
        let of = |stop: &String| {
            let longest = stop.len().saturating_sub(1).min(held.len());
            (1..=longest).rev().find(|&length| held.ends_with(&stop.as_bytes()[..length]))
        };
        self.texts.iter().filter_map(of).max().unwrap_or(0)
    }

    /// Whether one of the texts came.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What was held back when nothing follows.
    pub fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text before the end, and whether there was one, pushed in pieces of so many characters.
    fn cut(text: &str, size: usize) -> (String, bool) {
        let texts = ["<|im_end|>", "</s>", "é!"].map(str::to_owned);
        let mut stops = Stops::new(&texts);
        let mut shown = String::new();
        for piece in text.chars().collect::<Vec<_>>().chunks(size) {
            shown.push_str(&stops.push(&piece.iter().collect::<String>()));
        }
        let ended = stops.has_ended();
        shown.push_str(&stops.finish());
        (shown, ended)
    }

    #[test]
    fn an_answer_ends_before_the_first_of_them_however_it_is_cut() {
        for size in 1..20 {
            for (text, expected, ends) in [
                ("a < b<|im_end|>\n</s>", "a < b", true),
                ("<<|im<|im_end|>", "<<|im", true),
                ("caféé!", "café", true),
                ("é </s", "é </s", false),
                ("x <|im_end", "x <|im_end", false),
                ("", "", false),
            ] {
                assert_eq!(cut(text, size), (expected.to_owned(), ends), "{text}, {size}");
            }
        }
    }

    #[test]
    fn only_the_beginning_of_one_is_held_back() {
        let texts = ["</s>".to_owned()];
        let mut stops = Stops::new(&texts);
        assert_eq!(stops.push("a <"), "a ");
        assert_eq!(stops.push("b <</"), "<b <");
        assert_eq!(stops.push("s>c"), "");
        assert!(stops.has_ended());
    }
}
