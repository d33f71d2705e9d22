//! CSV and TSV: the rows of a table, with the lines that they are on.

use std::fs::File;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::flow::Flow;
use super::plain_text;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::{Places, newlines};

/// What separates the cells of a row. At equal merit the first is taken.
const DELIMITERS: [u8; 4] = *b",;\t|";
/// Bytes and rows that are looked at to tell what separates cells, and whether there is a header.
const SAMPLE: usize = 64 << 10;
const SAMPLE_ROWS: usize = 200;
/// A cell with more lines than this begins with a quote that nobody closed.
const MAX_CELL_LINES: u32 = 1000;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (text, omitted) = plain_text::text(file, path)?;
    Ok(Contents::One(Extract { omitted, ..extract(&text) }))
}

fn extract(text: &str) -> Extract {
    // To Excel, a first line `sep=;` says what separates cells.
    let (skipped, told) = match text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')) {
        Some((told, _)) if told.len() == 1 => ("sep=;\n".len(), told.bytes().next()),
        _ => (0, None),
    };
    let (table, first_line) = (&text[skipped..], if skipped > 0 { 2 } else { 1 });
    let delimiter = told.unwrap_or_else(|| delimiter(table));
    let has_quotes = !has_open_quote(table, delimiter);
    write(table, &Dialect { delimiter, has_quotes, first_line })
}

/// How a file writes its rows.
struct Dialect {
    delimiter: u8,
    has_quotes: bool,
    /// The line of the file that the first row is on.
    first_line: u32,
}

impl Dialect {
    fn reader<'t>(&self, text: &'t str) -> csv::Reader<&'t [u8]> {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.delimiter).quoting(self.has_quotes);
        builder.has_headers(false).flexible(true).from_reader(text.as_bytes())
    }
}

fn write(text: &str, dialect: &Dialect) -> Extract {
    let has_header = has_header(text, dialect);
    let mut flow = Flow::default();
    if has_header {
        flow.begin_table();
    } else {
        flow.begin_verbatim();
    }
    let mut reader = dialect.reader(text);
    let mut record = StringRecord::new();
    // The input is valid UTF-8 in memory, and rows may have any length, so there are no errors.
    while reader.read_record(&mut record).is_ok_and(|is_row| is_row) {
        let start = record.position().map_or(1, csv::Position::line);
        let mut line = (start as u32).saturating_add(dialect.first_line - 1);
        let mut is_first = true;
        for cell in &record {
            flow.at(line);
            if has_header {
                flow.begin_cell();
                flow.text(cell);
            } else {
                flow.text(if is_first { "" } else { " | " });
                let words: Vec<&str> = cell.split_whitespace().collect();
                flow.text(&words.join(" "));
            }
            is_first = false;
            line = line.saturating_add(newlines(cell.as_bytes()));
        }
        if has_header {
            flow.end_row();
        } else {
            flow.text("\n");
        }
    }
    if has_header {
        flow.end_table();
    } else {
        flow.end_verbatim();
    }
    flow.finish(Places::Lines)
}

/// The first rows of a table.
fn sample(text: &str, dialect: &Dialect) -> Vec<StringRecord> {
    let sample = &text[..text.floor_char_boundary(SAMPLE)];
    // The last row is cut, unless it is the only one.
    let end = sample.rfind('\n').filter(|_| sample.len() < text.len()).unwrap_or(sample.len());
    dialect.reader(&sample[..end]).into_records().flatten().take(SAMPLE_ROWS).collect()
}

/// What cuts most rows into the same number of cells.
fn delimiter(text: &str) -> u8 {
    let merit = |delimiter: u8| {
        let rows = sample(text, &Dialect { delimiter, has_quotes: true, first_line: 1 });
        let mut widths: Vec<usize> = rows.iter().map(StringRecord::len).collect();
        widths.sort_unstable();
        let runs = widths.chunk_by(|a, b| a == b).filter(|run| run[0] > 1);
        let most = runs.max_by_key(|run| run.len()).unwrap_or_default();
        (most.len(), most.first().copied().unwrap_or(0))
    };
    // The last of several maxima is the one that is found.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| merit(*delimiter)).unwrap_or(b',')
}

/// Whether a quote opens a cell that goes on for many lines: to its author it was only a sign.
fn has_open_quote(text: &str, delimiter: u8) -> bool {
    let mut reader = Dialect { delimiter, has_quotes: true, first_line: 1 }.reader(text);
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).is_ok_and(|is_row| is_row) {
        if record.iter().any(|cell| newlines(cell.as_bytes()) > MAX_CELL_LINES) {
            return true;
        }
    }
    false
}

/// Whether the first row names the columns: it has names and no figures, or years in a table of
/// figures.
fn has_header(text: &str, dialect: &Dialect) -> bool {
    let rows = sample(text, dialect);
    let Some((first, others)) = rows.split_first() else { return false };
    let names = first.iter().filter(|cell| !cell.trim().is_empty());
    let is_name = |cell: &str| !is_figure(cell);
    if others.is_empty() || names.clone().count() == 0 {
        return false;
    }
    if names.clone().all(is_name) {
        return true;
    }
    let is_year = |cell: &str| cell.trim().parse().is_ok_and(|y: u32| (1900..2200).contains(&y));
    names.clone().next().is_some_and(is_name)
        && names.clone().all(|cell| is_name(cell) || is_year(cell))
        && others.iter().take(9).all(|row| row.iter().skip(1).all(|cell| !is_year(cell)))
}

/// Whether a cell is a number, an amount, a date or the like: more digits than letters.
fn is_figure(cell: &str) -> bool {
    let digits = cell.chars().filter(char::is_ascii_digit).count();
    digits > cell.chars().filter(|c| c.is_alphabetic()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::samples::documents;
    use crate::documents::section::BlockKind;
    use crate::documents::structure::LineCounter;
    use crate::documents::{Document, Place};

    fn document(name: &str, bytes: impl AsRef<[u8]>) -> Document {
        let (_folder, mut documents) = documents(name, bytes);
        assert_eq!(documents.len(), 1);
        documents.remove(0).unwrap()
    }

    fn text(csv: &str) -> String {
        document("a.csv", csv).text
    }

    fn lines_of(document: &Document, part: &str) -> Option<Place> {
        let at = document.text.find(part).unwrap();
        let mut lines = LineCounter::new(&document.text);
        document.structure.places.of(&(at..at + part.len()), &mut lines)
    }

    #[test]
    fn cells_are_told_apart_by_what_the_file_separates_them_with() {
        for csv in [
            "Mã,Giá\nA1,5\nA2,7\n",
            "Mã;Giá\nA1;5\nA2;7\n",
            "Mã\tGiá\nA1\t5\nA2\t7",
            "Mã|Giá\nA1|5\nA2|7",
        ] {
            assert_eq!(text(csv), "Mã | Giá\nA1 | 5\nA2 | 7", "{csv:?}");
        }
        assert_eq!(text("Tên;Giá\nA;1,5\nB;2,5\n"), "Tên | Giá\nA | 1,5\nB | 2,5");
        assert_eq!(text("sep=;\nTên;Giá\nA;1,5"), "Tên | Giá\nA | 1,5");
        assert_eq!(text("một cột\ndòng hai"), "một cột\ndòng hai");
    }

    #[test]
    fn quotes_span_lines_and_rows_know_theirs() {
        let document = document("a.csv", "Tên,Ghi chú\nAn,\"dòng một\n\"\"hai\"\", ba\"\nBình,x\n");
        assert_eq!(document.text, "Tên | Ghi chú\nAn | dòng một \"hai\", ba\nBình | x");
        assert_eq!(lines_of(&document, "Bình"), Some(Place::Lines(4, 4)));
        assert_eq!(lines_of(&document, "An |"), Some(Place::Lines(2, 2)));
    }

    #[test]
    fn a_quote_that_is_never_closed_swallows_nothing() {
        let rows = (0..5000).map(|row| format!("r{row},x\n")).collect::<Vec<_>>().concat();
        let document = document("a.csv", format!("tên,mô tả\nmàn hình,\"27 inch\n{rows}"));
        assert!(
            document.text.contains("màn hình | \"27 inch\nr0 | x\n"),
            "{}",
            &document.text[..99]
        );
        assert_eq!(lines_of(&document, "r4999"), Some(Place::Lines(5002, 5002)));
    }

    #[test]
    fn rows_of_any_length_are_kept() {
        assert_eq!(text("a,b\n1\n2,3,4\n\n,,\n5,6"), "a | b\n1\n2 | 3 | 4\n5 | 6");
    }

    #[test]
    fn without_names_in_the_first_row_there_is_no_header() {
        let kind = |csv: &str| document("a.csv", csv).structure.sections.unwrap()[0].blocks[0].kind;
        assert_eq!(kind("1,2\n3,4\n"), BlockKind::Lines);
        assert_eq!(text("1,2\n3,4\n").trim_end(), "1 | 2\n3 | 4");
        assert!(has_header(
            "Tỉnh,2019,2020\nA,5,6",
            &Dialect { delimiter: b',', has_quotes: true, first_line: 1 }
        ));
    }

    #[test]
    fn exports_of_excel_are_utf_16() {
        let csv = "\u{feff}Tên\tGiá\r\nẤm\t5\r\n";
        let bytes: Vec<u8> = csv.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(document("a.csv", bytes).text, "Tên | Giá\nẤm | 5");
        assert_eq!(document("a.tsv", "a\tb\n1\t2").text, "a | b\n1 | 2");
    }

    #[test]
    fn many_rows_and_many_columns_take_linear_time() {
        let begin = std::time::Instant::now();
        let rows =
            (0..100_000).map(|row| format!("{row},tên {row},9\n")).collect::<Vec<_>>().concat();
        let document = document("a.csv", format!("id,name,n\n{rows}"));
        assert_eq!(lines_of(&document, "99999 | tên"), Some(Place::Lines(100_001, 100_001)));
        let wide = "x,".repeat(1_000_000);
        assert!(text(&wide).len() >= 1_000_000);
        assert!(begin.elapsed() < std::time::Duration::from_mins(2), "{:?}", begin.elapsed());
    }
}
