//! Signs that a text without marks may be reasoning.

/// How reasoning begins that nobody was meant to read, in small letters.
const OF_REASONING: &[&str] = &[
    "okay,",
    "okay so",
    "okay.",
    "ok,",
    "ok so",
    "ok.",
    "alright",
    "all right,",
    "hmm",
    "hm,",
    "so,",
    "so the",
    "so we",
    "so i",
    "let me",
    "let's",
    "let us",
    "the user",
    "user asks",
    "user wants",
    "user is",
    "the question",
    "this question",
    "we need",
    "we have",
    "we are",
    "we're",
    "we must",
    "we should",
    "we can",
    "we know",
    "i need",
    "i have to",
    "i should",
    "i'll",
    "i will",
    "i'm",
    "i am",
    "i can",
    "first, i",
    "first, let",
    "first, the user",
    "first i",
    "first, we",
    "now,",
    "got it",
    "wait",
    "well,",
    "right,",
    "thinking",
    "thought",
    "to answer",
    "to determine",
    "looking at",
    "analysis",
    "**anal",
    "1.  **anal",
    "1. **anal",
    "here's a thinking",
    "here's my",
    "here is my",
    "step 1",
    "given the",
    "based on the user",
    "question:",
    "được rồi",
    "người dùng",
    "ta cần",
    "tôi cần",
    "mình cần",
    "hãy xem",
    "trước hết",
    "trước tiên",
    "để trả lời",
    "câu hỏi",
    "hừm",
    "vậy,",
    "好的",
    "好，",
    "嗯",
    "首先",
    "用户",
    "用戶",
    "我需要",
    "我们需要",
    "让我",
    "ユーザー",
    "まず",
    "사용자",
    "d'accord",
    "l'utilisateur",
    "der benutzer",
    "der nutzer",
    "el usuario",
    "хорошо",
    "пользователь",
    "итак",
];
/// Parts of the names of models that reason and whose template opens the reasoning itself, so that
/// they write only the closing mark.
const REASONING_MODELS: &[&str] = &["r1", "qwq", "thinking", "reasoning", "reasoner", "z1"];

/// What the beginning of a text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    OfReasoning,
    OfAnswer,
    /// Too short to tell.
    Unclear,
}

/// What the beginning of `text` tells.
pub fn of(text: &str) -> Beginning {
    let longest = OF_REASONING.iter().map(|beginning| beginning.chars().count()).max();
    let start: String = text.chars().take(longest.unwrap_or(0)).collect();
    let start = start.to_lowercase().replace('’', "'");
    if OF_REASONING.iter().any(|beginning| start.starts_with(beginning)) {
        Beginning::OfReasoning
    } else if OF_REASONING.iter().any(|beginning| beginning.starts_with(&start)) {
        Beginning::Unclear
    } else {
        Beginning::OfAnswer
    }
}

/// Whether a model of this name may leave out the opening mark.
pub fn is_reasoning_model(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut parts = name.split(|c: char| !c.is_alphanumeric());
    parts.any(|part| REASONING_MODELS.contains(&part))
}
