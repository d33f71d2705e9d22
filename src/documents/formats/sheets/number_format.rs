//! A number as its cell shows it: by the format code that the workbook has for the cell.
//!
//! The codes are those of ECMA-376, part 1, 18.8.31: up to four sections for positive numbers,
//! negative numbers, zero and text; digits, percent, thousands, exponents, dates, times, literal text.

use super::date::Moment;
use std::fmt::Write as _;

/// Codes and numbers longer than this are written as plain numbers.
const MAX_CODE: usize = 512;
/// Digits after the point that a code may ask for.
const MAX_DECIMALS: usize = 30;

/// What of the date formats has no code of its own but depends on the user's country.
pub(super) const SHORT_DATE: (u32, &str) = (14, "yyyy-mm-dd");
pub(super) const SHORT_DATE_AND_TIME: (u32, &str) = (22, "yyyy-mm-dd hh:mm");

/// `number` as the code shows it.
pub(crate) fn show(number: f64, code: &str, is_1904: bool) -> String {
    if code.len() > MAX_CODE || !number.is_finite() {
        return general(number);
    }
    let (section, is_magnitude) = section(number, code);
    let tokens = tokens(section);
    let number = if is_magnitude { number.abs() } else { number };
    let shown = if tokens.iter().any(Token::is_of_time) {
        show_time(number, &tokens, is_1904)
    } else {
        show_number(number, &tokens)
    };
    let shown = shown.trim().to_owned();
    // A code that hides its number (`;;;`) does not hide it from a search.
    if shown.is_empty() { general(number) } else { shown }
}

/// As in a cell without a format of its own.
pub(crate) fn general(number: f64) -> String {
    let magnitude = number.abs();
    if number.fract() == 0.0 && magnitude < 1e15 {
        return format!("{}", number as i64);
    }
    if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) {
        return format!("{number:E}");
    }
    // Excel keeps 15 digits: 0.1 + 0.2 is 0.3.
    let before = magnitude.log10().floor().max(0.0) as usize + 1;
    let fixed = format!("{number:.*}", 15_usize.saturating_sub(before));
    fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The section for a number, and whether it says by itself that the number is negative.
fn section(number: f64, code: &str) -> (&str, bool) {
    let sections = split_sections(code);
    let conditions: Vec<Option<bool>> =
        sections.iter().map(|section| condition(section, number)).collect();
    if conditions.iter().any(Option::is_some) {
        let holds = conditions.iter().position(|holds| *holds == Some(true));
        let other = conditions.iter().rposition(Option::is_none);
        return (sections[holds.or(other).unwrap_or(0)], false);
    }
    match (sections.as_slice(), number) {
        ([_, negative, ..], number) if number < 0.0 => (negative, true),
        ([_, _, zero, ..], 0.0) => (zero, false),
        (sections, _) => (sections[0], false),
    }
}

/// At the semicolons outside of literal text.
fn split_sections(code: &str) -> Vec<&str> {
    let (mut sections, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in code.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\\' | '_' | '*' => escaped = true,
            ';' => {
                sections.push(&code[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    sections.push(&code[start..]);
    sections
}

/// Whether the condition of a section (`[>=100]`) holds; `None` if it has none.
fn condition(section: &str, number: f64) -> Option<bool> {
    let begin = section.find(['<', '>', '='])?;
    let inside = section[..begin].ends_with('[').then(|| &section[begin..])?;
    let inside = &inside[..inside.find(']')?];
    let value_at = inside.find(|c| !"<>=".contains(c))?;
    let value: f64 = inside[value_at..].trim().parse().ok()?;
    Some(match &inside[..value_at] {
        "<" => number < value,
        "<=" => number <= value,
        ">" => number > value,
        ">=" => number >= value,
        "<>" => number != value,
        _ => number == value,
    })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `0`, `#` or `?`.
    Digit(char),
    Point,
    Comma,
    Percent,
    /// `E+` or `E-`: whether a plus is shown.
    Exponent(bool),
    /// A run of one of `y m d h s`, in small letters.
    Time(char, usize),
    /// The same in brackets: hours, minutes or seconds altogether.
    Elapsed(char, usize),
    /// `AM/PM`.
    HalfDay,
    General,
    /// `@`.
    Text,
    Literal(String),
}

impl Token {
    fn is_of_time(&self) -> bool {
        matches!(self, Self::Time(..) | Self::Elapsed(..) | Self::HalfDay)
    }
}

fn tokens(section: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = section;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        let after = &rest[length..];
        match c {
            '"' => {
                let end = after.find('"').unwrap_or(after.len());
                tokens.push(Token::Literal(after[..end].to_owned()));
                length += (end + 1).min(after.len());
            }
            '\\' | '_' | '*' => {
                let next = after.chars().next();
                if let (Some(next), '\\') = (next, c) {
                    tokens.push(Token::Literal(next.to_string()));
                } else if c == '_' {
                    tokens.push(Token::Literal(" ".to_owned()));
                }
                length += next.map_or(0, char::len_utf8);
            }
            '[' => {
                let end = after.find(']').unwrap_or(after.len());
                tokens.extend(bracketed(&after[..end]));
                length += (end + 1).min(after.len());
            }
            '0' | '#' | '?' => tokens.push(Token::Digit(c)),
            '.' => tokens.push(Token::Point),
            ',' => tokens.push(Token::Comma),
            '%' => tokens.push(Token::Percent),
            '@' => tokens.push(Token::Text),
            'E' | 'e' if after.starts_with(['+', '-']) => {
                tokens.push(Token::Exponent(after.starts_with('+')));
                length += 1;
            }
            _ => {
                let (token, taken) = word(rest, c);
                tokens.push(token);
                length = taken;
            }
        }
        rest = &rest[length..];
    }
    tokens
}

/// `[h]` counts hours beyond a day, `[$₫-42A]` is a currency; `[Red]`, `[$-42A]` and conditions show
/// nothing.
fn bracketed(inside: &str) -> Option<Token> {
    if let Some(currency) = inside.strip_prefix('$') {
        let sign = currency.split('-').next().unwrap_or_default();
        return (!sign.is_empty()).then(|| Token::Literal(sign.to_owned()));
    }
    let unit = inside.chars().next()?.to_ascii_lowercase();
    let is_run = "hms".contains(unit) && inside.chars().all(|c| c.to_ascii_lowercase() == unit);
    is_run.then_some(Token::Elapsed(unit, inside.len()))
}

/// A token of letters, or one sign of literal text, and its length.
fn word(rest: &str, c: char) -> (Token, usize) {
    let begins =
        |word: &str| rest.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word));
    if begins("General") {
        return (Token::General, 7);
    }
    if begins("AM/PM") {
        return (Token::HalfDay, 5);
    }
    if begins("A/P") {
        return (Token::HalfDay, 3);
    }
    let unit = c.to_ascii_lowercase();
    if "ymdhs".contains(unit) {
        let run = rest.chars().take_while(|c| c.to_ascii_lowercase() == unit).count();
        return (Token::Time(unit, run), run);
    }
    (Token::Literal(c.to_string()), c.len_utf8())
}

fn show_number(number: f64, tokens: &[Token]) -> String {
    let has = |wanted: &Token| tokens.contains(wanted);
    let digits = |token: &Token| matches!(token, Token::Digit(_));
    let is_fraction = tokens.windows(3).any(|part| {
        digits(&part[0]) && part[1] == Token::Literal("/".to_owned()) && digits(&part[2])
    });
    if has(&Token::General) || is_fraction || has(&Token::Text) {
        let shown = tokens.iter().map(|token| match token {
            Token::General | Token::Text => general(number),
            Token::Literal(text) if !is_fraction => text.clone(),
            _ => String::new(),
        });
        let shown: String = shown.collect();
        return if is_fraction { general(number) } else { shown };
    }
    let mut value = number;
    let percents = tokens.iter().filter(|token| **token == Token::Percent).count();
    value *= 100_f64.powi(percents.min(9) as i32);
    // Commas after the last digit divide by a thousand each.
    let last = tokens.iter().rposition(digits);
    let scale = last.map_or(0, |last| {
        tokens[last + 1..].iter().take_while(|token| **token == Token::Comma).count()
    });
    value /= 1000_f64.powi(scale.min(9) as i32);
    let figures = Figures::of(tokens, value);
    let mut out = String::new();
    if number < 0.0 && figures.is_any() {
        out.push('-');
    }
    let mut is_written = false;
    for token in tokens {
        match token {
            Token::Literal(text) => out.push_str(text),
            Token::Percent => out.push('%'),
            Token::Digit(_) | Token::Point if !is_written => {
                is_written = true;
                out.push_str(&figures.text);
            }
            _ => {}
        }
    }
    out
}

/// The digits of a number, with everything between them.
struct Figures {
    text: String,
}

impl Figures {
    fn of(tokens: &[Token], value: f64) -> Self {
        let point = tokens.iter().position(|token| *token == Token::Point);
        let exponent = tokens.iter().position(|token| matches!(token, Token::Exponent(_)));
        let end = exponent.unwrap_or(tokens.len());
        let whole = &tokens[..point.unwrap_or(end).min(end)];
        let decimals = &tokens[point.map_or(end, |at| (at + 1).min(end))..end];
        let count = |tokens: &[Token], of: &[char]| {
            tokens.iter().filter(|it| matches!(it, Token::Digit(c) if of.contains(c))).count()
        };
        let max_decimals = count(decimals, &['0', '#', '?']).min(MAX_DECIMALS);
        let min_decimals = count(decimals, &['0']).min(max_decimals);
        let min_whole = count(whole, &['0']).min(MAX_DECIMALS);
        let last = whole.iter().rposition(|token| matches!(token, Token::Digit(_)));
        let groups = last.is_some_and(|last| whole[..last].contains(&Token::Comma));

        let (value, power) = match exponent {
            Some(_) if value != 0.0 => {
                let power = value.abs().log10().floor();
                (value / 10_f64.powf(power), power as i32)
            }
            _ => (value, 0),
        };
        let mut text = rounded(value.abs(), max_decimals, min_decimals, min_whole);
        if groups {
            group(&mut text);
        }
        if let Some(Token::Exponent(plus)) = exponent.map(|at| &tokens[at]) {
            let sign = if power < 0 {
                "-"
            } else if *plus {
                "+"
            } else {
                ""
            };
            let _ = write!(text, "E{sign}{:02}", power.abs());
        }
        if last.is_none() && max_decimals == 0 {
            text.clear();
        }
        Self { text }
    }

    /// Whether there is a digit other than zero, so that a minus has a meaning.
    fn is_any(&self) -> bool {
        self.text.contains(|c: char| ('1'..='9').contains(&c))
    }
}

fn rounded(value: f64, max_decimals: usize, min_decimals: usize, min_whole: usize) -> String {
    // As decimal fractions round: 2.675 is a little less in binary, but Excel shows 2.68.
    let nudged = value * (1.0 + f64::EPSILON);
    let mut text = format!("{nudged:.max_decimals$}");
    if max_decimals > 0 {
        while text.ends_with('0') && text.len() - text.find('.').unwrap_or(0) - 1 > min_decimals {
            text.pop();
        }
        if text.ends_with('.') {
            text.pop();
        }
    }
    let whole = text.find('.').unwrap_or(text.len());
    let text = "0".repeat(min_whole.saturating_sub(whole)) + &text;
    if min_whole == 0 && text.starts_with("0.") { text[1..].to_owned() } else { text }
}

/// Puts commas between thousands.
fn group(text: &mut String) {
    let mut at = text.find('.').unwrap_or(text.len());
    while at > 3 {
        at -= 3;
        text.insert(at, ',');
    }
}

fn show_time(number: f64, tokens: &[Token], is_1904: bool) -> String {
    let decimals = decimals_of_seconds(tokens);
    let Some(moment) = Moment::of(number, is_1904, decimals) else { return general(number) };
    let is_halved = tokens.contains(&Token::HalfDay);
    let mut out = String::new();
    let mut after_seconds = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Time('m', run) if *run < 3 && is_minute(tokens, at) => {
                let _ = write!(out, "{:0run$}", moment.minute, run = *run);
            }
            Token::Time(unit, run) => out.push_str(&moment.part(*unit, *run, is_halved)),
            Token::Elapsed(unit, run) => {
                let _ = write!(out, "{:0run$}", moment.elapsed(*unit), run = *run);
            }
            Token::HalfDay => out.push_str(if moment.hour < 12 { "AM" } else { "PM" }),
            Token::Point if after_seconds && decimals > 0 => {
                let part = moment.milliseconds / 10_u32.pow(3 - decimals);
                let _ = write!(out, ".{part:0width$}", width = decimals as usize);
            }
            Token::Point => out.push('.'),
            Token::Comma => out.push(','),
            Token::Literal(text) => out.push_str(text),
            _ => {}
        }
        after_seconds = matches!(token, Token::Time('s', _) | Token::Elapsed('s', _));
    }
    out
}

/// `m` is minutes after hours and before seconds, months elsewhere.
fn is_minute(tokens: &[Token], at: usize) -> bool {
    let unit = |token: &Token| match token {
        Token::Time(unit, _) | Token::Elapsed(unit, _) => Some(*unit),
        _ => None,
    };
    tokens[..at].iter().rev().find_map(unit) == Some('h')
        || tokens[at + 1..].iter().find_map(unit) == Some('s')
}

/// The zeros after `ss.`.
fn decimals_of_seconds(tokens: &[Token]) -> u32 {
    let point = tokens.windows(2).position(|pair| {
        matches!(pair[0], Token::Time('s', _) | Token::Elapsed('s', _)) && pair[1] == Token::Point
    });
    point.map_or(0, |at| {
        let zeros = tokens[at + 2..].iter().take_while(|token| **token == Token::Digit('0'));
        zeros.count().min(3) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Excel and `LibreOffice` show.
    #[test]
    fn numbers_are_written_as_their_cells_show_them() {
        for (number, code, shown) in [
            (0.125, "0%", "13%"),
            (0.125, "0.0%", "12.5%"),
            (0.125, "0.00%", "12.50%"),
            (1_234_567.0, "#,##0", "1,234,567"),
            (1_234_567.891, "#,##0.00", "1,234,567.89"),
            (-5.0, "#,##0.00;(#,##0.00)", "(5.00)"),
            (-5.0, "0", "-5"),
            (-0.2, "0", "0"),
            (0.0, "#,##0;-#,##0;\"-\"", "-"),
            (15_000_000.0, "#,##0 [$₫-42A]", "15,000,000 ₫"),
            (15_000_000.0, "#,##0\\ \"đồng\"", "15,000,000 đồng"),
            (15_000_000.0, "0.0,,\" tr\"", "15.0 tr"),
            (7.0, "000", "007"),
            (0.5, "#.##", ".5"),
            (3.0, "0.##", "3"),
            (12_345.0, "0.00E+00", "1.23E+04"),
            (0.000_12, "0.0E+00", "1.2E-04"),
            (2.675, "0.00", "2.68"),
            (150.0, "[>=100]\"cao\";\"thấp\"", "cao"),
            (50.0, "[>=100]\"cao\";\"thấp\"", "thấp"),
            (5.0, ";;;", "5"),
            (5.25, "# ?/?", "5.25"),
            (84_912_345_678.0, "\"+\"0", "+84912345678"),
            (5.0, "General\" kg\"", "5 kg"),
            (1_234.5, "_(* #,##0.00_);_(* (#,##0.00)", "1,234.50"),
            (5.0, "[Red]0", "5"),
        ] {
            assert_eq!(show(number, code, false), shown, "{number} {code}");
        }
    }

    #[test]
    fn dates_and_times_are_written_as_their_cells_show_them() {
        // 2026-03-05 14:07:09.
        let moment = 46_086.0 + (14.0 * 3600.0 + 7.0 * 60.0 + 9.0) / 86_400.0;
        for (code, shown) in [
            ("dd/mm/yyyy", "05/03/2026"),
            ("d/m/yy", "5/3/26"),
            ("yyyy-mm-dd", "2026-03-05"),
            ("yyyy-mm-dd hh:mm:ss", "2026-03-05 14:07:09"),
            ("yyyy\\-mm\\-dd;@", "2026-03-05"),
            ("d-mmm-yy", "5-Mar-26"),
            ("mmmm yyyy", "March 2026"),
            ("[$-42A]dd \"tháng\" mm \"năm\" yyyy", "05 tháng 03 năm 2026"),
            ("h:mm AM/PM", "2:07 PM"),
            ("hh:mm", "14:07"),
            ("mm:ss", "07:09"),
            ("hh:mm:ss.00", "14:07:09.00"),
            ("ddd", "Thu"),
            ("dddd", "Thursday"),
        ] {
            assert_eq!(show(moment, code, false), shown, "{code}");
        }
        assert_eq!(show(1.5, "[h]:mm:ss", false), "36:00:00");
        assert_eq!(show(0.25, "hh:mm", false), "06:00");
        assert_eq!(show(44_624.0, "yyyy-mm-dd", true), "2026-03-05");
        assert_eq!(show(60.0, "yyyy-mm-dd", false), "1900-02-29");
        assert_eq!(show(-3.0, "yyyy-mm-dd", false), "-3");
        assert_eq!(show(1e300, "yyyy-mm-dd", false), "1E300");
    }

    #[test]
    fn without_a_format_numbers_are_short() {
        for (number, shown) in [
            (5.0, "5"),
            (0.1 + 0.2, "0.3"),
            (-1234.5, "-1234.5"),
            (1e20, "1E20"),
            (0.000_001_5, "1.5E-6"),
            (2.345_678_901_234_56, "2.34567890123456"),
            (0.0, "0"),
        ] {
            assert_eq!(general(number), shown);
        }
    }

    #[test]
    fn hostile_codes_end() {
        for code in [
            "\"",
            "\\",
            "[",
            "[h",
            "_",
            "*",
            ";;;;;;",
            "0.",
            &"0".repeat(500),
            "E+",
            "%%%%%%%%%%%%",
        ] {
            for number in [0.0, -1.5, 1e308, f64::MIN_POSITIVE, f64::NAN] {
                assert!(show(number, code, false).len() < 2000, "{code}");
            }
        }
    }
}
