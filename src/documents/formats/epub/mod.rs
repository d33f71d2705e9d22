//! EPUB: the chapters of a book in its reading order, each a page as on the web.
//!
//! Books are put together by many programs, and reading systems forgive a lot; so does this reader.
//! What it cannot read of a book it names, and takes the rest.

mod contents;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::flow::Flow;
use super::html;
use super::package::{Package, attribute, element_text, resolve, shown_name};
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_UNPACKED_BYTES;
use crate::documents::structure::Places;
use contents::{Chapter, Guide};

const MAX_UNPACKED_MIB: usize = MAX_UNPACKED_BYTES >> 20;
/// Chapters that are named one by one if they cannot be read.
const MAX_NAMED: usize = 8;
/// Ways to make the letters of fonts useless outside of the book. Text is never written so.
const FONT_METHODS: [&str; 2] =
    ["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"];

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let mut package = Package::open(file, path)?;
    let damaged = |why: &str| ReadError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let Some(opf) = root_file(&mut package) else {
        return Err(damaged("it does not name its contents"));
    };
    let Some(contents) = package.part(&opf)? else {
        return Err(damaged("its contents are missing"));
    };
    let folder = opf.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut guide = Guide::parse(&contents);
    if guide.chapters.is_empty() {
        guide.chapters = pages_of(&package);
    }
    let mut book = Book {
        protected: protected_parts(&mut package),
        title: element_text(&contents, "title"),
        flow: Flow::default(),
        seen: HashSet::new(),
        failed: Vec::new(),
        has_text: false,
    };
    let count = guide.chapters.len();
    for (at, chapter) in guide.chapters.iter().enumerate() {
        if let Err(why) = book.add(&mut package, folder, chapter) {
            let name = format!("chapter {} of {count}, `{}`", at + 1, shown_name(chapter.name()));
            let is_full = matches!(why, Failure::TooMuch);
            book.failed.push((name, why));
            if is_full {
                break;
            }
        }
    }
    book.finish(path, guide.is_damaged)
}

/// Why a chapter gave no text.
enum Failure {
    Missing,
    Protected,
    /// More than may be unpacked. What follows is not looked at.
    TooMuch,
    Other(String),
}

/// A book that is being read.
struct Book {
    /// Parts that are encrypted, as numbers of [`Package::find`].
    protected: HashSet<usize>,
    title: Option<String>,
    flow: Flow,
    /// Parts that were read.
    seen: HashSet<usize>,
    /// Chapters that could not be read, and why.
    failed: Vec<(String, Failure)>,
    has_text: bool,
}

impl Book {
    fn add(
        &mut self,
        package: &mut Package,
        folder: &str,
        chapter: &Chapter,
    ) -> Result<(), Failure> {
        let Some(href) = &chapter.href else { return Err(Failure::Missing) };
        let names = spellings(folder, href);
        let Some((name, number)) = names.iter().find_map(|name| Some((name, package.find(name)?)))
        else {
            return Err(Failure::Missing);
        };
        // Each part once: a hostile book could name one a million times.
        if !self.seen.insert(number) {
            return Ok(());
        }
        let is_protected = self.protected.contains(&number);
        let page = match package.part(name) {
            Ok(Some(page)) if is_protected && !page.contains("</") => {
                return Err(Failure::Protected);
            }
            Ok(Some(page)) => page,
            Ok(None) => return Err(Failure::Missing),
            Err(ReadError::Encrypted { .. }) => return Err(Failure::Protected),
            Err(ReadError::Unpacked { .. }) => return Err(Failure::TooMuch),
            Err(_) if is_protected => return Err(Failure::Protected),
            Err(ReadError::Damaged { why, .. }) => return Err(Failure::Other(why)),
            Err(error) => return Err(Failure::Other(error.to_string())),
        };
        let page = if chapter.is_contents { without_navigation(&page) } else { page };
        let mut page = html::extract(&page, html::Syntax::Chapter);
        let sections = page.structure.sections.get_or_insert_default();
        // What is left of a table of contents is its heading.
        if chapter.is_contents && sections.iter().all(|section| section.blocks.is_empty()) {
            return Ok(());
        }
        for section in sections.iter_mut().filter(|section| section.headings.is_empty()) {
            // A chapter whose heading is a picture has at least a title.
            if page.title != self.title {
                section.headings.extend(page.title.clone());
            }
        }
        self.has_text |= !page.text.trim().is_empty();
        self.flow.put_extract(&page);
        Ok(())
    }

    fn finish(self, path: &Path, is_damaged: bool) -> Result<Contents, ReadError> {
        let path = path.to_owned();
        let left_out = |part: String, why: &str| ReadError::Part {
            path: path.clone(),
            part,
            why: why.to_owned(),
        };
        let is_protected = self.failed.iter().any(|(_, why)| matches!(why, Failure::Protected));
        let more = self.failed.len().saturating_sub(MAX_NAMED);
        let mut omitted = Vec::new();
        for (part, why) in self.failed.into_iter().take(MAX_NAMED) {
            omitted.push(match why {
                Failure::Missing => left_out(part, "it is missing"),
                Failure::Protected => left_out(part, "it is encrypted"),
                Failure::Other(why) => left_out(part, &why),
                Failure::TooMuch => {
                    let why =
                        format!("with it the book has more than {MAX_UNPACKED_MIB} MiB of text");
                    left_out(format!("{part} and all after it"), &why)
                }
            });
        }
        if more > 0 {
            omitted.push(left_out(format!("{more} more of its chapters"), "as those before"));
        }
        if is_damaged {
            omitted.push(left_out("the end of the list of chapters".to_owned(), "damaged XML"));
        }
        if !self.has_text && is_protected {
            return Err(ReadError::Protected { path });
        }
        if let Some(ReadError::Part { part, why, .. }) = omitted.first().filter(|_| !self.has_text)
        {
            let why = format!("none of its text can be read; {part}: {why}");
            return Err(ReadError::Damaged { path, why });
        }
        let extract = self.flow.finish(|_| Places::Nowhere);
        Ok(Contents::One(Extract { title: self.title, omitted, ..extract }))
    }
}

/// The part that describes the book's contents: the first that the container names and that is
/// there, else the first of the kind.
fn root_file(package: &mut Package) -> Option<String> {
    let container = package.part("META-INF/container.xml").ok().flatten().unwrap_or_default();
    let mut named = Vec::new();
    let mut reader = Reader::from_str(&container);
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == "rootfile" => {
                // A book may hold other renditions of itself, such as a PDF.
                let is_package =
                    attribute(&tag, "media-type").is_none_or(|kind| kind.contains("package"));
                named.extend(attribute(&tag, "full-path").filter(|_| is_package));
            }
            _ => {}
        }
    }
    let found =
        named.iter().flat_map(|name| spellings("", name)).find(|name| package.find(name).is_some());
    found.or_else(|| {
        let mut names = package.names();
        names.retain(|name| name.to_ascii_lowercase().ends_with(".opf"));
        names.into_iter().min()
    })
}

/// All pages of the file, for a book that does not say what its chapters are.
fn pages_of(package: &Package) -> Vec<Chapter> {
    let mut names = package.names();
    names.retain(|name| contents::is_page_name(name));
    names.sort();
    names.into_iter().map(|name| Chapter::of_part(&name)).collect()
}

/// The parts that are encrypted, as the book says. Fonts often are; they do not matter.
fn protected_parts(package: &mut Package) -> HashSet<usize> {
    let xml = package.part("META-INF/encryption.xml").ok().flatten().unwrap_or_default();
    let mut protected = HashSet::new();
    let mut is_font = false;
    let mut reader = Reader::from_str(&xml);
    while let Ok(event) = reader.read_event() {
        let (Event::Start(tag) | Event::Empty(tag)) = event else {
            if matches!(event, Event::Eof) {
                break;
            }
            continue;
        };
        match tag.local_name().as_ref() {
            "EncryptionMethod" => {
                let method = attribute(&tag, "Algorithm").unwrap_or_default();
                is_font = FONT_METHODS.contains(&method.as_str());
            }
            "CipherReference" if !is_font => {
                let names = attribute(&tag, "URI").map(|uri| spellings("", &uri));
                let found = names.into_iter().flatten().find_map(|name| package.find(&name));
                protected.extend(found);
            }
            _ => {}
        }
    }
    protected
}

/// The names of the part that a link may mean, likeliest first: `../text/a%20b.xhtml?x#c`.
fn spellings(folder: &str, href: &str) -> Vec<String> {
    let whole = href.split('#').next().unwrap_or_default();
    let path = whole.split('?').next().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for written in [percent_decoded(whole), percent_decoded(path), path.to_owned(), href.to_owned()]
    {
        // Some programs count every link from the book's root.
        for folder in [folder, ""] {
            let name = resolve(folder, &written);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(character) if byte == b'%' => {
                bytes.push(character);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A page without its tables of contents, which repeat every heading.
fn without_navigation(page: &str) -> String {
    let mut kept = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, navigation)) = rest.split_once("<nav") {
        kept.push_str(before);
        rest = navigation.split_once("</nav>").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}
