//! Charts and diagrams (`SmartArt`) of a Word document: the words and numbers in them.

use quick_xml::events::Event;

use super::frame::Passage;
use crate::documents::formats::package::{entity, lenient};

/// Rows of a chart's table, and series. Charts with more are pictures of many points, not of
/// numbers that people read.
const MAX_ROWS: usize = 1000;
const MAX_SERIES: usize = 64;

/// The text of a diagram, a line for each of its shapes.
pub(super) fn diagram(xml: &str) -> Vec<Passage> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    read(xml, |part| match part {
        Part::Text(text) => line.push_str(text),
        Part::End("p") => line.push(' '),
        Part::End("pt") => {
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.is_empty() {
                lines.push(words.join(" "));
            }
            line.clear();
        }
        _ => {}
    });
    if lines.is_empty() { Vec::new() } else { vec![Passage::lines(lines.join("\n"))] }
}

/// The titles of a chart, and its numbers as a table: a row for each category.
pub(super) fn chart(xml: &str) -> Vec<Passage> {
    let mut chart = Chart::default();
    read(xml, |part| chart.take(part));
    let mut passages: Vec<Passage> = chart.titles.into_iter().map(Passage::prose).collect();
    let mut rows: Vec<String> = Vec::new();
    if chart.series.iter().any(|series| !series.name.is_empty()) {
        let names: Vec<&str> = chart.series.iter().map(|series| series.name.trim()).collect();
        rows.push(format!(" | {}", names.join(" | ")));
    }
    let categories = chart.series.first().map(|series| series.categories.clone());
    let count = chart.series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    let point = |points: &[String], at: usize| points.get(at).cloned().unwrap_or_default();
    for at in 0..count.min(MAX_ROWS) {
        let mut row = point(categories.as_deref().unwrap_or_default(), at);
        for series in &chart.series {
            row.push_str(" | ");
            row.push_str(&rounded(point(&series.values, at)));
        }
        rows.push(row);
    }
    if !rows.is_empty() {
        passages.push(Passage::lines(rows.join("\n")));
    }
    passages
}

#[derive(Default)]
struct Chart {
    titles: Vec<String>,
    title: String,
    series: Vec<Series>,
    /// What the text is part of.
    at: At,
    in_series: bool,
    value: String,
}

#[derive(Default)]
struct Series {
    name: String,
    categories: Vec<String>,
    values: Vec<String>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Nowhere,
    Title,
    Name,
    Categories,
    Values,
}

impl Chart {
    fn take(&mut self, part: Part) {
        match part {
            Part::Start("title") if !self.in_series => self.at = At::Title,
            Part::Start("ser") if self.series.len() < MAX_SERIES => {
                self.in_series = true;
                self.series.push(Series::default());
            }
            Part::Start("tx") if self.in_series => self.at = At::Name,
            Part::Start("cat" | "xVal") => self.at = At::Categories,
            Part::Start("val" | "yVal") => self.at = At::Values,
            Part::Text(text) if self.at == At::Title => self.title.push_str(text),
            Part::Text(text) => self.value.push_str(text),
            Part::End("p") if self.at == At::Title => self.title.push(' '),
            Part::End("title") => {
                let words: Vec<&str> = self.title.split_whitespace().collect();
                if !words.is_empty() {
                    self.titles.push(words.join(" "));
                }
                self.title.clear();
                self.at = At::Nowhere;
            }
            Part::End("v") => self.end_value(),
            Part::End("tx" | "cat" | "xVal" | "val" | "yVal") => self.at = At::Nowhere,
            Part::End("ser") => self.in_series = false,
            _ => {}
        }
    }

    fn end_value(&mut self) {
        let value = std::mem::take(&mut self.value);
        let Some(series) = self.series.last_mut().filter(|_| self.in_series) else { return };
        match self.at {
            At::Name => series.name.push_str(&value),
            At::Categories if series.categories.len() < MAX_ROWS => series.categories.push(value),
            At::Values if series.values.len() < MAX_ROWS => series.values.push(value),
            _ => {}
        }
    }
}

/// A number as people would write it: spreadsheets store 4.2999999999999998 for 4.3.
fn rounded(value: String) -> String {
    match value.trim().parse::<f64>() {
        Ok(number) if number.abs() < 1e9 && value.len() > 12 => {
            ((number * 1e6).round() / 1e6).to_string()
        }
        _ => value,
    }
}

#[derive(Clone, Copy)]
enum Part<'p> {
    Start(&'p str),
    /// Text that people see: `a:t`, and the values of charts.
    Text(&'p str),
    End(&'p str),
}

/// Reads a part as a stream. Damaged XML ends it.
fn read(xml: &str, mut take: impl FnMut(Part)) {
    let mut in_text = false;
    let mut reader = lenient(xml);
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Eof => break,
            Event::Start(tag) => {
                let name = tag.local_name();
                in_text = matches!(name.as_ref(), "t" | "v");
                take(Part::Start(name.as_ref()));
            }
            Event::End(tag) => {
                in_text = false;
                take(Part::End(tag.local_name().as_ref()));
            }
            Event::Text(part) if in_text => take(Part::Text(&part.xml10_content())),
            Event::GeneralRef(reference) if in_text => take(Part::Text(&entity(&reference))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(passages: Vec<Passage>) -> Vec<String> {
        passages.into_iter().map(|passage| passage.text).collect()
    }

    #[test]
    fn a_chart_is_its_titles_and_a_table() {
        let xml = "<c:chart><c:title><a:p><a:r><a:t>Doanh thu</a:t></a:r></a:p></c:title>\
            <c:ser><c:tx><c:strRef><c:f>Sheet1!B1</c:f><c:strCache><c:pt><c:v>2023</c:v></c:pt></c:strCache></c:strRef></c:tx>\
            <c:cat><c:pt><c:v>Bắc &amp; Trung</c:v></c:pt><c:pt><c:v>Nam</c:v></c:pt></c:cat>\
            <c:val><c:pt><c:v>4.2999999999999998</c:v></c:pt><c:pt><c:v>5</c:v></c:pt></c:val></c:ser>\
            <c:ser><c:tx><c:v>2024</c:v></c:tx><c:val><c:pt><c:v>6</c:v></c:pt></c:val></c:ser></c:chart>";
        assert_eq!(
            texts(chart(xml)),
            ["Doanh thu", " | 2023 | 2024\nBắc & Trung | 4.3 | 6\nNam | 5 | "]
        );
    }

    #[test]
    fn a_diagram_is_the_texts_of_its_shapes() {
        let xml = "<dgm:ptLst><dgm:pt><dgm:t><a:p><a:r><a:t>Giám </a:t></a:r><a:r><a:t>đốc</a:t></a:r></a:p></dgm:t></dgm:pt>\
            <dgm:pt type=\"pres\"/><dgm:pt><dgm:t><a:p><a:t>Kế toán</a:t></a:p></dgm:t></dgm:pt></dgm:ptLst>";
        assert_eq!(texts(diagram(xml)), ["Giám đốc\nKế toán"]);
        assert!(diagram("<a").is_empty());
    }
}
