//! The marks around reasoning.

use std::sync::LazyLock;

/// The characters that a mark begins with.
pub const FIRST: [char; 3] = ['<', '[', '◁'];

/// Names in marks, and whether reasoning under that name may also begin in mid-answer.
const NAMES: [(&str, bool); 12] = [
    ("think", true),
    ("thinking", true),
    ("thought", true),
    ("thoughts", false),
    ("seed:think", true),
    ("antthinking", true),
    ("reasoning", false),
    ("reason", false),
    ("analysis", false),
    ("reflection", false),
    ("scratchpad", false),
    ("inner_monologue", false),
];
/// What stands around a name: before it, before it where it closes, and after it. The first is taken
/// for every name, the others for the first two and `reasoning`.
const BRACKETS: [(&str, &str, &str); 4] =
    [("<", "</", ">"), ("[", "[/", "]"), ("◁", "◁/", "▷"), ("<|", "<|/", "|>")];
/// Marks of another form: opening, closing, and whether the closing one tells by itself that
/// reasoning ended. gpt-oss, Cohere's models, `OpenThinker`, Gemma.
const OTHERS: [(&str, &str, bool); 9] = [
    ("<|channel|>analysis<|message|>", "<|end|>", false),
    ("<|channel|>commentary<|message|>", "<|end|>", false),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|end|>", false),
    ("<|start|>assistant<|channel|>commentary<|message|>", "<|end|>", false),
    ("<|start_thinking|>", "<|end_thinking|>", true),
    ("<|begin_of_thought|>", "<|end_of_thought|>", true),
    ("<|channel>thought", "<channel|>", true),
    ("<unused94>", "<unused95>", true),
    ("here is my thought process:", "here is my response:", true),
];
/// What some models put before the answer proper. The last is what is left of gpt-oss's marks where
/// the server drops special tokens.
const FRAMES: [&str; 9] = [
    "<|start|>assistant<|channel|>final<|message|>",
    "<|channel|>final<|message|>",
    "<|start|>assistant",
    "<|begin_of_solution|>",
    "<|start_response|>",
    "<answer>",
    "<response>",
    "<final_answer>",
    "<final>",
];
/// Closes what begins with `analysis`.
const BARE_FINAL: &str = "assistantfinal";

/// A pair of marks, in small letters.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    opening: String,
    closing: String,
    /// Whether the closing mark tells by itself that reasoning ended.
    is_clear: bool,
    /// Whether such reasoning may also begin in mid-answer.
    pub may_interrupt: bool,
}

static MARKS: LazyLock<Vec<Mark>> = LazyLock::new(|| {
    let mut marks = Vec::new();
    for (at, (name, may_interrupt)) in NAMES.into_iter().enumerate() {
        let brackets = if at < 2 || name == "reasoning" { &BRACKETS[..] } else { &BRACKETS[..1] };
        marks.extend(brackets.iter().map(|(before, before_closing, after)| Mark {
            opening: format!("{before}{name}{after}"),
            closing: format!("{before_closing}{name}{after}"),
            is_clear: true,
            may_interrupt,
        }));
    }
    marks.extend(OTHERS.map(|(opening, closing, is_clear)| Mark {
        opening: opening.to_owned(),
        closing: closing.to_owned(),
        is_clear,
        may_interrupt: true,
    }));
    marks
});

/// What a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// An opening mark of this many bytes.
    Opens(&'static Mark, usize),
    /// A closing mark.
    Closes(usize),
    /// What stands before the answer proper.
    Frames(usize),
    /// It is the beginning of a mark.
    Begun,
    None,
}

/// What `text` begins with.
pub fn at(text: &str) -> At {
    let begins = |mark: &&Mark| has_prefix(text, &mark.opening);
    if let Some(mark) = MARKS.iter().filter(begins).max_by_key(|mark| mark.opening.len()) {
        return At::Opens(mark, mark.opening.len());
    }
    let mut closing = MARKS.iter().filter(|mark| mark.is_clear).map(|mark| &mark.closing);
    if let Some(closing) = closing.clone().find(|closing| has_prefix(text, closing)) {
        return At::Closes(closing.len());
    }
    let openings = || MARKS.iter().map(|mark| mark.opening.as_str()).chain(FRAMES);
    // `<|start|>assistant` is the beginning of longer ones.
    if openings().any(|mark| is_begun(text, mark)) || closing.any(|mark| is_begun(text, mark)) {
        return At::Begun;
    }
    FRAMES
        .iter()
        .find(|frame| has_prefix(text, frame))
        .map_or(At::None, |frame| At::Frames(frame.len()))
}

/// The first closing mark in `text`, from `from` on: its start and end. Otherwise, how much
/// of the text is known to have none.
pub fn closing(text: &str, from: usize) -> Result<(usize, usize), usize> {
    let clear = MARKS.iter().filter(|mark| mark.is_clear).map(|mark| &*mark.closing);
    let bare = Some(BARE_FINAL).filter(|_| has_prefix(text, "analysis"));
    let closings: Vec<&str> = clear.chain(bare).collect();
    first_of(text, from, &closings, |start| !is_quoted(&text[..start]))
}

impl Mark {
    /// The end of reasoning that began with this mark: where the closing mark starts and ends.
    /// Otherwise, how much of the text is known to belong to it.
    pub fn end(&self, text: &str) -> Result<(usize, usize), usize> {
        // Models mix the names up.
        let clear = MARKS.iter().filter(|mark| mark.is_clear).map(|mark| &*mark.closing);
        let own =
            [&*self.closing].into_iter().chain(FRAMES).take(if self.is_clear { 1 } else { 3 });
        let closings: Vec<&str> = own.chain(clear).collect();
        first_of(text, 0, &closings, |_| true)
    }
}

fn first_of(
    text: &str,
    from: usize,
    closings: &[&str],
    counts: impl Fn(usize) -> bool,
) -> Result<(usize, usize), usize> {
    for (start, _) in text.char_indices().skip_while(|(start, _)| *start < from) {
        let rest = &text[start..];
        if let Some(closing) = closings.iter().find(|closing| has_prefix(rest, closing)) {
            if counts(start) {
                return Ok((start, start + closing.len()));
            }
        } else if closings.iter().any(|closing| is_begun(rest, closing)) {
            return Err(start);
        }
    }
    Err(text.len())
}

/// Whether what follows `before` is text about a mark: in code, in quotation marks, or after an
/// opening mark in the same line.
pub fn is_quoted(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let in_code = line.matches('`').count() % 2 == 1;
    let in_quotes = line.ends_with(['"', '\'', '“', '‘', '«', '「']);
    let after_opening = line
        .char_indices()
        .any(|(at, c)| FIRST.contains(&c) && matches!(self::at(&line[at..]), At::Opens(..)));
    in_code || in_quotes || after_opening || is_fenced(before)
}

/// Whether what follows `before` stands at the beginning of a line that is no code.
pub fn is_own_line(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.trim().is_empty() && !is_fenced(before)
}

fn is_fenced(before: &str) -> bool {
    let is_fence = |line: &&str| line.trim_start().starts_with("```");
    before.lines().filter(is_fence).count() % 2 == 1
}

/// Whether `text` begins with `mark`, in letters of any case.
fn has_prefix(text: &str, mark: &str) -> bool {
    text.as_bytes()
        .get(..mark.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()))
}

/// Whether `text` is a true beginning of `mark`.
fn is_begun(text: &str, mark: &str) -> bool {
    text.len() < mark.len() && has_prefix(mark, text)
}
