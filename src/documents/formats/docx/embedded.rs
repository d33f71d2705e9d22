//! Documents embedded in a Word document (`w:altChunk`), which Word makes part of it when it opens
//! it: programs that write DOCX put pages and messages there.

use std::borrow::Cow;
use std::io::{Read, Seek};

use mail_parser::MessageParser;

use super::extract;
use super::story::{Kind, Parts, Story};
use crate::documents::charset;
use crate::documents::clean::clean;
use crate::documents::contents::Extract;
use crate::documents::encoding;
use crate::documents::formats::package::Package;
use crate::documents::formats::{html, rtf};
use crate::documents::structure::Places;

/// Bytes that are looked at for what kind of document it is.
const HEAD: usize = 1 << 10;

/// The text of an embedded document.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read<R: Read + Seek>(
    package: &mut Package<R>,
    bytes: Vec<u8>,
    may_embed: bool,
) -> Result<Extract, String> {
    if bytes.starts_with(b"PK\x03\x04") {
        if !may_embed {
            return Err("it is embedded in an embedded document".to_owned());
        }
        let document = package.within(bytes, |package| extract(package, false));
        return document.map_err(|error| error.to_string());
    }
    if bytes.trim_ascii_start().starts_with(b"{\\rtf") {
        return Ok(rtf::extract(bytes.trim_ascii_start()));
    }
    let head = bytes[..bytes.len().min(HEAD)].to_ascii_lowercase();
    if is_message(&head) {
        let message = MessageParser::default().parse(&bytes);
        let page = message.as_ref().and_then(|message| message.body_html(0));
        let Some(page) = page else { return Err("there is no text in it".to_owned()) };
        return Ok(html::extract(&clean(&page), html::Syntax::Html));
    }
    let is_page = head.trim_ascii_start().starts_with(b"<");
    let text = encoding::decode(&bytes, is_page.then(|| charset::of_page(&bytes)))
        .map_err(|reason| format!("it is {reason}"))?;
    Ok(read_text(&text))
}

fn read_text(text: &str) -> Extract {
    let text = clean(text);
    let start = text.trim_start();
    let head: Cow<str> = start.chars().take(HEAD).collect::<String>().to_ascii_lowercase().into();
    if head.contains("<pkg:package") {
        // A package written as one XML file. Its document is one of its parts.
        let document = text.find("<w:document").map_or("", |at| &text[at..]);
        let told = Story::read(Kind::Body, document, &mut Parts::default());
        return told.flow.finish(|_| Places::Nowhere);
    }
    if !head.starts_with('<') {
        return Extract { text: text.into_owned(), ..Extract::default() };
    }
    let is_xml = head.starts_with("<?xml");
    html::extract(&text, if is_xml { html::Syntax::Xhtml } else { html::Syntax::Html })
}

/// Whether bytes in small letters begin as a message or a saved page (MHTML) does.
fn is_message(head: &[u8]) -> bool {
    const FIELDS: [&[u8]; 5] =
        [b"mime-version:", b"content-type:", b"from:", b"subject:", b"content-location:"];
    FIELDS.iter().any(|field| head.trim_ascii_start().starts_with(field))
}
