//! From the cells of a sheet to text: titles above a table as paragraphs, and tables with their header
//! row, without empty rows and columns.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde::{Deserialize, Serialize};

use crate::documents::formats::flow::Flow;
use crate::documents::title::MAX_TITLE_CHARS;

/// Empty cells that are written between two others: a sheet of a few cells may be 16,384 columns wide.
const MAX_GAP: usize = 32;
/// Merged cells that are looked at in one row. Sheets have a few.
const MAX_ACTIVE: usize = 64;
/// Columns of a merged cell that it heads.
const MAX_HEADED: u32 = 64;
/// Rows that are looked at to tell which of them are the header.
const MAX_HEADER_ROWS: usize = 3;

/// A cell that is not empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Counted from 0.
    pub column: u32,
    /// As it is shown.
    pub text: String,
    /// A number, a date or the like, which headers seldom are.
    pub is_value: bool,
    /// It only repeats the merged cell that it is a part of.
    #[serde(skip)]
    pub is_repeated: bool,
}

/// A row with at least one cell that is not empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Counted from 0.
    pub row: u32,
    /// By column.
    pub cells: Vec<Cell>,
}

/// Cells that are one: first and last row, first and last column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Merged {
    pub first_row: u32,
    pub last_row: u32,
    pub first_column: u32,
    pub last_column: u32,
}

/// Writes the rows of a sheet, in order.
pub(crate) fn write(mut rows: Vec<Row>, mut merged: Vec<Merged>, flow: &mut Flow) {
    rows.sort_by_key(|row| row.row);
    merged.sort_unstable();
    merged.dedup();
    repeat_merged(&mut rows, &merged);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        // Titles and notes stand alone in their row.
        while let Some(row) = rows.next_if(is_alone) {
            flow.at(row.row + 1);
            flow.text(&row.cells[0].text);
            flow.end_block();
        }
        let table = next_table(&mut rows, &merged);
        if !table.is_empty() {
            write_table(&table, &merged, flow);
        }
    }
}

/// Whether a row has one cell, perhaps a wide one.
fn is_alone(row: &Row) -> bool {
    row.cells.iter().skip(1).all(|cell| cell.is_repeated)
}

/// The rows up to the next table: one that follows on an empty row and begins with a header, or with
/// a title. A row that is alone among others belongs to them.
fn next_table(rows: &mut Peekable<IntoIter<Row>>, merged: &[Merged]) -> Vec<Row> {
    let mut table: Vec<Row> = Vec::new();
    while let Some(row) = rows.peek() {
        if let Some(last) = table.last() {
            let follows_a_gap = row.row > last.row + 1;
            let is_other = is_alone(row) || is_header(row);
            if follows_a_gap && is_other && !is_covered(merged, last.row + 1) {
                break;
            }
        }
        table.extend(rows.next());
    }
    table
}

/// Whether an empty row is part of a merged cell, so that it does not end the table.
fn is_covered(merged: &[Merged], row: u32) -> bool {
    let mut before = merged.iter().rev().skip_while(|cell| cell.first_row >= row);
    before.by_ref().take(MAX_ACTIVE).any(|cell| cell.last_row >= row)
}

/// Several names, none of them a number.
fn is_header(row: &Row) -> bool {
    row.cells.len() > 1 && row.cells.iter().all(|cell| !cell.is_value)
}

fn write_table(table: &[Row], merged: &[Merged], flow: &mut Flow) {
    let columns: BTreeSet<u32> =
        table.iter().flat_map(|row| &row.cells).map(|cell| cell.column).collect();
    let columns: Vec<u32> = columns.into_iter().collect();
    let headers = header_rows(table, merged);
    if headers == 0 {
        flow.begin_verbatim();
    } else {
        flow.begin_table();
    }
    for (at, row) in table.iter().enumerate() {
        flow.at(row.row + 1);
        if headers == 0 {
            flow.text(&line(row, &columns));
            flow.text("\n");
        } else {
            if at < headers {
                flow.header_row();
            }
            write_row(row, &columns, flow);
        }
    }
    if headers == 0 {
        flow.end_verbatim();
    } else {
        flow.end_table();
    }
}

/// How many rows at the top of a table are its header: the first, if it has no numbers but what
/// follows does or is of the same kind, with the rows below that share a merged cell with it.
fn header_rows(table: &[Row], merged: &[Merged]) -> usize {
    let Some(first) = table.first() else { return 0 };
    let years = first.cells.iter().skip(1).all(|cell| is_year(&cell.text));
    let heads_years = first.cells.len() > 1 && years;
    if !(is_header(first) || heads_years) {
        return 0;
    }
    let reaches = |cell: &&Merged| cell.first_row == first.row && cell.last_row > cell.first_row;
    let begin = merged.partition_point(|cell| cell.first_row < first.row);
    let of_first = merged[begin..].iter().take_while(|cell| cell.first_row == first.row);
    let last = of_first.filter(reaches).map(|cell| cell.last_row).max().unwrap_or(first.row);
    let rows = table.iter().take_while(|row| row.row <= last && !has_values(row)).count();
    rows.clamp(1, MAX_HEADER_ROWS)
}

fn has_values(row: &Row) -> bool {
    row.cells.iter().any(|cell| cell.is_value)
}

fn is_year(text: &str) -> bool {
    text.parse().is_ok_and(|year: u32| (1900..2200).contains(&year))
}

fn write_row(row: &Row, columns: &[u32], flow: &mut Flow) {
    let mut at = 0;
    for cell in &row.cells {
        let index = columns.partition_point(|column| *column < cell.column);
        for _ in 0..index.saturating_sub(at).min(MAX_GAP) {
            flow.begin_cell();
        }
        flow.begin_cell();
        flow.text(&cell.text);
        at = index + 1;
    }
    flow.end_row();
}

/// A row as text, as [`Flow`] writes it.
fn line(row: &Row, columns: &[u32]) -> String {
    let (mut line, mut at) = (String::new(), 0);
    for cell in &row.cells {
        let index = columns.partition_point(|column| *column < cell.column);
        let gap = index.saturating_sub(at).min(MAX_GAP) + usize::from(at > 0);
        line.push_str(&" | ".repeat(gap));
        let words: Vec<&str> = cell.text.split_whitespace().collect();
        line.push_str(&words.join(" "));
        at = index + 1;
    }
    line
}

/// Puts the text of merged cells into each row and column that they span: a cell beside several rows
/// is the key of each of them.
fn repeat_merged(rows: &mut [Row], merged: &[Merged]) {
    // Cells that reach into the current row, and what they say.
    let mut active: Vec<(Merged, Option<Cell>)> = Vec::new();
    let mut next = 0;
    for row in rows {
        active.retain(|(cell, _)| cell.last_row >= row.row);
        while let Some(cell) = merged.get(next).filter(|cell| cell.first_row <= row.row) {
            next += 1;
            if cell.last_row >= row.row && active.len() < MAX_ACTIVE {
                active.push((*cell, None));
            }
        }
        for (span, text) in &mut active {
            repeat_in_row(row, *span, text);
        }
    }
}

fn repeat_in_row(row: &mut Row, span: Merged, said: &mut Option<Cell>) {
    let position = |row: &Row, column| row.cells.binary_search_by_key(&column, |cell| cell.column);
    if row.row == span.first_row
        && let Ok(at) = position(row, span.first_column)
    {
        // A long text is no key.
        let cell = &row.cells[at];
        let is_short = cell.text.chars().nth(MAX_TITLE_CHARS).is_none();
        *said = is_short.then(|| cell.clone());
    }
    let Some(said) = said else { return };
    let last = span.last_column.min(span.first_column.saturating_add(MAX_HEADED));
    for column in span.first_column..=last {
        if let Err(at) = position(row, column) {
            row.cells.insert(at, Cell { column, is_repeated: true, ..said.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::section::Section;
    use crate::documents::structure::Places;

    /// Rows of a sheet as people draw them: a line each, cells between bars.
    fn rows(sheet: &str) -> Vec<Row> {
        let cells = |line: &str| {
            let cells = line.split('|').map(str::trim).zip(0..);
            cells
                .filter(|(text, _)| !text.is_empty())
                .map(|(text, column)| Cell {
                    column,
                    text: text.to_owned(),
                    is_value: text.starts_with(|c: char| c.is_ascii_digit()),
                    is_repeated: false,
                })
                .collect::<Vec<Cell>>()
        };
        let rows = sheet.lines().zip(0..).map(|(line, row)| Row { row, cells: cells(line) });
        rows.filter(|row| !row.cells.is_empty()).collect()
    }

    fn written(sheet: &str, merged: &[Merged]) -> (String, Vec<Section>, Places) {
        let mut flow = Flow::default();
        write(rows(sheet), merged.to_vec(), &mut flow);
        let extract = flow.finish(Places::Rows);
        (
            extract.text.trim_end().to_owned(),
            extract.structure.sections.unwrap(),
            extract.structure.places,
        )
    }

    fn merged(first_row: u32, last_row: u32, first_column: u32, last_column: u32) -> Merged {
        Merged { first_row, last_row, first_column, last_column }
    }

    #[test]
    fn titles_are_paragraphs_and_tables_have_no_empty_columns() {
        let sheet =
            "\n | Bảng giá |\n\n | Mã | | Giá\n | A1 | | 5\n | A2 | |\n\n | A3 | | 7\n\nGhi chú";
        let (text, sections, places) = written(sheet, &[]);
        assert_eq!(text, "Bảng giá\n\nMã | Giá\nA1 | 5\nA2\nA3 | 7\n\nGhi chú");
        assert_eq!(sections[0].blocks.len(), 3);
        let row = |text_part: &str| {
            let at = text.find(text_part).unwrap();
            places.of(&(at..at + 1), &mut crate::documents::structure::LineCounter::new(""))
        };
        assert_eq!(row("A3"), Some(crate::documents::Place::Rows(8, 8)));
    }

    #[test]
    fn a_table_below_another_has_a_header_of_its_own() {
        let (text, sections, _) = written("a | b\n1 | 2\n\nc | d\n3 | 4", &[]);
        assert_eq!(text, "a | b\n1 | 2\n\nc | d\n3 | 4");
        assert_eq!(sections[0].blocks.len(), 2);
    }

    #[test]
    fn rows_of_numbers_have_no_header() {
        assert_eq!(written("1 | 2\n3 | 4", &[]).0, "1 | 2\n3 | 4");
        assert_eq!(written("1 | | 2\n3 | x | 4", &[]).0, "1 |  | 2\n3 | x | 4");
    }

    #[test]
    fn merged_cells_are_the_key_of_each_row_and_column() {
        let sheet = "Vùng | Doanh thu | \n | Q1 | Q2\nBắc | 1 | 2\n | 3 | 4";
        let spans = [merged(0, 1, 0, 0), merged(0, 0, 1, 2), merged(2, 3, 0, 0)];
        let (text, ..) = written(sheet, &spans);
        assert_eq!(text, "Vùng | Doanh thu | Doanh thu\nVùng | Q1 | Q2\nBắc | 1 | 2\nBắc | 3 | 4");
        let (title, ..) = written("Bảng lương | | \nTên | Tuổi | Lương", &[merged(0, 0, 0, 2)]);
        assert_eq!(title, "Bảng lương\n\nTên | Tuổi | Lương");
    }

    #[test]
    fn a_hostile_sheet_stays_small() {
        let begin = std::time::Instant::now();
        let row = |row: u32| Row {
            row,
            cells: vec![Cell {
                column: row * 7919 % 16_384,
                text: "x".into(),
                is_value: false,
                is_repeated: false,
            }],
        };
        let spans = (0..10_000).map(|row| merged(row, 1 << 20, 0, 16_383)).collect();
        let mut flow = Flow::default();
        write((0..2_000).map(row).collect(), spans, &mut flow);
        assert!(flow.finish(Places::Rows).text.len() < 2_000 * 500);
        assert!(begin.elapsed() < std::time::Duration::from_mins(1));
    }
}
