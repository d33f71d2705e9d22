//! Raised and lowered text, written so that it changes no number: `10⁶` is not 106, and the mark of
//! a note does not belong to the year before it.
//!
//! Powers of numbers get a `^`, which search and models keep apart, where `⁶` is a 6 to most of
//! them. Powers of units and variables are written as people write them: m², s⁻¹.

use super::output::Marked;

/// Text that is raised or lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// Raised: a power, an ordinal, a charge, or a note's mark. Which, its text and the text before
    /// it tell.
    Super,
    /// Lowered: H₂O, xᵢ, the lower half of ½.
    Sub,
    /// Raised, and known to be the mark of a note: a link to it, for example.
    Note,
}

/// Scripts within scripts that are told apart.
const MAX_OPEN: usize = 8;
/// Bytes before a script that are looked at.
const MAX_BEFORE: usize = 256;
/// A longer text is not a mark or a power: somebody wanted small letters.
const MAX_SCRIPT_CHARS: usize = 32;
/// Units that have powers, beside those of one letter. Words as short as these are rare.
const UNITS: [&str; 11] = ["mm", "cm", "dm", "km", "hm", "dam", "nm", "µm", "μm", "ft", "kg"];
const ORDINALS: [&str; 14] =
    ["st", "nd", "rd", "th", "er", "re", "e", "ème", "eme", "de", "a", "ª", "º", "ste"];

/// The scripts of the block that is under construction.
#[derive(Default)]
pub(super) struct Scripts {
    /// The innermost last.
    open: Vec<Open>,
    /// One that is written once the text after it is known.
    ended: Option<Ended>,
    last: Option<Last>,
}

struct Open {
    script: Script,
    /// Where its text begins in the block.
    start: usize,
    is_apart: bool,
}

struct Ended {
    script: Script,
    text: String,
    is_apart: bool,
}

/// The script that was written last: perhaps the upper half of a fraction.
struct Last {
    ended: Ended,
    /// Where it begins and ends in the block.
    start: usize,
    end: usize,
}

impl Scripts {
    /// `space`: white space is due.
    pub fn begin(&mut self, script: Script, block: &mut Marked, space: &mut bool) {
        self.write("", block, space);
        if self.open.len() < MAX_OPEN {
            let is_apart = std::mem::take(space);
            self.open.push(Open { script, start: block.text.len(), is_apart });
        }
    }

    pub fn set(&mut self, script: Script) {
        if let Some(open) = self.open.last_mut() {
            open.script = script;
        }
    }

    pub fn end(&mut self, block: &mut Marked, space: &mut bool) {
        self.write("", block, space);
        let Some(Open { script, start, is_apart }) = self.open.pop() else { return };
        let start = block.text.floor_char_boundary(start);
        let text = block.text.split_off(start).trim().to_owned();
        if text.is_empty() {
            *space |= is_apart;
        } else {
            self.ended = Some(Ended { script, text, is_apart });
        }
    }

    /// The block ends.
    pub fn end_all(&mut self, block: &mut Marked, space: &mut bool) {
        while !self.open.is_empty() {
            self.end(block, space);
        }
        self.write("", block, space);
        self.last = None;
    }

    /// Writes the script that has ended. `after` is how the text after it begins; nothing if that is
    /// white space.
    pub fn write(&mut self, after: &str, block: &mut Marked, space: &mut bool) {
        let Some(ended) = self.ended.take() else { return };
        let text = &mut block.text;
        let start = match self.last.take().filter(|last| last.is_above(&ended, text)) {
            Some(Last { ended: upper, start, .. }) if self.open.is_empty() => {
                text.truncate(start);
                let is_apart = upper.is_apart || text.ends_with(char::is_alphanumeric);
                text.push_str(if is_apart && start > 0 { " " } else { "" });
                text.extend([&upper.text, "/", &ended.text]);
                start
            }
            _ => {
                let start = text.len();
                // No more than what decides: a block of a thousand scripts is one line.
                let near = text.floor_char_boundary(text.len().saturating_sub(MAX_BEFORE));
                let line = text[near..].rsplit('\n').next().unwrap_or_default();
                let before = line.trim_end();
                let is_apart = ended.is_apart || before.len() < line.len();
                let around = Around { before, is_apart, after };
                let written = write(ended.script, &ended.text, around);
                text.push_str(if written.space_before { " " } else { "" });
                text.push_str(&written.text);
                *space |= written.space_after;
                start
            }
        };
        let end = text.len();
        block.marks.iter_mut().rev().take_while(|mark| mark.0 > end).for_each(|mark| mark.0 = end);
        self.last = Some(Last { ended, start, end });
    }
}

impl Last {
    /// Whether this and `lower` are written as a fraction, in the block so far.
    fn is_above(&self, lower: &Ended, block: &str) -> bool {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        self.ended.script == Script::Super
            && lower.script == Script::Sub
            && is_number(&self.ended.text)
            && is_number(&lower.text)
            && matches!(block.get(self.end..), Some("/" | "⁄" | "∕"))
    }
}

/// What is around a script.
#[derive(Debug, Clone, Copy)]
struct Around<'t> {
    /// The text before it on its line, without white space at the end.
    before: &'t str,
    /// Whether white space is between.
    is_apart: bool,
    /// How the text after it begins; nothing if white space or the block's end follows.
    after: &'t str,
}

/// How a script is written.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    text: String,
    space_before: bool,
    space_after: bool,
}

impl Written {
    fn joined(text: impl Into<String>) -> Self {
        Self { text: text.into(), space_before: false, space_after: false }
    }

    fn apart(text: impl Into<String>) -> Self {
        Self { text: text.into(), space_before: true, space_after: false }
    }

    /// In brackets, which no citation of an answer has.
    fn note(mark: &str) -> Self {
        let is_bracketed = !mark.contains(char::is_alphanumeric) || mark.starts_with(['(', '[']);
        if is_bracketed { Self::joined(mark) } else { Self::apart(format!("({mark})")) }
    }
}

/// Writes the script `content`, which is trimmed and not empty.
fn write(script: Script, content: &str, around: Around<'_>) -> Written {
    let mut written = if content.chars().nth(MAX_SCRIPT_CHARS).is_some() {
        Written { text: content.to_owned(), space_before: true, space_after: true }
    } else if around.before.is_empty() {
        // A note's own mark, before its text.
        let is_mark = script != Script::Sub && around.after.starts_with(char::is_alphabetic);
        Written { space_after: is_mark, ..Written::joined(content) }
    } else {
        match script {
            Script::Note => Written::note(content),
            Script::Super => raised(content, around),
            Script::Sub if around.is_apart => Written::apart(content),
            Script::Sub => Written::joined(lowered(content, around.before)),
        }
    };
    // `log₂8` is not log28.
    let is_number = |c: char| c.is_numeric();
    written.space_after |= written.text.ends_with(is_number) && around.after.starts_with(is_number);
    written
}

fn raised(content: &str, around: Around<'_>) -> Written {
    let Around { before, is_apart, after } = around;
    match content {
        "TM" | "tm" => return Written::joined("™"),
        "SM" => return Written::joined("℠"),
        _ => {}
    }
    if is_charge(content) && !is_apart {
        return Written::joined(superscript(content));
    }
    if !content.contains(char::is_alphanumeric) {
        return Written { space_before: is_apart, ..Written::joined(content) };
    }
    if let Some(mark) = content.strip_prefix(['(', '[']).and_then(|it| it.strip_suffix([')', ']']))
        && is_mark(mark)
    {
        return Written::joined(content);
    }
    let is_number = is_integer(content);
    if is_apart && (!is_number || after.starts_with(|c: char| c.is_ascii_uppercase())) {
        // The isotope ¹⁴C, or small letters.
        return Written::apart(content);
    }
    let base = Base::of(before);
    let is_degree = content == "0" && matches!(after.chars().next(), Some('C' | 'F'));
    match base {
        Base::Number if matches!(content, "o" | "º" | "°") || is_degree => Written::joined("°"),
        // 15ʰ30
        Base::Number if content == "h" && after.starts_with(|c: char| c.is_ascii_digit()) => {
            Written::joined(content)
        }
        Base::Number if ORDINALS.contains(&content) => Written::joined(content),
        Base::Number | Base::Sum => Written::joined(power(content)),
        Base::Variable if content == "o" => Written::joined(content),
        Base::Variable if is_number && content != "1" => Written::joined(superscript(content)),
        Base::Variable if !is_number && !is_capital_word(content, before) => {
            Written::joined(power(content))
        }
        Base::Other if ORDINALS.contains(&content) && is_roman(before) => Written::joined(content),
        _ if is_mark(content) => Written::note(content),
        _ => Written::joined(content),
    }
}

/// Whether a text ends with a Roman number.
fn is_roman(before: &str) -> bool {
    let number = last_run(before, char::is_alphanumeric);
    number.chars().all(|c| "IVXLCDM".contains(c))
}

fn lowered(content: &str, before: &str) -> String {
    let base = Base::of(before);
    let is_word = content.chars().all(char::is_alphanumeric);
    let is_index = content.chars().nth(1).is_none() && content.starts_with(char::is_alphabetic);
    match base {
        Base::Number | Base::Figure if is_word => format!("_{content}"),
        Base::Variable if is_index => format!("_{content}"),
        Base::Variable | Base::Number if !is_word && !content.starts_with(['(', '[']) => {
            if content.contains(char::is_alphanumeric) {
                format!("_({content})")
            } else {
                content.to_owned()
            }
        }
        _ => content.to_owned(),
    }
}

/// What a script belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// A number that can have a power.
    Number,
    /// A year, or a number with separators: nobody raises those.
    Figure,
    /// A unit, or a letter.
    Variable,
    /// An expression in brackets.
    Sum,
    Other,
}

impl Base {
    fn of(before: &str) -> Self {
        let Some(last) = before.chars().next_back() else { return Self::Other };
        if last.is_ascii_digit() {
            let number = last_run(before, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
            let number = number.trim_start_matches(['.', ',']);
            let is_year = number.len() == 4 && number.starts_with(['1', '2']);
            let is_power = !is_year && !number.contains(['.', ',']);
            return if is_power { Self::Number } else { Self::Figure };
        }
        if last.is_alphabetic() {
            let word = last_run(before, char::is_alphabetic);
            return if is_variable(word, before) { Self::Variable } else { Self::Other };
        }
        if matches!(last, ')' | ']') {
            return if is_sum(before) { Self::Sum } else { Self::Other };
        }
        Self::Other
    }
}

/// Whether the letters that a text ends with are a unit or variables: `m`, `5cm`, `E=mc`, `πr`.
fn is_variable(word: &str, before: &str) -> bool {
    let is_mathematical = |c: char| c.is_ascii() || matches!(c, '\u{370}'..='\u{3ff}' | 'µ' | 'Å');
    let above = before[..before.len() - word.len()].chars().next_back();
    let letters = word.chars().count();
    let is_in_formula =
        above.is_some_and(|c| c.is_ascii_digit() || "=+−*×·^".contains(c)) || !word.is_ascii();
    UNITS.contains(&word)
        || (word.chars().all(is_mathematical) && (letters == 1 || (letters < 4 && is_in_formula)))
}

/// Whether a text ends with brackets around something other than words.
fn is_sum(before: &str) -> bool {
    let start = before.floor_char_boundary(before.len().saturating_sub(2 * MAX_SCRIPT_CHARS));
    let Some(open) = before[start..].rfind(['(', '[']) else { return false };
    let letters = |part: &str| part.chars().filter(|c| c.is_alphabetic()).count();
    let inside = &before[start + open..];
    inside.contains(['+', '-', '−', '·', '×', '*', '/', '±'])
        && inside.split(|c: char| !c.is_alphanumeric()).all(|part| letters(part) < 2)
}

/// The end of a text of which all characters are so, within the last bytes.
fn last_run(text: &str, is_so: impl Fn(char) -> bool) -> &str {
    let start = text.floor_char_boundary(text.len().saturating_sub(2 * MAX_SCRIPT_CHARS));
    let near = &text[start..];
    let end = near.trim_end_matches(is_so).len();
    &near[end..]
}

/// `^2`, `^(n+1)`.
fn power(exponent: &str) -> String {
    let is_simple = is_integer(exponent) || exponent.chars().nth(1).is_none();
    if is_simple || (exponent.starts_with('(') && exponent.ends_with(')')) {
        format!("^{exponent}")
    } else {
        format!("^({exponent})")
    }
}

/// Words after a capital letter are abbreviations: Mᵐᵉ.
fn is_capital_word(content: &str, before: &str) -> bool {
    let is_word = content.chars().nth(1).is_some() && content.chars().all(char::is_alphabetic);
    is_word && before.ends_with(char::is_uppercase)
}

/// A mark of notes: `3`, `1,2`, `a`, `ii`.
fn is_mark(content: &str) -> bool {
    let is_number = content.chars().all(|c| c.is_ascii_digit() || " ,;-–*".contains(c));
    let letters = content.split([',', ' ']).filter(|part| !part.is_empty());
    is_number || letters.clone().all(|part| part.len() == 1 || part.parse::<u32>().is_ok())
}

fn is_integer(content: &str) -> bool {
    let digits = content.strip_prefix(['-', '−', '–', '+']).unwrap_or(content);
    !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A charge: `+`, `2−`.
fn is_charge(content: &str) -> bool {
    let digits = content.strip_suffix(['+', '-', '−', '–']);
    digits.is_some_and(|digits| digits.len() <= 1 && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn superscript(content: &str) -> String {
    let raised = |c| match c {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' => '⁰',
        '4'..='9' => char::from_u32(c as u32 - '4' as u32 + '⁴' as u32).unwrap_or(c),
        '+' => '⁺',
        '-' | '−' | '–' => '⁻',
        c => c,
    };
    content.chars().map(raised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        // `before^content|after`, `_` for lowered and `#` for notes.
        let at = text.find(['^', '_', '#']).unwrap();
        let script = match text.as_bytes()[at] {
            b'^' => Script::Super,
            b'_' => Script::Sub,
            _ => Script::Note,
        };
        let (content, after) = text[at + 1..].split_once('|').unwrap_or((&text[at + 1..], ""));
        let before = text[..at].trim_end();
        let is_apart = before.len() < at;
        let out = write(script, content, Around { before, is_apart, after });
        let space = |is_there: bool| if is_there { " " } else { "" };
        format!("{before}{}{}{}{after}", space(out.space_before), out.text, space(out.space_after))
    }

    #[test]
    fn powers_stay_powers() {
        for (text, expected) in [
            ("Mật độ là 10^6", "Mật độ là 10^6"),
            ("10 ^6", "10^6"),
            ("10^-6", "10^-6"),
            ("2^n", "2^n"),
            ("2^n+1", "2^(n+1)"),
            ("m^2", "m²"),
            ("người/km^2", "người/km²"),
            ("5 cm^3", "5 cm³"),
            ("s^−1", "s⁻¹"),
            ("x^2", "x²"),
            ("100m^2", "100m²"),
            ("E=mc^2", "E=mc²"),
            ("S=πr^2", "S=πr²"),
            ("x^n", "x^n"),
            ("e^−x", "e^(−x)"),
            ("(a+b)^2", "(a+b)^2"),
            ("Ca^2+", "Ca²⁺"),
            ("SO4^2-", "SO4²⁻"),
            ("30^o|C", "30°C"),
            ("30^0|C", "30°C"),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn marks_of_notes_stay_apart() {
        for (text, expected) in [
            ("năm 2024^2", "năm 2024 (2)"),
            ("5.230.000^3", "5.230.000 (3)"),
            ("12,5^1", "12,5 (1)"),
            ("15%^1", "15% (1)"),
            ("người dân^1", "người dân (1)"),
            ("hết.^12", "hết. (12)"),
            ("Nguyễn Văn An^1,2", "Nguyễn Văn An (1,2)"),
            ("Nguyễn Văn An^a", "Nguyễn Văn An (a)"),
            ("(Bộ Y tế)^1", "(Bộ Y tế) (1)"),
            ("2024^[2]", "2024[2]"),
            ("Điều 5^[1]", "Điều 5[1]"),
            ("dân số^2", "dân số (2)"),
            ("2024^*", "2024*"),
            ("10#6", "10 (6)"),
            ("^1|Theo", "1 Theo"),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn other_small_letters() {
        for (text, expected) in [
            ("1^st", "1st"),
            ("15^h|30", "15h30"),
            ("XX^e", "XXe"),
            ("M^me", "Mme"),
            ("n^o", "no"),
            ("RAG^TM", "RAG™"),
            ("đồng vị ^14|C", "đồng vị 14C"),
            ("H_2|O", "H2O"),
            ("Ca(OH)_2", "Ca(OH)2"),
            ("x_i", "x_i"),
            ("x_i+1", "x_(i+1)"),
            ("1010_2", "1010_2"),
            ("log_2|8", "log2 8"),
            ("V_max", "Vmax"),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
        let long = "một câu rất dài mà ai đó muốn viết nhỏ đi cho đẹp";
        assert_eq!(written(&format!("Trước^{long}|sau")), format!("Trước {long} sau"));
    }
}
