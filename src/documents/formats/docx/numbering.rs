//! The lists of a Word document: what is printed before each item.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::{LEVELS, MAX_NAMED};
use crate::documents::formats::package::attribute;

#[derive(Default)]
pub(super) struct Numbering {
    lists: HashMap<u32, Vec<Level>>,
    /// The number of the last item on each level of each list.
    counters: HashMap<u32, [Option<u32>; LEVELS]>,
}

/// One level of a list: how its items are numbered.
#[derive(Debug, Clone)]
struct Level {
    /// `decimal`, `lowerLetter`, `bullet`, …
    format: String,
    /// `%1.%2.`, where `%1` is the number on the first level.
    text: String,
    start: u32,
}

impl Default for Level {
    fn default() -> Self {
        Self { format: "bullet".to_owned(), text: String::new(), start: 1 }
    }
}

impl Numbering {
    pub fn parse(xml: &str) -> quick_xml::Result<Self> {
        Ok(Self { lists: lists(xml)?, counters: HashMap::new() })
    }

    /// What is printed before the next item of a list; `None` if there is no such list.
    pub fn marker(&mut self, list: u32, level: usize) -> Option<String> {
        let level = level.min(LEVELS - 1);
        let levels = self.lists.get(&list)?;
        let own = levels.get(level)?;
        let counters = self.counters.entry(list).or_default();
        counters[level] =
            Some(counters[level].map_or(own.start, |number| number.saturating_add(1)));
        counters[level + 1..].fill(None);
        if own.format == "bullet" || own.format == "none" {
            return Some("-".to_owned());
        }
        let mut marker = own.text.clone();
        for (i, counter) in counters.iter().enumerate().take(level + 1) {
            let format = levels.get(i).map_or("decimal", |level| level.format.as_str());
            let start = levels.get(i).map_or(1, |level| level.start);
            let number = numeral(counter.unwrap_or(start), format);
            marker = marker.replace(&format!("%{}", i + 1), &number);
        }
        (!marker.trim().is_empty()).then(|| marker.trim().chars().take(32).collect())
    }
}

fn lists(xml: &str) -> quick_xml::Result<HashMap<u32, Vec<Level>>> {
    let mut abstracts: HashMap<String, Vec<Level>> = HashMap::new();
    let mut lists = HashMap::new();
    let (mut abstract_id, mut list) = (String::new(), None);
    let mut reader = Reader::from_str(xml);
    loop {
        let tag = match reader.read_event()? {
            Event::Eof => return Ok(lists),
            Event::Start(tag) | Event::Empty(tag) => tag,
            _ => continue,
        };
        let levels = abstracts.entry(abstract_id.clone()).or_default();
        match (tag.local_name().as_ref(), attribute(&tag, "val")) {
            ("abstractNum", _) => {
                abstract_id = attribute(&tag, "abstractNumId").unwrap_or_default();
            }
            ("lvl", _) if levels.len() < LEVELS => levels.push(Level::default()),
            ("num", _) => list = attribute(&tag, "numId").and_then(|id| id.parse().ok()),
            ("abstractNumId", Some(value)) => {
                if let (Some(list), Some(levels)) = (list, abstracts.get(&value))
                    && lists.len() < MAX_NAMED
                {
                    lists.insert(list, levels.clone());
                }
            }
            (name, Some(value)) => {
                if let Some(level) = levels.last_mut() {
                    match name {
                        "numFmt" => level.format = value,
                        "lvlText" => level.text = value,
                        "start" => level.start = value.parse().unwrap_or(1),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        if abstracts.len() > MAX_NAMED {
            return Ok(lists);
        }
    }
}

/// A number as a list prints it.
fn numeral(number: u32, format: &str) -> String {
    let letter = |first: u8| {
        // After z comes aa, then bb.
        let count = (number.max(1) - 1) / 26 % 8 + 1;
        let letter = char::from(first + ((number.max(1) - 1) % 26) as u8);
        std::iter::repeat_n(letter, count as usize).collect()
    };
    match format {
        "lowerLetter" => letter(b'a'),
        "upperLetter" => letter(b'A'),
        "lowerRoman" => roman(number).to_lowercase(),
        "upperRoman" => roman(number),
        "decimalZero" => format!("{number:02}"),
        _ => number.to_string(),
    }
}

fn roman(number: u32) -> String {
    const DIGITS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if number >= 4000 {
        return number.to_string();
    }
    let mut rest = number;
    let mut roman = String::new();
    for (value, digits) in DIGITS {
        while rest >= value {
            roman.push_str(digits);
            rest -= value;
        }
    }
    roman
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_several_scripts() {
        let numerals = |format: &str| [1, 4, 27, 1994].map(|number| numeral(number, format));
        assert_eq!(numerals("decimal"), ["1", "4", "27", "1994"]);
        assert_eq!(numerals("decimalZero"), ["01", "04", "27", "1994"]);
        assert_eq!(numerals("lowerLetter"), ["a", "d", "aa", "rrrrr"]);
        assert_eq!(numerals("upperRoman"), ["I", "IV", "XXVII", "MCMXCIV"]);
        assert_eq!(numeral(4000, "upperRoman"), "4000");
        assert_eq!(numeral(0, "upperLetter"), "A");
    }
}
