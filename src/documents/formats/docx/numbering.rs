//! The lists of a Word document: what is printed before each item.

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};

use super::{LEVELS, MAX_NAMED};
use crate::documents::formats::numerals::numeral;
use crate::documents::formats::package::{attribute, lenient};

/// Characters of what is printed before an item. A longer one is cut: it is written anew for each.
const MAX_MARKER_CHARS: usize = 64;

#[derive(Default)]
pub(super) struct Numbering {
    /// Lists by their ids.
    lists: HashMap<u32, List>,
    /// How the items of lists look and count. Lists of the same design count on from each other.
    designs: HashMap<String, Design>,
    /// Levels of lists whose own start was taken.
    started: HashSet<(u32, usize)>,
}

#[derive(Default)]
struct List {
    design: String,
    /// What this list has of its own, by level.
    starts: [Option<u32>; LEVELS],
    levels: HashMap<usize, Level>,
}

#[derive(Default)]
struct Design {
    levels: [Level; LEVELS],
    /// The number of the last item on each level.
    counters: [Option<u32>; LEVELS],
    /// The style of which this is the design, and the style whose design it shares.
    of_style: Option<String>,
    as_style: Option<String>,
}

/// One level of a list: how its items are numbered.
#[derive(Debug, Clone)]
struct Level {
    /// `decimal`, `lowerLetter`, `bullet`, …
    format: String,
    /// `%1.%2.`, where `%1` is the number on the first level.
    text: String,
    start: u32,
    /// The level, counted from 1, after whose items it starts again; 0 if it never does, and `None`
    /// if after any that is above it.
    restart: Option<usize>,
    /// All numbers are decimal.
    is_legal: bool,
    /// The paragraph style that belongs to the level.
    style: Option<String>,
}

impl Default for Level {
    fn default() -> Self {
        Self {
            format: "bullet".to_owned(),
            text: String::new(),
            start: 1,
            restart: None,
            is_legal: false,
            style: None,
        }
    }
}

impl Level {
    const PROPERTIES: [&str; 6] = ["numFmt", "lvlText", "start", "lvlRestart", "isLgl", "pStyle"];

    fn set(&mut self, property: &str, tag: &BytesStart) {
        let value = attribute(tag, "val");
        match property {
            // A format of one's own comes with a substitute for old programs.
            "numFmt" if self.format.starts_with('0') => {}
            "numFmt" => {
                let own = attribute(tag, "format").filter(|format| format.starts_with('0'));
                self.format = own.or(value).unwrap_or_default();
            }
            "lvlText" => {
                self.text = value.unwrap_or_default().chars().take(MAX_MARKER_CHARS).collect();
            }
            "start" => self.start = value.and_then(|start| start.parse().ok()).unwrap_or(1),
            "lvlRestart" => self.restart = value.and_then(|level| level.parse().ok()),
            "isLgl" => self.is_legal = value.is_none_or(|is| is != "0" && is != "false"),
            "pStyle" => self.style = value,
            _ => {}
        }
    }
}

impl Numbering {
    /// Reads the list definitions. Whether that is all of them: damaged XML ends them.
    pub fn parse(xml: &str) -> (Self, bool) {
        let mut parser = Parser::default();
        let is_whole = parser.read(xml);
        let mut numbering = parser.numbering;
        numbering.share_designs();
        (numbering, is_whole)
    }

    /// Gives each design that only refers to a style the design of that style.
    fn share_designs(&mut self) {
        let of_styles: HashMap<&str, &str> = self
            .designs
            .iter()
            .filter_map(|(id, design)| Some((design.of_style.as_deref()?, id.as_str())))
            .collect();
        let shared: HashMap<String, String> = self
            .designs
            .iter()
            .filter_map(|(id, design)| {
                let other = of_styles.get(design.as_style.as_deref()?)?;
                Some((id.clone(), (*other).to_owned()))
            })
            .collect();
        for list in self.lists.values_mut() {
            if let Some(design) = shared.get(&list.design) {
                list.design.clone_from(design);
            }
        }
    }

    /// The level of a list that belongs to a paragraph style.
    pub fn level_of_style(&self, list: u32, style: &str) -> Option<usize> {
        let list = self.lists.get(&list)?;
        let is_its = |level: &Level| level.style.as_deref() == Some(style);
        let own = list.levels.iter().find(|(_, level)| is_its(level)).map(|(at, _)| *at);
        own.or_else(|| self.designs.get(&list.design)?.levels.iter().position(is_its))
    }

    /// What is printed before the next item of a list, `-` for a bullet; `None` if there is no such
    /// list, or it prints nothing.
    pub fn marker(&mut self, id: u32, level: usize) -> Option<String> {
        let level = level.min(LEVELS - 1);
        let list = self.lists.get(&id)?;
        let design = self.designs.get_mut(&list.design)?;
        let levels = &design.levels;
        let at = |level: usize| list.levels.get(&level).unwrap_or(&levels[level]);
        let start = |level: usize| list.starts[level].unwrap_or(at(level).start);
        let counters = &mut design.counters;
        if list.starts[level].is_some() && self.started.insert((id, level)) {
            counters[level] = None;
        }
        counters[level] =
            Some(counters[level].map_or(start(level), |number| number.saturating_add(1)));
        for (below, counter) in counters.iter_mut().enumerate().skip(level + 1) {
            if at(below).restart.is_none_or(|after| level < after) {
                *counter = None;
            }
        }
        let own = at(level);
        if own.format == "bullet" {
            return Some("-".to_owned());
        }
        let number = |level: usize| {
            let is_decimal = own.is_legal && at(level).format != "none";
            let format = if is_decimal { "decimal" } else { &at(level).format };
            numeral(counters[level].unwrap_or(start(level)), format)
        };
        let marker = filled_in(&own.text, level, number);
        (!marker.trim().is_empty()).then(|| marker.trim().to_owned())
    }
}

/// A level's text with the numbers of this level and those above it.
fn filled_in(text: &str, level: usize, number: impl Fn(usize) -> String) -> String {
    let (mut marker, mut length) = (String::new(), 0);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if length >= MAX_MARKER_CHARS {
            break;
        }
        let digit = characters.peek().and_then(|digit| digit.to_digit(10)).filter(|_| c == '%');
        let Some(digit @ 1..) = digit else {
            marker.push(c);
            length += 1;
            continue;
        };
        characters.next();
        if digit as usize <= level + 1 {
            let number = number(digit as usize - 1);
            length += number.chars().count();
            marker.push_str(&number);
        }
    }
    marker
}

/// The definitions while they are read.
#[derive(Default)]
struct Parser {
    numbering: Numbering,
    design: Option<(String, Design)>,
    list: Option<(u32, List)>,
    level: usize,
}

impl Parser {
    fn read(&mut self, xml: &str) -> bool {
        let mut reader = lenient(xml);
        loop {
            match reader.read_event() {
                Ok(Event::Eof) => {
                    self.put_away();
                    return true;
                }
                Err(_) => {
                    self.put_away();
                    return false;
                }
                Ok(Event::Start(tag) | Event::Empty(tag)) => {
                    self.element(tag.local_name().as_ref(), &tag);
                }
                Ok(_) => {}
            }
        }
    }

    fn element(&mut self, name: &str, tag: &BytesStart) {
        let value = || attribute(tag, "val");
        let level = || attribute(tag, "ilvl").and_then(|level| level.parse().ok());
        match (name, &mut self.design, &mut self.list) {
            ("abstractNum", ..) => {
                self.put_away();
                let id = attribute(tag, "abstractNumId").unwrap_or_default();
                self.design = Some((id, Design::default()));
                self.level = LEVELS;
            }
            ("num", ..) => {
                self.put_away();
                let id = attribute(tag, "numId").and_then(|id| id.parse().ok());
                self.list = id.map(|id| (id, List::default()));
                self.level = LEVELS;
            }
            ("abstractNumId", _, Some((_, list))) => list.design = value().unwrap_or_default(),
            // Without a number, levels come in order.
            ("lvl", Some(_), _) => {
                let next = if self.level < LEVELS { self.level + 1 } else { 0 };
                self.level = level().unwrap_or(next);
            }
            ("lvlOverride" | "lvl", _, Some(_)) => self.level = level().unwrap_or(self.level),
            ("startOverride", _, Some((_, list))) if self.level < LEVELS => {
                list.starts[self.level] = value().and_then(|start| start.parse().ok());
            }
            ("styleLink", Some((_, design)), _) => design.of_style = value(),
            ("numStyleLink", Some((_, design)), _) => design.as_style = value(),
            (name, Some((_, design)), _) if self.level < LEVELS => {
                design.levels[self.level].set(name, tag);
            }
            (name, _, Some((_, list)))
                if self.level < LEVELS && Level::PROPERTIES.contains(&name) =>
            {
                list.levels.entry(self.level).or_default().set(name, tag);
            }
            _ => {}
        }
    }

    fn put_away(&mut self) {
        let numbering = &mut self.numbering;
        if numbering.designs.len() < MAX_NAMED {
            numbering.designs.extend(self.design.take());
        }
        if numbering.lists.len() < MAX_NAMED {
            numbering.lists.extend(self.list.take());
        }
        (self.design, self.list) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(at: usize, format: &str, text: &str, more: &str) -> String {
        format!(
            "<w:lvl w:ilvl=\"{at}\"><w:start w:val=\"1\"/><w:numFmt w:val=\"{format}\"/>{more}\
             <w:lvlText w:val=\"{text}\"/></w:lvl>"
        )
    }

    fn numbering(designs: &[&str], lists: &str) -> Numbering {
        let design = |(id, levels)| {
            format!("<w:abstractNum w:abstractNumId=\"{id}\">{levels}</w:abstractNum>")
        };
        let designs: String = designs.iter().enumerate().map(design).collect();
        let (numbering, is_whole) =
            Numbering::parse(&format!("<w:numbering>{designs}{lists}</w:numbering>"));
        assert!(is_whole);
        numbering
    }

    fn list(id: u32, design: u32, more: &str) -> String {
        format!("<w:num w:numId=\"{id}\"><w:abstractNumId w:val=\"{design}\"/>{more}</w:num>")
    }

    fn markers(numbering: &mut Numbering, items: &[(u32, usize)]) -> Vec<String> {
        let marker = |&(list, level)| numbering.marker(list, level).unwrap_or_default();
        items.iter().map(marker).collect()
    }

    #[test]
    fn lists_of_one_design_count_on_unless_they_start_again() {
        let start = "<w:lvlOverride w:ilvl=\"0\"><w:startOverride w:val=\"5\"/></w:lvlOverride>";
        let lists = list(1, 0, "") + &list(2, 0, "") + &list(3, 0, start);
        let mut numbering = numbering(&[&level(0, "decimal", "Điều %1.", "")], &lists);
        assert_eq!(
            markers(&mut numbering, &[(1, 0), (1, 0), (2, 0), (3, 0), (3, 0), (9, 0)]),
            ["Điều 1.", "Điều 2.", "Điều 3.", "Điều 5.", "Điều 6.", ""]
        );
    }

    #[test]
    fn levels_restart_as_they_say() {
        let levels = [
            level(0, "upperRoman", "%1", ""),
            level(1, "decimal", "%1.%2", "<w:isLgl/>"),
            level(2, "lowerLetter", "%3)", "<w:lvlRestart w:val=\"1\"/>"),
            level(3, "decimal", "(%4)", "<w:lvlRestart w:val=\"0\"/>"),
        ]
        .concat();
        let mut numbering = numbering(&[&levels], &list(1, 0, ""));
        let items = [0, 1, 2, 3, 1, 2, 3, 0, 1, 2, 3].map(|level| (1, level));
        assert_eq!(
            markers(&mut numbering, &items),
            ["I", "1.1", "a)", "(1)", "1.2", "b)", "(2)", "II", "2.1", "a)", "(3)"]
        );
    }

    #[test]
    fn a_list_may_have_levels_of_its_own_or_those_of_a_style() {
        let own = "<w:lvlOverride w:ilvl=\"0\">".to_owned()
            + &level(0, "upperLetter", "%1/", "")
            + "</w:lvlOverride>";
        let styled = "<w:styleLink w:val=\"S\"/>".to_owned()
            + &level(1, "decimal", "§%2", "<w:pStyle w:val=\"P\"/>");
        let lists = list(1, 0, &own) + &list(2, 1, "");
        let designs = [styled.as_str(), "<w:numStyleLink w:val=\"S\"/>"];
        let mut numbering = numbering(&designs, &lists);
        assert_eq!(markers(&mut numbering, &[(1, 0), (2, 1)]), ["A/", "§1"]);
        assert_eq!(numbering.level_of_style(2, "P"), Some(1));
        assert_eq!(numbering.level_of_style(2, "Q"), None);
    }

    #[test]
    fn what_is_printed_without_a_number() {
        let levels = [
            level(0, "none", "Ghi chú:", ""),
            level(1, "none", "", ""),
            level(2, "bullet", "", ""),
            level(3, "custom", "%4", "")
                .replace("w:val=\"custom\"", "w:val=\"custom\" w:format=\"001, 002\""),
        ];
        let mut numbering = numbering(&[&levels.concat()], &list(1, 0, ""));
        let items = [0, 1, 2, 3].map(|level| (1, level));
        assert_eq!(markers(&mut numbering, &items), ["Ghi chú:", "", "-", "001"]);
    }

    #[test]
    fn a_long_text_is_cut() {
        let levels = level(0, "decimal", &"%1".repeat(200_000), "");
        let mut numbering = numbering(&[&levels], &list(1, 0, ""));
        let begin = std::time::Instant::now();
        for _ in 0..40_000 {
            assert!(numbering.marker(1, 0).unwrap().chars().count() < 2 * MAX_MARKER_CHARS);
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(10));
    }
}
