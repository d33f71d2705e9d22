//! Conversation history, and resolving follow-ups against it.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::follow_up::is_follow_up;
use super::rewrite::Rewriter;
use super::turn::{MAX_CHARACTERS, Turn};
use crate::answer::Event;
use crate::answer::refusal::is_refusal;
use crate::prompt::line_of;
use crate::text::language::Language;

/// Turns kept in the history.
const MAX_TURNS: usize = 3;
/// The history of a conversation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Dialogue {
    /// Oldest first.
    turns: VecDeque<Turn>,
    /// The last standalone question.
    topic: Option<String>,
}

/// What to search for in response to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewrittenQuery {
    /// The question unchanged.
    AsAsked,
    /// The LLM's rewrite.
    ByLlm(String),
    /// The last standalone question followed by the follow-up.
    Joined(String),
}

impl RewrittenQuery {
    /// The query text, if it differs from the question.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::AsAsked => None,
            Self::ByLlm(text) | Self::Joined(text) => Some(text),
        }
    }
}

impl Dialogue {
    /// Resolves `question` to a search query. The LLM's rewrite is used only if it is plausible; on
    /// any failure this falls back to a rule, so there is always something to search for.
    pub fn understand<'r>(
        &self,
        question: &str,
        rewriter: impl FnOnce(&mut dyn FnMut(Event)) -> Option<Rewriter<'r>>,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> RewrittenQuery {
        let Some(topic) = self.topic.as_ref().filter(|_| is_follow_up(question)) else {
            return RewrittenQuery::AsAsked;
        };
        let joined = format!("{topic} {question}");
        let rewritten = rewriter(watch).map_or(Ok(None), |rewriter| {
            let language = Language::of(&joined);
            rewriter.rewrite(question, &self.turns, language, interrupted, watch)
        });
        match rewritten {
            Ok(Some(rewritten)) => RewrittenQuery::ByLlm(rewritten),
            Ok(None) => RewrittenQuery::Joined(joined),
            Err(error) => {
                watch(Event::NotRewritten { error: format!("{error:#}").into() });
                RewrittenQuery::Joined(joined)
            }
        }
    }

    /// The history after questions and answers of which nothing else is known, oldest first.
    pub fn after<'t>(turns: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let mut dialogue = Self::default();
        turns.into_iter().for_each(|(question, answer)| dialogue.recall(question, answer));
        dialogue
    }

    /// Adds a turn and drops the oldest if the history is full. Where an answer only says that the
    /// documents have none, nothing was said: what follows goes on with the question before it.
    pub fn remember(&mut self, question: &str, searched: &RewrittenQuery, answer: &str) {
        if is_refusal(answer) {
            return;
        }
        let understood = match searched {
            RewrittenQuery::AsAsked => Some(question),
            RewrittenQuery::ByLlm(rewritten) => Some(rewritten.as_str()),
            // Keep the old topic, or joined questions would keep growing.
            RewrittenQuery::Joined(_) => None,
        };
        if let Some(understood) = understood {
            self.topic = Some(line_of(understood, MAX_CHARACTERS));
        }
        if self.turns.len() == MAX_TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(Turn {
            question: line_of(understood.unwrap_or(question), MAX_CHARACTERS),
            answer: line_of(answer, MAX_CHARACTERS),
        });
    }

    /// Adds a turn of which only the words are known, as after it was saved and loaded. An empty answer
    /// is none.
    pub fn recall(&mut self, question: &str, answer: &str) {
        if !answer.trim().is_empty() {
            let never = AtomicBool::new(false);
            let query = self.understand(question, |_| None, &never, &mut |_| {});
            self.remember(question, &query, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::answer::conversation::RewriteTemplate;
    use crate::generation::Generator;
    use crate::generation::local::placement::DeviceChoice;
    use crate::generation::local::{Llm, LlmFiles};

    fn after(turns: &[(&str, &str)]) -> Dialogue {
        let mut dialogue = Dialogue::default();
        for (question, answer) in turns {
            dialogue.remember(question, &RewrittenQuery::AsAsked, answer);
        }
        dialogue
    }

    fn understood(dialogue: &Dialogue, question: &str) -> RewrittenQuery {
        dialogue.understand(question, |_| None, &AtomicBool::new(false), &mut |_| {})
    }

    #[test]
    fn without_the_llm_the_topic_is_put_before_a_follow_up() {
        let mut dialogue = after(&[("Transformer là gì?", "Một kiến trúc.")]);
        let joined = RewrittenQuery::Joined("Transformer là gì? còn nhược điểm?".to_owned());
        assert_eq!(understood(&dialogue, "còn nhược điểm?"), joined);
        // The topic survives several follow-ups.
        dialogue.remember("còn nhược điểm?", &joined, "Tốn bộ nhớ.");
        let next = RewrittenQuery::Joined("Transformer là gì? còn ưu điểm?".to_owned());
        assert_eq!(understood(&dialogue, "còn ưu điểm?"), next);
        // A standalone question replaces the topic.
        assert_eq!(understood(&dialogue, "BERT là gì?"), RewrittenQuery::AsAsked);
        dialogue.remember("BERT là gì?", &RewrittenQuery::AsAsked, "");
        let other = RewrittenQuery::Joined("BERT là gì? Nó là gì?".to_owned());
        assert_eq!(understood(&dialogue, "Nó là gì?"), other);
    }

    #[test]
    fn a_dialogue_that_is_recalled_goes_on_from_its_topic() {
        let mut dialogue = Dialogue::default();
        dialogue.recall("Transformer là gì?", "Một kiến trúc.");
        dialogue.recall("còn nhược điểm?", "Tốn bộ nhớ.");
        dialogue.recall("BERT là gì?", "");
        dialogue.recall("GPT là gì?", "Tài liệu không có thông tin về câu hỏi này.");
        let joined = RewrittenQuery::Joined("Transformer là gì? còn ưu điểm?".to_owned());
        assert_eq!(understood(&dialogue, "còn ưu điểm?"), joined);
        assert_eq!(dialogue.turns.len(), 2);
    }

    #[test]
    fn at_the_beginning_nothing_is_a_follow_up() {
        assert_eq!(understood(&Dialogue::default(), "còn nhược điểm?"), RewrittenQuery::AsAsked);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let long = "dài \u{1b}[31m\n\n".repeat(100_000);
        let mut dialogue = Dialogue::default();
        for _ in 0..50 {
            dialogue.remember(&long, &RewrittenQuery::AsAsked, &long);
        }
        assert_eq!(dialogue.turns.len(), MAX_TURNS);
        for text in dialogue.turns.iter().flat_map(|turn| [&turn.question, &turn.answer]) {
            assert!(text.chars().count() <= MAX_CHARACTERS + 1);
            assert!(!text.contains(char::is_control));
        }
    }

    /// A model with random weights produces nonsense; the rule must take over.
    #[test]
    fn nonsense_of_the_llm_is_not_searched_for() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama/model.gguf");
        for context in [4096, 256] {
            let llm = Llm::load(&LlmFiles::Gguf(file.clone()), DeviceChoice::Cpu, context).unwrap();
            let dialogue = after(&[("What is a transformer?", "<|eot_id|> A model. {{ x }}")]);
            let joined =
                RewrittenQuery::Joined("What is a transformer? and its drawbacks?".to_owned());
            let (never, template) = (AtomicBool::new(false), RewriteTemplate::default());
            let generator = Generator::Local { llm: &llm, name: "tiny" };
            let rewriter =
                |_: &mut dyn FnMut(Event)| Some(Rewriter { generator, template: &template });
            let mut watch = |event: Event| {
                assert!(matches!(event, Event::Rewriting), "{event:?}");
            };
            let understood =
                dialogue.understand("and its drawbacks?", rewriter, &never, &mut watch);
            assert_eq!(understood, joined);
        }
    }
}
