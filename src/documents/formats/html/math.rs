//! `MathML`: which parts of a formula its elements are.

use super::tag::Tag;
use crate::documents::formats::flow::{Formula, Part};

/// A formula that is being read.
#[derive(Debug)]
pub(super) struct OpenFormula {
    pub formula: Formula,
    /// What stands for a formula without content.
    pub alt: String,
    /// It stands on a line of its own.
    pub is_block: bool,
}

impl OpenFormula {
    pub fn new(tag: &Tag) -> Self {
        Self { formula: Formula::new(), alt: tag.alt.clone(), is_block: tag.display_block }
    }
}

/// The part that an element is.
pub(super) fn part(tag: &Tag) -> Part {
    match tag.name.as_str() {
        "mfrac" => Part::Fraction,
        "msup" => Part::Power,
        "msub" | "munder" => Part::Index,
        "mover" => Part::Over,
        "msubsup" | "munderover" => Part::IndexAndPower,
        "msqrt" => Part::SquareRoot,
        "mroot" => Part::Root,
        "mtable" => Part::Table,
        "mtr" | "mlabeledtr" => Part::TableRow,
        "mfenced" => {
            let [open, close, separators] = &tag.fence;
            let or = |value: &Option<String>, default: &str| {
                value.as_deref().unwrap_or(default).trim().to_owned()
            };
            let separator: String = or(separators, ",").chars().take(1).collect();
            Part::Fenced { open: or(open, "("), close: or(close, ")"), separator }
        }
        // The same in another language, for programs; and room that is left empty.
        "annotation" | "annotation-xml" | "mphantom" => Part::Hidden,
        _ => Part::Row,
    }
}

/// Whether the element holds text of a formula, and perhaps HTML.
pub(super) fn is_token(name: &str) -> bool {
    matches!(name, "mi" | "mo" | "mn" | "ms" | "mtext" | "annotation-xml")
}
