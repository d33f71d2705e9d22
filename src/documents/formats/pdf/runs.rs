//! Where the letters of a page stand, and changes to how they are drawn.
//!
//! The library takes letters above or below the line for lines of their own, which tears paragraphs,
//! and letters drawn twice for text that stands there twice. Here they are put on the line, or left
//! out, before it reads the page.

use std::collections::{HashMap, HashSet};

use unpdf::parser::backend::{ContentOp, PageId, PdfBackend, PdfValue, ResourceScope};
use unpdf::parser::raw::content::parse_content_stream;

use super::copy::{write_name, write_real, write_string};

/// The name of a font with the letter ^ alone, which takes no room.
pub(super) const CARET_FONT: &str = "Caret";

/// A transformation of the plane, as PDF writes it.
type Matrix = [f32; 6];
const IDENTITY: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

/// A string that is drawn from left to right.
struct Run {
    /// The operator that draws it.
    at: usize,
    x: f32,
    y: f32,
    /// Where it ends.
    end: f32,
    /// Of its letters, on the page.
    size: f32,
    text: String,
    state: TextState,
    /// What a unit of the text's own space is on the page.
    unit: f32,
    /// How far it moves the position, in the text's own space.
    advance: f32,
}

#[derive(Clone)]
struct TextState {
    font: Vec<u8>,
    size: f32,
    letter_spacing: f32,
    word_spacing: f32,
    /// Horizontal scale.
    scale: f32,
    leading: f32,
    rise: f32,
}

/// A change to the operator that draws a run.
enum Change {
    /// Moves the position as far, and draws nothing.
    Skip { advance: f32, size: f32 },
    /// Draws it on the line.
    Level { rise: f32, caret: bool, state: TextState },
}

/// What is found out about the letters of a page.
#[derive(Default)]
pub(super) struct Letters {
    /// The content of the page with its letters put right, if they are not.
    pub mended: Option<Vec<u8>>,
    /// The area that they take.
    pub area: f32,
}

/// Reads where the letters stand that a page draws itself; nothing, if that cannot be read.
pub(super) fn letters(backend: &dyn PdfBackend, page: PageId) -> Letters {
    let Ok(content) = backend.page_content_with_losses(page) else { return Letters::default() };
    let Ok(operators) = parse_content_stream(&content.data) else { return Letters::default() };
    let mut runs = runs(backend, page, &operators);
    let drawn = runs.len();
    let mut changes: Vec<Option<Change>> = Vec::new();
    changes.resize_with(operators.len(), || None);
    skip_doubles(&mut runs, &mut changes);
    let is_changed = level_scripts(&runs, &mut changes) || runs.len() < drawn;
    // Writing it again would hide that a part of it is lost.
    let is_whole = content.undecodable_streams == 0;
    Letters {
        mended: (is_changed && is_whole).then(|| written(&operators, &changes)),
        area: runs.iter().map(|run| (run.end - run.x) * run.size).sum(),
    }
}

/// The runs that a page draws itself, in this order.
fn runs(backend: &dyn PdfBackend, page: PageId, operators: &[ContentOp]) -> Vec<Run> {
    let mut reader = Reader::new(backend, page);
    let mut runs = Vec::new();
    for (at, operator) in operators.iter().enumerate() {
        if let Some(mut run) = reader.follow(operator) {
            run.at = at;
            if !run.text.trim().is_empty() {
                runs.push(run);
            }
        }
    }
    runs
}

/// Follows the operators of a page as far as they place text.
struct Reader<'b> {
    backend: &'b dyn PdfBackend,
    scope: ResourceScope,
    page: Matrix,
    text: TextState,
    saved: Vec<(Matrix, TextState)>,
    line: Matrix,
    position: Matrix,
    /// Text whose letters have no known width was drawn since the last move.
    is_lost: bool,
}

impl<'b> Reader<'b> {
    fn new(backend: &'b dyn PdfBackend, page: PageId) -> Self {
        let text = TextState {
            font: Vec::new(),
            size: 12.0,
            letter_spacing: 0.0,
            word_spacing: 0.0,
            scale: 1.0,
            leading: 0.0,
            rise: 0.0,
        };
        let scope = ResourceScope::page(page);
        let [page, line, position] = [IDENTITY; 3];
        Self { backend, scope, page, text, saved: Vec::new(), line, position, is_lost: false }
    }

    /// What an operator draws, if it draws text from left to right.
    fn follow(&mut self, operator: &ContentOp) -> Option<Run> {
        let number = |at: usize| operator.operands.get(at).and_then(number);
        let text = &mut self.text;
        match operator.operator.as_str() {
            "q" => self.saved.push((self.page, self.text.clone())),
            "Q" => {
                if let Some((page, text)) = self.saved.pop() {
                    (self.page, self.text) = (page, text);
                }
            }
            "cm" => self.page = product(matrix(operator)?, self.page),
            "BT" => self.move_to(IDENTITY),
            "Tf" => {
                if let Some(PdfValue::Name(font)) = operator.operands.first() {
                    text.font.clone_from(font);
                }
                text.size = number(1)?;
            }
            "Tc" => text.letter_spacing = number(0)?,
            "Tw" => text.word_spacing = number(0)?,
            "Tz" => text.scale = number(0)? / 100.0,
            "TL" => text.leading = number(0)?,
            "Ts" => text.rise = number(0)?,
            "Td" => self.next_line(number(0)?, number(1)?),
            "TD" => {
                text.leading = -number(1)?;
                self.next_line(number(0)?, number(1)?);
            }
            "Tm" => self.move_to(matrix(operator)?),
            "T*" => self.next_line(0.0, -self.text.leading),
            "Tj" | "TJ" => return self.draw(operator.operands.first()?),
            "'" => {
                self.next_line(0.0, -self.text.leading);
                return self.draw(operator.operands.first()?);
            }
            "\"" => {
                (text.word_spacing, text.letter_spacing) = (number(0)?, number(1)?);
                self.next_line(0.0, -self.text.leading);
                return self.draw(operator.operands.get(2)?);
            }
            _ => {}
        }
        None
    }

    fn next_line(&mut self, x: f32, y: f32) {
        self.move_to(product([1.0, 0.0, 0.0, 1.0, x, y], self.line));
    }

    fn move_to(&mut self, line: Matrix) {
        (self.line, self.position, self.is_lost) = (line, line, false);
    }

    fn draw(&mut self, drawn: &PdfValue) -> Option<Run> {
        let items = match drawn {
            PdfValue::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        let state = &self.text;
        let (mut text, mut advance, mut lead) = (String::new(), 0.0, None);
        for item in items {
            if let Some(back) = number(item) {
                advance -= back / 1000.0 * state.size * state.scale;
            } else if let PdfValue::Str(bytes) = item {
                lead.get_or_insert(advance);
                text.push_str(&self.backend.decode_text(self.scope, &state.font, bytes).text);
                let glyphs = self.backend.glyph_advances(self.scope, &state.font, bytes);
                let glyphs = glyphs.filter(|all| all.iter().all(|glyph| glyph.vertical.is_none()));
                self.is_lost |= glyphs.is_none();
                for glyph in glyphs.unwrap_or_default() {
                    let word = if glyph.is_word_space { state.word_spacing } else { 0.0 };
                    let width = glyph.width / 1000.0 * state.size;
                    advance += (width + state.letter_spacing + word) * state.scale;
                }
            }
        }
        let lead = lead?;
        let place = product(self.position, self.page);
        self.position = product([1.0, 0.0, 0.0, 1.0, advance, 0.0], self.position);
        // Turned or mirrored text stays as it is, and so does a run that begins far away.
        if self.is_lost
            || place[0] <= 0.0
            || place[3] <= 0.0
            || place[1].abs() > 0.01 * place[0]
            || lead.abs() > state.size / 4.0
        {
            return None;
        }
        let x = place[0] * lead + place[4];
        let y = place[3] * state.rise + place[5];
        let end = place[0] * advance + place[4];
        let (size, unit) = (place[3] * state.size, place[3]);
        (size > 0.0 && end > x).then(|| Run {
            at: 0,
            x,
            y,
            end,
            size,
            text,
            state: state.clone(),
            unit,
            advance,
        })
    }
}

fn number(value: &PdfValue) -> Option<f32> {
    match value {
        PdfValue::Integer(value) => Some(*value as f32),
        PdfValue::Real(value) => Some(*value),
        _ => None,
    }
}

fn matrix(operator: &ContentOp) -> Option<Matrix> {
    let numbers: Vec<f32> = operator.operands.iter().map(number).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// What `a` does and then `b`.
fn product(a: Matrix, b: Matrix) -> Matrix {
    [
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
        a[4] * b[0] + a[5] * b[2] + b[4],
        a[4] * b[1] + a[5] * b[3] + b[5],
    ]
}

/// Leaves out what is drawn a second time in the same place, to look bold or to cast a shadow.
fn skip_doubles(runs: &mut Vec<Run>, changes: &mut [Option<Change>]) {
    /// Of the size of the letters.
    const SAME_PLACE: f32 = 0.1;
    let mut drawn: HashMap<String, HashSet<(i64, i64)>> = HashMap::new();
    runs.retain(|run| {
        let cell = run.size * SAME_PLACE;
        let [x, y] = [run.x, run.y].map(|at| (at / cell).round() as i64);
        let places = drawn.entry(run.text.clone()).or_default();
        let mut around = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (x + dx, y + dy)));
        if around.any(|place| places.contains(&place)) {
            let size = run.state.size * run.state.scale;
            changes[run.at] = Some(Change::Skip { advance: run.advance, size });
            return false;
        }
        places.insert((x, y));
        true
    });
}

/// Scripts are no longer.
const MAX_SCRIPT: usize = 12;

/// Puts superscripts and subscripts on the line that they belong to. Whether there are any.
fn level_scripts(runs: &[Run], changes: &mut [Option<Change>]) -> bool {
    let mut any = false;
    // The last run on a line, and where what was drawn behind it ends.
    let mut line: Option<(&Run, f32)> = None;
    let mut at = 0;
    while at < runs.len() {
        // Runs that belong together, such as the digits of a number.
        let same = |run: &&Run| {
            let first = &runs[at];
            (run.y - first.y).abs() < 0.05 * first.size && run.size == first.size
        };
        let mut count = 1;
        while at + count < runs.len()
            && count < MAX_SCRIPT
            && same(&&runs[at + count])
            && (runs[at + count].x - runs[at + count - 1].end).abs() < 0.3 * runs[at].size
        {
            count += 1;
        }
        let group = &runs[at..at + count];
        let owner = line
            .filter(|(owner, end)| is_script(group, owner, &[*end, owner.end]))
            .map(|(owner, _)| owner);
        let next = runs.get(at + count).filter(|next| opens(group, next));
        if let Some(owner) = owner.or(next) {
            let caret = owner.at < group[0].at && needs_caret(group, owner);
            for (index, run) in group.iter().enumerate() {
                let rise = run.state.rise + (owner.y - run.y) / run.unit;
                let caret = caret && index == 0 && !run.state.font.is_empty();
                changes[run.at] = Some(Change::Level { rise, caret, state: run.state.clone() });
            }
            any = true;
            if let Some((_, end)) = &mut line {
                *end = group[count - 1].end;
            }
        } else {
            line = Some((&group[count - 1], group[count - 1].end));
        }
        at += count;
    }
    any
}

/// Whether these runs are a script of a line: smaller, a little above or below it, and right behind
/// its letters.
fn is_script(group: &[Run], owner: &Run, ends: &[f32]) -> bool {
    let first = &group[0];
    // TeX's own name has its A over the L.
    let is_behind = |end: &f32| (-0.45..0.35).contains(&((first.x - end) / owner.size));
    is_small(group, owner) && ends.iter().any(is_behind)
}

/// Whether these runs are a note's mark, before its first word.
fn opens(group: &[Run], next: &Run) -> bool {
    let last = &group[group.len() - 1];
    let is_mark = |c: char| c.is_ascii_digit() || "*†‡§()[]abc".contains(c);
    is_small(group, next)
        && group[0].y > next.y
        && group.iter().all(|run| run.text.chars().all(is_mark))
        && (-0.1..0.6).contains(&((next.x - last.end) / next.size))
}

fn is_small(group: &[Run], owner: &Run) -> bool {
    let first = &group[0];
    let shift = (first.y - owner.y).abs() / owner.size;
    let letters: usize = group.iter().map(|run| run.text.chars().count()).sum();
    (0.4..0.99).contains(&(first.size / owner.size))
        && (0.08..0.62).contains(&shift)
        && letters <= MAX_SCRIPT
        && !group.iter().any(|run| run.text.trim().contains(char::is_whitespace))
}

/// Whether a raised number would be read as the end of what it stands behind.
fn needs_caret(group: &[Run], owner: &Run) -> bool {
    let begins = group[0].text.trim_start().trim_start_matches(['-', '−', '–', '+', '±']);
    group[0].y > owner.y && begins.starts_with(char::is_numeric)
}

/// The content of a page with these changes to its operators.
fn written(operators: &[ContentOp], changes: &[Option<Change>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (operator, change) in operators.iter().zip(changes) {
        match change {
            None => write_operator(operator, &mut out),
            Some(Change::Skip { advance, size }) => write_skip(operator, *advance, *size, &mut out),
            Some(Change::Level { rise, caret, state }) => {
                // The move to the next line comes before the caret.
                let drawn = write_move(operator, &mut out);
                set(&mut out, *rise, "Ts");
                if *caret {
                    write_caret(state, &mut out);
                }
                write_value(drawn, &mut out);
                out.extend(if matches!(drawn, PdfValue::Array(_)) { b" TJ\n" } else { b" Tj\n" });
                set(&mut out, state.rise, "Ts");
            }
        }
    }
    out
}

fn write_operator(operator: &ContentOp, out: &mut Vec<u8>) {
    if let ("BI", Some(PdfValue::Str(body))) =
        (operator.operator.as_str(), operator.operands.first())
    {
        out.extend(b"BI ");
        out.extend(body);
        out.extend(b" EI\n");
        return;
    }
    for operand in &operator.operands {
        write_value(operand, out);
        out.push(b' ');
    }
    out.extend(operator.operator.as_bytes());
    out.push(b'\n');
}

/// Writes what an operator does before it draws, and gives what it draws.
fn write_move<'o>(operator: &'o ContentOp, out: &mut Vec<u8>) -> &'o PdfValue {
    match (operator.operator.as_str(), operator.operands.as_slice()) {
        ("'", [drawn, ..]) => {
            out.extend(b"T*\n");
            drawn
        }
        ("\"", [word, letter, drawn, ..]) => {
            set(out, number(word).unwrap_or(0.0), "Tw");
            set(out, number(letter).unwrap_or(0.0), "Tc");
            out.extend(b"T*\n");
            drawn
        }
        (_, [drawn, ..]) => drawn,
        _ => &PdfValue::Other,
    }
}

fn write_skip(operator: &ContentOp, advance: f32, size: f32, out: &mut Vec<u8>) {
    write_move(operator, out);
    if size != 0.0 {
        out.push(b'[');
        write_real(f64::from(-1000.0 * advance / size), out);
        out.extend(b"] TJ\n");
    }
}

fn write_caret(state: &TextState, out: &mut Vec<u8>) {
    set(out, 0.0, "Tc");
    for (font, shown) in [(CARET_FONT.as_bytes(), "<5e> Tj\n"), (state.font.as_slice(), "")] {
        write_name(font, out);
        out.push(b' ');
        set(out, state.size, "Tf");
        out.extend(shown.as_bytes());
    }
    set(out, state.letter_spacing, "Tc");
}

fn set(out: &mut Vec<u8>, value: f32, operator: &str) {
    write_real(f64::from(value), out);
    out.push(b' ');
    out.extend(operator.as_bytes());
    out.push(b'\n');
}

fn write_value(value: &PdfValue, out: &mut Vec<u8>) {
    match value {
        PdfValue::Integer(value) => out.extend(value.to_string().into_bytes()),
        PdfValue::Real(value) => write_real(f64::from(*value), out),
        PdfValue::Name(name) => write_name(name, out),
        PdfValue::Str(bytes) => write_string(bytes, out),
        PdfValue::Array(items) => {
            out.push(b'[');
            for item in items {
                // Arrays inside of arrays are no operands.
                if !matches!(item, PdfValue::Array(_)) {
                    write_value(item, out);
                    out.push(b' ');
                }
            }
            out.push(b']');
        }
        PdfValue::Other => out.extend(b"null"),
    }
}
