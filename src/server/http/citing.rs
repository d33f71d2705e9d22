//! The sources of an answer, below its text and as annotations.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::answer::{Answer, Citation};
use crate::documents::Place;
use crate::index::file_of;
use crate::terminal::{Lang, Named, one_line, path_in_address};

/// The sources below an answer's text: those that it cites, or else all that it was written from.
pub fn sources(answer: &Answer, lang: Lang) -> String {
    let cited = answer.sources();
    if cited.is_empty() {
        return String::new();
    }
    let mut text = format!("\n\n{}", lang.sources());
    for citation in cited {
        let Named { name, after, .. } = Named::source(citation, lang);
        let _ = write!(text, "\n{name}{after}");
    }
    text
}

/// Every `[n]` in `text` as an annotation of OpenAI's type `url_citation`; positions are in characters,
/// as its clients count them in Python.
pub fn annotations(answer: &Answer, text: &str) -> Vec<Value> {
    let mut annotations = Vec::new();
    for citation in &answer.citations {
        let mark = format!("[{}]", citation.n);
        for (at, _) in text.match_indices(&mark) {
            let start = text[..at].chars().count();
            annotations.push(json!({"type": "url_citation", "url_citation": {
                "start_index": start,
                "end_index": start + mark.len(),
                "title": one_line(&citation.document),
                "url": url(citation),
            }}));
        }
    }
    annotations
}

/// Where a source is: a `file:` address with the page, line or second as a fragment.
fn url(citation: &Citation) -> String {
    let url = format!("file://{}", path_in_address(file_of(&citation.document_id)));
    match citation.place {
        Some(Place::Pages(first, _)) => url + &format!("#page={first}"),
        Some(Place::Lines(first, last)) => url + &format!("#L{first}-L{last}"),
        Some(Place::Seconds(first, _)) => url + &format!("#t={first}"),
        _ => url,
    }
}
