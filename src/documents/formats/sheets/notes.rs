//! What an XLSX file says beside its cells: comments, and the text of shapes that are drawn over them.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::grid::{Cell, Row};
use crate::documents::error::ReadError;
use crate::documents::formats::package::{Package, attribute, entity};

/// Sheets, and notes of all sheets, that are looked at.
const MAX_SHEETS: usize = 1000;
const MAX_NOTES: usize = 100_000;
/// Parts that have notes, as relations name them.
const KINDS: [&str; 3] = ["comments", "threadedComment", "drawing"];

/// A comment or the text of a shape, and the cell that it is at, counted from 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    row: u32,
    column: u32,
    text: String,
}

/// The notes of each sheet by its name. Whatever of them cannot be read is reported.
pub(crate) fn read(file: File, path: &Path) -> (HashMap<String, Vec<Note>>, Option<ReadError>) {
    let mut found = HashMap::new();
    let error = collect(file, path, &mut found).err();
    (found, error)
}

fn collect(
    file: File,
    path: &Path,
    found: &mut HashMap<String, Vec<Note>>,
) -> Result<(), ReadError> {
    let mut package = Package::open(file, path)?;
    // The sheets themselves, which are the most of the file, are read elsewhere.
    let Some(workbook) = package.part("xl/workbook.xml")? else { return Ok(()) };
    let targets = package.relations("xl/workbook.xml");
    let mut room = MAX_NOTES;
    for (name, id) in sheets(&workbook).into_iter().take(MAX_SHEETS) {
        let Some(sheet) = targets.iter().find(|relation| relation.id == id) else { continue };
        for relation in package.relations(&sheet.target) {
            if !KINDS.contains(&relation.kind.as_str()) {
                continue;
            }
            let Some(part) = package.part(&relation.target)? else { continue };
            let mut notes = notes(&part);
            notes.truncate(room);
            room -= notes.len();
            found.entry(name.clone()).or_default().extend(notes);
        }
    }
    Ok(())
}

/// The name of each sheet, and the relation that leads to it.
fn sheets(workbook: &str) -> Vec<(String, String)> {
    let mut sheets = Vec::new();
    let mut reader = Reader::from_str(workbook);
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) if tag.local_name().as_ref() == "sheet" => {
                sheets.extend(attribute(&tag, "name").zip(attribute(&tag, "id")));
            }
            Ok(Event::Eof) | Err(_) => return sheets,
            Ok(_) => {}
        }
    }
}

/// Comments (`ref="B3"`) and shapes (`from` a row and a column).
fn notes(xml: &str) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    let mut note = Note { row: 0, column: 0, text: String::new() };
    let mut element = String::new();
    let mut in_start = false;
    let mut reader = Reader::from_str(xml);
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Eof => break,
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                match name.as_str() {
                    "comment" | "threadedComment" => {
                        (note.row, note.column) = attribute(&tag, "ref")
                            .and_then(|cell| position(&cell))
                            .unwrap_or_default();
                    }
                    "from" => in_start = true,
                    "p" if !note.text.is_empty() => note.text.push('\n'),
                    _ => {}
                }
                element = name;
            }
            Event::Text(text) => match element.as_str() {
                "t" | "text" => note.text.push_str(&text.xml10_content()),
                "row" if in_start => note.row = text.trim().parse().unwrap_or(0),
                "col" if in_start => note.column = text.trim().parse().unwrap_or(0),
                _ => {}
            },
            Event::GeneralRef(reference) if matches!(element.as_str(), "t" | "text") => {
                note.text.push_str(&entity(&reference));
            }
            Event::End(tag) => match tag.local_name().as_ref() {
                "from" => in_start = false,
                "t" | "text" => element.clear(),
                "comment" | "threadedComment" | "twoCellAnchor" | "oneCellAnchor" => {
                    let text = std::mem::take(&mut note.text);
                    // Excel puts this before what it wrote for older versions of itself.
                    let is_copy = text.starts_with("[Threaded comment]");
                    if !text.trim().is_empty() && !is_copy {
                        notes.push(Note { text, ..note.clone() });
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    notes
}

/// Row and column of `B3`.
fn position(cell: &str) -> Option<(u32, u32)> {
    let digits = cell.find(|c: char| c.is_ascii_digit())?;
    let row: u32 = cell[digits..].parse().ok()?;
    let letters = cell[..digits].bytes().filter(u8::is_ascii_alphabetic);
    let column = letters.fold(0_u32, |column, letter| {
        column.saturating_mul(26).saturating_add(u32::from(letter.to_ascii_uppercase() - b'A') + 1)
    });
    Some((row.checked_sub(1)?, column.checked_sub(1)?))
}

/// Puts notes into the cells that they are at.
pub(crate) fn add(mut notes: Vec<Note>, rows: &mut Vec<Row>) {
    notes.sort_by_key(|note| (note.row, note.column));
    rows.sort_by_key(|row| row.row);
    let mut added: Vec<Row> = Vec::new();
    for Note { row, column, text } in notes {
        let found = if let Ok(at) = rows.binary_search_by_key(&row, |row| row.row) {
            &mut rows[at]
        } else {
            if added.last().is_none_or(|last| last.row != row) {
                added.push(Row { row, cells: Vec::new() });
            }
            let last = added.len() - 1;
            &mut added[last]
        };
        match found.cells.binary_search_by_key(&column, |cell| cell.column) {
            Ok(at) => found.cells[at].text.extend(["\n", text.as_str()]),
            Err(at) => {
                found.cells.insert(at, Cell { column, text, is_value: false, is_repeated: false });
            }
        }
    }
    rows.append(&mut added);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_shapes_are_at_their_cells() {
        let comments = "<comments><commentList><comment ref=\"B3\" authorId=\"0\"><text><r><t>lời </t></r><r><t>bình &amp; ý</t></r></text></comment></commentList></comments>";
        assert_eq!(notes(comments), [Note { row: 2, column: 1, text: "lời bình & ý".into() }]);
        let drawing = "<wsDr><twoCellAnchor><from><col>3</col><row>7</row></from><to><col>9</col><row>9</row></to><sp><txBody><p><r><t>một</t></r></p><p><r><t>hai</t></r></p></txBody></sp></twoCellAnchor></wsDr>";
        assert_eq!(notes(drawing), [Note { row: 7, column: 3, text: "một\nhai".into() }]);
        assert_eq!(position("AA10"), Some((9, 26)));
        assert_eq!(position("10"), None);
    }

    #[test]
    fn notes_join_the_rows() {
        let cell = |column, text: &str| Cell {
            column,
            text: text.into(),
            is_value: false,
            is_repeated: false,
        };
        let mut rows = vec![Row { row: 2, cells: vec![cell(1, "a")] }];
        let note = |row, column, text: &str| Note { row, column, text: text.into() };
        add(vec![note(9, 1, "c"), note(2, 1, "b"), note(2, 0, "x")], &mut rows);
        assert_eq!(
            rows,
            [
                Row { row: 2, cells: vec![cell(0, "x"), cell(1, "a\nb")] },
                Row { row: 9, cells: vec![cell(1, "c")] }
            ]
        );
    }
}
