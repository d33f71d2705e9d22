//! A paragraph of a Word file while it is read.

use encoding_rs::WINDOWS_1252;

use crate::documents::formats::rtf::Letters;

/// An instruction's first word is all that matters of it.
const MAX_INSTRUCTION_BYTES: usize = 64;
const BEGIN: char = '\u{13}';
const SEPARATOR: char = '\u{14}';
const END: char = '\u{15}';

/// The text of a paragraph, its raised and lowered parts apart.
#[derive(Default)]
pub(super) struct Line {
    parts: Vec<(String, Option<bool>)>,
    /// Letters that a font shows for these, and how they stand.
    pending: String,
    letters: Option<Letters>,
    is_raised: Option<bool>,
}

impl Line {
    pub fn of(text: String) -> Self {
        Self { parts: vec![(text, None)], ..Self::default() }
    }

    /// Adds a letter, which its font shows as another one if `letters` are given.
    pub fn push(&mut self, unit: char, letters: Option<Letters>, is_raised: Option<bool>) {
        // Spaces are the same in all fonts, and do not tear words.
        let is_other = self.letters != letters && unit != ' ';
        if is_other || self.is_raised != is_raised {
            self.put_down();
            (self.letters, self.is_raised) = (letters, is_raised);
        }
        self.pending.push(unit);
    }

    fn put_down(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        let text = shown(pending, self.letters);
        match self.parts.last_mut() {
            Some((last, is_raised)) if *is_raised == self.is_raised => last.push_str(&text),
            _ => self.parts.push((text, self.is_raised)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.pending.trim().is_empty() && self.parts.iter().all(|(text, _)| text.trim().is_empty())
    }

    pub fn prefix(&mut self, text: &str) {
        self.parts.insert(0, (text.to_owned(), None));
    }

    pub fn plain(mut self) -> String {
        self.put_down();
        self.parts.into_iter().map(|(text, _)| text).collect()
    }

    /// The parts, and whether each is raised (or lowered).
    pub fn parts(mut self) -> Vec<(String, Option<bool>)> {
        self.put_down();
        self.parts
    }
}

/// What a font shows for a text that was stored as Windows-1252.
fn shown(text: String, letters: Option<Letters>) -> String {
    let Some(letters) = letters else { return text };
    match windows_1252(&text) {
        Some(bytes) => letters.decode(&bytes).into_owned(),
        None => text,
    }
}

fn windows_1252(text: &str) -> Option<Vec<u8>> {
    let (bytes, _, has_others) = WINDOWS_1252.encode(text);
    (!has_others).then(|| bytes.into_owned())
}

/// The fields that are open: links, page numbers, tables of contents. Their instructions are not
/// text, and neither are the results of some.
#[derive(Default)]
pub(super) struct Fields {
    open: Vec<Field>,
    /// How many of them have no text now.
    without_text: usize,
}

#[derive(Default)]
struct Field {
    instruction: String,
    in_result: bool,
    is_left_out: bool,
}

impl Fields {
    /// Says whether the next character is text.
    pub fn take(&mut self, unit: char) -> bool {
        match unit {
            BEGIN => {
                self.open.push(Field::default());
                self.without_text += 1;
            }
            SEPARATOR => {
                if let Some(field) = self.open.last_mut().filter(|field| !field.in_result) {
                    field.in_result = true;
                    let word = field.instruction.split_whitespace().next().unwrap_or_default();
                    field.is_left_out = matches!(
                        word.to_ascii_uppercase().as_str(),
                        "TOC" | "INDEX" | "PAGE" | "NUMPAGES" | "SECTIONPAGES"
                    );
                    self.without_text -= usize::from(!field.is_left_out);
                }
            }
            END => {
                if let Some(field) = self.open.pop() {
                    self.without_text -= usize::from(!field.in_result || field.is_left_out);
                }
            }
            _ if self.without_text == 0 => return true,
            _ => {
                if let Some(field) = self.open.last_mut().filter(|field| !field.in_result)
                    && field.instruction.len() < MAX_INSTRUCTION_BYTES
                {
                    field.instruction.push(unit);
                }
            }
        }
        false
    }
}
