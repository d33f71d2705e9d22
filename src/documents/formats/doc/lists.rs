//! The lists of a Word file: what is printed before each item ([MS-DOC] 2.9.131, 2.9.147).

use std::collections::HashMap;

use super::file::{Part, WordFile};
use crate::documents::formats::compound::{u16_at, u32_at};
use crate::documents::formats::numerals::numeral;

const LEVELS: usize = 9;
const LIST_BYTES: usize = 28;
const USE_BYTES: usize = 16;
/// Before the texts and properties of a level.
const LEVEL_BYTES: usize = 28;
const BULLET: u8 = 23;
const NO_NUMBER: u8 = 255;
const MAX_MARKER_CHARS: usize = 64;

#[derive(Default)]
pub(super) struct Lists {
    levels: HashMap<u32, Vec<Level>>,
    uses: Vec<Use>,
    /// The number of the last item on each level of each list.
    counters: HashMap<u32, [Option<u32>; LEVELS]>,
}

/// How the items on a level are numbered.
struct Level {
    start: u32,
    format: u8,
    /// Letters below 9 stand for the numbers of levels.
    text: Vec<u16>,
}

/// Paragraphs name the use of a list, which may begin with other numbers.
#[derive(Default)]
struct Use {
    list: u32,
    starts: Vec<(usize, u32)>,
    has_begun: bool,
}

impl Lists {
    pub fn of(word: &WordFile) -> Self {
        Self { levels: lists(word), uses: uses(word), counters: HashMap::new() }
    }

    /// What is printed before the next item; `None` for nothing.
    pub fn marker(&mut self, (number, level): (u16, usize)) -> Option<String> {
        let level = level.min(LEVELS - 1);
        let list_use = self.uses.get_mut(usize::from(number).checked_sub(1)?)?;
        let levels = self.levels.get(&list_use.list)?;
        // A list of one level has it at every depth.
        let own = levels.get(level).or(levels.first())?;
        let counters = self.counters.entry(list_use.list).or_default();
        if !std::mem::replace(&mut list_use.has_begun, true) {
            for &(level, start) in &list_use.starts {
                counters[level] = start.checked_sub(1);
            }
        }
        let following = counters[level].map_or(own.start, |number| number.saturating_add(1));
        counters[level] = Some(following);
        counters[level + 1..].fill(None);
        if own.format == BULLET {
            return Some("-".to_owned());
        }
        let mut marker = String::new();
        for unit in char::decode_utf16(own.text.iter().copied()).filter_map(Result::ok) {
            match unit as usize {
                at @ 0..LEVELS => {
                    let level = levels.get(at).unwrap_or(own);
                    let number = counters[at].unwrap_or(level.start);
                    marker.push_str(&numbered(number, level.format));
                }
                // Signs of fonts of signs.
                0xf000..=0xf0ff => marker.push('•'),
                _ => marker.push(unit),
            }
        }
        let marker = marker.trim();
        (!marker.is_empty()).then(|| marker.chars().take(MAX_MARKER_CHARS).collect())
    }
}

fn numbered(number: u32, format: u8) -> String {
    let format = match format {
        NO_NUMBER | BULLET => return String::new(),
        1 => "upperRoman",
        2 => "lowerRoman",
        3 => "upperLetter",
        4 => "lowerLetter",
        22 => "decimalZero",
        _ => "decimal",
    };
    numeral(number, format)
}

/// The lists, and after them the levels of each, one or nine.
fn lists(word: &WordFile) -> HashMap<u32, Vec<Level>> {
    let table = word.part_and_more(Part::Lists);
    let count = usize::from(u16_at(table, 0).unwrap_or(0));
    let heads = table.get(2..).unwrap_or_default();
    let mut rest = heads.get(count * LIST_BYTES..).unwrap_or_default();
    let mut lists = HashMap::new();
    for head in heads.chunks_exact(LIST_BYTES).take(count) {
        let is_simple = head[26] & 1 != 0;
        let mut levels = Vec::new();
        for _ in 0..if is_simple { 1 } else { LEVELS } {
            let Some((level, after)) = Level::of(rest) else { return lists };
            levels.push(level);
            rest = after;
        }
        lists.insert(u32_at(head, 0).unwrap_or(0), levels);
    }
    lists
}

impl Level {
    /// The level that begins here, and what comes after it.
    fn of(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let properties = usize::from(*bytes.get(24)?) + usize::from(*bytes.get(25)?);
        let at = LEVEL_BYTES + properties;
        let text = at + 2..at + 2 + 2 * usize::from(u16_at(bytes, at)?);
        let rest = bytes.get(text.end..)?;
        let text = bytes.get(text)?.chunks_exact(2);
        let level = Self {
            start: u32_at(bytes, 0)?,
            format: *bytes.get(4)?,
            text: text.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect(),
        };
        Some((level, rest))
    }
}

/// The uses of lists, and after them how each differs from its list.
fn uses(word: &WordFile) -> Vec<Use> {
    let table = word.part(Part::ListUses);
    let count = u32_at(table, 0).unwrap_or(0) as usize;
    let heads = table.get(4..).unwrap_or_default().chunks_exact(USE_BYTES).take(count);
    let mut rest = table.get(4 + heads.len() * USE_BYTES..).unwrap_or_default();
    heads
        .map(|head| {
            let list = u32_at(head, 0).unwrap_or(0);
            let starts = starts(usize::from(head[12]), &mut rest).unwrap_or_default();
            Use { list, starts, has_begun: false }
        })
        .collect()
}

/// Where the levels of a use begin to count.
fn starts(count: usize, rest: &mut &[u8]) -> Option<Vec<(usize, u32)>> {
    // A position first, of no use here.
    *rest = rest.get(4..)?;
    let mut starts = Vec::new();
    for _ in 0..count {
        let (start, flags) = (u32_at(rest, 0)?, u32_at(rest, 4)?);
        *rest = rest.get(8..)?;
        if flags & 0x10 != 0 {
            starts.push(((flags & 0x0f) as usize % LEVELS, start));
        }
        if flags & 0x20 != 0 {
            let bytes: &[u8] = rest;
            *rest = Level::of(bytes)?.1;
        }
    }
    Some(starts)
}
