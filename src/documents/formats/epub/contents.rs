//! The package document of a book: which parts are its chapters, and in which order.

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};

use crate::documents::formats::package::{attribute, lenient};

/// Large books have a few hundred.
const MAX_CHAPTERS: usize = 10_000;
/// Substitutes that are looked at for a chapter in a format that is not read.
const MAX_FALLBACKS: usize = 8;

/// The chapters of a book, as it lists them.
pub(super) struct Guide {
    pub chapters: Vec<Chapter>,
    /// Damaged XML ended the list.
    pub is_damaged: bool,
}

/// A page of a book.
pub(super) struct Chapter {
    /// The link to it; `None` if the reading order names something that is not in the book.
    pub href: Option<String>,
    id: String,
    /// It is the book's table of contents.
    pub is_contents: bool,
}

impl Chapter {
    /// A page that the book does not list.
    pub fn of_part(name: &str) -> Self {
        // From the root, and nothing in it is escaped.
        let href = format!("/{}", name.replace('%', "%25"));
        Self { href: Some(href), id: String::new(), is_contents: false }
    }

    /// What to call it in messages.
    pub fn name(&self) -> &str {
        self.href.as_ref().unwrap_or(&self.id)
    }
}

/// A row of the manifest.
struct Item {
    href: String,
    media_type: String,
    fallback: Option<String>,
    is_contents: bool,
    /// Its place in the manifest.
    at: usize,
}

impl Item {
    fn new(tag: &BytesStart, at: usize) -> Option<Self> {
        let properties = attribute(tag, "properties").unwrap_or_default();
        Some(Self {
            href: attribute(tag, "href")?,
            media_type: attribute(tag, "media-type").unwrap_or_default().to_ascii_lowercase(),
            fallback: attribute(tag, "fallback"),
            is_contents: properties.split_ascii_whitespace().any(|property| property == "nav"),
            at,
        })
    }

    /// Whether it is a page. Old books have types of their own, and some have wrong ones.
    fn is_page(&self) -> bool {
        const PAGES: [&str; 3] = ["html", "oeb1-document", "dtbook"];
        const OTHERS: [&str; 9] =
            ["image/", "audio/", "video/", "font", "css", "script", "ncx", "smil", "svg"];
        let is = |kinds: &[&str]| kinds.iter().any(|kind| self.media_type.contains(kind));
        is_page_name(&self.href) || is(&PAGES) || (!is(&OTHERS) && !has_extension(&self.href))
    }
}

/// Whether a part is a page, by its name.
pub(super) fn is_page_name(name: &str) -> bool {
    let name = name.split(['#', '?']).next().unwrap_or_default().to_ascii_lowercase();
    [".xhtml", ".html", ".htm", ".xht"].iter().any(|end| name.ends_with(end))
}

fn has_extension(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.contains('.'))
}

impl Guide {
    /// Reads the list of chapters: first those in reading order, then pages that are only linked.
    pub fn parse(contents: &str) -> Self {
        let mut items: HashMap<String, Item> = HashMap::new();
        let mut order: Vec<String> = Vec::new();
        let mut is_damaged = false;
        let mut reader = lenient(contents);
        loop {
            let tag = match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(Event::Start(tag) | Event::Empty(tag)) => tag,
                Ok(_) => continue,
                Err(_) => {
                    is_damaged = true;
                    break;
                }
            };
            match tag.local_name().as_ref() {
                "item" => {
                    let item = Item::new(&tag, items.len());
                    items.extend(attribute(&tag, "id").zip(item));
                }
                "itemref" => order.extend(attribute(&tag, "idref")),
                _ => {}
            }
            if items.len() + order.len() > 8 * MAX_CHAPTERS {
                break;
            }
        }
        Self { chapters: chapters(&items, order), is_damaged }
    }
}

/// The chapters in reading order, each once, and after them the pages that are in none.
fn chapters(items: &HashMap<String, Item>, order: Vec<String>) -> Vec<Chapter> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut chapters = Vec::new();
    for id in order {
        let Some(item) = items.get(&id) else {
            chapters.push(Chapter { href: None, id, is_contents: false });
            continue;
        };
        if let Some(page) = page(items, item).filter(|page| seen.insert(&page.href)) {
            chapters.push(Chapter {
                href: Some(page.href.clone()),
                id,
                is_contents: page.is_contents,
            });
        }
    }
    let mut others: Vec<(&String, &Item)> = items
        .iter()
        .filter(|(_, item)| item.is_page() && !item.is_contents && !seen.contains(&*item.href))
        .collect();
    others.sort_by_key(|(_, item)| item.at);
    chapters.extend(others.into_iter().map(|(id, item)| Chapter {
        href: Some(item.href.clone()),
        id: id.clone(),
        is_contents: false,
    }));
    chapters.truncate(MAX_CHAPTERS);
    chapters
}

/// The item itself or what the book names as its substitute, whichever is a page.
fn page<'i>(items: &'i HashMap<String, Item>, item: &'i Item) -> Option<&'i Item> {
    let next = |item: &&'i Item| items.get(item.fallback.as_ref()?);
    std::iter::successors(Some(item), next).take(MAX_FALLBACKS).find(|item| item.is_page())
}
