//! What holds within a group of an RTF file.

use super::fonts::Letters;

/// Where the text of a group goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Body,
    /// A note or a comment, or a box.
    Aside {
        is_box: bool,
    },
    /// A header or a footer.
    Around {
        is_header: bool,
    },
    /// What is printed before a list item.
    Marker,
    /// In the document's properties.
    Title,
    Fonts,
    Styles,
    /// What a field is.
    Instruction,
    /// Only groups within it have text: a shape.
    Frame,
    /// Nowhere, whatever is in it.
    Skipped,
}

/// What a group says about its text, and inherits from the group around it.
#[expect(clippy::struct_excessive_bools, reason = "control words turn each on and off")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub destination: Destination,
    /// The destination begins with this group.
    pub owns: bool,
    /// Nothing was read of it yet, so that it may be a destination.
    pub is_new: bool,
    /// A reader that does not know the destination skips it.
    pub is_optional: bool,
    pub letters: Letters,
    /// How many letters replace a `\u`.
    pub replacement: usize,
    pub is_deleted: bool,
    /// Above the line, or below it.
    pub is_raised: Option<bool>,
    /// The field's result is left out.
    pub without_result: bool,
}

impl Group {
    pub fn new(letters: Letters) -> Self {
        Self {
            destination: Destination::Body,
            owns: false,
            is_new: true,
            is_optional: false,
            letters,
            replacement: 1,
            is_deleted: false,
            is_raised: None,
            without_result: false,
        }
    }

    pub fn inner(self) -> Self {
        Self { owns: false, is_new: true, is_optional: false, ..self }
    }

    pub fn is_read(&self) -> bool {
        !matches!(self.destination, Destination::Skipped | Destination::Frame)
    }

    /// Where the text of a group goes that begins with this word; `None` if it goes where that of
    /// the group around it goes.
    pub fn destination_of(&self, word: &str) -> Option<Destination> {
        if self.destination == Destination::Skipped {
            return None;
        }
        let destination = match word {
            "fonttbl" => Destination::Fonts,
            "stylesheet" => Destination::Styles,
            "listtext" | "pntext" => Destination::Marker,
            "footnote" | "annotation" => Destination::Aside { is_box: false },
            // Of an object, the result is what it looks like.
            "shptxt" | "dptxbxtext" | "result" => Destination::Aside { is_box: true },
            "header" | "headerl" | "headerr" | "headerf" => Destination::Around { is_header: true },
            "footer" | "footerl" | "footerr" | "footerf" => {
                Destination::Around { is_header: false }
            }
            "fldinst" => Destination::Instruction,
            "info" | "shp" | "shpinst" | "do" | "shpgrp" | "object" => Destination::Frame,
            "title" if self.destination == Destination::Frame => Destination::Title,
            "fldrslt" if self.without_result => Destination::Skipped,
            "moMath" | "moMathPara" | "mmath" | "mmathPara" => return None,
            "colortbl" | "pict" | "nonshppict" | "objdata" | "objclass" | "objname" | "shprslt"
            | "sp" | "xe" | "rxe" | "tc" | "tcn" | "txe" | "author" | "operator" | "subject"
            | "keywords" | "comment" | "doccomm" | "manager" | "company" | "category"
            | "creatim" | "revtim" | "printim" | "buptim" | "hlinkbase" | "nonesttables"
            | "mmathPict" | "ud" | "ftnsep" | "ftnsepc" | "ftncn" | "aftnsep" | "aftnsepc"
            | "aftncn" | "listtable" | "listoverridetable" | "rsidtbl" | "revtbl" | "filetbl"
            | "private" => Destination::Skipped,
            word if word.starts_with('m') && word.ends_with("Pr") => Destination::Skipped,
            _ if self.is_optional => Destination::Skipped,
            _ => return None,
        };
        Some(destination)
    }
}

/// What a paragraph says about itself.
#[derive(Debug, Default)]
pub(super) struct Paragraph {
    pub heading: Option<usize>,
    /// Of its list, from 0.
    pub level: usize,
    pub in_table: bool,
}

/// The character that a word stands for.
pub(super) fn character(word: &str) -> Option<&'static str> {
    Some(match word {
        "tab" | "emspace" | "enspace" | "qmspace" => " ",
        "emdash" => "—",
        "endash" => "–",
        "lquote" => "‘",
        "rquote" => "’",
        "ldblquote" => "“",
        "rdblquote" => "”",
        "bullet" => "•",
        // Of a formula.
        "mden" => "/",
        "msup" => "^",
        "msub" => "_",
        _ => return None,
    })
}
