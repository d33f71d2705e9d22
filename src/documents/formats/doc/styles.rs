//! The styles of a Word file ([MS-DOC] 2.9.271), and its fonts (2.9.286).

use super::file::{Part, WordFile};
use super::properties::{Letter, Paragraph};
use crate::documents::formats::compound::u16_at;
use crate::documents::formats::rtf::Letters;

/// Generations of styles that are based on one another; cycles end there.
const GENERATIONS: usize = 16;
/// Built-in styles have numbers that are the same in all languages.
const TITLE: u16 = 62;
const CONTENTS: std::ops::RangeInclusive<u16> = 19..=27;

#[derive(Default)]
pub(super) struct Styles(Vec<Style>);

#[derive(Default)]
struct Style {
    /// Which of the built-in styles it is.
    kind: u16,
    base: u16,
    paragraph: Paragraph,
    letter: Letter,
}

impl Styles {
    pub fn of(word: &WordFile) -> Self {
        let sheet = word.part(Part::Styles);
        let (Some(head), Some(count), Some(fixed)) =
            (u16_at(sheet, 0), u16_at(sheet, 2), u16_at(sheet, 4))
        else {
            return Self::default();
        };
        let mut rest = sheet.get(2 + usize::from(head)..).unwrap_or_default();
        let mut styles = Vec::new();
        for _ in 0..count {
            let Some(length) = u16_at(rest, 0) else { break };
            let Some(style) = rest.get(2..2 + usize::from(length)) else { break };
            styles.push(Style::of(style, usize::from(fixed)).unwrap_or_default());
            rest = &rest[2 + usize::from(length)..];
        }
        Self(styles)
    }

    /// The style, the one it is based on, and so on.
    fn ancestry(&self, style: u16) -> impl Iterator<Item = &Style> {
        std::iter::successors(self.0.get(usize::from(style)), move |style| {
            self.0.get(usize::from(style.base))
        })
        .take(GENERATIONS)
    }

    /// 1 for the outermost heading; `None` for body text.
    pub fn heading(&self, paragraph: &Paragraph) -> Option<usize> {
        let own = paragraph.heading;
        let styled = || {
            self.ancestry(paragraph.style).find_map(|style| match style.kind {
                1..=9 => Some(usize::from(style.kind)),
                TITLE => Some(1),
                _ => style.paragraph.heading,
            })
        };
        own.or_else(styled).filter(|&level| level > 0)
    }

    /// Whether the paragraph is a line of a table of contents.
    pub fn is_contents(&self, paragraph: &Paragraph) -> bool {
        self.0.get(usize::from(paragraph.style)).is_some_and(|style| CONTENTS.contains(&style.kind))
    }

    /// The list that a paragraph belongs to, and its level in it.
    pub fn list(&self, paragraph: &Paragraph) -> Option<(u16, usize)> {
        let ancestry = || self.ancestry(paragraph.style).map(|style| &style.paragraph);
        let list = paragraph.list.or_else(|| ancestry().find_map(|style| style.list));
        let level = paragraph.level.or_else(|| ancestry().find_map(|style| style.level));
        list.filter(|&list| list > 0).map(|list| (list, level.unwrap_or(0)))
    }

    /// The font of letters that have none of their own.
    pub fn font(&self, paragraph: &Paragraph) -> Option<u16> {
        self.ancestry(paragraph.style).find_map(|style| style.letter.font)
    }
}

impl Style {
    /// After the fixed part comes the name, then the properties of paragraphs and of letters, each
    /// after its length and at an even place.
    fn of(bytes: &[u8], fixed: usize) -> Option<Self> {
        let kind = u16_at(bytes, 0)? & 0x0fff;
        let base = u16_at(bytes, 2)?;
        let mut style = Self { kind, base: base >> 4, ..Self::default() };
        let mut at = fixed + 2 + 2 * usize::from(u16_at(bytes, fixed)?) + 2;
        let mut next = || {
            at += at % 2;
            let length = usize::from(u16_at(bytes, at)?);
            let properties = bytes.get(at + 2..at + 2 + length)?;
            at += 2 + length;
            Some(properties)
        };
        if base & 0x0f == 1
            && let Some(properties) = next()
        {
            style.paragraph.apply(properties.get(2..).unwrap_or_default());
        }
        if let Some(properties) = next() {
            style.letter.apply(properties);
        }
        Some(style)
    }
}

/// The letters that each font shows for other letters; `None` for usual fonts.
pub(super) fn fonts(word: &WordFile) -> Vec<Option<Letters>> {
    let table = word.part(Part::Fonts);
    let Some(count) = u16_at(table, 0) else { return Vec::new() };
    let mut rest = table.get(4..).unwrap_or_default();
    let mut fonts = Vec::new();
    for _ in 0..count {
        let Some((&length, after)) = rest.split_first() else { break };
        let Some(font) = after.get(..usize::from(length)) else { break };
        rest = &after[usize::from(length)..];
        let name = font.get(39..).unwrap_or_default().chunks_exact(2);
        let name: Vec<u16> = name
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .take_while(|&unit| unit != 0)
            .collect();
        fonts.push(Letters::of_font(&String::from_utf16_lossy(&name)));
    }
    fonts
}
