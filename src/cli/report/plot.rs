//! Where the parts of a plot lie, in pixels. The macros of `page.jinja` draw them.

use serde::Serialize;

use crate::support::logistic::logit;

/// Of every plot: as wide as a phone, so that letters keep their size there.
const WIDTH: f64 = 320.0;
/// Room beside the first and the last tick for half of their labels.
const MARGIN: f64 = 14.0;
/// Height of a row: a line of text, and below it what is measured.
const ROW: f64 = 42.0;
/// Below the text's base line.
const MARK: f64 = 13.0;
/// Room for the labels of an axis.
const AXIS: f64 = 22.0;
/// Height of a plot of one value by another.
const SQUARE: f64 = 250.0;
/// Height of a row of dots, and the rows of pixels that dots of the same value are spread over.
const DOTS: f64 = 64.0;
const SPREAD: usize = 13;
/// Probabilities beyond are drawn here: certainty is infinitely far away.
const CERTAIN: f64 = 0.001;
/// Most steps between ticks.
const STEPS: f64 = 5.0;

#[derive(Serialize)]
struct Tick {
    at: f64,
    label: String,
}

/// Maps values to pixels.
struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = (value.clamp(low, high) - low) / (high - low).max(f64::MIN_POSITIVE);
        let at = self.pixels.0 + share * (self.pixels.1 - self.pixels.0);
        (10.0 * at).round() / 10.0
    }

    /// At round numbers, of which the first and the last are the ends of the scale.
    fn ticks(&self) -> Vec<Tick> {
        let (low, high) = self.values;
        let step = round_step(high - low);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let count = ((high - low) / step).round() as usize;
        let values = (0..=count).map(|i| low + step * i as f64);
        values
            .map(|value| Tick { at: self.at(value), label: format!("{value:.digits$}") })
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that `range` has at most [`STEPS`] of it.
fn round_step(range: f64) -> f64 {
    let range = if range > 0.0 { range } else { 1.0 };
    let unit = 10f64.powf((range / STEPS).log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|by| by * unit)
        .find(|step| range / step <= STEPS + 1e-9)
        .unwrap_or(10.0 * unit)
}

/// `values`, extended to round numbers.
fn rounded((low, high): (f64, f64)) -> (f64, f64) {
    let step = round_step(high - low);
    let low = (low / step + 1e-9).floor() * step;
    (low, ((high / step - 1e-9).ceil() * step).max(low + step))
}

/// Labelled values below one another, on one axis.
#[derive(Serialize)]
pub struct Values {
    title: String,
    width: f64,
    height: f64,
    /// Where the lines of the ticks end, above their labels.
    bottom: f64,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    label: String,
    /// The value in words.
    value: String,
    /// The base line of the text.
    text: f64,
    /// The middle of the mark.
    middle: f64,
    /// Where bars begin.
    start: f64,
    x: f64,
    low: f64,
    high: f64,
}

/// A value with the interval that it probably lies in.
pub struct Labelled {
    pub label: String,
    /// The value in words.
    pub words: String,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Values {
    /// Means with their intervals. `range` is what the axis shows at least.
    pub fn intervals(title: &str, rows: Vec<Labelled>, range: (f64, f64)) -> Self {
        Self::new(title, rows, rounded(range))
    }

    /// Bars from 0.
    pub fn bars(title: &str, rows: Vec<Labelled>) -> Self {
        let longest = rows.iter().map(|row| row.high.max(row.value)).fold(0.0, f64::max);
        Self::new(title, rows, rounded((0.0, longest)))
    }

    fn new(title: &str, rows: Vec<Labelled>, values: (f64, f64)) -> Self {
        let scale = Scale { values, pixels: (MARGIN, WIDTH - MARGIN) };
        let bottom = ROW * rows.len() as f64;
        let row = |(i, row): (usize, Labelled)| {
            let text = ROW * i as f64 + 16.0;
            Row {
                label: row.label,
                value: row.words,
                text,
                middle: text + MARK,
                start: scale.at(values.0),
                x: scale.at(row.value),
                low: scale.at(row.low),
                high: scale.at(row.high),
            }
        };
        Self {
            title: title.to_owned(),
            width: WIDTH,
            height: bottom + AXIS,
            bottom,
            ticks: scale.ticks(),
            rows: rows.into_iter().enumerate().map(row).collect(),
        }
    }
}

/// One share by another, both from 0 to 1.
#[derive(Serialize)]
pub struct Curve {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    across: Vec<Tick>,
    up: Vec<Tick>,
    /// `x,y` of each point.
    line: String,
    marks: Vec<Mark>,
}

#[derive(Serialize)]
struct Mark {
    x: f64,
    y: f64,
    label: String,
}

impl Curve {
    /// Through `points`, and `marks` beside it with their names.
    pub fn new(points: &[(f64, f64)], marks: Vec<(String, (f64, f64))>) -> Self {
        let (left, right, top, bottom) = (34.0, WIDTH - MARGIN, 10.0, SQUARE - 2.0 * AXIS);
        let across = Scale { values: (0.0, 1.0), pixels: (left, right) };
        let up = Scale { values: (0.0, 1.0), pixels: (bottom, top) };
        let pixels = points.iter().map(|(x, y)| format!("{},{}", across.at(*x), up.at(*y)));
        let mark = |(label, (x, y))| Mark { x: across.at(x), y: up.at(y), label };
        Self {
            width: WIDTH,
            height: SQUARE,
            left,
            right,
            top,
            bottom,
            across: across.ticks(),
            up: up.ticks(),
            line: pixels.collect::<Vec<_>>().join(" "),
            marks: marks.into_iter().map(mark).collect(),
        }
    }
}

/// Probabilities as dots, in rows, on an axis that stretches both ends.
#[derive(Serialize)]
pub struct Dots {
    width: f64,
    height: f64,
    bottom: f64,
    ticks: Vec<Tick>,
    rows: Vec<DotRow>,
}

#[derive(Serialize)]
struct DotRow {
    label: String,
    text: f64,
    dots: Vec<Dot>,
}

#[derive(Serialize)]
struct Dot {
    x: f64,
    y: f64,
    name: String,
    /// Whether it is drawn to be noticed.
    noticed: bool,
}

/// A probability with a name, and whether it is drawn to be noticed.
pub type NamedProbability = (f64, String, bool);

impl Dots {
    pub fn new(rows: Vec<(String, Vec<NamedProbability>)>) -> Self {
        let stretched = |probability: f64| f64::from(logit(probability as f32));
        let values = (stretched(CERTAIN), stretched(1.0 - CERTAIN));
        let scale = Scale { values, pixels: (3.0 * MARGIN, WIDTH - 3.0 * MARGIN) };
        let at = |probability: f64| scale.at(stretched(probability));
        let labels = [
            (CERTAIN, "≤ 0.001"),
            (0.1, "0.1"),
            (0.5, "0.5"),
            (0.9, "0.9"),
            (1.0 - CERTAIN, "≥ 0.999"),
        ];
        let ticks = labels.map(|(value, label)| Tick { at: at(value), label: label.to_owned() });
        let bottom = DOTS * rows.len() as f64;
        let row = |(i, (label, dots)): (usize, (String, Vec<NamedProbability>))| {
            let text = DOTS * i as f64 + 16.0;
            let dot = |(k, (probability, name, noticed)): (usize, NamedProbability)| {
                // Neighbours in the file are far apart.
                let spread = (k * 5 % SPREAD) as f64;
                Dot { x: at(probability), y: text + 10.0 + 2.0 * spread, name, noticed }
            };
            DotRow { label, text, dots: dots.into_iter().enumerate().map(dot).collect() }
        };
        let rows = rows.into_iter().enumerate().map(row).collect();
        Self { width: WIDTH, height: bottom + AXIS, bottom, ticks: ticks.into(), rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: (f64, f64)) -> Vec<String> {
        let scale = Scale { values: rounded(values), pixels: (0.0, 100.0) };
        scale.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn axes_begin_and_end_at_round_numbers_around_their_values() {
        assert_eq!(labels((0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels((0.71, 1.0)), ["0.7", "0.8", "0.9", "1.0"]);
        assert_eq!(labels((0.0, 11.7)), ["0", "5", "10", "15"]);
        assert_eq!(labels((0.0, 0.034)), ["0.00", "0.01", "0.02", "0.03", "0.04"]);
        for value in [0.0, 1.0, 1e-9, 123_456.0] {
            assert!((2..=6).contains(&labels((value, value)).len()), "{value}");
        }
    }

    #[test]
    fn values_lie_between_the_ticks_that_they_lie_between() {
        let labelled = |value: f64| Labelled {
            label: String::new(),
            words: String::new(),
            value,
            low: value,
            high: value + 1.0,
        };
        let plot = Values::bars("", vec![labelled(4.0), labelled(8.0)]);
        let ticks: Vec<f64> = plot.ticks.iter().map(|tick| tick.at).collect();
        assert_eq!(ticks, [14.0, 72.4, 130.8, 189.2, 247.6, 306.0]);
        assert_eq!((plot.rows[0].start, plot.rows[0].x, plot.rows[1].x), (14.0, 130.8, 247.6));
        assert_eq!(plot.rows[1].high, 276.8);
    }

    #[test]
    fn what_is_certain_is_drawn_at_the_edge() {
        let dots = vec![
            (0.0, String::new(), false),
            (0.5, String::new(), true),
            (1.0, String::new(), true),
        ];
        let plot = Dots::new(vec![("row".to_owned(), dots)]);
        let x: Vec<f64> = plot.rows[0].dots.iter().map(|dot| dot.x).collect();
        assert_eq!(x, [42.0, 160.0, 278.0]);
    }
}
