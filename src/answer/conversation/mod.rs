//! A dialogue: what was asked before gives a follow-up its meaning.
//!
//! Documents are searched for a question that can be understood by itself. "And its drawbacks?"
//! becomes one by the LLM, if it is loaded already; else the question that it goes on from is put
//! before it. Whoever asks is told what was searched for.

mod follow_up;
mod rewrite;
#[cfg(test)]
mod trial;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

pub use follow_up::is_follow_up;
pub use rewrite::{RewriteTemplate, Rewriter, Rewriting};

use crate::prompt::line_of;
use crate::text::language::Language;

/// Questions with their answers that are remembered.
const MOST_TURNS: usize = 3;
/// What is remembered of a question or an answer, in characters.
const MOST_CHARACTERS: usize = 300;

/// A question and its answer, one line each.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    question: String,
    answer: String,
}

/// What is remembered of a dialogue.
#[derive(Debug, Clone, Default)]
pub struct Dialogue {
    /// The oldest first.
    turns: VecDeque<Turn>,
    /// The last question that can be understood by itself.
    topic: Option<String>,
}

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standalone {
    /// The question as it is.
    AsAsked,
    /// What the LLM made of it.
    Rewritten(String),
    /// The question that it goes on from, and then itself.
    Joined(String),
}

impl Standalone {
    /// The text to search for, where it is not the question itself.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::AsAsked => None,
            Self::Rewritten(text) | Self::Joined(text) => Some(text),
        }
    }
}

impl Dialogue {
    /// What to search for to answer `question`. What the LLM writes is used only if it looks like
    /// the question that was asked; whatever goes wrong, the question can be searched for.
    pub fn standalone(
        &self,
        question: &str,
        rewriter: Option<Rewriter>,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Rewriting),
    ) -> Standalone {
        let Some(topic) = self.topic.as_ref().filter(|_| is_follow_up(question)) else {
            return Standalone::AsAsked;
        };
        let joined = format!("{topic} {question}");
        let rewritten = rewriter.map_or(Ok(None), |rewriter| {
            let language = Language::of(&joined);
            rewriter.rewrite(question, &self.turns, language, interrupted, watch)
        });
        match rewritten {
            Ok(Some(rewritten)) => Standalone::Rewritten(rewritten),
            Ok(None) => Standalone::Joined(joined),
            Err(error) => {
                watch(Rewriting::Failed(&error));
                Standalone::Joined(joined)
            }
        }
    }

    /// Remembers an answer, and forgets the oldest.
    pub fn remember(&mut self, question: &str, searched: &Standalone, answer: &str) {
        let understood = match searched {
            Standalone::AsAsked => Some(question),
            Standalone::Rewritten(rewritten) => Some(rewritten.as_str()),
            // Else one topic would be put before another without end.
            Standalone::Joined(_) => None,
        };
        if let Some(understood) = understood {
            self.topic = Some(line_of(understood, MOST_CHARACTERS));
        }
        if self.turns.len() == MOST_TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(Turn {
            question: line_of(understood.unwrap_or(question), MOST_CHARACTERS),
            answer: line_of(answer, MOST_CHARACTERS),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::generation::Generator;
    use crate::generation::local::placement::DeviceChoice;
    use crate::generation::local::{Llm, LlmFiles};

    fn after(turns: &[(&str, &str)]) -> Dialogue {
        let mut dialogue = Dialogue::default();
        for (question, answer) in turns {
            dialogue.remember(question, &Standalone::AsAsked, answer);
        }
        dialogue
    }

    fn searched(dialogue: &Dialogue, question: &str) -> Standalone {
        dialogue.standalone(question, None, &AtomicBool::new(false), &mut |_| {})
    }

    #[test]
    fn without_the_llm_the_topic_is_put_before_a_follow_up() {
        let mut dialogue = after(&[("Transformer là gì?", "Một kiến trúc.")]);
        let joined = Standalone::Joined("Transformer là gì? còn nhược điểm?".to_owned());
        assert_eq!(searched(&dialogue, "còn nhược điểm?"), joined);
        // The topic stays through several follow-ups.
        dialogue.remember("còn nhược điểm?", &joined, "Tốn bộ nhớ.");
        let next = Standalone::Joined("Transformer là gì? còn ưu điểm?".to_owned());
        assert_eq!(searched(&dialogue, "còn ưu điểm?"), next);
        // A new question is a new topic.
        assert_eq!(searched(&dialogue, "BERT là gì?"), Standalone::AsAsked);
        dialogue.remember("BERT là gì?", &Standalone::AsAsked, "");
        let other = Standalone::Joined("BERT là gì? Nó là gì?".to_owned());
        assert_eq!(searched(&dialogue, "Nó là gì?"), other);
    }

    #[test]
    fn at_the_beginning_nothing_is_a_follow_up() {
        assert_eq!(searched(&Dialogue::default(), "còn nhược điểm?"), Standalone::AsAsked);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let long = "dài \u{1b}[31m\n\n".repeat(100_000);
        let mut dialogue = Dialogue::default();
        for _ in 0..50 {
            dialogue.remember(&long, &Standalone::AsAsked, &long);
        }
        assert_eq!(dialogue.turns.len(), MOST_TURNS);
        for text in dialogue.turns.iter().flat_map(|turn| [&turn.question, &turn.answer]) {
            assert!(text.chars().count() <= MOST_CHARACTERS + 1);
            assert!(!text.contains(char::is_control));
        }
    }

    /// A random model writes nonsense, whatever is said: the rule steps in.
    #[test]
    fn nonsense_of_the_llm_is_not_searched_for() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama/model.gguf");
        for context in [4096, 256] {
            let llm = Llm::load(&LlmFiles::Gguf(file.clone()), DeviceChoice::Cpu, context).unwrap();
            let dialogue = after(&[("What is a transformer?", "<|eot_id|> A model. {{ x }}")]);
            let joined = Standalone::Joined("What is a transformer? and its drawbacks?".to_owned());
            let (never, template) = (AtomicBool::new(false), RewriteTemplate::default());
            let generator = Generator::Local { llm: &llm, name: "tiny" };
            let rewriter = Some(Rewriter { generator, template: &template });
            let mut watch = |event: Rewriting| {
                assert!(matches!(event, Rewriting::Begins), "{event:?}");
            };
            let understood =
                dialogue.standalone("and its drawbacks?", rewriter, &never, &mut watch);
            assert_eq!(understood, joined);
        }
    }
}
