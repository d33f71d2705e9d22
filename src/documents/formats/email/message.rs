//! One message as a document.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::path::Path;

use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::joined::Joined;
use super::text;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::encoding::decode;
use crate::documents::error::ReadError;
use crate::documents::formats::{FORMATS, FileFormat, html};
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::ocr::NoOcr;
use crate::documents::section::BlockKind;
use crate::documents::title::tidy_title;
use crate::support::scratch;

/// Messages in messages that are read.
const MAX_DEPTH: usize = 8;
/// Parts of a message, and messages in it, beyond which it is hostile.
const MAX_PARTS: usize = 10_000;
const MAX_NESTED: usize = 500;
/// Documents of an attached list of documents.
const MAX_RECORDS: usize = 10_000;
/// A text of so many times fewer letters than the page beside it only says that there is a page.
const MUCH_LESS: usize = 4;

pub(super) fn extract(bytes: &[u8], path: &Path) -> Result<Extract, ReadError> {
    let damaged = |why: &str| ReadError::Damaged { path: path.to_owned(), why: why.to_owned() };
    // The parser keeps messages in messages as a tree.
    if nested(bytes) > MAX_NESTED {
        return Err(damaged("it has too many messages in messages"));
    }
    let Some(message) = parse(bytes) else {
        return Err(damaged("it is no e-mail message"));
    };
    let mut reading = Reading { path, joined: Joined::default(), omitted: Vec::new() };
    reading.message(&message, &[], 0);
    if reading.joined.bytes() > MAX_UNPACKED_BYTES {
        return Err(ReadError::Unpacked { path: path.to_owned(), limit: MAX_UNPACKED_BYTES });
    }
    let title = message.subject().and_then(|subject| tidy_title(&clean(subject)));
    Ok(Extract { title, omitted: reading.omitted, ..reading.joined.finish() })
}

/// The parser counts bytes back from boundaries, and may count too far in what is no message.
fn parse(bytes: &[u8]) -> Option<Message<'_>> {
    catch_unwind(|| MessageParser::default().parse(bytes)).ok().flatten()
}

/// How many messages in messages there may be at most.
fn nested(bytes: &[u8]) -> usize {
    let count = |kind: &[u8]| {
        bytes.windows(kind.len()).filter(|part| part.eq_ignore_ascii_case(kind)).count()
    };
    count(b"message/rfc822") + count(b"multipart/digest")
}

struct Reading<'p> {
    path: &'p Path,
    joined: Joined,
    omitted: Vec<ReadError>,
}

impl Reading<'_> {
    fn message(&mut self, message: &Message, headings: &[String], depth: usize) {
        self.joined.add_text(&head(message), BlockKind::Lines, headings);
        let raw = message.raw_message.as_ref();
        let mut read = self.body(message, raw, headings);
        for &id in message.attachments.iter().take(MAX_PARTS) {
            if let Some(part) = message.part(id).filter(|_| !read.contains(&id)) {
                self.attachment(part, raw, headings, depth);
                read.push(id);
            }
        }
    }

    /// The text of a message; the parts that it is in.
    fn body(&mut self, message: &Message, raw: &[u8], headings: &[String]) -> Vec<u32> {
        let texts: Vec<u32> = message.text_body.iter().take(MAX_PARTS).copied().collect();
        let pages: Vec<u32> = message.html_body.iter().take(MAX_PARTS).copied().collect();
        let part = |id: &u32| message.part(*id);
        let is_page = |part: &&MessagePart| matches!(part.body, PartType::Html(_));
        let page = |part: &MessagePart| html::extract(&text::of(part, raw), html::Syntax::Html);
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
        let plain: usize = texts
            .iter()
            .filter_map(part)
            .filter(|part| !is_page(part))
            .map(|part| letters(&text::of(part, raw)))
            .sum();
        let of_pages: Vec<Extract> =
            pages.iter().filter_map(part).filter(is_page).map(page).collect();
        let on_pages: usize = of_pages.iter().map(|page| letters(&page.text)).sum();
        let chosen = if plain * MUCH_LESS < on_pages { &pages } else { &texts };
        for part in chosen.iter().filter_map(part) {
            match &part.body {
                PartType::Html(_) => {
                    let page = page(part);
                    // The title of a page in a message is that of a template.
                    self.joined.add(Extract { title: None, ..page }, headings);
                }
                PartType::Text(_) => {
                    self.joined.add_text(&text::of(part, raw), BlockKind::Prose, headings);
                }
                _ => {}
            }
        }
        let is_text = |id: &u32| {
            let body = message.part(*id).map(|part| &part.body);
            matches!(body, Some(PartType::Text(_) | PartType::Html(_)))
        };
        texts.into_iter().chain(pages).filter(is_text).collect()
    }

    /// An attachment under its name.
    fn attachment(&mut self, part: &MessagePart, raw: &[u8], headings: &[String], depth: usize) {
        if self.joined.bytes() > MAX_UNPACKED_BYTES {
            return;
        }
        let name = part.attachment_name().and_then(|name| tidy_title(&clean(name)));
        let mut under = headings.to_vec();
        if let PartType::Message(message) = &part.body {
            let subject = message.subject().and_then(|subject| tidy_title(&clean(subject)));
            under.extend(subject.or(name));
            if depth < MAX_DEPTH {
                self.message(message, &under, depth + 1);
            } else {
                self.leave_out(under.last().map_or("a message", String::as_str), "too deep");
            }
            return;
        }
        let format = format(part, name.as_deref());
        let Some(name) = name.or_else(|| format.map(|format| format.name.to_owned())) else {
            return;
        };
        // Its name can be found, whatever becomes of it.
        self.joined.add_text(&name, BlockKind::Lines, headings);
        under.push(name.clone());
        if is_picture_or_key(part) {
            return;
        }
        let Some(format) = format else {
            self.leave_out(&name, "its format is not supported");
            return;
        };
        let text;
        let bytes = match &part.body {
            PartType::Text(_) | PartType::Html(_) => {
                text = text::of(part, raw);
                text.as_bytes()
            }
            _ => part.contents(),
        };
        self.file(format, bytes, &name, &under, depth);
    }

    /// An attached file, by the reader of its format.
    fn file(
        &mut self,
        format: &FileFormat,
        bytes: &[u8],
        name: &str,
        headings: &[String],
        depth: usize,
    ) {
        if format.extensions.contains(&"eml") {
            let message = parse(bytes);
            match message.filter(|_| depth < MAX_DEPTH && nested(bytes) <= MAX_NESTED) {
                Some(message) => self.message(&message, headings, depth + 1),
                None => self.leave_out(name, "it is no message, or too deep"),
            }
            return;
        }
        let path = self.path.join(name);
        let contents = scratch::file_of(bytes)
            .map_err(ReadError::io(&path))
            .and_then(|file| (format.read)(file, &path))
            .and_then(|contents| contents.without_pictures(NoOcr::Attached));
        match contents {
            Ok(Contents::One(mut extract)) => {
                self.omitted.append(&mut extract.omitted);
                self.joined.add(extract, headings);
            }
            Ok(Contents::Many(_)) if format.extensions.contains(&"mbox") => {
                self.leave_out(name, "it is a mailbox in a message");
            }
            Ok(Contents::Many(records)) => {
                for record in records.take(MAX_RECORDS) {
                    match record {
                        Ok(record) => self.joined.add(record.extract, headings),
                        Err(error) => self.omitted.push(error),
                    }
                }
            }
            // Finished above.
            Ok(Contents::Pictures(_)) => {}
            Err(error) => self.omitted.push(error),
        }
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.omitted.push(ReadError::Part {
            path: self.path.to_owned(),
            part: format!("the attachment `{name}`"),
            why: why.to_owned(),
        });
    }
}

/// The fields of a message that people read.
fn head(message: &Message) -> String {
    let mut head = String::new();
    let mut field = |name: &str, value: &str| {
        let value: Vec<&str> = value.split_whitespace().collect();
        if !value.is_empty() {
            let _ = writeln!(head, "{name}: {}", value.join(" "));
        }
    };
    field("From", &addresses(message.from()));
    field("To", &addresses(message.to()));
    field("Cc", &addresses(message.cc()));
    if let Some(date) = message.date() {
        let time = format!("{:02}:{:02}", date.hour, date.minute);
        field("Date", &format!("{:04}-{:02}-{:02} {time}", date.year, date.month, date.day));
    }
    field("Subject", &subject(message));
    head
}

/// The subject, also where it has letters without saying in which encoding.
fn subject(message: &Message) -> String {
    let subject = message.subject().unwrap_or_default();
    if !subject.contains('\u{fffd}') {
        return subject.to_owned();
    }
    let header = message.headers().iter().find(|header| header.name() == "Subject");
    let raw = header.and_then(|header| {
        message.raw_message.get(header.offset_start() as usize..header.offset_end() as usize)
    });
    raw.and_then(|raw| decode(raw, None).ok())
        .map_or_else(|| subject.to_owned(), std::borrow::Cow::into_owned)
}

fn addresses(address: Option<&Address>) -> String {
    let written = address.into_iter().flat_map(Address::iter).take(100).map(|address| {
        match (address.name(), address.address()) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (name, address) => name.or(address).unwrap_or_default().to_owned(),
        }
    });
    let written: Vec<String> = written.collect();
    written.join(", ")
}

/// The format of an attachment, by its name or else by what the message says.
fn format(part: &MessagePart, name: Option<&str>) -> Option<&'static FileFormat> {
    let by_extension = |extension: &str| {
        let extension = extension.to_ascii_lowercase();
        FORMATS.iter().find(|format| format.extensions.contains(&extension.as_str()))
    };
    let extension = name.and_then(|name| Path::new(name).extension()).and_then(OsStr::to_str);
    if let Some(format) = extension.and_then(by_extension) {
        return Some(format);
    }
    let kind = part.content_type()?;
    match (
        kind.ctype().to_ascii_lowercase().as_str(),
        kind.subtype()?.to_ascii_lowercase().as_str(),
    ) {
        ("text", "html") => by_extension("html"),
        ("text", "csv") => by_extension("csv"),
        ("text", _) => by_extension("txt"),
        ("application", "pdf") => by_extension("pdf"),
        _ => None,
    }
}

/// Pictures and signatures are in many messages, and none of them is text.
fn is_picture_or_key(part: &MessagePart) -> bool {
    let Some(kind) = part.content_type() else { return false };
    let subtype = kind.subtype().unwrap_or_default().to_ascii_lowercase();
    kind.ctype().eq_ignore_ascii_case("image")
        || subtype.contains("signature")
        || subtype.contains("pgp")
}
