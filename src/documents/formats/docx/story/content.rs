//! What the elements of a story do to the text.

use quick_xml::events::BytesStart;

use super::super::MAX_NAMED;
use super::super::frame::Passage;
use super::super::sections::Section;
use super::super::symbols;
use super::{Kind, RUNNING, Story};
use crate::documents::formats::package::attribute;

/// Headers and footers whose text is looked for in the document itself.
const MAX_COMPARED: usize = 32;

impl Story<'_> {
    /// Text as people see it, unless something around it says that they do not.
    pub(super) fn text(&mut self, text: &str) {
        if self.muted > 0 || self.fields.hide(text) {
            return;
        }
        if self.math.is_open() {
            self.math.text(text);
        } else if let Some(ruby) = self.ruby.as_mut().filter(|_| self.in_ruby) {
            ruby.push_str(text);
        } else if self.kind == Kind::Margin && self.fields.is_running() {
            self.write(&RUNNING.to_string());
        } else {
            self.write(text);
        }
    }

    fn write(&mut self, text: &str) {
        if !text.trim().is_empty() {
            if self.is_body() {
                let page = self.pages.at_text();
                self.frame.flow.at(page);
            }
            let is_outline = self.is_body();
            if !self.frame.begin_text(&self.parts.styles, &mut self.parts.numbering, is_outline) {
                return;
            }
        }
        self.frame.write(text);
    }

    pub(super) fn space(&mut self) {
        if self.muted == 0 {
            self.text(" ");
        }
    }

    pub(super) fn line_break(&mut self) {
        let is_inside = self.muted > 0 || self.math.is_open() || self.in_ruby;
        if is_inside || self.fields.hide(" ") {
            return;
        }
        self.frame.flow.line_break();
    }

    pub(super) fn begin_paragraph(&mut self) {
        if self.frame.is_in_paragraph() {
            self.end_paragraph();
        }
        self.frame.begin_paragraph();
    }

    pub(super) fn end_paragraph(&mut self) {
        if let Some(hidden) = self.fields.end_paragraph() {
            self.text(&hidden);
        }
        if self.muted == 0 {
            self.frame.count_item(&self.parts.styles, &mut self.parts.numbering);
        }
        self.frame.end_paragraph();
    }

    /// What follows is in no paragraph.
    pub(super) fn close_paragraph(&mut self) {
        if self.frame.is_in_paragraph() {
            self.end_paragraph();
        }
        self.frame.finish_joined();
    }

    pub(super) fn begin_box(&mut self) {
        self.around.push(std::mem::take(&mut self.frame));
    }

    /// A text box stands behind the paragraph that it is anchored in.
    pub(super) fn end_box(&mut self) {
        self.close_paragraph();
        if let Some(around) = self.around.pop() {
            let frame = std::mem::replace(&mut self.frame, around);
            self.frame.put_after(frame.passages());
        }
    }

    pub(super) fn begin_note(&mut self, tag: &BytesStart) {
        self.note = attribute(tag, "id").unwrap_or_default();
        self.around.push(std::mem::take(&mut self.frame));
    }

    pub(super) fn end_note(&mut self) {
        self.close_paragraph();
        let Some(around) = self.around.pop() else { return };
        let frame = std::mem::replace(&mut self.frame, around);
        let texts: Vec<String> = frame.passages().into_iter().map(|passage| passage.text).collect();
        if !texts.is_empty() && self.notes.len() < MAX_NAMED {
            self.notes.insert(std::mem::take(&mut self.note), texts.join(" "));
        }
    }

    /// A reference to a note, which stands behind its paragraph.
    pub(super) fn note(&mut self, name: &str, tag: &BytesStart) {
        if self.muted > 0 {
            return;
        }
        let id = attribute(tag, "id").unwrap_or_default();
        let note = self.parts.notes.remove(&format!("{name} {id}"));
        self.frame.put_after(note.map(Passage::prose));
    }

    /// `w:sym`
    pub(super) fn sign(&mut self, tag: &BytesStart) {
        let font = attribute(tag, "font").unwrap_or_default();
        let code = attribute(tag, "char").and_then(|code| u32::from_str_radix(&code, 16).ok());
        if let Some(sign) = code.and_then(|code| symbols::sign(&font, code)) {
            self.text(sign.encode_utf8(&mut [0; 4]));
        }
    }

    /// `w:fldChar`
    pub(super) fn field(&mut self, kind: &str) {
        match kind {
            "begin" => self.fields.begin(),
            "separate" => self.fields.separate(),
            "end" => {
                let is_running = self.kind == Kind::Margin && self.fields.ends_running();
                let shown = self.fields.end();
                if is_running {
                    self.text(RUNNING.encode_utf8(&mut [0; 4]));
                } else if let Some(shown) = shown {
                    self.text(&shown);
                }
            }
            _ => {}
        }
    }

    /// A picture: its description, or the letters that it consists of.
    pub(super) fn picture(&mut self, name: &str, tag: &BytesStart) {
        let attribute_name = match name {
            "docPr" => "descr",
            "textpath" => "string",
            _ => "alt",
        };
        if self.muted > 0 {
            return;
        }
        let Some(text) = attribute(tag, attribute_name) else { return };
        if name == "textpath" {
            self.frame.put_after([Passage::prose(text)]);
        } else if self.kind != Kind::Margin {
            self.frame.put_after(description(&text).map(Passage::prose));
        }
    }

    /// Puts down the headers and footers of a section, each text once, and none that the document
    /// says itself.
    pub(super) fn put_margins(&mut self, section: Option<Section>, document: &str) {
        for id in section.into_iter().flat_map(|section| section.margins) {
            for passage in self.parts.passages.remove(&id).unwrap_or_default() {
                let text = passage.text.trim();
                if !self.margins.insert(text.to_owned()) {
                    continue;
                }
                let is_repeated = self.parts.title.as_deref() == Some(text)
                    || (self.margins.len() <= MAX_COMPARED && document.contains(text));
                if !is_repeated {
                    self.frame.put_down([passage]);
                }
            }
        }
    }
}

/// The description of a picture, unless it is only a file's name or a program's guess.
fn description(text: &str) -> Option<String> {
    const GUESSES: [&str; 3] = ["automatically generated", "tạo tự động", "AI-generated"];
    const ENDINGS: [&str; 9] =
        [".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".bmp", ".tif", ".svg"];
    let lines = text.lines().map(str::trim);
    let own: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !GUESSES.iter().any(|guess| line.contains(guess)))
        .collect();
    let text = own.join(" ");
    let small = text.to_ascii_lowercase();
    let is_name = ENDINGS.iter().any(|ending| small.ends_with(ending)) || small.contains("://");
    (!text.is_empty() && !is_name).then(|| format!("[{text}]"))
}
