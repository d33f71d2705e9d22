//! A start tag: its name, and what its attributes mean for the text.

use super::elements::{
    NOTE_MARKS, NOTES, RAISED_NOTE_MARKS, SURROUNDING_CLASSES, SURROUNDING_ROLES, SURROUNDING_TYPES,
};
use super::list::Style;
use super::{MAX_ATTRIBUTE, Syntax};
use crate::documents::formats::flow::Script;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own")]
pub(super) struct Tag {
    pub name: String,
    /// Its name is written with a namespace.
    pub is_prefixed: bool,
    /// It is from a book, in which classes say how things look.
    is_book: bool,
    pub self_closing: bool,
    /// It is not shown, at least at first.
    pub hidden: bool,
    /// It is around the text: a menu, a banner.
    pub surrounding: bool,
    pub main: bool,
    /// It is a note or a box that belongs to the text.
    pub note: bool,
    /// It is the mark of a note.
    pub note_mark: bool,
    /// A style sheet raises or lowers it.
    pub script: Option<Script>,
    /// It leads somewhere.
    pub link: bool,
    /// It is on a line of its own, or begins at a place of its own.
    pub display_block: bool,
    pub placed: bool,
    pub start: Option<i64>,
    pub value: Option<i64>,
    pub list_style: Option<Style>,
    pub reversed: bool,
    pub columns: Option<usize>,
    pub rows: Option<usize>,
    /// A box that is checked, or an option that is selected.
    pub checked: bool,
    pub open: bool,
    pub kind: String,
    /// What stands for it: `alt` of a picture, `value` of a field.
    pub alt: String,
    pub field: String,
    /// A page within the page.
    pub srcdoc: Option<String>,
    /// The brackets and separators of a formula.
    pub fence: [Option<String>; 3],
}

impl Tag {
    pub fn open(&mut self, name: &[u8], syntax: Syntax) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        // `<html:p>`: a namespace that the file has a name for.
        let local = name.rsplit_once(':').filter(|_| syntax != Syntax::Html);
        let is_prefixed = local.is_some();
        let name = local.map_or_else(|| name.clone(), |(_, local)| local.to_owned());
        *self = Self { name, is_prefixed, is_book: syntax == Syntax::Chapter, ..Self::default() };
    }

    /// An attribute. `value` is not bounded; nearly all that matters in it is at its start.
    pub fn attribute(&mut self, name: &[u8], value: &[u8]) {
        if matches!(name, b"src" | b"rel" | b"target" | b"title" | b"width" | b"height" | b"xmlns")
        {
            return;
        }
        let whole = value;
        let value = String::from_utf8_lossy(&value[..value.len().min(MAX_ATTRIBUTE)]);
        let lower = value.to_ascii_lowercase();
        let mut words = lower.split_ascii_whitespace();
        match name {
            // The browser shows it to whoever searches the page.
            b"hidden" => self.hidden = lower != "until-found",
            b"aria-hidden" => self.hidden |= lower == "true",
            b"style" => self.style(&lower),
            b"role" | b"epub:type" | b"class" => self.kinds(name, &lower),
            // What pandoc calls the title, author and date of a page.
            b"id" if value == "title-block-header" => self.note = true,
            b"type" => {
                self.list_style = Style::of_type(&value);
                self.kind = lower;
            }
            b"start" => self.start = integer(&lower),
            b"value" => {
                self.value = integer(&lower);
                self.field = String::from_utf8_lossy(whole).into_owned();
            }
            b"reversed" => self.reversed = true,
            b"colspan" | b"columnspan" => self.columns = count(&lower),
            b"rowspan" => self.rows = count(&lower),
            b"href" => self.link = true,
            b"alt" | b"alttext" => {
                self.alt = String::from_utf8_lossy(whole).into_owned();
            }
            b"checked" | b"selected" => self.checked = true,
            b"open" if self.name != "mfenced" => self.open = true,
            b"shadowrootmode" => self.open = true,
            b"display" => self.display_block = words.any(|word| word == "block"),
            b"y" | b"dy" => self.placed = true,
            b"srcdoc" => self.srcdoc = Some(String::from_utf8_lossy(whole).into_owned()),
            b"open" => self.fence[0] = Some(value.into_owned()),
            b"close" => self.fence[1] = Some(value.into_owned()),
            b"separators" => self.fence[2] = Some(value.into_owned()),
            _ => {}
        }
    }

    fn style(&mut self, style: &str) {
        let style: String = style.split_ascii_whitespace().collect();
        self.hidden |= style.contains("display:none") || style.contains("visibility:hidden");
        self.script = match () {
            () if style.contains("vertical-align:super") => Some(Script::Super),
            () if style.contains("vertical-align:sub") => Some(Script::Sub),
            () => self.script,
        };
        self.list_style = Style::of_css(&style).or(self.list_style);
    }

    /// What a class, a role or a type calls the element.
    fn kinds(&mut self, attribute: &[u8], value: &str) {
        for word in value.split_ascii_whitespace() {
            self.main |= attribute == b"role" && word == "main";
            self.note |= NOTES.contains(&word);
            self.note_mark |= NOTE_MARKS.contains(&word)
                || (self.name == "sup" && RAISED_NOTE_MARKS.contains(&word));
            self.surrounding |= match attribute {
                b"epub:type" => SURROUNDING_TYPES.contains(&word),
                _ if self.is_book => word == "doc-toc" || word == "doc-pagebreak",
                b"role" => SURROUNDING_ROLES.contains(&word),
                _ => SURROUNDING_CLASSES.contains(&word),
            };
        }
    }
}

fn count(value: &str) -> Option<usize> {
    integer(value).and_then(|number| usize::try_from(number).ok())
}

/// A whole number, as HTML reads it: `3.` is 3.
fn integer(value: &str) -> Option<i64> {
    let value = value.trim();
    let sign = usize::from(value.starts_with(['-', '+']));
    let digits = value[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len() - sign);
    value[..sign + digits].parse().ok()
}
