//! A conversation as Markdown.

use std::fmt::Write;

use crate::answer::Answer;
use crate::cli::session::Session;
use crate::terminal::printable;

/// Every question with its answer and the sources that it cites.
pub fn markdown(turns: &[(String, Answer)], session: &Session) -> String {
    let lang = session.terminal.lang;
    let mut text = String::new();
    for (question, answer) in turns {
        let said = match answer.answer.as_str() {
            "" => lang.pick("(không có lời đáp)", "(no answer)"),
            answer => answer,
        };
        let _ = write!(text, "## {question}\n\n{said}\n\n");
        for citation in &answer.citations {
            let _ = writeln!(text, "- {}", session.source(citation));
        }
        if !answer.citations.is_empty() {
            text.push('\n');
        }
    }
    printable(&text)
}
