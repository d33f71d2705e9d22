//! HTML: the text that a page is about, without what surrounds it.
//!
//! The page is read as tags and text, never as a tree: a stack of open elements is enough to know
//! what belongs to a menu, and any depth of nesting costs only its bytes. A page is read once more
//! where it turns out that what was left out is most of it.

mod elements;
mod list;
mod math;
mod page;
mod tag;
#[cfg(test)]
mod tests;
mod xhtml;

use std::fs::File;
use std::path::Path;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, State, Tokenizer};

use super::{TextHead, plain_text};
use crate::documents::charset;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::newlines;
use page::{Measures, Page, Shown};
use tag::Tag;

/// Bytes of an attribute, or of the title, that are looked at.
const MAX_ATTRIBUTE: usize = 1024;
/// A `main` element stands for the whole page if it has this much text, in bytes, …
const MIN_MAIN_BYTES: usize = 200;
/// … and the page has at most so many times more outside.
const MAX_OUTSIDE: usize = 4;
/// What surrounds the text is the page's text if it is so many times longer.
const MIN_SURROUNDING: usize = 2;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Html,
    /// XML: `<title/>` is a whole element.
    Xhtml,
    /// The same, as a part of a book, which has nothing around it.
    Chapter,
}

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (html, omitted) = plain_text::text_with_flaws(file, path, charset::of_page)?;
    let is_xhtml = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("xhtml"));
    let syntax = if is_xhtml || is_xml(&html) { Syntax::Xhtml } else { Syntax::Html };
    Ok(Contents::One(Extract { omitted, ..extract(&html, syntax) }))
}

/// Whether a page says that it is XML.
fn is_xml(html: &str) -> bool {
    let start = html.trim_start();
    let start = start[..start.floor_char_boundary(MAX_ATTRIBUTE)].to_ascii_lowercase();
    let doctype = start.strip_prefix("<!doctype").and_then(|rest| rest.split('>').next());
    let has_subset = doctype.is_some_and(|doctype| doctype.contains('['));
    let names_xml = [
        "dtd xhtml",
        "xmlns=\"http://www.w3.org/1999/xhtml",
        "xmlns='http://www.w3.org/1999/xhtml",
    ];
    start.starts_with("<?xml") || has_subset || names_xml.iter().any(|name| start.contains(name))
}

/// Whether a text begins as a page does.
pub(crate) fn is_page(head: &TextHead) -> bool {
    let mut start = head.start;
    while let Some((_, after)) = start.strip_prefix("<!--").and_then(|rest| rest.split_once("-->"))
    {
        start = after.trim_start();
    }
    let begins = |names: &[&str]| names.iter().any(|name| start.starts_with(name));
    let contains = |names: &[&str]| names.iter().any(|name| start.contains(name));
    begins(&["<!doctype html", "<html", "<head>", "<body", "<meta "])
        || (begins(&["<?xml"]) && contains(&["<html", "<!doctype html"]))
}

/// The text of a page. `html` is composed and has `\n` line ends.
pub(crate) fn extract(html: &str, syntax: Syntax) -> Extract {
    let rewritten = (syntax != Syntax::Html).then(|| xhtml::as_html(html));
    let page = rewritten.as_deref().unwrap_or(html);
    let mut shown = Shown { main_only: html.contains("<main"), ..Shown::default() };
    let mut read = tokenize(page, syntax, shown.clone());
    let better = best(&read);
    if better != shown {
        shown = better;
        read = tokenize(page, syntax, shown.clone());
    }
    let found = read.finish();
    if !found.text.is_empty() {
        return found;
    }
    // In HTML, `<script/>` has the rest of the page. Nobody means that.
    if syntax == Syntax::Html && html.contains("/>") {
        return extract(html, Syntax::Xhtml);
    }
    let all = Shown { main_only: false, surrounding: true, hidden: true, ..shown };
    tokenize(page, syntax, all).finish()
}

/// What of a page is to be shown, once it was read.
fn best(page: &Page) -> Shown {
    let &Measures { main, outside, links, surrounding, hidden } = &page.measures;
    let is_main = main >= MIN_MAIN_BYTES && outside <= MAX_OUTSIDE * main;
    let text = if is_main { main } else { main + outside + links };
    let shows_surrounding = text == 0 || surrounding > MIN_SURROUNDING * text;
    let text = if shows_surrounding { main + outside + links + surrounding } else { text };
    Shown {
        main_only: is_main && !shows_surrounding,
        surrounding: shows_surrounding,
        hidden: hidden > text,
        reversed: page.reversed.clone(),
    }
}

fn tokenize(html: &str, syntax: Syntax, shown: Shown) -> Page {
    let mut page = Page::new(syntax, shown);
    feed(html, syntax, &mut page, Lines::OfFile);
    page
}

/// Which lines the parts of a page are on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    OfFile,
    /// It is in an attribute: all on the line of its tag.
    OfTag,
}

fn feed(html: &str, syntax: Syntax, page: &mut Page, lines: Lines) {
    let mut tag = Tag::default();
    let mut attribute = Vec::new();
    let (mut position, mut line) = (0, page.line);
    let mut line_at = |at: usize| {
        let at = at.clamp(position, html.len());
        if lines == Lines::OfFile {
            line += newlines(&html.as_bytes()[position..at]);
        }
        position = at;
        line
    };
    let emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| {
        match event {
            CallbackEvent::OpenStartTag { name } => tag.open(name, syntax),
            CallbackEvent::AttributeName { name } => {
                attribute.clear();
                attribute.extend_from_slice(&name[..name.len().min(MAX_ATTRIBUTE)]);
                tag.attribute(&attribute, b"");
            }
            CallbackEvent::AttributeValue { value } => tag.attribute(&attribute, value),
            CallbackEvent::CloseStartTag { self_closing } => {
                tag.self_closing = self_closing;
                page.line = line_at(span.start);
                if let Some(inner) = tag.srcdoc.take().filter(|_| lines == Lines::OfFile) {
                    let depth = page.depth();
                    feed(&inner, Syntax::Html, page, Lines::OfTag);
                    page.pop_to(depth);
                }
                let is_html = page.start(&tag);
                // The tokenizer knows the ends of these only without a namespace.
                return content_of(&tag.name).filter(|_| is_html && !tag.is_prefixed);
            }
            CallbackEvent::EndTag { name } => page.end(&String::from_utf8_lossy(name)),
            CallbackEvent::String { value } => {
                page.line = line_at(span.start);
                page.text(&String::from_utf8_lossy(value));
            }
            _ => {}
        }
        None
    });
    let mut tokenizer = Tokenizer::new_with_emitter(html, emitter);
    // Its input is a string, so it cannot fail.
    while let Some(Ok(state)) = tokenizer.next() {
        tokenizer.set_state(state);
    }
}

/// How the content of an element is read, if it is not tags and text.
fn content_of(name: &str) -> Option<State> {
    match name {
        "title" | "textarea" => Some(State::RcData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(State::RawText),
        "script" => Some(State::ScriptData),
        "plaintext" => Some(State::PlainText),
        _ => None,
    }
}
