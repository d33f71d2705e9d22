//! The words and numbers of a chart, or of a diagram.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::documents::formats::flow::Flow;
use crate::documents::formats::package::{attribute, entity};

/// Points of all series together. More are no figures to read.
const MAX_POINTS: usize = 10_000;

/// The values of one series, and what they belong to, by their numbers.
#[derive(Default)]
struct Series {
    name: String,
    categories: Vec<(usize, String)>,
    values: Vec<(usize, String)>,
}

/// What a `v` in a series is.
#[derive(Clone, Copy)]
enum Part {
    Name,
    Category,
    Value,
}

/// Writes titles and texts as paragraphs, and the series as a table with a row for each category.
pub(super) fn read(xml: &str, flow: &mut Flow) -> quick_xml::Result<()> {
    let mut series: Vec<Series> = Vec::new();
    let (mut part, mut point, mut points) = (None, 0, 0);
    let (mut in_text, mut in_value) = (false, false);
    let mut value = String::new();
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => break,
            Event::Start(tag) => match tag.local_name().as_ref() {
                "ser" => series.push(Series::default()),
                "tx" if !series.is_empty() => part = Some(Part::Name),
                "cat" | "xVal" => part = Some(Part::Category),
                "val" | "yVal" => part = Some(Part::Value),
                "pt" => point = attribute(&tag, "idx").and_then(|at| at.parse().ok()).unwrap_or(0),
                "t" => in_text = true,
                "v" => in_value = true,
                _ => {}
            },
            Event::Text(text) if in_text => flow.text(&text.xml10_content()),
            Event::GeneralRef(text) if in_text => flow.text(&entity(&text)),
            Event::Text(text) if in_value => value.push_str(&text.xml10_content()),
            Event::GeneralRef(text) if in_value => value.push_str(&entity(&text)),
            Event::End(tag) => match tag.local_name().as_ref() {
                "t" => in_text = false,
                "p" => flow.end_block(),
                "tx" | "cat" | "xVal" | "val" | "yVal" => part = None,
                "v" => {
                    in_value = false;
                    points += 1;
                    let value = std::mem::take(&mut value);
                    if let Some(series) = series.last_mut().filter(|_| points <= MAX_POINTS) {
                        series.take(part, point, value);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    flow.end_block();
    write(&series, flow);
    Ok(())
}

impl Series {
    fn take(&mut self, part: Option<Part>, point: usize, value: String) {
        match part {
            Some(Part::Name) => self.name.push_str(&value),
            Some(Part::Category) => self.categories.push((point, value)),
            Some(Part::Value) => self.values.push((point, value)),
            None => {}
        }
    }
}

fn write(series: &[Series], flow: &mut Flow) {
    let Some(first) = series.first() else { return };
    let cell = |text: &str, flow: &mut Flow| {
        flow.begin_cell();
        flow.text(text);
        flow.end_cell();
    };
    flow.begin_table();
    cell("", flow);
    for series in series {
        cell(&series.name, flow);
    }
    flow.end_row();
    // Each series goes through its points once.
    let mut left: Vec<_> = series.iter().map(|series| series.values.iter().peekable()).collect();
    let numbers = first.values.iter().map(|(number, _)| *number);
    let mut categories = first.categories.iter().peekable();
    for number in numbers {
        while categories.next_if(|(at, _)| *at < number).is_some() {}
        let category = categories.next_if(|(at, _)| *at == number);
        cell(category.map_or("", |(_, category)| category), flow);
        for values in &mut left {
            while values.next_if(|(at, _)| *at < number).is_some() {}
            let value = values.next_if(|(at, _)| *at == number);
            cell(value.map_or("", |(_, value)| value), flow);
        }
        flow.end_row();
    }
    flow.end_table();
}
