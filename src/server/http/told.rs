//! What happens during an answer, in words, where a client has no words of its own for it.

use crate::answer::Event;
use crate::terminal::Lang;

/// The words for an event that is worth a notice; `llm` is the LLM's name.
pub fn notice(event: &Event, lang: Lang, llm: &str) -> Option<String> {
    let words = match event {
        Event::NotRewritten { error } => lang.not_rewritten(error),
        Event::LlmNotFor { language } => lang.llm_not_for(llm, *language),
        Event::LlmCannotRead => lang.llm_cannot_read(llm),
        Event::PassagesDropped { count } => lang.passages_dropped(*count),
        Event::ServerAdapted { server, field } => lang.server_adapted(server, field),
        Event::PromptCut { server, read, estimated } => lang.prompt_cut(server, *read, *estimated),
        Event::ServerFailed { error, next, pause } => lang.server_failed(error, next, *pause),
        Event::InventedCitations => lang.invented_citations().to_owned(),
        Event::NoCitations { supported } => lang.no_citations(*supported).to_owned(),
        Event::Unsupported { sentences } => lang.unsupported(sentences)?,
        _ => return None,
    };
    Some(words.trim().to_owned())
}
